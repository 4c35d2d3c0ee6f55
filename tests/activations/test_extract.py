import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from sae_stability.activations import extraction, in_memory
from sae_stability.activations.reader import Chunk, rows
from sae_stability.activations.writer import shuffled_order
from sae_stability.corpus.blocks import BlockFile
from sae_stability.errors import StudyError
from sae_stability.models.loading import load_model
from sae_stability.models.source import ModelSource
from tests.tiny import HOOKPOINTS


def contents(folder: Path) -> tuple[torch.Tensor, np.ndarray]:
    """Activations and token index of a chunk, in stored order."""
    activations, index = zip(*rows(folder), strict=True)
    return torch.cat(activations), torch.cat(index).numpy()


def manual(model: torch.nn.Module, hookpoint: str, **inputs: torch.Tensor) -> torch.Tensor:
    """Activations by a plain forward pass with one plain torch hook."""
    path, _, side = hookpoint.partition(":")
    found = []
    module = model.get_submodule(path)
    if side:
        handle = module.register_forward_pre_hook(lambda _module, args: found.append(args[0]))
    else:
        handle = module.register_forward_hook(lambda _module, _args, output: found.append(output))
    with torch.no_grad():
        model(**inputs)
    handle.remove()
    return found[0][0] if isinstance(found[0], tuple) else found[0]


def plain_rows(model, tokens: Path, chunk, hookpoint: str, keep_special=False) -> dict[int, torch.Tensor]:
    """token_index -> row, with a full attention mask, one block at a time."""
    result = {}
    for first, blocks, kept in BlockFile(tokens, chunk).kept(keep_special=keep_special):
        for block in range(len(blocks)):
            inputs = {
                "input_ids": torch.tensor(blocks.tokens[block : block + 1]).long(),
                "attention_mask": torch.tensor(blocks.document_id[block : block + 1] >= 0).long(),
            }
            found = manual(model, hookpoint, **inputs)[0]
            for offset in np.flatnonzero(kept[block]):
                result[(first + block) * blocks.tokens.shape[1] + int(offset)] = found[offset]
    return result


@pytest.mark.parametrize("packing", [True, False])
@pytest.mark.parametrize("name", list(HOOKPOINTS))
def test_rows_equal_a_plain_forward_pass(run, models, token_sets, name, packing):
    model = load_model(ModelSource(str(models[name])), "cpu")
    for chunk in (1, "heldout"):
        outs = run(name, chunk, packing=packing)
        for hookpoint, out in zip(HOOKPOINTS[name], outs, strict=True):
            expected = plain_rows(model, token_sets(name, packing), chunk, hookpoint)
            activations, index = contents(out)
            assert sorted(index.tolist()) == sorted(expected)
            torch.testing.assert_close(
                activations, torch.stack([expected[i] for i in index.tolist()]), rtol=1e-4, atol=1e-5
            )


@pytest.mark.parametrize(("dtype", "tolerance"), [("float16", 2**-10), ("bfloat16", 2**-7)])
def test_a_narrow_dtype_rounds_and_nothing_else(run, tmp_path, dtype, tolerance):
    (full, *_), (narrow, *_) = (run("bert", out=tmp_path / kind, dtype=kind) for kind in ("float32", dtype))
    expected, index = contents(full)
    activations, narrow_index = contents(narrow)
    assert np.array_equal(index, narrow_index)
    assert torch.equal(activations, expected.to(getattr(torch, dtype)).float())
    assert (activations - expected).abs().max() <= tolerance * expected.abs().max()


def test_order_is_one_random_permutation_for_every_hookpoint_pass_and_batch_size(run, tmp_path):
    outs = run("bert")
    orders = [contents(out)[1] for out in outs]
    orders.append(contents(run("bert", out=tmp_path / "pass", hookpoint=["embeddings"], batch_tokens=37)[0])[1])
    for order in orders[1:]:
        assert np.array_equal(order, orders[0])
    assert len(set(orders[0].tolist())) == len(orders[0]) == 400
    # In a random order, neighbours' distances average a third of the range, and ranks are uncorrelated.
    assert abs(np.corrcoef(np.arange(400), orders[0])[0, 1]) < 0.2
    assert np.abs(np.diff(np.argsort(np.argsort(orders[0])))).mean() == pytest.approx(400 / 3, rel=0.15)
    other = contents(run("bert", out=tmp_path / "seed", shuffle_seed=1)[0])[1]
    assert sorted(other) == sorted(orders[0])
    assert not np.array_equal(other, orders[0])


