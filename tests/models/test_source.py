"""Which model is meant: names, folders and checksums."""

import subprocess
import sys
from pathlib import Path

import pytest

from sae_stability.errors import StudyError
from sae_stability.files import sha256
from sae_stability.models.source import ModelSource

ROOT = Path(__file__).parents[2]


def folder_with_weights(tmp_path: Path) -> Path:
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    return tmp_path


def test_a_folder_is_its_own_location(tmp_path):
    source = ModelSource(str(tmp_path))
    assert (source.folder, source.location) == (tmp_path, str(tmp_path))
    assert (source.revision, source.sha256, source.dtype) == (None, None, "float32")


def test_a_hub_name_has_no_folder():
    source = ModelSource("nobody/none")
    assert (source.folder, source.location) == (None, "nobody/none")


def test_a_folder_that_is_not_there_is_named(tmp_path):
    for name in (str(tmp_path / "nothing"), "./nothing", "a/b/c"):
        with pytest.raises(StudyError, match=f"model '{name}': no such folder"):
            _ = ModelSource(name).location


def test_a_folder_in_a_package_is_found_and_may_not_leave_it(tmp_path, monkeypatch):
    (tmp_path / "planted_model_package" / "model").mkdir(parents=True)
    (tmp_path / "planted_model_package" / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert ModelSource("package:planted_model_package/model").folder == tmp_path / "planted_model_package" / "model"
    for name in ("package:planted_model_package/..", "package:planted_model_package/other"):
        with pytest.raises(StudyError, match="holds no folder"):
            _ = ModelSource(name).folder
    with pytest.raises(StudyError, match="no Python package 'no_such_package_here'"):
        _ = ModelSource("package:no_such_package_here/model").folder


def test_weights_are_checked_against_their_checksum_in_either_case(tmp_path):
    folder = str(folder_with_weights(tmp_path))
    good = sha256(tmp_path / "model.safetensors")
    for checksum in (None, good, good.upper()):
        ModelSource(folder, sha256=checksum).check_weights()
    with pytest.raises(StudyError, match=f"has sha256 {good}, expected 0000"):
        ModelSource(folder, sha256="0" * 64).check_weights()
    (tmp_path / "model.safetensors").unlink()
    ModelSource(folder).check_weights()
    with pytest.raises(StudyError, match=r"there is no model\.safetensors to check"):
        ModelSource(folder, sha256=good).check_weights()


def test_weights_on_the_hub_are_checked_at_the_revision(tmp_path, monkeypatch):
    folder_with_weights(tmp_path)
    asked = []

    def download(repo: str, file: str, *, revision: str | None) -> str:
        asked.append((repo, file, revision))
        return str(tmp_path / file)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    with pytest.raises(StudyError, match=r"model 'nobody/none': model\.safetensors has sha256"):
        ModelSource("nobody/none", revision="v2", sha256="0" * 64).check_weights()
    assert asked == [("nobody/none", "model.safetensors", "v2")]


def test_sources_can_be_compared_and_serve_as_keys():
    assert ModelSource("a/b") == ModelSource("a/b")
    assert len({ModelSource("a/b"), ModelSource("a/b"), ModelSource("a/b", dtype="bfloat16")}) == 2


def test_knowing_which_model_is_meant_needs_no_heavy_library():
    code = (
        "import sys\nfrom sae_stability.models.headers import model_facts\n"
        "from sae_stability.models.source import ModelSource\n"
        "model_facts(ModelSource('nobody/none'))\n"
        "print([name for name in ('torch', 'numpy', 'transformers', 'huggingface_hub') if name in sys.modules])"
    )
    environment = {"PYTHONPATH": str(ROOT / "workflow")}
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"
