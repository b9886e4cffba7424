"""Decision trees as tables of numbers, and pixels on their way down them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from geoseg.errors import ParameterError

#: Rows that go down a tree together: their features stay in a processor's cache.
_ROWS = 16384
#: Threshold that no number exceeds; finite, as all weights of a model file are.
_NEVER = torch.finfo(torch.float32).max


class DecisionTrees(nn.Module):
    """A forest of classification trees in buffers of a fixed size.

    Node 0 is a tree's root; the right child of a node has the number after that of the
    left one. A leaf is its own left child, with a threshold that nothing exceeds, so that
    all rows may take as many steps as the deepest leaf needs.

    Args:
        trees: Number of trees.
        leaves: Of each, at most.
        classes: ``C``.

    Raises:
        ParameterError: If there is no tree, or a tree has fewer than two leaves.
    """

    def __init__(self, trees: int, leaves: int, classes: int) -> None:
        super().__init__()
        if trees < 1 or leaves < 2:
            raise ParameterError(
                f"a forest of {trees} trees with {leaves} leaves was asked for, expected "
                "at least 1 tree with 2 leaves"
            )
        nodes = 2 * leaves - 1
        # 32-bit numbers: the way down is bound by memory
        self.register_buffer("features", torch.zeros((trees, nodes), dtype=torch.int32))
        self.register_buffer("thresholds", torch.full((trees, nodes), _NEVER))
        self.register_buffer(
            "left", torch.arange(nodes, dtype=torch.int32).repeat(trees, 1)
        )
        self.register_buffer("shares", torch.full((trees, nodes, classes), 1 / classes))
        self.register_buffer("depths", torch.zeros(trees, dtype=torch.int32))

    @torch.no_grad()
    def copy_from(self, fitted: Sequence[Any], classes: Sequence[int]) -> None:
        """Take over trees that scikit-learn has fitted.

        Args:
            fitted: A ``DecisionTreeClassifier`` for each of the trees.
            classes: Class id of each of their columns.
        """
        for number, tree in enumerate(estimator.tree_ for estimator in fitted):
            order, depth = _by_level(tree.children_left, tree.children_right)
            number_of = np.empty(len(order), np.int64)
            number_of[order] = np.arange(len(order))
            inner = tree.children_left[order] >= 0
            children = number_of[tree.children_left[order]]
            count = len(order)
            tables = {
                "features": np.where(inner, tree.feature[order], 0),
                "thresholds": np.where(
                    inner, _rounded_down(tree.threshold[order]), _NEVER
                ),
                "left": np.where(inner, children, np.arange(count)),
            }
            for name, values in tables.items():
                self.get_buffer(name)[number, :count] = torch.from_numpy(values)
            shares = self.get_buffer("shares")[number]
            shares[:count] = 0
            found = torch.from_numpy(tree.value[order, 0])
            shares[:count, list(classes)] = found.to(shares.dtype)
            self.get_buffer("depths")[number] = depth

    def forward(self, rows: Tensor) -> Tensor:
        """Return the mean of the trees' class shares.

        Args:
            rows: ``(M, D)`` float32.

        Returns:
            ``(M, C)`` float32, summing to one.
        """
        depths = self.get_buffer("depths").tolist()
        parts = []
        for block in torch.split(rows.contiguous(), _ROWS):
            total = torch.zeros(
                (len(block), self.get_buffer("shares").shape[2]), device=rows.device
            )
            for tree, depth in enumerate(depths):
                leaves = self._descend(block, tree, depth)
                total += self.get_buffer("shares")[tree].index_select(0, leaves)
            parts.append(total / len(depths))
        return torch.cat(parts)

    def _descend(self, rows: Tensor, tree: int, depth: int) -> Tensor:
        """Return the ``(M,)`` int32 number of the leaf that each row falls into."""
        features = self.get_buffer("features")[tree]
        thresholds = self.get_buffer("thresholds")[tree]
        left = self.get_buffer("left")[tree]
        values = rows.view(-1)
        first = torch.arange(len(rows), device=rows.device, dtype=torch.int32)
        first = first * rows.shape[1]
        node = torch.zeros_like(first)
        for _ in range(depth):
            value = values.index_select(0, first + features.index_select(0, node))
            right = value > thresholds.index_select(0, node)
            node = left.index_select(0, node) + right
        return node


def _by_level(left: Any, right: Any) -> tuple[Any, int]:
    """Return the nodes of a tree level by level, siblings side by side, and its depth."""
    level, order, depth = [0], [0], 0
    while level := [
        child for n in level if left[n] >= 0 for child in (left[n], right[n])
    ]:
        order += level
        depth += 1
    return np.array(order), depth


def _rounded_down(thresholds: Any) -> Any:
    """Return the largest float32 at or below each float64.

    A float32 exceeds the one exactly if it exceeds the other.
    """
    narrow = thresholds.astype(np.float32)
    below = np.nextafter(narrow, np.float32(-np.inf))
    return np.where(narrow > thresholds, below, narrow)
