"""Models that are known without training: colour k-means of a bright and a dark."""

import os

import pytest
import torch

from geoseg.matching import Matching, match_clusters
from geoseg.methods import build_method, method_defaults
from geoseg.model import Model, ModelCard
from geoseg.normalization import Normalization

# Processes that the tests start share few cores with one another.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

DARK, BRIGHT = 0.1, 0.9


def certain(*classes: int) -> Matching:
    """Match clusters to 0 or 1 as if each had been seen on that class alone."""
    table = torch.zeros((1, len(classes), 2), dtype=torch.long)
    for cluster, class_id in enumerate(classes):
        table[0, cluster, class_id] = 1000
    matching = match_clusters(table, shrinkage=0)
    assert matching.cluster_to_class == classes
    return matching


@pytest.fixture(scope="session")
def bright_model():
    """Return ``make(bands, matched=True, **card)``: bright pixels are buildings.

    Values from 0 to 1000 become 0 to 1; the centroids lie at 0.1 and 0.9.
    """

    def make(bands=("red", "green", "blue"), *, matched=True, **changes) -> Model:
        count = len(bands)
        parameters = {**method_defaults("color_kmeans"), "clusters": 2}
        method = build_method("color_kmeans", count, parameters)
        centroids = torch.tensor([[DARK], [BRIGHT]]).expand(2, count)
        method.get_buffer("centroids").copy_(centroids)
        card = ModelCard(
            method="color_kmeans",
            parameters=parameters,
            normalization=Normalization(
                bands, (0.0,) * count, (1000.0,) * count, (0.5,) * count
            ),
            head="main",
            matchings={"main": certain(0, 1)} if matched else {},
        )
        return Model(method.eval(), card).with_card(**changes)

    return make
