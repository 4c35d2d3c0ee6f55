"""The wheel in a fresh environment: what it declares suffices to match two checkpoints without PyTorch."""

import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
from safetensors.numpy import save_file

from sae_stability.files import read_table

ROOT = Path(__file__).parents[2]
LIBRARY = ROOT / "workflow" / "sae_stability"
N_LATENTS, D_MODEL = 12, 8


def run(*command, cwd: Path, **environment) -> subprocess.CompletedProcess:
    """Run a command that finds neither the checkout nor this environment's packages."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.run(
        [str(word) for word in command], cwd=cwd, env=clean | environment, capture_output=True, text=True, timeout=300
    )


def pip(*words, cwd: Path, python: Path | str = sys.executable) -> subprocess.CompletedProcess:
    return run(python, "-m", "pip", "--disable-pip-version-check", *words, cwd=cwd)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel, built from a copy of the source, so that nothing left in the checkout gets into it."""
    folder = tmp_path_factory.mktemp("wheel")
    probe = pip("download", "--no-deps", "--dest", folder / "probe", "setuptools", cwd=folder)
    if probe.returncode:
        pytest.skip(f"no package registry: {probe.stderr.strip().splitlines()[-1]}")
    source = folder / "source"
    shutil.copytree(LIBRARY, source / "workflow" / "sae_stability", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    built = pip("wheel", "--no-deps", "--wheel-dir", folder, source, cwd=folder)
    assert built.returncode == 0, built.stderr
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def bin_folder(wheel, tmp_path_factory) -> Path:
    """The commands of a fresh environment with the wheel and what it declares, at the pinned versions."""
    folder = tmp_path_factory.mktemp("fresh")
    venv.create(folder / "env", with_pip=True)
    found = folder / "env" / "bin"
    constraints = ROOT / "envs" / "constraints.txt"
    installed = pip("install", "--no-compile", "--constraint", constraints, wheel, cwd=folder, python=found / "python")
    assert installed.returncode == 0, installed.stderr
    return found


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory) -> tuple[Path, Path, np.ndarray]:
    """An SAE of this project, the same latents in another order as sparsify writes them, and that order."""
    folder = tmp_path_factory.mktemp("checkpoints")
    generator = np.random.default_rng(0)
    encoder, decoder = generator.standard_normal((2, N_LATENTS, D_MODEL)).astype(np.float32)
    order = generator.permutation(N_LATENTS)
    bias, zeros = np.zeros(N_LATENTS, np.float32), np.zeros(D_MODEL, np.float32)
    a, b = folder / "a", folder / "b"
    a.mkdir()
    b.mkdir()
    tensors = {"encoder": encoder, "decoder": decoder, "encoder_bias": bias, "decoder_bias": zeros}
    save_file(tensors, a / "sae.safetensors")
    cfg = {"architecture": "topk", "n_latents": N_LATENTS, "d_model": D_MODEL, "k": 3}
    (a / "cfg.json").write_text(json.dumps(cfg))
    tensors = {"encoder.weight": encoder[order], "W_dec": decoder[order], "encoder.bias": bias, "b_dec": zeros}
    save_file(tensors, b / "sae.safetensors")
    (b / "cfg.json").write_text(json.dumps({"num_latents": N_LATENTS, "k": 3, "d_in": D_MODEL}))
    return a, b, order


def test_every_module_and_the_schema_are_in_the_wheel(wheel):
    files = {name for name in ZipFile(wheel).namelist() if name.startswith("sae_stability/")}
    kept = [path for path in LIBRARY.rglob("*") if path.suffix in (".py", ".yaml", ".html", ".css", ".js")]
    assert files == {str(path.relative_to(LIBRARY.parent)) for path in kept}


def test_importing_the_package_imports_no_other(bin_folder, tmp_path):
    heavy = ("numpy", "pandas", "torch", "yaml", "numba", "pyarrow")
    code = f"import sys, sae_stability; print(sorted(set(sys.modules) & set({heavy})), sae_stability.__file__)"
    done = run(bin_folder / "python", "-c", code, cwd=tmp_path)
    assert done.stdout.startswith("[] "), done.stdout + done.stderr
    assert str(bin_folder.parent) in done.stdout


def test_the_command_matches_two_checkpoints(bin_folder, checkpoints, tmp_path):
    a, b, order = checkpoints
    ways = {"command": [bin_folder / "sae-stability"], "module": [bin_folder / "python", "-m", "sae_stability"]}
    counterparts = {}
    for way, command in ways.items():
        out = tmp_path / f"{way}.parquet"
        done = run(*command, "match", "--a", a, "--b", b, "--out", out, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert "same counterpart 1.000" in done.stdout
        table, _ = read_table(out)
        np.testing.assert_allclose(table["cosine_decoder"], 1, atol=1e-6)
        counterparts[way] = table["counterpart_decoder"].to_numpy()
    for found in counterparts.values():
        assert order[found].tolist() == list(range(N_LATENTS))


def test_the_help_lists_the_verbs(bin_folder, tmp_path):
    done = run(bin_folder / "sae-stability", "--help", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for verb in ("validate", "match", "train", "convert"):
        assert verb in done.stdout


def test_a_study_is_checked_with_the_schema_from_the_wheel(bin_folder, tmp_path):
    (tmp_path / "study.yaml").write_text("study: mine\ncohort: {}\n")
    done = run(bin_folder / "sae-stability", "validate", "study.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert "cohorts" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_verb_that_needs_an_extra_names_it_in_one_line(bin_folder, checkpoints, tmp_path):
    out = {"--out-json": "quality.json", "--out-parquet": "latents.parquet"}
    flags = [word for flag, file in out.items() for word in (flag, tmp_path / file)]
    done = run(bin_folder / "sae-stability", "evaluate", "--sae", checkpoints[0], *flags, cwd=tmp_path)
    assert done.returncode == 2
    assert "pip install 'sae-stability[train]'" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_wrong_path_ends_in_one_line_and_exit_code_2(bin_folder, tmp_path):
    done = run(bin_folder / "sae-stability", "match", "--a", "x", "--b", "y", "--out", "m.parquet", cwd=tmp_path)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
