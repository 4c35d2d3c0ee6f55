"""Loading any transformers model, or only its skeleton, quietly and safely."""

import contextlib
import inspect
import pickle
from collections.abc import Iterator

import huggingface_hub
import transformers
from torch._subclasses.fake_tensor import FakeTensorMode

from sae_stability.errors import StudyError
from sae_stability.models.dtypes import torch_dtype
from sae_stability.models.names import model_folder, resolve_model

__all__ = ["head_kind", "load_model", "model_config", "resolve_model", "skeleton"]


def model_config(name: str, revision: str | None = None) -> transformers.PretrainedConfig:
    """The configuration of a hub model, folder or `package:NAME/FOLDER`; reads no weights.

    Raises:
        StudyError: there is none.
    """
    with _readable_errors(name, revision), _quiet():
        return transformers.AutoConfig.from_pretrained(resolve_model(name), revision=revision)


def head_kind(config: transformers.PretrainedConfig) -> str | None:
    """ "causal" or "masked" if the checkpoint has a language-model head, else None.

    A checkpoint of a bare encoder (MiniLM is one) has none, though transformers would make up a random one.
    """
    from transformers.models.auto import modeling_auto as auto

    architecture = (config.architectures or [""])[0]
    if architecture in auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values():
        return "causal"
    if architecture in auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES.values():
        return "masked"
    return None


def load_model(
    name: str, revision: str | None, dtype: str, device: str, lm_head: bool = False
) -> transformers.PreTrainedModel:
    """The model with its weights, in evaluation mode, unmodified by any folding or centring.

    Args:
        name: hub name, folder or `package:NAME/FOLDER`.
        revision: hub revision.
        dtype: of weights and computation: "float32", "float16" or "bfloat16".
        device: a torch device.
        lm_head: load the language-model head too (`AutoModelForCausalLM` or `AutoModelForMaskedLM`).

    Raises:
        StudyError: the model cannot be loaded, or has no language-model head where one is asked for.
    """
    config = model_config(name, revision)
    factory = _factory(config, lm_head, name)
    with _readable_errors(name, revision), _quiet():
        # weights_only: a checkpoint that is a pickle may hold tensors and nothing else.
        model = factory.from_pretrained(
            resolve_model(name),
            revision=revision,
            dtype=torch_dtype(dtype),
            weights_only=True,
            **({} if lm_head else _without_pooler(config)),
        )
    model.config.use_cache = False
    return model.to(device).eval()


def skeleton(config: transformers.PretrainedConfig) -> transformers.PreTrainedModel:
    """The base model made of fake tensors: modules and shapes without weights, in well under a second.

    Fake tensors rather than the meta device, because attention masks look at values, which meta tensors refuse.
    """
    with FakeTensorMode(), _quiet():
        model = transformers.AutoModel.from_config(config, **_without_pooler(config))
    model.config.use_cache = False
    return model.eval()


def _factory(config: transformers.PretrainedConfig, lm_head: bool, name: str):
    if not lm_head:
        return transformers.AutoModel
    kind = head_kind(config)
    if kind is None:
        raise StudyError(
            f"model '{name}' has no language-model head ({', '.join(config.architectures or ['unknown'])})"
        )
    return transformers.AutoModelForCausalLM if kind == "causal" else transformers.AutoModelForMaskedLM


def _without_pooler(config: transformers.PretrainedConfig) -> dict:
    """BERT-like models can leave out their pooler, which no hookpoint reads and few checkpoints train."""
    model_class = transformers.MODEL_MAPPING.get(type(config), None)
    if inspect.isclass(model_class) and "add_pooling_layer" in inspect.signature(model_class.__init__).parameters:
        return {"add_pooling_layer": False}
    return {}


@contextlib.contextmanager
def _readable_errors(name: str, revision: str | None) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, pickle.UnpicklingError) as error:
        reason = str(error).strip().split("\n")[0]
        at = f" (revision {revision})" if revision else ""
        hint = "" if model_folder(name) else "; check the name, or the network"
        raise StudyError(f"model '{name}'{at} cannot be loaded: {reason}{hint}") from None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' bar and its report on heads left out on purpose, or a report of every retry of the hub."""
    log = transformers.utils.logging
    logs = (log, huggingface_hub.utils.logging)
    verbosities = [one.get_verbosity() for one in logs]
    bars = log.is_progress_bar_enabled()
    for one in logs:
        one.set_verbosity_error()
    log.disable_progress_bar()
    try:
        yield
    finally:
        for one, verbosity in zip(logs, verbosities, strict=True):
            one.set_verbosity(verbosity)
        if bars:
            log.enable_progress_bar()
