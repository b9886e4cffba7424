"""Check that a page is complete and loads nothing from outside."""

from pathlib import Path

from geoseg.core.errors import OutputError

#: Elements without an end tag.
VOID = frozenset({"br", "col", "hr", "img", "link", "meta"})


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
