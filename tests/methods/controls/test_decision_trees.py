import numpy as np
import pytest
import torch
from sklearn.ensemble import RandomForestClassifier

from geoseg.core.errors import ParameterError
from geoseg.methods.controls.decision_trees import DecisionTrees


def rows_and_classes(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    # few distinct values, so that many rows lie on thresholds' very neighbours
    rows = random.integers(0, 50, (count, 6)).astype(np.float32) / 7
    noise = random.integers(0, 10, count)
    return rows, ((rows[:, 0] > rows[:, 1]) + (rows[:, 2] > 5) + (noise == 0)) * 2


@pytest.fixture(scope="module")
def fitted():
    rows, classes = rows_and_classes(3000)
    forest = RandomForestClassifier(7, max_leaf_nodes=40, max_depth=9, random_state=0)
    forest.fit(rows, classes)
    trees = DecisionTrees(7, 40, 8)
    trees.copy_from(forest.estimators_, forest.classes_.tolist())
    return forest, trees


def test_every_row_falls_into_the_leaf_that_scikit_learn_puts_it_in(fitted):
    forest, trees = fitted
    rows, _ = rows_and_classes(20_000, seed=1)
    leaves = forest.apply(rows)
    for number in range(7):
        found = trees._leaves(rows.T, number)
        pairs = set(zip(found.tolist(), leaves[:, number].tolist(), strict=True))
        assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})
        assert len(pairs) > 20


def test_probabilities_are_scikit_learns_but_for_the_rounding_of_float32(fitted):
    forest, trees = fitted
    rows, _ = rows_and_classes(20_000, seed=1)
    expected = np.zeros((len(rows), 8))
    expected[:, forest.classes_] = forest.predict_proba(rows)
    found = trees(torch.from_numpy(rows).T).T
    np.testing.assert_allclose(found, expected, atol=1e-6)
    torch.testing.assert_close(found.sum(dim=1), torch.ones(len(rows)))


def test_planes_may_lie_in_memory_in_any_way(fitted):
    _, trees = fitted
    rows = torch.from_numpy(rows_and_classes(300)[0])
    assert torch.equal(trees(rows.T), trees(rows.T.contiguous()))
    assert trees(rows[:0].T).shape == (8, 0)


def test_a_number_next_to_a_threshold_goes_its_own_way():
    # the threshold, in float64, lies between two float32 that are next to one another
    neighbours = np.float32(100), np.nextafter(np.float32(100), np.float32(0))
    rows = np.array(neighbours, np.float32)[:, None]
    forest = RandomForestClassifier(1, bootstrap=False).fit(rows, [1, 0])
    (tree,) = forest.estimators_
    assert neighbours[1] < np.float64(tree.tree_.threshold[0]) < neighbours[0]
    trees = DecisionTrees(1, 2, 2)
    trees.copy_from([tree], [0, 1])
    assert trees(torch.from_numpy(rows).T).T.tolist() == [[0.0, 1.0], [1.0, 0.0]]
    assert forest.predict(rows).tolist() == [1, 0]


def test_a_tree_of_one_leaf_answers_with_its_shares():
    forest = RandomForestClassifier(2).fit(np.zeros((4, 3)), [0, 0, 0, 1])
    trees = DecisionTrees(2, 5, 2)
    trees.copy_from(forest.estimators_, [0, 1])
    expected = torch.from_numpy(forest.predict_proba(np.zeros((1, 3)))).float()
    torch.testing.assert_close(trees(torch.rand(3, 1)).T, expected)


def test_fewer_trees_than_one_and_leaves_than_two_are_refused():
    for trees, leaves in ((0, 8), (3, 1)):
        with pytest.raises(ParameterError, match="at least 1 tree with 2 leaves"):
            DecisionTrees(trees, leaves, 2)
