"""``gpu.py leaderboard``: methods × seeds on every source of a pack, piece by piece.

Rows are those of ``geoseg benchmark`` (``iic,supervised,probe:iic``) with the same rules:
a run sees the training tiles of its own source, labels reach only what learns from them,
and test tiles reach none. Needs the core alone, no geodata library.
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from gpu_report import SHOWN, score_head
from packed import Pack, PackedLoader, PackedTile
from safetensors.torch import load_file, save_file

from geoseg.core.errors import GeosegError, ParameterError, TrainingError
from geoseg.core.patches import IGNORE
from geoseg.leaderboard.plan import (
    BenchmarkPlan,
    Job,
    Row,
    parse_rows,
    split_parameters,
)
from geoseg.methods import (
    METHODS,
    TRUNK_PARAMETERS,
    build_method,
    method_class,
    method_defaults,
)
from geoseg.methods.bases.method import Method
from geoseg.model.decisions import Objective
from geoseg.runs.settings import RunSettings
from geoseg.runs.starting import parameters_of

WEIGHTS, SCORE, PIECES = "weights.safetensors", "score.json", "pieces.json"
#: Pieces shorter than this are not begun.
LEAST_SECONDS = 5.0


@dataclass(frozen=True)
class Board:
    """A leaderboard as it was asked for.

    Attributes:
        folder: Of its runs and tables.
        pack: The tiles.
        plan: Rows, seeds, parameters and budget.
        device: Where the networks run; its name stands in the table.
        objective: Of the matching.
        deadline: When, on the clock of ``time.monotonic``, this piece ends.
    """

    folder: Path
    pack: Pack
    plan: BenchmarkPlan
    device: str
    objective: Objective
    deadline: float

    @property
    def left(self) -> float:
        """Seconds until the piece ends."""
        return self.deadline - time.monotonic()

    def runs(self) -> Iterator[tuple[str, Job]]:
        """Yield every source with every run on it."""
        for job in self.plan.jobs(matching=0):
            yield from ((source, job) for source in self.pack.card["sources"])

    def run_folder(self, source: str, job: Job) -> Path:
        """Return the folder of a run."""
        return self.folder / source / job.row.folder / f"seed{job.seed}"


def leaderboard(options: argparse.Namespace, pack: Pack) -> None:
    """Train, match and score the remaining runs until the piece's time is over.

    Raises:
        GeosegError: If rows or parameters say no, or the folder was begun otherwise.
    """
    board = _board(options, pack)
    _begin(board)
    for source, job in board.runs():
        folder = board.run_folder(source, job)
        if (folder / SCORE).exists():
            continue
        if board.left < LEAST_SECONDS:
            break
        folder.mkdir(parents=True, exist_ok=True)
        try:
            finished = _run(board, source, job, folder)
        except GeosegError as error:
            print(f"{source}, {job.row.name}, seed {job.seed}: {error}")
            continue
        if not finished:
            break
        write_text(board.folder / "leaderboard.md", _markdown(board))
    text = _markdown(board)
    write_text(board.folder / "leaderboard.md", text)
    print(text)


def _board(options: argparse.Namespace, pack: Pack) -> Board:
    pairs = dict(text.split("=", 1) for text in options.parameters if "=" in text)
    if len(pairs) < len(options.parameters):
        raise ParameterError("-p expects NAME=VALUE, each name once")
    rows = parse_rows(options.methods)
    if any("width" in method_defaults(row.method) for row in rows):
        pairs = {"width": str(options.width)} | pairs
    shared, own = split_parameters(pairs, list(METHODS))
    base = RunSettings(
        images=options.pack.name,
        patch_size=options.patch_size,
        batch_size=options.batch_size,
        max_steps=options.max_steps,
        objective=options.objective,
        device=options.device,
        precision=options.precision,
    )
    plan = BenchmarkPlan(
        base=base,
        rows=rows,
        seeds=options.seeds,
        shared=shared,
        own=own,
    )
    plan.check()
    deadline = time.monotonic() + 60 * options.minutes
    folder: Path = options.output
    return Board(folder, pack, plan, options.device, options.objective, deadline)


def _begin(board: Board) -> None:
    """Record what all runs share; refuse a folder that was begun with other settings."""
    board.folder.mkdir(parents=True, exist_ok=True)
    path = board.folder / "leaderboard.json"
    common = json.dumps(board.plan.common(), indent=1, sort_keys=True)
    if not path.exists():
        write_text(path, common)
    elif json.loads(path.read_text()) != json.loads(common):
        raise TrainingError(
            f"{board.folder} was begun with other settings (see {path.name}): give the "
            "same, or another folder"
        )


def _run(board: Board, source: str, job: Job, folder: Path) -> bool:
    """Continue a run; return whether it is trained and scored."""
    from geoseg.training.engine import fit
    from geoseg.training.limits import Limits

    tiles = training_tiles(board.pack, source, job.row)
    method = _method(board, source, job)
    loader = PackedLoader(
        tiles,
        patch_size=board.plan.base.patch_size,
        batch_size=board.plan.base.batch_size,
        seed=job.seed,
        labelled_share=method.labelled_share,
    )
    pieces = read_pieces(folder)
    begun = time.monotonic()
    # Lightning's clock goes on over the pieces of a run.
    spent = sum(piece["seconds"] for piece in pieces)
    result = fit(
        method,
        loader,
        run=folder,
        limits=Limits(
            max_steps=board.plan.base.max_steps,
            max_time=timedelta(seconds=spent + board.left),
        ),
        seed=job.seed,
        resume=True,
        accelerator=board.device,
        precision=board.plan.base.precision,
        stop_on_collapse=False,
    )
    pieces.append({"seconds": time.monotonic() - begun, "steps": result.steps})
    write_text(folder / PIECES, json.dumps(pieces, indent=1))
    if method.gradient and result.steps < (board.plan.base.max_steps or 0):
        return False
    method.to(board.device)
    scores = score_head(method, board.pack, source, objective=board.objective)
    _save(folder / WEIGHTS, method)
    seconds = sum(piece["seconds"] for piece in pieces)
    found = {"source": source, "row": job.row.name, "seed": job.seed, **scores}
    write_text(folder / SCORE, json.dumps({**found, "seconds": seconds}, indent=1))
    # Adam's state is two thirds of a run, and not needed any more.
    (folder / "last.ckpt").unlink(missing_ok=True)
    return True


def training_tiles(pack: Pack, source: str, row: Row) -> list[PackedTile]:
    """Return the tiles of a row: no test tile, and labels only if it learns from them."""
    match = pack.select("match", source=source)
    others = _blind(pack.select("select", "unlabelled", "hidden", source=source))
    method = method_class(row.method)
    if method.labelled_share == 1:
        return match
    return (match if method.uses_labels else _blind(match)) + others


def _blind(tiles: Iterable[PackedTile]) -> list[PackedTile]:
    return [replace(t, mask=torch.full_like(t.mask, IGNORE)) for t in tiles]


def _method(board: Board, source: str, job: Job) -> Method:
    """Build a run's method, with the trunk of the run that it starts from."""
    normalization = board.pack.card["sources"][source]["normalization"]
    bands = tuple(normalization["bands"])

    def build(job: Job, trunk: Mapping[str, Any]) -> Method:
        own = parameters_of(board.plan.settings(job, board.folder), bands)
        known = {key: trunk[key] for key in TRUNK_PARAMETERS if key in trunk}
        parameters = own | {key: known[key] for key in known if key in own}
        return build_method(job.row.method, len(bands), parameters, seed=job.seed)

    if job.row.source is None:
        return build(job, {})
    first = Job(Row(job.row.source), job.split, job.seed)
    weights = board.run_folder(source, first) / WEIGHTS
    if not weights.exists():
        raise TrainingError(f"{first.row.name} has no trained weights to start from")
    other = build(first, {})
    other.load_state_dict(load_file(weights))
    trunk = parameters_of(board.plan.settings(first, board.folder), bands)
    method = build(job, trunk)
    method.start_from(other)
    return method


