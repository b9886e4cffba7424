"""The material of a report: scores, tiles, model, map and run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from geoseg.geo.tiles.tiles import Tile
from geoseg.methods.bases.method import Batches
from geoseg.model.file import Model
from geoseg.runs.reporting.survey import Survey
from geoseg.scores.scores import Scores


def page_title(class_names: Sequence[str], source: str) -> str:
    """Return the title of a page about a map.

    Args:
        class_names: Of the map, background first.
        source: Short name of where its tiles come from.

    Example:
        >>> page_title(("other", "building", "road"), "Rio")
        'Building and road in Rio'
        >>> page_title(("background", "building"), "Rio")
        'Buildings in Rio'
    """
    first, *more = class_names[1:]
    if not more:
        return (
            f"{'Buildings' if first == 'building' else first.capitalize()} in {source}"
        )
    if len(more) > 3:
        return f"{len(class_names)} classes in {source}"
    words = f"{', '.join([first, *more[:-1]])} and {more[-1]}"
    return f"{words[:1].upper()}{words[1:]} in {source}"


@dataclass(frozen=True, kw_only=True, eq=False)
class Material:
    """The material of a report.

    Attributes:
        title: Of the page.
        entries: Scores of the result, of other heads and of controls.
        test: The tiles that were scored.
        matching: The tiles that the clusters were matched on.
        training: The training tiles.
        model: The matched model, or None for a map of unknown origin.
        prediction: The judged map; None: the model itself.
        batches: Patches of the training tiles, for the curves over K.
        run: Folder of the model's run, for settings, logs and times; or None.
        command: The command line that repeats the result.
        seed: Of the choice of tiles and of the bootstrap.
        surveys: Surveys of tiles, by head, from matching and scoring; other tiles are
            predicted when needed.
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
    surveys: Mapping[Tile, Mapping[str, Survey]] = field(default_factory=dict)
