"""The directions of design: cli → report → geo → core, and nothing points up."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import geoseg

ROOT = Path(geoseg.__file__).parent
EARTH = {"rasterio", "torchgeo", "geopandas", "shapely", "fiona", "pyproj", "pandas"}
LAYERS = {"core": 0, "errors": 0, "patches": 1, "methods": 3, "training": 4, "geo": 6}
LAYERS |= {
    "model": 5,
    "exporting": 6,
    "settings": 7,
    "run_tiles": 7,
    "run_roles": 7,
    "seen_tiles": 7,
    "report": 7,
    "pictures": 8,
    "scoring": 8,
}
LAYERS |= {
    "controls": 8,
    "fitting": 8,
    "finished": 8,
    "resuming": 8,
    "checks": 8,
    "class_table": 7,
    "presets": 4,
    "starting": 8,
    "reporting": 8,
    "run_matching": 8,
    "run_plan": 8,
    "run_result": 8,
    "refitting": 8,
    "restarts": 8,
    "runs": 9,
    "demo": 10,
    "info": 10,
    "benchmarking": 10,
    "cli": 11,
    "__main__": 12,
}


def layer(module: str) -> int:
    return LAYERS.get(module.split(".")[1], 2) if "." in module else 0


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = sorted(ROOT.rglob("*.py"))


@pytest.mark.parametrize("path", SOURCES, ids=module_of)
def test_no_module_imports_one_of_a_higher_layer(path):
    own = module_of(path)
    above = {
        name
        for name in imports(path)
        if name.startswith("geoseg.") and layer(name) > layer(own)
    }
    assert not above


@pytest.mark.parametrize("path", SOURCES, ids=module_of)
def test_only_geo_imports_geodata_libraries(path):
    if module_of(path).startswith("geoseg.geo"):
        return
    assert not {name.split(".")[0] for name in imports(path)} & EARTH


@pytest.mark.parametrize("path", SOURCES, ids=module_of)
def test_torchgeo_lightning_and_smp_each_have_their_home(path):
    homes = {
        "torchgeo": {"geoseg.geo.patches.dataset"},
        "lightning": {"geoseg.training"},
        "segmentation_models_pytorch": {"geoseg.methods.networks.smp"},
    }
    for name in imports(path):
        home = homes.get(name.split(".")[0])
        own = module_of(path)
        assert home is None or own in home or own.rpartition(".")[0] in home


def test_methods_do_not_import_one_another():
    for path in (ROOT / "methods").glob("*.py"):
        siblings = {
            name
            for name in imports(path)
            if name.startswith("geoseg.methods.")
            and not name.startswith("geoseg.methods.bases.method")
        }
        assert not siblings, path.name


def test_predicting_with_the_vgg_trunk_imports_nothing_heavy_it_does_not_need():
    code = (
        "import sys, geoseg.model.file, geoseg.geo.predict.predictor, geoseg.geo.formats.writer, "
        "geoseg.geo.footprints.vectorize, geoseg.methods.unsupervised.iic, geoseg.cli.predict\n"
        "geoseg.methods.build_method('iic', 3)\n"
        "heavy = {'lightning', 'torchmetrics', 'torchvision', 'torchgeo', 'pandas', "
        "'geopandas', 'segmentation_models_pytorch', 'matplotlib'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_help_imports_no_torch():
    code = (
        "import sys\n"
        "from geoseg.cli import cli\n"
        "cli.main(['--help'], standalone_mode=False)\n"
        "assert not {'torch', 'rasterio', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
