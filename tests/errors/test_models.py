"""Files that are no models of geoseg, or not of these images."""

import json
import pickle
import shutil
import struct

import pytest
import torch

PREDICT = "predict tile.tif -o b.gpkg --model m"


def nothing(desk):
    pass


def content(data):
    return lambda desk: desk.write("m", data)


class Bomb:
    """Writes a file when it is unpickled."""

    def __reduce__(self):
        return (open, ("owned", "w"))


def pickled(desk):
    desk.write("m", pickle.dumps(Bomb()))


def checkpoint(desk):
    torch.save({"weights": Bomb()}, desk.path("m"))


def cut(desk):
    desk.cut("m", "m", 0.5)


def long_header(desk):
    desk.write("m", struct.pack("<Q", 2**60) + b"{}")


def without_card(desk):
    header = json.dumps({}).encode()
    desk.write("m", struct.pack("<Q", len(header)) + header)


def card(**changes):
    return lambda desk: desk.edit_model(card=lambda values: values.update(changes))


def parameters(**changes):
    return lambda desk: desk.edit_model(card=lambda v: v["parameters"].update(changes))


def forget(key):
    return lambda desk: desk.edit_model(card=lambda values: values.pop(key))


def spoilt(value):
    def make(desk):
        desk.edit_model(weights=lambda tensors: tensors["centroids"].fill_(value))

    return make


def without_weights(desk):
    desk.edit_model(weights=lambda tensors: tensors.clear())


def of_bands(*names):
    def change(values):
        values["normalization"]["bands"] = list(names)

    return lambda desk: desk.edit_model(card=change)


def an_image(desk):
    shutil.copy(desk.folder / "tile.tif", desk.folder / "m")


CASES = {
    "absent": (
        nothing,
        "predict tile.tif -o b.gpkg --model n",
        1,
        "there is no model file n: train one with geoseg train",
    ),
    "no run at all": (
        nothing,
        "predict tile.tif -o b.gpkg",
        1,
        "there is no model in .*runs: train one .* or name one with --model",
    ),
    "a folder without one": (
        nothing,
        "predict tile.tif -o b.gpkg --model tiles",
        1,
        "there is no model file tiles/model.safetensors",
    ),
    "empty": (
        content(b""),
        PREDICT,
        1,
        "m is not a readable safetensors file .*expected a model written by geoseg train",
    ),
    "a pickle": (pickled, PREDICT, 1, "m is not a readable safetensors file"),
    "a checkpoint": (checkpoint, PREDICT, 1, "m is not a readable safetensors file"),
    "an image": (an_image, PREDICT, 1, "m is not a readable safetensors file"),
    "cut": (cut, PREDICT, 1, "m is not a readable safetensors file"),
    "an endless header": (
        long_header,
        PREDICT,
        1,
        "m is not a readable safetensors file",
    ),
    "weights without a card": (without_card, PREDICT, 1, "m has no geoseg card"),
    "of the future": (
        card(format_version=99),
        PREDICT,
        1,
        "m has format version 99, this geoseg reads 1 and 2: train again or use the geoseg",
    ),
    "unknown method": (
        card(method="magic"),
        PREDICT,
        1,
        "the card of m describes no known method: there is no method 'magic'",
    ),
    "unknown parameter": (
        parameters(depth=3),
        PREDICT,
        1,
        "the card of m describes no known method: .*'depth'",
    ),
    "absurd size": (
        parameters(clusters=10**15),
        PREDICT,
        1,
        "describes no known method: head 'main' has 1000000000000000 clusters, expected 2 to 4096",
    ),
    "no normalisation": (
        forget("normalization"),
        PREDICT,
        1,
        "the card of m is malformed .*normalization",
    ),
    "no class names": (card(class_names=[]), PREDICT, 1, "card of m"),
    "a head that is not there": (
        card(head="third"),
        PREDICT,
        1,
        "the card of m names head 'third', the method has",
    ),
    "no weights": (
        without_weights,
        PREDICT,
        1,
        "the weights of m do not fit its card, first at 'centroids'",
    ),
    "NaN weights": (spoilt(float("nan")), PREDICT, 1, "'centroids' in m .*not finite"),
    "infinite weights": (
        spoilt(float("inf")),
        PREDICT,
        1,
        "'centroids' in m .*not finite",
    ),
    "unmatched": (
        card(matchings={}),
        PREDICT,
        1,
        "no cluster of head 'main' has a class yet: run geoseg match with labelled tiles",
    ),
    "of other bands": (
        of_bands("red", "green", "nir"),
        PREDICT,
        1,
        "tile.tif has bands 1 red, 2 green, 3 blue, expected red, green, nir; nir absent",
    ),
    "of other bands to match": (
        of_bands("red", "green", "nir"),
        "match m --images tiles --labels labels -o new",
        1,
        "nir absent",
    ),
    "broken to match": (
        cut,
        "match m --images tiles --labels labels",
        1,
        "m is not a readable safetensors file",
    ),
    "absent to score with": (
        nothing,
        "evaluate tile.tif --images tiles --labels labels --model n",
        1,
        "there is no model file n",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_no_prediction_with(refused, name):
    refused(*CASES[name])
