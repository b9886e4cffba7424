"""Tests of geoseg.model.matching."""

import itertools
import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from geoseg.core.errors import MatchingError, ParameterError, ShapeError
from geoseg.core.patches import IGNORE
from geoseg.model.matching import Matching, contingency_table, match_clusters
from geoseg.model.one_to_one import hungarian, one_to_one


def random_labelling(seed, shape=(3, 5, 7), clusters=4, classes=3):
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, clusters, shape, generator=generator)
    kinds = torch.randint(0, classes, shape, generator=generator)
    kinds[torch.rand(shape, generator=generator) < 0.3] = IGNORE
    return ids, kinds


def one_tile(rows):
    return torch.tensor([rows])


def test_table_counts_every_labelled_pixel_once():
    clusters, classes = random_labelling(0)
    expected = torch.zeros(4, 3, dtype=torch.long)
    for cluster, kind in zip(clusters.flatten(), classes.flatten(), strict=True):
        if kind != IGNORE:
            expected[cluster, kind] += 1
    table = contingency_table(clusters, classes, num_clusters=4, num_classes=3)
    assert table.dtype == torch.long
    assert torch.equal(table, expected)


def test_tables_of_parts_add_up_to_the_table_of_the_whole():
    clusters, classes = random_labelling(1)
    whole = contingency_table(clusters, classes, num_clusters=4, num_classes=3)
    parts = [
        contingency_table(a, b, num_clusters=4, num_classes=3)
        for a, b in zip(clusters, classes, strict=True)
    ]
    assert torch.equal(torch.stack(parts).sum(0), whole)


def test_table_takes_the_bytes_of_class_rasters():
    clusters = torch.tensor([[23, 20]], dtype=torch.uint8)
    classes = torch.tensor([[11, 255]], dtype=torch.uint8)
    table = contingency_table(clusters, classes, num_clusters=24, num_classes=12)
    assert table[23, 11] == 1 and table.sum() == 1


def test_table_of_unlabelled_pixels_is_zero_whatever_their_clusters():
    clusters = torch.full((2, 2), 255)
    classes = torch.full((2, 2), IGNORE)
    table = contingency_table(clusters, classes, num_clusters=3, num_classes=2)
    assert table.tolist() == [[0, 0]] * 3


@pytest.mark.parametrize("wrong", [-1, 2])
def test_table_refuses_class_ids_out_of_range(wrong):
    with pytest.raises(MatchingError, match=r"class ids from .* expected 0 to 1"):
        contingency_table(
            torch.tensor([0, 0]),
            torch.tensor([0, wrong]),
            num_clusters=1,
            num_classes=2,
        )


def test_table_refuses_cluster_ids_out_of_range():
    with pytest.raises(
        MatchingError, match=r"cluster ids from 0 to 3, expected 0 to 2"
    ):
        contingency_table(
            torch.tensor([0, 3]), torch.tensor([0, 1]), num_clusters=3, num_classes=2
        )


def test_table_refuses_different_shapes():
    with pytest.raises(ShapeError, match=r"clusters have shape \(2,\)"):
        contingency_table(
            torch.zeros(2).long(), torch.zeros(3).long(), num_clusters=1, num_classes=2
        )


def test_scores_follow_the_formula():
    # prior 6/20 = 0.3; m = 10
    matching = match_clusters(one_tile([[10, 0], [4, 6]]), shrinkage=10)
    assert matching.prior == (0.7, 0.3)
    assert matching.scores[0] == pytest.approx((17 / 20, 3 / 20))
    assert matching.scores[1] == pytest.approx((11 / 20, 9 / 20))
    assert matching.cluster_to_class == (0, 0)


def test_without_shrinkage_it_is_the_majority():
    matching = match_clusters(one_tile([[9, 1], [0, 5], [2, 8]]), shrinkage=0)
    assert matching.cluster_to_class == (0, 1, 1)


def test_default_shrinkage_is_a_quarter_of_a_mean_cluster():
    tables = torch.tensor([[[60, 0], [0, 40]], [[150, 0], [0, 50]], [[0, 0], [0, 0]]])
    matching = match_clusters(tables)
    assert matching.tiles == 2  # the third has no labels
    assert matching.shrinkage == 300 / 2 / 4


def test_a_rare_cluster_does_not_flip_on_a_handful_of_pixels():
    rows = [[8000, 100], [100, 1790], [0, 10]]  # the last: 10 pixels, all building
    assert match_clusters(one_tile(rows), shrinkage=0).cluster_to_class == (0, 1, 1)
    assert match_clusters(one_tile(rows), shrinkage=1000).cluster_to_class == (0, 1, 0)


