"""Mistakes on the command line of training: one line of error before the first step, and nothing is written."""

import json
from pathlib import Path

import pytest

from sae_stability import cli
from sae_stability.sae.training.train import train_chunk
from tests.sae.training.test_block import command


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a-file").write_text("here already")
    return tmp_path


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--out /proc/x/y", "/proc/x/y: cannot be written (/proc: "),
        ("--out a-file/..", "a-file/..: cannot be written (a-file: Not a directory)"),
        ("--out a-file", "a-file: is not a folder; give a folder"),
        ("--out sae --tensorboard a-file", "a-file: is not a folder; give a folder"),
        ("--out sae --checkpoint .", ".: is not a file; give the path of a file"),
        ("--out sae --checkpoint a-file/c", "a-file/c: cannot be written (a-file: Not a directory)"),
        ("--state-out .", ".: is not a file; give the path of a file"),
        ("--out sae --batch-size 1", "batch_size: 1 given"),
        ("--out sae --auxk-alpha nan", "auxk_alpha: nan given"),
        ("--out sae --learning-rate inf", "learning_rate: inf given"),
        ("--out sae --architecture jumprelu --bandwidth nan", "bandwidth: nan given"),
        ("--out sae --threads 0", "argument --threads: 0 given; it must be from 1 to"),
        ("--out sae --threads -3", "argument --threads: -3 given; it must be from 1 to"),
        (
            "--out sae --tokens 100000 --chunk-tokens 100000 --epochs 1",
            "chunk-0000: 4,096 rows, but tokens, epochs and chunk_tokens give chunk 0 100,000 rows",
        ),
    ],
)
def test_a_mistake_is_one_line_before_training(planted, one_chunk, folder, monkeypatch, capsys, words, message) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setattr("sae_stability.sae.training.train._Loop.run", lambda *_: pytest.fail("trained"))
    assert cli.main([*command(one_chunk, planted), *words.split()]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert message in line
    assert [path.name for path in folder.iterdir()] == ["a-file"]


def test_an_error_of_the_system_is_one_line(folder, capsys) -> None:
    checkpoint = Path(__file__).parents[1] / "formats" / "fixtures" / "sparsify-topk"
    assert cli.main(["convert", "--checkpoint", str(checkpoint), "--out", str(folder / "a-file")]) == 2
    assert capsys.readouterr().err == f"error: {folder / 'a-file'}: File exists\n"


def test_a_chunk_may_be_short_by_its_sinks(planted, one_chunk, tmp_path) -> None:
    from dataclasses import replace

    settings = replace(one_chunk, tokens=4100 * 3, chunk_tokens=4100)
    chunk = tmp_path / "chunk-0000"
    chunk.mkdir()
    for path in planted.chunks[0].iterdir():
        (chunk / path.name).write_bytes(path.read_bytes())
    manifest = json.loads((chunk / "manifest.json").read_text())
    manifest["dropped"]["sink"] = 4
    (chunk / "manifest.json").write_text(json.dumps(manifest))
    train_chunk(chunk=chunk, chunk_index=0, settings=settings, out=tmp_path / "sae", progress=False)
    assert (tmp_path / "sae/cfg.json").exists()
