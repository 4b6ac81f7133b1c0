"""docs/architecture.md says what is: drawing, names, ways; and what entry points import.

That no package imports one above it is held by import-linter (`make lint`), by the same layers.
"""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest

_ROOT: Final = Path(__file__).resolve().parents[1]
_PACKAGE: Final = _ROOT / "callkeeper_assets"
_PAGE: Final = _ROOT / "docs" / "architecture.md"
# Sources of users.
_OF_USERS: Final = "defs"

_BOX: Final = re.compile(r"^│ (\w+) {2,}(\S.*?) +│$", re.MULTILINE)
_DOTTED: Final = re.compile(r"`([a-z_]\w*(?:\.\w+)+)`")
_RECORD: Final = re.compile(r"\*\*`([\w.]+)`\*\*")
# A class of which only the name is said, or a private function.
_SHORT: Final = re.compile(r"`([A-Z][a-z]\w+|_\w+)`")
_SECTION: Final = re.MULTILINE | re.DOTALL
_LIST: Final = re.compile(r"(?:^\d+\. .*\n(?: +.*\n)*)+", re.MULTILINE)
_ITEM: Final = re.compile(r"^\d+\. (.*\n(?: +.*\n)*)", re.MULTILINE)

_ARROW_AND_DUCKDB: Final = frozenset({"duckdb", "pyarrow", "pandas", "adbc_driver_manager"})
_DRIVERS: Final = frozenset({"psycopg", "psycopg2"})
_HEAVY: Final = _ARROW_AND_DUCKDB | _DRIVERS | {"dagster", "requests", "sqlalchemy"}
# By module: what it must not import, each of which costs 0.1 to 2 s.
_LIGHT: Final[Mapping[str, frozenset[str]]] = {
    # At whatever is typed.
    "callkeeper_assets.cli.main": _HEAVY | {"pydantic", "rich"},
    # Beside each worker that a command starts.
    "callkeeper_assets.cli.loading": _HEAVY,
    # Dagster's processes import it, and each code server.
    "callkeeper_assets.definitions": _ARROW_AND_DUCKDB | {"psycopg", "requests"},
    # Each 20 MB more are the receiver's for as long as it runs.
    "callkeeper_assets.webhooks.server": _ARROW_AND_DUCKDB | {"dagster", "sqlalchemy"},
    # It lives beside the daemon, for ever; Dagster's code alone would be half as much again.
    "callkeeper_assets.alerts.watching": _ARROW_AND_DUCKDB | {"dagster", "sqlalchemy", "apprise"},
    # Within what must tell when the others do not, beside them for as long as they run.
    "callkeeper_assets.monitoring.server": _ARROW_AND_DUCKDB | {"dagster", "sqlalchemy"},
    "callkeeper_assets.supervision": _HEAVY,
    # What commands need to know of sources, tables and days before they do anything.
    "callkeeper_assets.config.loading": _HEAVY,
    "callkeeper_assets.postgres.url": _HEAVY,
    "callkeeper_assets.reports.definition": _HEAVY,
    "callkeeper_assets.warehouse.call_sql": _HEAVY,
    "callkeeper_assets.warehouse.guard": _HEAVY,
    "callkeeper_assets.warehouse.records": _HEAVY,
    "callkeeper_assets.warehouse.tables": _HEAVY,
    "callkeeper_assets.warehouse.queries": _ARROW_AND_DUCKDB | {"dagster", "sqlalchemy"},
}


@pytest.mark.parametrize("module", _LIGHT)
def test_an_entry_imports_nothing_that_it_does_not_use(module: str) -> None:
    code = f"import sys, {module}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert sorted(_LIGHT[module] & set(done.stdout.split())) == []


@cache
def _layers() -> tuple[frozenset[str], ...]:
    """Return the contract's layers, the highest first."""
    settings = tomllib.loads((_ROOT / "pyproject.toml").read_text("utf-8"))
    contracts: list[dict[str, Any]] = settings["tool"]["importlinter"]["contracts"]
    (layers,) = [one["layers"] for one in contracts if one["type"] == "layers"]
    return tuple(frozenset(re.findall(r"\w+", layer)) for layer in layers)


