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
    errno.EROFS: "that disk can be read alone: name another place",
    errno.ENOENT: "check the path",
    errno.ENOTDIR: "check the path",
    errno.ENAMETOOLONG: "give a shorter name",
    errno.EMFILE: "allow more open files with ulimit -n",
    errno.ENOMEM: "give it more memory, or less to do at once",
    errno.EIO: "the disk or the network share fails: check it",
}


#: How libraries say that a disk did not take what was written.
_WRITING = re.compile(r"\bI/O\b|\bdisk\b|\bwrit(e|ing)\b|too large", re.IGNORECASE)


def remedy(error: object) -> str:
    """Say what to do about an error of the system, by the cause that it names."""
    # GDAL numbers its errors otherwise
    number = (error.errno or 0) if isinstance(error, OSError) else 0
    if "No space left" in str(error):  # as libraries hand it on
        number = errno.ENOSPC
    if not number and _WRITING.search(str(error)):  # no cause is named
        return "check the free space"
    return _REMEDIES.get(number, "check the path and its folder")


class GeosegError(Exception):
    """Root of all errors that a user can cause: the data says no."""

    exit_code = 1


class RasterError(GeosegError):
    """An image cannot be opened, read or georeferenced."""


class BandMismatchError(RasterError):
    """An image lacks bands that the caller or the model asks for."""


class LabelError(GeosegError):
    """Reference labels are missing, unreadable or elsewhere than the images."""


class DatasetError(GeosegError):
    """A folder of tiles is absent, empty or inconsistent."""


class DownloadError(GeosegError):
    """Data cannot be fetched: absent, private, out of reach or not what was asked."""


class ArchiveError(GeosegError):
    """An archive is damaged or hostile, or cannot be unpacked."""


class ModelFileError(GeosegError):
    """A model file is absent, damaged or not geoseg's."""


class MatchingError(GeosegError):
    """Clusters cannot be matched to classes."""


class TrainingError(GeosegError):
    """Training cannot start or go on."""


class ExportError(GeosegError):
    """A model cannot be written in another format."""


class BlockError(GeosegError):
    """Workers have failed at a block of an image again and again."""


class OutputError(GeosegError):
    """An output cannot be written or did not verify."""

    @classmethod
    def unwritable(cls, path: object, reason: object) -> "OutputError":
        """Return the error of a file that the disk, or its folder, did not take.

        Args:
            path: Of the file that the user knows, not of one beside it.
            reason: The system's error, or what a library says.
        """
        said = getattr(reason, "strerror", None) or reason
        return cls(f"{path} could not be written ({said}); {remedy(reason)}")


class ShapeError(GeosegError, ValueError):
    """A tensor has another shape than the function takes."""


class ParameterError(GeosegError, ValueError):
    """A parameter has a wrong name or value: wrong usage."""

    exit_code = 2


class OutputExistsError(GeosegError):
    """An output exists already and ``--overwrite`` was not given: wrong usage."""

    exit_code = 2
