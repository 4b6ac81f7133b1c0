"""Conventions that machines hold: the documentation names what exists, files keep their measures.

What a part of the project promises about itself belongs in that part's tests; here is only what
concerns all files alike.
"""

import ast
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

import pytest
import typer.core
import typer.main

from callkeeper_assets.cli.main import app
from callkeeper_assets.warehouse.grants import READER
from callkeeper_assets.warehouse.tables import TABLES

_ROOT: Final = Path(__file__).resolve().parents[1]
_PACKAGE: Final = _ROOT / "callkeeper_assets"
_TESTS: Final = _ROOT / "callkeeper_assets_tests"
_GUIDES: Final = ("README.md", "docs/operations.md", "docs/deploy.md")
# What a user reads, in both languages; the data dictionaries are written by the code.
_IN_RUSSIAN: Final = ("alerts", "backup", "operations", "privacy", "questions", "reports")
_RUSSIAN: Final = ("README.ru.md", *(f"docs/ru/{name}.md" for name in _IN_RUSSIAN))
# A user's own sources are none of our files.
_OF_USERS: Final = _PACKAGE / "defs"
# What a reader of the guide makes.
_OF_EXAMPLE: Final = "callkeeper_assets/defs/main_office/"

_SUFFIXES: Final = {".md", ".toml", ".txt", ".yaml"}
_OTHERS: Final = {".gitignore", "LICENSE", "Makefile"}

_MOST_LINES: Final = 700
_MOST_LINES_OF_FUNCTION: Final = 60
_MOST_LINES_OF_ENTRY: Final = 60
_MOST_LINES_OF_CONTRACT: Final = 8
_LEAST_LETTERS_OF_CONTRACT: Final = 30

_FENCED: Final = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_INLINE: Final = re.compile(r"`([^`\n]+)`")
_LINK: Final = re.compile(r"\]\(([^)#\s]+)")
_PATH: Final = re.compile(r"[\w.\-]+(/[\w.\-]+)*/?")
_MODULE: Final = re.compile(r"callkeeper_assets(_tests)?(\.\w+)+")
_COMMAND: Final = re.compile(r"(?:^|/)callkeeper (?=[a-z])(.*)")
_OUR_VARIABLE: Final = re.compile(r"\b(?:CALLKEEPER|DAGSTER)_[A-Z_]+\b")
# In classes, so that this file does not name what it forbids.
_REGISTRY: Final = re.compile(
    r"py[p]i\.org|python[h]osted|np[m]js|debia[n]\.org|ubunt[u]\.com|crate[s]\.io|anacond[a]\.(org|com)"
)
# What services' keys look like: of clouds, repositories, chats, mail; private keys; signed tokens.
_SECRET: Final = re.compile(
    r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b|\bgh[oprsu]_\w{36}|\bglpat-[\w-]{20}|\bxox[abprs]-[\w-]{10}"
    r"|\bAIza[\w-]{35}|\b[sr]k_live_\w{20}|(?<!\d)\d{8,10}:AA[\w-]{33}\b"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY|\beyJ[\w-]{15,}\.eyJ[\w-]{15,}\.[\w-]{20}"
)
_PERSONAL_PATH: Final = re.compile(r"/hom[e]/\w+|/User[s]/\w+|/roo[t]/\w+")
_ZONE_IN_SQL: Final = re.compile(
    r"AT\s+TIME\s+ZONE\s+(?!'UTC')|\btimezone\s*\(\s*(?!'UTC')[%'$]|SET\s+TIME\s*ZONE",
    re.IGNORECASE,
)


def _documents() -> list[Path]:
    names = ("README.md", "README.ru.md", "CHANGELOG.md")
    return [*(_ROOT / name for name in names), *sorted((_ROOT / "docs").rglob("*.md"))]


@cache
def _files() -> tuple[Path, ...]:
    """Every file of the project, by where it lies: an unpacked archive has no list of git's."""
    # Not what somebody keeps beside them: keys in .env, backups.
    found = [
        file
        for file in _ROOT.iterdir()
        if file.is_file() and (file.suffix in _SUFFIXES or file.name in _OTHERS)
    ]
    beside = (_ROOT / name for name in ("docs", "deploy", "boards", ".ci", ".github"))
    for folder in (_PACKAGE, _TESTS, *beside):
        found += [
            file
            for file in folder.rglob("*")
            if file.is_file()
            and file.suffix != ".pyc"
            and not (_OF_USERS in file.parents and file.parent != _OF_USERS)
        ]
    return tuple(sorted(found))


