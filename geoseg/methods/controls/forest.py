"""Random forest control: pixel features at several scales, as in desktop tools."""

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geoseg.core.errors import ParameterError, TrainingError
from geoseg.core.progress import bar
from geoseg.methods.bases.classes import ClassBalance, check_class_balance
from geoseg.methods.bases.method import Batches, Method, check_heads
from geoseg.methods.controls.decision_trees import DecisionTrees
from geoseg.methods.controls.pixel_features import (
    Convolve,
    by_kernels,
    by_matrices,
    pixel_features,
)
from geoseg.methods.pixels import labelled_pixels, sample_pixels

#: Smallest scale in pixels; each further one is twice as large.
FIRST_SCALE = 1.0
MISSING = (
    "forest is fitted by scikit-learn, which is not installed: "
    'pip install "geoseg[forest]"'
)


class Forest(Method):
    """Learns the classes of labelled pixels by a random forest of multi-scale features.

    An analyst's approach with the same labels and no network: bands, Gaussian means,
    edges and blobs at several scales, then a random forest, as in ilastik. It uses only
    the labelled tiles. scikit-learn fits the trees (``pip install "geoseg[forest]"``);
    prediction needs only torch.

    Args:
        in_channels: Channels of the image.
        classes: C; by default as many as the labels have.
        trees: Number of trees.
        leaves: Largest number of leaves of a tree.
        depth: Largest depth of a tree; the time of prediction is proportional to it.
        scales: Number of Gaussians; the first has a standard deviation of 1 pixel, each
            further one twice that of the one before.
        pixels: Largest number of labelled pixels that the forest learns from.
        balance: Weights of classes: by their pixels, or ``inverse``: all equal.
        seed: Seed of the forest.

    References:
        Breiman. Random Forests. Machine Learning 45, 2001.
        https://doi.org/10.1023/A:1010933404324
        Berg et al. ilastik: interactive machine learning for (bio)image analysis. Nature
        Methods 16, 2019. https://doi.org/10.1038/s41592-019-0582-9
    """

    uses_labels = True
    gradient = False
    jumps = True
    labelled_share = 1.0
    choices = {"balance": get_args(ClassBalance)}

    def __init__(
        self,
        in_channels: int,
        *,
        classes: int = 2,
        trees: int = 32,
        leaves: int = 128,
        depth: int = 12,
        scales: int = 4,
        pixels: int = 65536,
        balance: str = "none",
        seed: int = 0,
    ) -> None:
        super().__init__(in_channels)
        self.heads = {"classes": classes}
        check_heads(self.heads)
        self.default_head = self.class_head = "classes"
        for name, value in (("depth", depth), ("scales", scales), ("pixels", pixels)):
            if value < 1:
                raise ParameterError(f"{name} is {value}, expected at least 1")
        self.depth, self.pixels, self.seed = depth, pixels, seed
        self.scales = [FIRST_SCALE * 2**number for number in range(scales)]
        check_class_balance(balance)
        self.balance = balance
        self.leaves = leaves
        self.trees = DecisionTrees(trees, leaves, classes)

    @classmethod
    def parameters_of_data(
        cls, bands: Sequence[str], classes: Sequence[str]
    ) -> dict[str, str | int]:
        """Return the number of classes."""
        return {"classes": len(classes)}

    @classmethod
    def check_installed(cls) -> None:
        """Raise if scikit-learn is missing.

        Raises:
            TrainingError: If it is not installed.
        """
        if find_spec("sklearn") is None:
            raise TrainingError(MISSING)

    @torch.no_grad()
    def finish(self, batches: Batches) -> None:
        """Fit the forest on labelled pixels of all patches.

        Raises:
            ParameterError: If the labels have more classes than ``classes``.
            TrainingError: If no pixel has a label, or scikit-learn is not installed.
        """
        rows, classes = self._sample(batches)
        if int(classes.max()) >= self.heads["classes"]:
            raise ParameterError(
                f"the labels have class {int(classes.max())}, expected ids below "
                f"classes={self.heads['classes']}: leave out -p classes"
            )
        forest = self._grown(rows.numpy(), classes.numpy())
        self.trees.copy_from(forest.estimators_, forest.classes_.tolist())

    def _grown(self, rows: NDArray[Any], classes: NDArray[Any]) -> Any:
        """Return the fitted scikit-learn forest; grown in steps to show progress."""
        jobs = torch.get_num_threads()
        forest = _import_forest()(
            max_leaf_nodes=self.leaves,
            max_depth=self.depth,
            class_weight=_inverse(classes) if self.balance == "inverse" else None,
            random_state=self.seed,
            n_jobs=jobs,
            warm_start=True,
        )
        trees = len(self.trees.get_buffer("left"))
        with bar("growing trees", trees, unit="tree") as advance:
            for grown in range(0, trees, jobs):
                forest.n_estimators = min(grown + jobs, trees)
                forest.fit(rows, classes)
                advance(forest.n_estimators - grown)
        return forest

    def _sample(self, batches: Batches) -> tuple[Tensor, Tensor]:
        """Return ``(M, D)`` features of labelled pixels and their ``(M,)`` classes."""
        planes = (
            (
                self._features(batch.image, batch.valid),
                batch.mask,
                labelled_pixels(batch),
            )
            for batch in batches()
        )
        sample = sample_pixels(
            (
                (torch.cat([features, mask[:, None].to(features)], dim=1), labelled)
                for features, mask, labelled in planes
            ),
            self.pixels,
            wanted="has a label",
        )
        return sample[:, :-1], sample[:, -1].long()

    def probabilities(self, image: Tensor, valid: Tensor, head: str) -> Tensor:
        """Return ``(N, C, H, W)`` class probabilities, the mean over the trees.

        Pixels without data are not evaluated and get equal probabilities, so the empty
        windows that pad a last batch cost nothing.
        """
        n, _, h, w = image.shape
        classes = self.heads[head]
        shares = torch.full((classes, n, h, w), 1 / classes, device=image.device)
        seen = valid.flatten(1).any(dim=1)
        if seen.any():
            features = self._features(image[seen], valid[seen]).transpose(0, 1)
            shares[:, valid] = self.trees(features[:, valid[seen]].float())
        return shares.transpose(0, 1).to(image.dtype)

    def traced_probabilities(self, image: Tensor, valid: Tensor, head: str) -> Tensor:
        """Return class probabilities with traceable operations on all pixels."""
        n, _, h, w = image.shape
        classes = self.heads[head]
        features = self._features(image, valid, convolve=by_kernels)
        rows = features.permute(0, 2, 3, 1).flatten(0, 2)  # (N H W, D)
        shares = self.trees.traced(rows).view(n, h, w, classes).permute(0, 3, 1, 2)
        return torch.where(valid[:, None], shares, 1 / classes)

    def _features(
        self, image: Tensor, valid: Tensor, convolve: Convolve = by_matrices
    ) -> Tensor:
        """Return ``(N, D, H, W)`` features of the bands, whitened if requested."""
        bands = self.whitened(image)
        return pixel_features(bands, valid, self.scales, convolve=convolve)


def _inverse(classes: NDArray[Any]) -> dict[int, float]:
    """Return scikit-learn's "balanced" class weights.

    With ``class_weight="balanced"`` it would warn, because it cannot know that all trees
    get the same rows.
    """
    present, counts = np.unique(classes, return_counts=True)
    weights = len(classes) / (len(present) * counts)
    return dict(zip(present.tolist(), weights.tolist(), strict=True))


def _import_forest() -> Any:
    """Return scikit-learn's random forest class.

    Raises:
        TrainingError: If it is not installed.
    """
    try:
        from sklearn.ensemble import RandomForestClassifier
    except ImportError as error:
        raise TrainingError(MISSING) from error
    return RandomForestClassifier
