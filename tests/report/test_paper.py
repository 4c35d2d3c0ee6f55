"""The paper as a whole: its sections, both files, text that would be markup, damaged figures."""

import re
import zlib
from html.parser import HTMLParser
from pathlib import Path

import pytest

from sae_stability.errors import StudyError
from sae_stability.figures.published import MODEL
from sae_stability.report.comparison import comparison
from sae_stability.report.evidence import gather
from sae_stability.report.markup import plain
from sae_stability.report.paper import write_report
from sae_stability.report.sections import section_of
from tests.report.conftest import FACTS, KINDS

HOSTILE = '</p><script>alert(1)</script> #panic("x") $ {{ 1 }} *b* \u202eabc \x07 <svg onload=x>'


class Page(HTMLParser):
    """What a browser would find: tags, ids, text, headings."""

    def __init__(self, text: str):
        super().__init__()
        self.tags, self.ids, self.links, self.text = [], [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        for name, value in attributes:
            assert not name.startswith("on"), (tag, name)
            if name == "id":
                self.ids.append(value)
            if name in ("href", "xlink:href", "src"):
                self.links.append(value)

    def handle_data(self, data):
        self.text += data


def written(arguments: dict) -> Page:
    write_report(**arguments)
    return Page(arguments["html"].read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def page(whole: dict) -> Page:
    return written(whole)


def test_a_whole_study_has_every_section_and_figure(page: Page, whole: dict):
    wanted = {"claims", "abstract", "question", "data", "method", "overlap", "sweeps", "controls", "firing"}
    wanted |= {"interpretability", "published", "limits", "made", "references"}
    assert wanted <= set(page.ids)
    assert {f"figure-{kind}" for kind in KINDS} <= set(page.ids)
    assert whole["pdf"].read_bytes().startswith(b"%PDF-")


def test_it_needs_no_other_file(page: Page):
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in page.links)
    assert page.tags.count("script") == 1
    assert len(page.ids) == len(set(page.ids)), "two pictures have an id in common"
    targets = {link[1:] for link in page.links if link.startswith("#")}
    assert targets <= set(page.ids)


def test_it_is_the_same_bytes_twice(page: Page, whole: dict):
    files = [whole["html"], whole["pdf"]]
    before = [file.read_bytes() for file in files]
    write_report(**whole)
    assert [file.read_bytes() for file in files] == before


def test_a_study_without_a_stage_has_no_section_on_it(study_with):
    page = written(study_with("seeds", "size"))
    assert {"overlap", "sweeps"} <= set(page.ids)
    assert not {"controls", "firing", "interpretability", "stitching", "meta", "consensus", "further"} & set(page.ids)
    assert "Explanations and scores" not in page.text


def test_published_values_stand_beside_the_run_s_own(whole: dict, study_with):
    given = {name: whole[name] for name in ("study", "base", "facts", "overlap", "evaluation", "figure")}
    (table,) = comparison(gather(**given))
    rows = {tuple(map(plain, row))[:3]: tuple(map(plain, row))[3:] for row in table.rows}
    published, here, difference, series = rows["seeds", "only in base (published: by joint)", "3 SAEs"]
    assert (published, series) == ("48.4%", MODEL)
    points = float(here.rstrip("%")) - float(published.rstrip("%"))
    assert float(difference.removesuffix(" points")) == pytest.approx(points, abs=0.11)
    assert rows["size", "joint", "768"][0] == "78.5%"
    assert not [row for row in rows if row[0] == "k"], "its SAEs are of another size"
    page = written(study_with("seeds") | {"facts": whole["facts"] | {"published": False}})
    assert "published" not in page.ids


def test_text_of_a_study_never_turns_into_markup(study_with):
    given = study_with("seeds")
    facts = FACTS | {"about": HOSTILE, "models": [HOSTILE], "cohorts": {"base": {}, HOSTILE: {HOSTILE: HOSTILE}}}
    page = written(given | {"facts": facts, "study": HOSTILE})
    assert page.tags.count("script") == 1
    assert page.text.count('</p><script>alert(1)</script> #panic("x") $ {{ 1 }} *b*') >= 4
    assert not set("\u202e\x07") & set(page.text)


def test_a_caption_is_text_and_a_picture_has_no_script(study_with):
    given = study_with("seeds")
    ((_, record),) = given["figure"]
    svg = record.with_suffix(".svg")
    svg.write_text(svg.read_text().replace("</svg>", '<script>x</script><g onload="x"/><foreignObject/></svg>'))
    with pytest.raises(StudyError, match=r"seeds\.svg: missing, damaged or changed"):
        write_report(**given)
    from sae_stability.report.svg import inline

    page = Page(inline(svg, "a-"))
    assert not {"script", "foreignobject"} & set(page.tags)


def test_the_pdf_holds_its_text_as_text(whole: dict, page: Page):
    data = whole["pdf"].read_bytes()
    streams = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", data, re.DOTALL)
    unpacked = b"".join(map(_inflated, streams))
    assert b"beginbfchar" in unpacked or b"beginbfrange" in unpacked, "fonts say which characters they show"
    assert unpacked.count(b"BT") > 100


def _inflated(stream: bytes) -> bytes:
    try:
        return zlib.decompress(stream)
    except zlib.error:
        return b""


@pytest.mark.parametrize(
    ("kind", "section"),
    [
        ("joint", "overlap"),
        ("insertion", "stitching"),
        ("meta", "meta"),
        ("consensus", "consensus"),
        ("new", "further"),
    ],
)
def test_every_kind_of_figure_has_a_section(kind: str, section: str):
    assert section_of(kind) == section


def test_the_record_knows_both_files(whole: dict, page: Page):
    assert set(re.findall(r'"(report\.\w+)"', Path(whole["record"]).read_text())) == {"report.html", "report.pdf"}
