"""A page of HTML as a tree to look things up in, and what a reader sees of it."""

from collections.abc import Iterator
from html.parser import HTMLParser
from xml.etree.ElementTree import Element, TreeBuilder

VOID = {"br", "hr", "img", "input", "link", "meta"}


class _Reader(HTMLParser):
    """Feeds a tree with the elements of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.builder = TreeBuilder()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.builder.start(tag, {name: value or "" for name, value in attrs})
        if tag in VOID:
            self.builder.end(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.builder.end(tag)

    def handle_endtag(self, tag: str) -> None:
        self.builder.end(tag)

    def handle_data(self, data: str) -> None:
        self.builder.data(data)


def parse(html: str) -> Element:
    """The root of a page's tree, which fails where an element is not closed as it was opened."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    return reader.builder.close()


def one(within: Element, path: str) -> Element:
    """The only element at a path, as Element.findall() takes it."""
    found = within.findall(path)
    assert len(found) == 1, f"{len(found)} at {path} in {text(within)[:2000]}"
    return found[0]


def text(element: Element) -> str:
    """What is read in an element, with single spaces; what only screen readers get belongs to it."""
    return " ".join("".join(element.itertext()).split())


def texts(within: Element, path: str) -> list[str]:
    """What is read in each of the elements at a path."""
    return [text(each) for each in within.findall(path)]


def links(within: Element) -> dict[str, str]:
    """Where the links lead, by what they say."""
    return {text(each): each.get("href", "") for each in within.iter("a")}


def pairs(within: Element) -> dict[str, str]:
    """Terms and what stands beside them, of all lists of such."""
    return dict(zip(texts(within, ".//dt"), texts(within, ".//dd"), strict=True))


def table(within: Element) -> list[list[str]]:
    """The body of the only table."""
    return [
        [text(cell) for cell in _cells(row)]
        for row in one(within, ".//table").findall("./tbody/tr")
    ]


def _cells(row: Element) -> Iterator[Element]:
    return (each for each in row if each.tag in ("td", "th"))
