"""Simple clusterings that may be named together with a trained method.

The table is known without importing anything heavy.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from geoseg.core.errors import ParameterError
from geoseg.core.words import no_such
from geoseg.methods import METHODS

#: What ``--codebooks`` says for none, and for colours where they are of use.
NONE, AUTO = "none", "auto"


class Codebook(NamedTuple):
    """A clustering that may be named together with a trained method.

    Attributes:
        method: A hard one, in ``METHODS``.
        parameters: Where they differ from its defaults.
    """

    method: str
    parameters: Mapping[str, Any]


CODEBOOKS = {
    "colors": Codebook("color_kmeans", {"clusters": 192}),
    "patches": Codebook("patches", {"clusters": 192}),
}


def codebooks_of(names: str, *, method: str, naming: str) -> dict[str, Codebook]:
    """Return the codebooks that are named together with a method.

    Args:
        names: As ``--codebooks`` has them.
        method: The trained method.
        naming: How its clusters are named.

    Raises:
        ParameterError: If one is unknown, or the method or the naming has no use for it.
    """
    if names == NONE:
        return {}
    own = METHODS[method].family == "unsupervised"
    if names == AUTO:
        useful = own and naming == "share"
        return {"colors": CODEBOOKS["colors"]} if useful else {}
    chosen = [name.strip() for name in names.split(",")]
    for name in chosen:
        if name not in CODEBOOKS:
            raise ParameterError(no_such("codebook", name, [*CODEBOOKS, AUTO, NONE]))
    if naming == "vote" or METHODS[method].family == "reference":
        why = "--naming vote" if naming == "vote" else f"--method {method}"
        raise ParameterError(
            f"--codebooks {names} is for clusters that are named by share, but {why} was "
            "given too: leave one of them out"
        )
    return {name: CODEBOOKS[name] for name in chosen}
