"""Stitch neighbouring SAEs of a chain, from small to large, on held-out rows."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
import torch

from sae_stability.activations import reader
from sae_stability.errors import StudyError
from sae_stability.files import check_made_from, write_json, write_table
from sae_stability.firing.substitution_job import Variance, blocks
from sae_stability.match.threshold import THRESHOLD
from sae_stability.models.source import ModelSource
from sae_stability.ranges import Count
from sae_stability.sae.formats import own
from sae_stability.sae.model import SAE, load_own
from sae_stability.sae.quality.evaluate import metrics_in_model, spliced_model
from sae_stability.sae.weights import SELECTIVE
from sae_stability.stitch.between import Between
from sae_stability.stitch.changes import Bias, Changes, Side, bias_share
from sae_stability.stitch.components import Components, components
from sae_stability.stitch.interpolation import Interpolation, Order, interpolation, shuffled_reconstruction
from sae_stability.stitch.prediction import Prediction, prediction
from sae_stability.stitch.stitched import check_can_be_stitched, row_threshold, stitched
from sae_stability.stitch.together import Together

if TYPE_CHECKING:
    from sae_stability.sae.quality.language_model import SplicedModel


def stitch(
    *,
    sae: list[tuple[str, Path]],
    chunk: Path,
    out: list[tuple[str, Path]],
    threshold: float = THRESHOLD,
    order: Order = "random",
    order_seed: int = 0,
    bias: Bias = "count",
    config_hash: list[tuple[str, str]] = (),
    activations_hash: str | None = None,
    sae_hash: list[tuple[str, str]] = (),
    tokens: Path | None = None,
    hookpoint: str | None = None,
    model: ModelSource | None = None,
    lm_tokens: Count = 131_072,
    threads: Count = 1,
    device: Literal["cpu", "cuda"] = "cpu",
) -> None:
    """Stitch pairs of SAEs: what each latent of the larger one brings to the smaller one, and every SAE between them.

    Into the folder of a pair go `stitch.json`, `insertions.parquet`, `components.parquet`, `swaps.parquet`,
    `roc.parquet`, `path.parquet`, `reconstruction.parquet` and `sae/`: the small SAE with all novel latents of the
    large one.

    Args:
        sae: NAME=FOLDER of an SAE, such as 0=saes/base/seed-0; once for each.
        chunk: folder of the held-out activations.
        out: SMALL-LARGE=FOLDER for the results of a pair, such as 0-1=stitch; once for each pair.
        threshold: latents of the large SAE whose highest decoder cosine with the small one is below it are novel.
        order: in which novel latents are added and components swapped: random; gain, those first that lower the error
            most; cosine, the most novel latents and the most similar components first.
        order_seed: seed of the random order.
        bias: decoder bias of a stitched SAE: count mixes the two by the number of latents of each; small or large.
        config_hash: SMALL-LARGE=HASH of what a pair's results are made from, recorded in them.
        activations_hash: hash that the activations must record.
        sae_hash: NAME=HASH that an SAE must record.
        tokens: held-out token blocks, for the cross-entropy at the end of each phase of the path.
        hookpoint: where the SAEs are spliced in; by default the large SAE's own hookpoint.
        model: the model that they are spliced into; without a language-model head there is no cross-entropy.
        lm_tokens: approximate number of tokens of the held-out blocks that the model runs on.
        threads: processor cores to use.
        device: where the SAEs run.

    Raises:
        StudyError: a file is missing or damaged or records another hash, widths differ, or latents of two SAEs cannot
            be in one.
    """
    folders, hashes = dict(sae), dict(config_hash)
    for pair, _ in out:
        _check_pair(pair, folders)
    check_made_from(chunk / "manifest.json", activations_hash)
    for name, made_from in sae_hash:
        check_made_from(folders[name] / "cfg.json", made_from)
    torch.set_num_threads(threads)
    data = reader.Chunk(chunk)
    spliced = spliced_model(data, model, tokens, device, lm_tokens)
    for pair, folder in out:
        paths = [folders[name] for name in pair.split("-")]
        pair_of_saes = [load_own(path, device) for path in paths]
        for path, loaded in zip(paths, pair_of_saes, strict=True):
            if loaded.d_model != data.d_model:
                raise StudyError(f"{path}: has width {loaded.d_model}, but {chunk} has width {data.d_model}")
        check_can_be_stitched(*pair_of_saes)
        with torch.inference_mode(), ThreadPoolExecutor(threads) as pool:
            work = _Pair(*pair_of_saes, data, threshold, bias, pool)
            work.measure(order, order_seed)
        work.splice(spliced, hookpoint)
        made_from = hashes.get(pair, "")
        settings = {"small": str(paths[0]), "large": str(paths[1]), "threshold": threshold, "bias": bias}
        settings |= {"order": order, "order_seed": order_seed, "config_hash": made_from}
        for name, table in work.tables().items():
            write_table(folder / f"{name}.parquet", table, {"config_hash": made_from})
        own.write(folder / "sae", work.with_novel.weights, made_from)
        write_json(folder / "stitch.json", settings | work.facts())  # last: it marks the folder as complete


class _Pair:
    """Two SAEs, and what is measured of them on the rows of a chunk."""

    found: Components
    insertions: Changes
    swaps: Changes
    way: Interpolation
    along_way: Changes
    recovered: np.ndarray
    reconstruction: Changes
    with_novel: SAE

    def __init__(
        self, small: SAE, large: SAE, data: reader.Chunk, threshold: float, bias: Bias, pool: ThreadPoolExecutor
    ) -> None:
        self.small, self.large, self._data, self._bias, self._pool = small, large, data, bias, pool
        self.decoders = [side.decoder.numpy(force=True) for side in (small, large)]
        self.found, self._threshold = components(*self.decoders, threshold), threshold
        self.together = Together(self.found.nearest, len(self.decoders[0]))

    def measure(self, order: Order, order_seed: int) -> None:
        """Pass the rows once, or twice where the order follows from the gains."""
        n_small, n_large = (len(decoder) for decoder in self.decoders)
        none = np.full(n_small, -1)
        self.insertions = Changes(*self.decoders, none, np.arange(n_large), n_large, apart=True)
        self.swaps = Changes(
            *self.decoders, self.found.of_small, self.found.of_large, len(self.found.n_large_in), apart=True
        )
        self.recovered = shuffled_reconstruction(self.found, order_seed)
        added = np.full(n_large, -1)
        added[self.recovered] = np.arange(len(self.recovered))
        self.reconstruction = Changes(*self.decoders, none, added, len(self.recovered), apart=False)
        first = [self.insertions, self.swaps, self.reconstruction]
        if order != "gain":
            first.append(self._set_out(interpolation(self.found, order, order_seed)))
        self._pass(first, self.together)
        if order == "gain":
            self._pass([self._set_out(interpolation(self.found, order, order_seed, self.swap_changes))])
        thresholds = tuple(
            row_threshold(np.concatenate(lowest)) if side.activation in SELECTIVE else None
            for side, lowest in zip((self.small, self.large), self._lowest, strict=True)
        )
        self.with_novel = stitched(
            self.small,
            self.large,
            np.ones(n_small, bool),
            self.found.novel,
            thresholds=thresholds,
            bias=self._bias,
        )
        self._loss, self._fired = self._run(self.with_novel)

    def splice(self, spliced: "SplicedModel | None", hookpoint: str | None) -> None:
        """Measure the cross-entropy at the end of each phase of the path, with the stitched SAE in the model."""
        steps = self.way.steps
        self._ce = np.full(len(steps), np.nan)
        if spliced is None:
            return
        place = hookpoint or self.large.cfg.get("hookpoint")
        if place is None:
            raise StudyError("stitch: the large SAE does not say where the model has it; give --hookpoint")
        for step in steps.groupby("phase")["step"].max():
            between = Between(self.small, self.large, self.way.taken > step, self.way.added <= step, self._bias)
            self._ce[step] = metrics_in_model(spliced, between, place, self._data)["ce_sae"]

    @property
    def entries(self) -> int:
        """Entries of all rows: an error's element mean is its sum over these."""
        return self.insertions.rows * self._data.d_model

    @property
    def insertion_changes(self) -> np.ndarray:
        """(n_large,) the change of the mean squared error when this latent alone is added to the small SAE."""
        share = bias_share(self._bias, len(self.decoders[0]), np.ones(len(self.decoders[1])))
        return self._change(self.insertions, share)

    @property
    def swap_changes(self) -> np.ndarray:
        """(components,) the change when this component of the small SAE alone is swapped."""
        kept = len(self.decoders[0]) - self.found.n_small_in
        share = bias_share(self._bias, kept, self.found.n_large_in)
        return self._change(self.swaps, share)

    @property
    def predicted(self) -> Prediction:
        """The highest cosine as a predictor of the insertion's sign. Latents that never fire say nothing."""
        fired = self.together.fired_large > 0
        return prediction(self.found.max_cosine[fired], self.insertion_changes[fired] < 0)

    def tables(self) -> dict[str, pd.DataFrame]:
        """The results of each latent, component and step, by file name."""
        found, steps = self.found, self.way.steps
        insertions = pd.DataFrame(
            {
                "latent": np.arange(len(found.max_cosine), dtype=np.int32),
                "max_cosine": found.max_cosine,
                "nearest": found.nearest.astype(np.int32),
                "fired": self.together.fired_large,
                "activation_cosine": self.together.activation_cosine,
                "delta_mse": self.insertion_changes,
                "kind": np.where(found.novel, "novel", "reconstruction"),
            }
        )
        both = (found.n_small_in > 0) & (found.n_large_in > 0)
        swaps = pd.DataFrame(
            {
                "component": np.arange(len(both), dtype=np.int32),
                "n_small": found.n_small_in,
                "n_large": found.n_large_in,
                "delta_mse": self.swap_changes,
                "delta_l0": self.swaps.l0 - self.swaps.l0_start,
            }
        )[both]
        share = bias_share(self._bias, self.way.kept, steps["n_latents"] - self.way.kept)
        loss = self.along_way.squared_errors(share)
        path = steps.assign(mse=loss / self.entries, fvu=loss / self._variance, l0=self.along_way.l0, ce=self._ce)
        return {
            "insertions": insertions,
            "components": found.table(),
            "swaps": swaps.reset_index(drop=True),
            "roc": self.predicted.curve,
            "path": path,
            "reconstruction": self._reconstruction(),
        }

    def facts(self) -> dict:
        """Counts and sums, for `stitch.json`."""
        predicted, together = self.predicted, self.together
        alive = (together.fired_small > 0, together.fired_large > 0)
        live = self.found if all(some.all() for some in alive) else None
        if live is None and all(some.any() for some in alive):
            rows = (decoder[some] for decoder, some in zip(self.decoders, alive, strict=True))
            live = components(*rows, self._threshold)
        return {
            "n_rows": self.insertions.rows,
            "d_model": self._data.d_model,
            **_counts(self.found),
            "live": None if live is None else _counts(live),
            "auc": _number(predicted.auc),
            "youden_threshold": _number(predicted.threshold),
            "youden_j": _number(predicted.j),
            "mse_by_bias": {
                name: dict(zip(("own", "other"), (loss / self.entries for loss in losses), strict=True))
                for name, losses in together.with_biases.items()
            },
            "stitched_fvu": _number(self._loss / self._variance if self._variance > 0 else np.nan),
            "stitched_l0": self._fired / self.insertions.rows,
        }

    def _reconstruction(self) -> pd.DataFrame:
        """The error of the small SAE as reconstruction latents of the large one are added, one after the other."""
        steps = np.arange(1, len(self.recovered) + 1)
        loss = self.reconstruction.squared_errors(bias_share(self._bias, len(self.decoders[0]), steps))
        columns = {"step": steps, "latent": self.recovered.astype(np.int32), "mse": loss / self.entries}
        return pd.DataFrame(columns | {"l0": self.reconstruction.l0})

    def _change(self, changes: Changes, share: np.ndarray) -> np.ndarray:
        """The change of the mean squared error by each change, from the small SAE with the bias that the rule gives it.

        A rule that gives the small SAE another bias must not count as what a latent does.
        """
        before = changes.start(float(bias_share(self._bias, len(self.decoders[0]), 0)))
        return (changes.squared_errors(share) - before) / self.entries

    def _set_out(self, way: Interpolation) -> Changes:
        self.way = way
        self.along_way = Changes(*self.decoders, way.taken, way.added, len(way.steps), apart=False)
        return self.along_way

    def _pass(self, totals: list[Changes], together: Together | None = None) -> None:
        """Pass all rows through both SAEs, and add them to these totals."""
        device = self.small.encoder.device
        variance = Variance(self._data.mean.to(device))
        self._lowest: tuple[list, list] = ([], [])
        for x in blocks(self._data, max(len(decoder) for decoder in self.decoders)):
            x = x.to(device)
            sides = [Side.of(one, x) for one in (self.small, self.large)]
            for one, side, lowest in zip((self.small, self.large), sides, self._lowest, strict=True):
                lowest.append(_lowest(one, side, x))
            for total in totals:
                total.add(*sides, self._pool)
            if together is not None:
                together.add(*sides)
            variance.add(x)
        self._variance = variance.total()

    def _run(self, sae: SAE) -> tuple[float, int]:
        """The sum of squared errors of an SAE on all rows, and how often its latents fire."""
        loss, fired = 0.0, 0
        for x in blocks(self._data, sae.n_latents):
            x = x.to(sae.encoder.device)
            latents = sae.encode(x)
            loss += float((sae.reconstruct(latents, x) - x).square().sum(dtype=torch.float64))
            fired += int(torch.count_nonzero(latents))
        return loss, fired


