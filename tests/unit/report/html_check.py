"""What every page of the report has to be: read strictly, so that a page that only browsers forgive is refused."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"meta", "br", "hr", "img", "input", "link"}
FOREIGN = {"script", "iframe", "object", "embed", "link", "img", "image", "foreignobject", "form"}
FETCHING = {"src", "srcset", "data", "action", "formaction", "poster", "background", "xlink:href"}


@dataclass
class Element:
    """An element with its attributes, what is in it, and the text directly in it."""

    tag: str
    attributes: dict[str, str]
    children: list[Element] = field(default_factory=list)
    words: list[str] = field(default_factory=list)

    def all(self, tag: str = "") -> list[Element]:
        """All elements in this one, of one tag or of any."""
        found = [child for child in self.children if tag in {"", child.tag}]
        for child in self.children:
            found += child.all(tag)
        return found

    @property
    def text(self) -> str:
        """All text in this element, spaces joined."""
        return " ".join(" ".join([*self.words, *(child.text for child in self.children)]).split())


class Reader(HTMLParser):
    """Builds the tree; refuses an end tag that does not close the element that is open."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Element("root", {})
        self.open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs), f"<{tag}> repeats an attribute at {self.getpos()}"
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.open[-1].children.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open[-1].children.append(Element(tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1].tag == tag, f"</{tag}> closes <{self.open[-1].tag}> at {self.getpos()}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.open[-1].words.append(data)


def read_page(html: str) -> Element:
    """Read a page; fails where it is not well-formed."""
    reader = Reader()
    reader.feed(html)
    reader.close()
    assert reader.open == [reader.root], f"never closed: {[element.tag for element in reader.open[1:]]}"
    return reader.root


def check_page(html: str) -> Element:
    """Check what holds for every page, and return it for more."""
    page = read_page(html)
    _check_self_contained(page)
    _check_links(page)
    for table in page.all("table"):
        assert [head.attributes.get("scope") for head in table.all("thead")[0].all("th")].count("col") >= 2
        for row in table.all("tbody")[0].all("tr"):
            assert row.children[0].tag == "th"
            assert row.children[0].attributes["scope"] == "row"
            assert len(row.children) == len(table.all("thead")[0].all("th"))
    _check_drawings(page, hidden=False)
    assert "nan" not in {word.lower() for svg in page.all("svg") for word in svg.text.split()}
    return page


def _check_self_contained(page: Element) -> None:
    for element in page.all():
        assert element.tag not in {
            "script",
            "iframe",
            "object",
            "embed",
            "link",
            "img",
            "image",
            "foreignobject",
            "form",
        }
        for name, value in element.attributes.items():
            assert not name.startswith("on"), f"{element.tag} has {name}"
            assert name not in FETCHING, f"{element.tag} fetches {value}"
            assert "javascript:" not in value.lower()
            assert "url(" not in value
            assert name != "style"
            if name == "href":
                assert value.startswith(("#", "evaluations/"))
    (style,) = page.all("style")
    for fetching in ("url(", "@import", "http:", "https:", "<"):
        assert fetching not in style.text


def _check_links(page: Element) -> None:
    ids = [element.attributes["id"] for element in page.all() if "id" in element.attributes]
    assert len(ids) == len(set(ids))
    for link in page.all("a"):
        assert link.attributes["href"].startswith("evaluations/") or link.attributes["href"][1:] in ids
    for element in page.all():
        assert element.attributes.get("aria-labelledby", ids[0] if ids else None) in {*ids, None}


def _check_drawings(element: Element, *, hidden: bool) -> None:
    """Every drawing says in words what it shows, or is decoration beside words."""
    for child in element.children:
        described = hidden or child.attributes.get("aria-hidden") == "true"
        if child.tag == "svg" and not described:
            assert child.attributes.get("role") == "img", child.attributes
            assert len(child.attributes["aria-label"]) > 3
            described = True
        _check_drawings(child, hidden=described)
