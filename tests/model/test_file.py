import json
import os
import resource
import time

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from geoseg.core.errors import MatchingError, ModelFileError, ParameterError
from geoseg.core.normalization import Normalization
from geoseg.core.patches import IGNORE, PatchBatch
from geoseg.core.run_files import MODEL_NAME
from geoseg.methods import build_method, method_defaults
from geoseg.model.card import CARD_KEY, ModelCard, load_card
from geoseg.model.file import Model, file_sha256, load_model, save_model
from geoseg.model.matching import match_clusters

SMALL = {
    "iic": {"width": 2, "main_clusters": 3, "over_clusters": 5},
    "color_kmeans": {"clusters": 5, "pixels": 500},
    "random_trunk": {"width": 2, "clusters": 5, "pixels": 500},
}


def image_and_valid():
    generator = torch.Generator().manual_seed(5)
    image = torch.rand((2, 3, 15, 9), generator=generator)
    return image, torch.ones((2, 15, 9), dtype=torch.bool)


def batches():
    image = torch.rand((2, 3, 16, 16), generator=torch.Generator().manual_seed(1))
    valid = torch.ones((2, 16, 16), dtype=torch.bool)
    mask = torch.full((2, 16, 16), IGNORE)
    yield PatchBatch(image, valid, mask, torch.arange(2))


def table_of(clusters: int) -> torch.Tensor:
    """Count pixels so that odd clusters are buildings."""
    table = torch.zeros((1, clusters, 2), dtype=torch.long)
    for cluster in range(clusters):
        table[0, cluster, cluster % 2] = 100 + cluster
    return table


def make(name: str = "iic", seed: int = 0) -> Model:
    parameters = {**method_defaults(name), **SMALL[name]}
    method = build_method(name, 3, parameters, seed=seed)
    method.finish(batches)
    method.eval()
    card = ModelCard(
        method=name,
        parameters=parameters,
        normalization=Normalization(
            ("red", "green", "blue"),
            (1.0, 2.5, 1 / 3),
            (9.0, 8.0, 7.0),
            (0.5, 0.1, 0.0),
        ),
        nodata="65535",
        gsd_m=0.3,
        patch_size=64,
        head=method.default_head,
        matchings={
            head: match_clusters(table_of(clusters), objective="f1")
            for head, clusters in method.heads.items()
        },
        seed=seed,
        provenance={"steps": 7, "tiles": {"match": ["img1"]}},
        metrics={"iou": {"value": 0.25, "interval": [0.2, 0.3]}},
    )
    return Model(method, card)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / MODEL_NAME
    save_model(path, make())
    return path


def parts_of(path):
    with safe_open(path, framework="pt") as file:
        weights = {name: file.get_tensor(name) for name in file.keys()}
        return weights, json.loads(file.metadata()[CARD_KEY])


def refused(path, message: str) -> None:
    """Check that loading answers with one line that holds the message."""
    with pytest.raises(ModelFileError, match=message) as caught:
        load_model(path)
    text = str(caught.value)
    assert "\n" not in text
    assert str(path) in text
    assert len(text) < 600  # with the path


@pytest.mark.parametrize("name", SMALL)
def test_a_written_model_comes_back_bit_for_bit(tmp_path, name):
    model = make(name)
    save_model(tmp_path / "m", model)
    loaded = load_model(tmp_path / "m")
    assert loaded.card == model.card
    expected, found = model.method.state_dict(), loaded.method.state_dict()
    assert list(found) == list(expected)
    assert all(torch.equal(found[key], expected[key]) for key in expected)
    assert not loaded.method.training
    with torch.no_grad():
        for head in model.method.heads:
            assert torch.equal(
                loaded.class_probabilities(*image_and_valid(), head),
                model.class_probabilities(*image_and_valid(), head),
            )


@pytest.mark.parametrize("name", SMALL)
def test_equal_models_are_equal_files(tmp_path, name):
    save_model(tmp_path / "a", make(name))
    save_model(tmp_path / "b", make(name))
    save_model(tmp_path / "c", load_model(tmp_path / "a"))
    save_model(tmp_path / "d", make(name).with_card(seed=9))
    digests = [file_sha256(tmp_path / letter) for letter in "abcd"]
    assert digests[0] == digests[1] == digests[2]
    assert digests[0] != digests[3]


