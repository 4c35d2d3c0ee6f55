"""External cohorts, of SAEs made elsewhere: which they are, how large, and what they are evaluated on."""

from pathlib import Path

from sae_stability.errors import StudyError
from sae_stability.sae.checkpoint_files import checked_folder
from sae_stability.study.cohorts import pass_of
from sae_stability.study.parts import ExternalCohort, ExternalSae, Pass


def external_cohort_of(slug: str, given: dict, passes: dict[str, Pass], where: str) -> ExternalCohort:
    """An external cohort from settings with defaults filled in. It may hold a single SAE, to stitch or to take apart.

    Raises:
        StudyError: an SAE that is not there, sizes that differ, or no such pass.
    """
    saes = tuple(sae for entry in given["saes"] for sae in _entries(entry))
    n_latents, d_model = _sizes(given, saes, where)
    pass_ = None
    if given["pass"] is not None or given["hookpoint"] is not None:
        pass_ = pass_of(given, passes, where)
        _check_width(pass_, d_model, where)
    hookpoint = given["hookpoint"] or (pass_.hookpoints[0] if pass_ else None)
    return ExternalCohort(slug, saes, given["format"], pass_, hookpoint, n_latents, d_model)


def _entries(entry: str | dict) -> list[ExternalSae]:
    """The SAEs that one entry of `saes` stands for."""
    if isinstance(entry, str):
        from sae_stability.sae import formats

        return [ExternalSae(str(path)) for path in formats.saes_at(Path(entry))]
    checked_folder(entry["folder"])
    return [ExternalSae(None, entry["repo"], entry["folder"], entry["revision"])]


def _sizes(given: dict, saes: tuple[ExternalSae, ...], where: str) -> tuple[int, int]:
    """(n_latents, d_model), which all of them must share."""
    wanted = (given["n_latents"], given["d_model"])
    if any(sae.path is None for sae in saes) and None in wanted:
        raise StudyError(f"{where}: n_latents and d_model are needed for SAEs on the hub; see their model card")
    for sae in saes:
        if sae.path is None:
            continue
        # Imported late: reading a study without such SAEs needs no numpy.
        from sae_stability.sae import formats

        try:
            found = formats.shape(Path(sae.path), given["format"])
        except StudyError as error:
            raise StudyError(f"{where}.saes: {error}") from None
        wanted = tuple(own if own is not None else other for own, other in zip(wanted, found, strict=True))
        if found != wanted:
            raise StudyError(
                f"{where}.saes: {sae.path} has {found[0]:,} latents of width {found[1]:,}, but {wanted[0]:,} of width "
                f"{wanted[1]:,} are compared; put SAEs of another size into a cohort of their own"
            )
    return wanted


def _check_width(pass_: Pass, d_model: int, where: str) -> None:
    if pass_.d_model != d_model:
        raise StudyError(f"{where}.pass: {pass_.slug} is {pass_.d_model:,} wide, but the SAEs are {d_model:,} wide")
