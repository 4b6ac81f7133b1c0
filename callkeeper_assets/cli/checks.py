"""What `check` looks at once for all sources: Dagster's home, the database, raw calls, privacy."""

import shlex
import stat
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from callkeeper_assets.cli.console import build_table, print_table, print_text
from callkeeper_assets.config.errors import MissingSecretError
from callkeeper_assets.config.source import Source
from callkeeper_assets.home import (
    dagster_file,
    find_lock_problem,
    home,
    make_folder,
    project_root,
    raw_url,
    set_dagster_home,
)
from callkeeper_assets.language import look_up, mark, tr
from callkeeper_assets.local_time import list_rules
from callkeeper_assets.object_store import open_files
from callkeeper_assets.postgres.errors import DatabaseError
from callkeeper_assets.postgres.url import (
    check_writable,
    connect,
    database_url,
    describe,
    find_differing,
    is_embedded,
)
from callkeeper_assets.privacy.rule import KEEP_ALL, Rule
from callkeeper_assets.warehouse.migrate import HEAD, VERSION_TABLE

CheckState = Literal["good", "warning", "bad"]

_MARKS: Final[dict[CheckState, tuple[str, str]]] = {
    "good": ("✓", "green"),
    "warning": ("!", "yellow"),
    "bad": ("✗", "red"),
}

SUBJECT: Final = "installation"

# What is looked at, as it is to be shown; JSON has it as it is here.
_SHOWN: Final = (
    *(mark("home"), mark("time zones"), mark("database"), mark("tables"), mark("raw calls")),
    *(mark("broker"), mark("configuration"), mark("key"), mark("address")),
    *(mark("windows"), mark("time zone"), mark("webhook"), mark("privacy"), mark("installation")),
)

_SHORTEST_KEY: Final = 16
_REVISION: Final = f"SELECT version_num FROM {VERSION_TABLE}"  # noqa: S608 -- a constant


@dataclass(frozen=True)
class Finding:
    """One thing looked at.

    Attributes:
        subject: A source's name, or `installation`.
        what: What was looked at: `key`, `database`.
        text: What was found and, unless it is good, what to do.
        url: An address in the text that somebody is to copy.
    """

    subject: str
    what: str
    state: CheckState
    text: str
    url: str | None = None


def print_findings(findings: Sequence[Finding]) -> None:
    """Print the table, and below it whole what is to be copied: a cell would break it."""
    from rich.text import Text  # noqa: PLC0415

    table = build_table("", "", "", "")
    table.show_header = False
    last = ""
    for finding in findings:
        if last and finding.subject != last:
            table.add_row()
        sign, style = _MARKS[finding.state]
        subject = finding.subject if finding.subject != last else ""
        table.add_row(Text(sign, style), subject, look_up(finding.what), _describe(finding))
        last = finding.subject
    print_table(table)
    for finding in findings:
        if finding.url:
            print_text(f"{finding.subject}, {look_up(finding.what)}:")
            print_text(finding.url)


def _describe(finding: Finding) -> str:
    return finding.text.replace(finding.url, tr("see below")) if finding.url else finding.text


def _find(what: str, state: CheckState, text: str) -> Finding:
    return Finding(SUBJECT, what, state, text)


def check_dagster_home() -> Finding:
    """Look for `dagster.yaml` where Dagster will look."""
    file = set_dagster_home() / "dagster.yaml"
    if file.is_file():
        return _find("dagster", "good", str(file))
    return _find(
        "dagster",
        "bad",
        tr(
            "There is no {file}: Dagster would keep its runs elsewhere. Copy dagster.yaml from "
            "the project there, or unset DAGSTER_HOME (it is {root} then).",
            file=file,
            root=project_root(),
        ),
    )


def check_home() -> Finding:
    """Try a file lock where processes keep themselves apart by some."""
    problem = find_lock_problem(home())
    return _find(
        "home", "bad" if problem else "good", problem or tr("{home}, file locks work", home=home())
    )


