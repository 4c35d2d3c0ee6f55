"""A trainer that `bench/train.py` times, in a process of its own that takes steps on request.

    python bench/train_sides.py SIDE ACTIVATIONS.npy '{"n_latents": 8192, "k": 32, ...}'

Runs in the environment of the library that SIDE names. Every line on stdin is a number of steps; the answer is a line
of JSON: their seconds, and the FVU of the last one. Activations (rows, d_model) float32 are in memory, used in order.
Every side has the same number of threads, Adam, the same learning rate at every step, unit decoder rows (SAELens scales
by their norm instead) and no auxiliary loss.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

os.environ["SPARSIFY_DISABLE_TRITON"] = "1"  # its kernels are for GPUs
Step = Callable[["torch.Tensor"], Callable[[], float]]  # noqa: F821 (batch -> a function that computes the FVU)


def ours(shape: dict, batch: np.ndarray) -> Step:
    sys.path.insert(0, str(Path(__file__).parents[1] / "workflow"))
    import torch

    from sae_stability.sae.training.initial_weights import initial_weights
    from sae_stability.sae.training.normalisation import Normalisation
    from sae_stability.sae.training.settings import TrainSettings
    from sae_stability.sae.training.steps import architecture
    from sae_stability.sae.training.workers import Workers

    name = shape.get("architecture", "topk")
    settings = TrainSettings(
        architecture=name,
        n_latents=shape["n_latents"],
        k=shape["k"],
        tokens=2**40,
        chunk_tokens=2**40,
        batch_size=shape["batch_size"],
        **shape.get("settings", {}),
    )
    d_model = batch.shape[1]
    weights = initial_weights(settings.n_latents, d_model, 0, "bench") | {"decoder_bias": batch.mean(axis=0)}
    workers = Workers(shape["threads"]).__enter__()
    nothing = Normalisation(np.zeros(d_model, np.float32), 1.0)
    training = architecture(name).make_step(weights, settings, nothing, torch.device("cpu"), workers)
    if shape.get("sparse"):  # as after a few hundred steps: k latents of a row fire, not half of them
        inputs = torch.from_numpy(batch - batch.mean(axis=0))
        pre = (inputs @ training.parameters["encoder"].T).flatten()
        training.parameters["encoder_bias"].fill_(-pre.topk(len(batch) * shape["k"]).values[-1])

    def step(x) -> Callable[[], float]:
        result = training.step(x, shape["rate"])
        return lambda: result.fvu

    return step


def sparsify(shape: dict, batch: np.ndarray) -> Step:
    """The step of sparsify's `Trainer.fit`, written out because the trainer needs a language model and a GPU."""
    import torch
    from sparsify import SparseCoder, SparseCoderConfig

    coder = SparseCoder(batch.shape[1], SparseCoderConfig(num_latents=shape["n_latents"], k=shape["k"]))
    coder.b_dec.data = torch.from_numpy(batch).mean(0)
    optimiser = torch.optim.Adam(coder.parameters(), lr=shape["rate"])
    silent = torch.zeros(shape["n_latents"], dtype=torch.long)
    fired = torch.zeros(shape["n_latents"], dtype=torch.bool)

    def step(x) -> Callable[[], float]:
        coder.set_decoder_norm_to_unit_norm()
        out = coder(x, total_variance=(x - x.mean(0)).pow(2).sum())
        fired[out.latent_indices.flatten()] = True
        out.fvu.backward()
        coder.remove_gradient_parallel_to_decoder_directions()
        optimiser.step()
        optimiser.zero_grad()
        silent.add_(len(x))[fired] = 0
        fired.zero_()
        fvu = float(out.fvu.detach())  # its trainer reads it at every step
        return lambda: fvu

    return step


