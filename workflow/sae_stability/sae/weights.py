"""An SAE as arrays and settings: the common form that every checkpoint format is read into and written from."""

import dataclasses

import numpy as np

from sae_stability.errors import StudyError

ACTIVATIONS = ("topk", "abstopk", "groupmax", "relu", "jumprelu", "gated")
SELECTIVE = ("topk", "abstopk", "groupmax")  # k decides which latents fire
INPUT_NORMS = ("none", "layer", "unit")
# Optional tensors and their shapes: n is n_latents, d is d_model.
OPTIONAL = {"threshold": "n", "gate_bias": "n", "log_magnitude": "n", "skip": "dd"}
_NEEDED = {"jumprelu": ("threshold",), "gated": ("gate_bias", "log_magnitude")}
_SHAPES = {"encoder": "nd", "decoder": "nd", "encoder_bias": "n", "decoder_bias": "d"} | OPTIONAL


@dataclasses.dataclass(frozen=True, eq=False)
class Weights:
    """Weights of an SAE, and the forward pass that they define on raw activations. Constant scales are folded in.

    If `input_norm` is not "none", each row x is first normalised, and the reconstruction is scaled back. Then z = x, or
    x - decoder_bias if `subtract_decoder_bias`; pre = encoder z + encoder_bias. Latents by `activation`:

    - topk: the k largest of relu(pre); abstopk: the k with the largest |pre|, with their signs;
    - groupmax: k groups of neighbouring latents; the largest relu(pre) of each group;
    - relu: relu(pre);
    - jumprelu: relu(pre) where pre > threshold; also BatchTopK and Matryoshka SAEs in use, with one common threshold;
    - gated: relu(exp(log_magnitude) * (encoder z) + encoder_bias) where encoder z + gate_bias > 0.

    Reconstruction: decoder^T latents + decoder_bias, plus skip x if there is a `skip`.

    Attributes:
        encoder, decoder: (n_latents, d_model) float32, rows are latents; decoder rows may have any norm.
        encoder_bias: (n_latents,). decoder_bias: (d_model,).
        k: number of latents that fire on a row; for jumprelu, the number that it was trained for, if known.
        threshold, gate_bias, log_magnitude: (n_latents,), or None if the activation does not use them.
        skip: (d_model, d_model), the skip connection of a skip transcoder, or None.
        input_norm: "layer": (x - its mean) / (its standard deviation + 1e-5); "unit": x scaled to norm sqrt(d_model).
        origin: where the SAE comes from, as the file states it: format, model, hookpoint.
    """

    encoder: np.ndarray
    decoder: np.ndarray
    encoder_bias: np.ndarray
    decoder_bias: np.ndarray
    activation: str
    k: int | None = None
    threshold: np.ndarray | None = None
    gate_bias: np.ndarray | None = None
    log_magnitude: np.ndarray | None = None
    skip: np.ndarray | None = None
    subtract_decoder_bias: bool = True
    input_norm: str = "none"
    origin: dict = dataclasses.field(default_factory=dict)

    @property
    def n_latents(self) -> int:
        """Number of latents."""
        return self.encoder.shape[0]

    @property
    def d_model(self) -> int:
        """Width of the activations."""
        return self.encoder.shape[1]

    @property
    def tensors(self) -> dict[str, np.ndarray]:
        """The tensors that are not None, by name."""
        return {name: getattr(self, name) for name in _SHAPES if getattr(self, name) is not None}

    @property
    def settings(self) -> dict:
        """All settings except `origin`."""
        names = ("activation", "k", "subtract_decoder_bias", "input_norm")
        return {name: getattr(self, name) for name in names}


