"""Catalogue of SpaceNet areas of interest."""

import re
from dataclasses import dataclass

#: The public bucket, and the prefix of its building data sets.
BUCKET, PREFIX = "spacenet-dataset", "spacenet"


@dataclass(frozen=True)
class Tarball:
    """An archive in the bucket.

    Attributes:
        name: ``….tar.gz`` under the data set's ``tarballs``.
        md5: md5 of the file.
        size_gb: Approximate size in 10⁹ bytes.
    """

    name: str
    md5: str
    size_gb: float


@dataclass(frozen=True)
class Aoi:
    """A SpaceNet area of interest.

    Attributes:
        number: Number in folder names, such as ``AOI_2_Vegas``.
        city: City in folder names.
        dataset: ``SN1_buildings`` or ``SN2_buildings``.
        tarballs: Archives of the labelled part.
        tree: Matches the names of the folders in the tarballs that hold the AOI.
        exploded: Folder of the single files, below the data set.
        products: Folders of the image products; the first is the one to train on.
        labels: Folder of the label files.
    """

    number: int
    city: str
    dataset: str
    tarballs: tuple[Tarball, ...]
    tree: re.Pattern[str]
    exploded: str
    products: tuple[str, ...]
    labels: str

    @property
    def size_gb(self) -> float:
        """Return the approximate size of the download in 10⁹ bytes."""
        return sum(tarball.size_gb for tarball in self.tarballs)

    @property
    def unpacked(self) -> str:
        """Return the folder of the unpacked tarballs, below ``--data``."""
        if self.number == 1:
            return f"{self.dataset}/train/{{3band,geojson}}"
        return f"{self.dataset}/train/AOI_{self.number}_{self.city}_Train"


def _sn2(number: int, city: str, md5: str, size_gb: float) -> Aoi:
    name = f"SN2_buildings_train_AOI_{number}_{city}.tar.gz"
    return Aoi(
        number,
        city,
        "SN2_buildings",
        (Tarball(name, md5, size_gb),),
        tree=re.compile(rf"AOI_{number}_{city}\w*"),
        exploded=f"train/AOI_{number}_{city}",
        products=("PS-MS", "PS-RGB", "MS", "PAN"),
        labels="geojson_buildings",
    )


_RIO = Aoi(
    1,
    "Rio",
    "SN1_buildings",
    (
        Tarball(
            "SN1_buildings_train_AOI_1_Rio_3band.tar.gz",
            "279e334a2120ecac70439ea246174516",
            2.6,
        ),
        Tarball(
            "SN1_buildings_train_AOI_1_Rio_geojson_buildings.tar.gz",
            "b6e02fbd727f252ea038abe4f77a77b3",
            0.02,
        ),
    ),
    tree=re.compile("3band|geojson"),
    exploded="train",
    # Rio's 8band images are not pan-sharpened (2 m), so 3band comes first.
    products=("3band", "8band"),
    labels="geojson",
)

#: Name on the command line → area.
AOIS: dict[str, Aoi] = {
    "las_vegas": _sn2(2, "Vegas", "307da318bc43aaf9481828f92eda9126", 23),
    "paris": _sn2(3, "Paris", "4db469e3e4e7bf025368ad730aec0888", 5.3),
    "shanghai": _sn2(4, "Shanghai", "986129eecd3e842ebc2063d43b407adb", 23.4),
    "khartoum": _sn2(5, "Khartoum", "462b4bf0466c945d708befabd4d9115b", 4.7),
    "rio": _RIO,
}

#: Product names in tarballs → product names of single files.
PRODUCT_ALIASES = {
    "MUL-PanSharpen": "PS-MS",
    "RGB-PanSharpen": "PS-RGB",
    "MUL": "MS",
}
