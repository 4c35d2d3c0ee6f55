"""The verb `explorer`: tables of a study to a site that opens from the disk."""

import html
from collections.abc import Sequence
from pathlib import Path

import torch

from sae_stability.errors import StudyError
from sae_stability.explorer.chunks import script
from sae_stability.explorer.cohort import Cohort, chunks
from sae_stability.explorer.stitches import stitched
from sae_stability.files import atomic, named, publish, workplace, write_record
from sae_stability.models import written
from sae_stability.ranges import Count

SITE = Path(__file__).with_name("site")
"""The pages: HTML, scripts and style."""

RECORD = "record.json"
"""The last file of the folder of data: what the site was made from, and the digests of the other files."""

Folders = Sequence[tuple[str, Path]]


def write_explorer(
    *,
    study: str,
    threshold: float,
    overlap: Folders,
    about: Sequence[tuple[str, str]] = (),
    evaluation: Folders = (),
    matches: Folders = (),
    firing: Folders = (),
    contexts: Folders = (),
    cofiring: Folders = (),
    consensus: Folders = (),
    explanations: Folders = (),
    scores: Folders = (),
    sae: Folders = (),
    meta: Folders = (),
    head: Sequence[tuple[str, str]] = (),
    stitch: Sequence[Path] = (),
    out: Path,
    config_hash: str = "",
    threads: Count = 1,
) -> None:
    """Write the explorer of a study: `index.html`, its scripts, and its data in `data/`.

    Every cohort has overlap tables. What else is missing is left out of the pages.

    Args:
        study: name of the study.
        threshold: cosine at which a latent counts as shared.
        overlap: COHORT=FOLDER of overlap tables; once for each cohort, in the order in which they are shown.
        about: COHORT=NAME: VALUE, a setting of a cohort to show; once for each.
        evaluation: COHORT=FOLDER of the quality of its SAEs.
        matches: COHORT=FOLDER of matches of its SAEs.
        firing: COHORT=FOLDER of what its latents fire on.
        contexts: COHORT=FOLDER of contexts of its latents.
        cofiring: COHORT=FOLDER of how far matched latents fire together.
        consensus: COHORT=FOLDER of groups of its latents over seeds.
        explanations: EXPLAINER/COHORT=FOLDER of explanations.
        scores: EXPLAINER/SCORER/COHORT=FOLDER of scores.
        sae: SEED/COHORT=FOLDER of an SAE; those with --meta are needed, and those of cohorts with --head.
        meta: SEED/COHORT=FOLDER of a meta-SAE, META/seed-N, that takes the latents of that SAE apart; once for each.
        head: COHORT=MODEL, the model that a cohort reads, as JSON with its name, and where stated revision, sha256,
            dtype, part and random_seed. With a language-model head, the tokens that a latent boosts are shown.
        stitch: folder of a stitched pair of SAEs; once for each.
        out: folder for the site.
        config_hash: fingerprint of what the site is made from.
        threads: processor cores to use.

    Raises:
        StudyError: a table or an SAE is missing or damaged, a flag names a cohort without overlap tables, or a meta-SAE
            comes without its SAE.
    """
    by_cohort = (evaluation, matches, firing, contexts, cofiring, consensus)
    known = [name for name, _ in overlap]
    _check_known(known, *by_cohort, explanations, scores, sae, meta, head)
    _check_taken_apart(sae, meta)
    torch.set_num_threads(threads)
    cohorts = [
        Cohort(
            name,
            _told(about, name),
            folder,
            *(_folder(given, name) for given in by_cohort),
            {names[0]: path for names, path in _named(explanations, name)},
            {(names[0], names[1]): path for names, path in _named(scores, name)},
            {int(names[0]): path for names, path in _named(sae, name)},
            _by_seed(_named(meta, name)),
            written.read(dict(head)[name]) if name in dict(head) else None,
        )
        for name, folder in overlap
    ]
    with workplace(out / "data") as folder:
        names = []
        shown = []
        for cohort in cohorts:
            for name, value in chunks(cohort):
                if name == cohort.name:
                    shown.append(value)
                else:
                    names.append(_write(folder, name, value))
        pairs = []
        for path in stitch:
            facts, sides = stitched(path)
            _check_known(known, [(facts[side][0], path) for side in sides])
            pairs.append(facts)
            names.append(_write(folder, f"{facts['name']}-{facts['pair']}_stitch", sides))
        about_study = {"study": study, "threshold": threshold, "cohorts": shown, "stitches": pairs}
        names.append(_write(folder, "study", about_study))
        write_record(file=[folder / name for name in names], config_hash=config_hash, out=folder / RECORD)
        _write_site(out, study)
        publish(folder, out / "data", [*names, RECORD])
    _remove_others(out / "data", {*names, RECORD})


def _write(folder: Path, name: str, value: object) -> str:
    file = folder / f"{name}.js"
    with named(file):
        file.write_bytes(script(name, value))
    return f"{name}.js"


def _write_site(out: Path, study: str) -> None:
    """The pages and scripts. The study's name is the only text of a study that stands in HTML."""
    for file in sorted(SITE.iterdir()):
        content = file.read_bytes()
        if file.name == "index.html":
            content = content.replace(b"{{study}}", html.escape(study).encode())
        with atomic(out / file.name) as temporary:
            temporary.write_bytes(content)


def _remove_others(data: Path, names: set[str]) -> None:
    """Remove the data of a former site: of a cohort that the study has no more."""
    for file in data.iterdir():
        if file.is_file() and file.name not in names:
            file.unlink()


def _told(about: Sequence[tuple[str, str]], cohort: str) -> dict[str, str]:
    pairs = (text.partition(": ") for name, text in about if name == cohort)
    return {name: value for name, _, value in pairs}


def _folder(given: Folders, cohort: str) -> Path | None:
    return dict(given).get(cohort)


def _named(given: Folders, cohort: str) -> list[tuple[list[str], Path]]:
    """The names before a cohort's own, and its folder."""
    split = ((key.split("/"), path) for key, path in given)
    return [(names[:-1], path) for names, path in split if names[-1] == cohort]


def _by_seed(given: list[tuple[list[str], Path]]) -> dict[int, list[Path]]:
    found: dict[int, list[Path]] = {}
    for (seed,), path in given:
        found.setdefault(int(seed), []).append(path)
    return found


def _check_taken_apart(sae: Folders, meta: Folders) -> None:
    for key, path in meta:
        if key not in dict(sae):
            raise StudyError(f"explorer: --meta {key}={path} comes without its SAE; give --sae {key}=...")


def _check_known(known: list[str], *given: Folders) -> None:
    for key, path in (one for folders in given for one in folders):
        if key.split("/")[-1] not in known:
            raise StudyError(
                f"explorer: {key}={path} names a cohort without overlap tables; give --overlap {key.split('/')[-1]}=..."
            )
