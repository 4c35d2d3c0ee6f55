"""Download an SAE from a local server that speaks the hub's protocol, and refuse wrong folders before that."""

import hashlib
import json
import os
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest

from sae_stability.errors import StudyError
from sae_stability.sae import formats
from sae_stability.sae.checkpoint_files import checked_folder, checkpoint_files
from sae_stability.sae.hub import fetch as fetch_verb

FIXTURES = Path(__file__).parent / "formats" / "fixtures"
COMMIT = "0123456789" * 4
REPOSITORY = {
    f"layers.0/seed1/{path.name}": path.read_bytes()
    for path in (FIXTURES / "sparsify-topk").iterdir()
    if path.is_file()
} | {"layers.0/seed1/optimizer.pt": b"large and not wanted", "layers.0/seed2/cfg.json": b"{}"}


def sha1(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()


class Hub(BaseHTTPRequestHandler):
    """A minimal hub with one repository, someone/saes, at one commit, and one that is gated, someone/gated.

    The connections of `breaking` break in the middle of the weights, as when the other side vanishes.
    """

    breaking = 0

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, *, body: bool):
        path = unquote(urlsplit(self.path).path)
        if path.startswith("/api/models/someone/saes"):
            known = path.rpartition("/")[2] in ("main", "saes", COMMIT)
            value = {"id": "someone/saes", "sha": COMMIT, "siblings": [{"rfilename": name} for name in REPOSITORY]}
            if "/tree/" in path:
                value = [{"type": "file", "path": n, "size": len(c), "oid": sha1(c)} for n, c in REPOSITORY.items()]
            return self.send(
                200 if known else 404, json.dumps(value).encode(), body, {"X-Error-Code": "RevisionNotFound"}
            )
        if path.startswith("/api/models/someone/gated"):
            return self.send(403, b"{}", body, {"X-Error-Code": "GatedRepo"})
        content = REPOSITORY.get(path.removeprefix(f"/someone/saes/resolve/{COMMIT}/"))
        if content is None:
            return self.send(404, b"{}", body, {"X-Error-Code": "RepoNotFound"})
        headers = {"ETag": f'"{sha1(content)}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        start = re.match(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if start and body:
            first, size = int(start[1]), len(content)
            headers["Content-Range"] = f"bytes {first}-{size - 1}/{size}"
            return self.send(206, content[first:], body, headers)
        if body and Hub.breaking and path.endswith(".safetensors"):
            Hub.breaking -= 1
            return self.break_off(content, headers)
        return self.send(200, content, body, headers)

    def break_off(self, content: bytes, headers: dict):
        """Promise all of the file, send half of it, and end the connection."""
        self.send_response(200)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2])
        self.close_connection = True

    def send(self, code: int, content: bytes, body: bool, headers: dict):
        self.send_response(code)
        for name, value in headers.items():
            if code < 300 or name == "X-Error-Code":
                self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            self.wfile.write(content)


@pytest.fixture(scope="module")
def hub():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def fetch(
    hub: str, out: Path, *arguments: str, repo: str = "someone/saes", **variables: str
) -> subprocess.CompletedProcess:
    environment = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    library = str(Path(__file__).parents[2] / "workflow")
    environment |= {
        "HF_ENDPOINT": hub,
        "HF_HUB_OFFLINE": "0",
        "PYTHONPATH": library,
        "HF_HOME": str(out.parent / "cache"),
        **variables,
    }
    command = [sys.executable, "-m", "sae_stability", "fetch", "--repo", repo, "--out", str(out), *arguments]
    return subprocess.run(command, env=environment, text=True, capture_output=True, check=False, timeout=120)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_only_the_files_of_the_sae_are_downloaded(hub, tmp_path):
    result = fetch(hub, tmp_path / "out", "--folder", "layers.0/seed1")
    assert result.returncode == 0, result.stderr
    files = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert files == [".fetched", "layers.0/seed1/cfg.json", "layers.0/seed1/sae.safetensors"]
    here, there = formats.read(FIXTURES / "sparsify-topk"), formats.read(tmp_path / "out" / "layers.0" / "seed1")
    assert np.array_equal(here.encoder, there.encoder)


def test_a_connection_that_breaks_is_taken_up_again(hub, tmp_path):
    Hub.breaking = 1
    result = fetch(hub, tmp_path / "out", "--folder", "layers.0/seed1")
    assert result.returncode == 0, result.stderr
    assert Hub.breaking == 0, "the file was asked for"
    formats.read(tmp_path / "out" / "layers.0" / "seed1")


