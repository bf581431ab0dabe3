"""What the linters cannot say: sizes, module state, names, documentation."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "penstock"
MODULES = sorted(SOURCE.rglob("*.py"))
BANNED = {"utils", "util", "helpers", "common", "misc", "base", "manager"}
CONTAINERS = {
    "dict",
    "list",
    "set",
    "defaultdict",
    "deque",
    "OrderedDict",
    "Counter",
    "WeakKeyDictionary",
}

TESTS = sorted((Path(__file__).parents[1]).rglob("test_*.py"))

each_module = pytest.mark.parametrize("module", MODULES, ids=lambda p: str(p.relative_to(SOURCE)))


@each_module
def test_module_has_a_docstring(module: Path) -> None:
    """A newcomer reads a module's purpose first."""
    assert ast.get_docstring(ast.parse(module.read_text("utf-8")))


@each_module
def test_module_is_short(module: Path) -> None:
    """A module above 500 lines is doing more than one thing."""
    assert len(module.read_text("utf-8").splitlines()) <= 500


@each_module
def test_module_name_says_something(module: Path) -> None:
    """A drawer for everything fills up with everything."""
    assert module.stem not in BANNED


@each_module
def test_no_mutable_module_state(module: Path) -> None:
    """State in a module outlives tests, tenants and restarts."""
    tree = ast.parse(module.read_text("utf-8"))
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign):
            value = node.value
            empty = isinstance(value, ast.Dict | ast.List | ast.Set) and not ast.unparse(
                value
            ).strip("{}[] ")
            called = (
                isinstance(value, ast.Call)
                and isinstance(value.func, ast.Name)
                and value.func.id in CONTAINERS
                and not value.args
            )
            assert not empty and not called, ast.unparse(node)
    assert not [n for n in ast.walk(tree) if isinstance(n, ast.Global)]


def test_queries_are_all_used() -> None:
    """A query that nobody runs is not maintained."""
    folder = SOURCE / "storage" / "sqlite"
    code = "\n".join(path.read_text("utf-8") for path in folder.glob("*.py"))
    for file in folder.glob("*.sql"):
        for line in file.read_text("utf-8").splitlines():
            if line.startswith("-- name: "):
                assert f'"{line[9:].strip()}"' in code, f"{file.name}: {line}"


@pytest.mark.parametrize("file", TESTS, ids=lambda path: path.name)
def test_each_test_says_why_it_exists(file: Path) -> None:
    """A test whose reason is not known is never removed, and never trusted."""
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name[:5] == "test_":
            assert ast.get_docstring(node), node.name
