"""A project's files as `init` writes them, and what `upgrade` makes of those of an older version.

A file is replaced only if it is word for word one that came along with some version: those are
listed by their hashes in `project_template/texts.sha256`. One that somebody has edited is theirs.
"""

import hashlib
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Final, Literal

from callkeeper_assets.cli.console import read_version
from callkeeper_assets.home import PROJECT_TEMPLATE, Project, find_project
from callkeeper_assets.language import mark, tr

DISTRIBUTION: Final = "callkeeper-assets"
# Each file of a project, and the template of which it is made; the last makes it a project, so that
# an `init` that was interrupted is completed by the next.
PROJECT_FILES: Final = {
    "README.md": "README.{lang}.md",
    "definitions.py": "definitions.py.txt",
    "dagster.yaml": "dagster.yaml",
    "workspace.yaml": "workspace.yaml",
    ".env.example": "env.example",
    ".gitignore": "gitignore",
    "defs.schema.json": "../defs.schema.json",
    "defs/.gitkeep": "",
    "pyproject.toml": "pyproject.toml.txt",
}
TEXTS: Final = PROJECT_TEMPLATE / "texts.sha256"
# Written by a program, and read by editors alone: whatever it says, it is replaced.
_SCHEMA: Final = "defs.schema.json"
_DAGSTER: Final = "dagster.yaml"
# What has a text of its own in each project is left out, and what its owner has made of it.
FOLLOWED: Final = (
    _DAGSTER,
    "workspace.yaml",
    "definitions.py",
    _SCHEMA,
    ".env.example",
    ".gitignore",
)
# Modules that a dagster.yaml of before names, and where they are.
_RENAMED: Final = {
    "callkeeper_assets.database.dagster_storage": "callkeeper_assets.dagster_ext.storage",
    "callkeeper_assets.run_logs": "callkeeper_assets.dagster_ext.storage",
}


@dataclass(frozen=True)
class FileChange:
    """A file of the project that is not as this version would write it.

    Attributes:
        text: What is to be written; None: it is its owner's.
        summary: What becomes of it, marked.
        differences: Of an owner's `dagster.yaml`: what it says otherwise than ours, or not at all.
    """

    file: Path
    text: str | None
    summary: str = mark("an older version's, to be replaced by this one's")
    differences: tuple[str, ...] = ()


def _name_project(folder: Path) -> str:
    name = re.sub(r"[^a-z0-9]+", "-", folder.name.lower()).strip("-")
    return name if name and name != DISTRIBUTION else "calls"


def render_file(name: str, folder: Path, lang: Literal["en", "ru"] = "en") -> str:
    """Return the text of a project's file; `folder` is the project's."""
    template = PROJECT_FILES[name]
    if not template:
        return ""
    text = (PROJECT_TEMPLATE / template.format(lang=lang)).read_text("utf-8")
    version = read_version()
    known = version[:1].isdigit()
    values = {
        "{name}": _name_project(folder),
        "{requirement}": f"{DISTRIBUTION}>={version}" if known else DISTRIBUTION,
        "{yesterday}": str(date.today() - timedelta(days=1)),  # noqa: DTZ011 -- an example
    }
    for placeholder, value in values.items():
        text = text.replace(placeholder, value)
    return text


def is_own_project(project: Project) -> bool:
    """Whether `init` made it: not the checkout, nor a project of Dagster's that requires us."""
    return (project.defs, project.module) == (project.root / "defs", "definitions")


def hash_text(text: str) -> str:
    """Return the hash by which a text is listed."""
    return hashlib.sha256(text.encode()).hexdigest()


def list_changes() -> list[FileChange]:
    """Compare the project's files, and the `dagster.yaml` in `DAGSTER_HOME`; changes nothing.

    Files that are missing are left out: that is their owner's will, and `init` makes them.
    """
    project = find_project()
    places = {}
    if project and is_own_project(project):
        places = {name: project.root / name for name in FOLLOWED}
    elsewhere = os.environ.get("DAGSTER_HOME")
    if elsewhere and not (project and Path(elsewhere).absolute() == project.root):
        places[_DAGSTER] = Path(elsewhere).absolute() / _DAGSTER
    changes = (_compare(name, file) for name, file in places.items())
    return [change for change in changes if change and (change.differences or change.text)]


def _compare(name: str, file: Path) -> FileChange | None:
    try:
        # Line ends are git's, or an editor's.
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    ours = render_file(name, file.parent)
    if text == ours:
        return None
    if name == _SCHEMA or hash_text(text) in TEXTS.read_text("utf-8"):
        return FileChange(file, ours)
    if name != _DAGSTER:
        return None
    renamed = text
    for before, now in _RENAMED.items():
        renamed = renamed.replace(before, now)
    differences = tuple(_list_differences(renamed, ours))
    is_renamed = renamed != text
    return FileChange(
        file,
        renamed if is_renamed else None,
        mark("names modules of ours by where they were; to be written by where they are"),
        differences,
    )


def _list_differences(theirs: str, ours: str) -> Iterator[str]:
    import yaml  # noqa: PLC0415

    try:
        said = dict(_flatten(yaml.safe_load(theirs) or {}))
    except (yaml.YAMLError, AttributeError) as error:
        yield tr("is no YAML: {problem}", problem=" ".join(str(error).split()))
        return
    for name, value in _flatten(yaml.safe_load(ours)):
        if name not in said:
            yield tr("{name} is missing ({ours})", name=name, ours=_show(value))
        elif said[name] != value:
            yield tr(
                "{name} is {theirs} ({ours})",
                name=name,
                theirs=_show(said[name]),
                ours=_show(value),
            )


def _flatten(document: Mapping[str, object], place: str = "") -> Iterator[tuple[str, object]]:
    for name, value in document.items():
        if isinstance(value, Mapping) and value:
            yield from _flatten(value, f"{place}{name}.")
        else:
            yield f"{place}{name}", value


def _show(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def write_change(change: FileChange) -> None:
    """Replace a file as a whole, if there is a text for it; who may read it stays.

    Raises:
        OSError: It cannot be written.
    """
    if change.text is None:
        return
    file = change.file.resolve()
    descriptor, made = tempfile.mkstemp(prefix=f".{file.name}-", dir=file.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
            opened.write(change.text)
        Path(made).chmod(file.stat().st_mode & 0o7777)
        Path(made).replace(file)
    except BaseException:
        Path(made).unlink(missing_ok=True)
        raise