def test_an_error_of_the_http_library_is_one_line(tmp_path, monkeypatch):
    import httpx
    import huggingface_hub

    def broken(*_, **__):
        raise httpx.ReadError("[Errno 104] Connection reset by peer")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", broken)
    with pytest.raises(StudyError, match=r"someone/saes at main: cannot be fetched from the hub .*Connection reset"):
        fetch_verb(repo="someone/saes", folder="one", out=tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_a_gated_repository_is_named_with_what_to_do(hub, tmp_path):
    result = fetch(hub, tmp_path / "out", "--folder", "one", repo="someone/gated")
    assert result.returncode == 2
    assert "error: someone/gated at main: cannot be fetched from the hub" in result.stderr
    assert "gated" in result.stderr.replace("someone/gated", "")
    assert "Traceback" not in result.stderr


def test_without_network_a_download_is_one_line(tmp_path):
    result = fetch("http://127.0.0.1:9", tmp_path / "out", "--folder", "layers.0/seed1", HF_HUB_OFFLINE="1")
    assert result.returncode == 2
    assert result.stderr.strip().splitlines()[-1].startswith("error: someone/saes at main: cannot be fetched")
    assert "Traceback" not in result.stderr


def test_a_flipped_bit_in_any_fetched_file_is_noticed_and_named(hub, tmp_path):
    out = tmp_path / "out"
    assert fetch(hub, out, "--folder", "layers.0/seed1").returncode == 0
    for name in (".fetched", "layers.0/seed1/cfg.json", "layers.0/seed1/sae.safetensors"):
        content = (out / name).read_bytes()
        middle = len(content) // 2
        (out / name).write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
        with pytest.raises(StudyError, match=rf"{re.escape(str(out / name))}: damaged.*; delete .* and fetch"):
            formats.read(out / "layers.0" / "seed1")
        (out / name).write_bytes(content)
    formats.read(out / "layers.0" / "seed1")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--folder", "layers.7"], "folder 'layers.7' at main holds no file of an SAE"),
        (["--folder", "layers.0/seed1", "--revision", "nowhere"], "someone/saes at nowhere: cannot be fetched"),
        (["--folder", "../up"], "must be a path inside the repository"),
    ],
)
def test_a_missing_folder_or_revision_is_one_line(hub, tmp_path, arguments, message):
    result = fetch(hub, tmp_path / "out", *arguments)
    assert result.returncode == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_a_second_download_replaces_the_first(hub, tmp_path):
    out = tmp_path / "out"
    assert fetch(hub, out, "--folder", "layers.0/seed1").returncode == 0
    (out / ".snakemake_timestamp").touch()
    result = fetch(hub, out, "--folder", "layers.0/seed2")
    assert result.returncode == 0, result.stderr
    assert sorted(contents(out)) == [".fetched", "layers.0/seed2/cfg.json"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "out"], "no temporary folder is left"


@pytest.mark.parametrize(
    ("address", "arguments"),
    [
        ("http://127.0.0.1:9", ["--folder", "layers.0/seed1"]),  # nothing listens there
        (None, ["--folder", "layers.0/seed1", "--revision", "nowhere"]),
        (None, ["--folder", "layers.7"]),
    ],
    ids=["no hub", "no such revision", "no such folder"],
)
def test_a_failed_download_leaves_the_folder_as_it_was(hub, tmp_path, address, arguments):
    out = tmp_path / "out"
    assert fetch(hub, out, "--folder", "layers.0/seed1").returncode == 0
    before = contents(out)
    result = fetch(address or hub, out, *arguments)
    assert result.returncode == 2
    assert result.stderr.strip().splitlines()[-1].startswith("error: someone/saes")
    assert "Traceback" not in result.stderr
    assert contents(out) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "out"]


@pytest.mark.parametrize("fetched_before", [False, True])
def test_files_that_fetch_did_not_download_are_never_replaced(hub, tmp_path, fetched_before):
    out = tmp_path / "out"
    if fetched_before:
        assert fetch(hub, out, "--folder", "layers.0/seed1").returncode == 0
    (out / "notes").mkdir(parents=True)
    (out / "notes" / "mine.txt").write_text("a week of work")
    before = contents(out)
    result = fetch(hub, out, "--folder", "layers.0/seed1")
    assert result.returncode == 2
    assert "out: holds notes/mine.txt, which was not downloaded by fetch; name another folder" in result.stderr
    assert contents(out) == before


def test_a_file_in_the_place_of_the_folder_is_named(hub, tmp_path):
    (tmp_path / "out").write_text("mine")
    result = fetch(hub, tmp_path / "out", "--folder", "layers.0/seed1")
    assert result.returncode == 2
    assert "out: is a file; name a folder" in result.stderr
    assert (tmp_path / "out").read_text() == "mine"


@pytest.mark.parametrize("folder", ["/etc", "a/../../b", "..", "a/*", "a?", "a\\b"])
def test_a_folder_outside_the_repository_is_refused(folder):
    with pytest.raises(StudyError, match="must be a path inside the repository"):
        checked_folder(folder)


def test_a_local_checkpoint_consists_of_its_own_files_only(tmp_path):
    names = [path.name for path in checkpoint_files(FIXTURES / "sparsify-topk")]
    assert names == ["cfg.json", "sae.safetensors"]
    assert checkpoint_files(FIXTURES / "openai-topk" / "8.pt") == [FIXTURES / "openai-topk" / "8.pt"]
    step, settings = tmp_path / "checkpoints" / "ae_200.pt", tmp_path / "config.json"
    step.parent.mkdir()
    step.touch()
    assert checkpoint_files(step) == [step]
    settings.touch()
    assert checkpoint_files(step) == [step, settings]
