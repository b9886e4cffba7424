"""Train the blog's network at full width on a GPU in several sittings, and report.

    python benchmarks/gpu.py pack -o tiles.npz --source vegas DIR --source zanzibar DIR
    python benchmarks/gpu.py train tiles.npz -o run --minutes 8     # as often as wanted
    python benchmarks/gpu.py report tiles.npz run
    python benchmarks/gpu.py leaderboard tiles.npz -o board --methods iic,picie,probe:iic

``pack`` runs where GDAL is; it names the sources as ``geoseg train --images`` does, each
with its labels after it where they do not lie beside the images. ``train`` and
``report`` need the core alone: torch, lightning, numpy and safetensors. Every call of
``train`` goes on where the last one stopped, with its settings. ``report`` writes
``report.json`` and ``report.md``: throughput against the rate of a large matrix product
on the same device, where the time goes, and scores with controls, source by source.

At width 64 a run folder has 72 MB, most of it Adam's state in ``last.ckpt``. Where a
machine is given back between two pieces, that file has to travel: ``split -b 15M`` cuts
it for what takes small files only, ``cat`` joins it.

On a CPU: ``--device cpu --precision 32-true --width 4 --patch-size 64 --batch-size 4``.
"""

import argparse
import os
import sys

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch starts its threads

import json
import time
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

from gpu_settings import Settings
from packed import read_pack, write_pack
from safetensors.torch import load_file, save_file

from geoseg.core.errors import GeosegError, ParameterError, TrainingError
from geoseg.methods import check_parameters

#: Steps of a piece that are left out of its throughput: plans, caches, compilation.
WARM_UP = 5
#: What is noted of a piece; the last two without the first steps.
TIMED = ("seconds", "steps", "timed_steps", "timed_seconds")
#: Seconds between two notes of a running piece.
NOTED = 20.0


class Piece:
    """Records the progress and the time of a piece, also if it is killed."""

    def __init__(self, path: Path, done: list[dict[str, float]]) -> None:
        self.path = path
        self.done = done
        self.begun = self.warm = self.noted = time.monotonic()
        self.steps = 0
        self.entry: dict[str, float] = dict.fromkeys(TIMED, 0)

    def step(self, number: int) -> None:
        """Count a step; ``fit`` calls this after each."""
        now = time.monotonic()
        self.steps += 1
        if self.steps == WARM_UP:
            self.warm = now
        timed = max(0, self.steps - WARM_UP)
        seconds = now - self.warm if timed else 0.0
        found = (now - self.begun, self.steps, timed, seconds)
        self.entry = dict(zip(TIMED, found, strict=True))
        if now - self.noted > NOTED:
            self.write()

    def write(self) -> None:
        """Write all pieces up to now."""
        self.noted = time.monotonic()
        write_text(self.path, json.dumps([*self.done, self.entry], indent=1))


def write_text(path: Path, text: str) -> None:
    """Write a file aside and rename it."""
    aside = path.with_suffix(".part")
    aside.write_text(text + "\n")
    os.replace(aside, path)


def train(options: argparse.Namespace) -> None:
    """Train one piece."""
    from geoseg.training.engine import fit
    from geoseg.training.limits import Limits

    run: Path = options.output
    run.mkdir(parents=True, exist_ok=True)
    settings = settings_of(options)
    tiles = read_pack(options.pack, settings.device).training
    method = settings.build(tiles[0].image.shape[0])
    done = read_json(run / "pieces.json", [])
    piece = Piece(run / "pieces.json", done)
    # Lightning's clock goes on over the pieces of a run.
    spent = sum(entry["seconds"] for entry in done)
    result = fit(
        method,
        settings.loader(tiles),
        run=run,
        limits=Limits(
            max_steps=options.max_steps,
            max_time=timedelta(seconds=spent + 60 * options.minutes),
        ),
        seed=settings.seed,
        resume=True,
        accelerator=settings.device,
        precision=settings.precision,
        on_step=piece.step,
    )
    piece.write()
    weights = {k: v.cpu().contiguous() for k, v in method.state_dict().items()}
    aside = run / "weights.part"
    save_file(weights, aside)
    os.replace(aside, run / "weights.safetensors")
    print(f"{result.steps} steps in {len(done) + 1} pieces; {result.logs}")


def settings_of(options: argparse.Namespace) -> Settings:
    """Return a run's settings: those of its first piece, which later ones may repeat."""
    pairs = dict(text.split("=", 1) for text in options.parameters if "=" in text)
    if len(pairs) < len(options.parameters):
        raise ParameterError("-p expects NAME=VALUE, each name once")
    pairs = {"width": options.width, "learning_rate": 1e-4} | pairs
    given = Settings(
        parameters=check_parameters("iic", pairs),
        **{
            name: getattr(options, name)
            for name in Settings.__dataclass_fields__
            if name != "parameters"
        },
    )
    path = options.output / "run.json"
    stored = read_json(path, None)
    if stored is None:
        write_text(path, json.dumps(asdict(given), indent=1))
    elif stored != asdict(given):
        raise TrainingError(
            f"{options.output} was begun with {stored}, and this piece has "
            f"{asdict(given)}: give the same options, or another folder"
        )
    return given


