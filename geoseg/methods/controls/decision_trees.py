"""Decision trees in tensors, and their evaluation for pixels."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from geoseg.core.errors import ParameterError

#: Threshold that no number exceeds; finite, as all weights of a model file are.
_NEVER = torch.finfo(torch.float32).max


class DecisionTrees(nn.Module):
    """A forest of classification trees in buffers of fixed size.

    Node 0 is a tree's root; the right child of a node follows the left one. A leaf is its
    own left child.

    Args:
        trees: Number of trees.
        leaves: Largest number of leaves of each tree.
        classes: C.

    Raises:
        ParameterError: If there is no tree, or a tree has fewer than two leaves.
    """

    def __init__(self, trees: int, leaves: int, classes: int) -> None:
        super().__init__()
        if trees < 1 or leaves < 2:
            raise ParameterError(
                f"the forest has {trees} trees with {leaves} leaves, expected at least 1 "
                "tree with 2 leaves"
            )
        nodes = 2 * leaves - 1
        self.register_buffer("features", torch.zeros((trees, nodes), dtype=torch.int32))
        self.register_buffer("thresholds", torch.full((trees, nodes), _NEVER))
        self.register_buffer(
            "left", torch.arange(nodes, dtype=torch.int32).repeat(trees, 1)
        )
        self.register_buffer("shares", torch.full((trees, nodes, classes), 1 / classes))

    @torch.no_grad()
    def copy_from(self, fitted: Sequence[Any], classes: Sequence[int]) -> None:
        """Copy trees that scikit-learn has fitted.

        Args:
            fitted: A ``DecisionTreeClassifier`` for each of the trees.
            classes: Class id of each of their columns.
        """
        for number, tree in enumerate(estimator.tree_ for estimator in fitted):
            order = _by_level(tree.children_left, tree.children_right)
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
            for name, table in tables.items():
                self.get_buffer(name)[number, :count] = torch.from_numpy(table)
            shares = self.get_buffer("shares")[number]
            shares[:count] = 0
            values = torch.from_numpy(tree.value[order, 0])
            shares[:count, list(classes)] = values.to(shares.dtype)

    def forward(self, planes: Tensor) -> Tensor:
        """Return the mean of the trees' class shares, computed on the CPU.

        Args:
            planes: ``(D, M)`` float32: the pixels' values of each feature.

        Returns:
            ``(C, M)`` float32, summing to one over C, on the planes' device.
        """
        values = planes.contiguous().numpy(force=True)
        shares = self.get_buffer("shares").numpy(force=True)  # (trees, nodes, C)
        total = np.zeros((shares.shape[2], values.shape[1]), np.float32)
        for tree, by_class in enumerate(shares.transpose(0, 2, 1)):
            leaves = self._leaves(values, tree)
            for sums, share in zip(total, by_class, strict=True):
                sums += share.take(leaves)
        total /= len(shares)
        return torch.from_numpy(total).to(planes.device)

    def traced(self, rows: Tensor) -> Tensor:
        """Return the result of a call with traceable operations, level by level.

        It has no branches and only gathers, and is several times slower.

        Args:
            rows: ``(M, D)`` float32.

        Returns:
            ``(M, C)`` float32.
        """
        features, thresholds, left, shares = (
            self.get_buffer(name).flatten(0, 1)
            for name in ("features", "thresholds", "left", "shares")
        )
        trees, nodes = self.get_buffer("left").shape
        roots = torch.arange(trees, device=rows.device) * nodes
        at = roots.expand(rows.shape[0], trees)  # (M, trees), numbers among all nodes
        for _ in range(self._depth()):
            right = rows.gather(1, features[at].long()) > thresholds[at]
            at = roots + left[at].long() + right.long()
        return shares[at].mean(dim=1)

    def _depth(self) -> int:
        """Return the depth of the deepest leaf."""
        left = self.get_buffer("left").numpy(force=True)
        depth, level = 0, {(tree, 0) for tree in range(len(left))}
        while level := {
            (tree, child)
            for tree, node in level
            if left[tree, node] != node
            for child in (int(left[tree, node]), int(left[tree, node]) + 1)
        }:
            depth += 1
        return depth

    def _leaves(self, values: NDArray[np.float32], tree: int) -> NDArray[np.intp]:
        """Return the ``(M,)`` index of each pixel's leaf.

        Each node divides its pixels into two ordered lists, so features are read in memory
        order, and a pixel takes as many steps as its leaf is deep. That is several times
        faster than level by level.
        """
        features, thresholds, left = (
            self.get_buffer(name)[tree].tolist()
            for name in ("features", "thresholds", "left")
        )
        leaves = np.empty(values.shape[1], np.intp)
        waiting = [(0, np.arange(values.shape[1]))]
        while waiting:
            node, pixels = waiting.pop()
            if left[node] == node or not len(pixels):
                leaves[pixels] = node
                continue
            right = values[features[node]].take(pixels) > thresholds[node]
            waiting.append((left[node], pixels[~right]))
            waiting.append((left[node] + 1, pixels[right]))
        return leaves


def _by_level(left: Any, right: Any) -> Any:
    """Return the nodes of a tree level by level, with siblings adjacent."""
    level, order = [0], [0]
    while level := [
        child for n in level if left[n] >= 0 for child in (left[n], right[n])
    ]:
        order += level
    return np.array(order)


def _rounded_down(thresholds: Any) -> Any:
    """Return the largest float32 at or below each float64.

    A float32 value exceeds both or neither.
    """
    narrow = thresholds.astype(np.float32)
    below = np.nextafter(narrow, np.float32(-np.inf))
    return np.where(narrow > thresholds, below, narrow)
