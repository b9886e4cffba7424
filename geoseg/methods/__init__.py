"""Table of methods. A new one needs its module, its test, a line here, its docs page."""

import ast
import importlib
import inspect
import math
import re
from collections.abc import Mapping
from functools import cache
from importlib.abc import InspectLoader
from importlib.util import find_spec
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from geoseg.core.errors import ParameterError
from geoseg.core.words import did_you_mean, no_such

if TYPE_CHECKING:
    from geoseg.methods.bases.method import Method  # imports torch, so only for types

#: Parameters of a trunk; a run that starts from a model takes these from it.
TRUNK_PARAMETERS = ("trunk", "width", "sobel")
#: Learns without labels; learns from labels; or is a simple baseline.
Family = Literal["unsupervised", "reference", "control"]


class MethodEntry(NamedTuple):
    """Description of a method, known without importing it.

    Attributes:
        module: Its module in this package, such as ``unsupervised.iic``.
        classname: Name of its class there.
        summary: One line for ``geoseg methods``.
        family: ``unsupervised``; ``reference``, which learns from the labels of the
            matching tiles; or ``control``.
    """

    module: str
    classname: str
    summary: str
    family: Family = "unsupervised"


METHODS: dict[str, MethodEntry] = {
    "iic": MethodEntry(
        "unsupervised.iic", "IIC", "invariant information clustering (Ji et al. 2019)"
    ),
    "picie": MethodEntry(
        "unsupervised.picie",
        "PiCIE",
        "invariance and equivariance in clustering (Cho et al. 2021)",
    ),
    "mdc": MethodEntry(
        "unsupervised.mdc",
        "MDC",
        "modified DeepCluster, learns in one view (Cho et al. 2021)",
    ),
    "patches": MethodEntry(
        "unsupervised.patches",
        "Patches",
        "k-means of whitened patches (Coates et al. 2011)",
    ),
    "supervised": MethodEntry(
        "references.supervised",
        "Supervised",
        "cross-entropy from random weights",
        "reference",
    ),
    "finetune": MethodEntry(
        "references.supervised",
        "FineTuned",
        "cross-entropy from a trained model",
        "reference",
    ),
    "probe": MethodEntry(
        "references.probe",
        "Probe",
        "linear or nearest-neighbour probe of a model",
        "reference",
    ),
    "semisup": MethodEntry(
        "references.semisup",
        "SemiSupervised",
        "cross-entropy and IIC's loss together",
        "reference",
    ),
    "majority": MethodEntry(
        "controls.majority",
        "Majority",
        "the commonest class, learns from labels",
        "control",
    ),
    "threshold": MethodEntry(
        "controls.threshold",
        "Threshold",
        "Otsu's of brightness and of vegetation",
        "control",
    ),
    "forest": MethodEntry(
        "controls.forest",
        "Forest",
        "random forest of pixel features, learns from labels",
        "control",
    ),
    "color_kmeans": MethodEntry(
        "controls.color_kmeans", "ColorKMeans", "k-means of pixel values", "control"
    ),
    "random_trunk": MethodEntry(
        "controls.random_trunk",
        "RandomTrunk",
        "k-means of an untrained network",
        "control",
    ),
}


def method_entry(name: str) -> MethodEntry:
    """Return the entry of a method in :data:`METHODS` without importing its module.

    Raises:
        ParameterError: If there is no such method.
    """
    if name not in METHODS:
        raise ParameterError(no_such("method", name, METHODS))
    return METHODS[name]


def method_class(name: str) -> "type[Method]":
    """Return the class of a method by its name in :data:`METHODS`.

    Raises:
        ParameterError: If there is no such method.
    """
    entry = method_entry(name)
    module = importlib.import_module(f"geoseg.methods.{entry.module}")
    method: type[Method] = getattr(module, entry.classname)
    return method


def method_defaults(name: str) -> dict[str, Any]:
    """Return the parameters of a method with their defaults, without importing torch.

    Raises:
        ParameterError: If there is no such method.
    """
    entry = method_entry(name)
    return dict(_keywords(entry.module, entry.classname))


