"""Reading of text files in several encodings: UTF-8, UTF-16, UTF-32, Windows-1252."""

import codecs
from pathlib import Path

#: Byte order marks, longer ones first: UTF-32's begins like UTF-16's.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
#: Number of bytes that decide the encoding if there is no mark.
_LOOKED_AT = 64


def read_text(path: str | Path) -> str:
    """Read a text file in any of several encodings; line ends are kept.

    Raises:
        OSError: If it cannot be read.
    """
    return decode_text(Path(path).read_bytes())


def decode_text(data: bytes) -> str:
    r"""Decode text by its byte order mark, else as UTF-8, UTF-16 or Windows-1252.

    Example:
        >>> decode_text("é".encode("utf-16")), decode_text(b"\xe9"), decode_text(b"a\0")
        ('é', 'é', 'a')
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data.decode(encoding, errors="replace")
    first = data[:_LOOKED_AT]
    if len(first) > 1 and not any(first[1::2]):
        return data.decode("utf-16-le", errors="replace")
    if len(first) > 1 and not any(first[::2]):
        return data.decode("utf-16-be", errors="replace")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace")
