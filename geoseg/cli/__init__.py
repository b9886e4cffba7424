"""The command line: one file per command, each a few lines over a library function."""

import importlib
import os
import signal
import sys
import traceback
from typing import Any

import click

from geoseg import __version__
from geoseg.errors import GeosegError
from geoseg.geo.open_images import each_opened_once
from geoseg.plain_text import PlainFormatter, one_line
from geoseg.words import did_you_mean

#: Command → short help, in pipeline order; the module of the same name is imported
#: only when the command is called.
COMMANDS = {
    "demo": "Train, match, predict and score on the sample tiles.",
    "sample": "Write the synthetic sample tiles.",
    "download": "Download a SpaceNet area with its labels.",
    "train": "Train a model on unlabelled tiles.",
    "match": "Say which clusters of a model are buildings.",
    "predict": "Map the buildings of images.",
    "evaluate": "Score a map against reference labels.",
    "export": "Write a model as ONNX, for QGIS's Deepness plugin and others.",
    "benchmark": "Compare methods on the same tiles: a leaderboard.",
    "info": "Say what geoseg sees in images, labels and models.",
    "methods": "List the methods and their parameters.",
}


class _Commands(click.Group):
    """Imports commands when called, and turns expected errors into one line."""

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
            ctx.fail(
                f"there is no command {args[0]!r}{did_you_mean(args[0], COMMANDS)}, "
                f"expected one of {', '.join(COMMANDS)}"
            )
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
        except (GeosegError, OSError) as error:
            # The frames hold readers in threads, which cannot be closed at the exit.
            traceback.clear_frames(error.__traceback__)
            if isinstance(error, BrokenPipeError):
                raise  # who reads our output has seen enough: click ends in silence
            raise _OneLine(_text(error), getattr(error, "exit_code", 1)) from error
        except (KeyboardInterrupt, _Terminated) as stop:
            traceback.clear_frames(stop.__traceback__)
            number = getattr(stop, "number", signal.SIGINT)
            notes = ["stopped", *getattr(stop, "__notes__", ())]
            click.echo(one_line("; ".join(notes)), err=True)
            ctx.exit(128 + number)


def _text(error: GeosegError | OSError) -> str:
    """What an error says; the system's own errors say nothing of what to do."""
    if isinstance(error, GeosegError) or not error.strerror:
        return str(error)
    place = "" if error.filename is None else f"{error.filename}: "
    return (
        f"{place}{error.strerror}: check the path, the permissions and the free space"
    )


class _OneLine(click.ClickException):
    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(one_line(" ".join(message.split())))
        self.exit_code = exit_code  # type: ignore[misc]  # click reads the instance's


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="geoseg")
@click.option("-v", "--verbose", is_flag=True, help="Say more on standard error.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors.")
def cli(verbose: bool, quiet: bool) -> None:
    """Map buildings in overhead imagery without training labels.

    A network learns on unlabelled GeoTIFF tiles to sort pixels into clusters; some
    labelled tiles then say which clusters are buildings.

    \b
        geoseg train --images tiles/ --labels labels/
        geoseg predict tile.tif -o buildings.geojson
    """
    import logging

    level = logging.ERROR if quiet else logging.DEBUG if verbose else logging.INFO
    handler = logging.StreamHandler()
    handler.setFormatter(PlainFormatter("%(message)s"))
    logger = logging.getLogger("geoseg")
    logger.handlers[:] = [handler]
    logger.setLevel(level)
    logger.propagate = False
    # what GDAL warns of becomes an error or does not matter
    others = handler if verbose else logging.NullHandler()
    for name in ("rasterio", "fiona"):
        logging.getLogger(name).handlers[:] = [others]


class _Terminated(SystemExit):
    """A scheduler ends this process."""

    number = signal.SIGTERM


def _terminate(number: int, _: object) -> None:
    raise _Terminated(128 + number)


def main() -> None:
    """Run the command line."""
    # Idle threads of libgomp spin and starve whatever else runs, unless told not to
    # before torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # A scheduler's stop unwinds like Ctrl-C, so that nothing half-written stays.
    signal.signal(signal.SIGTERM, _terminate)
    try:
        os.getcwd()
    except FileNotFoundError:
        # torch's libraries would not even load
        _OneLine(
            "the current folder does not exist any more: change to another", 1
        ).show()
        sys.exit(1)
    cli.main(args=sys.argv[1:], prog_name="geoseg")
