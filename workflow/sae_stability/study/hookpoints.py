"""Checks hookpoints against the models themselves. Apart from the other checks: it needs torch and transformers."""

import contextlib
import difflib
import logging
from collections.abc import Iterator

from sae_stability.errors import StudyError, cause
from sae_stability.study.build import Study
from sae_stability.study.parts import Model, Pass


def check_hookpoints(study: Study) -> list[str]:
    """Every hookpoint must be a module of its model, and as wide as the study says, as far as a trial pass can tell.

    The pass runs on a skeleton of the model, without weights and on tokens without values. Not every model can run so:
    experts that tokens are sent to, or masks that look at values, need real numbers. What the pass cannot tell is left
    to extraction.

    This takes seconds: it imports transformers, and downloads the configurations (not the weights) of models that are
    not on this machine. So it runs once before a study, and not whenever the config is read.

    Returns:
        A line for each hookpoint that could not be tried.

    Raises:
        StudyError: a hookpoint that its model does not have, with the nearest that it has; another width.
    """
    notes = []
    for model in study.models.values():
        passes = [pass_ for pass_ in study.passes.values() if pass_.model == model]
        if passes:
            with _quiet():
                notes += _check_model(model, passes)
    return notes


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence what torch prints, with a traceback, of an operation that it cannot try without values."""
    log = logging.getLogger("torch._subclasses.fake_tensor")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(level)


def _check_model(model: Model, passes: list[Pass]) -> list[str]:
    from sae_stability.activations.hooks import list_hookpoints
    from sae_stability.models.loading import model_config, skeleton
    from sae_stability.models.parts import part_of

    config = model_config(model)
    try:
        outline = skeleton(config)
    except Exception as error:
        return [_untried(pass_, ", ".join(pass_.hookpoints), error) for pass_ in passes]
    outline = part_of(outline, model)
    names = list_hookpoints(outline)
    notes = []
    for pass_ in passes:
        for hookpoint in pass_.hookpoints:
            try:
                width = _width(outline, hookpoint, pass_)
            except StudyError as error:
                where = f"passes.{pass_.slug}.hookpoints"
                raise StudyError(f"{where}: {_nearest(error, hookpoint, names, model)}") from None
            except Exception as error:
                notes.append(_untried(pass_, hookpoint, error))
                continue
            if width != pass_.d_model:
                raise StudyError(
                    f"passes.{pass_.slug}.d_model: {hookpoint} of {model.name} is {width:,} wide, not "
                    f"{pass_.d_model:,}; give it a pass of its own with d_model: {width}"
                )
    return notes


def _width(outline, hookpoint: str, pass_: Pass) -> int:
    """Width of a hookpoint by a trial pass over two tokens, or else over a whole block, which may take another way."""
    from sae_stability.activations.hooks import hookpoint_width

    try:
        return hookpoint_width(outline, hookpoint)
    except StudyError:
        return hookpoint_width(outline, hookpoint, length=pass_.tokens.context_length)


def _untried(pass_: Pass, hookpoints: str, error: Exception) -> str:
    return (
        f"passes.{pass_.slug}: {hookpoints}: a trial pass without weights cannot run this model "
        f"({cause(error)}); extraction will tell"
    )


def _nearest(error: StudyError, hookpoint: str, names: list[str], model: Model) -> str:
    """What is wrong with a hookpoint: it is no module (with the nearest one), or else the `error` of reading it."""
    path = hookpoint.split(":")[0]
    if any(name == path or path.endswith(f".{name}") for name in names):
        return str(error)
    near = difflib.get_close_matches(path, names, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]}?" if near else f"its modules are {', '.join(names[:5])}, ..."
    return f"{hookpoint}: {model.name} has no such module; {hint}"