def _save(path: Path, method: Method) -> None:
    weights = {k: v.cpu().contiguous() for k, v in method.state_dict().items()}
    aside = path.with_suffix(".part")
    save_file(weights, aside)
    os.replace(aside, path)


def write_text(path: Path, text: str) -> None:
    """Write a file aside and rename it."""
    aside = path.with_suffix(".part")
    aside.write_text(text + "\n")
    os.replace(aside, path)


def read_pieces(folder: Path) -> list[dict[str, float]]:
    """Read how long each piece of a run took."""
    path = folder / PIECES
    found: list[dict[str, float]] = (
        json.loads(path.read_text()) if path.exists() else []
    )
    return found


def _markdown(board: Board) -> str:
    """Put all scores into a table for each source, the best IoU first."""
    base, plan = board.plan.base, board.plan
    name = torch.cuda.get_device_name() if board.device == "cuda" else "CPU"
    runs = list(board.runs())
    scores = [_score(board.run_folder(*run) / SCORE) for run in runs]
    lines = [
        f"{name}, {base.precision}: {base.max_steps} steps of {base.batch_size} × "
        f"{base.patch_size}², parameters {dict(plan.shared)} {dict(plan.own)}, seeds "
        f"{plan.seeds}, {sum(map(bool, scores))} of {len(runs)} runs finished. Test "
        "images are never seen in training. Mean over seeds ± standard deviation.",
    ]
    for source in board.pack.card["sources"]:
        rows = []
        for row in (*plan.sources, *plan.rows):
            own = [
                s for s in scores if s and (s["source"], s["row"]) == (source, row.name)
            ]
            if own:
                rows.append((statistics.fmean(_values(own, "iou")), row, own))
        lines += [
            "",
            f"**{source}**",
            "",
            _HEAD,
            "|---|---|" + "---:|" * (len(SHOWN) + 2),
        ]
        for _, row, own in sorted(rows, key=lambda item: -item[0]):
            cells = [_spread(_values(own, key)) for key in SHOWN]
            seconds = statistics.fmean(s["seconds"] for s in own)
            kind = row.family + (", learns from labels" if row.uses_labels else "")
            lines.append(
                f"| {row.name} | {kind} | {' | '.join(cells)} | {len(own)} "
                f"| {seconds:.0f} s |"
            )
    return "\n".join(lines)


_HEAD = f"| method | family | {' | '.join(SHOWN).replace('_', ' ')} | runs | training |"


def _score(path: Path) -> dict[str, Any] | None:
    return json.loads(path.read_text()) if path.exists() else None


def _values(scores: Sequence[Mapping[str, Any]], key: str) -> list[float]:
    """Return a metric of every run; a ratio of nothing counts as 0."""
    return [score[key][0] or 0.0 for score in scores]


def _spread(values: Sequence[float]) -> str:
    mean = f"{statistics.fmean(values):.3f}"
    return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values):.3f}"
