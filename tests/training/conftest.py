"""Makes ``cases`` importable, here and in the processes that the tests start."""

import sys
from pathlib import Path

FOLDER = Path(__file__).parent
sys.path[:0] = [str(FOLDER), str(FOLDER.parent / "methods")]  # for small_methods