def test_the_worker_sets_its_process_up_before_it_imports() -> None:
    """Imports are most of a short run; with the usual collector they take a third longer."""
    code = (
        "import gc, sys\n"
        "class Finder:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'dagster': print(gc.get_threshold()[0])\n"
        "sys.meta_path.insert(0, Finder())\n"
        "import callkeeper_assets.worker.__main__\n"
        "print(any(type(one).__name__ == '_NoPandas' for one in sys.meta_path))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["50000", "True"]


def test_the_drawing_has_the_layers_of_the_contract_and_every_package() -> None:
    (drawing,) = re.findall(r"^┌.*?^└", _PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    boxes = [frozenset(name for name, _ in _BOX.findall(box)) for box in drawing.split("├")]
    assert boxes == list(_layers())
    packages = {file.parent.name for file in _PACKAGE.glob("*/__init__.py")}
    modules = {file.stem for file in _PACKAGE.glob("*.py")}
    assert set().union(*boxes) == (packages | modules) - {_OF_USERS, "__init__"}


def _names_within(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """Yield what a module or a class defines by name."""
    for one in ast.iter_child_nodes(node):
        if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield one.name, one
        elif isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name):
            yield one.target.id, one
        elif isinstance(one, ast.Assign):
            yield from ((to.id, one) for to in one.targets if isinstance(to, ast.Name))


@cache
def _parse(file: Path) -> ast.Module:
    return ast.parse(file.read_text("utf-8"))


def _find(dotted: str) -> ast.AST | None:
    """Return the package, the module of one, or what is defined in it that has this name."""
    parts = dotted.split(".")
    place = _PACKAGE
    while parts and (place / parts[0]).is_dir():
        place /= parts.pop(0)
    file = place / (f"{parts.pop(0)}.py" if parts else "__init__.py")
    node: ast.AST | None = _parse(file) if file.is_file() else None
    for part in parts:
        node = dict(_names_within(node)).get(part) if node else None
    return node


def _exists(dotted: str) -> bool:
    return _find(dotted) is not None


def _names() -> list[str]:
    return _DOTTED.findall(_PAGE.read_text("utf-8"))


def _is_a_file(name: str) -> bool:
    return name.endswith((".yaml", ".toml", ".md", ".sql", ".py"))


def test_every_module_and_function_that_the_page_names_exists() -> None:
    names = [name for name in _names() if not _is_a_file(name)]
    assert len(names) > 50
    assert [name for name in names if not _exists(name)] == []


def test_every_record_that_the_page_names_is_a_class() -> None:
    records = _RECORD.findall(_PAGE.read_text("utf-8"))
    assert len(records) > 5
    assert [name for name in records if not isinstance(_find(name), ast.ClassDef)] == []


def test_what_the_page_names_shortly_it_names_in_full_as_well() -> None:
    text = _PAGE.read_text("utf-8")
    in_full = {part for name in _names() for part in name.split(".")}
    assert sorted(set(_SHORT.findall(text)) - in_full) == []


def test_every_module_that_a_docstring_or_a_comment_names_exists() -> None:
    tops = set().union(*_layers())
    wrong = [
        f"{file.relative_to(_ROOT)}: {name}"
        for file in sorted((*_PACKAGE.rglob("*.py"), *_PACKAGE.rglob("*.sql")))
        for name in _DOTTED.findall(file.read_text("utf-8"))
        if name.partition(".")[0] in tops and not _exists(name)
    ]
    assert wrong == []


@cache
def _heights() -> Mapping[str, int]:
    """Return by package its layer's place, from above."""
    return {name: place for place, layer in enumerate(_layers()) for name in layer}


def _list_places(item: str) -> list[int]:
    names = [name for name in _DOTTED.findall(item) if not _is_a_file(name)]
    return [_heights()[name.partition(".")[0]] for name in names]


def test_no_hop_of_a_way_leads_into_a_higher_layer() -> None:
    (text,) = re.findall(
        r"^## The way of a day$.*?(?=^## What)", _PAGE.read_text("utf-8"), _SECTION
    )
    ways = _LIST.findall(text)
    assert len(ways) > 8
    for way in ways:
        places = [_list_places(item)[0] for item in _ITEM.findall(way)]
        assert places == sorted(places), way


def test_what_is_handed_down_is_named_below_what_hands_it() -> None:
    (text,) = re.findall(r"^## What is handed down$.*?(?=^## )", _PAGE.read_text("utf-8"), _SECTION)
    bullets = re.findall(r"^- (.*\n(?: +.*\n)*)", text, re.MULTILINE)
    assert len(bullets) > 5
    for bullet in bullets:
        lower, *higher = _list_places(bullet)
        assert higher, bullet
        assert lower >= max(higher), bullet


def test_the_rules_find_what_they_forbid() -> None:
    assert _exists("raw.store.RawStore.write")
    assert _exists("callkeeper.bodies")
    assert isinstance(_find("raw.store.Day"), ast.ClassDef)
    assert not isinstance(_find("raw.store.store_days"), ast.ClassDef)
    assert not _exists("raw.store.RawStore.no_such")
    assert not _exists("calls.no_such.write")
    assert not _exists("no_such.store")
