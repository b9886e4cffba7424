"""Templates filled with values: text is escaped, and what has no value raises."""

from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined


def render(name: str, **values: Any) -> str:
    """Fill a template of ``geoseg/report/templates``.

    Every text is escaped unless it is :class:`markupsafe.Markup`.

    Raises:
        jinja2.UndefinedError: If the template needs a value that is not given.
    """
    return _environment().get_template(name).render(**values)


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("geoseg.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