def read_json(path: Path, default: Any) -> Any:
    """Read a JSON file, if there is one."""
    return json.loads(path.read_text()) if path.exists() else default


def report(options: argparse.Namespace) -> None:
    """Measure and score a trained run, and write a report."""
    import gpu_report

    run: Path = options.run
    weights = run / "weights.safetensors"
    if not weights.exists():
        raise TrainingError(f"{run} has no trained weights: run gpu.py train first")
    stored = read_json(run / "run.json", None)
    settings = Settings(**stored)
    pack = read_pack(options.pack, settings.device)
    method = settings.build(pack.tiles[0].image.shape[0]).to(settings.device)
    method.load_state_dict(load_file(weights))
    pieces = read_json(run / "pieces.json", [])
    # Scores first: the steps that are timed change the network.
    scores = gpu_report.scores(method, settings, pack, objective=options.objective)
    pace = gpu_report.speed(
        method, settings, pack, pieces, matrix=options.matrix, repeats=options.repeats
    )
    found = {"settings": stored, "pieces": pieces, "speed": pace, "scores": scores}
    write_text(run / "report.json", json.dumps(found, indent=1))
    write_text(run / "report.md", gpu_report.markdown(found))
    print((run / "report.md").read_text())


def leaderboard(options: argparse.Namespace) -> None:
    """Continue a leaderboard until the piece's time is over."""
    import gpu_leaderboard

    pack = read_pack(options.pack, options.device)
    gpu_leaderboard.leaderboard(options, pack)


def pack(options: argparse.Namespace) -> None:
    """Write the tiles of all sources into one file."""
    sources: dict[str, tuple[str, str | None]] = {}
    for name, images, *labels in options.source:
        if len(labels) > 1:
            raise ParameterError("--source expects NAME IMAGES [LABELS]")
        sources[name] = (images, labels[0] if labels else None)
    size = write_pack(
        options.output,
        sources,
        bands=options.bands,
        match_tiles=options.match_tiles,
        seed=options.seed,
        limit_mb=options.limit_mb,
        overwrite=options.overwrite,
    )
    print(f"{options.output}: {size:.1f} MB")


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    top = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = top.add_subparsers(required=True)
    one = commands.add_parser("pack", help="tiles with labels → one file")
    one.set_defaults(work=pack)
    one.add_argument(
        "--source", nargs="+", action="append", required=True, metavar="NAME IMAGES"
    )
    one.add_argument("-o", "--output", type=Path, required=True)
    one.add_argument("--bands", default="rgb")
    one.add_argument("--match-tiles", type=int)
    one.add_argument("--seed", type=int, default=0)
    one.add_argument("--limit-mb", type=float, default=48.0)
    one.add_argument("--overwrite", action="store_true")
    one = commands.add_parser("train", help="one piece of training")
    one.set_defaults(work=train)
    add_training(one)
    one.add_argument("--max-steps", type=int, help="of all pieces")
    one.add_argument("--seed", type=int, default=0)
    one.add_argument("--compile", action="store_true", help="torch.compile the trunk")
    one.add_argument("--channels-last", action="store_true", help="weights too")
    one = commands.add_parser("report", help="speed and scores of a run")
    one.set_defaults(work=report)
    one.add_argument("pack", type=Path)
    one.add_argument("run", type=Path)
    one.add_argument("--objective", choices=["f1", "accuracy"], default="f1")
    one.add_argument("--matrix", type=int, default=8192, help="side of the product")
    one.add_argument("--repeats", type=int, default=10)
    one = commands.add_parser("leaderboard", help="methods × seeds on every source")
    one.set_defaults(work=leaderboard)
    add_training(one)
    one.add_argument(
        "--methods", required=True, help="such as iic,supervised,probe:iic"
    )
    one.add_argument("--seeds", type=int, default=3)
    one.add_argument("--max-steps", type=int, default=2000, help="of each run")
    one.add_argument("--objective", choices=["f1", "accuracy"], default="f1")
    return top


def add_training(one: argparse.ArgumentParser) -> None:
    """Add what every training takes."""
    one.add_argument("pack", type=Path)
    one.add_argument("-o", "--output", type=Path, required=True)
    one.add_argument("--minutes", type=float, default=8.0, help="of this piece")
    one.add_argument("--width", type=int, default=64)
    one.add_argument("-p", dest="parameters", action="append", default=[])
    one.add_argument("--patch-size", type=int, default=Settings.patch_size)
    one.add_argument("--batch-size", type=int, default=Settings.batch_size)
    one.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    one.add_argument(
        "--precision", choices=["bf16-mixed", "32-true"], default="bf16-mixed"
    )


def main(arguments: list[str] | None = None) -> None:
    """Run a command; an error is printed in one line."""
    options = parser().parse_args(arguments)
    try:
        options.work(options)
    except GeosegError as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