def _modules(folder: Path) -> list[Path]:
    return [file for file in _files() if file.suffix == ".py" and folder in file.parents]


def _shown(file: Path) -> str:
    return str(file.relative_to(_ROOT))


def _code_of(document: Path) -> Iterator[str]:
    """Yield a document's inline code, and each line that its blocks without a language have."""
    text = document.read_text("utf-8")
    for language, block in _FENCED.findall(text):
        if not language:
            yield from (line.strip() for line in block.splitlines())
    yield from _INLINE.findall(_FENCED.sub("", text))


@cache
def _options() -> dict[str, set[str]]:
    """Return each command's options."""
    group = typer.main.get_command(app)
    assert isinstance(group, typer.core.TyperGroup)
    return {
        name: {option for parameter in command.params for option in parameter.opts}
        | {"--help", "-h"}
        for name, command in group.commands.items()
    }


def _typed_commands() -> Iterator[tuple[str, list[str]]]:
    """Yield each command line of `callkeeper` in the guides: its document and its words."""
    others = ("CHANGELOG.md", "docs/README.md", "docs/benchmarks.md", "docs/privacy.md")
    for name in (*_GUIDES, *_RUSSIAN, *others):
        for code in _code_of(_ROOT / name):
            match = _COMMAND.search(code)
            if match:
                yield name, shlex.split(match[1].partition("#")[0])


def _exists(path: str) -> bool:
    """Whether a path, from the root or a file's last parts, is in the project."""
    wanted = Path(path.rstrip("/")).parts
    return (_ROOT / path).exists() or any(
        file.relative_to(_ROOT).parts[-len(wanted) :] == wanted for file in _files()
    )


def _is_about_project(path: str) -> bool:
    """Whether code in a document names one of our files, and not a file of an installation."""
    first = Path(path).parts[0]
    if "/" in path and first in {"callkeeper_assets", "callkeeper_assets_tests", "docs", ".ci"}:
        return True
    return Path(path).suffix in {".py", ".sql", ".md", ".toml"} or path == "Makefile"


def _find_module(dotted: str) -> bool:
    """Whether `package.module`, or `package.module.Name`, is in the project."""
    parts = dotted.split(".")
    for end in range(len(parts), 0, -1):
        base = _ROOT.joinpath(*parts[:end])
        file = base.with_suffix(".py") if not base.is_dir() else base / "__init__.py"
        if file.is_file():
            rest = parts[end:]
            # A component is found by the entry point, not by a name in the package.
            names = file.read_text("utf-8") + (_PACKAGE / "source.py").read_text("utf-8")
            return not rest or re.search(rf"\b{rest[0]}\b", names) is not None
    return False


@pytest.mark.parametrize("document", _documents(), ids=_shown)
def test_every_path_and_module_that_a_document_names_exists(document: Path) -> None:
    missing = []
    for code in _code_of(document):
        missing += [name[0] for name in _MODULE.finditer(code) if not _find_module(name[0])]
        is_path = _PATH.fullmatch(code) and _is_about_project(code) and not _MODULE.fullmatch(code)
        if is_path and not _exists(code) and not code.startswith(_OF_EXAMPLE):
            missing.append(code)
    assert missing == []


@pytest.mark.parametrize("document", _documents(), ids=_shown)
def test_every_link_of_a_document_leads_somewhere(document: Path) -> None:
    links = _LINK.findall(document.read_text("utf-8"))
    inside = [link for link in links if "://" not in link]
    assert [link for link in inside if not (document.parent / link).exists()] == []


def test_every_command_is_in_a_guide() -> None:
    """Where a reader looks for how to run it; a line of the changelog is not enough."""
    typed = {words[0] for document, words in _typed_commands() if document in _GUIDES}
    assert sorted(set(_options()) - typed) == []


def test_every_command_and_option_that_is_typed_in_a_guide_exists() -> None:
    wrong = []
    for document, words in _typed_commands():
        if words[0] not in _options():
            wrong.append(f"{document}: callkeeper {words[0]}")
            continue
        options = {word.partition("=")[0] for word in words[1:] if word[:1] == "-" != word}
        unknown = sorted(options - _options()[words[0]])
        wrong += [f"{document}: callkeeper {words[0]} {each}" for each in unknown]
    assert wrong == []


