"""Tables of a cohort of two SAEs with six latents, their model, and texts that try to become markup."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from sae_stability.explorer.write import write_explorer
from sae_stability.files import write_json, write_table
from sae_stability.sae.formats import own

N = 6
DEAD = 5
MARKUP = "</script><script>window.broken = 1</script><img src=x onerror='window.broken = 1'><b>bold</b>"
HIDDEN = "a\u202eb\u200bc\x07d"  # right-to-left, zero-width, a control character
PIECES = [MARKUP, " plain", HIDDEN, "<svg onload='window.broken = 1'>", " שלום", "\n"]
STUDY = "study <b>&\"'"
COUNTERPARTS = np.array([1, 0, 2, 3, -1, -1])  # of the first SAE's latents in the second, by either side
COSINES = np.array([0.9, 0.8, 0.75, 0.3, np.nan, np.nan])

NEAREST = np.array([0.3, 0.5, 0.5, 0.5, 0.5, 0.45])  # highest cosine of each latent of the large SAE of a stitched pair
LARGE_IN = [0, 1, 1, 2, 3, 3]  # component of each latent of either SAE
SMALL_IN = [3, 3, 2, 1, 1, 4]


def latents(seed: int) -> pd.DataFrame:
    shared = np.array([1, 1, 1, 0, 0, 0])
    return pd.DataFrame(
        {
            "cohort": "base",
            "seed": seed,
            "latent": np.arange(N),
            "shared_with": shared,
            "n_others": 1,
            "stability": shared.astype(float),
            "mean_cosine": np.nan_to_num(COSINES),
            "rate": [0.5, 0.4, 0.3, 0.2, 0.1, 0.0],
            "alive": np.arange(N) != DEAD,
        }
    )


def match() -> pd.DataFrame:
    found = {"latent": np.arange(N), "alive": True}
    for side in ("decoder", "encoder"):
        found |= {f"counterpart_{side}": COUNTERPARTS, f"cosine_{side}": COSINES}
        found |= {f"best_{side}": np.arange(N), f"best_{side}_cosine": 0.5}
        found |= {f"reverse_best_{side}": np.arange(N)[::-1], f"reverse_best_{side}_cosine": 0.25}
    return pd.DataFrame(found)


def contexts() -> pd.DataFrame:
    """Latent i fires most on piece i, in a `top` text of each split; the dead one nowhere."""
    rows = []
    for latent in range(N - 1):
        for split in ("explain", "score"):
            activations = np.zeros(len(PIECES), np.float32)
            activations[latent], activations[-1] = 2.0 + latent, 0.5
            rows.append((latent, "top", split, activations))
        rows.append((latent, "random", "score", np.zeros(len(PIECES), np.float32)))
    found = pd.DataFrame(rows, columns=["latent", "stratum", "split", "activations"])
    found["block"], found["position"] = np.arange(len(found)) % 2, 0
    found["pieces"] = [PIECES] * len(found)
    return found


def firing() -> pd.DataFrame:
    names = ["mean_activation", "max_activation", "q50", "q90", "q99", "token_entropy", "top_token_share"]
    columns = {name: np.where(np.arange(N) == DEAD, np.nan, 1.0 + np.arange(N)) for name in names}
    return pd.DataFrame({"latent": np.arange(N), "fired": 10, **columns, "document_share": 0.5})


def scores() -> pd.DataFrame:
    rows = [
        (0, draw, explained_by, "random", accuracy + draw / 10, "ok")
        for explained_by, accuracy in (("own", 0.8), ("shuffled", 0.4))
        for draw in range(2)
    ]
    rows.append((1, 0, "own", "random", np.nan, "failed"))
    names = ["latent", "draw", "explained_by", "negatives", "balanced_accuracy", "status"]
    return pd.DataFrame(rows, columns=names)


def groups() -> pd.DataFrame:
    """Latent 0 of the first SAE is latent 1 of the second, and the other way round; every other one is alone."""
    group = np.array([[0, 1, 2, 3, 4, 5], [1, 0, 6, 7, 8, 9]])
    together = group < 2
    columns = {
        "group": group,
        "seed": np.repeat([[0], [1]], N, axis=1),
        "latent": np.repeat([np.arange(N)], 2, axis=0),
        "n_seeds": 1 + together,
        "mean_cosine": np.where(together, 0.875, np.nan),
        "consistent": group != 1,
    }
    found = pd.DataFrame({name: values.ravel() for name, values in columns.items()})
    return found.sort_values("group", kind="stable", ignore_index=True)


def write_saes(folder: Path) -> None:
    """Two SAEs: decoder rows of the first are e0, e1, e0 + e1, e2, e3, e3; the second has e0 to e3, -e0, -e1."""
    e = np.eye(4, dtype=np.float32)
    rows = np.stack([e[0], e[1], e[0] + e[1], e[2], e[3], e[3]])
    for seed, sides in enumerate([rows, np.concatenate([e, -e[:2]])]):
        cfg = {"architecture": "topk", "n_latents": N, "d_model": 4, "k": 2}
        biases = {"encoder_bias": np.zeros(N, np.float32), "decoder_bias": np.zeros(4, np.float32)}
        own.save(folder / f"seed-{seed}", {"encoder": sides, "decoder": sides, **biases}, cfg)


def write_model(folder: Path) -> None:
    """A language model 4 wide whose norm has the weights 1, 2, 1, 1. Token i is piece i, and its row of the head is:

    e0, e1, -e0, -e1, 0, e2.
    """
    import tokenizers
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    sizes = {"hidden_size": 4, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 4}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=len(PIECES), bos_token_id=None, eos_token_id=None, **sizes))
    e = torch.eye(4)
    model.model.norm.weight.data = torch.tensor([1.0, 2.0, 1.0, 1.0])
    model.lm_head.weight.data = torch.stack([e[0], e[1], -e[0], -e[1], 0 * e[0], e[2]])
    model.save_pretrained(folder)
    words = tokenizers.models.WordLevel({piece: token for token, piece in enumerate(PIECES)}, unk_token=PIECES[0])
    tokenizer = tokenizers.Tokenizer(words)
    tokenizer.decoder = tokenizers.decoders.Fuse()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(folder)


def write_tables(folder: Path) -> None:
    """Every table of the cohort `base`, under its place in a study's results."""
    pair = folder / "matches" / "base" / "0-1.parquet"
    write_table(pair, match())
    together = {"pairing": "decoder", "latent": np.arange(N), "counterpart": COUNTERPARTS, "correlation": COSINES}
    write_table(folder / "cofiring/base/0-1.parquet", pd.DataFrame({**together, "jaccard": 0.5}))
    write_table(folder / "overlap/base/latents.parquet", pd.concat([latents(0), latents(1)]))
    intervals = {"source": ["trained", "trained", "floor"], "latents": ["all", "live", "all"]}
    intervals |= {"statistic": "shared", "mean": [0.5, 0.6, 0.0]}
    write_table(folder / "overlap/base/intervals.parquet", pd.DataFrame(intervals))
    for seed in (0, 1):
        name = f"base/seed-{seed}.parquet"
        write_json(folder / f"evaluation/base/seed-{seed}.json", {"fvu": 0.25, "l0": 2.0, "dead_fraction": 1 / N})
        write_table(folder / "firing" / name, firing())
        write_table(folder / "contexts" / name, contexts())
        said = {"latent": [0, 1], "explanation": [MARKUP, ""], "status": ["ok", "failed"], "reason": ["", "no_credit"]}
        write_table(folder / "explanations/words" / name, pd.DataFrame(said))
        write_table(folder / "scores/words/detection" / name, scores())
    write_table(folder / "consensus/base/groups.parquet", groups())
    write_saes(folder / "saes/base")
    stitch = folder / "stitch" / "sizes" / "1"
    pair = {"small": "results/saes/base/seed-1", "large": "results/saes/base/seed-0", "threshold": 0.4}
    write_json(stitch / "stitch.json", pair)
    near = {"latent": np.arange(N), "nearest": np.arange(N)[::-1], "max_cosine": NEAREST}
    write_table(stitch / "insertions.parquet", pd.DataFrame(near))
    # The table is by component, so it is not in the order of latents.
    together = {"component": [*LARGE_IN, *SMALL_IN], "side": ["large"] * N + ["small"] * N, "latent": [*range(N)] * 2}
    write_table(stitch / "components.parquet", pd.DataFrame(together).sort_values(["component", "side"], kind="stable"))
    write_model(folder / "model")
    summary = {"seed": [0, 1], "explained_by": "own", "negatives": "random", "chance_95": 0.625}
    write_table(folder / "scores/words/detection/base/summary.parquet", pd.DataFrame(summary))


def write_site(tables: Path, out: Path, **changes) -> None:
    """The explorer of these tables; `changes` are other arguments of `write_explorer`."""
    kinds = ("overlap", "evaluation", "matches", "firing", "contexts", "cofiring", "consensus")
    given = {kind: [("base", tables / kind / "base")] for kind in kinds}
    given["explanations"] = [("words/base", tables / "explanations/words/base")]
    given["scores"] = [("words/detection/base", tables / "scores/words/detection/base")]
    given["sae"] = [(f"{seed}/base", tables / f"saes/base/seed-{seed}") for seed in (0, 1)]
    given["meta"] = [("0/base", tables / "saes/base/seed-1")]  # the second SAE stands in for a meta-SAE
    given["head"] = [("base", json.dumps({"name": str(tables / "model")}))]
    given["stitch"] = [tables / "stitch/sizes/1"]
    given["about"] = [("base", f"model: {MARKUP}"), ("base", "hookpoint: layers.0.mlp")]
    write_explorer(**{"study": STUDY, "threshold": 0.7, **given, "out": out, "config_hash": "made from"} | changes)
