"""Import TensorBoard's writer, and check before Lightning is imported."""

from typing import TYPE_CHECKING

from geoseg.core.errors import OutputError

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


def import_summary_writer() -> "type[SummaryWriter]":
    """Return TensorBoard's class of writers.

    Raises:
        OutputError: If the package ``tensorboard`` is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise OutputError(
            "--tensorboard needs the package tensorboard, which is not installed: "
            "pip install 'geoseg[tensorboard]'"
        ) from error
    return SummaryWriter