def test_a_tie_is_background():
    assert match_clusters(one_tile([[5, 5], [5, 5]])).cluster_to_class == (0, 0)


@pytest.mark.parametrize("objective", ["accuracy", "f1"])
def test_an_absent_cluster_is_background_even_where_most_is_building(objective):
    rows = [[1, 0], [0, 99], [0, 0]]
    matching = match_clusters(one_tile(rows), objective=objective, shrinkage=1)
    assert matching.cluster_to_class[1:] == (1, 0)


def test_an_absent_cluster_without_shrinkage_has_the_prior_as_score():
    matching = match_clusters(one_tile([[1, 0], [0, 3], [0, 0]]), shrinkage=0)
    assert matching.scores[2] == (0.25, 0.75)


@pytest.mark.parametrize("objective", ["accuracy", "f1"])
def test_renumbering_the_clusters_renumbers_the_matching(objective):
    rng = np.random.default_rng(3)
    tables = rng.integers(0, 50, (4, 6, 2))
    order = rng.permutation(6)
    plain = match_clusters(tables, objective=objective)
    moved = match_clusters(tables[:, order], objective=objective)
    assert moved.cluster_to_class == tuple(plain.cluster_to_class[i] for i in order)
    assert moved.threshold == plain.threshold


def pixel_f1(rows, buildings):
    hits = sum(rows[k][1] for k in buildings)
    claimed = sum(sum(rows[k]) for k in buildings)
    return 2 * hits / (claimed + sum(row[1] for row in rows))


@pytest.mark.parametrize("seed", range(8))
def test_f1_matching_is_the_best_of_all_subsets(seed):
    rows = np.random.default_rng(seed).integers(1, 40, (6, 2)).tolist()
    best = max(
        pixel_f1(rows, subset)
        for size in range(1, 7)
        for subset in itertools.combinations(range(6), size)
    )
    matching = match_clusters(one_tile(rows), objective="f1", shrinkage=0)
    chosen = [k for k, c in enumerate(matching.cluster_to_class) if c == 1]
    assert pixel_f1(rows, chosen) == best


def test_f1_matching_takes_clusters_that_accuracy_leaves():
    # F1: {2} 2*30/(30+70) = .6, {1,2} 2*70/(130+70) = .7, all 2*70/(1000+70) = .13
    rows = [[870, 0], [60, 40], [0, 30]]
    accuracy = match_clusters(one_tile(rows), shrinkage=0)
    f1 = match_clusters(one_tile(rows), objective="f1", shrinkage=0)
    assert accuracy.cluster_to_class == (0, 0, 1)
    assert f1.cluster_to_class == (0, 1, 1)


def test_among_equal_f1_fewer_clusters_are_building():
    # {2}: 2*2/(2+4) = 2/3; {1,2}: 2*4/(8+4) = 2/3
    rows = [[9, 0], [4, 2], [0, 2]]
    matching = match_clusters(one_tile(rows), objective="f1", shrinkage=0)
    assert matching.cluster_to_class == (0, 0, 1)


def test_the_stored_threshold_reproduces_the_matching():
    tables = np.random.default_rng(5).integers(1, 40, (3, 8, 2))
    matching = match_clusters(tables, objective="f1")
    again = tuple(int(row[1] > matching.threshold) for row in matching.scores)
    assert again == matching.cluster_to_class


def test_more_classes_take_the_largest_share():
    rows = [[5, 1, 0], [1, 4, 4], [0, 1, 6], [0, 0, 0]]
    matching = match_clusters(one_tile(rows), shrinkage=0)
    assert matching.cluster_to_class == (0, 1, 2, 0)  # a tie goes to the lower id
    assert matching.threshold is None


def test_labels_without_a_building_are_refused():
    with pytest.raises(MatchingError, match="2 matching tiles hold no building"):
        match_clusters(torch.tensor([[[5, 0], [3, 0]], [[5, 0], [3, 0]]]))


def test_labels_of_nothing_but_buildings_are_refused():
    with pytest.raises(MatchingError, match="hold nothing but building"):
        match_clusters(one_tile([[0, 5], [0, 3]]))


def test_tiles_without_labels_are_refused():
    with pytest.raises(MatchingError, match="no labelled pixel"):
        match_clusters(torch.zeros(2, 3, 2))


def test_unknown_objective_is_refused():
    with pytest.raises(ParameterError, match="'iou', expected one of accuracy, f1"):
        match_clusters(one_tile([[1, 0], [0, 1]]), objective="iou")


def test_f1_of_more_than_two_classes_is_refused():
    with pytest.raises(ParameterError, match="f1 needs two classes, found 3"):
        match_clusters(one_tile([[1, 0, 0], [0, 1, 1]]), objective="f1")


