"""Results do not depend on where and from what a verb was started."""

import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from sae_stability import cli, files
from sae_stability.figures import drawings
from tests.figures.conftest import Maker, study_inputs

ROOT = Path(__file__).parents[1]
HOSTILE = {
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    "LC_ALL": "POSIX",
    "PYTHONCOERCECLOCALE": "0",
    "PYTHONUTF8": "0",
    "PYTHONIOENCODING": "ascii",
    "TZ": "Pacific/Kiritimati",
    "COLUMNS": "9",
    "PYTHONHASHSEED": "7",
    "OMP_NUM_THREADS": "3",
    "OPENBLAS_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "all",
    "SOURCE_DATE_EPOCH": "yesterday",
    "PYTHONWARNINGS": "error",
    "FORCE_COLOR": "1",
    "TMPDIR": "/nonexistent",
}
STYLE = "lines.linewidth: 9\nfont.family: serif\nfont.size: 30\naxes.formatter.use_locale: True\nsavefig.bbox: tight\n"


def draw(folder: Path, table: Path, **surroundings: str) -> dict[str, bytes]:
    """All files that the verb `figure` writes, with these environment variables."""
    words = [f"--{ending}={folder / f'f.{ending}'}" for ending in ("svg", "pdf", "png")]
    command = [sys.executable, "-m", "sae_stability", "figure", "--figure", "position", f"--table={table}", *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "workflow"), **surroundings}
    done = subprocess.run(
        [*command, f"--caption={folder / 'f.rst'}"], cwd=folder, env=environment, capture_output=True, input=b"y\n"
    )
    assert done.returncode == 0, done.stderr.decode()
    return {path.name: path.read_bytes() for path in folder.glob("f.*")}


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """The table of a figure with labels beyond ASCII."""
    from sae_stability.figures import tables

    inputs = [(f"{label} é", folder) for label, folder in study_inputs(Maker(tmp_path), "position")]
    tables.write_table(figure="position", input=inputs, out=tmp_path / "position.parquet")
    return tmp_path / "position.parquet"


def test_a_figure_is_the_same_from_a_notebook_with_another_style_locale_and_time_zone(tmp_path, table):
    plain, hostile = tmp_path / "plain", tmp_path / "hostile"
    plain.mkdir()
    hostile.mkdir()
    (hostile / "matplotlibrc").write_text(STYLE)
    (hostile / "more").write_text(STYLE)
    assert draw(plain, table) == draw(hostile, table, **HOSTILE, MATPLOTLIBRC=str(hostile / "more"))


def test_a_matplotlibrc_that_is_no_text_is_named(tmp_path, table):
    (tmp_path / "matplotlibrc").write_bytes(b"font.family: s\xe9rif\n")
    with pytest.raises(AssertionError, match=r"error: matplotlibrc, in this folder .* is not UTF-8 text"):
        draw(tmp_path, table)


def test_a_package_that_stops_at_an_environment_variable_is_named_with_it(tmp_path, monkeypatch, capsys):
    (tmp_path / "picky.py").write_text("import os\nwaits = int(os.environ['PICKY_WAITS'])\n")
    verb = "def work():\n    import picky\n"
    (tmp_path / "verb_with_picky.py").write_text(verb)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PICKY_WAITS", "an hour")
    import verb_with_picky

    monkeypatch.setattr(cli, "run", lambda *_: verb_with_picky.work())
    assert cli.main(["info"]) == 2
    assert capsys.readouterr().err == (
        "error: picky cannot be imported: invalid literal for int() with base 10: 'an hour'; "
        "correct the environment variable PICKY_WAITS\n"
    )
    (tmp_path / "picky.py").write_text("def waits():\n    return int(os.environ['PICKY_WAITS'])\n\n\nimport os\n")
    monkeypatch.setattr(cli, "run", lambda *_: __import__("picky").waits())
    with pytest.raises(ValueError, match="an hour"):  # a fault of a call is no fault of an import
        cli.main(["info"])


def test_help_is_whole_where_python_drops_docstrings():
    words = [sys.executable, "-OO", "-m", "sae_stability", "info", "--help"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "workflow"), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
    assert "Shapes, settings and training metrics of an SAE" in done.stdout
    assert "folder or file of an SAE" in done.stdout


def test_no_verb_can_ask_on_standard_input():
    cli.shut_out_surroundings()
    with pytest.raises(EOFError):
        input()


def test_characters_that_the_font_lacks_come_from_another_font_or_are_named(tmp_path):
    from sae_stability.figures.drawings import style as styles

    resolved = styles.resolve({})
    picture = styles.figure(resolved, 2)
    picture.subplots().set_title("layer \u2312")  # a sign that Matplotlib's STIX has, and one that few fonts have
    fonts = styles._fallbacks(styles.text_of(picture))
    assert any("\u2312" in characters for characters in fonts.values())
    assert "\u2312" not in styles.without_font(styles.text_of(picture))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Matplotlib warns of a box
        styles.save(picture, tmp_path / "f.png", resolved)
    plain = styles.figure(resolved, 2)
    plain.subplots().set_title("layer é α")
    assert styles._fallbacks(styles.text_of(plain)) == {}


def test_a_caption_says_which_characters_show_as_boxes(make, monkeypatch):
    from sae_stability.figures import tables
    from sae_stability.figures.drawings import style as styles

    inputs = [(f"層 {label}", folder) for label, folder in study_inputs(make, "position")]
    tables.write_table(figure="position", input=inputs, out=make.root / "t.parquet")
    monkeypatch.setattr(styles, "_fallbacks", lambda text: {})
    _, caption = drawings.draw("position", files.read_table(make.root / "t.parquet")[0], {})
    assert caption.endswith("No installed font has 層: PDF and PNG show boxes in their place.")


@pytest.fixture
def make(tmp_path: Path) -> Maker:
    return Maker(tmp_path)
