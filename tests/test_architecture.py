"""Modules import downwards only, in the order that ARCHITECTURE.md writes down."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = "outsourcing_classifier"
ROOT = Path(__file__).parents[1]
NATIVE = {"_native"}  # compiled from C, where there was a compiler; imports nothing of ours
MODULES = {p.stem: p for p in (ROOT / PACKAGE).glob("*.py")}


def written_order() -> list[str]:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```import-order\n(.*?)```", text, re.DOTALL)
    return [line.split("#")[0].strip() for line in block.splitlines() if line.split("#")[0].strip()]


def imports(source: str) -> set[str]:
    """The modules of ours that a source imports anywhere: in functions and for type checking, too."""
    out: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                names = [f"{PACKAGE}.{node.module}" if node.module else f"{PACKAGE}.{a.name}" for a in node.names]
            elif node.module == PACKAGE:
                names = [f"{PACKAGE}.{a.name}" if a.name in {*MODULES, *NATIVE} else PACKAGE for a in node.names]
            else:
                names = [node.module or ""]
        else:
            continue
        for name in names:
            package, _, module = name.partition(".")
            if package == PACKAGE:
                out.add(module.partition(".")[0] or "__init__")
    return out - NATIVE


GRAPH = {name: imports(path.read_text(encoding="utf-8")) for name, path in MODULES.items()}


def test_every_module_stands_in_the_order_once() -> None:
    order = written_order()
    assert sorted(order) == sorted(MODULES)


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_go_downwards(module: str) -> None:
    order = written_order()
    below = set(order[: order.index(module)])
    assert GRAPH[module] <= below, f"{module} imports {sorted(GRAPH[module] - below)}, which stand above it"


def test_no_circles() -> None:
    try:
        TopologicalSorter(GRAPH).prepare()
    except CycleError as error:
        pytest.fail(f"circle: {error.args[1]}")


def test_result_types_import_nothing_of_ours() -> None:
    for name in ("version", "results", "text", "model", "output"):
        assert GRAPH[name] == set(), name


def test_the_room_list_names_every_module() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    rooms = set(re.findall(r"^\| `(\w+)\.py` \|", text, re.MULTILINE))
    assert rooms == set(MODULES)


def test_the_parser_sees_every_way_to_import() -> None:
    source = f"""
import os, {PACKAGE}.a
import {PACKAGE}.b.c as d
from {PACKAGE} import __version__
from . import e
from .f import g
from {PACKAGE}.h import i
if TYPE_CHECKING:
    from {PACKAGE}.j import k
def function():
    from {PACKAGE}.l import m
    class C:
        import {PACKAGE}.n
from elsewhere.{PACKAGE} import x
"""
    assert imports(source) == {"a", "b", "__init__", "e", "f", "h", "j", "l", "n"}


HEAVY = ("pandas", "polars", "numpy", "scipy", "sklearn", "joblib", "pyarrow", "matplotlib")


@pytest.mark.parametrize(
    "statement",
    [
        f"import {PACKAGE}",
        f"import {PACKAGE} as o; o.classify('payroll processing'); str(o.explain('market research'))",
        f"import {PACKAGE}.cli",
    ],
)
def test_a_fresh_interpreter_loads_nothing_heavy(statement: str) -> None:
    code = f"""
{statement}
import sys
print(*sorted({{name.partition(".")[0] for name in sys.modules}} & set({HEAVY!r})))
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_importing_reads_no_rules() -> None:
    code = f"""
import sys
opened = []
sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" else None)
import {PACKAGE}, {PACKAGE}.cli
print(*[name for name in opened if name.endswith((".toml", ".bin"))])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
