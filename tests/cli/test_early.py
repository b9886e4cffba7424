"""What the command line alone says is wrong is said before anything heavy is imported."""

import json
import subprocess
import sys

import pytest

SCRIPT = """
import json, shlex, sys
from click.testing import CliRunner
from geoseg.cli import cli

sys.modules["tensorboard"] = None  # not installed
for words, _ in json.loads(sys.argv[1]):
    result = CliRunner().invoke(cli, shlex.split(words))
    heavy = {"torch", "rasterio", "lightning", "torchgeo", "fiona", "pandas", "numpy"}
    print(json.dumps([result.stderr, sorted(heavy & set(sys.modules))]))
"""
TRAIN = "train --images tiles "
#: Command line → what is said; none of them needs torch.
AT_ONCE = {
    TRAIN + "--method magic": "no method 'magic'",
    TRAIN + "--method iicc": "did you mean iic",
    TRAIN + "--device auto --method magic": "no method 'magic'",
    "predict tiles --device auto -o a.gpkg": "there is no model in",
    "benchmark --images none --device auto --methods iic -o b": "none does not exist",
    TRAIN + "--preset lables": "no preset 'lables' (did you mean labels?), expected",
    TRAIN + "--preset labels --method iic": "--preset labels trains supervised, but",
    TRAIN + "-o full": "full is not empty",
    TRAIN + "-p width": "'width' is not NAME=VALUE",
    TRAIN + "-p depth=3": "no parameter 'depth'",
    TRAIN + "-p width=wide": "iic parameter width is 'wide', expected int such as 16",
    TRAIN
    + "--method color_kmeans -p width=8": "no parameter 'width'; it has clusters=",
    "predict two --model m -o a.gpkg --raster a.tif": "a.tif is one file for 2 images",
    "predict tiles --model m -o a.gpkg": "no image in tiles, expected .tif",
    "train --aoi smaple": "neither known nor a folder (did you mean sample?)",
    "match m --aoi pairs": "(did you mean paris?)",
    "evaluate m --aoi atlantis": "expected one of las_vegas, paris, shanghai",
    "benchmark --aoi smaple --methods iic -o b": "(did you mean sample?)",
    "methods icc": "did you mean iic",
    "methods magic": "no method 'magic'",
    "methods iic labels": "labels is a preset of supervised and no method: geoseg train "
    "--preset labels takes it, geoseg methods supervised says what it sets",
    TRAIN + "--method unsupervised": "geoseg train --preset unsupervised takes it",
    "predict x.tif -o full/mine.geojson": "exists already",
    "predict x.tif -o full/mine.shp": "mine.shp ends in '.shp' (a Shapefile",
    "predict x.tif -o a.gpkg --raster a.png": "a.png ends in '.png', expected one of .t",
    "demo -o full": "exists already",
    "train --images none": "none does not exist, expected a folder of GeoTIFFs",
    "train --images labels.geojson --labels tiles": "labels.geojson is a vector file, "
    "expected a folder of GeoTIFFs or one image: were labels and images exchanged?",
    "match m --images tiles --labels tiles -o ''": "the name of the output is empty",
    TRAIN + "--labels none": "labels none do not exist, expected a folder",
    TRAIN + "--init none": "there is no model file none",
    "match m --images none": "none does not exist, expected a folder of GeoTIFFs",
    "match m --images tiles --labels none": "labels none do not exist",
    "match none --images tiles": "there is no model file none",
    "predict x.tif -o a.gpkg": "x.tif does not exist, expected a GeoTIFF",
    "predict tiles -o a.gpkg": "there is no model in",
    "predict https://host/a.tif -o a.gpkg --model none": "there is no model file none",
    "evaluate none --images tiles": "none does not exist, expected footprints",
    "evaluate m --images none": "none does not exist, expected a folder of GeoTIFFs",
    "evaluate m --images tiles --labels none": "labels none do not exist",
    "evaluate m --images /vsizip/none --model none": "there is no model file none",
    "benchmark --images none --methods iic -o b": "none does not exist, expected a folder",
    "info": "no path is given",
    "info x.tif --aoi sample": "(not both)",
    "info --aoi sample --labels tiles": "an AOI brings its own labels",
    "info --aoi smaple": "(did you mean sample?)",
    "info x.tif --model none": "there is no model file none",
}
#: These need the method, or know of devices, through torch.
WITH_TORCH = {
    TRAIN + "--accumulate 2": "does not work with this method",
    TRAIN + "--warmup-steps 9 --max-steps 9": "expected less than the 9 steps",
    TRAIN + "--lr-schedule cosine --max-time 00:01:00": "only a time is given",
    TRAIN + "--method color_kmeans --devices 2": "color_kmeans makes none",
    TRAIN + "--classes building": "expected 2 to 255, background first",
    TRAIN + "-p width=0": "width is 0, expected",
    TRAIN + "--patch-size 65": "expected a multiple of 2",
    TRAIN + "--tensorboard": "needs the package tensorboard, which is not installed",
}


@pytest.mark.parametrize(
    ("cases", "allowed"), [(AT_ONCE, []), (WITH_TORCH, ["numpy", "torch"])]
)
def test_wrong_usage_is_refused_before_heavy_imports(tmp_path, cases, allowed):
    for name in ("full", "tiles"):
        (tmp_path / name).mkdir()
    for name in ("m", "two/a.tif", "two/b.tif"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "full" / "mine.geojson").write_text("mine")
    (tmp_path / "labels.geojson").write_text("{}")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(list(cases.items()))],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=True,
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    for (words, expected), (said, heavy) in zip(cases.items(), answers, strict=True):
        assert expected in said, words
        assert set(heavy) <= set(allowed), words
