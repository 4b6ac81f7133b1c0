"""`make mutation`: plants faults one by one, runs the area's tests, counts those that fail.

A mutant is one fault in a copy of the code: of Python by cosmic-ray's operators, of SQL by the
pairs below. Places are drawn with a fixed seed, one fault each, so that two builds are compared by
the same number of mutants. Runs in a virtual environment that has cosmic-ray; the tests run in
the project's. A test that hangs counts as one that fails, and is listed apart.
"""

import argparse
import ast
import os
import random
import re
import shutil
import subprocess
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Final

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

_ROOT: Final = Path(__file__).resolve().parents[2]
_CODE: Final = "callkeeper_assets"
_TESTS: Final = "callkeeper_assets_tests"
# By area: what is mutated (`file.py::Name,Name` are top-level definitions of it), and its tests,
# the quick ones first.
_AREAS: Final = {
    "windows": (
        [
            "callkeeper/windows.py::Window,LongestWindow,_w3c,window_of_day",
            "callkeeper/keys.py::_walk,split_records",
        ],
        [f"callkeeper/test_{name}.py" for name in ("windows", "days", "halving", "unusable")],
    ),
    "guard": (["warehouse/guard.py"], ["warehouse/test_guard.py"]),
    "privacy": (
        [f"privacy/{name}.py" for name in ("numbers", "tails", "fields", "rewriting", "rule")],
        [
            f"privacy/test_{name}.py"
            for name in ("numbers", "tails", "mentions", "rewriting", "addresses", "number_corpus")
        ],
    ),
    "loader": (["warehouse/loader.py"], ["warehouse/test_changes.py", "warehouse/test_loader.py"]),
    "merge": (
        [
            "warehouse/merge.py",
            *(
                f"warehouse/sql/{name}.sql"
                for name in (
                    *("existing", "plan", "held_by_day", "leave_to_source", "lost"),
                    "number_calls",
                )
            ),
        ],
        [
            "warehouse/test_changes.py",
            "warehouse/test_collisions.py",
            "warehouse/test_loader.py",
        ],
    ),
    "comparison": (
        [
            "reconcile/reconciliation.py::Counts,Comparison,compare,judge",
            "warehouse/sql/compare.sql",
        ],
        ["warehouse/test_settled_calls.py", "warehouse/test_reconciliation.py"],
    ),
}
_SQL: Final = (
    (r"\bAND\b", "OR"),
    (r"\bOR (?!REPLACE)", "AND "),
    (r"\bNOT (?=IN|EXISTS|NULL|DISTINCT)", ""),
    (r"\bIS DISTINCT\b", "IS NOT DISTINCT"),
    (r"\bIS NULL\b", "IS NOT NULL"),
    (r"\b(LEFT|FULL) JOIN\b", "JOIN"),
    (r" <=? ", " > "),
    (r" >=? ", " < "),
    (r"(?<=[a-z)]) = (?=[a-z(])", " <> "),
    (r"\bmin\(", "max("),
    (r"\bmax\(", "min("),
)
# Seconds of one test; many times what the slowest takes.
_HANGS: Final = 400

Position = tuple[int, int]
Span = tuple[Position, Position]


@dataclass(frozen=True)
class Mutant:
    """One fault: where it is, what is changed, and the file with it."""

    path: str
    place: Position
    change: str
    write: Callable[[], str]


def _span(node: ast.AST) -> Span:
    at = {
        name: getattr(node, name)
        for name in ("lineno", "col_offset", "end_lineno", "end_col_offset")
    }
    return (at["lineno"], at["col_offset"]), (at["end_lineno"], at["end_col_offset"])


def _lies_in(place: Position, spans: Iterable[Span]) -> bool:
    return any(start <= place < end for start, end in spans)


def _mutate_sql(path: str, text: str, spans: Sequence[Span]) -> Iterator[Mutant]:
    for pattern, new in _SQL:
        for found in re.finditer(pattern, text):
            before = text[: found.start()]
            place = before.count("\n") + 1, len(before) - before.rfind("\n") - 1
            if _lies_in(place, spans) and "--" not in before.rpartition("\n")[2]:
                changed = before + new + text[found.end() :]
                yield Mutant(path, place, f"{found[0]} -> {new}", partial(str, changed))


