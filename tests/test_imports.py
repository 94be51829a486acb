"""An import only ever points downwards through the rooms, in the order of the table in README.md."""

import ast
import graphlib
import itertools
import pathlib
import re

from program import ROOT

PACKAGE = "archrepair_jax"


def table() -> list[str]:
    """The rooms in that order, from the top, as ``cli/`` and ``errors.py``."""
    rows = (ROOT / "README.md").read_text("utf-8").split("| room | what lives there |")[1].split("\n\n")[0]
    return [room for row in re.findall(r"^\| (`.*?) \|", rows, re.M) for room in re.findall(r"`(.+?)`", row)]


def modules() -> dict[str, pathlib.Path]:
    """Every module's file by its name; a package goes by its own."""
    files = {file.relative_to(ROOT).with_suffix(""): file for file in (ROOT / PACKAGE).rglob("*.py")}
    return {".".join(path.parts).removesuffix(".__init__"): file for path, file in files.items()}


def imports(file: pathlib.Path) -> set[str]:
    """The names of ours that a file imports, those for type checkers and inside functions too."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}, line {node.lineno}: write the import in full"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in names if name.split(".")[0] == PACKAGE}


def graph() -> dict[str, set[str]]:
    """For each module the modules that it imports; a name that is no module lies in the one it is imported from.

    The package itself counts as none: it is there before all of them, and holds the version.
    """
    known = modules()
    return {
        module: {name if name in known else name.rpartition(".")[0] for name in imports(file)} - {PACKAGE}
        for module, file in known.items()
    }


def room(module: str) -> str:
    return [*module.split("."), "the package itself"][1]


def test_the_table_names_every_room():
    entries = [path for path in (ROOT / PACKAGE).iterdir() if path.name not in ("__init__.py", "__pycache__")]
    rooms = {f"{path.name}/" for path in entries if any(path.rglob("*.py"))}
    assert sorted(table()) == sorted(rooms | {path.name for path in entries if path.suffix == ".py"})


def test_imports_point_downwards():
    order = {re.sub(r"/|\.py", "", name): place for place, name in enumerate(table(), 1)} | {"the package itself": 0}
    upwards = [
        f"{module} imports {other}"
        for module, others in graph().items()
        for other in others
        if order[room(other)] < order[room(module)]
    ]
    assert not upwards


def test_nobody_asks_what_kind_of_block_one_is():
    """A block is what its methods say, so that a new kind of one fits in anywhere."""
    asking = re.compile(r"isinstance\(.*Block")
    assert [name for name, file in modules().items() if asking.search(file.read_text("utf-8"))] == []


def test_no_modules_import_each_other():
    order = list(graphlib.TopologicalSorter(graph()).static_order())  # raises CycleError, with the cycle
    assert {f"{PACKAGE}.errors", f"{PACKAGE}.main"} <= set(order)


def test_the_reading_of_imports_misses_none(tmp_path):
    places = ("{}", "def f():\n    {}", "if TYPE_CHECKING:\n    {}", "try:\n    {}\nfinally:\n    pass")
    kinds = ("from archrepair_jax.data import order", "import archrepair_jax.data.order")
    for place, statement in itertools.product(places, kinds):
        (tmp_path / "module.py").write_text(place.format(statement))
        assert imports(tmp_path / "module.py") == {"archrepair_jax.data.order"}
