"""Kill ``geoseg predict`` at random moments; the map must have the same bytes.

    python benchmarks/kills.py tile.tif … --model RUN --kills 20
    python benchmarks/kills.py tile.tif … --model RUN --kills 20 -- --workers 2
    python benchmarks/kills.py tile.tif … --model RUN --kills 0 --workers 2

A map is made in one go, and its time taken. Then runs are killed with SIGKILL after a
random share of that time, each followed by one that goes on to the end, which has to give
the same bytes. ``--workers`` makes it on a local Dask cluster too, with the same result
expected of it. What follows ``--`` goes to ``geoseg predict``. Prints one line a kill, and
exits with 1 if a map differs.
"""

import argparse
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def command(folder: Path, options: argparse.Namespace) -> list[str]:
    """Return the command that makes the map in a folder."""
    folder.mkdir(exist_ok=True)
    rasters = folder if len(options.images) > 1 else folder / "classes.tif"
    words = [sys.executable, "-m", "geoseg", "-q", "predict", *options.images]
    words += ["--model", options.model, "-o", str(folder / "map.geojson")]
    return [*words, "--raster", str(rasters), "--threads", "1", *options.rest]


def contents(folder: Path) -> dict[str, bytes]:
    """Return all files in a folder; a lock that nobody holds is none."""
    files = [it for it in folder.rglob("*") if it.is_file() and it.suffix != ".lock"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def is_incomplete(folder: Path) -> bool:
    """Tell whether there is something left to do: a kill may come after the last file."""
    done = (folder / "map.geojson").exists()
    return not done or (folder / ".map.geojson.parts").exists()


def survives(folder: Path, options: argparse.Namespace, after_s: float) -> str:
    """Kill a run after some seconds, continue it, and return what the folder held between."""
    words = command(folder, options)
    with subprocess.Popen(words) as process:
        try:
            process.wait(after_s)
        except subprocess.TimeoutExpired:
            process.kill()
    blocks = len(list(folder.glob(".map.geojson.parts/*.block")))
    if is_incomplete(folder):
        subprocess.run(words, check=True)
    return f"killed after {after_s:.2f} s, {blocks} blocks done"


def main() -> None:
    """Kill runs; compare their maps."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("images", nargs="+")
    parser.add_argument("--model", required=True)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, help="of Dask, that make the map too")
    words = sys.argv[1:]
    end = words.index("--") if "--" in words else len(words)
    options = parser.parse_args(words[:end])
    options.rest = words[end + 1 :]
    chance, same = random.Random(options.seed), 0
    with tempfile.TemporaryDirectory() as name:
        start = time.monotonic()
        subprocess.run(command(Path(name) / "whole", options), check=True)
        taken_s = time.monotonic() - start
        whole = contents(Path(name) / "whole")
        if options.workers:
            words = command(Path(name) / "workers", options)
            workers = ["--workers", str(options.workers)]
            subprocess.run([*words, *workers], check=True)
            equal = contents(Path(name) / "workers") == whole
            print(f"{options.workers} workers: {'same' if equal else 'DIFFERENT'}")
            if not equal:
                sys.exit(1)
        for number in range(options.kills):
            folder = Path(name) / f"killed{number}"
            said = survives(folder, options, chance.uniform(0, taken_s))
            equal = contents(folder) == whole
            same += equal
            print(f"{said}: {'same' if equal else 'DIFFERENT'}", flush=True)
    print(f"{same} of {options.kills} maps are the same ({taken_s:.1f} s in one go)")
    sys.exit(same < options.kills)


if __name__ == "__main__":
    main()
