"""Options of mapping."""

from dataclasses import dataclass

from geoseg.model.inference import Precision


@dataclass(frozen=True, kw_only=True)
class MapOptions:
    """Options of a map.

    Attributes:
        min_area_m2: Smaller footprints are left out.
        min_hole_area_m2: Smaller holes are filled; None for 10, or ``min_area_m2`` if
            that is smaller.
        tolerance_m: Largest deviation of simplified outlines; None for 0.75 GSD.
        regularize: Draw right angles where the pixels support them.
        split_touching: Split touching buildings by probability and shape.
        smooth: Smooth class scores along the edges of the image, if the clusters are named
            by share.
        threshold: A pixel is building if its probability is greater; None for the
            threshold that was chosen on the matching tiles.
        window: Side of a window in pixels.
        overlap: Smallest overlap of neighbouring windows in pixels.
        batch_size: Windows per call of the network.
        symmetries: Average the network over the eight symmetries of every window.
        precision: ``32-true``, or on a GPU ``bf16-mixed``.
        footprint_classes: Classes whose polygons are written; empty: ``building`` if there
            is one, else all but background.
        overwrite: Replace existing outputs.
        style: Write styles, so that QGIS shows the outputs in the colours of the classes.
        stac: Describe the outputs in a STAC item beside the footprints.
        mosaic: Map the images as one raster, later ones over earlier ones.
        workers: Number of local processes that predict, each with as many threads as torch
            has here; None: this process.
        scheduler: Address of a running Dask cluster that predicts instead.
    """

    min_area_m2: float = 10.0
    min_hole_area_m2: float | None = None
    tolerance_m: float | None = None
    regularize: bool = False
    split_touching: bool = False
    smooth: bool = True
    threshold: float | None = None
    window: int = 256
    overlap: int = 32
    batch_size: int = 8
    symmetries: bool = False
    precision: Precision = "32-true"
    footprint_classes: tuple[str, ...] = ()
    overwrite: bool = False
    style: bool = True
    stac: bool = False
    mosaic: bool = False
    workers: int | None = None
    scheduler: str | None = None


#: Options that do not change predictions, only what is made of them.
AFTERWARDS = {
    *("min_area_m2", "min_hole_area_m2", "tolerance_m", "footprint_classes"),
    *(
        "smooth",
        "threshold",
        "regularize",
        "split_touching",
        "overwrite",
        "style",
        "stac",
    ),
    *("workers", "scheduler"),
}
