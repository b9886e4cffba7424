"""The card of a model file: all that prediction needs beside the weights."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any, TypedDict

from safetensors import SafetensorError, safe_open

import geoseg
from geoseg.core.addresses import need_model
from geoseg.core.classes import check_printable
from geoseg.core.errors import GeosegError, ModelFileError
from geoseg.core.normalization import Normalization
from geoseg.core.stored import Range, StoredError, parse_json, typed
from geoseg.model.codebooks import CodebookCard, Combination
from geoseg.model.matching import Matching

#: Versions of model files that this geoseg reads. Cards of the second one may name
#: clusters by share; a card that does not is written as one of the first.
FORMAT_VERSIONS = (1, 2)
#: The only metadata key: with several, equal models could have different bytes.
CARD_KEY = "geoseg"

_Count = Annotated[int, Range(0)]


class FormerModel(TypedDict):
    """The model from which a training started."""

    sha256: str
    method: str
    seed: int
    steps: _Count | None


class Restart(TypedDict):
    """One of several trainings with different seeds."""

    seed: int
    matching_iou: float


class Refit(TypedDict):
    """The training with all labels that made the final model after scoring."""

    match_tiles: _Count
    test_tiles: _Count


class Provenance(TypedDict, total=False):
    """The origin of a model; later versions may add fields."""

    source: str
    labels: dict[str, str]
    tiles: dict[str, list[str]]
    matched_on: list[str]
    adjoining_test: dict[str, _Count]
    image_bands: _Count
    image_scaling: list[list[float]]
    learns_from_labels: bool
    transductive: bool
    preset: str
    init: FormerModel
    fingerprint: str
    versions: dict[str, str]
    steps: _Count
    logs: dict[str, float]
    restarts: list[Restart]
    refit: Refit


class Score(TypedDict):
    """A score on the test tiles; null if undefined."""

    value: float | None
    interval: tuple[float | None, float | None] | None


class Metrics(TypedDict, total=False):
    """Scores on the test tiles, by name; fields are those that geoseg reads."""

    test_tiles: _Count
    iou: Score
    mean_iou: Score


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """All that prediction needs beside the weights, and the model's origin.

    Attributes:
        method: Name in ``METHODS``.
        parameters: All parameters of the method.
        normalization: Bands and the mapping of their values to channels.
        nodata: The nodata rule of the training images.
        gsd_m: Ground sampling distance of the training images in metres, or None.
        patch_size: Side of the training patches in pixels.
        class_names: Name of each class id, ``background`` first.
        head: The head used for prediction.
        matchings: Head → classes of its clusters; empty before matching.
        seed: Of weights, patches and views.
        provenance: Steps, tiles of each role, data fingerprint, versions.
        metrics: Scores on the test tiles, if any.
        codebooks: Further clusterings of the model file.
        combined: How they and a head are named together; None: they are not.
    """

    method: str
    parameters: Mapping[str, Any]
    normalization: Normalization
    nodata: str = "auto"
    gsd_m: Annotated[float, Range(0)] | None = None
    patch_size: Annotated[int, Range(1, 2**20)] = 128
    class_names: tuple[str, ...] = ("background", "building")
    head: str
    matchings: Mapping[str, Matching] = field(default_factory=dict)
    seed: int = 0
    provenance: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    codebooks: tuple[CodebookCard, ...] = ()
    combined: Combination | None = None

    @property
    def names_by_share(self) -> bool:
        """Whether a head's or a codebook's clusters are named by share."""
        shared = any(m.naming == "share" for m in self.matchings.values())
        return shared or bool(self.codebooks)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "format_version": FORMAT_VERSIONS[self.names_by_share],
            "geoseg_version": geoseg.__version__,
            "method": self.method,
            "parameters": dict(self.parameters),
            "normalization": self.normalization.to_json(),
            "nodata": self.nodata,
            "gsd_m": self.gsd_m,
            "patch_size": self.patch_size,
            "class_names": list(self.class_names),
            "head": self.head,
            "matchings": {k: v.to_json() for k, v in self.matchings.items()},
            "seed": self.seed,
            "provenance": dict(self.provenance),
            "metrics": dict(self.metrics),
            **self._of_codebooks(),
        }

    def _of_codebooks(self) -> dict[str, Any]:
        """Return the JSON values that only a model with codebooks has."""
        if not self.codebooks:
            return {}
        combined = self.combined and self.combined.to_json()
        books = [book.to_json() for book in self.codebooks]
        return {"codebooks": books, "combined": combined}

    @classmethod
    def from_json(cls, values: Any) -> "ModelCard":
        """Rebuild a card from the values of :meth:`to_json`.

        Raises:
            StoredError, GeosegError: If a value is missing or malformed, or a class
                name cannot be printed.
        """
        card = typed(values, cls)
        for name in (field.name for field in fields(cls)):
            if name not in values and name not in ("codebooks", "combined"):
                raise StoredError(f"{name} is missing")
        check_printable(card.class_names)
        if len(set(card.class_names)) < max(2, len(card.class_names)):
            raise StoredError(
                f"class_names are {card.class_names}, expected two or more, all different"
            )
        typed(card.provenance, Provenance, "provenance")
        typed(card.metrics, Metrics, "metrics")
        for name, value in card.metrics.items():
            if isinstance(value, dict) and "value" in value:
                typed(value, Score, f"metrics.{name}")
        matchings = values["matchings"].items()
        return replace(
            card,
            normalization=Normalization.from_json(values["normalization"]),
            matchings={head: Matching.from_json(stored) for head, stored in matchings},
            codebooks=tuple(
                CodebookCard.from_json(stored) for stored in values.get("codebooks", [])
            ),
            combined=values.get("combined")
            and Combination.from_json(values["combined"]),
        )


def load_card(path: Path) -> ModelCard:
    """Read the card of a model file without its weights.

    Raises:
        ModelFileError: If the file is absent, damaged or not written by geoseg.
    """
    need_model(path)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise ModelFileError(
            f"{path} is not a readable safetensors file ({error}): expected a model "
            "written by geoseg train"
        ) from error
    if CARD_KEY not in metadata:
        raise ModelFileError(
            f"{path} has no geoseg card: expected a model written by geoseg train"
        )
    try:
        values = parse_json(metadata[CARD_KEY])
        version = typed(values, Versioned).format_version
        card = ModelCard.from_json(values) if version in FORMAT_VERSIONS else None
    except (StoredError, GeosegError) as error:
        raise ModelFileError(
            f"the card of {path} is malformed ({error}): expected a model written by "
            "geoseg train"
        ) from error
    if card is None:
        raise ModelFileError(
            f"{path} has format version {version}, this geoseg reads "
            f"{' and '.join(map(str, FORMAT_VERSIONS))}: train again or use the geoseg that wrote it"
        )
    return card


@dataclass(frozen=True)
class Versioned:
    """Fields that the cards of all versions have."""

    format_version: int
