"""Loading a transformers model, or only its skeleton: quietly, and running no code from its files."""

import contextlib
import inspect
from collections.abc import Iterator

import huggingface_hub
import torch
import transformers
from torch._subclasses.fake_tensor import FakeTensorMode

from sae_stability.errors import StudyError
from sae_stability.models.boundary import loading
from sae_stability.models.dtypes import torch_dtype
from sae_stability.models.parts import part_of
from sae_stability.models.source import ModelSource
from sae_stability.models.unloaded import check_head, check_switched_off, mark_missing
from sae_stability.random_streams import stream

_ADAPTER = "adapter_config.json"
_KINDS_OF_LAYERS = ("layer_types", "mlp_layer_types")


def model_config(source: ModelSource) -> transformers.PretrainedConfig:
    """The model's configuration; reads no weights.

    Raises:
        StudyError: there is none, or the folder holds an adapter.
    """
    if source.folder and (source.folder / _ADAPTER).exists():
        # transformers would apply it where the package peft is installed, and ignore it elsewhere.
        raise StudyError(
            f"model '{source.name}': holds an adapter ({_ADAPTER}); merge it into the model, such as with "
            f"merge_and_unload() of peft, and save that; or remove {_ADAPTER} to read the model without it"
        )
    with loading("model", source), _quiet():
        return transformers.AutoConfig.from_pretrained(
            source.location, revision=source.revision, trust_remote_code=False
        )


def head_kind(config: transformers.PretrainedConfig) -> str | None:
    """ "causal" or "masked" if the checkpoint has a language-model head, else None.

    A bare encoder such as MiniLM has none; transformers would add one with random weights.
    """
    from transformers.models.auto import modeling_auto as auto

    architecture = (config.architectures or [""])[0]
    if architecture in auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values():
        return "causal"
    if architecture in auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES.values():
        return "masked"
    return None


def load_model(source: ModelSource, device: str, *, lm_head: bool = False) -> transformers.PreTrainedModel:
    """The model with its weights in evaluation mode, exactly as saved: nothing is folded or centred.

    Weights that the files do not have are NaN (transformers would draw them at random), so that nothing computed from
    them passes for an activation; `missing_weights` names them. With a `random_seed`, all weights are drawn as the
    model's own code draws them before training, and only the configuration comes from the files.

    Args:
        source: which model; its `dtype` is that of weights and computation.
        device: a torch device.
        lm_head: load the language-model head too (`AutoModelForCausalLM` or `AutoModelForMaskedLM`).

    Raises:
        StudyError: the model cannot be loaded, its weights have another SHA-256 than `source` states, or it has no
            language-model head where one is asked for; the files hold weights that the configuration switches off.
    """
    source.check_weights()
    config = model_config(source)
    factory = _factory(config, source) if lm_head else transformers.AutoModel
    if source.random_seed is not None:
        return part_of(_random_model(config, factory, source), source).to(device).eval()
    with loading("model", source), _quiet():
        # weights_only: a checkpoint that is a pickle may hold tensors and nothing else.
        model, report = factory.from_pretrained(
            source.location,
            revision=source.revision,
            dtype=torch_dtype(source.dtype),
            weights_only=True,
            trust_remote_code=False,
            output_loading_info=True,
            **({} if lm_head else _without_pooler(config)),
        )
        inside = f"{source.part}." if source.part else ""
        missing = sorted(report["missing_keys"], key=lambda name: (not name.startswith(inside), name))
        unused = sorted(report["unexpected_keys"])
        check_switched_off(model, unused, source)
        if lm_head:
            check_head(missing, unused, source)
        model.config.use_cache = False
        part = part_of(model, source)
        mark_missing(model, part, missing, unused)
        return part.to(device).eval()


def load_without_layers(source: ModelSource) -> transformers.PreTrainedModel:
    """A causal language model with its embeddings, final norm and head, on the CPU; weights of layers stay unread.

    A model that is not made without layers is loaded whole, and so is one of random weights, which depend on all that
    is drawn before them.

    Raises:
        StudyError: as `load_model`.
    """
    if source.random_seed is None:
        source.check_weights()
        try:
            return _without_layers(source)
        except StudyError:
            pass  # what is wrong with the files, if they are the reason, comes below
    return load_model(source, "cpu", lm_head=True)


def _without_layers(source: ModelSource) -> transformers.PreTrainedModel:
    config = model_config(source)
    with loading("model", source), _quiet():
        text = config.get_text_config()
        text.num_hidden_layers = 0
        for kinds in _KINDS_OF_LAYERS:
            if getattr(text, kinds, None):
                setattr(text, kinds, [])
        model, report = transformers.AutoModelForCausalLM.from_pretrained(
            source.location,
            revision=source.revision,
            config=config,
            dtype=torch_dtype(source.dtype),
            weights_only=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
        model.config.use_cache = False
        model.eval()(input_ids=torch.zeros((1, 1), dtype=torch.long))  # some models cannot run without layers
    check_head(sorted(report["missing_keys"]), [], source)
    return model


def _random_model(
    config: transformers.PretrainedConfig, factory: type, source: ModelSource
) -> transformers.PreTrainedModel:
    """A model of weights that were never trained: the same on every device, with and without its head."""
    with loading("model", source), _quiet(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream("random-weights", source.random_seed))
        model = base = transformers.AutoModel.from_config(
            config, dtype=torch.float32, trust_remote_code=False, **_without_pooler(config)
        )
        if factory is not transformers.AutoModel:
            model = factory.from_config(config, dtype=torch.float32, trust_remote_code=False)
            model.base_model.load_state_dict(base.state_dict())
    model.config.use_cache = False
    return model.to(torch_dtype(source.dtype))


def skeleton(config: transformers.PretrainedConfig) -> transformers.PreTrainedModel:
    """The base model made of fake tensors: modules and shapes without weights, built in well under a second.

    The meta device would not do: attention masks look at values, which meta tensors do not have.
    """
    with FakeTensorMode(), _quiet():
        model = transformers.AutoModel.from_config(config, trust_remote_code=False, **_without_pooler(config))
    model.config.use_cache = False
    return model.eval()


def _factory(config: transformers.PretrainedConfig, source: ModelSource):
    """The class that loads the model with its language-model head."""
    kind = head_kind(config)
    if kind is None:
        raise StudyError(
            f"model '{source.name}' has no language-model head ({', '.join(config.architectures or ['unknown'])})"
        )
    return transformers.AutoModelForCausalLM if kind == "causal" else transformers.AutoModelForMaskedLM


def _without_pooler(config: transformers.PretrainedConfig) -> dict:
    """The option that leaves out the pooler of BERT-like models: no hookpoint reads it, few checkpoints train it."""
    model_class = transformers.MODEL_MAPPING.get(type(config), None)
    if inspect.isclass(model_class) and "add_pooling_layer" in inspect.signature(model_class.__init__).parameters:
        return {"add_pooling_layer": False}
    return {}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence transformers and the hub: no progress bar, no report on heads left out on purpose or on retries."""
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