def _lowest(sae: SAE, side: Side, x: torch.Tensor) -> np.ndarray:
    """The lowest activation of each row on which some latent fires, as the encoder gives it."""
    lowest = np.full(len(side.error), np.inf, np.float32)
    np.minimum.at(lowest, side.rows, side.values)
    if sae.input_norm == "layer":
        lowest /= x.std(-1).numpy(force=True)
    elif sae.input_norm == "unit":
        lowest /= (x.norm(dim=-1) / x.shape[-1] ** 0.5).numpy(force=True)
    return lowest[np.isfinite(lowest)]


def _counts(found: Components) -> dict:
    """Latents of each kind, and components by the number of their latents."""
    sizes = found.n_small_in + found.n_large_in
    largest = int(sizes.argmax())
    return {
        "n_small": len(found.of_small),
        "n_large": len(found.of_large),
        "novel": int(found.novel.sum()),
        "reconstruction": int((~found.novel).sum()),
        "small_without_partner": int((found.n_large_in[found.of_small] == 0).sum()),
        "components": len(sizes),
        "largest_component": [int(found.n_small_in[largest]), int(found.n_large_in[largest])],
        "largest_component_share": float(sizes[largest] / sizes.sum()),
        "census": found.census(),
    }


def _check_pair(pair: str, saes: dict) -> None:
    """Refuse a pair whose SAEs are not given."""
    if pair.count("-") != 1:
        raise StudyError(f"stitch: --out {pair}=...; a pair is written SMALL-LARGE, such as 0-1")
    if missing := [name for name in pair.split("-") if name not in saes]:
        raise StudyError(f"stitch: no SAE is called {missing[0]}; --sae gives {', '.join(saes)}")


def _number(value: float) -> float | None:
    """JSON has no NaN and no infinity."""
    return float(value) if np.isfinite(value) else None
