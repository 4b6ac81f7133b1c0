"""What `check` finds out about privacy settings: whether all stored calls are as they say."""

from collections.abc import Sequence
from typing import Final

from callkeeper_assets.cli.findings import Finding
from callkeeper_assets.config.errors import MissingSecretError
from callkeeper_assets.config.source import Source
from callkeeper_assets.database.url import connect, database_url
from callkeeper_assets.privacy.rule import KEEP_ALL, Rule
from callkeeper_assets.warehouse.migrate import HEAD, VERSION_TABLE

_SHORTEST_KEY: Final = 16
_REVISION: Final = f"SELECT version_num FROM {VERSION_TABLE}"  # noqa: S608 -- a constant


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
    text = (
        f"The key in {source.privacy.key_env} has less than {_SHORTEST_KEY} characters: guess "
        "it, and all numbers can be tried. Take a longer one before the first load: another key "
        "makes other hashes."
    )
    return Finding(source.name, "privacy", "warning", text)


def _check_setting(source: Source, rule: Rule, *, has_database: bool) -> Finding | None:
    # Arrow and the driver, which a check without privacy settings need not pay for.
    from callkeeper_assets.privacy.settings import (  # noqa: PLC0415
        has_calls,
        read_newest_setting,
    )

    good = Finding(source.name, "privacy", "good", f"calls are stored with {rule.setting}")
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
        return (
            "all is kept from now on; calls stored before stay masked or hashed. What CallKeeper "
            f"still gives comes back by: callkeeper load {source.name} --from DAY --to DAY"
        )
    return (
        f"{rule.setting}: this holds for new calls only. For those stored before: "
        f"callkeeper protect {source.name} (with --dry-run it only counts them)"
    )
