"""Tests of geoseg.report.page and what it is made of."""

import json
import os
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from jinja2 import UndefinedError

from geoseg.core.errors import OutputError, OutputExistsError, ParameterError
from geoseg.report.contents import (
    Areas,
    ClusterRow,
    Contents,
    Curve,
    HeadTable,
    Outline,
    TileStory,
)
from geoseg.report.html import VOID, check_html
from geoseg.report.images import PLACE_SIDE, data_uri, picture
from geoseg.report.page import SECTIONS, report_text, write_page
from geoseg.report.rendering import render
from geoseg.scores.metrics import PolygonCounts
from geoseg.scores.scores import Scores, TileCounts, majority_scores

HOSTILE = '<script>alert("&")</script>'


def scores(hits, name="iic (over, K=24)", **changes) -> Scores:
    """Return scores of three tiles of 100 building pixels, so many of them found."""
    tiles = tuple(
        TileCounts(
            f"tile{n}", np.array([[880, 20], [100 - h, h]]), PolygonCounts(h, 5, 9)
        )
        for n, h in enumerate(hits)
    )
    return Scores(name, ("background", "building"), tiles, **changes)


def entries() -> list[Scores]:
    own = scores((60, 70, 65), clusters=24)
    control = scores((30, 45, 35), "colour k-means", role="control", clusters=24)
    return [own, control, majority_scores(own)]


def full_contents(**changes) -> Contents:
    noise = np.random.default_rng(0).random((64, 96, 3))
    shown = picture(
        noise,
        side=64,
        alt=f"Image of {HOSTILE}",
        caption=HOSTILE,
        note="IoU 0.50",
        outlines=[Outline([[(1, 1), (9, 1), (9, 9)]], "found")],
    )
    place = picture(noise, side=PLACE_SIDE, alt="Place", caption="in tile1")
    row = ClusterRow(3, HOSTILE, 1, 0.25, 0.7, [place])
    story = TileStory(HOSTILE, [shown, shown], ["40 % is missed."])
    steps = [1.0, 2.0, 3.0]
    absent = {"areas": "The areas were not logged.", "k": "Name the model."}
    contents = Contents(
        title=f"Buildings in {HOSTILE}",
        subtitle="iic",
        entries=entries(),
        footprints=[shown],
        tiles=[story],
        worst=[story],
        heads=[HeadTable("over", 24, [row], 23, 0.1, 5, 0.4, True)],
        k_curves=[
            Curve("iic", [24.0], [0.5], [0.4], [0.6], line=False),
            Curve("colours", [3.0, 6.0, 96.0], [0.3, 0.4, 0.45], role="control"),
        ],
        label_curve=Curve("iic", [1, 5, 10], [0.2, 0.4, 0.5], [0, 0.3, 0.5], [0.4] * 3),
        training=[Curve("loss", steps, [-0.1, -0.2, -0.3])],
        areas=[Areas("over", steps, [[0.5, 0.5], [0.6, 0.4], [0.7, 0.3]])],
        card={"Data": [("source", HOSTILE)]},
        command=f"geoseg train --images '{HOSTILE}'",
        caveats=["3 test tiles are few."],
        absent=absent,
    )
    return replace(contents, **changes)


