"""Checks hookpoints against the models themselves. Apart from the other checks: it needs torch and transformers."""

import difflib

from sae_stability.errors import StudyError
from sae_stability.study.build import Study
from sae_stability.study.parts import Model, Pass


def check_hookpoints(study: Study) -> None:
    """Every hookpoint must be a module of its model, and as wide as the study says.

    This takes seconds: it imports transformers, and downloads the configurations (not the weights) of models that are
    not on this machine. So it runs once before a study, and not whenever the config is read.

    Raises:
        StudyError: a hookpoint that its model does not have, with the nearest that it has; another width.
    """
    for model in study.models.values():
        passes = [pass_ for pass_ in study.passes.values() if pass_.model == model]
        if passes:
            _check_model(model, passes)


def _check_model(model: Model, passes: list[Pass]) -> None:
    from sae_stability.activations.hooks import hookpoint_width, list_hookpoints
    from sae_stability.models.loading import model_config, skeleton
    from sae_stability.models.parts import part_of

    outline = part_of(skeleton(model_config(model)), model)
    names = list_hookpoints(outline)
    for pass_ in passes:
        where = f"passes.{pass_.slug}"
        for hookpoint in pass_.hookpoints:
            try:
                width = hookpoint_width(outline, hookpoint)
            except StudyError as error:
                raise StudyError(f"{where}.hookpoints: {_nearest(error, hookpoint, names, model)}") from None
            if width != pass_.d_model:
                raise StudyError(
                    f"{where}.d_model: {hookpoint} of {model.name} is {width:,} wide, not {pass_.d_model:,}; "
                    f"give it a pass of its own with d_model: {width}"
                )


def _nearest(error: StudyError, hookpoint: str, names: list[str], model: Model) -> str:
    """What is wrong with a hookpoint: it is no module (with the nearest one), or else the `error` of reading it."""
    path = hookpoint.split(":")[0]
    if any(name == path or path.endswith(f".{name}") for name in names):
        return str(error)
    near = difflib.get_close_matches(path, names, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]}?" if near else f"its modules are {', '.join(names[:5])}, ..."
    return f"{hookpoint}: {model.name} has no such module; {hint}"