@pytest.mark.parametrize("shrinkage", [-1.0, float("nan"), float("inf")])
def test_shrinkage_without_meaning_is_refused(shrinkage):
    with pytest.raises(ParameterError, match="expected pixels, zero or more"):
        match_clusters(one_tile([[1, 0], [0, 1]]), shrinkage=shrinkage)


@pytest.mark.parametrize("tables", [[], torch.zeros(3, 2), torch.zeros(1, 3, 1)])
def test_tables_of_another_shape_are_refused(tables):
    with pytest.raises(ShapeError, match=r"expected \(tiles, clusters, classes\)"):
        match_clusters(tables)


@pytest.mark.parametrize("rows", [[[9, 1], [1, 9]], [[9, 1, 0], [0, 5, 1], [0, 0, 2]]])
def test_json_brings_the_matching_back(rows):
    matching = match_clusters(one_tile(rows))
    text = json.dumps(matching.to_json(), allow_nan=False)
    assert Matching.from_json(json.loads(text)) == matching


def test_damaged_json_is_refused():
    values = match_clusters(one_tile([[9, 1], [1, 9]])).to_json()
    with pytest.raises(MatchingError, match="damaged .*prior.* run `geoseg match`"):
        Matching.from_json({k: v for k, v in values.items() if k != "prior"})
    with pytest.raises(MatchingError, match="ids do not fit"):
        Matching.from_json(values | {"cluster_to_class": [0, 7]})


def test_matrix_folds_cluster_into_class_probabilities():
    matching = match_clusters(one_tile([[9, 1], [1, 9], [2, 8]]), shrinkage=0)
    assert matching.matrix.tolist() == [[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]
    assert (torch.tensor([0.5, 0.3, 0.2]) @ matching.matrix).tolist() == [0.5, 0.5]


def test_confusion_has_the_reference_in_rows():
    matching = match_clusters(one_tile([[9, 1], [1, 9], [2, 8]]), shrinkage=0)
    confusion = matching.confusion(torch.tensor([[9, 1], [1, 9], [2, 8]]))
    # background: 9 right, 1 + 2 called building; building: 1 missed, 9 + 8 found
    assert confusion.tolist() == [[9, 3], [1, 17]]


def test_one_to_one_is_the_best_permutation():
    table = torch.tensor([[5, 9, 1], [6, 8, 0], [3, 2, 2]])
    best = max(
        itertools.permutations(range(3)),
        key=lambda classes: sum(int(table[k, c]) for k, c in enumerate(classes)),
    )
    assert hungarian(table) == best == (1, 0, 2)


def test_one_to_one_gives_clusters_left_over_their_majority():
    table = torch.tensor([[50, 0], [0, 40], [3, 9], [9, 3], [0, 0]])
    assert hungarian(table) == (0, 1, 1, 0, 0)


def test_one_to_one_needs_as_many_clusters_as_classes():
    with pytest.raises(MatchingError, match="2 clusters cannot take 3 classes"):
        hungarian(torch.ones(2, 3))


def test_one_to_one_gives_every_class_a_cluster_where_the_majority_does_not():
    # two clusters fall mostly on class 0; the rare class 2 has none of its own
    table = one_tile([[90, 0, 5], [80, 0, 30], [0, 50, 0]])
    matching = match_clusters(table, shrinkage=0)
    assert matching.cluster_to_class == (0, 0, 1)
    strict = one_to_one(matching)
    assert strict.cluster_to_class == (0, 2, 1)
    assert strict.counts == matching.counts and strict.threshold is None
    best = max(
        sum(row[c] for row, c in zip(matching.counts, order, strict=True))
        for order in itertools.permutations(range(3))
    )
    assert best == sum(
        row[c] for row, c in zip(matching.counts, strict.cluster_to_class, strict=True)
    )
    with pytest.raises(MatchingError, match="2 clusters cannot take 3 classes"):
        one_to_one(match_clusters(one_tile([[9, 1, 0], [0, 5, 6]])))


@given(seed=st.integers(0, 10**6), order=st.permutations(range(4)))
def test_permuting_classes_permutes_the_matching(seed, order):
    tables = np.random.default_rng(seed).integers(1, 10**9, (2, 6, 4))
    matching = match_clusters(tables)
    moved = np.zeros_like(tables)
    moved[..., list(order)] = tables
    found = match_clusters(moved)
    assert found.cluster_to_class == tuple(order[c] for c in matching.cluster_to_class)
    strict = one_to_one(matching).cluster_to_class
    assert one_to_one(found).cluster_to_class == tuple(order[c] for c in strict)
