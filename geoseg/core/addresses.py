"""File names as users, GDAL and the web write them, and checks that files exist.

Nothing here opens a file.
"""

import re
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from geoseg.core.errors import ModelFileError, RasterError

_SCHEMES = {"s3://": "/vsis3/", "gs://": "/vsigs/", "az://": "/vsiaz/"}
_WEB = ("https://", "http://")

#: Replaces a secret in an address that is stored or shown.
REDACTED = "REDACTED"


def _values_of(names: str) -> re.Pattern[str]:
    """Return a pattern for URL parameters with their values; group 1 holds the names.

    It also matches the escaped signs of a URL inside another, as in ``/vsicurl?url=…``.
    """
    return re.compile(
        rf"((?:[?&]|%3F|%26)(?:{names})(?:=|%3D))(?:(?!%26|%23)[^&#\s'\"])+",
        re.IGNORECASE,
    )


#: URL parameters that grant access: those of S3, Google, CloudFront, services with
#: keys, Azure, and GDAL itself.
_SECRET = _values_of(
    r"x-(?:amz|goog)-(?:signature|credential|security-token)|signature|policy|"
    r"key-pair-id|awsaccesskeyid|googleaccessid|(?:access_?|auth_?)?token|api_?key|"
    r"subscription-key|key|password|secret|sig|userpwd|header\.[\w-]+"
)
#: Parameters that come with Azure's signature ``sig``.
_SHARED_ACCESS = _values_of("se|sp|sv|sr|st|sip|spr|sks|skt|ske|skv|skoid|sktid")
_SIG = _values_of("sig")
_LOGIN = re.compile(r"(?<=://)[^/@\s]+@")


def is_remote(path: str | Path) -> bool:
    """Return whether only GDAL can open a path: a URL or ``/vsi…``."""
    return "://" in str(path) or str(path).startswith("/vsi")


def gdal_name(path: str | Path) -> str:
    """Return the name by which GDAL opens a path.

    Example:
        >>> gdal_name("s3://bucket/a.tif"), gdal_name("https://host/a.tif")
        ('/vsis3/bucket/a.tif', '/vsicurl/https://host/a.tif')
    """
    name = str(path)
    if name.startswith(_WEB):
        return "/vsicurl/" + name
    for scheme, prefix in _SCHEMES.items():
        if name.startswith(scheme):
            return prefix + name.removeprefix(scheme)
    return name


def user_name(name: str) -> str:
    """Return the user's name of a GDAL path: the inverse of :func:`gdal_name`."""
    if name.startswith(tuple("/vsicurl/" + scheme for scheme in _WEB)):
        return name.removeprefix("/vsicurl/")
    for scheme, prefix in _SCHEMES.items():
        if name.startswith(prefix):
            return scheme + name.removeprefix(prefix)
    return name


def redact(text: str) -> str:
    """Replace the secrets of signed URLs in a text by :data:`REDACTED`.

    Args:
        text: A path, an address or a command line.

    Example:
        >>> redact("https://host/a.tif?page=1&X-Amz-Signature=3f9a#b")
        'https://host/a.tif?page=1&X-Amz-Signature=REDACTED#b'
    """
    if _SIG.search(text):
        text = _SHARED_ACCESS.sub(rf"\g<1>{REDACTED}", text)
    return _SECRET.sub(rf"\g<1>{REDACTED}", _LOGIN.sub(f"{REDACTED}@", text))


def is_redacted(text: str) -> bool:
    """Return whether :func:`redact` removed a secret from a path or URL."""
    return is_remote(text) and REDACTED in text


def file_name(path: str | Path) -> PurePosixPath:
    """Return the name of a local or remote file, without the query of a signed URL.

    Example:
        >>> file_name("https://host/some/tile%201.tif?signature=a/b").stem
        'tile 1'
    """
    name = user_name(str(path))
    if name.startswith(_WEB):
        name = unquote(urlsplit(name).path)
    return PurePosixPath(PurePosixPath(name).name)


def need_image(path: str | Path) -> None:
    """Raise if a local image does not exist.

    Raises:
        RasterError: If it does not exist.
    """
    if _is_absent(path):
        raise RasterError(f"{path} does not exist, expected a GeoTIFF or VRT file")


def _is_absent(path: str | Path) -> bool:
    return not is_remote(path) and not Path(path).exists()


def need_model(path: Path) -> Path:
    """Return the path of a model file.

    Raises:
        ModelFileError: If the file does not exist.
    """
    if not path.is_file():
        raise ModelFileError(
            f"there is no model file {path}: train one with geoseg train"
        )
    return path
