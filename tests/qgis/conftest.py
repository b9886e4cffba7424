"""QGIS comes with a Python of its own, where a probe runs."""

import json
import os
import subprocess
from pathlib import Path

import pytest

PYTHON = "/usr/bin/python3"

collect_ignore = ["probe.py"]


def run(*words: object) -> subprocess.CompletedProcess[str]:
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
        env=environment | {"QT_QPA_PLATFORM": "offscreen"},
        timeout=120,
    )


@pytest.fixture(scope="session")
def probe():
    """Return ``look(*files_and_options) -> {name: what QGIS shows}``."""
    if not Path(PYTHON).exists() or run("-c", "import qgis.core").returncode:
        pytest.skip(f"{PYTHON} has no QGIS: apt-get install python3-qgis")

    def look(*words: object) -> dict[str, dict]:
        done = run(Path(__file__).with_name("probe.py"), *words)
        assert done.returncode == 0, done.stderr
        layers = json.loads(done.stdout)["layers"]
        return {layer["name"]: layer for layer in layers}

    return look
