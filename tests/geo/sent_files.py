"""A folder as somebody sends it, and all that must not change or be asked meanwhile."""

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np

from geoseg.core.errors import GeosegError
from geoseg.geo.rasters.description import PixelWindow
from geoseg.geo.rasters.raster import describe_open, open_raster, read_window

#: Pixels of images are below, bytes of the secret are not.
LEAST_SECRET = 200
SIZE = 32


class Listener:
    """A server on this machine that has nothing, and notes what it is asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        asked = self.asked

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(self.path)
                self.send_response(404)
                self.end_headers()

            do_HEAD = do_GET

            def log_message(self, *_: object) -> None:
                """Write nothing."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        serve = self._server.serve_forever
        threading.Thread(target=serve, args=(0.02,), daemon=True).start()
        self.address = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Sent:
    """A folder with a secret and a file that is not to be written.

    Attributes:
        folder: Where what was sent lies.
        secret: A file of bytes that are no pixels of an image.
        victim: A text of somebody's own.
        listener: Hears what is fetched.
    """

    def __init__(self, root: Path, listener: Listener) -> None:
        self.listener = listener
        self._root = root
        self.folder = root / "sent"
        self.folder.mkdir()
        (root / "own").mkdir()
        self.secret = root / "own" / "secret.bin"
        self.secret.write_bytes(bytes(range(LEAST_SECRET, 256)) * 40)
        self.victim = root / "own" / "bashrc"
        self.victim.write_text("alias ls=ls\n")

    def mrf(self, payload: Path) -> str:
        """XML that makes GDAL's MRF driver copy an image into the victim."""
        return (
            f'<MRF_META><Raster><Size x="{SIZE}" y="{SIZE}" c="1"/>'
            f'<PageSize x="{SIZE}" y="{SIZE}" c="1"/><DataFile>{self.victim}</DataFile>'
            f"<IndexFile>{self.victim}.idx</IndexFile><Compression>NONE</Compression>"
            f"</Raster><CachedSource><Source>{payload}</Source></CachedSource></MRF_META>"
        )

    @contextmanager
    def unharmed(self) -> Iterator[None]:
        """Check that nothing was written, beside and elsewhere, and nothing asked."""
        before = self._state()
        del self.listener.asked[:]
        yield
        assert self.listener.asked == []
        assert self._state() == before

    def _state(self) -> dict[str, tuple[bytes, int]]:
        return {
            str(path): (path.read_bytes(), path.stat().st_mtime_ns)
            for path in self._root.rglob("*")
            if path.is_file()
        }


def vrt(source: str, *, band: str = "", more: str = "", relative: int = 0) -> str:
    """Write a VRT of one band and one source."""
    return (
        f'<VRTDataset rasterXSize="{SIZE}" rasterYSize="{SIZE}"><SRS>EPSG:32633</SRS>'
        "<GeoTransform>500000, 1, 0, 5400000, 0, -1</GeoTransform>"
        '<Metadata><MDI key="INTERNAL_MASK_FLAGS_1">2</MDI></Metadata>'
        f'<VRTRasterBand dataType="Byte" band="1"{band}>{more}<SimpleSource>'
        f'<SourceFilename relativeToVRT="{relative}">{escape(source)}</SourceFilename>'
        "<SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>"
    )


def raw_band(secret: Path) -> str:
    """Write a VRT whose pixels are the bytes of a file."""
    return (
        f'<VRTDataset rasterXSize="{SIZE}" rasterYSize="{SIZE}">'
        '<VRTRasterBand dataType="Byte" band="1" subClass="VRTRawRasterBand">'
        f'<SourceFilename relativeToVRT="0">{secret}</SourceFilename>'
        f"<PixelOffset>1</PixelOffset><LineOffset>{SIZE}</LineOffset>"
        "</VRTRasterBand></VRTDataset>"
    )


def look(path: Path | str) -> np.ndarray | None:
    """Read an image as commands do, whole and thinned out; None if it is refused."""
    try:
        with open_raster(path) as dataset:
            grid = describe_open(dataset)
            window = PixelWindow(0, 0, min(grid.height, 256), min(grid.width, 256))
            pixels, _ = read_window(dataset, grid.band_indexes, window)
            thin, _ = read_window(dataset, grid.band_indexes, grid.window, shape=(8, 8))
            assert dataset.files
    except GeosegError as error:
        assert "\n" not in str(error) and str(error)
        return None
    return np.concatenate([pixels.ravel(), thin.ravel()])
