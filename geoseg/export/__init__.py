"""Models as ONNX graphs, for programs that know nothing of geoseg or torch."""

from importlib.util import find_spec
from pathlib import Path

from geoseg.core.errors import ExportError, ParameterError

_PACKAGES = ("onnx", "onnxruntime")


def check_installed() -> None:
    """Ask for what writes and runs ONNX graphs; imports nothing.

    Raises:
        ExportError: If a package is not installed.
    """
    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if missing:
        raise ExportError(
            f"export needs {' and '.join(missing)}, which is not installed: "
            'pip install "geoseg[onnx]"'
        )


def check_format(path: Path) -> None:
    """Refuse an output whose name does not end in ``.onnx``.

    Raises:
        ParameterError: If it ends otherwise.
    """
    if path.suffix.lower() != ".onnx":
        raise ParameterError(
            f"{path.name} ends in {path.suffix!r}, expected '.onnx': rename the output"
        )
