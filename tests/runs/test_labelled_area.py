"""Labels of some tiles in one file: the map that a file for each of them gives."""

import json
from pathlib import Path

import fiona
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from click.testing import CliRunner
from rasterio.features import rasterize
from small_runs import COLOUR, SMALL

from geoseg.cli import cli
from geoseg.core.run_files import MODEL_NAME
from geoseg.runs import train as runs
from geoseg.runs.settings import RunSettings

CRS = "EPSG:32611"
#: Of the eight tiles, those that somebody has labelled.
LABELLED = (0, 2, 4)
FOREST = {
    **COLOUR,
    "method": "forest",
    "parameters": {"trees": 4, "leaves": 8, "depth": 4, "scales": 2},
}


@pytest.fixture(scope="module")
def eight(tmp_path_factory):
    """Eight tiles; the footprints of three in one GeoPackage, and in a file for each."""
    folder = tmp_path_factory.mktemp("eight")
    (folder / "tiles").mkdir()
    (folder / "labels").mkdir()
    for number in range(8):
        write_tile(folder / f"tiles/tile{number}.tif", number)
    for number in LABELLED:
        write_shapes(folder / f"labels/tile{number}.gpkg", [house(number)])
    write_shapes(folder / "drawn.gpkg", map(house, LABELLED))
    return folder


def house(number) -> shapely.Polygon:
    """Return the one building of a tile."""
    left, top = 664010 + 100 * number, 3999990
    return shapely.box(left, top - 12, left + 10, top)


def write_tile(path, number):
    grid = Affine(0.5, 0, 664000 + 100 * number, 0, -0.5, 4000000)
    noise = np.random.default_rng(number).integers(0, 60, (3, 64, 64))
    pixels = (100 + noise).astype(np.uint16)
    pixels[:, rasterize([house(number)], (64, 64), transform=grid) == 1] += 750
    about = {"driver": "GTiff", "count": 3, "height": 64, "width": 64}
    with rasterio.open(
        path, "w", dtype="uint16", crs=CRS, transform=grid, **about
    ) as file:
        file.write(pixels)


def write_shapes(path, shapes):
    """Write a file of one layer of polygons."""
    schema = {"geometry": "Polygon", "properties": {}}
    driver = {".gpkg": "GPKG", ".geojson": "GeoJSON"}[path.suffix]
    with fiona.open(path, "w", driver=driver, crs=CRS, schema=schema) as file:
        for shape in shapes:
            geometry = shapely.geometry.mapping(shape)
            file.write({"geometry": geometry, "properties": {}})
    return str(path)


def trained(eight, folder, values, **labels):
    settings = RunSettings(
        images=str(eight / "tiles"), **values, **{"report": "none", **labels}
    )
    return runs.start(settings, folder)


@pytest.mark.parametrize("values", [FOREST, SMALL], ids=["forest", "iic"])
def test_one_file_with_touched_is_a_file_for_each_touched_tile(eight, tmp_path, values):
    several = trained(eight, tmp_path / "several", values, labels=str(eight / "labels"))
    one = trained(
        eight,
        tmp_path / "one",
        values,
        labels=str(eight / "drawn.gpkg"),
        labelled_area="touched",
    )
    first, second = (run.model_path.read_bytes() for run in (several, one))
    assert first == second
    tables = [(run.run / "scores.json").read_bytes() for run in (several, one)]
    entries = [json.loads(table)["entries"] for table in tables]
    assert entries[0] == entries[1]
    stored = json.loads((one.run / "run.json").read_text())["settings"]
    assert stored["labelled_area"] == "touched"
    assert "--labelled-area touched" in RunSettings.from_json(stored).command()
    maps = []
    for run in (several, one):
        output, raster = run.run / "map.geojson", run.run / "map.tif"
        words = ["-q", "predict", str(eight / "tiles/tile5.tif"), "-o", str(output)]
        words += ["--raster", str(raster), "--model", str(run.run)]
        done = CliRunner().invoke(cli, words)
        assert done.exit_code == 0, done.output
        maps.append((output.read_bytes(), raster.read_bytes()))
    assert maps[0] == maps[1]


def test_an_area_that_covers_the_tiles_gives_the_same_model(eight, tmp_path):
    several = trained(eight, tmp_path / "several", FOREST, labels=str(eight / "labels"))
    area = []
    for number in LABELLED:
        with rasterio.open(eight / f"tiles/tile{number}.tif") as image:
            area.append(shapely.box(*image.bounds))
    one = trained(
        eight,
        tmp_path / "one",
        FOREST,
        labels=str(eight / "drawn.gpkg"),
        labelled_area=write_shapes(tmp_path / "area.geojson", area),
    )
    assert several.model_path.read_bytes() == one.model_path.read_bytes()


