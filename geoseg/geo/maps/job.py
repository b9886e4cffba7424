"""Prediction of a map's images: kept in the journal, written as rasters."""

from collections.abc import Generator, Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from geoseg.geo.formats.class_rasters import RasterTags, class_raster
from geoseg.geo.maps.files import RasterOutputs
from geoseg.geo.maps.rasters import write_strips
from geoseg.geo.predict.blocks import Block, blocks_of
from geoseg.geo.predict.deciding import decided, rule_for
from geoseg.geo.predict.head_views import ClassView
from geoseg.geo.predict.journal import Journal
from geoseg.geo.predict.predictor import predict_rows
from geoseg.geo.predict.stitching import Tiling, WindowRow, lay_windows, stitch
from geoseg.geo.predict.window_batches import ClassModel
from geoseg.geo.rasters.description import RasterDescription
from geoseg.geo.rasters.legend import cluster_legend
from geoseg.geo.rasters.strips import ClassStrip, Strip
from geoseg.model.file import Model


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
        smooth: Smooth class scores, if the model was matched for that.
        threshold: Probability above which a pixel is building; None for the model's.
    """

    model: Model
    tags: RasterTags
    parts: Journal
    window: int
    overlap: int
    batch_size: int
    overwrite: bool
    smooth: bool = True
    threshold: float | None = None

    def blocks(self, image: int, grid: RasterDescription) -> list[Block]:
        """Return the blocks of an image, from top to bottom."""
        return blocks_of(image, self._tiling(grid))

    def _tiling(self, grid: RasterDescription) -> Tiling:
        return lay_windows(
            grid.height, grid.width, window=self.window, overlap=self.overlap
        )

    def predict(
        self, blocks: Iterable[Block], grid: RasterDescription, place: RasterOutputs
    ) -> Generator[ClassStrip]:
        """Predict an image, write its rasters, and yield its class strips.

        Args:
            blocks: All blocks of the image, from top to bottom; those that workers
                predict come when they are finished.
            grid: The image.
            place: Paths of its rasters.
        """
        scores = (
            self._strips(self.model, blocks, grid)
            if place.clusters is None
            else self._write_clusters(blocks, grid, place.clusters)
        )
        rule = rule_for(self.model, grid, smooth=self.smooth, threshold=self.threshold)
        with (
            closing(scores),
            closing(decided(scores, rule)) as strips,
            closing(
                write_strips(
                    strips,
                    self.model.card,
                    grid,
                    classes=place.classes,
                    probability=place.probability,
                    overwrite=self.overwrite,
                    tags=self.tags,
                )
            ) as class_strips,
        ):
            yield from class_strips

    def _strips(
        self, model: ClassModel, blocks: Iterable[Block], grid: RasterDescription
    ) -> Generator[Strip]:
        """Yield the blended class scores of an image."""
        tiling = self._tiling(grid)
        shape = len(model.card.class_names), grid.height, grid.width
        with closing(self._rows(model, blocks, grid, tiling)) as rows:
            yield from stitch(rows, tiling, shape)

    def _rows(
        self,
        model: ClassModel,
        blocks: Iterable[Block],
        grid: RasterDescription,
        tiling: Tiling,
    ) -> Generator[WindowRow]:
        """Yield all rows of windows: those of finished blocks, and predicted ones."""
        for stretch in self.parts.stretches(blocks):
            if stretch.kept is not None:
                yield from stretch.kept
                continue
            rows = predict_rows(
                model,
                grid,
                tiling,
                batch_size=self.batch_size,
                rows=stretch.rows,
            )
            yield from self.parts.keeping(stretch.blocks, rows)

    def _write_clusters(
        self, blocks: Iterable[Block], grid: RasterDescription, path: Path
    ) -> Generator[Strip]:
        """Yield the class scores of an image, and write its cluster raster."""
        head = self.model.card.head
        view = ClassView([self.model], [head])
        with (
            closing(self._strips(view, blocks, grid)) as strips,
            class_raster(
                path,
                grid,
                legend=cluster_legend(self.model.method.heads[head]),
                tags=self.tags,
                overwrite=self.overwrite,
            ) as write,
        ):
            for strip in strips:
                write(view.clusters(strip)[head].as_classes())
                yield view.split(strip)[0]