def checked(weights: Weights, where: object) -> Weights:
    """The weights as contiguous float32 arrays, after checking that they make an SAE.

    Args:
        where: path that error messages name.

    Raises:
        StudyError: shapes disagree, values are not finite or not plausible, k is impossible or a tensor is missing.
    """
    if weights.encoder.ndim != 2 or not weights.encoder.size:
        raise StudyError(f"{where}: encoder has shape {weights.encoder.shape}; must be (n_latents, d_model)")
    if weights.activation not in ACTIVATIONS or weights.input_norm not in INPUT_NORMS:
        raise StudyError(
            f"{where}: activation {weights.activation!r} with input normalisation {weights.input_norm!r} is not known; "
            f"allowed: {', '.join(ACTIVATIONS)} with {', '.join(INPUT_NORMS)}"
        )
    if not isinstance(weights.subtract_decoder_bias, bool):
        raise StudyError(f"{where}: subtract_decoder_bias must be true or false")
    missing = [name for name in _NEEDED.get(weights.activation, ()) if getattr(weights, name) is None]
    if missing:
        raise StudyError(f"{where}: no {' and '.join(missing)}, which a {weights.activation} SAE needs")
    _check_k(weights, where)
    tensors = {name: _checked_tensor(weights, name, where) for name in weights.tensors}
    _check_plausible(tensors, where)
    return dataclasses.replace(weights, **tensors)


def fold_norms(weights: Weights) -> Weights:
    """Weights with unit decoder rows: the rows' norms are moved into encoder and encoder bias, not into the threshold.

    This is the same SAE if its latents are selected by pre-activation times decoder norm.
    """
    norms = np.linalg.norm(weights.decoder, axis=1).astype(np.float32)
    return dataclasses.replace(
        weights,
        encoder=weights.encoder * norms[:, None],
        encoder_bias=weights.encoder_bias * norms,
        decoder=weights.decoder / np.where(norms > 0, norms, 1)[:, None],
    )


def _check_k(weights: Weights, where: object) -> None:
    k, n = weights.k, weights.n_latents
    if k is None and weights.activation not in SELECTIVE:
        return
    if not isinstance(k, int) or isinstance(k, bool) or not 1 <= k <= n:
        raise StudyError(f"{where}: k is {k!r}; must be a whole number from 1 to the {n:,} latents")
    if weights.activation == "groupmax" and n % k:
        raise StudyError(f"{where}: {n:,} latents cannot be split into k = {k} equal groups")


def _checked_tensor(weights: Weights, name: str, where: object) -> np.ndarray:
    sizes = {"n": weights.n_latents, "d": weights.d_model}
    expected = tuple(sizes[letter] for letter in _SHAPES[name])
    value = getattr(weights, name)
    if value.shape != expected:
        raise StudyError(f"{where}: {name} has shape {value.shape}, but the encoder's shape requires {expected}")
    if value.dtype.kind not in "fiu":
        raise StudyError(f"{where}: {name} holds {value.dtype} values; must be real numbers")
    value = np.ascontiguousarray(value, dtype=np.float32)
    if not np.isfinite(value).all():
        raise StudyError(f"{where}: {name} holds values that are not finite; the file is damaged")
    return value


def _check_plausible(tensors: dict[str, np.ndarray], where: object) -> None:
    """Refuse finite weights with which no forward pass can be right.

    A row whose product with itself overflows float32 gives infinite activations or errors, and a dictionary of zeros
    has no directions to match.
    """
    for name in ("encoder", "decoder", "skip", "encoder_bias", "decoder_bias"):
        if name not in tensors:
            continue
        rows = np.atleast_2d(tensors[name])
        with np.errstate(over="ignore"):
            finite = np.isfinite(np.einsum("ij,ij->i", rows, rows))
        if not finite.all():
            place = f"row {int(np.argmin(finite))} of {name}" if tensors[name].ndim == 2 else name
            largest = np.abs(rows[int(np.argmin(finite))]).max()
            raise StudyError(f"{where}: {place} holds {largest:.2g}, too large for products; the file is damaged")
    for name in ("encoder", "decoder"):
        if not tensors[name].any():
            raise StudyError(f"{where}: {name} holds zeros alone; the file is damaged")
    with np.errstate(over="ignore"):
        if "log_magnitude" in tensors and not np.isfinite(np.exp(tensors["log_magnitude"])).all():
            raise StudyError(f"{where}: log_magnitude holds values whose exponential is infinite; the file is damaged")
