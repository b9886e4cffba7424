"""Tests of geoseg.report.figures and geoseg.report.painting."""

import subprocess
import sys

import numpy as np
import pytest
from shapely import box

from geoseg.core.errors import OutputError, ShapeError
from geoseg.core.palette import FOUND, INVENTED, MISSED, class_colours, cluster_colours
from geoseg.core.patches import IGNORE
from geoseg.report.figures import curves_figure, overlay_figure, panel_figure
from geoseg.report.painting import (
    PanelHead,
    PanelRow,
    content_note,
    paint_buildings,
    paint_classes,
    paint_clusters,
    score_note,
    stretch_image,
)

SIZE = 32


def pixels_of(path):
    """Return (H, W, 3) uint8 of a PNG."""
    from matplotlib.image import imread

    return np.round(imread(path)[..., :3] * 255).astype(np.uint8)


def row(heads=2, *, truth=True):
    rng = np.random.default_rng(0)
    clusters = rng.integers(0, 3, (SIZE, SIZE)).astype(np.uint8)
    classes = (clusters == 1).astype(np.uint8)
    return PanelRow(
        "img1",
        rng.integers(0, 2000, (3, SIZE, SIZE)).astype(np.uint16),
        [PanelHead(f"head {n}", clusters, classes) for n in range(heads)],
        truth=classes if truth else None,
    )


def test_stretch_goes_from_black_to_white_between_the_percentiles():
    image = np.tile(np.arange(101, dtype=np.float32), (3, 1, 1)) * 7 + 40
    seen = stretch_image(image, low=10, high=90, gamma=1.0)
    assert seen.shape == (1, 101, 3)
    assert seen[0, :11].max() == pytest.approx(0.0, abs=1e-6)
    assert seen[0, 50] == pytest.approx(0.5)
    assert seen[0, 90:].min() == pytest.approx(1.0)


def test_stretch_looks_at_valid_pixels_only_and_leaves_others_white():
    image = np.array([[[0, 100, 200, 60_000]]], dtype=np.uint16)
    valid = np.array([[True, True, True, False]])
    seen = stretch_image(image, valid, low=0, high=100, gamma=1.0)
    assert seen[0, :, 0] == pytest.approx([0.0, 0.5, 1.0, 1.0])


def test_stretch_survives_constant_empty_and_infinite_images():
    flat = np.full((1, 2, 2), 7.0)
    assert np.isfinite(stretch_image(flat)).all()
    flat[0, 0, 0] = np.nan
    assert (stretch_image(flat)[0, 0] == 1.0).all()
    assert (stretch_image(flat, np.zeros((2, 2), dtype=bool)) == 1.0).all()


def test_clusters_without_data_are_white():
    painted = paint_clusters(np.array([[300, -1]]))
    assert painted[0, 0] == pytest.approx(cluster_colours(301)[300])
    assert (painted[0, 1] == 1.0).all()


def test_classes_have_the_colours_of_the_palette_over_a_faded_image():
    painted = paint_classes(np.zeros((1, 4, 3)), np.array([[0, 1, 3, IGNORE]]))
    assert painted[0, 0] == pytest.approx([0.45] * 3)
    for pixel, class_id in ((1, 1), (2, 3)):
        own = np.array(class_colours(4)[class_id]) / 255
        assert painted[0, pixel] == pytest.approx(0.25 * 0.45 + 0.75 * own, abs=1e-6)
    assert (painted[0, 3] == 1.0).all()


def test_a_tile_without_a_building_has_no_iou():
    truth = np.array([[0, 0, 1, IGNORE]])
    assert score_note(np.array([[0, 1, 1, 1]]), truth) == "IoU 0.50"
    assert score_note(np.array([[0, 1, 0, 0]]), truth * 0) == "IoU – (no building)"
    assert score_note(truth, None) == ""
    assert score_note(truth, np.full((1, 4), IGNORE)) == ""
    # background 1 of 2, road 1 of 2
    several = score_note(np.array([[0, 2]]), np.array([[0, 0]]), 3)
    assert several == "mean IoU 0.25"


def test_buildings_are_coloured_by_whether_they_are_right():
    classes = np.array([[1, 1, 0, 0, 1, IGNORE]], dtype=np.uint8)
    truth = np.array([[1, 0, 1, 0, IGNORE, 1]], dtype=np.uint8)
    painted = paint_buildings(np.zeros((1, 6, 3), np.float32), classes, truth)
    background = 0.45

    def tinted(colour):
        return 0.25 * background + 0.75 * np.array(colour)

    assert painted[0, 0] == pytest.approx(tinted(FOUND), abs=1e-6)
    assert painted[0, 1] == pytest.approx(tinted(INVENTED), abs=1e-6)
    assert painted[0, 2] == pytest.approx(tinted(MISSED), abs=1e-6)
    assert painted[0, 3] == pytest.approx(background)
    assert painted[0, 4] == pytest.approx(tinted(FOUND), abs=1e-6)  # not known wrong
    assert painted[0, 5] == pytest.approx(1.0)


def test_panel_figure_shows_found_buildings_and_leaves_one_file(tmp_path):
    path = panel_figure(tmp_path / "panel.png", [row(), row()], dpi=50)
    assert list(tmp_path.iterdir()) == [path]
    seen = pixels_of(path)
    height, width = seen.shape[:2]
    assert (width, height) == (450, 675)  # 3 columns of 3 inches, 2 x 6.5 and a legend
    amber = np.abs(seen - np.array(FOUND) * 255).max(-1) < 3  # the legend's patch
    assert amber.any()


