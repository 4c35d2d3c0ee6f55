"""SAEs made elsewhere -> SAEs in the project's own format, instead of training."""

from pathlib import Path
from typing import TYPE_CHECKING

from sae_stability.pipeline.command import flags, given_inputs
from sae_stability.pipeline.cost import Cost, on_cores, sae_bytes
from sae_stability.pipeline.rates import Rates
from sae_stability.pipeline.resources import megabytes
from sae_stability.pipeline.results import Results, fetched_name
from sae_stability.sae.checkpoint_files import checkpoint_files
from sae_stability.study.build import Study
from sae_stability.study.parts import ExternalCohort, ExternalSae

if TYPE_CHECKING:
    from sae_stability.pipeline import Pipeline

VERB = "convert"
"""The verb that makes the results."""

_CONVERTED_A_SECOND = 200e6  # bytes of SAEs read, checked and written


def jobs(pipeline: "Pipeline") -> dict[str, list[int]]:
    """The names of the cohorts with unread SAEs, and the numbers of these SAEs."""
    found: dict[str, list[int]] = {}
    for cohort, seed in pipeline.unfinished["external"]:
        found.setdefault(cohort, []).append(seed)
    return found


def inputs(results: Results, cohort: ExternalCohort, seed: int) -> list[str]:
    """What an SAE is read from: its files, or the folder that it is fetched into."""
    sae = cohort.saes[seed]
    return given_inputs(local_files(sae)) if sae.path else [results.fetched(fetched_name(sae))]


def outputs(results: Results, cohort: str, seed: int | str) -> list[str]:
    """The files of an SAE; the first says what it was made from."""
    return [results.settings(cohort, seed), results.weights(cohort, seed)]


def results(pipeline: "Pipeline") -> dict:
    """Every SAE made elsewhere, and what it is made from."""
    return {
        (slug, seed): (outputs(pipeline.results, slug, seed), pipeline.fingerprints.sae(cohort, seed))
        for slug, cohort in pipeline.study.external.items()
        for seed in cohort.seeds
    }


def reads(pipeline: "Pipeline", *_name: str | int) -> list[str]:
    """No other result."""
    return []


def command(pipeline: "Pipeline", cohort: ExternalCohort, seed: int) -> str:
    """The checkpoint, its format, and the size that it must have."""
    sae = cohort.saes[seed]
    checkpoint = sae.path or str(Path(*inputs(pipeline.results, cohort, seed), sae.folder))
    return flags(
        format=format_of(cohort, seed),
        n_latents=cohort.n_latents,
        d_model=cohort.d_model,
        config_hash=pipeline.fingerprints.sae(cohort, seed),
        checkpoint=checkpoint,
    )


def memory(cohort: ExternalCohort) -> int:
    """What a job takes, in MB."""
    return megabytes(40 * cohort.n_latents * cohort.d_model)


def on_the_hub(study: Study) -> dict[str, ExternalSae]:
    """The SAEs that have to be fetched, by what each is called on the disk."""
    saes = [sae for cohort in study.external.values() for sae in cohort.saes if sae.path is None]
    return {fetched_name(sae): sae for sae in saes}


def fetch_command(sae: ExternalSae) -> str:
    """Where on the hub an SAE lies."""
    return flags(repo=sae.repo, folder=sae.folder, revision=sae.revision)


def format_of(cohort: ExternalCohort, seed: int) -> str | None:
    """The format of an SAE, stated in the study or recognised by its files; None for an SAE on the hub.

    The format is a setting of the job, so an edit of another format's code does not start the job again.

    Raises:
        StudyError: the files of a local SAE are of no known format.
    """
    path = cohort.saes[seed].path
    if cohort.format or path is None:
        return cohort.format
    from sae_stability.sae.formats import detect  # late: it takes numpy

    return detect(Path(path))


def local_files(sae: ExternalSae) -> list[str]:
    """The files that reading a local SAE depends on."""
    return list(map(str, checkpoint_files(Path(sae.path))))


def cost(study: Study, rates: Rates) -> Cost | None:
    """Reading SAEs made elsewhere, and writing them in one format; None where there are none."""
    if not study.external:
        return None
    sizes = [(sae, sae_bytes(cohort)) for cohort in study.external.values() for sae in cohort.saes]
    far = sum(size for sae, size in sizes if sae.path is None)
    written = sum(size for _, size in sizes)
    jobs = len(sizes) + len(on_the_hub(study))
    spent = on_cores(rates, jobs, written / _CONVERTED_A_SECOND)
    return Cost("import", jobs, **spent, read=written, written=written + far, peak=written + far, downloaded=far)
