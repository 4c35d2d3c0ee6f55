"""The pages: links lead somewhere, settings and code that they show are real, the citation is complete."""

import re
from pathlib import Path

import numpy as np
import pytest
import yaml

from sae_stability import sae
from sae_stability.files import read_table
from sae_stability.study.schema import check, schema
from tests import pages

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def anchors(page: Path) -> set[str]:
    """The headings of a page as GitHub names them in links."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@each_page
def test_every_relative_link_leads_somewhere(page):
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()) if "://" not in link]
    for link in links:
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), f"{page.name}: {link}"
        assert not anchor or anchor in anchors(target), f"{page.name}: {link}"


def test_links_are_found_at_all():
    assert len(re.findall(r"\]\(docs/", (ROOT / "README.md").read_text())) >= 5


def test_every_page_is_named_in_the_readme():
    readme = (ROOT / "README.md").read_text()
    assert [page.name for page in PAGES[1:] if f"{page.relative_to(ROOT)})" not in readme] == []


def test_settings_that_the_pages_show_are_settings():
    shown = [text for page in PAGES for text in re.findall(r"`(\w+: \{[^`]+)`", page.read_text())]
    assert len(shown) >= 2
    for text in shown:
        check(yaml.safe_load(text), schema(), fill=False)


def test_the_stage_in_the_recipe_does_its_work(tmp_path):
    files = pages.files(pages.section(pages.CONTRIBUTING, "To add a stage: eight places"))
    names = {}
    exec(compile(files["workflow/sae_stability/sae/quality/norms.py"], "contributing.md", "exec"), names)
    rows = np.array([[3, 4], [0, 2]], np.float32)
    tensors = {"encoder": rows, "decoder": rows / 2, "encoder_bias": rows[0], "decoder_bias": rows[0]}
    _write_sae(tmp_path / "sae", tensors)
    names["write_norms"](sae=tmp_path / "sae", out=tmp_path / "norms.parquet")
    table, _ = read_table(tmp_path / "norms.parquet")
    assert table["encoder"].tolist() == [5, 2]
    assert table["decoder"].tolist() == [2.5, 1]


def _write_sae(path: Path, tensors: dict) -> None:
    """An SAE folder of two latents of width 2."""
    import json

    from safetensors.numpy import save_file

    path.mkdir()
    save_file(tensors, path / "sae.safetensors")
    cfg = {"architecture": "topk", "n_latents": 2, "d_model": 2, "k": 1}
    (path / "cfg.json").write_text(json.dumps(cfg))
    assert set(sae.arrays(path)) == set(tensors)


def test_the_citation_names_the_version_and_both_papers():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors", "license"} <= citation.keys()
    assert f'version = "{citation["version"]}"' in (ROOT / "pyproject.toml").read_text()
    papers = [reference["identifiers"][0]["value"] for reference in citation["references"]]
    assert papers == ["arXiv:2501.16615", "arXiv:2502.04878"]
    for reference in citation["references"]:
        assert {"type", "title", "authors", "year", "url"} <= reference.keys()
        assert all(author.keys() == {"given-names", "family-names"} for author in reference["authors"])


def test_the_changelog_has_the_version():
    version = yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"]
    assert re.search(rf"^## {re.escape(version)}\b", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)


def test_the_catalogue_entry_says_how_to_run():
    usage = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text())["usage"]
    assert usage.keys() == {"mandatory-flags", "software-stack-deployment", "report"}
    assert usage["report"] is True