def test_the_shuffle_is_uniform():
    ranks = np.stack([np.argsort(np.argsort(shuffled_order(s, 0, 1).key(np.arange(4)))) for s in range(2400)])
    permutations, counts = np.unique(ranks, axis=0, return_counts=True)
    assert len(permutations) == 24
    # Chi-square with 23 degrees of freedom: 49.7 is passed once in a thousand, and the seeds are fixed.
    assert ((counts - 100) ** 2 / 100).sum() < 49.7


@pytest.mark.parametrize("chunk_tokens", [90, 333])
def test_chunks_hold_the_rows_of_one_chunk_wherever_the_borders_fall(run, tmp_path, chunk_tokens):
    def everything(chunk_tokens: int) -> dict[int, torch.Tensor]:
        found: dict[int, torch.Tensor] = {}
        for chunk in range(-(-1000 // chunk_tokens)):
            out = run("gpt_neox", chunk, chunk_tokens=chunk_tokens, out=tmp_path / str(chunk_tokens))[0]
            activations, index = contents(out)
            assert not found.keys() & set(index.tolist())
            found |= dict(zip(index.tolist(), activations, strict=True))
        return found

    whole, parts = everything(1000), everything(chunk_tokens)
    assert whole.keys() == parts.keys()
    for index, row in whole.items():
        torch.testing.assert_close(parts[index], row, rtol=1e-4, atol=1e-5)


def test_shards_are_as_many_as_the_config_says_and_headers_say_whose_they_are(run):
    out = run("bert", 2, chunk_tokens=400)[0]  # the last chunk: 200 tokens, but ceil(400 / 150) shards
    chunk = Chunk(out)
    assert chunk.rows == 200
    assert len(chunk.shard_rows) == 3
    with safe_open(out / "shard-0000.safetensors", framework="pt") as file:
        header = json.loads(file.metadata()["sae_stability"])
    assert header["hookpoint"] == HOOKPOINTS["bert"][0]
    assert header["dtype"] == "float32"
    assert header["config_hash"] == "abc"
    assert "revision" in header
    assert "model" in header


def test_held_out_rows_keep_their_order_over_shards(run):
    out = run("bert", "heldout", shard_rows=50)[0]
    assert len(Chunk(out).shard_rows) == 3
    index = contents(out)[1]
    assert index.tolist() == sorted(index.tolist())
    assert len(index) == 130


def test_statistics_are_those_of_the_stored_rows(run):
    out = run("gpt2", dtype="bfloat16", shard_rows=1000)[0]
    activations = contents(out)[0].double()
    manifest, chunk = json.loads((out / "manifest.json").read_text()), Chunk(out)
    mean = activations.mean(dim=0)
    torch.testing.assert_close(chunk.mean.double(), mean, rtol=1e-5, atol=1e-6)
    assert manifest["mean_squared_norm"] == pytest.approx(float(activations.square().sum(dim=1).mean()), rel=1e-5)
    assert manifest["mean_centred_norm"] == pytest.approx(float((activations - mean).norm(dim=1).mean()), rel=1e-5)
    assert manifest["median_norm"] == pytest.approx(float(activations.norm(dim=1).median()), rel=1e-5)
    assert chunk.scale == pytest.approx(manifest["mean_centred_norm"] / 32**0.5)


def test_special_tokens_and_padding_are_dropped_and_counted(run, token_sets):
    out = run("bert", 0, packing=False)[0]
    dropped = json.loads((out / "manifest.json").read_text())["dropped"]
    blocks = [blocks for _, blocks in BlockFile(token_sets("bert", False), 0).read()]
    padding = sum(int((some.document_id < 0).sum()) for some in blocks)
    assert padding > 0
    assert dropped["padding"] == padding
    assert dropped["special"] == sum(int(some.special.sum()) for some in blocks) - padding


def test_special_tokens_are_kept_on_request_but_never_padding(run, models, token_sets, tmp_path):
    model = load_model(ModelSource(str(models["bert"])), "cpu")
    out = run("bert", 0, packing=False, keep_special=True)[0]
    expected = plain_rows(model, token_sets("bert", False), 0, HOOKPOINTS["bert"][0], keep_special=True)
    activations, index = contents(out)
    assert sorted(index.tolist()) == sorted(expected)
    tokens = np.concatenate([blocks.tokens for _, blocks in BlockFile(token_sets("bert", False), 0).read()]).ravel()
    assert {2, 3} <= set(tokens[index].tolist())  # [CLS], [SEP]
    assert 0 not in tokens[index]  # [PAD]
    torch.testing.assert_close(activations, torch.stack([expected[i] for i in index.tolist()]), rtol=1e-4, atol=1e-5)


def test_rows_of_extreme_norm_are_dropped_by_their_multiple_of_the_median(run, tmp_path):
    hookpoints = ["layers.0.mlp"]
    everything, index = contents(run("gpt_neox", hookpoint=hookpoints, out=tmp_path / "all")[0])
    norms = everything.norm(dim=1)
    limit = 1.2 * float(norms.median())
    out = run("gpt_neox", hookpoint=hookpoints, out=tmp_path / "some", max_norm_multiple=1.2)[0]
    activations, kept = contents(out)
    expected = norms <= limit
    assert 0 < int((~expected).sum()) < 200
    assert np.array_equal(kept, index[expected.numpy()])
    assert torch.equal(activations, everything[expected])
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["dropped"]["sink"] == int((~expected).sum())


@pytest.mark.parametrize("multiple", [None, 1.2])
def test_the_number_of_threads_changes_no_byte(run, tmp_path, multiple):
    def made(threads: int) -> dict[str, bytes]:
        changes = {"threads": threads, "batch_tokens": 40, "max_norm_multiple": multiple}
        outs = run("bert", out=tmp_path / str(threads), packing=False, **changes)
        return {f"{out.parent.name}/{path.name}": path.read_bytes() for out in outs for path in out.iterdir()}

    assert made(1) == made(4)


def broken_copy(models, tmp_path, change) -> Path:
    """The tiny GPT-NeoX with weights changed in place by `change(model)`."""
    folder = shutil.copytree(models["gpt_neox"], tmp_path / "broken")
    model = load_model(ModelSource(str(models["gpt_neox"])), "cpu", lm_head=True)
    with torch.no_grad():
        change(model)
    model.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("multiple", [None, 3.0])
def test_activations_that_are_not_finite_are_named_and_leave_nothing(run, models, token_sets, tmp_path, multiple):
    tokens = token_sets("gpt_neox")
    blocks = next(BlockFile(tokens, 0).read())[1]
    victim = int(blocks.tokens[3, 5])
    first = int(np.flatnonzero((blocks.tokens == victim).ravel() & ~blocks.special.ravel())[0])
    block, position = divmod(first, 16)

    def poison(model):
        model.gpt_neox.embed_in.weight[victim] = float("nan")

    folder = broken_copy(models, tmp_path, poison)
    with pytest.raises(StudyError, match=rf"'embed_in', block {block}, position {position}: .*NaN or infinity"):
        run("gpt_neox", hookpoint=["embed_in"], model=ModelSource(str(folder)), max_norm_multiple=multiple)
    assert not [path for path in tmp_path.rglob("embed_in/**/*") if path.is_file()]


def test_values_too_large_for_float16_are_told_from_infinity(run, models, tmp_path):
    folder = broken_copy(models, tmp_path, lambda model: model.gpt_neox.embed_in.weight.mul_(1e6))
    with pytest.raises(StudyError, match="too large for the stored dtype; choose bfloat16 or float32"):
        run("gpt_neox", hookpoint=["embed_in"], model=ModelSource(str(folder)), dtype="float16")


def without(models, tmp_path, end: str) -> ModelSource:
    """The tiny GPT-NeoX without the tensor whose name ends so."""
    folder = tmp_path / "lacking"
    shutil.copytree(models["gpt_neox"], folder)
    tensors = load_file(folder / "model.safetensors")
    kept = {name: value for name, value in tensors.items() if not name.endswith(end)}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    return ModelSource(str(folder))


@pytest.mark.parametrize("multiple", [None, 3.0])
def test_a_hookpoint_that_needs_weights_which_are_not_there_is_refused(run, models, tmp_path, multiple):
    source = without(models, tmp_path, "layers.0.mlp.dense_h_to_4h.weight")
    with pytest.raises(StudyError, match=r"'layers.0.mlp' needs weights .* lack layers.0.mlp.dense_h_to_4h.weight"):
        run("gpt_neox", hookpoint=["layers.0.mlp"], model=source, max_norm_multiple=multiple)
    with pytest.raises(StudyError, match=r"'layers.1' needs weights"):
        in_memory.extract(source, ["some text"], ["layers.1"], context_length=16)


def test_weights_that_a_hookpoint_does_not_need_may_miss(run, models, tmp_path):
    expected = contents(run("gpt_neox", hookpoint=["layers.0"], out=tmp_path / "whole")[0])[0]
    source = without(models, tmp_path, ("layers.1.mlp.dense_h_to_4h.weight", "embed_out.weight"))
    found = contents(run("gpt_neox", hookpoint=["layers.0"], model=source, out=tmp_path / "part")[0])[0]
    assert torch.equal(found, expected)


def test_a_forward_pass_that_fails_names_the_model(run, monkeypatch):
    def fail(*_, **__):
        raise NotImplementedError("no kernel for this device\nmore")

    monkeypatch.setattr("transformers.models.gpt_neox.modeling_gpt_neox.GPTNeoXMLP.forward", fail)
    with pytest.raises(
        StudyError, match="cannot run on 1 x 16 tokens: NotImplementedError: no kernel for this device;"
    ):
        run("gpt_neox", hookpoint=["layers.0"])


def test_a_token_set_of_another_tokenizer_is_refused(run, models, token_sets):
    with pytest.raises(StudyError, match="the model knows 232; use the model's own tokenizer"):
        run("bert", tokens=token_sets("gpt_neox"))


def test_a_failed_extraction_with_a_wrong_hookpoint_leaves_nothing(run, tmp_path):
    with pytest.raises(StudyError, match=r"nearest: 'layers\.0\.mlp'"):
        run("gpt_neox", hookpoint=["layers.0", "layers.0.mpl"])
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


KILLED = """
import json, os, sys, time
from pathlib import Path
from sae_stability.activations import writer
from sae_stability.activations.extraction import extract
from sae_stability.models.source import ModelSource

arguments = json.loads(sys.argv[1])
arguments |= {"tokens": Path(arguments["tokens"]), "model": ModelSource(arguments["model"])}
stage, wait = sys.argv[2], lambda: (print("here", flush=True), time.sleep(60))
if stage == "bins":
    append = writer.ChunkWriter.append
    writer.ChunkWriter.append = lambda self, *given: (append(self, *given), int(self.filled.sum()) > 150 and wait())
elif stage == "shards":
    write = writer.ChunkWriter._write_shard
    writer.ChunkWriter._write_shard = lambda self, shard, *given: (shard == 0 and wait(), write(self, shard, *given))[1]
else:
    writer.write_json = lambda *given: wait()
extract(**arguments)
"""


@pytest.mark.parametrize("stage", ["bins", "shards", "manifest"])
def test_a_killed_extraction_leaves_nothing_that_is_believed(run, models, token_sets, tmp_path, stage):
    hookpoint = "layers.0.mlp"
    reference = run("gpt_neox", hookpoint=[hookpoint], out=tmp_path / "reference")[0]
    out = tmp_path / "killed" / hookpoint / "chunk-0000"
    out.mkdir(parents=True)
    (out / "manifest.json").write_text((reference / "manifest.json").read_text())  # of an older run
    arguments = {
        "model": str(models["gpt_neox"]),
        "tokens": str(token_sets("gpt_neox")),
        "chunk": 0,
        "hookpoint": [hookpoint],
        "out": [str(out)],
        "dtype": "float32",
        "shard_rows": 150,
        "shuffle_seed": 0,
        "keep_special": False,
        "max_norm_multiple": None,
        "batch_tokens": 100,
        "device": "cpu",
        "chunk_tokens": 400,
        "config_hash": "abc",
    }
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "workflow")}
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, json.dumps(arguments), stage],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
    )
    with process:
        assert process.stdout.readline() == b"here\n"
        process.send_signal(signal.SIGKILL)
    left = [path.name for path in out.parent.iterdir() if path != out]
    assert len(left) == 1
    with pytest.raises(StudyError, match=r"shard-0000\.safetensors is missing"):
        Chunk(out).shard(0)  # the manifest is there, of the older run, but no shard
    run("gpt_neox", hookpoint=[hookpoint], out=tmp_path / "killed")
    names = sorted(path.name for path in reference.iterdir())
    assert sorted(path.name for path in out.iterdir()) == names
    assert list(out.parent.iterdir()) == [out]
    assert all((out / name).read_bytes() == (reference / name).read_bytes() for name in names)


def test_gelus_are_computed_in_place(run, monkeypatch):

    models = []
    monkeypatch.setattr(extraction, "load_model", lambda *given: models.append(load_model(*given)) or models[0])
    run("gpt_neox", hookpoint=["layers.1"])
    values = torch.linspace(-3, 3, 10)
    assert all(layer.mlp.act(values) is values for layer in models[0].layers)
