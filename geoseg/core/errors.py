"""The errors that geoseg raises on purpose.

A message says what was found, what was expected and what to do, on one line. The
command line prints it without a traceback and exits with :attr:`GeosegError.exit_code`.
"""

import errno
import re

#: Error number of the system → what to do about it.
_REMEDIES = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "make room on that disk"),
    **dict.fromkeys(
        (errno.EACCES, errno.EPERM), "check the permissions of the file and its folder"
    ),
    errno.EFBIG: "check the free space, and how large files may be (ulimit -f)",
    errno.EROFS: "that disk is read-only: choose another place",
    errno.ENOENT: "check the path",
    errno.ENOTDIR: "check the path",
    errno.ENAMETOOLONG: "give a shorter name",
    errno.EMFILE: "allow more open files with ulimit -n",
    errno.ENOMEM: "give it more memory, or less to do at once",
    errno.EIO: "the disk or the network share fails: check it",
}


#: Words by which libraries report a failed write.
_WRITING = re.compile(r"\bI/O\b|\bdisk\b|\bwrit(e|ing)\b|too large", re.IGNORECASE)


def remedy(error: object) -> str:
    """Return what to do about a system error, by the cause that it names."""
    # GDAL has error numbers of its own
    number = (error.errno or 0) if isinstance(error, OSError) else 0
    if "No space left" in str(error):  # libraries pass on the text alone
        number = errno.ENOSPC
    if not number and _WRITING.search(str(error)):  # no cause is named
        return "check the free space"
    return _REMEDIES.get(number, "check the path and its folder")


class GeosegError(Exception):
    """Base class of all errors that a user can cause."""

    exit_code = 1


class RasterError(GeosegError):
    """An image cannot be opened, read or georeferenced."""


class BandMismatchError(RasterError):
    """An image lacks bands that the caller or the model needs."""


class LabelError(GeosegError):
    """Reference labels are missing, unreadable or outside the images."""


class DatasetError(GeosegError):
    """A folder of tiles is absent, empty or inconsistent."""


class DownloadError(GeosegError):
    """Data cannot be downloaded: absent, private, unreachable or not as expected."""


class ArchiveError(GeosegError):
    """An archive is damaged or hostile, or cannot be unpacked."""


class ModelFileError(GeosegError):
    """A model file is absent, damaged or was not written by geoseg."""


class MatchingError(GeosegError):
    """Clusters cannot be matched to classes."""


class TrainingError(GeosegError):
    """Training cannot start or continue."""


class ExportError(GeosegError):
    """A model cannot be exported to another format."""


class BlockError(GeosegError):
    """Workers have failed repeatedly at a block of an image."""


class OutputError(GeosegError):
    """An output cannot be written or failed its check."""

    @classmethod
    def unwritable(cls, path: object, reason: object) -> "OutputError":
        """Return the error for a file that could not be written.

        Args:
            path: The output that the user named, not a temporary file beside it.
            reason: The error of the system or of a library.
        """
        cause = getattr(reason, "strerror", None) or reason
        return cls(f"{path} could not be written ({cause}); {remedy(reason)}")


class ShapeError(GeosegError, ValueError):
    """A tensor does not have the shape that the function expects."""


class ParameterError(GeosegError, ValueError):
    """A parameter has a wrong name or value (wrong usage)."""

    exit_code = 2


class OutputExistsError(GeosegError):
    """An output exists and ``--overwrite`` was not given (wrong usage)."""

    exit_code = 2