def _mutate_python(path: str, text: str, names: Sequence[str]) -> Iterator[Mutant]:
    tree = ast.parse(text)
    nodes = list(ast.walk(tree))
    types = [
        _span(part)
        for node in nodes
        for part in (getattr(node, "annotation", None), getattr(node, "returns", None))
        if part is not None
    ]
    chosen = [_span(n) for n in tree.body if not names or getattr(n, "name", None) in names]
    queries = [
        _span(node)
        for node in nodes
        if isinstance(node, ast.Constant | ast.JoinedStr)
        and re.search(r"\b(SELECT|FROM|WHERE|JOIN)\b", ast.get_source_segment(text, node) or "")
    ]
    mutants = list(_mutate_sql(path, text, queries))
    for name in operator_names():
        operator_class = get_operator(name)
        if operator_class.arguments():
            continue
        operator = operator_class()
        places = (p for n in ast_nodes(get_ast(text)) for p, _ in operator.mutation_positions(n))
        for count, place in enumerate(places):
            write = partial(mutate_code, text, operator, count)
            mutants.append(Mutant(path, place, name.partition("/")[2], write))
    yield from (m for m in mutants if _lies_in(m.place, chosen) and not _lies_in(m.place, types))


def _draw(paths: Sequence[str], size: int, seed: int) -> list[Mutant]:
    """Draw places, then one of the faults that each can have."""
    faults = defaultdict(list)
    for path, names in (item.partition("::")[::2] for item in paths):
        text = (_ROOT / _CODE / path).read_text()
        if path.endswith(".sql"):
            found = _mutate_sql(path, text, [((1, 0), (len(text), 0))])
        else:
            found = _mutate_python(path, text, names.split(",") if names else ())
        for mutant in found:
            faults[mutant.path, mutant.place].append(mutant)
    draw = random.Random(seed)  # noqa: S311 -- a sample, not a secret
    places = sorted(faults)
    draw.shuffle(places)
    drawn = (draw.choice(faults[place]) for place in places)
    return list(islice((mutant for mutant in drawn if _can_be_read(mutant)), size))


def _can_be_read(mutant: Mutant) -> bool:
    """Whether Python takes it; SQL is only read when it runs."""
    if mutant.path.endswith(".py"):
        try:
            ast.parse(mutant.write())
        except SyntaxError:
            return False
    return True


def _test(copy: Path, tests: Sequence[str]) -> str:
    """Run an area's tests in the copy: survived, killed, or hung."""
    python = str(_ROOT / ".venv/bin/python")
    command = [python, *["-m", "pytest", "-x", "-n", "0", "-q", "-p", "no:cacheprovider"]]
    paths = [f"{_TESTS}/{path}" for path in tests]
    done = subprocess.run(
        [*command, f"--timeout={_HANGS}", *paths],
        cwd=copy,
        env=os.environ | {"PYTHONPATH": str(copy)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 0:
        return "survived"
    return "hung" if "Failed: Timeout" in done.stdout else "killed"


def _say(*words: str) -> None:
    print(*words, sep="\t", flush=True)  # noqa: T201


def main() -> None:
    """Go through the areas; print each mutant, and the share of those killed."""
    parser = argparse.ArgumentParser(prog="make mutation ARGS=")
    parser.add_argument("areas", nargs="*", help=f"of {', '.join(_AREAS)}; all if none is named")
    parser.add_argument("--sample", type=int, default=25, help="mutants of each area")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="callkeeper-mutation-") as folder:
        copy = Path(folder)
        copy.chmod(0o755)
        for name in (_CODE, _TESTS):
            shutil.copytree(_ROOT / name, copy / name)
        shutil.copy(_ROOT / "pyproject.toml", copy)
        for area in options.areas or _AREAS:
            paths, tests = _AREAS[area]
            if (outcome := _test(copy, tests)) != "survived":
                raise SystemExit(f"{area}: the tests fail without a mutant: {outcome}")
            counts: Counter[str] = Counter()
            for mutant in _draw(paths, options.sample, options.seed):
                file = copy / _CODE / mutant.path
                before = file.read_text()
                file.write_text(mutant.write())
                outcome = _test(copy, tests)
                file.write_text(before)
                counts[outcome] += 1
                line = before.splitlines()[mutant.place[0] - 1].strip()
                where = f"{mutant.path}:{mutant.place[0]}:{mutant.place[1]}"
                _say(area, outcome, where, mutant.change, line)
            dead = counts["killed"] + counts["hung"]
            _say(f"{area}: {dead} of {counts.total()} killed, of these hung: {counts['hung']}")


main()
