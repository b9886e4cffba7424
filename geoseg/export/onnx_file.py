"""Write a model as an ONNX file and check it against the model."""

import io
import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import geoseg
from geoseg.core.errors import ExportError
from geoseg.export.checking import check_graph
from geoseg.export.deepness import deepness_metadata
from geoseg.export.pixel_graph import INPUT, OUTPUT, PixelGraph, nodata_value
from geoseg.model.file import Model

#: ONNX operator set of onnxruntime 1.17, the version in Deepness.
OPSET = 17
#: Largest size of an ONNX file: one protobuf message.
_MOST_BYTES = 2**31 - 2**20
# Height and width of the traced image. It is small, because tracing costs time and
# memory per pixel; not a multiple of any trunk's divisor, so that the padding is
# traced; and larger than the longest padding.
_TRACED = (97, 75)
#: Sizes for checking a graph of any size, smaller and larger than the traced one.
_FREE_SIZES = (_TRACED, (33, 150), (128, 128))


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """Inputs that a graph accepts.

    Attributes:
        tile_size: Side of its images, and of Deepness' tiles, in pixels.
        overlap: Of Deepness' tiles, in percent of their side.
        any_size: Accept images of any height and width; Deepness does not support it.
        nodata: Value of pixels without data, ``none``, or ``auto`` for the rule on the
            model's card. A card's ``auto``, the value that an image's file declares,
            means none here.
    """

    tile_size: int = 512
    overlap: int = 15
    any_size: bool = False
    nodata: str = "auto"


def write_onnx(
    path: Path, model: Model, options: ExportOptions, *, sha256: str
) -> None:
    """Write a graph that computes the class probabilities of a model's head.

    The legacy exporter traces the model. Compared with torch's newer one (measured with
    2.15) it takes 0.2 instead of 30 seconds, writes an operator set and file version
    (17 and 8, not 18 and 10) that the onnxruntime of Deepness reads, needs no further
    package, and supports padding of unknown sizes. :func:`check_onnx` finds the errors
    that tracing may make.

    Args:
        path: The output.
        model: A matched model on the CPU.
        options: Inputs that the graph accepts.
        sha256: Of the model file, for the metadata.

    Raises:
        MatchingError: If the head has no classes yet.
        ParameterError: If the nodata rule is unknown.
        ExportError: If the model cannot be exported.
    """
    import onnx  # an optional dependency

    proto = onnx.load_from_string(_traced(model, options))
    proto.producer_name, proto.producer_version = "geoseg", geoseg.__version__
    proto.graph.name = f"geoseg {model.card.method}"
    proto.doc_string = (
        f"Probabilities of {', '.join(model.card.class_names)} from bands "
        f"{', '.join(model.card.normalization.bands)}, whose values are divided by 255."
    )
    _name_sizes(proto.graph, model, options)
    deepness = deepness_metadata(
        model.card, tile_size=options.tile_size, overlap=options.overlap
    )
    card = json.dumps(model.card.to_json(), sort_keys=True, allow_nan=False)
    own = {
        "geoseg_bands": json.dumps(list(model.card.normalization.bands)),
        "geoseg_card": card,
        "geoseg_model_sha256": json.dumps(sha256),
        "geoseg_nodata": json.dumps(_nodata(model, options)),
    }
    onnx.helper.set_model_props(proto, {**deepness, **own})
    path.write_bytes(proto.SerializeToString(deterministic=True))


def check_onnx(path: Path, model: Model, options: ExportOptions) -> float:
    """Compare a written graph with its model by :func:`check_graph`."""
    side = options.tile_size
    sizes = _FREE_SIZES if options.any_size else ((side, side),)
    return check_graph(path, model, sizes, nodata=_nodata(model, options))


def _name_sizes(graph: Any, model: Model, options: ExportOptions) -> None:
    """Store the input and output shapes: Deepness needs a square input."""
    free = ("height", "width")
    sides = free if options.any_size else (options.tile_size,) * 2
    counts = (model.card.normalization.channels, len(model.card.class_names))
    for value, count in zip((*graph.input, *graph.output), counts, strict=True):
        dimensions = value.type.tensor_type.shape.dim
        for dimension, size in zip(dimensions, ("batch", count, *sides), strict=True):
            name = "dim_param" if isinstance(size, str) else "dim_value"
            setattr(dimension, name, size)


def _hypot(graph: Any, first: Any, second: Any) -> Any:
    """Add a hypotenuse to a graph: ONNX has no operator for it."""
    squares = (graph.op("Mul", side, side) for side in (first, second))
    return graph.op("Sqrt", graph.op("Add", *squares))


def _nodata(model: Model, options: ExportOptions) -> float | None:
    rule = options.nodata
    return nodata_value(model.card.nodata if rule == "auto" else rule)


def _traced(model: Model, options: ExportOptions) -> bytes:
    """Return the bytes of the exporter's graph.

    Raises:
        ExportError: If the exporter fails, or the weights are too large.
    """
    weights = sum(tensor.nbytes for tensor in model.method.state_dict().values())
    if weights > _MOST_BYTES:
        raise ExportError(
            f"the model has {weights / 2**30:.1f} GiB of weights, an ONNX file holds 2: "
            "train a narrower one"
        )
    module = PixelGraph(model, nodata=_nodata(model, options)).eval()
    image = torch.zeros((1, model.card.normalization.channels, *_TRACED))
    free = {0: "batch", 2: "height", 3: "width"}
    content = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        # on branches by shape and on the exporter's age: check_onnx finds real faults
        warnings.simplefilter("ignore")
        torch.onnx.register_custom_op_symbolic(  # type: ignore[attr-defined]
            "aten::hypot", _hypot, OPSET
        )
        try:
            torch.onnx.export(
                module,
                (image,),
                content,  # type: ignore[arg-type]  # the legacy exporter accepts it
                dynamo=False,
                opset_version=OPSET,
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_axes={INPUT: free, OUTPUT: free},
            )
        except (RuntimeError, torch.onnx.errors.OnnxExporterError) as error:
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise ExportError(
                f"method {model.card.method} cannot be exported to a graph ({reason}): "
                "export a model of another method"
            ) from error
    return content.getvalue()
