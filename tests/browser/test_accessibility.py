"""Can everyone read the explorer and the paper? axe-core checks both themes, and a phone's width."""

import hashlib
import json
from pathlib import Path

import pytest

from sae_stability.report.paper import write_report
from tests.browser import chromium
from tests.browser.test_explorer import PAGES, home, page, site  # noqa: F401 - fixtures
from tests.report.conftest import whole  # noqa: F401 - a fixture

pytestmark = pytest.mark.skipif(chromium.installed() is None, reason="no Chromium: apt-get install chromium")

AXE = Path(__file__).with_name("axe") / "axe.min.js"
CHECK = """
axe.run(document, {resultTypes: ["violations"], preload: false}).then(({violations}) => violations
  .filter(({impact}) => impact === "serious" || impact === "critical")
  .map(({id, help, nodes}) => ({id, help, where: nodes.slice(0, 3).map((node) => node.html)})))
"""


def findings(page: chromium.Page) -> list[dict]:  # noqa: F811
    """What axe-core finds in the page in sight and calls serious or critical."""
    page.run(AXE.read_text() + ";0")
    return page.run(CHECK)


@pytest.mark.parametrize(("width", "theme"), [(1400, "light"), (1400, "dark"), (390, "light")])
def test_no_page_has_a_serious_finding(home, page, width: int, theme: str):  # noqa: F811
    page.look(width=width, theme=theme)
    found = {}
    for hash, until in PAGES.items():
        page.open(home + hash, until)
        if some := findings(page):
            found[hash] = some
    assert not found, json.dumps(found, indent=1)


def test_the_paper_has_no_serious_finding(page, whole):  # noqa: F811
    write_report(**whole)
    found = {}
    for width, theme in ((1100, "light"), (1100, "dark"), (390, "light")):
        page.look(width=width, theme=theme)
        page.open(whole["html"].as_uri())
        if some := findings(page):
            found[f"{width}, {theme}"] = some
        assert page.run("document.documentElement.scrollWidth") <= width
    assert not found, json.dumps(found, indent=1)


def test_the_check_finds_what_is_wrong(home, page):  # noqa: F811
    page.open(home)
    page.run("document.querySelector('main').append(document.createElement('img'))")
    assert [one["id"] for one in findings(page)] == ["image-alt"]


def test_axe_core_is_the_published_file():
    assert hashlib.sha256(AXE.read_bytes()).hexdigest() in AXE.with_name("README.md").read_text()
