"""The command line: one module per command, a few lines over a library function."""

import importlib
import io
import logging
import os
import signal
import sys
import traceback
from typing import Any

import click

from geoseg import __version__
from geoseg.core.errors import GeosegError, remedy
from geoseg.core.words import PlainFormatter, no_such, one_line
from geoseg.geo.rasters.open_images import each_opened_once

#: Command → short help, in pipeline order; the module of the same name is imported
#: only when the command is called.
COMMANDS = {
    "demo": "Train, match, predict and score on the sample tiles.",
    "sample": "Write the synthetic sample tiles.",
    "download": "Download a SpaceNet area with its labels.",
    "train": "Train a model on unlabelled tiles.",
    "match": "Match the clusters of a model to classes with labelled tiles.",
    "predict": "Map the buildings of images.",
    "evaluate": "Score a map against reference labels.",
    "export": "Export a model as ONNX, for QGIS's Deepness plugin and others.",
    "benchmark": "Compare methods on the same tiles in a leaderboard.",
    "info": "Describe images, labels, models and runs.",
    "methods": "List the methods and their parameters.",
}


class _Commands(click.Group):
    """Imports commands when they are called, and prints expected errors on one line."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module = importlib.import_module(f"geoseg.cli.{name}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            ctx.fail(no_such("command", args[0], COMMANDS))
        return super().resolve_command(ctx, args)

    def format_commands(
        self, ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with each_opened_once():
                return super().invoke(ctx)
        except click.UsageError as error:
            if not isinstance(error, click.MissingParameter):  # which lists choices
                error.message = one_line(error.message)  # type: ignore[misc]
            raise
        except Exception as error:
            if not _is_expected(error):
                error.add_note(_REPORT)
                raise
            # frames in the traceback hold readers in threads, which block the exit
            logging.getLogger("geoseg").debug("the error in full:", exc_info=error)
            traceback.clear_frames(error.__traceback__)
            known = (click.ClickException, click.exceptions.Exit, click.Abort)
            if isinstance(error, (*known, BrokenPipeError)):
                raise  # the reader of the output has ended: click exits silently
            raise _OneLine(_text(error), getattr(error, "exit_code", 1)) from error
        except (KeyboardInterrupt, _Terminated) as stop:
            traceback.clear_frames(stop.__traceback__)
            # CPython remembers a Ctrl-C that left a text in exec (as dataclasses use while
            # they are made), and `python -m geoseg` would die of it; the next exec forgets it
            exec("")
            number = getattr(stop, "number", signal.SIGINT)
            notes = ["stopped", *getattr(stop, "__notes__", ())]
            click.echo(one_line("; ".join(notes)), err=True)
            ctx.exit(128 + number)


#: Packages whose errors are caused by their inputs: files, CRSs, geometries.
_LIBRARIES = {
    *("rasterio", "fiona", "pyogrio", "pyproj", "shapely", "geopandas", "pyarrow"),
    *("safetensors", "safetensors_rust", "obstore", "distributed", "onnxruntime"),
}
_REPORT = (
    "This is a fault of geoseg: please report it, with the lines above, the command and "
    f"geoseg {__version__}."
)


def _is_expected(error: Exception) -> bool:
    """Return whether a command's input, or the machine, can cause an error.

    Other errors (such as a ``KeyError`` in geoseg) are bugs, and keep their traceback.
    """
    if isinstance(error, click.ClickException | click.exceptions.Exit | click.Abort):
        return True
    if isinstance(error, GeosegError | OSError | MemoryError):
        return True
    return type(error).__module__.partition(".")[0] in _LIBRARIES


def _text(error: Exception) -> str:
    """Return the message of an error; for others' errors, add what to do."""
    if isinstance(error, GeosegError):
        return str(error)
    if isinstance(error, MemoryError):
        return (
            f"the memory is full ({str(error) or 'no more available'}): close other "
            "programs, or give smaller --batch-size, --window or images"
        )
    if isinstance(error, OSError) and error.strerror:
        place = "" if error.filename is None else f"{error.filename}: "
        return f"{place}{error.strerror}: {remedy(error)}"
    library = type(error).__module__.partition(".")[0]
    return (
        f"{library} says: {str(error) or type(error).__name__}; check the given files, "
        "or ask for help with the output of the same command after geoseg -v"
    )


class _OneLine(click.ClickException):
    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(one_line(" ".join(message.split())))
        self.exit_code = exit_code  # type: ignore[misc]  # click reads the instance's


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="geoseg")
@click.option("-v", "--verbose", is_flag=True, help="Log more to standard error.")
@click.option("-q", "--quiet", is_flag=True, help="Print only errors.")
def cli(verbose: bool, quiet: bool) -> None:
    """Map buildings in overhead imagery without training labels.

    A network learns from unlabelled GeoTIFF tiles to group pixels into clusters; some
    labelled tiles then show which clusters are buildings.

    \b
        geoseg train --images tiles/ --labels labels/
        geoseg predict tile.tif -o buildings.geojson
    """
    level = logging.ERROR if quiet else logging.DEBUG if verbose else logging.INFO
    handler = logging.StreamHandler()
    handler.setFormatter(PlainFormatter("%(message)s"))
    logger = logging.getLogger("geoseg")
    logger.handlers[:] = [handler]
    logger.setLevel(level)
    logger.propagate = False
    # GDAL's warnings become errors in geoseg, or do not matter
    others = handler if verbose else logging.NullHandler()
    for name in ("rasterio", "fiona"):
        logging.getLogger(name).handlers[:] = [others]


class _Terminated(SystemExit):
    """Raised when a scheduler ends this process by SIGTERM."""

    number = signal.SIGTERM


def _terminate(number: int, _: object) -> None:
    raise _Terminated(128 + number)


def main() -> None:
    """Run the command line."""
    # By default idle threads of libgomp spin and slow down other processes; this must
    # be set before torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    for stream in (sys.stdout, sys.stderr):
        # on Windows and in the C locale, pipes and files cannot encode letters like κ
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    # a scheduler's stop raises like Ctrl-C, so that no incomplete file stays
    signal.signal(signal.SIGTERM, _terminate)
    try:
        os.getcwd()
    except FileNotFoundError:
        # torch's libraries would not load
        _OneLine("the current folder no longer exists: change to another one", 1).show()
        sys.exit(1)
    cli.main(args=sys.argv[1:], prog_name="geoseg")