@cache
def _keywords(module: str, classname: str) -> Mapping[str, Any]:
    """Read the keywords of a constructor, with their defaults, from its source.

    Importing the module would load torch, which takes seconds, and a mistyped parameter
    should be reported before. A class without a constructor has that of its base class in
    the same module.
    """
    spec = find_spec(f"geoseg.methods.{module}")
    assert spec is not None and isinstance(spec.loader, InspectLoader)
    body = ast.parse(spec.loader.get_source(spec.name) or "").body
    classes = {node.name: node for node in body if isinstance(node, ast.ClassDef)}
    own = classes[classname]
    for node in own.body:
        if isinstance(node, ast.FunctionDef) and node.name == "__init__":
            pairs = zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
            return MappingProxyType(
                {key.arg: ast.literal_eval(value) for key, value in pairs if value}
            )
    (base,) = (b.id for b in own.bases if isinstance(b, ast.Name) and b.id in classes)
    return _keywords(module, base)


def method_help(name: str) -> dict[str, str]:
    """Return the help text of each parameter of a method, from its docstring.

    The text of a parameter with fixed choices ends in these.
    """
    method = method_class(name)
    documented = _documented(inspect.getdoc(method) or "")
    texts = {}
    for key in method_defaults(name):
        words = method.choices.get(key, ())
        texts[key] = documented[key] + (f" [{'|'.join(words)}]" if words else "")
    return texts


def _documented(docstring: str) -> dict[str, str]:
    """Return the ``Args`` of a Google docstring: name → text on one line, no markup."""
    _, _, rest = docstring.partition("\nArgs:\n")
    texts: dict[str, str] = {}
    for line in rest.splitlines():
        if line and not line.startswith("    "):
            break  # the next section
        begins = re.match(r"    (\w+): (.*)", line)
        if begins:
            texts[begins[1]] = begins[2]
        elif line and texts:
            texts[list(texts)[-1]] += " " + line.strip()
    return {name: text.replace("``", "") for name, text in texts.items()}


def build_method(
    name: str,
    in_channels: int,
    parameters: Mapping[str, Any] | None = None,
    *,
    seed: int = 0,
) -> "Method":
    """Build a method with weights drawn from a seed; torch's random state is unchanged.

    Args:
        name: One of :data:`METHODS`.
        in_channels: Number of channels of the normalised image.
        parameters: Values for the constructor, checked against its defaults.
        seed: Seed of the initial weights.

    Raises:
        ParameterError: If a name is unknown or a value has another type than its
            default.
    """
    import torch

    given = dict(parameters or {})
    checked = check_parameters(name, given)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return method_class(name)(in_channels, **checked)


def check_parameters(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the given parameters in the types of their defaults.

    Raises:
        ParameterError: If a name is unknown or a value does not fit.
    """
    defaults = method_defaults(name)
    checked = {}
    for key, value in given.items():
        if key not in defaults:
            known = ", ".join(f"{k}={v!r}" for k, v in defaults.items())
            raise ParameterError(
                f"method {name} has no parameter {key!r}{did_you_mean(key, defaults)}; "
                f"it has {known}"
            )
        checked[key] = _fit_type(f"{name} parameter {key}", value, defaults[key])
    return checked


def _fit_type(label: str, value: Any, default: Any) -> Any:
    """Return a value in the type of its default; parses text, never truncates floats."""
    wanted = type(default)
    if wanted is bool:
        words = {"true": True, "false": False, "1": True, "0": False}
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value.lower() in words:
            return words[value.lower()]
    elif wanted is int and not isinstance(value, (bool, float)):
        try:
            return int(value)
        except (TypeError, ValueError):
            pass
    elif wanted is float and not isinstance(value, bool):
        try:
            if math.isfinite(float(value)):
                return float(value)
        except (TypeError, ValueError, OverflowError):
            pass
    elif wanted is str and isinstance(value, str):
        return value
    raise ParameterError(
        f"{label} is {value!r}, expected {wanted.__name__} such as {default!r}"
    )
