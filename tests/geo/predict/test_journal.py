"""Maps that were stopped: what is kept of them, and the same map in the end."""

import json
import os
from itertools import pairwise

import numpy as np
import pytest
from pixel_models import network_model, random_image, write_image

from geoseg.core.errors import OutputError, OutputExistsError
from geoseg.core.locks import locked
from geoseg.geo.maps import job
from geoseg.geo.maps.mapping import map_buildings
from geoseg.geo.maps.options import MapOptions
from geoseg.geo.predict import journal as journals
from geoseg.geo.predict.blocks import Block, blocks_of, read_block, write_block
from geoseg.geo.predict.identity import run_identity
from geoseg.geo.predict.stitching import WindowRow, lay_windows
from geoseg.geo.predict.unfinished import is_unfinished, parts_folder
from geoseg.geo.rasters.raster import describe

BANDS = ("red", "green", "blue", "nir")
#: 12 rows of 3 windows: with 6 windows a block, 6 blocks an image.
SMALL = MapOptions(window=40, overlap=10, min_area_m2=0.0, batch_size=2)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr("geoseg.geo.predict.blocks.WINDOWS", 6)


@pytest.fixture
def image(tmp_path):
    pixels = np.kron(random_image(24, 6), np.ones((15, 15), np.uint16))
    pixels[:, 200:290] = 0  # a block without data
    return write_image(tmp_path / "image.tif", pixels)


class Stop(BaseException):
    """As a kill: nobody catches it."""


@pytest.fixture
def stop_after(monkeypatch):
    """Return ``stop(rows)``: predicting ends after so many rows of windows."""
    original = job.predict_rows
    computed = []

    def stop(count):
        computed.clear()

        def predict(*args, **options):
            for row in original(*args, **options):
                if len(computed) == count:
                    raise Stop
                computed.append(row.row)
                yield row

        monkeypatch.setattr(job, "predict_rows", predict)
        return computed

    return stop


def outputs(folder):
    return {
        "output": folder / "b.geojson",
        "classes": folder / "c.tif",
        "probability": folder / "p.tif",
        "clusters": folder / "k.tif",
    }


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def make(model, image, folder, options=SMALL, **changes):
    folder.mkdir(exist_ok=True)
    return map_buildings(model, [image], **outputs(folder), options=options, **changes)


@pytest.fixture
def rows():
    rng = np.random.default_rng(3)
    return [
        WindowRow(
            number,
            rng.random((40, 90)) > 0.5,
            list(columns),
            [rng.integers(0, 65535, (3, 40, 40), np.uint16) for _ in columns],
            rng.integers(0, 256, (40, 90), np.uint8),
        )
        for number, columns in ((4, (0, 2)), (5, ()), (6, (1,)))
    ]


def test_a_block_comes_back_as_it_was(tmp_path, rows):
    write_block(tmp_path / "a.block", rows, "signature")
    found = read_block(tmp_path / "a.block", "signature")
    for one, other in zip(rows, found, strict=True):
        assert (one.row, one.columns) == (other.row, other.columns)
        np.testing.assert_array_equal(one.valid, other.valid)
        np.testing.assert_array_equal(one.probability, other.probability)
        np.testing.assert_array_equal(one.guide, other.guide)
    assert os.listdir(tmp_path) == ["a.block"]


def test_equal_blocks_are_equal_files(tmp_path, rows):
    path = tmp_path / "a.block"
    write_block(path, rows, "signature")
    first = path.read_bytes()
    write_block(path, rows, "signature")
    assert path.read_bytes() == first


def test_what_is_no_block_of_the_run_is_none(tmp_path, rows):
    path, other = tmp_path / "a.block", tmp_path / "b.block"
    write_block(path, rows, "signature")
    whole = path.read_bytes()
    assert read_block(path, "another run") is None
    other.write_bytes(whole)
    assert read_block(other, "signature") is None
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 16
    for damaged in (whole[:-1], whole[:100], b"", bytes(flipped), whole + whole):
        path.write_bytes(damaged)
        assert read_block(path, "signature") is None
    path.unlink()
    assert read_block(path, "signature") is None


