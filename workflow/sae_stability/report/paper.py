"""The paper of a study: its text from the run's own tables, as one HTML page and as a PDF."""

from pathlib import Path

from sae_stability import files
from sae_stability.figures import phrases, summary
from sae_stability.report import claims, method
from sae_stability.report import html as html_writer
from sae_stability.report import pdf as pdf_writer
from sae_stability.report.blocks import Paper, Section, paragraph, points
from sae_stability.report.comparison import comparison
from sae_stability.report.evidence import Evidence, gather
from sae_stability.report.made import how_it_was_made, making
from sae_stability.report.markup import spans
from sae_stability.report.references import references
from sae_stability.report.sections import results

TITLE = "Which features of a sparse autoencoder are the model's, and which are its seed's?"


def write_report(
    *,
    study: str,
    base: str,
    facts: dict,
    overlap: Path,
    evaluation: list[tuple[str, Path]] = (),
    figure: list[tuple[str, Path]] = (),
    config_hash: str = "",
    made: Path | None = None,
    html: Path,
    pdf: Path,
    record: Path,
) -> None:
    """Write the paper of a study.

    The same inputs at the same commit, on the same machine, give the same bytes.

    Args:
        study: name of the study.
        base: the cohort whose numbers come first.
        facts: settings of the study that the paper tells, as `pipeline.report.facts` makes them.
        overlap: folder of the base cohort's overlap tables.
        evaluation: COHORT=evaluation file (JSON), once for each SAE of the study.
        figure: KIND=record of a figure (JSON), once for each. Picture, caption and table lie beside it.
        config_hash: fingerprint of the figures, settings and code behind the paper.
        made: the record of an earlier writing of the same paper. The paper then tells of that one's commit, time,
            versions and machine, and so has the same bytes.
        html: file for the HTML page.
        pdf: file for the PDF.
        record: file for the fingerprint, the digests of both, and how they were made.

    Raises:
        StudyError: a table or a figure that is missing, damaged or changed.
    """
    found = gather(study=study, base=base, facts=facts, overlap=overlap, evaluation=evaluation, figure=figure)
    told = files.read_json(made)["made"] if made else making([path for _, path in figure])
    paper = compose(found, told)
    with files.workplace(pdf) as folder, files.named(pdf):
        typeset = pdf_writer.write(paper, folder)
    with files.atomic(html) as temporary:
        temporary.write_text(html_writer.write(paper), encoding="utf-8")
    with files.atomic(pdf) as temporary:
        temporary.write_bytes(typeset)
    digests = {path.name: files.sha256(path) for path in (html, pdf)}
    files.write_json(record, {"config_hash": config_hash, "sha256": digests, "made": told})


def compose(found: Evidence, told: dict) -> Paper:
    """The paper's text.

    Args:
        found: what it is written from.
        told: how it is made, as `made.making` gives it.
    """
    middle = results(found)
    names = [section.name for section in middle]
    published = comparison(found)
    compared = paragraph(
        "A difference means something where the study rebuilds the published one: same model, layer, number of "
        "latents, k and tokens."
    )
    sections = [
        Section("abstract", "Abstract", [block for part in claims.abstract(found) for block in paragraph(*part)]),
        Section("question", "Question", paragraph(method.QUESTION)),
        Section("data", "Data and models", method.data(found)),
        Section("method", "Method", method.method(found, names)),
        *middle,
        Section("published", "The paper, and what came out here", [*compared, *published] if published else []),
        Section("limits", "Limits", paragraph(summary.limits(found.numbers))),
        Section("made", "How it was made", how_it_was_made(found, told)),
        Section("references", "References", references(found, names)),
    ]
    subtitle = (
        f"Study {phrases.escape(found.study)}: {phrases.count(len(found.numbers.quality), 'SAE')} in "
        f"{phrases.count(found.facts['trained'] + found.facts['external'], 'cohort')}. All numbers are this run's own, "
        "unless published ones are named."
    )
    lead = Section("claims", "What this study may claim", points(claims.may_claim(found)))
    return Paper(spans(TITLE), spans(subtitle), lead, [section for section in sections if section.blocks])
