"""Write a model as an ONNX file, and see that it does what the model does."""

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

#: Operators that onnxruntime 1.17 knows, which Deepness brings along.
OPSET = 17
#: An ONNX file is one protobuf message, of less than this.
_MOST_BYTES = 2**31 - 2**20
# Of the image that is traced, whatever size the graph takes: a small one, for a trace
# costs time and memory by the pixel. No multiple of any trunk's divisor, so that the
# padding to one is in the trace; larger than what padding by repetition could reach.
_TRACED = (97, 75)
#: Sizes that a graph of any size is compared at, smaller and larger than the traced one.
_FREE_SIZES = (_TRACED, (33, 150), (128, 128))


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """What a graph takes.

    Attributes:
        tile_size: Side of its images in pixels, and that of Deepness' tiles.
        overlap: Of Deepness' tiles, in percent of their side.
        any_size: Take images of any height and width instead; Deepness does not.
        nodata: Value of pixels without data, ``none``, or ``auto`` for what the model's
            card says (there, ``auto`` is what an image's file declares: none here).
    """

    tile_size: int = 512
    overlap: int = 15
    any_size: bool = False
    nodata: str = "auto"


def write_onnx(
    path: Path, model: Model, options: ExportOptions, *, sha256: str
) -> None:
    """Write the class probabilities of a model's head as a graph.

    The legacy exporter traces the model. Beside torch's newer one (2.15, measured) it
    takes 0.2 instead of 30 seconds, writes operators and a file version (17 and 8) that
    the onnxruntime of Deepness reads, where the newer writes 18 and 10, needs no further
    package, and follows padding of sizes that are not known. What tracing could get
    wrong, :func:`check_onnx` finds.

    Args:
        path: Where to.
        model: A matched model on the CPU.
        options: What the graph takes.
        sha256: Of the model's file, for the metadata.

    Raises:
        MatchingError: If the head has no classes yet.
        ParameterError: If the nodata rule is unknown.
        ExportError: If the graph cannot be made.
    """
    import onnx  # an extra

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
    """Compare a written graph with its model, as :func:`check_graph` does."""
    side = options.tile_size
    sizes = _FREE_SIZES if options.any_size else ((side, side),)
    return check_graph(path, model, sizes, nodata=_nodata(model, options))


def _name_sizes(graph: Any, model: Model, options: ExportOptions) -> None:
    """Say which shapes go in and come out: Deepness refuses what does not look square."""
    free = ("height", "width")
    sides = free if options.any_size else (options.tile_size,) * 2
    counts = (model.card.normalization.channels, len(model.card.class_names))
    for value, count in zip((*graph.input, *graph.output), counts, strict=True):
        dimensions = value.type.tensor_type.shape.dim
        for dimension, size in zip(dimensions, ("batch", count, *sides), strict=True):
            name = "dim_param" if isinstance(size, str) else "dim_value"
            setattr(dimension, name, size)


def _hypot(graph: Any, first: Any, second: Any) -> Any:
    """Write a hypotenuse, which ONNX has no operator for."""
    squares = (graph.op("Mul", it, it) for it in (first, second))
    return graph.op("Sqrt", graph.op("Add", *squares))


def _nodata(model: Model, options: ExportOptions) -> float | None:
    rule = options.nodata
    return nodata_value(model.card.nodata if rule == "auto" else rule)


def _traced(model: Model, options: ExportOptions) -> bytes:
    """Return a graph as the exporter writes it.

    Raises:
        ExportError: If the exporter fails, or the weights are too many.
    """
    weights = sum(it.nbytes for it in model.method.state_dict().values())
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
        # of choices by shape, of the exporter's age: the check settles what matters
        warnings.simplefilter("ignore")
        torch.onnx.register_custom_op_symbolic(  # type: ignore[attr-defined]
            "aten::hypot", _hypot, OPSET
        )
        try:
            torch.onnx.export(
                module,
                (image,),
                content,  # type: ignore[arg-type]  # the legacy exporter takes it
                dynamo=False,
                opset_version=OPSET,
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_axes={INPUT: free, OUTPUT: free},
            )
        except (RuntimeError, torch.onnx.errors.OnnxExporterError) as error:
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise ExportError(
                f"method {model.card.method} cannot be traced into a graph ({reason}): "
                "export a model of another method"
            ) from error
    return content.getvalue()
