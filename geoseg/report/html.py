"""HTML as nested calls: what is not :class:`Html` already is escaped, always."""

from html import escape
from pathlib import Path

from geoseg.core.errors import OutputError

#: Elements without an end tag.
VOID = frozenset({"br", "col", "hr", "img", "link", "meta"})


class Html(str):
    """Text that is markup already. Made by :func:`element` and :func:`join` alone."""


Child = str | int | None


def element(
    name: str, /, *children: Child, **attributes: str | int | float | bool | None
) -> Html:
    """Return an element; children are escaped unless they are :class:`Html`.

    Args:
        name: Of the element.
        children: Text, numbers or markup; None is left out.
        attributes: Underscores become hyphens, one at the end goes (``class_``). True
            gives the bare name, False and None nothing.

    Example:
        >>> element("p", "1 < 2", element("br"), class_="note")
        '<p class="note">1 &lt; 2<br></p>'
    """
    parts = [name]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        label = key.rstrip("_").replace("_", "-")
        parts.append(label if value is True else f'{label}="{escape(str(value))}"')
    opening = f"<{' '.join(parts)}>"
    return Html(opening if name in VOID else f"{opening}{join(*children)}</{name}>")


def join(*children: Child) -> Html:
    """Return markup of several children, escaped unless :class:`Html`."""
    return Html(
        "".join(
            child if isinstance(child, Html) else escape(str(child))
            for child in children
            if child is not None
        )
    )


def check_html(path: Path) -> None:
    """Check that a page is complete: every element closed, nothing loaded from outside.

    Raises:
        OutputError: If it is not.
    """
    from html.parser import HTMLParser

    class Checker(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.open: list[str] = []

        def handle_starttag(
            self, tag: str, attrs: list[tuple[str, str | None]]
        ) -> None:
            for key, value in attrs:
                local = (value or "").startswith(("#", "data:"))
                if key in ("src", "href") and not local:
                    raise OutputError(f"{path} would load {value}: expected data alone")
            if tag not in VOID:
                self.open.append(tag)

        def handle_endtag(self, tag: str) -> None:
            if not self.open or self.open.pop() != tag:
                raise OutputError(f"{path} closes <{tag}> where it is not open")

    checker = Checker()
    checker.feed(path.read_text(encoding="utf-8"))
    checker.close()
    if checker.open:
        raise OutputError(f"{path} ends within <{checker.open[-1]}>: it is cut short")