def test_a_panel_of_several_classes_shows_each_in_its_colour(tmp_path):
    clusters = np.zeros((SIZE, SIZE), np.int64)
    classes = np.repeat(np.arange(4, dtype=np.uint8), SIZE // 4)[:, None]
    classes = np.broadcast_to(classes, (SIZE, SIZE))
    black = np.zeros((3, SIZE, SIZE))
    tile = PanelRow("a", black, [PanelHead("main", clusters, classes)], truth=classes)
    names = ("other", "building", "road", "tree")
    seen = pixels_of(
        panel_figure(tmp_path / "p.png", [tile], class_names=names, dpi=50)
    )
    for colour in class_colours(4)[1:]:
        legend = np.abs(seen - np.array(colour)).max(-1) < 3
        tinted = 0.25 * 0.45 * 255 + 0.75 * np.array(colour)
        maps = np.abs(seen - tinted).max(-1) < 3
        assert legend.sum() > 20 and maps[:, :150].sum() > 500
        assert maps[:, 150:].sum() > 500  # the reference, and the map beside it


def test_notes_say_what_a_reference_holds():
    truth = np.array([[0, 1, 2, IGNORE]])
    assert content_note(truth, 3) == "3 classes"
    assert content_note(truth * 0, 3) == "1 class"
    assert content_note(np.array([[0, 1, 1, IGNORE]])) == "67 % building"
    assert content_note(np.full((1, 2), IGNORE)) == "0 % building"


def test_panel_figure_needs_no_truth_and_takes_any_number_of_heads(tmp_path):
    panel_figure(tmp_path / "a.png", [row(1, truth=False)], dpi=40)
    panel_figure(tmp_path / "b.png", [row(3)], dpi=40)


def test_panels_of_different_heads_or_shapes_are_refused(tmp_path):
    with pytest.raises(ShapeError, match="rows of .* columns, expected one row"):
        panel_figure(tmp_path / "a.png", [row(1), row(2)])
    with pytest.raises(ShapeError, match="expected one row at least"):
        panel_figure(tmp_path / "a.png", [])
    with pytest.raises(ShapeError, match=r"truth of x has shape \(3, 3\)"):
        PanelRow("x", np.zeros((3, 4, 4)), [], truth=np.zeros((3, 3)))
    with pytest.raises(ShapeError, match=r"image of x has shape \(2, 4, 4\)"):
        PanelRow("x", np.zeros((2, 4, 4)), [])


def test_overlay_draws_outlines_on_pixel_edges_and_keeps_holes(tmp_path):
    image = np.zeros((3, 40, 40), dtype=np.uint8)
    house = box(10, 10, 30, 30).difference(box(16, 16, 24, 24))
    path = overlay_figure(tmp_path / "o.png", image, [house], dpi=50)
    seen = pixels_of(path).astype(int)
    amber = seen[..., 0] - seen[..., 2] > 100  # the outline, not the light fill
    rows, cols = np.nonzero(amber)
    scale = seen.shape[1] / 40
    assert cols.min() / scale == pytest.approx(10, abs=0.7)
    assert cols.max() / scale == pytest.approx(30, abs=0.7)
    middle = seen[seen.shape[0] // 2, seen.shape[1] // 2]
    wall = seen[seen.shape[0] // 2, int(13 * scale)]
    assert wall[0] > middle[0]  # the hole is not filled


def test_overlay_takes_geojson_and_shapely_alike(tmp_path):
    image = np.zeros((3, 40, 40), dtype=np.uint8)
    house = box(10, 10, 30, 30)
    paths = [
        overlay_figure(tmp_path / f"{n}.png", image, [shape], reference=[shape], dpi=30)
        for n, shape in enumerate([house, house.__geo_interface__])
    ]
    assert np.array_equal(*map(pixels_of, paths))


def test_overlay_of_nothing_is_the_image(tmp_path):
    overlay_figure(tmp_path / "o.png", np.zeros((1, 20, 30)), [], title="empty", dpi=30)


def test_curves_take_the_rows_of_a_csv(tmp_path):
    rows = [
        {"epoch": "0", "step": str(n), "loss": str(-n), "score": "", "note": "x"}
        for n in range(50)
    ] + [{"epoch": "0", "step": "50", "loss": "nan", "score": "0.5", "note": ""}]
    path = curves_figure(tmp_path / "curves.png", rows, dpi=40)
    # loss and score beside each other: two plots of 3.4 inches
    assert pixels_of(path).shape[1] == 272


def test_curves_of_nothing_are_refused(tmp_path):
    with pytest.raises(ShapeError, match="found no number beside 'step' in 1 rows"):
        curves_figure(tmp_path / "c.png", [{"step": 1, "loss": ""}])


def test_a_folder_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(OutputError, match="does not exist"):
        overlay_figure(tmp_path / "no" / "o.png", np.zeros((1, 4, 4)), [])


@pytest.mark.slow
def test_matplotlib_is_not_imported_before_a_figure_is_drawn():
    code = "import sys, geoseg.report; print('matplotlib' in sys.modules)"
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "False"