def check_secrecy() -> list[Finding]:
    """Warn of what others on this machine can read: secrets in `.env`, calls in the home."""
    findings = []
    for what, path, mode in ((".env", project_root() / ".env", 0o600), ("home", home(), 0o700)):
        try:
            found = stat.S_IMODE(path.stat().st_mode)
        except OSError:
            continue
        if found & (stat.S_IRGRP | stat.S_IROTH):
            remedy = f"chmod {mode:o} {shlex.quote(str(path))}"
            text = tr(
                "others on this machine may read {path}. Type: {remedy}", path=path, remedy=remedy
            )
            findings.append(_find(what, "warning", text))
    return findings


def check_zone_rules() -> Finding:
    """Say by which rules of time zones days begin here, and what else is installed."""
    first, *others = list_rules()
    text = tr("rules of {first}", first=first)
    if others:
        text += tr("; not used: {names}", names="; ".join(map(str, others)))
    return _find("time zones", "good", text)


def check_database() -> list[Finding]:
    """Reach the database; start the embedded one if it is the one in use and exists."""
    if is_embedded() and not (home() / "postgres").exists():
        text = tr("embedded, in {home}; the first load makes it", home=home() / "postgres")
        return [_find("database", "good", text)]
    try:
        url = database_url()
        with connect(url, autocommit=True) as connection:
            check_writable(connection)
            differing = find_differing(connection)
            user = connection.info.user
            version = connection.info.parameter_status("server_version") or "?"
            from callkeeper_assets.warehouse.migrate import (  # noqa: PLC0415
                HEAD,
                VERSION_TABLE,
                check_not_elsewhere,
            )
            from callkeeper_assets.warehouse.records import SchemaError  # noqa: PLC0415

            row = connection.execute("SELECT to_regclass(%s)", (VERSION_TABLE,)).fetchone()
            revision, tables = None, None
            if row and row[0]:
                found = connection.execute(
                    f"SELECT version_num FROM {VERSION_TABLE}"  # noqa: S608 -- a constant
                ).fetchone()
                revision = str(found[0]) if found else None
            else:
                try:
                    check_not_elsewhere(connection, url)
                except SchemaError as error:
                    tables = _find("tables", "bad", str(error))
    except DatabaseError as error:
        return [_find("database", "bad", str(error))]
    kind = tr("embedded") if is_embedded() else tr("yours")
    number = version.partition(" ")[0]
    return [
        _find(
            "database",
            "good",
            tr(
                "{database} (PostgreSQL {version}, {kind})",
                database=describe(url),
                version=number,
                kind=kind,
            ),
        ),
        *([_check_settings(differing, user)] if differing else []),
        tables or _check_schema(revision, HEAD),
    ]


def _check_settings(differing: dict[str, str], user: str) -> Finding:
    named = ", ".join(f"{name} = {value}" for name, value in differing.items())
    resets = " ".join(f"ALTER ROLE {user} RESET {name};" for name in differing)
    return _find(
        "settings",
        "bad",
        tr(
            "not as loads need it, although each connection asks for it: {named}. A pooler that "
            "ignores `options`, or a trigger on login, does that: name the server itself in "
            "CALLKEEPER_DATABASE_URL, and have the trigger leave {user} alone. Of a role's own "
            "settings: {resets}",
            named=named,
            user=user,
            resets=resets,
        ),
    )


def _check_schema(revision: str | None, head: str) -> Finding:
    if revision is None:
        return _find("tables", "good", tr("none yet; the first load makes them"))
    if revision == head:
        return _find("tables", "good", tr("schema {revision}, up to date", revision=revision))
    if revision < head:
        return _find(
            "tables",
            "good",
            tr(
                "schema {revision}; the next load brings it to {head}", revision=revision, head=head
            ),
        )
    return _find(
        "tables",
        "bad",
        tr(
            "schema {revision} is newer than this program, which knows up to {head}. Update the "
            "program.",
            revision=revision,
            head=head,
        ),
    )


