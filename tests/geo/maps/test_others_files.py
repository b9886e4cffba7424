"""What a map must leave alone: files of others at its outputs, and behind links."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from pixel_models import random_image, write_image
from rasterio.transform import from_origin

from geoseg.core.errors import OutputError, OutputExistsError
from geoseg.geo.maps import job, layer
from geoseg.geo.maps.mapping import map_buildings
from geoseg.geo.maps.options import MapOptions
from geoseg.geo.predict.unfinished import parts_folder

BANDS = ("red", "green", "blue", "nir")
SMALL = MapOptions(window=40, overlap=10, min_area_m2=0.0, batch_size=2)
#: How a map may be made: of one image, of several, of several as one.
KINDS = ("one", "several", "mosaic")


class Stop(BaseException):
    """As Ctrl-C."""


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr("geoseg.geo.predict.blocks.WINDOWS", 6)


@pytest.fixture
def images(tmp_path):
    pixels = np.kron(random_image(12, 6), np.ones((15, 15), np.uint16))
    places = (("a.tif", 0), ("b.tif", 90))
    return [
        write_image(
            tmp_path / name,
            pixels + k,
            transform=from_origin(600000 + k / 2, 4000000, 0.5, 0.5),
        )
        for name, k in places
    ]


def make(model, images, folder, kind, **changes):
    """Map into a folder, with rasters."""
    folder.mkdir(exist_ok=True)
    ending = "" if kind == "several" else ".tif"
    options = replace(SMALL, mosaic=kind == "mosaic", **changes)
    map_buildings(
        model,
        images[:1] if kind == "one" else images,
        folder / "b.fgb",
        classes=folder / f"classes{ending}",
        clusters=folder / f"clusters{ending}",
        options=options,
    )


def contents(folder):
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def names(folder):
    return sorted(contents(folder))


@pytest.fixture
def killed(tmp_path, images, bright_model, monkeypatch):
    """Return ``killed(kind)``: what a kill leaves when all but the styles is written."""
    original = layer.write_style

    def killed(kind):
        left, now = tmp_path / "killed", []

        def style(*args, **options):
            if not now:
                shutil.copytree(tmp_path / "now", left)
                now.append(left)
            original(*args, **options)

        monkeypatch.setattr(layer, "write_style", style)
        make(bright_model(BANDS), images, tmp_path / "now", kind)
        return left

    return killed


@pytest.mark.parametrize("kind", KINDS)
def test_outputs_that_a_killed_run_had_finished_are_made_again(
    tmp_path, images, bright_model, killed, kind
):
    left = killed(kind)
    finished = set(names(left))
    assert {"b.fgb"} < finished and any("classes" in name for name in finished)
    mark = json.loads((parts_folder(left / "b.fgb") / "manifest.json").read_text())
    (left / f".b.{mark['mark']}01234567.fgb").write_text("half")
    make(bright_model(BANDS), images, left, kind)
    assert names(left) == names(tmp_path / "now")
    rasters = [name for name in names(left) if name.endswith((".tif", ".qml"))]
    for name in rasters:
        assert contents(left)[name] == contents(tmp_path / "now")[name], name


@pytest.mark.parametrize("kind", KINDS)
def test_going_on_in_a_copied_folder_leaves_the_original_alone(
    tmp_path, images, bright_model, killed, kind
):
    left = killed(kind)
    shutil.copytree(left, tmp_path / "copy")
    before = contents(left)
    make(bright_model(BANDS), images, tmp_path / "copy", kind)
    assert contents(left) == before
    assert names(tmp_path / "copy") == names(tmp_path / "now")


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        *((kind, "b.fgb") for kind in KINDS),
        *((kind, "b.qml") for kind in KINDS),
        ("one", "classes.tif"),
        ("one", "classes.tif.aux.xml"),
        ("one", "classes.tif.msk"),
        ("one", "classes.qml"),
        ("one", "clusters.tif"),
        ("several", "classes/b.tif"),
        ("several", "classes/b.tif.ovr"),
        ("several", "clusters/a.tif.aux.xml"),
        ("several", "clusters/a.qml"),
        ("mosaic", "classes.tif"),
    ],
)
def test_a_file_put_in_the_place_of_an_output_is_refused(
    images, bright_model, killed, kind, name
):
    left = killed(kind)
    (left / name).write_bytes(b"drawn by hand")
    before = contents(left)
    with pytest.raises(OutputExistsError, match=f"{name} exists already"):
        make(bright_model(BANDS), images, left, kind)
    assert contents(left) == before
    make(bright_model(BANDS), images, left, kind, overwrite=True)
    assert contents(left).get(name) != b"drawn by hand"
    assert not parts_folder(left / "b.fgb").exists()


def test_an_output_that_was_edited_is_nobodys_to_remove(images, bright_model, killed):
    left = killed("one")
    with (left / "classes.tif").open("ab") as file:
        file.write(b"edited")
    edited = contents(left)["classes.tif"]
    with pytest.raises(OutputExistsError, match="classes.tif exists already"):
        make(bright_model(BANDS), images, left, "one")
    assert contents(left)["classes.tif"] == edited


@pytest.mark.parametrize("name", ["classes.tif", "b.fgb", "b.qml", "clusters.tif.ovr"])
def test_a_file_put_there_while_a_map_is_made_stays(
    tmp_path, images, bright_model, monkeypatch, name
):
    original, folder = job.predict_rows, tmp_path / "map"

    def predict(*args, **options):
        for row in original(*args, **options):
            (folder / name).write_bytes(b"drawn by hand")
            yield row

    monkeypatch.setattr(job, "predict_rows", predict)
    with pytest.raises(OutputExistsError, match=f"{name} exists already"):
        make(bright_model(BANDS), images, folder, "one")
    left = [path.name for path in folder.iterdir() if path.is_file()]
    assert left == [name]
    assert (folder / name).read_bytes() == b"drawn by hand"


def test_a_manifest_that_names_files_has_none_of_them_removed(
    tmp_path, images, bright_model, killed
):
    left, victim = killed("one"), tmp_path / "victim.txt"
    victim.write_text("anything")
    path = parts_folder(left / "b.fgb") / "manifest.json"
    values = json.loads(path.read_text())
    values["outputs"] = [str(victim), "../victim.txt"]
    path.write_text(json.dumps(values))
    with (path.parent / "made.txt").open("a") as file:
        file.write(f"{victim}\n")
    make(bright_model(BANDS), images, left, "one")
    assert victim.read_text() == "anything"


def test_what_others_keep_in_the_folder_of_the_parts_stays(
    tmp_path, images, bright_model
):
    parts = parts_folder(tmp_path / "map" / "b.fgb")
    parts.mkdir(parents=True)
    (parts / "notes.txt").write_text("mine")
    (parts / "deeper").mkdir()
    make(bright_model(BANDS), images, tmp_path / "map", "one")
    assert sorted(path.name for path in parts.iterdir()) == ["deeper", "notes.txt"]


def test_no_block_is_written_through_a_link(tmp_path, images, bright_model):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "000000-000000.block").write_text("mine")
    (tmp_path / "elsewhere" / "manifest.json").write_text("mine")
    (tmp_path / "map").mkdir()
    parts_folder(tmp_path / "map" / "b.fgb").symlink_to(tmp_path / "elsewhere")
    for overwrite in (False, True):
        with pytest.raises(OutputError):
            make(
                bright_model(BANDS),
                images,
                tmp_path / "map",
                "one",
                overwrite=overwrite,
            )
    assert contents(tmp_path / "elsewhere") == {
        "000000-000000.block": b"mine",
        "manifest.json": b"mine",
    }


@pytest.mark.parametrize(
    "name", ["manifest.json", "manifest.json.aside", "made.txt", "000000-000000.block"]
)
@pytest.mark.parametrize("there", [True, False])
def test_links_in_the_folder_of_the_parts_are_not_followed(
    tmp_path, images, bright_model, name, there
):
    victim = tmp_path / "victim.txt"
    if there:
        victim.write_text("mine")
    parts = parts_folder(tmp_path / "map" / "b.fgb")
    parts.mkdir(parents=True)
    (parts / name).symlink_to(victim)
    make(bright_model(BANDS), images, tmp_path / "map", "one", overwrite=True)
    assert victim.exists() == there
    assert not there or victim.read_text() == "mine"


def test_a_lock_is_no_link_and_removes_no_file(tmp_path, images, bright_model):
    folder = tmp_path / "map"
    folder.mkdir()
    lock = folder / ".b.fgb.lock"
    lock.symlink_to(tmp_path / "victim.txt")
    with pytest.raises(OutputError, match="cannot be written"):
        make(bright_model(BANDS), images, folder, "one")
    assert not (tmp_path / "victim.txt").exists()
    lock.unlink()
    lock.write_text("mine")
    make(bright_model(BANDS), images, folder, "one")
    assert lock.read_text() == "mine"


def test_an_output_folder_may_be_a_link(tmp_path, images, bright_model):
    (tmp_path / "disk").mkdir()
    (tmp_path / "map").symlink_to(tmp_path / "disk")
    make(bright_model(BANDS), images, tmp_path / "map", "several")
    assert (tmp_path / "disk" / "classes" / "a.tif").exists()


def test_another_map_of_the_same_name_leaves_hidden_files_of_others(
    tmp_path, images, bright_model
):
    folder = tmp_path / "map"
    folder.mkdir()
    others = [folder / name for name in (".b.deadbeef.fgb", ".classes.01234567.tif")]
    for path in others:
        path.write_text("mine")
    make(bright_model(BANDS), images, folder, "one")
    assert all(path.read_text() == "mine" for path in others)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "it is empty"),
        ("[]", "it is \\[\\], expected an object"),
        ("{", "it is not JSON"),
        ('{"identity": 5, "mark": "01234567"}', "identity is 5, expected an object"),
        ('{"identity": {"images": 5}, "mark": "01234567"}', "identity.images is 5"),
        ('{"identity": {"images": {"a": 5}}}', "identity.images.a is 5, expected text"),
        ('{"identity": {}, "mark": ".*"}', "mark is not eight hexadecimal digits"),
        ('{"identity": {"window": NaN}}', "it holds NaN"),
        ('{"identity": {}, "identity": {}}', "'identity' is there twice"),
        ("[" * 5000, "it is not JSON|lie in more than"),
    ],
)
def test_a_damaged_manifest_is_said_and_overwritten(
    tmp_path, images, bright_model, text, said
):
    path = parts_folder(tmp_path / "map" / "b.fgb") / "manifest.json"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(OutputError, match=f"{said}.*--overwrite") as caught:
        make(bright_model(BANDS), images, tmp_path / "map", "one")
    assert str(path) in str(caught.value)
    make(bright_model(BANDS), images, tmp_path / "map", "one", overwrite=True)
    assert not path.parent.exists()