@pytest.mark.parametrize("shape", [(10, 10), (40, 90), (700, 90), (90, 7000)])
def test_blocks_hold_every_row_of_windows_once(shape):
    tiling = lay_windows(*shape, window=40, overlap=10)
    blocks = blocks_of(2, tiling)
    assert [row for block in blocks for row in block.rows] == [*range(len(tiling.rows))]
    for block, following in pairwise(blocks):
        assert len(block.rows) * len(tiling.columns) >= 6
        assert block.name < following.name


def rows_of(blocks):
    """Yield a small row of windows for each row of the blocks."""
    for block in blocks:
        for row in block.rows:
            window = np.full((2, 4, 4), row, np.uint16)
            valid = np.ones((4, 4), bool)
            yield WindowRow(row, valid, [0], [window], valid.astype(np.uint8))


def test_a_journal_tells_kept_rows_from_missing_stretches(tmp_path):
    journal = journals.Journal(tmp_path, "signature")
    blocks = [
        Block(0, number, range(2 * number, 2 * number + 2)) for number in range(6)
    ]
    for number in (1, 2, 5):
        for _ in journal.keeping([blocks[number]], rows_of([blocks[number]])):
            pass
    (tmp_path / blocks[2].name).write_bytes(b"damaged")
    stretches = list(journal.stretches(iter(blocks)))
    assert [(stretch.rows, stretch.kept is None) for stretch in stretches] == [
        (range(0, 2), True),
        (range(2, 4), False),
        (range(4, 6), True),
        (range(6, 10), True),
        (range(10, 12), False),
    ]
    assert [row.row for row in stretches[1].kept] == [2, 3]


def test_a_finished_block_is_asked_for_when_it_is_needed(tmp_path):
    journal = journals.Journal(tmp_path, "signature")
    asked = []

    def finished():
        for number in range(3):
            block = Block(0, number, range(number, number + 1))
            journal.write(block, list(rows_of([block])))
            asked.append(number)
            yield block

    for number, stretch in enumerate(journal.stretches(finished())):
        assert asked == list(range(number + 1))
        assert [row.row for row in stretch.kept] == [number]


@pytest.mark.parametrize("count", [0, 1, 4, 7, 11])
def test_a_stopped_map_goes_on_where_it_was_and_ends_the_same(
    tmp_path, image, bright_model, stop_after, count
):
    model = bright_model(BANDS)
    make(model, image, tmp_path / "whole")
    stop_after(count)
    with pytest.raises(Stop):
        make(model, image, tmp_path / "parts")
    done = count // 2
    assert is_unfinished(tmp_path / "parts" / "b.geojson") == (done > 0)
    computed = stop_after(100)
    make(model, image, tmp_path / "parts")
    assert computed == list(range(2 * done, 12))
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")


def test_damaged_and_missing_blocks_alone_are_computed_again(
    tmp_path, image, bright_model, stop_after
):
    model = bright_model(BANDS)
    make(model, image, tmp_path / "whole")
    stop_after(11)
    with pytest.raises(Stop):
        make(model, image, tmp_path / "parts")
    folder = parts_folder(tmp_path / "parts" / "b.geojson")
    blocks = sorted(folder.glob("*.block"))
    blocks[1].write_bytes(blocks[1].read_bytes()[:-10])
    blocks[3].unlink()
    computed = stop_after(100)
    make(model, image, tmp_path / "parts")
    assert computed == [2, 3, 6, 7, 10, 11]
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"options": MapOptions(window=48, overlap=10)}, r"window 40 \(now 48\)"),
        ({"model": {"patch_size": 7}}, "another model"),
        ({"image": "other"}, "other images"),
        ({"image": "changed"}, "image.tif as it was before it changed"),
    ],
)
def test_a_stopped_map_of_something_else_is_refused_and_kept(
    tmp_path, image, bright_model, stop_after, change, said
):
    model, folder = bright_model(BANDS), tmp_path / "parts"
    stop_after(4)
    with pytest.raises(Stop):
        make(model, image, folder)
    options = change.get("options", SMALL)
    model = model.with_card(**change.get("model", {}))
    if "image" in change:
        name = "image.tif" if change["image"] == "changed" else "other.tif"
        image = write_image(tmp_path / name, np.full((4, 360, 91), 90, np.uint16))
    before = contents(parts_folder(folder / "b.geojson"))
    with pytest.raises(OutputExistsError, match=f"{said}.*--overwrite"):
        make(model, image, folder, options)
    assert contents(parts_folder(folder / "b.geojson")) == before
    stop_after(100)
    anew = MapOptions(**vars(options) | {"overwrite": True})
    make(model, image, folder, anew)
    make(model, image, tmp_path / "whole", anew)
    assert contents(folder) == contents(tmp_path / "whole")


