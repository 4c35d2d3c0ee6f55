"""Resampling of dead latents (Bricken et al. 2023, "Towards monosemanticity", appendix on neuron resampling).

`TIMES` times in the first half of a training, each latent that has not fired for a while starts anew: its decoder row
becomes the direction of an input drawn with probability proportional to the square of the loss on it, its encoder row
that direction with `SIZE` times the mean norm of live encoder rows; what else belongs to it, and its moments in Adam,
become 0, but for its bias.

Not as in the source, beside the times: the bias is not 0 but such that the latent fires on k / n_latents of the batch
(with 0 it fires on every other input, and what steers L0 answers with a penalty that kills others); inputs are drawn
from the batch just trained on, not from 819,200, and without repeats, because two latents with equal weights would stay
equal for ever (dead latents beyond the batch's size wait for the next time); an input is what the encoder multiplies,
x - decoder_bias, and the loss on it the squared error alone; the learning rate does not warm up again.
"""

import numpy as np
import torch

from sae_stability.random_streams import stream
from sae_stability.sae.training.settings import TrainSettings
from sae_stability.sae.training.steps.variable_l0 import EntryStep

# There after 25,000, 50,000, 75,000 and 100,000 steps, what has not fired in 12,500. Trainings here are shorter.
PARTS, TIMES = 8, 4
SIZE = 0.2


def due(steps: int, total: int) -> bool:
    """Whether latents are resampled after `steps` of a training's `total` steps: 1/8, 2/8, 3/8 and 4/8 of them."""
    return steps > 0 and steps in [total * part // PARTS for part in range(1, TIMES + 1)]


def recent(steps: int, total: int) -> bool:
    """Whether latents were resampled after one of the last ten of `steps` steps."""
    return any(due(before, total) for before in range(steps - 9, steps + 1))


def window(settings: TrainSettings) -> int:
    """Activations without firing from which a latent is dead here: 1/16 of the training."""
    return max(1, settings.total_steps // (2 * PARTS)) * settings.batch_size


def draw(loss: np.ndarray, count: int, settings: TrainSettings, steps: int) -> np.ndarray:
    """Up to `count` different inputs, in the order drawn, each time with probability proportional to loss^2.

    Chance is that of the init seed, the hookpoint and the step alone.

    Args:
        loss: (rows,) of each input; those with 0 are never drawn.
    """
    random = np.random.default_rng(stream("resample", settings.init_seed, settings.hookpoint, steps))
    # Of exponential waiting times at these rates, each is the next shortest with just that probability.
    with np.errstate(divide="ignore"):
        times = random.standard_exponential(len(loss)) / loss**2
    return np.argsort(times, kind="stable")[: min(count, np.count_nonzero(loss))]


def resample(step: EntryStep, inputs: torch.Tensor, error: torch.Tensor) -> None:
    """Let dead latents start anew, from `inputs` (rows, d_model) that were reconstructed with `error` x_hat - x."""
    settings, encoder = step.settings, step.parameters["encoder"]
    dead = step.silent >= window(settings)
    if not dead.any():
        return
    norms = inputs.norm(dim=1)
    loss = error.square().sum(1, dtype=torch.float64) * (norms > 0)  # an input of 0 has no direction
    latents = torch.nonzero(dead)[:, 0]
    chosen = draw(loss.cpu().numpy(), len(latents), settings, step.steps)
    chosen, latents = torch.from_numpy(chosen).to(latents.device), latents[: len(chosen)]
    directions = inputs[chosen] / norms[chosen, None]
    # Where none is live, of all rows.
    size = SIZE * encoder[dead if dead.all() else ~dead].norm(dim=1).mean()
    products = step.operations.product(inputs, (directions * size).T)
    often = max(1, round(len(inputs) * settings.k / settings.n_latents))
    floor = products.topk(min(often + 1, len(inputs)), dim=0).values[-1].clamp(min=0)
    for name, value in step.parameters.items():
        if name != "decoder_bias":
            value[latents] = step.first[name][latents] = step.second[name][latents] = 0
    step.parameters["decoder"][latents] = directions
    encoder[latents] = directions * size
    step.parameters["encoder_bias"][latents] = -floor
