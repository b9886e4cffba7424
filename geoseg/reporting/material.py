"""What a report is made of."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from geoseg.geo.aoi import Tile
from geoseg.geo.scores import Scores
from geoseg.methods.base import Batches
from geoseg.model import Model


@dataclass(frozen=True, kw_only=True, eq=False)
class Material:
    """What a report is made of.

    Attributes:
        title: Of the page.
        entries: Scores of the result, of other heads, of controls.
        test: The tiles that were scored.
        matching: The tiles that the clusters were matched on.
        training: The tiles that the network saw.
        model: The matched model, or None for a map of unknown origin.
        prediction: The map that is judged; None: the model itself.
        batches: Patches of the training tiles; they make the curves over K.
        run: Folder of the run that made the model, or None: its settings, logs, times.
        command: The command line that makes it again.
        seed: Of the choice of tiles and of the bootstrap.
    """

    title: str
    entries: Sequence[Scores]
    test: Sequence[Tile]
    matching: Sequence[Tile] = ()
    training: Sequence[Tile] = ()
    model: Model | None = None
    prediction: Path | None = None
    batches: Batches | None = None
    run: Path | None = None
    command: str = ""
    seed: int = 0
