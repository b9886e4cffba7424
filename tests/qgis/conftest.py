"""QGIS comes with a Python of its own, where a probe runs."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PYTHON = "/usr/bin/python3"

HERE = Path(__file__).parent
ROOT = HERE.parents[1]

collect_ignore = ["probe.py", "toolbox.py"]


def run(*words: object, said: str = "") -> subprocess.CompletedProcess[str]:
    # The tests' own paths would lead QGIS's Python to the wrong packages.
    environment = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("PYTHON", "GDAL", "PROJ", "VIRTUAL_ENV"))
    }
    return subprocess.run(
        [PYTHON, *map(str, words)],
        capture_output=True,
        text=True,
        input=said,
        # without the tests' own program on PATH
        env=environment | {"QT_QPA_PLATFORM": "offscreen", "PATH": os.defpath},
        timeout=500,
    )


@pytest.fixture(scope="session")
def qgis() -> None:
    """Skip where there is no QGIS."""
    if not Path(PYTHON).exists() or run("-c", "import qgis.core").returncode:
        pytest.skip(f"{PYTHON} has no QGIS: apt-get install python3-qgis")


@pytest.fixture(scope="session")
def probe(qgis):
    """Return ``look(*files_and_options) -> {name: what QGIS shows}``."""

    def look(*words: object) -> dict[str, dict]:
        done = run(HERE / "probe.py", *words)
        assert done.returncode == 0, done.stderr
        layers = json.loads(done.stdout)["layers"]
        return {layer["name"]: layer for layer in layers}

    return look


@pytest.fixture(scope="session")
def program(tmp_path_factory) -> str:
    """A program geoseg of this source tree, whose path has a space."""
    path = tmp_path_factory.mktemp("a program") / "geoseg"
    python = shlex.quote(sys.executable)
    source = shlex.quote(str(ROOT))
    path.write_text(f'#!/bin/sh\nPYTHONPATH={source} exec {python} -m geoseg "$@"\n')
    path.chmod(0o755)
    return str(path)


@pytest.fixture(scope="session")
def toolbox(qgis):
    """Return ``use(orders) -> what toolbox.py says``: the plugin in one QGIS."""

    def use(*orders: dict[str, Any]) -> dict[str, Any]:
        done = run(HERE / "toolbox.py", ROOT / "qgis", said=json.dumps(orders))
        assert done.returncode == 0, done.stderr
        # GDAL writes there, too
        said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return said

    return use