def test_every_table_that_a_russian_document_names_exists() -> None:
    """Or is none, a metric: then the English has it. All else is looked at with the English."""
    ours = re.compile(r"(?<![\w/.])(?:callkeeper|general)_[a-z_]*[a-z](?![\w.])")
    # The package, the role for BI, and the columns that each report's table has.
    others = {"callkeeper_assets", "callkeeper_assets_tests", READER}
    others |= {"callkeeper_report", "callkeeper_day", "callkeeper_call_id"}
    unknown = {
        f"{document}: {name}"
        for document in _RUSSIAN
        for name in ours.findall((_ROOT / document).read_text("utf-8"))
        if name not in {*TABLES, *others, *ours.findall(_english(document).read_text("utf-8"))}
    }
    assert sorted(unknown) == []


def _english(russian: str) -> Path:
    return _ROOT / ("README.md" if russian == "README.ru.md" else russian.replace("/ru/", "/"))


def test_a_document_in_two_languages_has_the_same_examples() -> None:
    """What is typed, and what a file says, differs in comments and captions at the most."""
    for russian in _RUSSIAN:
        assert _examples(_ROOT / russian) == _examples(_english(russian)), russian


def test_what_a_user_reads_is_in_russian_part_by_part() -> None:
    """A section, or a row of a table, that one language has alone was forgotten in the other."""
    names = {file.stem for file in (_ROOT / "docs/ru").glob("*.md")}
    assert names == {*_IN_RUSSIAN, "README", "data-dictionary"}
    for name in (*_IN_RUSSIAN, "data-dictionary"):
        russian = _ROOT / f"docs/ru/{name}.md"
        english = _ROOT / f"docs/{name}.md"
        assert _parts(russian) == _parts(english), name
        # Each leads to the other.
        assert f"](../{name}.md)" in russian.read_text("utf-8").split("\n## ")[0], name
        assert f"](ru/{name}.md)" in english.read_text("utf-8").split("\n## ")[0], name


def _parts(document: Path) -> list[str]:
    """Return the marks by which headings and rows of tables begin, in their order."""
    text = _FENCED.sub("", document.read_text("utf-8"))
    return re.findall(r"^(#+ |\|(?=.*\|$))", text, re.MULTILINE)


def _examples(document: Path) -> set[str]:
    """Return the lines of a document's blocks, without what people are told in them."""
    lines = {
        re.sub(r"\s+(#|\|).*|(caption:|--reference).*", "", line).strip()
        for _, block in _FENCED.findall(document.read_text("utf-8"))
        for line in block.splitlines()
    }
    return lines - {""}


def test_every_make_target_that_a_document_names_exists() -> None:
    targets = set(
        re.findall(r"^([a-z][a-z-]*):", (_ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    )
    named = {
        match[1]
        for document in _documents()
        for code in _code_of(document)
        if (match := re.match(r"make ([a-z][a-z-]*)", code))
    }
    assert sorted(named - targets) == []


def _variables_read() -> Iterator[str]:
    """Yield the environment variables that the package names in its code."""
    for file in _modules(_PACKAGE):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            is_lookup = isinstance(node, ast.Call) and (
                "environ" in ast.unparse(node.func) or ast.unparse(node.func) == "read_secret"
            )
            is_index = isinstance(node, ast.Subscript) and "environ" in ast.unparse(node.value)
            named = None
            if isinstance(node, ast.Call) and is_lookup and node.args:
                named = node.args[0]
            elif isinstance(node, ast.Subscript) and is_index:
                named = node.slice
            if isinstance(named, ast.Constant) and isinstance(named.value, str):
                yield named.value


def test_every_variable_that_the_code_reads_is_documented() -> None:
    read = set(_variables_read())
    assert "CALLKEEPER_HOME" in read
    table = (_ROOT / "docs/operations.md").read_text("utf-8")
    assert sorted(name for name in read if f"| `{name}` |" not in table) == []


def test_every_variable_of_ours_that_a_document_names_is_read() -> None:
    named = {
        name
        for document in _documents()
        for name in _OUR_VARIABLE.findall(document.read_text("utf-8"))
    }
    # A secret's may name a file that has it.
    stems = {name.removesuffix("_FILE") for name in named}
    of_proxy = re.findall(r"{\$(\w+)", (_ROOT / "deploy" / "Caddyfile").read_text("utf-8"))
    assert sorted(stems - {*_variables_read(), *of_proxy}) == []


def test_every_table_and_column_is_in_the_data_dictionary() -> None:
    text = (_ROOT / "docs/data-dictionary.md").read_text("utf-8")
    sections = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL))
    assert sorted(set(TABLES) - set(sections)) == []
    missing = [
        f"{table.name}.{column.name}"
        for table in TABLES.values()
        for column in table.columns
        if f"| `{column.name}` |" not in sections[table.name]
    ]
    assert missing == []


