"""The command ``geoseg export``."""

import logging
from pathlib import Path
from typing import Any

import click

from geoseg.cli import options
from geoseg.core.outputs import check_output, write_aside
from geoseg.export import check_installed, check_onnx_name
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
    help="Head of the network to export (geoseg info MODEL lists them); default: that "
    "of the model.",
)
@click.option(
    "--tile-size",
    metavar="N",
    type=click.IntRange(32, 2048),
    default=512,
    show_default=True,
    help="Side in pixels of the images that the graph accepts.",
)
@click.option(
    "--overlap",
    metavar="PERCENT",
    type=click.IntRange(0, 90),
    default=15,
    show_default=True,
    help="Overlap of neighbouring tiles in Deepness, in percent.",
)
@click.option(
    "--any-size",
    is_flag=True,
    help="Accept images of any height and width; Deepness needs a fixed size.",
)
@click.option(
    "--nodata",
    metavar="VALUE|none",
    default="auto",
    help="Value of pixels without data; default: that of the model, if it has one.",
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
    """Export MODEL as an ONNX graph, from raw pixels to class probabilities.

    MODEL is a model file or a run folder; the default is the newest run in ./runs. The
    graph includes the normalisation and the classes of clusters, and its metadata the
    settings of QGIS's Deepness plugin. See docs/onnx.md.

    \b
        geoseg export runs/vegas -o buildings.onnx
    """
    check_onnx_name(output)
    check_output(output, overwrite=overwrite)
    check_installed()
    file = newest_model(model)
    options.say_first(f"the model {file}")
    from geoseg.export.onnx_file import ExportOptions, check_onnx, write_onnx
    from geoseg.model.file import file_sha256  # slow import, after the checks

    loaded = options.load_head(file, model, head)
    graph_options = ExportOptions(**given)
    differences = []

    def verify(path: Path) -> None:
        differences.append(check_onnx(path, loaded, graph_options))

    with write_aside(output, verify=verify, overwrite=overwrite) as aside:
        write_onnx(aside, loaded, graph_options, sha256=file_sha256(file))
    log.info(
        "%s agrees with the model: its probabilities differ by %.1g at most",
        output,
        differences[0],
    )
    if loaded.card.nodata == given["nodata"] == "auto":
        log.info(
            "a graph does not know the nodata value that an image's file declares: "
            "give --nodata VALUE if images have one"
        )
    if loaded.card.gsd_m is None:
        log.warning(
            "the pixel size of the model is unknown: set the resolution in Deepness by "
            "hand"
        )
