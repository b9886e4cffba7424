"""What decides how a run goes, and the tiles and patches that follow from it."""

import hashlib
import math
import os
import random
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from geoseg.errors import DatasetError, LabelError, ParameterError
from geoseg.methods import method_class

# Settings can be judged before anything heavy is imported (see fitting.check_settings),
# so what finds and reads tiles is imported where that happens.
if TYPE_CHECKING:
    from geoseg.classes import LabelClasses
    from geoseg.geo.aoi import Tile
    from geoseg.geo.dataset import PatchLoader
    from geoseg.geo.splits import Split
    from geoseg.matching import Objective
    from geoseg.normalization import Normalization
    from geoseg.whitening import WhitenMode

#: Settings that say what labels mean.
LABEL_OPTIONS = ("classes", "class_field", "label_layer")
#: Pixels left out between blocks of one image.
BLOCK_GAP = 16
#: Names of folders that say what kind of files they hold, such as those of SpaceNet.
_KIND = re.compile(r"(images?|tiffs?|tifs?|ps|mul|pan|rgb|ms)($|[-_])", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """All that decides how a run goes; written to ``run.json``.

    Attributes:
        images: Folder or file of tiles; or ``aoi``, a name from the catalogue.
        labels: Folder or file of labels, or None for those of the layout.
        classes: Of the labels, as ``--classes`` has them; None: building or not.
        class_field: Attribute of label polygons that holds the class.
        label_layer: Layer of label files that have several.
        data: Where AOIs live.
        method: Name in ``METHODS``, with its ``parameters``.
        init: Run or model file whose trunk, bands and normalisation are taken over.
        bands: Preset, names or numbers; None for red, green, blue and near infrared.
        nodata: The nodata rule.
        whiten: ``zca`` to whiten the bands, or ``none``.
        patch_size: Side of a patch in pixels.
        batch_size: Patches that go through the network at once on each device.
        accumulate: Batches whose gradients make one optimiser step.
        loader_workers: Processes that read patches, for each device; 0 for none.
        patches_per_epoch: None for as many as cover the training tiles once.
        max_steps: Or ``max_epochs``, or ``max_seconds``: when training stops.
        match_tiles: Labelled tiles for the matching: a number, or a share of those that
            have labels, such as ``10%``.
        select_tiles: Labelled tiles that choose the head.
        label_tiles: Of the matching tiles, so many drawn by the seed keep their labels,
            and the others train unlabelled; None for all. The test tiles stay the same.
        split_seed: Of the split; None for ``seed``.
        transductive: Training sees the images of the test tiles too, without labels.
        blocks: Cut every image into so many blocks a side.
        objective: Of the matching.
        seed: Of weights, patches, views and, unless ``split_seed`` is given, the split.
        device: ``cpu`` or ``cuda``.
        devices: GPUs, or CPU processes of one thread, that train together.
        precision: ``32-true`` or ``bf16-mixed``.
        lr_schedule: ``constant``, ``cosine``, ``linear`` or ``step``.
        warmup_steps: Steps in which the learning rate rises to its full.
        stop_on_collapse: End a training whose clusters have collapsed.
        tensorboard: Write events for TensorBoard too.
        controls: Whether to score the controls beside the model.
        report: ``quick``; ``full`` adds k-means of the features for several K; ``none``.
        checkpoint_steps: Save a checkpoint every so many steps; else every minute.
    """

    images: str | None = None
    labels: str | None = None
    classes: str | None = None
    class_field: str | None = None
    label_layer: str | None = None
    aoi: str | None = None
    data: str | None = None
    method: str = "iic"
    parameters: Mapping[str, Any] = field(default_factory=dict)
    init: str | None = None
    bands: str | None = None
    nodata: str = "auto"
    whiten: "WhitenMode" = "none"
    patch_size: int = 128
    batch_size: int = 8
    accumulate: int = 1
    loader_workers: int = 0
    patches_per_epoch: int | None = None
    max_steps: int | None = None
    max_epochs: int | None = None
    max_seconds: float | None = None
    match_tiles: int | str = 50
    select_tiles: int = 0
    label_tiles: int | None = None
    split_seed: int | None = None
    transductive: bool = False
    blocks: int = 1
    objective: "Objective" = "f1"
    seed: int = 0
    device: str = "cpu"
    devices: int = 1
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    lr_schedule: Literal["constant", "cosine", "linear", "step"] = "constant"
    warmup_steps: int = 0
    stop_on_collapse: bool = True
    tensorboard: bool = False
    controls: bool = True
    report: Literal["none", "quick", "full"] = "quick"
    checkpoint_steps: int | None = None

    @property
    def source(self) -> str:
        """A short name of where the tiles come from."""
        from geoseg.geo.remote import file_name, is_remote

        if self.images is not None and is_remote(self.images):
            return file_name(self.images.rstrip("/")).stem
        return source_name(Path(self.aoi or self.images or "tiles").resolve())

    @property
    def label_classes(self) -> "LabelClasses":
        """The classes of the labels.

        Raises:
            ParameterError: If they cannot be understood.
        """
        from geoseg.classes import TWO_CLASSES, LabelClasses

        found = (
            TWO_CLASSES if self.classes is None else LabelClasses.parse(self.classes)
        )
        return replace(found, field=self.class_field, layer=self.label_layer)

    @property
    def label_options(self) -> dict[str, str]:
        """The options that say what labels mean, as given, for the model's card."""
        given = {name: getattr(self, name) for name in LABEL_OPTIONS}
        return {name: value for name, value in given.items() if value is not None}

    def command(self) -> str:
        """Return the command line that makes such a run, without secrets."""
        from geoseg.geo.remote import redact

        words = ["geoseg", "train"]
        for field_ in fields(self):
            value = getattr(self, field_.name)
            if value == field_.default or field_.name == "parameters":
                continue
            option = field_.name.replace("_", "-")
            if isinstance(value, bool):
                words.append(f"--{option}" if value else f"--no-{option}")
            elif field_.name == "max_seconds":
                words += ["--max-time", _clock(value)]
            else:
                words += [f"--{option}", str(value)]
        for name, value in self.parameters.items():
            words += ["-p", f"{name}={value}"]
        return redact(shlex.join(words))

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values, without the secrets of signed addresses."""
        from geoseg.geo.remote import redact

        return {
            name: redact(str(value)) if isinstance(value, (str, Path)) else value
            for name, value in asdict(self).items()
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "RunSettings":
        """Rebuild settings; values that this version does not know are an error.

        Raises:
            TypeError: If a name is unknown.
        """
        return cls(**values)


def source_name(path: Path) -> str:
    """Return the name of the file or folder that names the data.

    That is the one above where a name says what kind of files there are and not of what.

    Example:
        >>> source_name(Path("/data/zanzibar_tz/images_z19"))
        'zanzibar_tz'
    """
    while _KIND.match(path.stem) and path.parent.name:
        path = path.parent
    return path.stem or "tiles"


def _clock(seconds: float) -> str:
    """Write a time as ``--max-time`` reads it; parts of a second are rounded up."""
    minutes, second = divmod(math.ceil(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    parts = [days, hour, minute, second] if days else [hour, minute, second]
    return ":".join(f"{part:02d}" for part in parts)


def tiles_of(settings: RunSettings) -> "list[Tile]":
    """Find the tiles that the settings name."""
    return load_tiles(
        images=settings.images,
        labels=settings.labels,
        aoi=settings.aoi,
        data=settings.data,
        blocks=settings.blocks,
        nodata=settings.nodata,
        classes=settings.label_classes,
    )


def load_tiles(
    *,
    images: str | None,
    labels: str | None,
    aoi: str | None,
    data: Path | str | None,
    blocks: int = 1,
    nodata: str = "auto",
    classes: "LabelClasses | None" = None,
) -> "list[Tile]":
    """Find tiles by folder or AOI name, cut into blocks where asked; check them.

    Labels without ``classes`` are building or not.

    Raises:
        DatasetError: If there are none, or their values cannot mean the same.
        LabelError: If the labels are elsewhere.
    """
    from geoseg.classes import TWO_CLASSES
    from geoseg.geo.aoi import aoi_tiles, find_tiles
    from geoseg.geo.labels import check_labels
    from geoseg.geo.mixture import check_mixture
    from geoseg.geo.splits import split_blocks

    if aoi is not None:
        tiles = aoi_tiles(aoi, data)
    elif images is not None:
        tiles = find_tiles(images, labels)
    else:
        raise DatasetError("no tiles are named: give --images DIR or --aoi NAME")
    check_mixture(tiles, nodata)
    tiles = [replace(tile, classes=classes or TWO_CLASSES) for tile in tiles]
    check_labels(tiles)
    if blocks > 1:
        tiles = split_blocks(tiles, blocks, BLOCK_GAP)
    return tiles


def split_of(settings: RunSettings, tiles: "Sequence[Tile]") -> "Split":
    """Give every tile its role: match, select, test, or unlabelled.

    Matching tiles that are to lose their labels become unlabelled. Of a transductive
    run, the test tiles are among the unlabelled ones too.
    """
    from geoseg.geo.splits import split_tiles

    learns = method_class(settings.method).uses_labels
    labelled = sum(tile.labels is not None for tile in tiles)
    split = split_tiles(
        tiles,
        match=count_of(settings.match_tiles, labelled),
        select=settings.select_tiles,
        seed=settings.seed if settings.split_seed is None else settings.split_seed,
        use="learn the classes from" if learns else "name the clusters",
    )
    if settings.label_tiles is not None:
        split = _fewer_labels(split, settings.label_tiles, settings.seed)
    if settings.transductive:
        seen = split.unlabelled + _without_labels(split.test)
        split = replace(split, unlabelled=seen)
    return split


def _fewer_labels(split: "Split", count: int, seed: int) -> "Split":
    """Leave so many matching tiles their labels; fewer are always some of more."""
    order = list(split.match)
    random.Random(seed).shuffle(order)
    kept = {tile.id for tile in order[:count]}
    others = tuple(tile for tile in split.match if tile.id not in kept)
    return replace(
        split,
        match=tuple(tile for tile in split.match if tile.id in kept),
        unlabelled=split.unlabelled + _without_labels(others),
    )


def count_of(wanted: int | str, labelled: int) -> int:
    """Return how many tiles a number or a share of the labelled ones is, at least 1.

    Raises:
        ParameterError: If it is neither.

    Example:
        >>> count_of("10%", 46), count_of("50", 46), count_of("1%", 46)
        (5, 50, 1)
    """
    text = str(wanted).strip()
    try:
        if not text.endswith("%"):
            count = int(text)
        elif not 0 < float(text[:-1]) <= 100:
            count = 0
        else:
            count = max(1, round(float(text[:-1]) / 100 * labelled))
    except ValueError:
        count = 0
    if count < 1:
        raise ParameterError(
            f"the number of tiles is {wanted!r}, expected 1 or more, or a share of the "
            "labelled ones such as 10%"
        )
    return count


def training_tiles(split: "Split") -> "tuple[Tile, ...]":
    """Return the tiles that unsupervised training sees.

    All but the test tiles, unless the run is transductive: then its split has them among
    the unlabelled ones.
    """
    return split.match + split.select + split.unlabelled


def patch_tiles(settings: RunSettings, split: "Split") -> "tuple[Tile, ...]":
    """Return the training tiles as the method may see them.

    Labels stay with the matching tiles alone, and with those only where the method
    learns from labels.
    """
    method = method_class(settings.method)
    labelled = split.match if method.uses_labels else _without_labels(split.match)
    if method.labelled_share == 1:
        return labelled
    return labelled + _without_labels(split.select + split.unlabelled)


def check_labelled(settings: RunSettings, split: "Split") -> None:
    """Refuse a method that learns from labels where there are none.

    Raises:
        LabelError: If it does, and no tile has labels.
    """
    if method_class(settings.method).uses_labels and not split.match:
        raise LabelError(
            f"{settings.method} learns from labelled tiles, and no tile of "
            f"{settings.source} has labels: name them with --labels"
        )


def _without_labels(tiles: "Sequence[Tile]") -> "tuple[Tile, ...]":
    return tuple(replace(tile, labels=None) for tile in tiles)


def normalization_of(settings: RunSettings, tiles: "Sequence[Tile]") -> "Normalization":
    """Choose the bands and measure them over the training tiles."""
    from geoseg.geo import raster
    from geoseg.geo.statistics import fit_normalization

    bands = raster.choose_bands(raster.describe(tiles[0].image), settings.bands)
    return fit_normalization(
        tiles, bands, nodata=settings.nodata, whiten=settings.whiten
    )


def loader_of(
    settings: RunSettings,
    tiles: "Sequence[Tile]",
    normalization: "Normalization",
    rank: int = 0,
    world_size: int = 1,
) -> "PatchLoader":
    """Return the loader of training patches: those of one step in each batch.

    Args:
        settings: Of the run.
        tiles: To train on.
        normalization: Of their values.
        rank: Number of the device that the patches are for.
        world_size: Number of devices.
    """
    from geoseg.geo.dataset import PatchLoader  # torchgeo: only to train

    return PatchLoader(
        tiles,
        normalization,
        patch_size=settings.patch_size,
        batch_size=settings.batch_size * settings.accumulate,
        patches_per_epoch=settings.patches_per_epoch,
        nodata=settings.nodata,
        seed=settings.seed,
        num_workers=settings.loader_workers,
        rank=rank,
        world_size=world_size,
        labelled_share=method_class(settings.method).labelled_share,
    )


def fingerprint(tiles: "Sequence[Tile]") -> str:
    """Hash what identifies the tiles: ids, windows, grids, file sizes."""
    from geoseg.geo import raster

    digest = hashlib.sha256()
    for tile in tiles:
        grid = raster.describe(tile.image)
        size = os.path.getsize(tile.image) if os.path.exists(tile.image) else None
        row = (tile.id, tile.window, grid.width, grid.height, grid.count, size)
        digest.update(repr(row).encode())
    return digest.hexdigest()