class Page(HTMLParser):
    """What a browser would find: headings, ids, links, rows of tables, balance."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.attributes = [], [], []
        self.rows, self.text = [], ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th") and self.rows:
            self.rows[-1].append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" in self.open:
            return
        self.text += data
        if {"td", "th"} & set(self.open) and "small" not in self.open:
            self.rows[-1][-1] += data

    def all(self, tag):
        return [attributes for name, attributes in self.attributes if name == tag]


def test_a_page_is_balanced_and_has_every_section_and_a_heading_for_it():
    page = Page(report_text(full_contents()))
    assert page.open == []
    ids = [attributes.get("id") for attributes in page.all("section")]
    assert ids == list(SECTIONS)
    assert page.tags.count("h1") == 1 and page.tags.count("h2") == len(SECTIONS)
    assert all(title in page.text for title in SECTIONS.values())
    assert page.all("html") == [{"lang": "en"}]


def test_nothing_is_loaded_from_outside_and_nothing_runs():
    text = report_text(full_contents())
    page = Page(text)
    for tag, attributes in page.attributes:
        for key in ("src", "href", "xlink:href", "action"):
            assert attributes.get(key, "#").startswith(("#", "data:image/")), tag
        assert not [key for key in attributes if key.startswith("on")]
    assert not {"script", "link", "iframe", "object", "base"} & set(page.tags)
    style = text.split("<style>")[1].split("</style>")[0]
    assert "url(" not in style and "@import" not in style and "http" not in style
    links = {attributes["href"][1:] for attributes in page.all("a")}
    assert links == set(SECTIONS)


def test_what_people_name_is_text_and_never_markup():
    text = report_text(full_contents())
    assert "<script" not in text
    assert Page(text).text.count(HOSTILE) >= 6


def test_every_picture_has_words_for_those_who_cannot_see_it():
    page = Page(report_text(full_contents()))
    assert all(attributes["alt"] for attributes in page.all("img"))
    charts = [a for a in page.all("svg") if a.get("class") == "chart"]
    assert len(charts) == 4 and all(a["role"] == "img" for a in charts)


def test_the_numbers_are_those_of_scores_json():
    page = Page(report_text(full_contents()))
    for entry, row in zip(entries(), page.rows[1:], strict=False):
        metrics = json.loads(json.dumps(entry.to_json()))["metrics"]
        assert row[0] == entry.name
        names = ("iou", "f1", "precision", "recall", "accuracy", "balanced_accuracy")
        values = [metrics[name]["value"] for name in (*names, "kappa", "polygon_f1")]
        shown = ["–" if value is None else f"{value:.3f}" for value in values]
        assert row[2:] == shown


def test_equal_contents_give_equal_bytes():
    assert report_text(full_contents()) == report_text(full_contents())


def test_what_is_missing_has_no_section_and_a_reason_where_it_can_be_mended():
    reasons = {"k": "Name the model.", "training": "The log lies elsewhere."}
    bare = Contents(title="t", subtitle="s", entries=entries()[:1], absent=reasons)
    page = Page(report_text(bare))
    shown = [attributes["id"] for attributes in page.all("section")]
    assert shown == ["scores", "absent"]
    links = [a["href"] for a in page.all("a") if a["href"].startswith("#")]
    assert links == ["#scores", "#absent"]
    assert all(reason in page.text for reason in reasons.values())
    assert "No control was scored beside it" in page.text

    whole = report_text(full_contents(absent={}))
    shown = [attributes["id"] for attributes in Page(whole).all("section")]
    assert shown == [key for key in SECTIONS if key != "absent"]


def test_a_page_is_written_once_unless_it_may_be_replaced(tmp_path):
    path = tmp_path / "report.html"
    write_page(path, full_contents())
    before = path.read_bytes()
    with pytest.raises(OutputExistsError, match="--overwrite"):
        write_page(path, full_contents(title="other"))
    assert path.read_bytes() == before
    write_page(path, full_contents(title="other"), overwrite=True)
    assert os.listdir(tmp_path) == ["report.html"] and path.read_bytes() != before


def test_a_page_of_nothing_is_refused(tmp_path):
    with pytest.raises(ParameterError, match="without scores, expected one entry"):
        write_page(tmp_path / "a.html", full_contents(entries=[]))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<p><b>x</p></b>", "closes <p> where it is not open"),
        ("<p>cut", "ends within <p>"),
        ('<img src="http://x/y.png">', "would load http://x/y.png"),
        ('<a href="other.html">x</a>', "would load other.html"),
    ],
)
def test_the_check_finds_what_is_broken(tmp_path, text, message):
    path = tmp_path / "a.html"
    path.write_text(text)
    with pytest.raises(OutputError, match=message):
        check_html(path)


#: What ends a text, an attribute, a style or a comment early, or fills a template.
ATTACKS = [
    HOSTILE,
    '"><img src=x onerror=alert(1)>',
    "' onload='alert(1)",
    "</title></style></svg><iframe src=javascript:alert(1)>",
    "--><script>alert(1)</script><!--",
    "{{ 7 * 7 }}{% raw %}",
]


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("classes", [2, 3])
def test_no_text_changes_what_a_page_is_made_of(attack, classes):
    """Every text that comes from files, in every place that shows one."""

    def page(text):
        own = replace(scores((60, 70)) if classes == 2 else several(30), name=text)
        own = replace(own, class_names=tuple(f"{n} {text}" for n in range(classes)))
        shown = replace(
            full_contents().footprints[0], alt=text, caption=text, note=text
        )
        row = ClusterRow(1, text, 1, 0.5, 0.5, [shown])
        curve = Curve(text, [1.0, 2.0], [0.1, 0.2])
        story = TileStory(text, [shown], [text])
        contents = Contents(
            *(text, text, [own, majority_scores(own)]),
            footprints=[shown],
            footprints_note=text,
            tiles=[story],
            worst=[story],
            heads=[HeadTable(text, 2, [row], 0, 0, 1, 0.5, True, classes)],
            k_curves=[curve, curve],
            k_note=text,
            label_curve=curve,
            label_note=text,
            training=[curve],
            training_note=text,
            areas=[Areas(text, [1.0, 2.0], [[0.5, 0.5], [0.4, 0.6]])],
            card={text: [(text, text)]},
            command=text,
            caveats=[text],
            absent={"areas": text, "k": text},
        )
        return Page(report_text(contents))

    tame, wild = page("tame"), page(attack)
    assert wild.tags == tame.tags
    assert wild.text.count(attack) == tame.text.count("tame")
    for (tag, own), (_, other) in zip(wild.attributes, tame.attributes, strict=True):
        assert own == {
            key: value and value.replace("tame", attack) for key, value in other.items()
        }, tag


def test_a_value_that_a_template_lacks_raises():
    with pytest.raises(UndefinedError, match="is undefined"):
        render("chart.svg.jinja", title="t")


def test_large_images_are_reduced_and_flat_ones_keep_their_colours():
    from base64 import b64decode
    from io import BytesIO

    from PIL import Image

    pixels = np.zeros((400, 800, 3))
    pixels[:, 400:] = (1.0, 0.5, 0.25)
    for flat, kind in ((True, "PNG"), (False, "JPEG")):
        uri = data_uri(pixels, side=100, flat=flat)
        image = Image.open(BytesIO(b64decode(uri.split(",")[1])))
        assert (image.size, image.format) == ((100, 50), kind)
    flat_image = Image.open(
        BytesIO(b64decode(data_uri(pixels, side=100, flat=True)[22:]))
    )
    assert {c for _, c in flat_image.convert("RGB").getcolors()} == {
        (0, 0, 0),
        (255, 128, 64),
    }


def several(roads=0, **changes) -> Scores:
    """Return scores of three tiles with background, building and road."""
    table = np.array([[500, 20, 5], [40, 60, 0], [60 - roads, 0, roads]])
    tiles = tuple(TileCounts(f"tile{n}", table) for n in range(3))
    names = ("background", "building", "road")
    return Scores("iic (over)", names, tiles, **changes)


def test_several_classes_have_overall_scores_and_a_table_of_each_class():
    own = several(roads=30)
    page = Page(report_text(full_contents(entries=[own, majority_scores(own)])))
    metrics = own.to_json()
    tables = [row for row in page.rows if row]
    overall = next(row for row in tables if row[0] == own.name)
    names = ("mean_iou", "accuracy", "balanced_accuracy", "kappa")
    values = [metrics["metrics"][name]["value"] for name in names]
    assert overall[2:] == [f"{value:.3f}" for value in values]
    assert [text for text in tables[0][2:]] == ["mean IoU", "accuracy", "balanced", "κ"]
    for name in own.class_names:
        row = next(row for row in tables if row[0] == f" {name}")
        found = metrics["classes"][name]
        keys = ("iou", "f1", "precision", "recall", "share")
        assert row[2:7] == [f"{found[key]['value']:.3f}" for key in keys]
    ious = tables[[row[0] for row in tables].index(" road", 8)]
    assert ious == [" road", f"{metrics['class_iou']['road']:.3f}", "0.000"]


def test_the_note_names_the_class_of_the_constant():
    own = several(roads=30)
    text = Page(report_text(full_contents(entries=[own, majority_scores(own)]))).text
    assert "76.6 % of the labelled pixels are background" in text
    assert "Calling every pixel background scores 0.766 accuracy" in text
    two = Page(report_text(full_contents())).text
    assert "10.0 % of the labelled pixels are building" in two
    assert "Calling every pixel background scores 0.900 accuracy" in two


def test_pictures_and_clusters_of_several_classes_have_their_colours():
    row = ClusterRow(3, "road", 2, 0.25, 0.7)
    head = HeadTable("over", 24, [row], 23, 0.1, 5, None, True, 3)
    text = report_text(full_contents(entries=[several()], heads=[head]))
    page = Page(text)
    assert "building invented" not in text and "share of its class" in page.text
    assert [" 3", " road", "25.0 %", "0.700"] in [row[:4] for row in page.rows]
    road = "background:#0072b2"
    keys = [a for a in page.all("span") if a.get("style") == road]
    assert len(keys) == 5  # two tables of scores, two legends, the cluster


def chromium() -> str | None:
    return shutil.which("chromium") or shutil.which("google-chrome")


@pytest.mark.slow
@pytest.mark.skipif(chromium() is None, reason="no Chromium is installed")
@pytest.mark.parametrize("width", [400, 1600])
def test_a_browser_draws_it_without_complaint(tmp_path, width):
    from matplotlib.image import imread

    page = write_page(tmp_path / "report.html", full_contents())
    flags = "headless no-sandbox disable-gpu disable-quic no-first-run hide-scrollbars"
    flags += " disable-background-networking disable-component-update disable-sync"
    command = [str(chromium()), *(f"--{flag}" for flag in flags.split())]
    command += [f"--user-data-dir={tmp_path / 'profile'}", "--enable-logging=stderr"]
    command += [f"--screenshot={tmp_path / 'page.png'}", f"--window-size={width},3000"]
    done = subprocess.run(
        [*command, page.as_uri()], capture_output=True, text=True, timeout=120
    )
    assert not re.findall(r".*:CONSOLE.*", done.stderr)
    seen = imread(tmp_path / "page.png")[..., :3]
    assert seen.shape[:2] == (3000, width)
    inked = (np.abs(seen - seen[2, 2]) > 0.2).any(-1)
    assert inked.any(1).mean() > 0.4  # rows with something on them
    assert not inked[:, -2:].any()  # nothing sticks out at the right
