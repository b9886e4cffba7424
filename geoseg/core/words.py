"""Words in messages: counted nouns, and what a mistyped name was meant to be."""

from collections.abc import Iterable
from difflib import get_close_matches


def counted(number: int, noun: str) -> str:
    """Return a number and a noun that takes s, or es after a hiss, in the plural.

    Example:
        >>> counted(1, "tile"), counted(2, "tile"), counted(0, "patch")
        ('1 tile', '2 tiles', '0 patches')
    """
    ending = "es" if noun.endswith(("s", "x", "ch", "sh")) else "s"
    return f"{number} {noun}{'' if number == 1 else ending}"


#: Share of letters that a name has in common with what was meant: two of three will do.
_ALIKE = 0.66


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``" (did you mean …?)"`` with the nearest of the known names, or nothing.

    Example:
        >>> did_you_mean("trian", ["train", "match"])
        ' (did you mean train?)'
        >>> did_you_mean("nonsense", ["train", "match"])
        ''
    """
    names = {other.lower(): other for other in known}
    near = get_close_matches(name.lower(), names, n=1, cutoff=_ALIKE)
    return f" (did you mean {names[near[0]]}?)" if near else ""
