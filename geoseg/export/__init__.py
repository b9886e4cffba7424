"""Export models as ONNX graphs, for programs without geoseg or torch."""

from importlib.util import find_spec
from pathlib import Path

from geoseg.core.errors import ExportError, ParameterError

_PACKAGES = ("onnx", "onnxruntime")


def check_installed() -> None:
    """Raise if the packages for ONNX are not installed; imports nothing.

    Raises:
        ExportError: If a package is not installed.
    """
    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if missing:
        raise ExportError(
            f"export needs {' and '.join(missing)}, which is not installed: "
            'pip install "geoseg[onnx]"'
        )


def check_onnx_name(path: Path) -> None:
    """Raise if the name of an output does not end in ``.onnx``.

    Raises:
        ParameterError: If it ends otherwise.
    """
    if path.suffix.lower() != ".onnx":
        raise ParameterError(
            f"{path.name} ends in {path.suffix!r}, expected '.onnx': rename the output"
        )
