"""Command lines that contradict themselves or name what there is not."""

import pytest

TRAIN = "train --images tiles --labels labels "
RING = [[39.2, -6.2], [39.3, -6.2], [39.3, -6.1], [39.2, -6.2]]
AFRICA = {"type": "Polygon", "coordinates": [RING]}


def nothing(desk):
    pass


def file(name):
    return lambda desk: desk.write(name, "mine")


def sample(desk):
    desk.write("s/AOI_0_Sample_Train/mine", "mine")


CASES = {
    "no such command": (
        nothing,
        "fly",
        2,
        "there is no command 'fly', expected one of",
    ),
    "workers and a scheduler": (
        lambda d: d.write("t.tif", ""),
        "predict t.tif --model m -o b.gpkg --workers 2 --scheduler tcp://127.0.0.1:9",
        2,
        "give either --workers or --scheduler",
    ),
    "an option that is gone": (
        nothing,
        "predict t.tif --model m -o b.gpkg --quantize",
        2,
        "--quantize is gone: it used private operators of torch; leave it out",
    ),
    "no such option": (nothing, "train --fly", 2, "No such option"),
    "no source": (nothing, "train", 2, "give the tiles: --images DIR or --aoi NAME"),
    "a folder without its option": (
        nothing,
        "train tiles",
        2,
        "give the tiles by an option: --images tiles$",
    ),
    "match with two models": (
        nothing,
        "match m --model m --images tiles",
        2,
        "name one model file",
    ),
    "resume a file": (
        nothing,
        "train --resume tile.tif",
        1,
        "tile.tif has no run.json, expected the folder of a run",
    ),
    "two sources": (nothing, "train --images tiles --aoi sample", 2, r"\(not both\)"),
    "unknown area": (
        nothing,
        "train --aoi atlantis",
        1,
        "'atlantis' is neither known nor a folder, expected one of las_vegas",
    ),
    "absent area": (
        nothing,
        "train --aoi paris --data .",
        1,
        r"AOI paris is not on disk: looked in \., .*geoseg download --aoi paris",
    ),
    "a known area without data": (
        nothing,
        "train --aoi paris",
        1,
        r"looked in nowhere \(\$GEOSEG_DATA is not set\)",
    ),
    "unknown method": (
        nothing,
        TRAIN + "--method magic",
        2,
        "there is no method 'magic', expected one of iic",
    ),
    "unknown parameter": (
        nothing,
        TRAIN + "-p depth=3",
        2,
        "iic has no parameter 'depth'; it has trunk='vgg'",
    ),
    "no value": (
        nothing,
        TRAIN + "-p width",
        2,
        "'width' is not NAME=VALUE, for instance over_clusters=24",
    ),
    "a word for a number": (
        nothing,
        TRAIN + "-p width=wide",
        2,
        "iic parameter width is 'wide', expected int such as 16",
    ),
    "no width": (nothing, TRAIN + "-p width=0", 2, "width is 0, expected at least 1"),
    "negative width": (
        nothing,
        TRAIN + "-p width=-4",
        2,
        "width is -4, expected at least 1",
    ),
    "no trunk": (
        nothing,
        TRAIN + "-p trunk=oak",
        2,
        "there is no trunk 'oak', expected one of",
    ),
    "one cluster": (
        nothing,
        TRAIN + "-p main_clusters=1",
        2,
        "head 'main' has 1 clusters, expected 2 to 4096",
    ),
    "no cluster": (
        nothing,
        TRAIN + "-p over_clusters=0",
        2,
        "head 'over' has 0 clusters, expected 2 to 4096",
    ),
    "negative rate": (
        nothing,
        TRAIN + "-p learning_rate=-1",
        2,
        "learning_rate is -1.0, expected more than 0",
    ),
    "a rate that is no number": (
        nothing,
        TRAIN + "-p learning_rate=nan",
        2,
        "learning_rate is 'nan', expected float such as 0.001",
    ),
    "no colour cluster": (
        nothing,
        TRAIN + "--method color_kmeans -p clusters=0",
        2,
        "has 0 clusters, expected 2 to 4096",
    ),
    "more clusters than a raster holds": (
        nothing,
        TRAIN + "-p over_clusters=100000",
        2,
        "has 100000 clusters, expected 2 to 4096",
    ),
    "no step": (
        nothing,
        TRAIN + "--max-steps 0",
        2,
        "--max-steps.*0 is not in the range x>=1",
    ),
    "no epoch": (nothing, TRAIN + "--max-epochs 0", 2, "--max-epochs"),
    "no time": (
        nothing,
        TRAIN + "--max-time 00:00:00",
        2,
        "is no time, expected a second at least",
    ),
    "time without colons": (
        nothing,
        TRAIN + "--max-time 20",
        2,
        "'20' is not HH:MM:SS, for instance 00:20:00",
    ),
    "more time than there is": (
        nothing,
        TRAIN + "--max-time 999999999999:00:00:00",
        2,
        "more time than there is",
    ),
    "no batch": (nothing, TRAIN + "--batch-size 0", 2, "--batch-size"),
    "odd patch": (
        nothing,
        TRAIN + "--patch-size 65",
        2,
        "65 pixels a side, expected a multiple of 2 for iic: choose --patch-size",
    ),
    "tiny patch": (nothing, TRAIN + "--patch-size 8", 2, "--patch-size"),
    "huge seed": (nothing, TRAIN + "--seed 99999999999999999999999", 2, "--seed"),
    "negative seed": (nothing, TRAIN + "--seed -1", 2, "--seed"),
    "a word for a seed": (nothing, TRAIN + "--seed one", 2, "--seed"),
    "no block": (nothing, TRAIN + "--blocks 0", 2, "--blocks"),
    "blocks smaller than a pixel": (
        nothing,
        TRAIN + "--blocks 1000",
        1,
        "64 x 64, too small for 1000 x 1000 blocks .*choose fewer blocks",
    ),
    "no thread": (nothing, TRAIN + "--threads 0", 2, "--threads"),
    "unknown device": (nothing, TRAIN + "--device abacus", 2, "--device"),
    "unknown precision": (nothing, TRAIN + "--precision 8", 2, "--precision"),
    "resume and more": (
        nothing,
        "train --resume run --batch-size 3",
        2,
        "--resume takes the settings of the run, but --batch-size was given too: leave it out",
    ),
    "no source to match": (
        nothing,
        "match m",
        2,
        "give the tiles: --images DIR or --aoi NAME",
    ),
    "no source to score": (
        nothing,
        "evaluate tile.tif",
        2,
        "give the tiles: --images DIR or --aoi NAME",
    ),
    "resume elsewhere": (nothing, "train --resume r -o s", 2, "but --output was given"),
    "resume with a source": (nothing, "train --resume r --aoi sample", 2, "but --aoi"),
    "resume with a default": (nothing, "train --resume r --seed 0", 2, "but --seed"),
    "resume no run": (
        nothing,
        "train --resume tiles",
        1,
        "tiles has no run.json, expected the folder of a run that geoseg train began",
    ),
    "resume nothing": (nothing, "train --resume nowhere", 1, "nowhere has no run.json"),
    "a window as small as its overlap": (
        nothing,
        "predict tile.tif -o b.gpkg --model m --window 64 --overlap 64",
        2,
        "overlap",
    ),
    "a tiny window": (
        nothing,
        "predict tile.tif -o b.gpkg --model m --window 8",
        2,
        "--window",
    ),
    "negative area": (
        nothing,
        "predict tile.tif -o b.gpkg --model m --min-area -3",
        2,
        "--min-area",
    ),
    "an area that is no number": (
        nothing,
        "predict tile.tif -o b.gpkg --model m --min-area nan",
        2,
        "--min-area.*'nan' is no finite number",
    ),
    "no image": (nothing, "predict -o b.gpkg", 2, "Missing argument 'IMAGES"),
    "no output": (nothing, "predict tile.tif", 2, "Missing option '-o'"),
    "no model to match": (
        nothing,
        "match",
        2,
        "name one model file or run folder: geoseg match MODEL$",
    ),
    "no tile to match on": (
        nothing,
        "match m --images tiles --labels labels --match-tiles 0",
        2,
        "--match-tiles.* the number of tiles is '0', expected 1 or more",
    ),
    "no map": (
        nothing,
        "evaluate none.gpkg --images tiles --labels labels",
        1,
        "none.gpkg does not exist, expected footprints.*make them with geoseg predict",
    ),
    "a map that is a text": (
        file("a.txt"),
        "evaluate a.txt --images tiles --labels labels",
        1,
        "a.txt ends in '.txt', expected class rasters",
    ),
    "a map that is an image": (
        nothing,
        "evaluate tile.tif --images tiles --labels labels",
        1,
        "tile.tif has 3 bands of uint16, expected a class raster",
    ),
    "a folder without maps": (
        nothing,
        "evaluate labels --images tiles --labels labels",
        1,
        "no class raster in labels",
    ),
    "a map of elsewhere": (
        lambda d: d.tiff("c.tif", [[[1] * 8] * 8]),
        "evaluate c.tif --images tiles --labels labels",
        1,
        "no class raster covers tile tile0",
    ),
    "footprints of elsewhere": (
        lambda d: d.geojson("f.geojson", AFRICA),
        "evaluate f.geojson --images tiles --labels labels",
        1,
        r"map elsewhere: f.geojson covers \(39.* in .*, where the tiles cover \(-115.*"
        "none of 6 images meets it: name the images that were mapped, or check",
    ),
    "nothing to score against": (
        nothing,
        "evaluate tile.tif --images tiles",
        1,
        "no tile of tiles has labels: name them with --labels",
    ),
    "unknown method to list": (
        nothing,
        "methods magic",
        2,
        "there is no method 'magic'",
    ),
    "no sample tile": (nothing, "sample -o s --tiles 0", 2, "--tiles"),
    "a sample that is there": (
        sample,
        "sample -o s --tiles 1",
        2,
        "s/AOI_0_Sample_Train exists already.*--overwrite",
    ),
    "a demo that is there": (
        nothing,
        "demo -o tiles",
        2,
        "tiles exists already.*--overwrite",
    ),
    "a demo in a file": (nothing, "demo -o tile.tif", 2, "tile.tif"),
    "download of nothing": (nothing, "download --data .", 2, "Missing option '--aoi'"),
    "download to nowhere": (
        nothing,
        "download --aoi paris",
        2,
        "give --data DIR or set GEOSEG_DATA",
    ),
    "download of an unknown area": (
        nothing,
        "download --aoi atlantis --data new",
        2,
        "AOI 'atlantis' is unknown, expected las_vegas",
    ),
    "download of an unknown product": (
        nothing,
        "download --aoi paris --data new --products 9band",
        2,
        "product '9band' is unknown for paris",
    ),
    "download from no address": (
        nothing,
        "download --aoi paris --data new --endpoint here",
        2,
        "'here' is not an https:// or http:// URL",
    ),
    "download from nobody": (
        nothing,
        "download --aoi paris --data new --tiles 1 --endpoint http://127.0.0.1:9",
        1,
        "127.0.0.1:9",
    ),
    "download into a file": (
        nothing,
        "download --aoi paris --data tile.tif --tiles 1",
        1,
        "tile.tif",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_refused(refused, name):
    refused(*CASES[name])
