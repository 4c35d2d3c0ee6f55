"""A figure's SVG made fit to stand inside an HTML page, beside others."""

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from sae_stability.errors import StudyError

_SVG = "http://www.w3.org/2000/svg"
_LINK = "{http://www.w3.org/1999/xlink}href"
# What a drawing consists of. Anything else, such as a script, is left out.
_DRAWN = (
    *("svg", "g", "defs", "path", "use", "text", "tspan", "image", "clipPath", "rect", "circle", "ellipse", "line"),
    *("polyline", "polygon", "linearGradient", "radialGradient", "stop", "pattern", "mask", "symbol", "title"),
)


def inline(path: Path, prefix: str) -> str:
    """The picture as an element of a page.

    Args:
        path: an SVG file.
        prefix: what the ids in it begin with, so that those of two pictures differ.

    Raises:
        StudyError: the file is not XML.
    """
    try:
        picture = ElementTree.parse(path).getroot()
    except (OSError, ElementTree.ParseError) as error:
        raise StudyError(f"{path}: cannot be read as SVG ({error}); delete it and run again") from None
    _clean(picture, prefix)
    ElementTree.register_namespace("", _SVG)
    ElementTree.register_namespace("xlink", "http://www.w3.org/1999/xlink")
    return ElementTree.tostring(picture, encoding="unicode")


def _clean(element: ElementTree.Element, prefix: str) -> None:
    """Drop what is no part of a drawing, and rename ids, here and below."""
    for child in list(element):
        if child.tag in [f"{{{_SVG}}}{name}" for name in _DRAWN]:
            _clean(child, prefix)
        else:
            element.remove(child)
    for name, value in list(element.attrib.items()):
        if name.lower().startswith("on"):
            del element.attrib[name]
        elif name == "id":
            element.set(name, prefix + value)
        elif name in (_LINK, "href"):
            if value.startswith("#"):
                element.set(name, f"#{prefix}{value[1:]}")
            elif not value.startswith("data:image/png;base64,"):
                del element.attrib[name]
        else:
            element.set(name, re.sub(r"url\(#([^)]+)\)", rf"url(#{prefix}\1)", value))