def test_every_module_opens_with_a_contract() -> None:
    wrong = []
    for file in (*_modules(_PACKAGE), *_modules(_TESTS)):
        contract = ast.get_docstring(ast.parse(file.read_text("utf-8"))) or ""
        lines = len(contract.splitlines())
        is_package = file.name == "__init__.py"
        least = 0 if is_package and _TESTS in file.parents else _LEAST_LETTERS_OF_CONTRACT
        if len(contract) < least or lines > _MOST_LINES_OF_CONTRACT:
            wrong.append(f"{_shown(file)}: {lines} lines, {len(contract)} letters")
    assert wrong == []


def test_no_module_is_long() -> None:
    lengths = {
        _shown(file): len(file.read_text("utf-8").splitlines()) for file in _modules(_PACKAGE)
    }
    assert {name: count for name, count in lengths.items() if count > _MOST_LINES} == {}
    assert lengths["callkeeper_assets/definitions.py"] < _MOST_LINES_OF_ENTRY


def test_no_function_is_long() -> None:
    """Its documentation does not count."""
    long = []
    for file in _modules(_PACKAGE):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                words = ast.get_docstring(node) or ""
                lines = (node.end_lineno or 0) - node.lineno + 1 - len(words.splitlines())
                if lines > _MOST_LINES_OF_FUNCTION:
                    long.append(f"{_shown(file)}: {node.name}, {lines} lines")
    assert long == []


def test_no_module_is_a_drawer_for_anything() -> None:
    drawers = {"utils", "util", "helpers", "helper", "common", "misc"}
    modules = (*_modules(_PACKAGE), *_modules(_TESTS))
    assert [_shown(file) for file in modules if drawers & {file.stem, file.parent.name}] == []


@pytest.mark.parametrize(
    ("forbidden", "why"),
    [
        (_REGISTRY, "the package index is the user's"),
        (_PERSONAL_PATH, "machines differ"),
        (_SECRET, "it looks like a secret; who has the repository would have it"),
    ],
    ids=["package_registries", "personal_folders", "secrets"],
)
def test_no_file_names_what_belongs_to_one_machine(forbidden: re.Pattern[str], why: str) -> None:
    found = []
    for file in _files():
        if file.suffix in {".png", ".parquet", ".gz", ".mo"}:
            continue
        for number, line in enumerate(file.read_text("utf-8").splitlines(), start=1):
            match = forbidden.search(line)
            if match:
                found.append(f"{_shown(file)}:{number}: {match[0]} ({why})")
    assert found == []


def _statements() -> Iterator[tuple[str, str]]:
    """Yield each file of SQL, and each text within the package's code, with its file."""
    for file in _files():
        if file.suffix == ".sql":
            yield _shown(file), file.read_text("utf-8")
    for file in _modules(_PACKAGE):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield _shown(file), node.value


def test_no_statement_names_a_time_zone() -> None:
    """A server's zones are not Python's: statements are given bounds (local_time)."""
    assert sorted({file for file, text in _statements() if _ZONE_IN_SQL.search(text)}) == []


def test_the_rules_find_what_they_forbid() -> None:
    """A pattern that matches nothing would let everything pass."""
    assert _REGISTRY.search("https://files.python" + "hosted.org/packages")
    assert _REGISTRY.search("index-url = https://py" + "pi.org/simple")
    assert _PERSONAL_PATH.search("/hom" + "e/somebody/project")
    assert _SECRET.search("key: AKI" + "A" + 16 * "X")
    assert _SECRET.search("-----BEGIN RSA " + "PRIVATE KEY-----")
    assert _SECRET.search("https://api.example.com/bot123456789:A" + "A" + 33 * "x")
    assert _ZONE_IN_SQL.search("(called_at at time zone %(zone)s)::date")
    assert _ZONE_IN_SQL.search("SELECT timezone('Europe/Moscow', called_at)")
    assert not _ZONE_IN_SQL.search("called_at AT TIME ZONE 'UTC'")
    assert not _exists("callkeeper_assets/no_such_module.py")
    assert not _find_module("callkeeper_assets.no_such_module")
    assert _find_module("callkeeper_assets.CallKeeperSource")
