"""What decides how a run goes."""

import math
import re
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from geoseg.core.addresses import file_name, is_remote, redact
from geoseg.core.errors import ParameterError, TrainingError
from geoseg.core.run_files import SETTINGS_NAME
from geoseg.core.stored import Range, StoredError, read_json, typed
from geoseg.methods import METHODS
from geoseg.methods.presets import NOTHING, PRESETS, additions

# Settings can be judged before anything heavy is imported (see fitting.check_settings),
# so what finds and reads tiles is imported where that happens.
if TYPE_CHECKING:
    from geoseg.core.classes import LabelClasses

#: Ranges of settings that are counts.
Count = Annotated[int, Range(0, 2**31)]
Positive = Annotated[int, Range(1, 2**31)]
Seed = Annotated[int, Range(0, 2**32 - 1)]
#: Settings that say what labels mean.
LABEL_OPTIONS = ("classes", "class_field", "label_layer")
#: Metres around a point of sparse labels.
POINT_RADIUS_M = 1.0
#: Settings that do not alter the training: a run may go on with others.
BESIDE_TRAINING = {"controls", "report", "loader_workers", "checkpoint_steps", "refit"}
#: Patches that a fit reads unless asked for more. It keeps some hundred thousand pixels
#: of them, and more patches would only take longer.
FIT_PATCHES = 4096
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
        labelled_area: Vector file of the area that is labelled, ``all`` or ``touched``.
        sparse: Labels are points, lines and polygons with a class each; the rest is
            unlabelled.
        point_radius: Of sparse points in metres, and half the width of lines.
        data: Where AOIs live.
        method: Name in ``METHODS``, with its ``parameters``.
        preset: Name in ``PRESETS`` of the one that these settings were taken from, for
            the record: what it sets stands in the others.
        init: Run or model file whose trunk, bands and normalisation are taken over.
        bands: Preset, names or numbers; None for red, green, blue and near infrared.
        nodata: The nodata rule.
        whiten: ``zca`` to whiten the bands, or ``none``.
        patch_size: Side of a patch in pixels.
        batch_size: Patches that go through the network at once on each device.
        accumulate: Batches whose gradients make one optimiser step.
        loader_workers: Processes that read patches, for each device; 0 for none.
        patches_per_epoch: None for as many as cover the training tiles once; of methods
            that label an epoch before its steps, ``fit_patches`` at most.
        fit_patches: Patches that a fit reads at most: the last one of a method, the
            controls, and what begins an epoch.
        max_steps: Or ``max_epochs``, or ``max_seconds``: when training stops.
        match_tiles: Labelled tiles for the matching, at most: a number, or a share of
            those that have labels, such as ``10%``; None: 50, if enough are left.
        select_tiles: Labelled tiles that choose the head.
        test_tiles: Labelled tiles kept for the test, at most, likewise; None: a quarter,
            but at least 50, at most 700, and never more than half.
        label_tiles: Of the matching tiles, so many drawn by the seed keep their labels,
            and those of the others are hidden; None for all. The test tiles stay the
            same.
        split_seed: Of the split; None for ``seed``.
        transductive: Training sees the images of the test tiles too, without labels.
        blocks: Cut every image into so many blocks a side.
        objective: Of the matching.
        naming: ``share``: a pixel's class follows from the class shares of its clusters;
            ``vote``: every cluster is of one class.
        codebooks: Clusterings that are fitted and named together with the method's, such
            as ``colors,patches``; ``none``; ``auto``: colours, for unsupervised methods
            named by share.
        seed: Of weights, patches, views and, unless ``split_seed`` is given, the split.
        restarts: Trainings from as many seeds, this and those that follow; the one that
            the matching tiles match best is kept.
        device: ``cpu`` or ``cuda``.
        devices: GPUs, or CPU processes of one thread, that train together.
        precision: ``32-true`` or ``bf16-mixed``.
        lr_schedule: ``constant``, ``cosine``, ``linear`` or ``step``.
        warmup_steps: Steps in which the learning rate rises to its full.
        stop_on_collapse: End a training whose clusters have collapsed.
        tensorboard: Write events for TensorBoard too.
        controls: Whether to score the controls beside the model.
        report: ``quick``; ``full`` adds k-means of the features for several K; ``none``.
        refit: After the scoring, learn or match once more, with the matching and the
            test tiles together.
        checkpoint_steps: Save a checkpoint every so many steps; else every minute.
    """

    images: str | None = None
    labels: str | None = None
    classes: str | None = None
    class_field: str | None = None
    label_layer: str | None = None
    labelled_area: str | None = None
    sparse: bool = False
    point_radius: Annotated[float, Range(1e-6, 1e6)] = POINT_RADIUS_M
    aoi: str | None = None
    data: str | None = None
    method: str = "iic"
    parameters: Mapping[str, Any] = field(default_factory=dict)
    preset: str | None = None
    init: str | None = None
    bands: str | None = None
    nodata: str = "auto"
    whiten: Literal["none", "zca"] = "none"
    patch_size: Annotated[int, Range(1, 2**14)] = 128
    batch_size: Positive = 8
    accumulate: Positive = 1
    loader_workers: Annotated[int, Range(0, 1024)] = 0
    patches_per_epoch: Positive | None = None
    fit_patches: Count = FIT_PATCHES
    max_steps: Positive | None = None
    max_epochs: Positive | None = None
    max_seconds: Annotated[float, Range(0, 2**31)] | None = None
    match_tiles: int | str | None = None
    select_tiles: Count = 0
    test_tiles: int | str | None = None
    label_tiles: Positive | None = None
    split_seed: Seed | None = None
    transductive: bool = False
    blocks: Annotated[int, Range(1, 4096)] = 1
    objective: Literal["accuracy", "f1"] = "f1"
    naming: Literal["share", "vote"] = "share"
    codebooks: str = "auto"
    seed: Seed = 0
    restarts: Annotated[int, Range(1, 4096)] = 1
    device: str = "cpu"
    devices: Annotated[int, Range(1, 1024)] = 1
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    lr_schedule: Literal["constant", "cosine", "linear", "step"] = "constant"
    warmup_steps: Count = 0
    stop_on_collapse: bool = True
    tensorboard: bool = False
    controls: bool = True
    report: Literal["none", "quick", "full"] = "quick"
    checkpoint_steps: Positive | None = None
    refit: bool = False

    @property
    def source(self) -> str:
        """A short name of where the tiles come from."""
        if self.images is not None and is_remote(self.images):
            return file_name(self.images.rstrip("/")).stem
        return source_name(Path(self.aoi or self.images or "tiles").resolve())

    @property
    def label_classes(self) -> "LabelClasses":
        """The classes of the labels.

        Raises:
            ParameterError: If they cannot be understood.
        """
        if self.point_radius != POINT_RADIUS_M and not self.sparse:
            raise ParameterError(
                f"--point-radius {self.point_radius:g} is for sparse labels: give "
                "--sparse too, or leave it out"
            )
        return label_classes(
            self.classes,
            self.class_field,
            self.label_layer,
            labelled_area=self.labelled_area,
            radius_m=self.point_radius if self.sparse else None,
        )

    @property
    def label_options(self) -> dict[str, str]:
        """The options that say what labels mean, as given, for the model's card."""
        given = {name: getattr(self, name) for name in LABEL_OPTIONS}
        if self.sparse:
            given["point_radius"] = str(self.point_radius)
        return {name: value for name, value in given.items() if value is not None}

    def command(self) -> str:
        """Return the command line that makes such a run, without secrets."""
        words = ["geoseg", "train"]
        added = self._added_by_preset()
        for field_ in fields(self):
            value = getattr(self, field_.name)
            usual = added.get(field_.name, field_.default)
            if value in (usual, None) or field_.name == "parameters":
                continue
            option = field_.name.replace("_", "-")
            if isinstance(value, bool):
                words.append(f"--{option}" if value else f"--no-{option}")
            elif field_.name == "max_seconds":
                words += ["--max-time", _clock(value)]
            else:
                words += [f"--{option}", str(value)]
        usual = added.get("parameters", NOTHING)
        for name, value in self.parameters.items():
            if name not in usual or usual[name] != value:
                words += ["-p", f"{name}={value}"]
        return redact(shlex.join(words))

    def _added_by_preset(self) -> dict[str, Any]:
        """Return what the preset, if there is one, adds to these settings by itself."""
        if self.preset not in PRESETS:  # a run of another version may have others
            return {}
        names = ("init", "max_epochs", "max_seconds")
        chosen = {name: getattr(self, name) for name in names}
        known = {name: value for name, value in chosen.items() if value is not None}
        return additions(self.preset, known)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values, without the secrets of signed addresses."""
        return {
            name: redact(str(value)) if isinstance(value, (str, Path)) else value
            for name, value in asdict(self).items()
        }

    @classmethod
    def from_json(cls, values: Any) -> "RunSettings":
        """Rebuild settings; values that this version does not know are an error.

        Raises:
            StoredError: If a name is unknown, or a value is of another type.
        """
        settings = typed(values, cls, "settings")
        if "naming" not in values:  # a run of before there was a choice
            settings = replace(settings, naming="vote", codebooks="none")
        for name in values:
            if name not in (field_.name for field_ in fields(cls)):
                raise StoredError(f"settings.{name} is unknown to this geoseg")
        if settings.method not in METHODS:
            raise StoredError(
                f"settings.method is {settings.method!a}, no method of this geoseg"
            )
        return settings


def label_classes(
    classes: str | None,
    field: str | None,
    layer: str | None,
    *,
    labelled_area: str | None,
    radius_m: float | None,
) -> "LabelClasses":
    """Return what the options of labels mean together.

    Args:
        classes: As ``--classes`` has them.
        field: Attribute of the class.
        layer: Of files that have several.
        labelled_area: A file, ``all`` or ``touched``.
        radius_m: Of sparse points; None where labels are not sparse.

    Raises:
        ParameterError: If they cannot be understood, or contradict each other.
    """
    from geoseg.core.classes import (
        SPARSE_CLASSES,
        SPARSE_FIELD,
        TWO_CLASSES,
        LabelClasses,
    )

    if radius_m is None:
        found = TWO_CLASSES if classes is None else LabelClasses.parse(classes)
    elif labelled_area in ("all", "touched"):
        raise ParameterError(
            f"--labelled-area {labelled_area} says that whole tiles are labelled, and "
            "--sparse that only what is drawn is: leave one of them out"
        )
    else:
        found = LabelClasses.parse(classes or SPARSE_CLASSES)
        field = field or SPARSE_FIELD
    return replace(
        found, field=field, layer=layer, area=labelled_area, radius_m=radius_m
    )


def read_settings(run: Path) -> RunSettings:
    """Read the settings of a run.

    Raises:
        TrainingError: If they are absent or damaged.
    """
    return settings_of(run, stored_values(run))


def stored_values(run: Path) -> dict[str, Any]:
    """Read the plain values of a run's ``run.json``.

    Raises:
        TrainingError: If it is absent or no JSON object.
    """
    try:
        return typed(read_json(run / SETTINGS_NAME), dict[str, Any])
    except StoredError as error:
        raise damaged(run, error) from error


def settings_of(run: Path, values: Mapping[str, Any]) -> RunSettings:
    """Return the settings among the values of a run's ``run.json``.

    Raises:
        TrainingError: If they are damaged.
    """
    try:
        return RunSettings.from_json(values.get("settings"))
    except StoredError as error:
        raise damaged(run, error) from error


def damaged(run: Path, reason: object) -> TrainingError:
    """Return the error of a run whose ``run.json`` is not what geoseg train wrote."""
    return TrainingError(
        f"{run / SETTINGS_NAME} is damaged ({reason}), expected what geoseg train wrote: "
        "start a new run with geoseg train"
    )


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
