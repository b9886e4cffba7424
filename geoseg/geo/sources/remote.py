"""Inputs that are not on disk: ``s3://``, ``https://`` and GDAL's ``/vsi…`` names.

GDAL reads them by range requests. All that tells it how lies here.
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
#: A VRT on this disk whose sources lie on a network: see :func:`vrt_name`.
_NETWORK_VRT = re.compile(r"/vsisubfile/0,.*[/\\]network[-\d]*\.vrt$")

#: How GDAL reads over a network, where the user has not said otherwise.
_OPTIONS = {
    # servers have bad moments: 429, 5xx and cut connections are tried again
    "GDAL_HTTP_MAX_RETRY": "4",
    "GDAL_HTTP_RETRY_DELAY": "0.5",
    # a server that does not answer, or sends less than a byte a second for so long
    "GDAL_HTTP_CONNECTTIMEOUT": "10",
    "GDAL_HTTP_LOW_SPEED_TIME": "30",
    "GDAL_HTTP_LOW_SPEED_LIMIT": "1",
    # headers of some thousand tiles, which are opened several times in a run
    "CPL_VSIL_CURL_CACHE_SIZE": str(128 * 2**20),
}

#: Any of them says that requests to S3 can be signed.
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
    """Name a VRT of our own on this disk so that it may have remote sources, if it has.

    VRTs named by their path alone may have none (``geo/sources/vrt.py``): whoever sends one
    could make GDAL fetch addresses.

    Args:
        file: Its name begins with ``network`` if the sources lie on one.
        sources: As the user named them.
    """
    return f"/vsisubfile/0,{file}" if any(map(is_remote, sources)) else str(file)


def on_network(path: str | Path) -> bool:
    """Tell whether a path is read over a network; archives on this disk are not."""
    name = gdal_name(path)
    return is_remote(name) and bool(_NETWORK.search(name))


def is_own_network_vrt(name: str) -> bool:
    """Tell whether a name is one of :func:`vrt_name` for remote sources."""
    return bool(_NETWORK_VRT.match(name))


@contextmanager
def remote_access(path: str | Path) -> Iterator[str]:
    """Give GDAL's name of a path; of one on a network, the network is open from here on.

    While this is open, GDAL looks for no files beside one on a network, nor beside the
    sources of a VRT of :func:`vrt_name`. A bucket with a million keys would be listed
    for an ``.aux.xml`` otherwise.
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
    """Tell GDAL how to read over a network; what the user has set is left alone.

    Through the environment, because rasterio and fiona each bring a GDAL of their own,
    threads too. Requests to S3 are signed only if there are credentials.
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
    """Files of a bucket's prefix or of an archive, by name.

    Args:
        folder: ``s3://bucket/prefix``, ``/vsizip/…`` and the like.
        suffixes: Lower-case; what else is there is left out.

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
            found = fiona.listdir(name.rstrip("/"))
    except (fiona.errors.FionaError, ValueError) as error:
        raise DatasetError(
            f"{folder} cannot be listed ({error}), expected a prefix or archive with "
            f"{', '.join(suffixes)}: check its name; private ones need credentials "
            "(AWS_PROFILE, AWS_ACCESS_KEY_ID)"
        ) from error
    names = [name for name in found if file_name(name).suffix.lower() in suffixes]
    if not names:
        folders = [name for name in found if not PurePosixPath(name).suffix]
        hint = f"; folders in it: {', '.join(folders[:10])}" if folders else ""
        raise DatasetError(
            f"{folder} holds no {', '.join(suffixes)} file, expected one at least{hint}"
        )
    return [f"{folder.rstrip('/')}/{name}" for name in names]


def explain(path: str, reason: str) -> str | None:
    """Say in a line why a remote file cannot be opened; None: for no remote reason.

    Args:
        path: As the user gave it.
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
