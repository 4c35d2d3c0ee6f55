"""Checks that the local things a study reads exist: text files, packages, tokenizers and hookpoints of local models."""

import dataclasses
from pathlib import Path

from sae_stability.corpus.documents import check_documents
from sae_stability.files import remembered, write_json
from sae_stability.fingerprint import key
from sae_stability.study.build import Study


def check_sources(study: Study, memory: Path) -> None:
    """Refuse a study whose local files or hookpoints do not exist, before anything runs.

    Checking hookpoints and tokenizers takes seconds, so the file `memory` records those that were found right. Models
    on the hub may be out of reach now; `validate` and extraction check them.

    Raises:
        StudyError: a corpus file or package that is not there, or a local model without a hookpoint or with the
            tokenizer of another model.
    """
    check_corpora(study)
    models = {slug: model for slug, model in study.models.items() if model.folder}
    passes = [pass_ for pass_ in study.passes.values() if pass_.model in models.values()]
    wanted = key([[pass_.model.name, pass_.model.part, pass_.hookpoints, pass_.d_model] for pass_ in passes])
    if passes and remembered(memory) != {"checked": wanted}:
        from sae_stability.study.hookpoints import check_hookpoints
        from sae_stability.study.tokenizers import check_tokenizers

        tokens = {pass_.tokens.slug: pass_.tokens for pass_ in passes}
        local = dataclasses.replace(study, models=models, tokens=tokens)
        check_hookpoints(local)
        check_tokenizers(local)
        write_json(memory, {"checked": wanted})


def check_corpora(study: Study) -> None:
    """Refuse a study whose text files or packages are not there; data sets on the hub are not looked for.

    Raises:
        StudyError: a pattern that no file matches, or a package that is not installed.
    """
    for corpus in study.corpora.values():
        check_documents(corpus.documents)