def saelens(shape: dict, batch: np.ndarray, **options_of_sae) -> Step:
    """SAELens' `SAETrainer.step`."""
    import torch
    from sae_lens.config import SAETrainerConfig
    from sae_lens.saes.topk_sae import TopKTrainingSAE, TopKTrainingSAEConfig
    from sae_lens.training.sae_trainer import SAETrainer

    config = {"d_in": batch.shape[1], "d_sae": shape["n_latents"], "k": shape["k"], "aux_loss_coefficient": 0.0}
    sae = TopKTrainingSAE(TopKTrainingSAEConfig(**config, **options_of_sae))
    sae.b_dec.data = torch.from_numpy(batch).mean(0)
    options = {"total_training_samples": 2**40, "train_batch_size_samples": len(batch)}
    options |= {"lr": shape["rate"], "lr_end": shape["rate"]}
    trainer = SAETrainer(SAETrainerConfig(**options, feature_sampling_window=2**40), sae, iter(()))

    def step(x) -> Callable[[], float]:
        output = trainer.step(x)
        trainer.n_training_steps += 1
        return lambda: float((output.sae_out.detach() - x).pow(2).sum() / _variance(x))

    return step


def saelens_sparse(shape: dict, batch: np.ndarray) -> Step:
    """As `saelens`, with sparse activations; their backward pass fails unless rescaling by decoder norms is off."""
    return saelens(shape, batch, use_sparse_activations=True, rescale_acts_by_decoder_norm=False)


def _variance(x) -> float:
    return float((x - x.mean(0)).pow(2).sum())


def dictionary_learning(shape: dict, batch: np.ndarray) -> Step:
    """`update` of dictionary_learning's trainers; only TopK's returns the squared error, from which FVU follows."""
    from formats import dictionary_classes

    dictionary_classes()
    from dictionary_learning.trainers import batch_top_k, gdm, jumprelu, matryoshka_batch_top_k, standard, top_k

    k = {"k": shape["k"], "auxk_alpha": 0}
    penalty = {"sparsity_warmup_steps": None}
    name = shape.get("architecture", "topk")
    kind, own = {
        "topk": (top_k.TopKTrainer, k),
        "batchtopk": (batch_top_k.BatchTopKTrainer, k),
        "matryoshka": (
            matryoshka_batch_top_k.MatryoshkaBatchTopKTrainer,
            k | {"group_fractions": [1 / 32, 1 / 16, 1 / 8, 1 / 4, 17 / 32]},
        ),
        "relu": (standard.StandardTrainerAprilUpdate, penalty),
        "gated": (gdm.GatedSAETrainer, penalty),
        "jumprelu": (jumprelu.JumpReluTrainer, penalty | {"target_l0": shape["k"]}),
    }[name]
    options = {"steps": 2**31, "activation_dim": batch.shape[1], "dict_size": shape["n_latents"], "lr": shape["rate"]}
    options |= {"warmup_steps": 0, "layer": 0, "lm_name": "", "device": "cpu"}
    trainer = kind(**options, **own)
    steps = iter(range(2**31))  # from 0, where some trainers set the decoder bias from the batch

    def step(x) -> Callable[[], float]:
        loss = trainer.update(next(steps), x)
        return lambda: loss * len(x) / _variance(x) if name == "topk" else float("nan")

    return step


SIDES: dict[str, Callable] = {
    "ours": ours,
    "sparsify": sparsify,
    "saelens": saelens,
    "saelens_sparse": saelens_sparse,
    "dictionary_learning": dictionary_learning,
}


def main(side: str, activations: str, shape: dict) -> None:
    """Answer requests until stdin ends."""
    import torch

    torch.set_num_threads(shape["threads"])
    torch.manual_seed(0)
    answers, sys.stdout = sys.stdout, sys.stderr
    rows = np.load(activations)
    size = shape["batch_size"]
    batches = [torch.from_numpy(rows[i : i + size]) for i in range(0, len(rows) - size + 1, size)]
    step = SIDES[side](shape, rows[:size])
    taken = 0
    for line in sys.stdin:
        started = time.perf_counter()
        for _ in range(int(line)):
            fvu = step(batches[taken % len(batches)])
            taken += 1
        seconds = time.perf_counter() - started
        print(json.dumps({"seconds": seconds, "fvu": fvu()}), file=answers, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]))
