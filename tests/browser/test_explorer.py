"""The explorer in a real browser: every page, from the disk and from a server, with texts that try to become markup."""

import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser import chromium
from tests.explorer import planted

pytestmark = pytest.mark.skipif(chromium.installed() is None, reason="no Chromium: apt-get install chromium")

ROWS = "document.querySelectorAll('.latents tbody a').length"
ORDER = "[...document.querySelectorAll('.latents tbody a')].map((link) => Number(link.textContent))"
PARTNERS = "document.querySelectorAll('article .contexts').length"
BOX = "(box => [box.x, box.y, box.width, box.height])(document.querySelector('{}').getBoundingClientRect())"
PAGES = {
    "": "document.querySelector('.card table')",
    "#/base/seed-0": ROWS,
    "#/base/seed-0/0": PARTNERS,
    f"#/base/seed-0/{planted.DEAD}": "document.querySelector('article')",
    "#/base/seed-0/0/beside": "document.querySelector('form')",
    "#/base/seed-0/0/beside/base/seed-1/1": "document.querySelectorAll('.columns .contexts').length",
    "#/base/seed-0/scatter/seed-1": "document.querySelector('canvas')",
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("browser")
    planted.write_tables(folder / "results")
    planted.write_site(folder / "results", folder / "site")
    return folder / "site"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[chromium.Page]:
    with chromium.browser(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture(scope="module")
def served(site: Path) -> Iterator[str]:
    """The site behind a server on this machine."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    handler = functools.partial(Quiet, directory=site)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def home(site: Path, page: chromium.Page) -> Iterator[str]:
    """The address of the site on the disk. Whatever a test does, the console stays silent and no text is run."""
    page.errors.clear()
    page.look(width=1400)
    yield f"file://{site}/index.html"
    assert page.errors == []
    assert page.run("window.broken") is None


@pytest.mark.parametrize("scheme", ["file", "http"])
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1400])
def test_every_page_opens_by_its_address(home, page, site, served, scheme: str, theme: str, width: int):
    start = home if scheme == "file" else f"{served}/index.html"
    page.look(width=width, theme=theme)
    page.requests.clear()
    for hash, until in PAGES.items():
        page.open(start + hash, until)
        assert page.run("document.querySelectorAll('h1').length") == 1
        assert page.run("document.documentElement.scrollWidth") <= width
        assert page.run("document.querySelectorAll('main b, main img, main script').length") == 0
    background = page.run("getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(22, 24, 27)") == (theme == "dark")
    folder = start.rpartition("/")[0]
    # The icon is no file: without one, browsers ask a server for it.
    outside = [name for name in page.requests if not name.startswith((f"{folder}/", "about:", "data:,"))]
    assert outside == []


def test_texts_are_shown_as_they_are(home, page):
    page.open(f"{home}#/base/seed-0/0", PARTNERS)
    assert page.run("document.querySelector('blockquote bdi').textContent") == planted.MARKUP
    text = page.run("document.querySelector('.contexts .text').textContent")
    assert text.startswith(planted.MARKUP)
    assert "a⟨U+202E⟩b⟨U+200B⟩c⟨U+0007⟩d" in text
    assert page.run("document.querySelector('mark').textContent") == planted.MARKUP
    assert page.run("document.querySelector('.home').textContent") == planted.STUDY
    assert page.run("document.title").endswith(planted.STUDY)


def test_what_a_latents_page_says(home, page):
    page.open(f"{home}#/base/seed-0/0", PARTNERS)
    text = page.run("document.querySelector('main').innerText")
    for words in ("shared by 1 of 1 other seeds", "50.0 % of rows", "0.850", "0.800 to 0.900", "0.450", "0.625"):
        assert words in text
    card = page.run("document.querySelector('article').innerText")
    assert "Seed 1 shared" in card
    assert "latent 1" in card
    # The second SAE's latent 1 is its counterpart, so its own texts stand beside.
    assert page.run(PARTNERS) == 2
    page.go(
        "#/base/seed-0/3",
        "document.querySelector('h1').textContent === 'Latent 3' && document.querySelector('article')",
    )
    assert "below the threshold" in page.run("document.querySelector('article').innerText")


def test_the_group_of_a_latent(home, page):
    page.open(f"{home}#/base/seed-0/0", "document.querySelector('[aria-label=Consensus] table')")
    text = "document.querySelector('[aria-label=Consensus]').innerText"
    assert "Group 0: found in 2 of 2 seeds, mean cosine 0.875." in page.run(text)
    assert "seed 0\tthis latent\nseed 1\tlatent 1" in page.run(text)
    page.open(f"{home}#/base/seed-0/1", "document.querySelector('[aria-label=Consensus] table')")
    assert "seeds contradict each other" in page.run(text)
    page.open(f"{home}#/base/seed-0/3", "document.querySelector('[aria-label=Consensus] p')")
    assert "alone in its group (3)" in page.run(text)


def test_meta_latents_and_the_latents_that_share_them(home, page):
    page.open(f"{home}#/base/seed-0/2", "document.querySelector('[aria-label=Meta-latents] table')")
    rows = "document.querySelector('[aria-label=Meta-latents] tbody').innerText"
    assert page.run(rows) == "latent 0\t0.707\t0.707\t0\nlatent 1\t0.707\t0.707\t1"
    # The latent, two meta-latents, and the latent that each of them makes up.
    assert page.run("document.querySelectorAll('.parts line').length") == 4
    page.run("document.querySelector('.parts a').dispatchEvent(new MouseEvent('click', {bubbles: true}))")
    page.wait("location.hash === '#/base/seed-1/0' && document.querySelector('[aria-label=Meta-latents] table')")
    assert page.run(rows) == "latent 0\t1\t1\nlatent 2\t0.707\t0.707"


STITCHES = "document.querySelector('[aria-label=\"Other SAEs\"] {}')"


def test_the_component_of_a_latent_and_the_nearest_latents_of_another_sae(home, page):
    page.open(f"{home}#/base/seed-0/1", STITCHES.format("table"))
    text = STITCHES.format("article") + ".innerText"
    assert "With base, seed 1 reconstruction" in page.run(text)
    assert "Nearest there: latent 4, decoder cosine 0.500." in page.run(text)
    sizes = "2 latents of the small SAE, base, seed 1, and 2 latents of the large one, base, seed 0."
    assert f"Component 1 of chain sizes, pair 1: {sizes}" in page.run(text)
    rows = "base, seed 1\tlatent 3, latent 4\nbase, seed 0\tlatent 1 (this one), latent 2"
    assert page.run(STITCHES.format("tbody") + ".innerText") == rows
    assert "at least 0.4" in page.run(text)
    # The other side of the pair.
    page.run(STITCHES.format("td a") + ".click()")
    page.wait("document.querySelector('h1').textContent === 'Latent 3' && " + STITCHES.format("table"))
    assert page.run("location.hash") == "#/base/seed-1/3"
    assert "With base, seed 0 with partners" in page.run(text)
    assert "It is the nearest of 1 latent there, by decoder cosine: latent 2 (0.500)" in page.run(text)
    for hash, kind in (("#/base/seed-0/0", "With base, seed 1 novel"), ("#/base/seed-1/5", "without a partner")):
        page.open(home + hash, STITCHES.format("table"))
        assert kind in page.run(text)


def test_a_giant_component_says_how_many_latents_are_left_out(home, page):
    page.open(home, "document.querySelector('h1')")
    giant = """
    Data.stitch = () => {
      const columns = (n) => ({component: new Int32Array(n), nearest: new Int32Array(n), cosine: new Float32Array(n)});
      const side = (n) => ({unpacked: columns(n)});
      return Promise.resolve({small: side(1000), large: side(5000)});
    };"""
    page.run(giant)
    page.go("#/base/seed-0/5", STITCHES.format("table"))
    small, large = page.run(STITCHES.format("tbody") + ".innerText").split("\n")
    assert small.endswith("latent 29, and 970 more")
    assert large.startswith("base, seed 0\tlatent 5 (this one), latent 0, latent 1,")
    assert large.endswith("latent 29, and 4,970 more")


def test_boosted_and_suppressed_tokens(home, page):
    section = "document.querySelector('[aria-label=\"Boosted and suppressed tokens\"] {}')"
    page.open(f"{home}#/base/seed-0/2", section.format("table"))
    assert page.run(section.format("caption") + ".textContent") == "Boosted"
    first = "[...document.querySelectorAll('[aria-label=Boosted] tbody tr')].map((row) => row.textContent)"
    assert page.run(first)[:2] == [" plain2", f"{planted.MARKUP}1"]
    last = first.replace("label=Boosted", "label=Suppressed")
    # Markup stays text, and what would not print is named.
    assert page.run(last)[:2] == ["<svg onload='window.broken = 1'>-2", "a⟨U+202E⟩b⟨U+200B⟩c⟨U+0007⟩d-1"]
    assert page.run("getComputedStyle(document.querySelector('.token')).whiteSpace") == "pre-wrap"


def test_order_search_and_filters_stay_in_the_address(home, page):
    page.open(f"{home}#/base/seed-0", ROWS)
    assert page.run(ORDER) == [0, 1, 2, 3, 4, 5]
    page.run("[...document.querySelectorAll('.latents thead button')].find((b) => b.textContent === 'rate').click()")
    page.run("[...document.querySelectorAll('.latents thead button')].find((b) => b.textContent === 'rate').click()")
    assert page.run(ORDER) == [5, 4, 3, 2, 1, 0]
    assert page.run("document.querySelector('th.rate').getAttribute('aria-sort')") == "ascending"
    page.run("document.querySelector('.bar select').value = 'live'")
    page.run("document.querySelector('.bar select').dispatchEvent(new Event('change'))")
    assert page.run(ORDER) == [4, 3, 2, 1, 0]
    page.run("lowest = document.querySelector('[aria-label=\"lowest rate\"]'); lowest.value = '0.25'")
    page.run("lowest.dispatchEvent(new Event('change'))")
    assert page.run(ORDER) == [2, 1, 0]
    assert page.run("document.querySelector('output').textContent") == "3 of 6"
    address = page.run("location.href")
    page.open(address, ROWS)
    assert page.run(ORDER) == [2, 1, 0]
    page.open(f"{home}#/base/seed-0?search=plain", ROWS)
    assert page.run(ORDER) == [1]
    # Latents without a number come last, whichever the order.
    for sort in ("score", "-score"):
        page.open(f"{home}#/base/seed-0?sort={sort}", ROWS)
        assert page.run(ORDER) == [0, 1, 2, 3, 4, 5]


def test_a_drag_over_a_histogram_filters_and_a_click_takes_it_back(home, page):
    page.open(f"{home}#/base/seed-0", ROWS)
    left, top, width, height = page.run(BOX.format(".histogram svg"))
    middle = top + height / 2
    page.mouse("mousePressed", left + width * 0.6, middle)
    page.mouse("mouseMoved", left + width * 0.9, middle)
    page.mouse("mouseReleased", left + width, middle)
    assert page.run(ORDER) == [0, 1, 2]  # stability above 0.6
    page.mouse("mousePressed", left + 5, middle)
    page.mouse("mouseReleased", left + 5, middle)
    assert page.run(ORDER) == [0, 1, 2, 3, 4, 5]


def test_the_keyboard(home, page):
    page.open(f"{home}#/base/seed-0?sort=-rate", ROWS)
    page.press("/")
    assert page.run("document.activeElement.id") == "search"
    page.press("x")
    assert page.run("document.querySelector('#search').value") == "x"
    page.run("Object.assign(document.querySelector('#search'), {value: ''}).dispatchEvent(new Event('input'))")
    page.press("Escape")
    for _ in range(3):
        page.press("ArrowDown")
    page.press("ArrowUp")
    page.press("Enter")
    page.wait("document.querySelector('h1').textContent === 'Latent 1'")
    page.press("ArrowRight")
    page.wait("document.querySelector('h1').textContent === 'Latent 2'")
    page.press("ArrowLeft")
    page.wait("document.querySelector('h1').textContent === 'Latent 1'")
    page.press("r")
    page.wait("/#.base.seed-0.[0-5]$/.test(location.hash)")
    page.press("Escape")
    page.wait(ROWS)
    assert "sort=-rate" in page.run("location.hash")
    page.press("Escape")
    page.wait("document.querySelector('h1').textContent === 'Cohorts'")


def test_a_dot_opens_its_latent(home, page):
    page.open(f"{home}#/base/seed-0/scatter/seed-1", "document.querySelector('canvas').width > 300")
    left, top, width, height = page.run(BOX.format("canvas"))
    share = (planted.COSINES[3] + 0.2) / 1.2
    x, y = left + 44 + share * (width - 54), top + height - 44 - share * (height - 54)
    page.mouse("mouseMoved", x, y)
    assert page.run("document.querySelector('output').textContent") == "latent 3: decoder 0.30, encoder 0.30"
    page.mouse("mousePressed", x, y)
    page.mouse("mouseReleased", x, y)
    page.wait("document.querySelector('h1').textContent === 'Latent 3'")
    assert page.run("location.hash") == "#/base/seed-0/3"


@pytest.mark.parametrize(
    ("hash", "words"),
    [
        ("#/nothing", "There is no cohort nothing."),
        ("#/base/seed-7", "Cohort base has no SAE seed-7."),
        ("#/base/seed-0/6", "base has latents 0 to 5, not 6."),
        ("#/base/seed-0/<img src=x onerror='window.broken=1'>", "base has latents 0 to 5, not <img"),
    ],
)
def test_an_address_without_a_page_says_what_there_is(home, page, hash: str, words: str):
    page.open(home)
    page.go(hash, "document.querySelector('[role=alert]')")
    assert words in page.run("document.querySelector('[role=alert]').textContent")


def test_the_theme_button_turns_light_and_dark(home, page):
    page.open(home)
    dark = "getComputedStyle(document.documentElement).colorScheme"
    page.run("document.getElementById('theme').click()")
    assert page.run(dark) == "dark"
    page.run("document.getElementById('theme').click()")
    assert page.run(dark) == "light"
    page.run("localStorage.clear()")
