"""The functions that ``import geoseg`` promises."""

import inspect
import subprocess
import sys
from pathlib import Path

import geopandas
import pytest
from click.testing import CliRunner
from shapely.testing import assert_geometries_equal

import geoseg
from geoseg.cli import cli
from geoseg.core.errors import MatchingError, ParameterError, RasterError


@pytest.fixture(scope="module")
def run(town, tmp_path_factory):
    """A tiny run, made by the function that is promised."""
    return geoseg.train(
        town.images,
        town.labels,
        output=tmp_path_factory.mktemp("api") / "run",
        method="color_kmeans",
        parameters={"clusters": 4},
        controls=False,
        report="none",
    )


@pytest.fixture
def image(town) -> Path:
    return sorted(Path(town.images).rglob("*.tif"))[0]


def test_importing_geoseg_imports_nothing_else():
    code = (
        "import sys, time\n"
        "began = time.process_time()\n"
        "import geoseg\n"
        "assert time.process_time() - began < 0.1\n"
        "assert {name for name in sys.modules if name.startswith('geoseg')} == {'geoseg'}\n"
        "assert not {'torch', 'numpy', 'rasterio', 'click'} & set(sys.modules)\n"
        "assert set(geoseg.__all__) <= set(dir(geoseg))\n"
        "print(callable(geoseg.train), 'torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["True", "False"]


def test_what_is_promised_is_there_typed_and_documented():
    assert geoseg.__all__ == sorted(geoseg.__all__)
    for name in geoseg.__all__:
        function = getattr(geoseg, name)
        signature = inspect.signature(function)
        for parameter in signature.parameters.values():
            assert parameter.annotation is not parameter.empty, (name, parameter.name)
            assert f"{parameter.name}: " in function.__doc__, (name, parameter.name)
        assert signature.return_annotation is not signature.empty
    with pytest.raises(AttributeError, match="has no attribute 'tain'"):
        geoseg.tain


def test_from_tiles_to_a_table_of_footprints(run, town, image, tmp_path):
    summary = geoseg.predict(
        image,
        tmp_path / "b.gpkg",
        model=run.run,
        classes=tmp_path / "classes.tif",
        probability=tmp_path / "probability.tif",
    )
    table = geoseg.footprints(tmp_path / "classes.tif")
    written = geopandas.read_file(tmp_path / "b.gpkg", layer="b")
    assert len(table) == len(written) == summary.footprints > 0
    assert list(table.columns[1:]) == list(written.columns)[-len(table.columns) + 1 :]
    assert table.crs == written.crs
    for one, other in zip(table.geometry, written.geometry, strict=True):
        assert_geometries_equal(one, other, tolerance=1e-9, normalize=True)
    assert (table["area_m2"] == written["area_m2"]).all()
    # holes below the least area of footprints are filled, however small that is
    assert len(geoseg.footprints(tmp_path / "classes.tif", min_area_m2=1)) >= len(table)
    scores = geoseg.evaluate(tmp_path / "classes.tif", image, town.labels)
    assert scores.entries[0].role == "model" and "IoU" in str(scores.table)


def test_scores_of_footprints_come_from_the_probabilities(run, image, tmp_path):
    model = geoseg.open_model(run.run)
    assert not model.method.has_probabilities
    geoseg.predict(
        [image],
        tmp_path / "b.gpkg",
        model=model,
        classes=tmp_path / "c.tif",
        probability=tmp_path / "p.tif",
    )
    table = geoseg.footprints(tmp_path / "c.tif", tmp_path / "p.tif")
    assert table["score"].between(0.5, 1).all()  # from shares of hard clusters
    assert geoseg.footprints(tmp_path / "c.tif")["score"].isna().all()


def test_commands_and_functions_write_the_same_bytes(run, town, image, tmp_path):
    options = {"min_area_m2": 20.0, "regularize": True}
    geoseg.predict(image, tmp_path / "a.geojson", model=run.run, **options)
    words = [image, "-o", tmp_path / "b.geojson", "--model", run.run]
    words += ["--min-area", 20, "--regularize"]
    done = CliRunner().invoke(cli, ["predict", *map(str, words)])
    assert done.exit_code == 0, done.output
    a, b = ((tmp_path / f"{name}.geojson").read_text() for name in "ab")
    assert a.replace('"name": "a"', "") == b.replace('"name": "b"', "")

    matched = geoseg.match(run.run, town.images, town.labels, objective="accuracy")
    matched.save(tmp_path / "a.safetensors")
    words = [run.run, "--images", town.images, "--labels", town.labels]
    words += ["--objective", "accuracy", "-o", tmp_path / "b.safetensors"]
    done = CliRunner().invoke(cli, ["match", *map(str, words)])
    assert done.exit_code == 0, done.output
    a, b = ((tmp_path / f"{name}.safetensors").read_bytes() for name in "ab")
    assert a == b


@pytest.mark.parametrize(
    ("call", "message"),
    [
        pytest.param(
            lambda: geoseg.train("tiles", max_step=3),
            "no setting 'max_step' .did you mean max_steps",
            id="setting",
        ),
        pytest.param(
            lambda: geoseg.predict("a.tif", "b.gpkg", min_area=3),
            "no option 'min_area' .did you mean min_area_m2",
            id="option",
        ),
    ],
)
def test_a_mistyped_name_is_answered(call, message):
    with pytest.raises(ParameterError, match=message):
        call()


def test_a_class_raster_of_others_is_refused_where_it_is_none(image, tmp_path):
    with pytest.raises(RasterError, match="expected class ids from 0 to 1"):
        geoseg.footprints(image)


def test_a_model_without_classes_maps_nothing(bright_model, image, tmp_path):
    with pytest.raises(MatchingError, match="geoseg match"):
        geoseg.predict(image, tmp_path / "b.gpkg", model=bright_model(matched=False))
    assert list(tmp_path.iterdir()) == []


def test_former_names_answer_with_the_new_ones():
    import geoseg.runs

    with pytest.warns(DeprecationWarning, match="runs.start is geoseg.train now"):
        assert callable(geoseg.runs.start)
    with pytest.warns(DeprecationWarning, match="map_buildings is geoseg.predict now"):
        from geoseg.geo.mapping import map_buildings
    assert callable(map_buildings)
