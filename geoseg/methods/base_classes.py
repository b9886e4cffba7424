"""What methods share that learn the classes of labelled tiles."""

from collections.abc import Sequence

from torch import Tensor

from geoseg.methods.base import Method, check_heads
from geoseg.networks import build_trunk
from geoseg.networks.gradients import check_sobel, sobel_channels, with_gradients


class ClassMethod(Method):
    """Its head ``classes`` tells classes and not clusters: there is nothing to match.

    A subclass calls :meth:`build` in its ``__init__``.
    """

    uses_labels = True
    has_features = True
    labelled_share = 1.0
    label_free_choice = (
        "the last checkpoint; the labels of no other tiles are looked at"
    )

    def build(self, classes: int, *, trunk: str, width: int, sobel: str) -> None:
        """Build the trunk, and name the head.

        Args:
            classes: C.
            trunk: One of :data:`geoseg.networks.TRUNKS`.
            width: Of the trunk.
            sobel: Gradient channels: left out, after the bands, or in their place.

        Raises:
            ParameterError: If a value is none that there is.
        """
        self.heads = {"classes": classes}
        check_heads(self.heads)
        check_sobel(sobel)
        self.default_head = self.class_head = "classes"
        self.sobel = sobel
        channels = sobel_channels(self.in_channels, sobel)
        self.trunk = build_trunk(trunk, channels, width=width)
        self.divisor = self.trunk.divisor

    @classmethod
    def parameters_of_data(
        cls, bands: Sequence[str], classes: Sequence[str]
    ) -> dict[str, str | int]:
        """Return the number of classes."""
        return {"classes": len(classes)}

    def features(self, image: Tensor, valid: Tensor) -> Tensor:
        """Return the trunk's ``(N, D, h, w)`` features."""
        bands = self.whitened(image)
        inputs = with_gradients(image, valid, self.sobel, bands=bands)
        features: Tensor = self.trunk(inputs)
        return features