def test_what_is_made_of_blocks_may_be_chosen_anew(
    tmp_path, image, bright_model, stop_after
):
    model = bright_model(BANDS)
    options = MapOptions(**vars(SMALL) | {"min_area_m2": 3.0, "tolerance_m": 0.0})
    make(model, image, tmp_path / "whole", options)
    stop_after(8)
    with pytest.raises(Stop):
        make(model, image, tmp_path / "parts")
    computed = stop_after(100)
    make(model, image, tmp_path / "parts", options)
    assert computed == [8, 9, 10, 11]
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")


def test_a_file_that_was_there_before_is_no_own_one(
    tmp_path, image, bright_model, stop_after
):
    model, folder = bright_model(BANDS), tmp_path / "parts"
    stop_after(8)
    with pytest.raises(Stop):
        map_buildings(model, [image], tmp_path / "b.geojson", options=SMALL)
    (tmp_path / "mine.tif").write_text("mine")
    with pytest.raises(OutputExistsError, match="mine.tif exists already"):
        map_buildings(
            model,
            [image],
            tmp_path / "b.geojson",
            classes=tmp_path / "mine.tif",
            options=SMALL,
        )
    assert not folder.exists()


def test_two_runs_on_one_output_refuse_each_other(tmp_path, image, bright_model):
    output = tmp_path / "b.geojson"
    with locked(output), pytest.raises(OutputError, match="another geoseg is writing"):
        map_buildings(bright_model(BANDS), [image], output, options=SMALL)
    map_buildings(bright_model(BANDS), [image], output, options=SMALL)


def test_an_error_after_some_blocks_says_that_they_are_kept(
    tmp_path, image, bright_model, monkeypatch, caplog
):
    def full(path, rows, signature):
        if path.name.endswith("000003.block"):
            raise OutputError("no space left")
        write_block(path, rows, signature)

    monkeypatch.setattr(journals, "write_block", full)
    caplog.set_level("INFO")
    folder = tmp_path / "parts"
    with pytest.raises(OutputError, match="no space left"):
        make(bright_model(BANDS), image, folder)
    parts = parts_folder(folder / "b.geojson")
    assert [path.name for path in folder.iterdir()] == [parts.name]
    assert f"{parts} keeps the finished blocks: delete it to start" in caplog.text
    assert len(list(parts.glob("*.block"))) == 3


def test_a_manifest_says_what_decides_the_map(
    tmp_path, image, bright_model, stop_after
):
    stop_after(4)
    with pytest.raises(Stop):
        make(bright_model(BANDS), image, tmp_path / "parts")
    folder = parts_folder(tmp_path / "parts" / "b.geojson")
    identity = json.loads((folder / "manifest.json").read_text())["identity"]
    assert identity["window"] == 40
    assert identity["threads"] >= 1
    assert list(identity["images"]) == [image]
    assert "overwrite" not in identity


def test_maps_of_a_folded_network_are_told_from_those_of_older_versions(
    image, bright_model
):
    network, colours = (
        run_identity(model, [describe(image)], {})
        for model in (network_model(), bright_model(BANDS))
    )
    assert network["batch_norms"] == "folded"
    assert "batch_norms" not in colours
