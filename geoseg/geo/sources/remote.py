"""Remote inputs: ``s3://``, ``https://`` and GDAL's ``/vsi…`` names.

GDAL reads them by range requests; this module sets its options.
"""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import rasterio

from geoseg.core.addresses import file_name, gdal_name, is_remote
from geoseg.core.errors import DatasetError
from geoseg.geo.sources.gdal_limits import allow_network

_NETWORK = re.compile(r"/vsi(curl|s3|gs|az|adls|oss|swift|webhdfs)(_streaming)?[/?]")
#: A VRT on this disk with sources on a network: see :func:`vrt_name`.
_NETWORK_VRT = re.compile(r"/vsisubfile/0,.*[/\\]network[-\d]*\.vrt$")

#: Default options for reading over a network; the user may override them.
_OPTIONS = {
    # servers fail for moments: retry after 429, 5xx and cut connections
    "GDAL_HTTP_MAX_RETRY": "4",
    "GDAL_HTTP_RETRY_DELAY": "0.5",
    # give up on a server that does not answer, or sends less than a byte a second
    "GDAL_HTTP_CONNECTTIMEOUT": "10",
    "GDAL_HTTP_LOW_SPEED_TIME": "30",
    "GDAL_HTTP_LOW_SPEED_LIMIT": "1",
    # keep the headers of some thousand tiles, which a run opens several times
    "CPL_VSIL_CURL_CACHE_SIZE": str(128 * 2**20),
}

#: Any of these variables means that requests to S3 can be signed.
_CREDENTIALS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_ROLE_ARN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
)


def vrt_name(file: Path, sources: Sequence[str]) -> str:
    """Return a name for a VRT that geoseg wrote, so that its sources may be remote.

    VRTs opened by their path may have no remote sources (``geo/sources/vrt.py``),
    because a VRT from others could make GDAL fetch addresses.

    Args:
        file: The VRT; its name begins with ``network`` if sources are on a network.
        sources: The sources as the user named them.
    """
    return f"/vsisubfile/0,{file}" if any(map(is_remote, sources)) else str(file)


def on_network(path: str | Path) -> bool:
    """Tell whether a path is read over a network; local archives are not."""
    name = gdal_name(path)
    return is_remote(name) and bool(_NETWORK.search(name))


def is_own_network_vrt(name: str) -> bool:
    """Tell whether a name comes from :func:`vrt_name`, for remote sources."""
    return bool(_NETWORK_VRT.match(name))


@contextmanager
def remote_access(path: str | Path) -> Iterator[str]:
    """Yield GDAL's name of a path; for a remote path, allow the network from here on.

    Inside the ``with`` block GDAL looks for no files beside a remote one, nor beside
    the sources of a VRT of :func:`vrt_name`. Otherwise it would list a bucket with a
    million keys to find an ``.aux.xml``.
    """
    name = gdal_name(path)
    if not (on_network(name) or is_own_network_vrt(name)):
        yield name
        return
    configure()
    allow_network()
    with rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR"):
        yield name


def configure() -> None:
    """Set GDAL's network options, except those that the user has set.

    They are set in the environment, because rasterio and fiona each bring a GDAL of
    their own, and for threads. Requests to S3 are signed only if there are credentials.
    """
    for name, value in _OPTIONS.items():
        os.environ.setdefault(name, value)
    endpoint = os.environ.get("GEOSEG_S3_ENDPOINT")
    if endpoint and "AWS_S3_ENDPOINT" not in os.environ:
        scheme, _, host = endpoint.rstrip("/").partition("://")
        os.environ["AWS_S3_ENDPOINT"] = host
        os.environ.setdefault("AWS_HTTPS", "YES" if scheme == "https" else "NO")
        os.environ.setdefault("AWS_VIRTUAL_HOSTING", "FALSE")
    if not _has_credentials():
        os.environ.setdefault("AWS_NO_SIGN_REQUEST", "YES")


def _has_credentials() -> bool:
    default = Path.home() / ".aws" / "credentials"
    file = Path(os.environ.get("AWS_SHARED_CREDENTIALS_FILE", default))
    return any(os.environ.get(name) for name in _CREDENTIALS) or file.is_file()


def list_remote(folder: str, suffixes: Sequence[str]) -> list[str]:
    """List the files of a bucket's prefix or an archive.

    Args:
        folder: ``s3://bucket/prefix``, ``/vsizip/…`` and the like.
        suffixes: Suffixes of the files to list, in lower case.

    Raises:
        DatasetError: If it cannot be listed or holds no such file.
    """
    if gdal_name(folder).startswith("/vsicurl"):
        raise DatasetError(
            f"{folder} is a web address, which cannot be listed, expected one file "
            f"({', '.join(suffixes)}): name the files in a text file (one address per "
            "line, --images list.txt), or use s3:// if it is a bucket"
        )
    # fiona brings a GDAL of its own and takes a while to import
    import fiona

    try:
        with remote_access(folder) as name:
            entries = fiona.listdir(name.rstrip("/"))
    except (fiona.errors.FionaError, ValueError) as error:
        raise DatasetError(
            f"{folder} cannot be listed ({error}), expected a prefix or archive with "
            f"{', '.join(suffixes)}: check its name; private ones need credentials "
            "(AWS_PROFILE, AWS_ACCESS_KEY_ID)"
        ) from error
    names = [name for name in entries if file_name(name).suffix.lower() in suffixes]
    if not names:
        folders = [name for name in entries if not PurePosixPath(name).suffix]
        hint = f"; folders in it: {', '.join(folders[:10])}" if folders else ""
        raise DatasetError(
            f"{folder} holds no {', '.join(suffixes)} file, expected one at least{hint}"
        )
    return [f"{folder.rstrip('/')}/{name}" for name in names]


def explain(path: str, reason: str) -> str | None:
    """Return why a remote file cannot be opened; None if the network is not the reason.

    Args:
        path: Path or address as the user gave it.
        reason: GDAL's message.
    """
    if not on_network(path):
        return None
    if re.search(r"code: 404|does not exist|NoSuchKey", reason):
        return f"{path} does not exist (404): check the address"
    if re.search(r"code: 40[13]|Access ?Denied|Forbidden", reason):
        return (
            f"{path} may not be read (403), expected a public file or credentials: set "
            "AWS_PROFILE or AWS_ACCESS_KEY_ID for s3://, or sign the address"
        )
    if "not recognized as being in a supported file format" in reason:
        return (
            f"{path} is no GeoTIFF, or its server does not give parts of files (range "
            "requests): download the file, and name it where it lies"
        )
    if re.search(r"CURL error|[Tt]imed? ?out|HTTP response code: 5", reason):
        return f"{path} cannot be reached ({reason}): check the network and the address"
    return None
