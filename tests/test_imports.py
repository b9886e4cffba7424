"""The house: every file lies in a room, and rooms import those below them alone."""

import ast
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import geoseg

ROOT = Path(geoseg.__file__).parent
EARTH = {"rasterio", "torchgeo", "geopandas", "shapely", "fiona", "pyproj", "pandas"}
#: Room → the rooms that it may import.
ROOMS = {
    "core": set(),
    "scores": {"core"},
    "methods": {"core"},
    "model": {"core", "scores", "methods"},
    "training": {"core", "methods"},
    "geo": {"core", "scores", "model"},
    "export": {"core", "model"},
    "report": {"core", "scores", "model"},
}
ROOMS["runs"] = {*ROOMS}
ROOMS["info"] = ROOMS["leaderboard"] = {*ROOMS}
ROOMS["cli"] = {*ROOMS, "api"}
#: Rooms within ``geo`` → their floor. Each may import those of lower floors.
GEO_FLOORS = {
    **dict.fromkeys(("coordinates", "sample", "sources"), 0),
    "rasters": 1,
    **dict.fromkeys(("footprints", "tiles"), 2),
    **dict.fromkeys(("formats", "labels", "predict"), 3),
    **dict.fromkeys(("evaluation", "patches", "styles"), 4),
    "maps": 5,
}
#: Files beside rooms, and those that they may import.
LOOSE = {"": {"api"}, "api": {*ROOMS} - {"cli"}, "__main__": {"cli"}}
#: Former places of what is promised, for a version.
FORMER = {"geoseg.geo.mapping"}
#: Folders within rooms, to divide what would be too much in one.
FOLDERS = {
    *(f"geo/{room}" for room in GEO_FLOORS),
    *("geo/footprints/right_angles", "geo/footprints/splitting"),
    *(f"methods/{name}" for name in ("bases", "clustering", "losses", "networks")),
    *(f"methods/{name}" for name in ("controls", "references", "unsupervised")),
    *("methods/views", "runs/reporting", "runs/tiles"),
}
MOST_FILES, MOST_LINES, MOST_LINES_OF_FUNCTION = 15, 400, 60
SHARED_LINES = 6


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def module_of(path: Path, root: Path = ROOT) -> str:
    parts = path.relative_to(root.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> set[str]:
    """Return the modules that a file imports, and names out of them, as written."""
    names = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def sources(root: Path = ROOT) -> list[Path]:
    return sorted(root.rglob("*.py"))


def room_of(module: str) -> str:
    return (module.split(".") + [""])[1]


def faults_of_the_house(root: Path) -> Iterator[str]:
    """Say what is wrong with the plan of a copy of the package."""
    modules = {module_of(path, root) for path in sources(root)}
    for path in sources(root):
        own = module_of(path, root)
        folder = path.parent.relative_to(root).as_posix()
        if room_of(own) not in {*ROOMS, *LOOSE}:
            yield f"{own} is in no room"
        elif folder == "geo" and path.stem != "__init__" and own not in FORMER:
            yield f"{own} lies loose in geo, expected one of its rooms"
        elif folder not in {".", *ROOMS, *FOLDERS}:
            yield f"{own} is in the folder {folder}, which no room has"
        for name in imports(path) & modules:
            if not _may_import(own, name):
                yield f"{own} imports {name}, which is not below it"
    for folder in {path.parent for path in sources(root)}:
        files = [path for path in folder.glob("*.py") if path.stem != "__init__"]
        if len(files) > MOST_FILES:
            yield f"{folder} has {len(files)} files, expected {MOST_FILES} at most"


def _may_import(own: str, other: str) -> bool:
    here, there = room_of(own), room_of(other)
    if here == there == "geo" and own not in FORMER:
        inside = [(name.split(".") + [""])[2] for name in (own, other)]
        floors = [GEO_FLOORS.get(room, -1) for room in inside]
        return inside[0] == inside[1] or floors[1] < floors[0]
    return here == there or not there or there in {**ROOMS, **LOOSE}.get(here, set())


def test_every_file_has_a_room_and_imports_those_below_alone():
    assert list(faults_of_the_house(ROOT)) == []


@pytest.mark.parametrize(
    ("file", "text", "fault"),
    [
        pytest.param("loose.py", "", "geoseg.loose is in no room", id="no-room"),
        pytest.param("attic/a.py", "", "geoseg.attic.a is in no room", id="new-room"),
        pytest.param(
            "geo/odds.py", "", "geo.odds lies loose in geo", id="loose-in-geo"
        ),
        pytest.param("geo/ends/a.py", "", "geo/ends, which no room has", id="geo-room"),
        pytest.param("core/a.py", "import geoseg.cli", "imports geoseg.cli", id="up"),
        pytest.param(
            "geo/rasters/a.py",
            "def f():\n    from geoseg.geo.maps import mapping",
            "geoseg.geo.rasters.a imports geoseg.geo.maps",
            id="up-in-geo-and-late",
        ),
        pytest.param(
            "info/a.py",
            "from geoseg.leaderboard import plan",
            "geoseg.info.a imports geoseg.leaderboard",
            id="beside",
        ),
    ],
)
def test_a_copy_with_a_fault_is_found_out(tmp_path, file, text, fault):
    root = tmp_path / "geoseg"
    shutil.copytree(ROOT, root, ignore=shutil.ignore_patterns("__pycache__"))
    path = root / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    assert fault in "\n".join(faults_of_the_house(root))


def test_a_folder_with_too_many_files_is_found_out(tmp_path):
    root = tmp_path / "geoseg"
    (root / "core").mkdir(parents=True)
    for number in range(MOST_FILES + 1):
        (root / "core" / f"a{number}.py").touch()
    assert "has 16 files" in "\n".join(faults_of_the_house(root))


def test_only_geo_imports_geodata_libraries():
    for path in sources():
        # the interface names the type of a table, and imports it for type checkers alone
        if room_of(module_of(path)) not in ("geo", "api"):
            libraries = {name.split(".")[0] for name in imports(path)}
            assert not libraries & EARTH, path


def test_torchgeo_lightning_and_smp_each_have_their_home():
    homes = {
        "torchgeo": {"geoseg.geo.patches.dataset"},
        "lightning": {"geoseg.training"},
        "segmentation_models_pytorch": {"geoseg.methods.networks.smp"},
    }
    for path in sources():
        own = module_of(path)
        for name in imports(path):
            home = homes.get(name.split(".")[0])
            assert home is None or {own, own.rpartition(".")[0]} & home, path


def test_methods_do_not_import_one_another():
    folders = {"unsupervised", "references", "controls"}
    entries = {f"geoseg.methods.{entry.module}" for entry in _methods().values()}
    for name in entries:
        path = ROOT.parent / f"{name.replace('.', '/')}.py"
        assert not imports(path) & (entries - {name}), path
        assert name.split(".")[2] in folders


def _methods():
    from geoseg.methods import METHODS

    return METHODS


def test_the_road_of_predict_is_read_in_one_module():
    """It names the stages and imports few modules: what a stage needs, it imports."""
    path = ROOT / "geo" / "maps" / "mapping.py"
    modules = {module_of(source) for source in sources()} - {"geoseg"}
    assert len(imports(path) & modules) <= 12


def test_no_module_hands_on_the_name_of_another():
    """Each name is imported from the module that owns it."""
    modules = {module_of(path): path for path in sources()}
    owned = {name: _own_names(tree_of(path)) for name, path in modules.items()}
    for name, path in modules.items():
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.ImportFrom) and node.module in modules:
                for alias in node.names:
                    module = f"{node.module}.{alias.name}" in modules
                    assert module or alias.name in owned[node.module], (
                        f"{name} imports {alias.name} from {node.module}, which only "
                        "imports it itself"
                    )


