"""Writing of class and probability rasters while predicting."""

from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from geoseg.geo.formats.class_rasters import (
    RasterTags,
    class_raster,
    probability_raster,
)
from geoseg.geo.predict.deciding import decided, rule_for
from geoseg.geo.predict.predictor import predict_strips
from geoseg.geo.predict.window_batches import ClassModel, ModelCard
from geoseg.geo.rasters.description import RasterDescription
from geoseg.geo.rasters.legend import class_legend
from geoseg.geo.rasters.raster import describe
from geoseg.geo.rasters.strips import ClassStrip, Strip, classify


def predict_raster(
    model: ClassModel,
    path: str,
    *,
    classes: Path | None = None,
    probability: Path | None = None,
    overwrite: bool = False,
    tags: RasterTags = RasterTags(),
    window: int = 256,
    overlap: int = 32,
    batch_size: int = 8,
) -> Generator[ClassStrip]:
    """Predict a raster, write the requested rasters, and yield the class strips.

    The strips are input for :func:`geoseg.geo.footprints.vectorize.footprints`. The rasters
    are complete (verified and renamed) once the last strip has been consumed. If the
    consumer stops early or fails, nothing is left behind.

    Args:
        model: the model.
        path: the raster.
        classes: class GeoTIFF to write: uint8, 0 background, 255 nodata.
        probability: probability GeoTIFF to write: uint8 percent, 255 nodata.
        overwrite: replace existing outputs.
        tags: provenance for the rasters' metadata.
        window: side of a window, pixels.
        overlap: smallest overlap of neighbouring windows, pixels.
        batch_size: windows per call of the network.

    Yields:
        The class strips, top to bottom.

    Raises:
        OutputExistsError: If an output exists and ``overwrite`` is False.
        OutputError: If an output cannot be written or does not verify.
        RasterError: As in :func:`predict_strips`.
    """
    grid = describe(path)
    strips = predict_strips(
        model, grid, window=window, overlap=overlap, batch_size=batch_size
    )
    yield from write_strips(
        decided(strips, rule_for(model, grid)),
        model.card,
        grid,
        classes=classes,
        probability=probability,
        overwrite=overwrite,
        tags=tags,
    )


def write_strips(
    strips: Iterator[Strip],
    card: ModelCard,
    grid: RasterDescription,
    *,
    classes: Path | None,
    probability: Path | None,
    overwrite: bool,
    tags: RasterTags,
) -> Generator[ClassStrip]:
    """Write rasters from strips and yield the class strips; see :func:`predict_raster`."""
    with _rasters(
        card, grid, classes, probability, tags=tags, overwrite=overwrite
    ) as write:
        for strip in strips:
            class_strip = classify(strip)
            write(strip, class_strip)
            yield class_strip


@contextmanager
def _rasters(
    card: ModelCard,
    grid: RasterDescription,
    classes: Path | None,
    probability: Path | None,
    *,
    tags: RasterTags,
    overwrite: bool,
) -> Iterator[Callable[[Strip, ClassStrip], None]]:
    """Open the requested rasters; yield a function that writes a strip to each."""
    names = card.class_names
    with ExitStack() as stack:
        write_classes = write_probability = None
        if classes is not None:
            write_classes = stack.enter_context(
                class_raster(
                    classes,
                    grid,
                    legend=class_legend(names),
                    tags=tags,
                    overwrite=overwrite,
                )
            )
        if probability is not None:
            write_probability = stack.enter_context(
                probability_raster(
                    probability, grid, class_names=names, tags=tags, overwrite=overwrite
                )
            )

        def write(strip: Strip, class_strip: ClassStrip) -> None:
            if write_classes is not None:
                write_classes(class_strip)
            if write_probability is not None:
                write_probability(strip)

        yield write
