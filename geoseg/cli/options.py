"""Options that several commands take."""

import logging
import math
import shlex
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from geoseg.cli.setting_options import setting_opt
from geoseg.core.addresses import redact
from geoseg.runs.settings import POINT_RADIUS_M, RunSettings

if TYPE_CHECKING:
    from geoseg.model.file import Model

log = logging.getLogger(__name__)

F = TypeVar("F", bound=Callable[..., Any])


class FiniteRange(click.FloatRange):
    """A range of floats without NaN, which click lets through, and infinity."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value!r} is no finite number", param, ctx)
        return number


images_opt = setting_opt(
    "images",
    metavar="DIR",
    help="Folder of GeoTIFF tiles, a SpaceNet folder, one file or URL, s3://bucket/"
    "prefix, or a .txt list of files and URLs.",
)
labels_opt = setting_opt(
    "labels",
    metavar="PATH",
    help="Folder (or s3:// prefix) of vectors or masks paired by name, or one file "
    "for all tiles.",
)
classes_opt = setting_opt(
    "classes",
    metavar="NAMES",
    help="Classes of the labels, background first: names of the values 0, 1, 2 … such as "
    "background,building,road, or pairs such as building=2,building=4,road=#ff0000,"
    "background=*; default: all values but 0 are building.",
)
class_field_opt = setting_opt(
    "class_field",
    metavar="NAME",
    help="Attribute of label polygons that holds the class.",
)
label_layer_opt = setting_opt(
    "label_layer",
    metavar="NAME",
    help="Layer of label files that have several.",
)
labelled_area_opt = setting_opt(
    "labelled_area",
    metavar="PATH|touched|all",
    help="Where the labels hold; outside, nothing is labelled: a vector file of polygons, "
    "the tiles that labels touch, or everywhere; default: the polygons of the layer "
    "labelled in the labels' own file, if it has one, else everywhere.",
)
sparse_opt = setting_opt(
    "sparse",
    help="Labels are points, lines and polygons with a class each (--class-field, by "
    "default class), background among them; what they do not touch is unlabelled.",
)
point_radius_opt = click.option(
    "--point-radius",
    type=FiniteRange(0, min_open=True),
    default=POINT_RADIUS_M,
    show_default=True,
    help="Metres around a point of sparse labels, and to either side of a line.",
)
footprint_class_opt = click.option(
    "--footprint-class",
    "footprint_classes",
    metavar="NAME",
    multiple=True,
    help="Class whose polygons count, may be given several times; default: building if "
    "there is one, else all but the first.",
)
aoi_opt = setting_opt(
    "aoi",
    metavar="NAME",
    help="las_vegas, paris, shanghai, khartoum, rio or sample, instead of --images.",
)
data_opt = click.option(
    "--data",
    type=click.Path(path_type=Path),
    envvar="GEOSEG_DATA",
    show_envvar=True,
    help="Folder in which AOIs live.",
)
blocks_opt = setting_opt(
    "blocks",
    metavar="N",
    help="Cut every image into N×N blocks, to split few large images into roles.",
)
overwrite_opt = click.option(
    "--overwrite", is_flag=True, help="Replace outputs that exist."
)
fit_patches_opt = setting_opt(
    "fit_patches",
    metavar="N",
    help="Patches that a fit without steps reads at most, spread evenly over all "
    "training tiles: k-means, forest, controls.",
    least=1,
)
seed_opt = setting_opt(
    "seed",
    help="Of all chance.",
)
threads_opt = click.option(
    "--threads",
    metavar="N",
    type=click.IntRange(1),
    help="CPU threads; default: all cores.",
)


def found_device(device: str) -> str:
    """Turn ``auto`` into the device that is here, and say which.

    To be called after the checks that need no torch, which it imports.
    """
    if device != "auto":
        return device
    import torch

    found = "cuda" if torch.cuda.is_available() else "cpu"
    log.info("--device auto: %s", found)
    return found


device_opt = click.option(
    "--device",
    type=click.Choice(["cpu", "cuda", "auto"]),
    default="cpu",
    show_default=True,
    help="Where the network runs; auto takes a GPU if there is one, and says so.",
)
objective_opt = setting_opt(
    "objective",
    help="What the choice of building clusters, or the threshold of a method that "
    "learns from labels, maximises on the matching tiles.",
)
naming_opt = setting_opt(
    "naming",
    help="How labelled tiles name the clusters. share: each cluster has a share of every "
    "class, which makes probabilities of pixels; vote: it has the class of most of its "
    "pixels, as in published tables.",
)
codebooks_opt = setting_opt(
    "codebooks",
    metavar="NAMES",
    help="Name the method's clusters together with simple clusterings, weighted as they "
    "do best on the matching tiles: colors (192 colours), patches (192 textures), or both "
    "with a comma; none; auto: colors for unsupervised methods named by share.",
)
model_opt = click.option(
    "--model",
    type=click.Path(path_type=Path),
    help="Model file or run folder; default: the newest run in ./runs.",
)
parameter_opt = click.option(
    "-p",
    "parameters",
    multiple=True,
    metavar="NAME=VALUE",
    help="Parameter of the method (see geoseg methods); may be given several times.",
)


def parse_parameters(given: tuple[str, ...]) -> dict[str, str]:
    """Split ``NAME=VALUE`` pairs.

    Raises:
        click.BadParameter: If one has no equals sign.
    """
    pairs = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise click.BadParameter(
                f"{text!r} is not NAME=VALUE, for instance over_clusters=24",
                param_hint="-p",
            )
        pairs[name.strip()] = value.strip()
    return pairs


class Duration(click.ParamType):  # type: ignore[type-arg]
    """A time as ``HH:MM:SS`` or ``DD:HH:MM:SS``."""

    name = "HH:MM:SS"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta:
        if isinstance(value, timedelta):
            return value
        parts = str(value).split(":")
        if not 3 <= len(parts) <= 4 or not all(part.isdigit() for part in parts):
            self.fail(f"{value!r} is not HH:MM:SS, for instance 00:20:00", param, ctx)
        days, hours, minutes, seconds = map(int, ["0"] * (4 - len(parts)) + parts)
        if minutes > 59 or seconds > 59 or (len(parts) == 4 and hours > 23):
            self.fail(
                f"{value!r} has more than 59 minutes or seconds (or 23 hours beside "
                "days), for instance 01:30:00",
                param,
                ctx,
            )
        try:
            time = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
        except OverflowError:
            self.fail(f"{value!r} is more time than there is", param, ctx)
        if not time:
            self.fail(f"{value!r} is no time, expected a second at least", param, ctx)
        return time


class CountOrShare(click.ParamType):  # type: ignore[type-arg]
    """A number of tiles, or a share of those with labels: ``50`` or ``10%``."""

    name = "N|N%"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | str:
        from geoseg.core.errors import ParameterError
        from geoseg.runs.settings import count_of  # reads images: not for --help

        try:
            count_of(value, 1)
        except ParameterError as error:
            self.fail(str(error), param, ctx)
        text = str(value).strip()
        return text if text.endswith("%") else int(text)


match_tiles_opt = click.option(
    "--match-tiles",
    type=CountOrShare(),
    help="Labelled tiles that say which clusters are buildings, or that a method learns "
    "from which learns from labels: a number, or a share of those with labels; default: "
    "50, if the test leaves as many.",
)
test_tiles_opt = click.option(
    "--test-tiles",
    type=CountOrShare(),
    help="Labelled tiles that training never sees and that are scored: a number, or a "
    "share of those with labels; default: a quarter, but at least 50, at most 700, and "
    "never more than half. All other tiles train with their labels hidden.",
)


def label_options(command: F) -> F:
    """Add the options that say what labels mean."""
    for option in (
        *(point_radius_opt, sparse_opt, labelled_area_opt),
        *(label_layer_opt, class_field_opt, classes_opt, labels_opt),
    ):
        command = option(command)
    return command


def need_one_source(images: str | None, aoi: str | None, labels: str | None) -> None:
    """Check that exactly one of ``--images`` and ``--aoi`` was given.

    Raises:
        click.UsageError: If none or both were, or ``--labels`` beside ``--aoi``.
    """
    if images is None and aoi is None:
        raise click.UsageError("give the tiles: --images DIR or --aoi NAME")
    if images is not None and aoi is not None:
        raise click.UsageError(
            "give the tiles by either --images DIR or --aoi NAME (not both)"
        )
    if aoi is not None and labels is not None:
        raise click.UsageError(
            "an AOI brings its own labels: give --labels with --images DIR alone"
        )


def say_first(what: str) -> None:
    """Say what a command begins with, before it imports what takes seconds."""
    log.info("looking at %s", what)


def tiles_of(given: Mapping[str, Any]) -> str:
    """Name the tiles that ``--images`` or ``--aoi`` give."""
    named = RunSettings(images=given["images"], aoi=given["aoi"])
    return f"the tiles of {named.source}"


def set_threads(threads: int | None) -> None:
    """Limit the threads that torch computes with."""
    if threads is not None:
        import torch

        torch.set_num_threads(threads)


def load_head(file: Path, given: Path | None, head: str | None) -> "Model":
    """Load a model; say which one it is if nobody named it.

    Args:
        file: The model file.
        given: What was named on the command line.
        head: Instead of the model's own, if given.
    """
    from geoseg.model.file import load_model  # heavy: after the checks

    if given is None:
        log.info("model: %s", file)
    model = load_model(file)
    return model if head is None else model.with_head(head)


def named(ctx: click.Context) -> set[str]:
    """Return the names of the parameters that were given on the command line."""
    return {
        name
        for name in ctx.params
        if ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
    }


def with_preset(ctx: click.Context, given: dict[str, Any]) -> dict[str, Any]:
    """Complete what was given by the settings of the preset, if one is named."""
    name = given["preset"]
    if name is None:
        return given
    from geoseg.methods.presets import additions, in_options

    chosen = named(ctx) | {"parameters"}
    if "max_time" in chosen:
        chosen.add("max_seconds")
    added = additions(name, {key: given[key] for key in chosen & set(given)})
    log.info("preset %s sets %s", name, in_options(added))
    parameters = {**added["parameters"], **given["parameters"]}
    return {**given, **added, "parameters": parameters}


def command_line(ctx: click.Context) -> str:
    """Return the command line that was given, to be written down and given again.

    Secrets in addresses are left out.
    """
    words = ["geoseg", ctx.info_name or ""]
    for param in ctx.command.params:
        name = param.name or ""
        source = ctx.get_parameter_source(name)
        if source is not click.core.ParameterSource.COMMANDLINE:
            continue
        value = ctx.params[name]
        if isinstance(value, tuple) and not getattr(
            param, "multiple", param.nargs != 1
        ):
            value = ",".join(map(str, value))
        values = value if isinstance(value, tuple) else (value,)
        if isinstance(param, click.Argument):
            words += map(str, values)
        elif isinstance(value, bool):
            words.append(param.opts[0] if value else param.secondary_opts[0])
        else:
            words += [part for v in values for part in (param.opts[-1], str(v))]
    return redact(shlex.join(words))
