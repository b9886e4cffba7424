"""Prediction of a map's images: kept in the journal, written as rasters."""

from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from geoseg.core.progress import Advance
from geoseg.geo.formats.class_rasters import RasterTags, class_raster
from geoseg.geo.maps.files import RasterOutputs
from geoseg.geo.maps.rasters import write_strips
from geoseg.geo.predict.blocks import Block, blocks_of
from geoseg.geo.predict.head_views import ClassView
from geoseg.geo.predict.journal import Journal
from geoseg.geo.predict.predictor import predict_rows
from geoseg.geo.predict.stitching import Tiling, WindowRow, lay_windows, stitch
from geoseg.geo.predict.window_batches import ClassModel
from geoseg.geo.rasters.description import RasterDescription
from geoseg.geo.rasters.legend import cluster_legend
from geoseg.geo.rasters.strips import ClassStrip, Strip, classify
from geoseg.model.file import Model


def _nothing(_: object = None, /) -> None:
    pass


@dataclass(frozen=True, kw_only=True)
class MapJob:
    """Settings shared by all images of a map.

    Attributes:
        model: Matched model.
        tags: Provenance for the rasters.
        parts: Journal of finished blocks.
        window: Side of a window in pixels.
        overlap: Smallest overlap of neighbouring windows in pixels.
        batch_size: Windows per call of the network.
        overwrite: Replace existing rasters.
        advance: Advances a progress bar by a number of rows.
        ready: Waits for a block that other processes predict.
    """

    model: Model
    tags: RasterTags
    parts: Journal
    window: int
    overlap: int
    batch_size: int
    overwrite: bool
    advance: Advance = _nothing
    ready: Callable[[Block], None] = _nothing

    def blocks(self, image: int, grid: RasterDescription) -> list[Block]:
        """Return the blocks of an image, from top to bottom."""
        return blocks_of(image, self._tiling(grid))

    def _tiling(self, grid: RasterDescription) -> Tiling:
        return lay_windows(
            grid.height, grid.width, window=self.window, overlap=self.overlap
        )

    def predict(
        self, image: int, grid: RasterDescription, place: RasterOutputs
    ) -> Generator[ClassStrip]:
        """Predict an image, write its rasters, and yield its class strips."""
        strips = (
            self._strips(self.model, image, grid)
            if place.clusters is None
            else self._write_clusters(image, grid, place.clusters)
        )
        with (
            closing(strips),
            closing(
                write_strips(
                    strips,
                    self.model.card,
                    grid.path,
                    classes=place.classes,
                    probability=place.probability,
                    overwrite=self.overwrite,
                    tags=self.tags,
                )
            ) as class_strips,
        ):
            for strip in class_strips:
                yield strip
                self.advance(len(strip.classes))

    def _strips(
        self, model: ClassModel, image: int, grid: RasterDescription
    ) -> Generator[Strip]:
        tiling = self._tiling(grid)

        def predict(rows: range) -> Generator[WindowRow]:
            return predict_rows(
                model, grid.path, tiling, batch_size=self.batch_size, rows=rows
            )

        shape = len(model.card.class_names), grid.height, grid.width
        with closing(
            self.parts.rows(blocks_of(image, tiling), predict, self.ready)
        ) as rows:
            yield from stitch(rows, tiling, shape)

    def _write_clusters(
        self, image: int, grid: RasterDescription, path: Path
    ) -> Generator[Strip]:
        """Yield the class probabilities of an image, and write its cluster raster."""
        head = self.model.card.head
        view = ClassView([self.model], [head])
        with (
            closing(self._strips(view, image, grid)) as strips,
            class_raster(
                path,
                grid,
                legend=cluster_legend(self.model.method.heads[head]),
                tags=self.tags,
                overwrite=self.overwrite,
            ) as write,
        ):
            for strip in strips:
                write(classify(view.clusters(strip)[head]))
                yield view.split(strip)[0]
