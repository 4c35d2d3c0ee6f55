"""Resampling of dead latents (Bricken et al. 2023, "Towards monosemanticity", appendix on neuron resampling).

`RESAMPLINGS` times in the first half of a training, every latent that has not fired for a while is reinitialised. An
input is drawn with probability proportional to its squared loss. The decoder row becomes the input's direction; the
encoder row becomes that direction with `ENCODER_NORM_SHARE` times the mean norm of live encoder rows. The bias is set
as below. All other parameters of the latent, and its moments in Adam, become 0.

Differences from the source:

- Latents are resampled at other steps, because trainings here are shorter.
- The bias is not 0, but such that the latent fires on k / n_latents of the batch. With bias 0 it would fire on half of
  all inputs, and the controller of L0 would answer with a penalty that kills other latents.
- Inputs are drawn from the batch just trained on, not from 819,200 inputs.
- No input is drawn twice, because two latents with equal weights would stay equal forever. Dead latents beyond the
  batch's size wait for the next resampling.
- An input is what the encoder multiplies, x - decoder_bias, and its loss is the squared error alone.
- The learning rate does not warm up again.
"""

import numpy as np
import torch

from sae_stability.random_streams import stream
from sae_stability.sae.training.settings import TrainSettings
from sae_stability.sae.training.steps.variable_l0 import EntryStep

# The source resamples after 25,000, 50,000, 75,000 and 100,000 steps what has not fired in 12,500 steps.
PARTS, RESAMPLINGS = 8, 4
ENCODER_NORM_SHARE = 0.2


def is_due(steps: int, total: int) -> bool:
    """Whether latents are resampled after `steps` of a training's `total` steps: 1/8, 2/8, 3/8 and 4/8 of them."""
    return steps > 0 and steps in [total * part // PARTS for part in range(1, RESAMPLINGS + 1)]


def just_resampled(steps: int, total: int) -> bool:
    """Whether latents were resampled within the last ten of `steps` steps."""
    return any(is_due(before, total) for before in range(steps - 9, steps + 1))


def dead_after(settings: TrainSettings) -> int:
    """Number of activations without firing after which a latent is resampled: 1/16 of the training."""
    return max(1, settings.total_steps // (2 * PARTS)) * settings.batch_size


def draw_inputs(loss: np.ndarray, count: int, settings: TrainSettings, steps: int) -> np.ndarray:
    """Draw up to `count` distinct inputs, one after another, with probability proportional to loss^2.

    The draw depends only on the init seed, the hookpoint and the step.

    Args:
        loss: (rows,) loss of each input; inputs with loss 0 are never drawn.
        steps: steps of the training so far.

    Returns:
        Indices of the inputs, in the order drawn.
    """
    random = np.random.default_rng(stream("resample", settings.init_seed, settings.hookpoint, steps))
    # Sorting exponential waiting times of rate loss^2 draws without replacement with these probabilities.
    with np.errstate(divide="ignore"):
        times = random.standard_exponential(len(loss)) / loss**2
    return np.argsort(times, kind="stable")[: min(count, np.count_nonzero(loss))]


def resample(step: EntryStep, inputs: torch.Tensor, error: torch.Tensor) -> None:
    """Reinitialise the dead latents of `step`, in place.

    Args:
        inputs: (rows, d_model) x - decoder_bias of the batch.
        error: (rows, d_model) x_hat - x of the batch.
    """
    settings, encoder = step.settings, step.parameters["encoder"]
    dead = step.silent >= dead_after(settings)
    if not dead.any():
        return
    norms = inputs.norm(dim=1)
    loss = error.square().sum(1, dtype=torch.float64) * (norms > 0)  # a zero input has no direction
    latents = torch.nonzero(dead)[:, 0]
    chosen = draw_inputs(loss.cpu().numpy(), len(latents), settings, step.steps)
    chosen, latents = torch.from_numpy(chosen).to(latents.device), latents[: len(chosen)]
    directions = inputs[chosen] / norms[chosen, None]
    # If no latent is live, the mean norm is over all rows.
    size = ENCODER_NORM_SHARE * encoder[dead if dead.all() else ~dead].norm(dim=1).mean()
    products = step.operations.product(inputs, (directions * size).T)
    target_count = max(1, round(len(inputs) * settings.k / settings.n_latents))
    floor = products.topk(min(target_count + 1, len(inputs)), dim=0).values[-1].clamp(min=0)
    for name, value in step.parameters.items():
        if name != "decoder_bias":
            value[latents] = step.first[name][latents] = step.second[name][latents] = 0
    step.parameters["decoder"][latents] = directions
    encoder[latents] = directions * size
    step.parameters["encoder_bias"][latents] = -floor