def test_a_model_is_written_over_another_and_leaves_nothing_beside(tmp_path):
    save_model(tmp_path / MODEL_NAME, make(seed=1))
    save_model(tmp_path / MODEL_NAME, make(seed=2))
    assert load_model(tmp_path / MODEL_NAME).card.seed == 2
    assert os.listdir(tmp_path) == [MODEL_NAME]


def test_a_card_that_is_no_json_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="JSON compliant"):
        save_model(tmp_path / "m", make().with_card(metrics={"iou": float("nan")}))
    assert not os.listdir(tmp_path)


def test_the_card_is_read_without_the_weights(written):
    assert load_card(written) == load_model(written).card


def test_an_absent_file_is_named(tmp_path):
    refused(tmp_path / "none.safetensors", "there is no model file .*geoseg train")


@pytest.mark.parametrize(
    "content",
    [b"", b"\x00" * 4096, os.urandom(64), b"\xff" * 8 + b"{}", b"PK\x03\x04" * 100],
    ids=["empty", "zeros", "random", "absurd header", "zip"],
)
def test_what_is_no_safetensors_file_is_refused(tmp_path, content):
    path = tmp_path / "m"
    path.write_bytes(content)
    refused(path, "is not a readable safetensors file|has no geoseg card")


@pytest.mark.parametrize("share", [0.001, 0.1, 0.5, 0.99])
def test_a_truncated_file_is_refused(tmp_path, written, share):
    content = written.read_bytes()
    path = tmp_path / "m"
    path.write_bytes(content[: int(len(content) * share)])
    refused(path, "is not a readable safetensors file")


def test_weights_without_a_card_are_refused(tmp_path):
    path = tmp_path / "m"
    save_file({"a": torch.zeros(2)}, path)
    refused(path, "has no geoseg card")


def change(**values):
    def edit(card):
        card.update(values)

    return edit


def drop(name):
    def edit(card):
        del card[name]

    return edit


def inner(part, **values):
    def edit(card):
        card[part].update(values)

    return edit


def edit_matching(**values):
    def edit(card):
        card["matchings"]["over"].update(values)

    return edit


def wrong_k(card):
    card["matchings"]["over"] = card["matchings"]["main"]


def unknown_matched_head(card):
    card["matchings"]["roof"] = card["matchings"]["main"]


BAD_CARDS = {
    "other version": (
        change(format_version=3),
        "has format version 3, this .* reads 1 and 2",
    ),
    "no version": (drop("format_version"), "malformed"),
    "no method": (drop("method"), "malformed"),
    "no head": (drop("head"), "malformed"),
    "unknown method": (
        change(method="magic"),
        "no method 'magic', expected one of iic",
    ),
    "module path": (change(method="os.path"), "no method 'os.path'"),
    "parameters are a list": (change(parameters=[1]), "malformed"),
    "unknown parameter": (inner("parameters", depth=3), "no parameter 'depth'"),
    "wrong parameter": (inner("parameters", width="x"), "is 'x', expected int"),
    "no clusters": (inner("parameters", over_clusters=0), "has 0 clusters"),
    "negative width": (inner("parameters", width=-1), "describes no known method"),
    "absurd width": (inner("parameters", width=10**6), "do not fit its card"),
    "more absurd width": (inner("parameters", width=10**12), "the card of|fit"),
    "most absurd width": (inner("parameters", width=10**40), "the card of|fit"),
    "other width": (inner("parameters", width=4), "do not fit its card"),
    "other head": (change(head="roof"), "names head 'roof', the method has"),
    "other K": (wrong_k, "matches 3 clusters of head 'over' .*has 5"),
    "unknown matched head": (unknown_matched_head, "of head 'roof'"),
    "other C": (change(class_names=["a", "b", "c"]), "to 2 classes, .* 3 classes"),
    "matching without counts": (edit_matching(counts=[]), "malformed.*do not fit"),
    "matching of text": (edit_matching(prior="ab"), "malformed.*over.prior is 'ab'"),
    "matching out of range": (edit_matching(cluster_to_class=[7] * 5), "malformed"),
    "matchings are a list": (change(matchings=[]), "malformed"),
    "no bands": (inner("normalization", bands=[]), "malformed"),
    "high below low": (inner("normalization", high=[0, 0, 0]), "malformed.*above"),
    "two bands": (
        change(
            normalization={"bands": ["a"], "low": [0], "high": [1], "fill": [0]},
        ),
        "do not fit its card",
    ),
    "size of text": (change(patch_size="big"), "malformed"),
    "null seed": (change(seed=None), "malformed"),
}