@pytest.mark.parametrize(
    "words",
    [
        "train -o {out} --images {eight}/tiles --labels {eight}/drawn.gpkg",
        "match {model} --images {eight}/tiles --labels {eight}/drawn.gpkg -o {out}",
        "evaluate {eight}/drawn.gpkg --images {eight}/tiles --labels {eight}/drawn.gpkg",
        "benchmark --methods forest --images {eight}/tiles --labels {eight}/drawn.gpkg "
        "-o {out}",
    ],
    ids=["train", "match", "evaluate", "benchmark"],
)
def test_every_command_that_uses_labels_asks_where_they_hold(
    eight, tmp_path, words, bright_model
):
    from geoseg.model.file import save_model

    model = tmp_path / MODEL_NAME
    save_model(model, bright_model())
    out = tmp_path / "out"
    given = words.format(eight=eight, out=out, model=model).split()
    done = CliRunner().invoke(cli, given)
    assert done.exit_code == 1, done.output
    assert "touch 3 of 8 tiles" in done.stderr.splitlines()[-1]
    assert "--labelled-area touched" in done.stderr.splitlines()[-1]
    assert not out.exists() or not Path(out / MODEL_NAME).exists()


def test_info_says_that_training_would_ask(eight):
    words = ["info", str(eight / "tiles"), "--labels", str(eight / "drawn.gpkg")]
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 0 and "touch 3 of 8 tiles" in done.output
    done = CliRunner().invoke(cli, [*words, "--labelled-area", "touched"])
    assert done.exit_code == 0 and "refused" not in done.output
    assert "they hold in 3 of 8 tiles" in done.output
    done = CliRunner().invoke(cli, [*words, "--labelled-area", "touched", "--json"])
    assert json.loads(done.stdout)[0]["labelled"] == 3


@pytest.mark.parametrize("area", ["absent.gpkg", "absent"])
def test_an_absent_area_is_named_at_once(eight, area):
    words = ["train", "--images", str(eight / "tiles")]
    words += ["--labels", str(eight / "labels"), "--labelled-area", area]
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 1
    assert done.stderr.splitlines()[-1].startswith(
        f"Error: labelled area {area} does not exist, expected a vector file of polygons"
    )


SPARSE = [
    # tile, shape around its house, class
    *((n, "point", "building") for n in (0, 2, 4, 5)),
    *((n, "line", "background") for n in (0, 2, 4, 5)),
]


@pytest.fixture(scope="module")
def sparse(eight):
    """A GeoPackage of a point on each of four houses and a line beside it."""
    path = eight / "sparse.gpkg"
    schema = {"geometry": "Unknown", "properties": {"class": "str"}}
    with fiona.open(path, "w", driver="GPKG", crs=CRS, schema=schema) as file:
        for number, kind, name in SPARSE:
            own = house(number)
            left, low, right, _ = own.bounds
            line = shapely.LineString([(left, low - 5), (right, low - 5)])
            shape = own.centroid if kind == "point" else line
            geometry = shapely.geometry.mapping(shape)
            file.write({"geometry": geometry, "properties": {"class": name}})
    return str(path)


@pytest.mark.parametrize("method", ["forest", "color_kmeans"])
def test_a_model_of_sparse_labels_finds_the_houses(eight, sparse, tmp_path, method):
    values = FOREST if method == "forest" else COLOUR
    result = trained(
        eight, tmp_path / "run", values, labels=sparse, sparse=True, report="quick"
    )
    scores = json.loads((result.run / "scores.json").read_text())["entries"][0]
    assert scores["metrics"]["iou"]["value"] == 1 and scores["num_tiles"] == 2
    assert "polygon_f1" not in scores["metrics"] and scores["sparse_labels"]
    assert "sparse labels do not say where a building ends" in result.table
    # judged by labels that are dense
    maps = tmp_path / "maps"
    images = [str(eight / f"tiles/tile{n}.tif") for n in range(8)]
    words = ["-q", "predict", *images, "-o", str(tmp_path / "m.gpkg")]
    words += ["--raster", str(maps), "--model", str(result.run)]
    assert CliRunner().invoke(cli, words).exit_code == 0
    given = ["--images", str(eight / "tiles"), "-o", str(tmp_path / "scores")]
    dense = [*given, "--labels", str(eight / "labels")]
    done = CliRunner().invoke(cli, ["evaluate", str(maps), *dense])
    assert done.exit_code == 0, done.output
    own = json.loads((tmp_path / "scores/scores.json").read_text())["entries"][0]
    assert own["metrics"]["iou"]["value"] > 0.9
    assert own["metrics"]["polygon_f1"]["value"] == 1
    # and by the sparse ones, and matched on those
    few = [*given[:2], "--labels", sparse, "--sparse"]
    done = CliRunner().invoke(cli, ["evaluate", str(maps), *few])
    assert done.exit_code == 0 and "sparse labels do not say" in done.output.replace(
        "\n", " "
    )
    if method != "forest":
        words = ["match", str(result.run), *few, "-o", str(tmp_path / "again")]
        done = CliRunner().invoke(cli, words)
        assert done.exit_code == 0, done.output


def test_info_counts_sparse_features(eight, sparse):
    words = ["info", str(eight / "tiles"), "--labels", sparse, "--sparse"]
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 0, done.output
    assert "8 sparse features (all meet the images)" in done.output
    assert "they hold in 4 of 8 tiles" in done.output
    assert "2 match, 2 test" in done.output