def check_raw_store() -> Finding:
    """Write a small file to the raw calls' place, and remove it."""
    url = raw_url()
    remedy = tr("Check CALLKEEPER_RAW_URL: permissions, free space, credentials")
    try:
        files, root = open_files(url)
        probe = f"{root}/.callkeeper-check-{uuid.uuid4().hex}"
        if "file" in files.protocol:
            make_folder(Path(root))
        files.pipe_file(probe, b"")
        files.rm_file(probe)
    except ImportError as error:
        return _find(
            "raw calls",
            "bad",
            tr("{url}: {error}. pip install 'callkeeper-assets[s3]'", url=url, error=error),
        )
    except Exception as error:  # noqa: BLE001 -- file systems share no class; the text is shown
        return _find(
            "raw calls",
            "bad",
            tr("{url} cannot be written: {error}. {remedy}.", url=url, error=error, remedy=remedy),
        )
    return _find("raw calls", "good", tr("{url}, can be written", url=url))


def check_broker() -> list[Finding]:
    """Reach the broker by which runs go to workers; no finding where `dagster.yaml` names none."""
    from callkeeper_assets.cli.serving import sends_runs_away  # noqa: PLC0415
    from callkeeper_assets.dagster_ext.broker import BrokerError, try_broker  # noqa: PLC0415

    if not (dagster_file().is_file() and sends_runs_away()):
        return []
    try:
        where, weakness = try_broker()
    except BrokerError as error:
        return [_find("broker", "bad", str(error))]
    if weakness:
        return [_find("broker", "warning", f"{where}: {weakness}")]
    return [_find("broker", "good", tr("{where}, answers", where=where))]


def check_privacy(sources: Sequence[Source], *, has_database: bool) -> list[Finding]:
    """Check sources that have privacy settings, or had some; no finding for the others.

    Args:
        sources: The sources.
        has_database: Whether the database is there; without it just the keys are looked at.
    """
    findings = []
    for source in sources:
        try:
            rule = source.read_privacy_rule()
        except MissingSecretError as error:
            findings.append(Finding(source.name, "privacy", "bad", str(error)))
            continue
        found = _check_key(source, rule) or _check_setting(source, rule, has_database=has_database)
        findings += [found] if found else []
    return findings


def _check_key(source: Source, rule: Rule) -> Finding | None:
    if not rule.hashes or len(rule.key) >= _SHORTEST_KEY:
        return None
    text = tr(
        "The key in {key_env} has less than {shortest_key} characters: guess it, and all numbers "
        "can be tried. Take a longer one before the first load: another key makes other hashes.",
        key_env=source.privacy.key_env,
        shortest_key=_SHORTEST_KEY,
    )
    return Finding(source.name, "privacy", "warning", text)


def _check_setting(source: Source, rule: Rule, *, has_database: bool) -> Finding | None:
    # Arrow and the driver, which a check without privacy settings need not pay for.
    from callkeeper_assets.warehouse.accounts import has_calls, read_newest_setting  # noqa: PLC0415

    good = Finding(
        source.name, "privacy", "good", tr("calls are stored with {setting}", setting=rule.setting)
    )
    if not has_database:
        return good if rule.is_active else None
    with connect(database_url(), autocommit=True) as connection:
        known = connection.execute("SELECT to_regclass(%s)", (VERSION_TABLE,)).fetchone()
        revision = connection.execute(_REVISION.encode()).fetchone() if known and known[0] else None
        if revision is None or str(revision[0]) != HEAD:
            return good if rule.is_active else None
        newest = read_newest_setting(connection, source.name)
        is_stored = has_calls(connection, source.name)
    if newest is None and (rule == KEEP_ALL or not is_stored):
        return good if rule.is_active else None
    if newest and newest.setting == rule.setting and newest.applied_at:
        return good if rule.is_active else None
    return Finding(source.name, "privacy", "warning", _explain(source, rule))


def _explain(source: Source, rule: Rule) -> str:
    if rule == KEEP_ALL:
        return tr(
            "all is kept from now on; calls stored before stay masked or hashed. What CallKeeper "
            "still gives comes back by: callkeeper load {name} --from DAY --to DAY",
            name=source.name,
        )
    return tr(
        "{setting}: this holds for new calls only. For those stored before: callkeeper protect "
        "{name} (with --dry-run it only counts them)",
        setting=rule.setting,
        name=source.name,
    )