@pytest.mark.parametrize("name", BAD_CARDS)
def test_a_card_that_was_edited_is_refused(tmp_path, written, name):
    edit, message = BAD_CARDS[name]
    weights, card = parts_of(written)
    edit(card)
    path = tmp_path / "m"
    save_file(weights, path, metadata={CARD_KEY: json.dumps(card)})
    refused(path, message)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "{",
        '"iic"',
        "[" * 100000,
        '{"format_version": NaN}',
    ],
    ids=["empty", "null", "list", "cut", "text", "deep", "nan"],
)
def test_a_card_that_is_no_card_is_refused(tmp_path, text):
    path = tmp_path / "m"
    save_file({"a": torch.zeros(2)}, path, metadata={CARD_KEY: text})
    refused(path, "malformed")


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity", "1e999"])
@pytest.mark.parametrize("place", ["low", "seed"])
def test_numbers_on_the_card_are_finite(tmp_path, written, constant, place):
    weights, card = parts_of(written)
    if place == "low":
        card["normalization"]["low"][0] = "HERE"
    else:
        card["seed"] = "HERE"
    text = json.dumps(card).replace('"HERE"', constant)
    path = tmp_path / "m"
    save_file(weights, path, metadata={CARD_KEY: text})
    refused(path, "malformed")


def test_an_absurd_width_takes_no_memory_and_no_time(tmp_path, written):
    weights, card = parts_of(written)
    card["parameters"]["width"] = 20000  # a real network of 0.4 TB
    path = tmp_path / "m"
    save_file(weights, path, metadata={CARD_KEY: json.dumps(card)})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.monotonic()
    refused(path, "do not fit its card")
    assert time.monotonic() - started < 5
    assert (
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50 * 1024
    )  # KiB


def spoil_shape(weights):
    name = next(name for name in weights if weights[name].ndim == 4)
    weights[name] = weights[name][:, :1].contiguous()


def spoil_type(weights):
    name = next(name for name in weights if weights[name].ndim == 4)
    weights[name] = weights[name].double()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda weights: weights.popitem(), "do not fit its card, first at '"),
        (lambda weights: weights.update(extra=torch.zeros(1)), "first at 'extra'"),
        (spoil_shape, "do not fit its card, first at 'main.conv"),
        (spoil_type, "is torch.float64, expected torch.float32"),
    ],
    ids=["missing", "extra", "shape", "dtype"],
)
def test_weights_that_were_edited_are_refused(tmp_path, written, spoil, message):
    weights, card = parts_of(written)
    spoil(weights)
    path = tmp_path / "m"
    save_file(weights, path, metadata={CARD_KEY: json.dumps(card)})
    refused(path, message)


@pytest.mark.parametrize("head", [None, "main", "over"])
def test_class_probabilities_are_sums_over_the_clusters_of_a_class(head):
    model = make()
    image, valid = image_and_valid()
    with torch.no_grad():
        clusters = model.cluster_probabilities(image, valid, head)
        found = model.class_probabilities(image, valid, head)
    expected = torch.zeros((2, 2, 15, 9))
    classes = model.card.matchings[head or "over"].cluster_to_class
    assert set(classes) == {0, 1}
    for cluster, class_id in enumerate(classes):
        expected[:, class_id] += clusters[:, cluster]
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(found.sum(dim=1), torch.ones((2, 15, 9)))


def test_a_model_without_a_matching_gives_no_classes():
    model = make().with_card(matchings={})
    with pytest.raises(
        MatchingError, match="no cluster of head 'over' has a class yet"
    ):
        model.class_probabilities(*image_and_valid())


def test_another_head_of_a_matched_model_can_be_unmatched():
    model = make()
    model = model.with_card(matchings={"over": model.card.matchings["over"]})
    model.class_probabilities(*image_and_valid())
    with pytest.raises(MatchingError, match="head 'main'"):
        model.class_probabilities(*image_and_valid(), "main")


def test_an_absent_device_is_refused():
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(ParameterError, match="no device 'cuda' here .*--device cpu"):
        make().to("cuda")


def test_another_head_predicts_when_it_is_named(bright_model):
    assert bright_model(head="over").with_head("main").card.head == "main"
    with pytest.raises(ParameterError, match="no head 'over', expected one of main"):
        bright_model().with_head("over")