def _own_names(tree: ast.Module) -> set[str]:
    """Return what a module defines at its top, in whatever block."""
    names = set()
    bodies = [tree.body]
    while bodies:
        for node in bodies.pop():
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                names.add(node.name)
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                targets = getattr(node, "targets", None) or [node.target]
                parts = [part for target in targets for part in ast.walk(target)]
                names |= {part.id for part in parts if isinstance(part, ast.Name)}
            elif isinstance(node, ast.If | ast.Try):
                bodies += [node.body, node.orelse]
    return names


def test_modules_and_functions_are_short():
    for path in sources():
        lines = path.read_text().count("\n")
        assert lines <= MOST_LINES, f"{path.relative_to(ROOT)} has {lines} lines"
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.FunctionDef):
                assert (
                    _lines_of(node) <= MOST_LINES_OF_FUNCTION
                ), f"{node.name} in {path.relative_to(ROOT)} has {_lines_of(node)} lines"


def _lines_of(function: ast.FunctionDef) -> int:
    """Count the lines of a function, its docstring among them."""
    return (function.end_lineno or 0) - function.lineno + 1


def test_predicting_with_the_vgg_trunk_imports_nothing_heavy_it_does_not_need():
    code = (
        "import sys, geoseg.model.file, geoseg.geo.predict.predictor, "
        "geoseg.geo.formats.writer, geoseg.geo.footprints.vectorize, "
        "geoseg.methods.unsupervised.iic, geoseg.cli.predict\n"
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


def test_no_two_places_share_six_lines_of_statements():
    """Statements as ``ast`` writes them: no comments, imports, signatures, decorators."""
    places: dict[tuple[str, ...], str] = {}
    for path in sources():
        for name, lines in _statements(tree_of(path)):
            for start in range(len(lines) - SHARED_LINES + 1):
                six = tuple(lines[start : start + SHARED_LINES])
                place = f"{path.relative_to(ROOT)}, {name}, line {start + 1}"
                assert (
                    places.setdefault(six, place) == place
                ), f"{place} and {places[six]} share: " + "\n".join(six)


def _statements(tree: ast.Module) -> Iterator[tuple[str, list[str]]]:
    """Yield the lines of each body, without what is defined or imported within."""
    own = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef):
            docstring = ast.get_docstring(node) is not None
            body = [part for part in node.body[docstring:] if not isinstance(part, own)]
            lines = "\n".join(ast.unparse(part) for part in body).splitlines()
            name = f"{getattr(node, 'name', 'the module')} of line {getattr(node, 'lineno', 1)}"
            yield name, [line.strip() for line in lines]
