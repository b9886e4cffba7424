"""``geoseg export``."""

import logging
from pathlib import Path
from typing import Any

import click

from geoseg.cli import options
from geoseg.core.outputs import check_output, write_aside
from geoseg.export import check_format, check_installed
from geoseg.runs.folders import newest_model

log = logging.getLogger(__name__)


@click.command("export")
@click.argument("model", type=click.Path(path_type=Path), required=False)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="The graph, NAME.onnx.",
)
@click.option(
    "--head",
    metavar="NAME",
    help="Head of the network whose clusters count (geoseg info MODEL lists them); "
    "default: that of the model.",
)
@click.option(
    "--tile-size",
    metavar="N",
    type=click.IntRange(32, 2048),
    default=512,
    show_default=True,
    help="Side in pixels of the images that the graph takes.",
)
@click.option(
    "--overlap",
    metavar="PERCENT",
    type=click.IntRange(0, 90),
    default=15,
    show_default=True,
    help="Overlap of neighbouring tiles that Deepness proposes.",
)
@click.option(
    "--any-size",
    is_flag=True,
    help="Take images of any height and width; Deepness needs one size.",
)
@click.option(
    "--nodata",
    metavar="VALUE|none",
    default="auto",
    help="Value of pixels without data; default: that of the model, if it names one.",
)
@options.overwrite_opt
def command(
    model: Path | None,
    *,
    output: Path,
    head: str | None,
    overwrite: bool,
    **given: Any,
) -> None:
    """Write MODEL as an ONNX graph, from raw pixels to class probabilities.

    MODEL is a model file or a run folder; without it the newest run in ./runs is taken.
    Normalisation and the classes of clusters are part of the graph, and so are the
    settings of QGIS's Deepness plugin. See docs/onnx.md.

    \b
        geoseg export runs/vegas -o buildings.onnx
    """
    check_format(output)
    check_output(output, overwrite=overwrite)
    check_installed()
    file = newest_model(model)
    options.say_first(f"the model {file}")
    from geoseg.export.onnx_file import ExportOptions, check_onnx, write_onnx
    from geoseg.model.file import file_sha256  # heavy: after the checks

    loaded = options.load_head(file, model, head)
    wanted = ExportOptions(**given)
    apart = []

    def verify(path: Path) -> None:
        apart.append(check_onnx(path, loaded, wanted))

    with write_aside(output, verify=verify, overwrite=overwrite) as aside:
        write_onnx(aside, loaded, wanted, sha256=file_sha256(file))
    log.info(
        "%s says what the model says: its probabilities differ by %.1g at most",
        *(output, apart[0]),
    )
    if loaded.card.nodata == given["nodata"] == "auto":
        log.info(
            "what an image's file declares as nodata does not reach a graph: give "
            "--nodata VALUE if images have some"
        )
    if loaded.card.gsd_m is None:
        log.warning(
            "the model knows no pixel size: give Deepness the resolution by hand"
        )
