"""TopK (Gao et al. 2024, "Scaling and evaluating sparse autoencoders", arXiv 2406.04093), as sparsify 1.3.3 trains it.

latents = TopK(ReLU(encoder (x - decoder_bias) + encoder_bias)), x_hat = decoder^T latents + decoder_bias. Loss: FVU of
the batch + auxk_alpha * AuxK, in which up to d_model / 2 dead latents predict the error of the reconstruction (section
3.1 and appendix A.2; formula in `topk_cpu.AuxiliaryEntries`). Initialisation: encoder rows uniform, as in PyTorch's
linear layer; decoder the same rows scaled to norm 1; encoder bias 0.

Difference from the source: the decoder bias starts at the mean of the first batch, not at the geometric median.
"""

from importlib.util import find_spec

import numpy as np
import torch

from sae_stability.sae.training.normalisation import Normalisation
from sae_stability.sae.training.settings import TrainSettings
from sae_stability.sae.training.steps.protocol import Step
from sae_stability.sae.training.workers import Workers


def make_step(
    weights: dict[str, np.ndarray],
    settings: TrainSettings,
    normalisation: Normalisation,
    device: torch.device,
    workers: Workers,
) -> Step:
    """Make the training step of one SAE: sparse kernels on a CPU and, with Triton, on CUDA; else torch operations."""
    if device.type == "cpu":
        from sae_stability.sae.training.steps.topk_cpu import CpuTopKStep

        return CpuTopKStep(weights, settings, normalisation, workers)
    if device.type == "cuda" and find_spec("triton"):
        from sae_stability.sae.training.steps.topk_triton import TritonTopKStep

        return TritonTopKStep(weights, settings, normalisation, device)
    from sae_stability.sae.training.steps.topk_torch import TorchTopKStep

    return TorchTopKStep(weights, settings, normalisation, device)
