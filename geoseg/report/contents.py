"""Contents of a report page: plain values without markup."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from geoseg.report.verdict import Maker
from geoseg.scores.scores import Scores


@dataclass(frozen=True)
class Outline:
    """Polygons over a picture.

    Attributes:
        rings: Closed rings of (x, y) in pixels of the picture, holes among them.
        kind: ``found`` (drawn with a fill) or ``reference`` (dashed).
    """

    rings: Sequence[Sequence[tuple[float, float]]]
    kind: Literal["found", "reference"]


@dataclass(frozen=True)
class Picture:
    """An image with its texts, made by :func:`geoseg.report.images.picture`.

    Attributes:
        uri: The image, as a data URI.
        width: Of the pixels that outlines refer to.
        height: Likewise.
        alt: What is to be seen, for those who cannot see it.
        caption: Shown below.
        note: Shown at the caption's right, such as a score.
        flat: Whether it has few colours, which must not be blurred.
        outlines: Drawn over it, in order.
    """

    uri: str
    width: int
    height: int
    alt: str
    caption: str = ""
    note: str = ""
    flat: bool = False
    outlines: Sequence[Outline] = ()


@dataclass(frozen=True, eq=False)
class TileStory:
    """Pictures of a tile, with notes."""

    name: str
    pictures: Sequence[Picture]
    notes: Sequence[str] = ()


@dataclass(frozen=True, eq=False)
class ClusterRow:
    """A cluster with its class and its most typical places.

    Attributes:
        cluster: Its id.
        class_name: What it was matched to.
        class_id: Id of that class.
        share: Of the pixels of the matching tiles, in [0, 1].
        score: Its building score, in [0, 1]; of several classes, that of its own.
        places: Small pictures of its most typical places.
    """

    cluster: int
    class_name: str
    class_id: int
    share: float
    score: float
    places: Sequence[Picture] = ()


@dataclass(frozen=True, eq=False)
class HeadTable:
    """The clusters of a head.

    Attributes:
        head: Its name.
        clusters: K.
        rows: By share, the largest first.
        omitted: Clusters not among the rows: too small, or too many.
        omitted_share: Their share of the pixels, in [0, 1].
        tiles: Matching tiles.
        threshold: Above which building score a cluster is building, or None.
        is_default: Whether prediction takes this head.
        classes: Number of classes.
        learned: Whether its clusters are classes that were learned from labels.
    """

    head: str
    clusters: int
    rows: Sequence[ClusterRow]
    omitted: int
    omitted_share: float
    tiles: int
    threshold: float | None
    is_default: bool
    classes: int = 2
    learned: bool = False


@dataclass(frozen=True)
class Curve:
    """Values over a number, with their intervals.

    Attributes:
        name: In the legend.
        x: Ascending.
        y: As many.
        low: Lower end of the interval at each x, or empty.
        high: Upper end.
        role: ``model``, ``control`` or ``other``: chooses the colour.
        line: Whether the points are joined.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    role: Literal["model", "control", "other"] = "model"
    line: bool = True


@dataclass(frozen=True)
class Areas:
    """Shares of a head's clusters over the training.

    Attributes:
        head: Its name.
        steps: Ascending.
        shares: Per step, ``K`` shares that sum to one.
    """

    head: str
    steps: Sequence[float]
    shares: Sequence[Sequence[float]]


@dataclass(frozen=True, eq=False)
class Contents:
    """All that a page shows.

    What is empty has no section; where that can be mended, :attr:`absent` names it with
    the reason.

    Attributes:
        title: Of the page.
        subtitle: Method and data in a line.
        entries: Scores, that of the result first, then other heads, then controls.
        seed: Of the bootstrap.
        maker: What made the map, or None where nobody knows.
        footprints: Test tiles with footprints over the image.
        footprints_note: Says how those tiles were chosen.
        tiles: Test tiles taken at random, in panels.
        worst: Test tiles with the lowest IoU.
        heads: Cluster tables, the default head first.
        k_curves: Score against the number of clusters.
        k_note: Says how those were made.
        label_curve: Score against the number of labelled tiles.
        label_note: Says how that was made.
        training: Curves of what was logged, by step.
        training_note: Says how those are to be read.
        areas: Cluster areas over the training.
        card: Group → (label, value) of the run card.
        command: The command line that makes it again.
        caveats: Sentences that follow from facts of the run.
        absent: Section → why it is empty.
    """

    title: str
    subtitle: str
    entries: Sequence[Scores]
    seed: int = 0
    maker: Maker | None = None
    footprints: Sequence[Picture] = ()
    footprints_note: str = ""
    tiles: Sequence[TileStory] = ()
    worst: Sequence[TileStory] = ()
    heads: Sequence[HeadTable] = ()
    k_curves: Sequence[Curve] = ()
    k_note: str = ""
    label_curve: Curve | None = None
    label_note: str = ""
    training: Sequence[Curve] = ()
    training_note: str = ""
    areas: Sequence[Areas] = ()
    card: Mapping[str, Sequence[tuple[str, str]]] = field(default_factory=dict)
    command: str = ""
    caveats: Sequence[str] = ()
    absent: Mapping[str, str] = field(default_factory=dict)
