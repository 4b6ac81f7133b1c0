"""What `check` looks at for each source: its configuration, its key, what the key is good for.

With a good key also at which address the API answers, and whether it heeds what it is asked for.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

from callkeeper_assets.api.client import CallKeeperClient
from callkeeper_assets.api.errors import AbortError, CallKeeperError
from callkeeper_assets.api.names import BASE_URLS, ApiName, find_other_api, list_addresses
from callkeeper_assets.api.redaction import register_secret
from callkeeper_assets.api.session import RetryPolicy
from callkeeper_assets.cli.findings import Finding
from callkeeper_assets.cli.webhook_checks import check_webhook, find_shared_tokens
from callkeeper_assets.cli.window_checks import check_windows, find_known_day
from callkeeper_assets.config.errors import MissingSecretError
from callkeeper_assets.config.loading import BrokenSource, load_sources
from callkeeper_assets.config.source import Source
from callkeeper_assets.zone_rules import find_difference, list_rules

# A person waits for the answer.
_TIMEOUT_SEC: Final = 10.0
_RETRY: Final = RetryPolicy(retries=1, longest_retry_after_sec=2.0)
_MOST_AT_ONCE: Final = 32
# Time enough to pay an invoice.
_NEAR: Final = timedelta(days=14)


def check_sources(sources: Sequence[Source], *, has_database: bool = False) -> list[Finding]:
    """Check sources side by side; findings are in the order of the sources.

    Args:
        sources: The sources.
        has_database: Whether the database is there, to say which days have calls.
    """
    if not sources:
        return []
    tokens = find_shared_tokens(load_sources()[0])
    for token in tokens:
        register_secret(token)
    with ThreadPoolExecutor(min(_MOST_AT_ONCE, len(sources))) as executor:
        return [
            finding
            for source, found in zip(
                sources,
                executor.map(lambda source: _check_source(source, has_database), sources),
                strict=True,
            )
            for finding in (*found, *check_webhook(source, tokens))
        ]


def describe_refused(broken: BrokenSource) -> list[Finding]:
    """Return a finding for each mistake in a refused configuration."""
    return [Finding(broken.name, "configuration", "bad", text) for text in broken.problems]


def _check_source(source: Source, has_database: bool) -> list[Finding]:
    first = source.first_day(source.today())
    configuration = Finding(
        source.name,
        "configuration",
        "good",
        f"{len(source.tables)} tables from {first} on, {source.time_zone.key}, refresh "
        f"{source.refresh.cron}",
    )
    offline = [configuration, *_judge_zone(source, first)]
    try:
        key = source.read_api_key()
    except MissingSecretError as error:
        return [*offline, Finding(source.name, "key", "bad", str(error))]
    register_secret(key)
    known_day = find_known_day(source) if has_database else None
    return [*offline, *_ask_source(source, key, known_day)]


def _judge_zone(source: Source, first: date) -> list[Finding]:
    """Warn where other rules on this machine have another clock, from the first day to next year's.

    Whoever reads the tables on this machine may go by those: a BI tool, or PostgreSQL.
    """
    zone = source.time_zone
    since = datetime.combine(first, time.min, UTC)
    until = datetime(source.today().year + 2, 1, 1, tzinfo=UTC)
    found = []
    ours, *others = list_rules()
    for other in others:
        apart = find_difference(zone.key, other, since, until)
        if apart:
            text = (
                f"{zone.key} is {_describe_offset(apart.by_first)} from "
                f"{apart.since:%Y-%m-%d %H:%M} UTC on by the rules used here ({ours}), and "
                f"{_describe_offset(apart.by_second)} by {other}. Days here are right; what goes "
                f"by the others shows other times: update them. Days from then on that were loaded "
                f"by other rules have to be loaded again: callkeeper load {source.name} --from DAY "
                f"--to DAY."
            )
            found.append(Finding(source.name, "time zone", "warning", text))
    return found


def _describe_offset(offset: timedelta) -> str:
    minutes = round(offset.total_seconds() / 60)
    sign = "-" if minutes < 0 else "+"
    return f"UTC{sign}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"


def _ask_source(source: Source, key: str, known_day: date | None) -> list[Finding]:
    """Ask the source itself: is the key good, where is the API, does it heed windows."""
    try:
        with _open_client(source, key, source.api, source.base_url) as client:
            payment = judge_payment(source, client.get_user_info().paid_till, datetime.now(UTC))
            address = _judge_address(source, client.address)
            return [payment, *address, check_windows(source, client, known_day)]
    except AbortError as error:
        text = f"{error}{_find_owner(source, key)}"
        return [Finding(source.name, "key", "bad", text)]
    except CallKeeperError as error:
        return [Finding(source.name, "key", "bad", str(error))]


def _judge_address(source: Source, answered: str) -> list[Finding]:
    """Say at which address the API answered, where it can be at several."""
    first, *others = list_addresses(source.api, source.base_url)
    if not others:
        return []
    if answered == first:
        return [Finding(source.name, "address", "good", f"the API answers at {answered}")]
    text = (
        f"the API answers at {answered}, not at {first}: that is what loads use. Set base_url: "
        f"{answered} in {source.file}, and the other is not tried first."
    )
    return [Finding(source.name, "address", "warning", text)]


def _find_owner(source: Source, key: str) -> str:
    """Say so if a key that is refused is one of the other API's; empty if it is not."""
    other, address = find_other_api(source.api, source.base_url)
    try:
        with _open_client(source, key, other, address) as client:
            client.get_user_info()
    except CallKeeperError:
        return ""
    setting = f"set api: {other}"
    if address != BASE_URLS[other]:
        setting += f" and base_url: {address}"
    return f"\nThe key belongs to CallKeeper's other API: {setting} in {source.file}."


def _open_client(source: Source, key: str, api: ApiName, base_url: str) -> CallKeeperClient:
    return CallKeeperClient(
        source=source.name,
        api_key=key,
        api=api,
        role=source.role,
        base_url=base_url,
        time_zone=source.time_zone,
        parallel_days=1,
        timeout_sec=_TIMEOUT_SEC,
        retry=_RETRY,
        key_name=f"the environment variable {source.api_key_env}",
        check_answers_from=source.check_answers_from,
    )


def judge_payment(source: Source, paid_till: datetime | None, now: datetime) -> Finding:
    """Judge a good key by the day until which the account is paid."""
    if paid_till is None:
        text = f"{source.api_key_env} is good; the source does not say until when it is paid"
        return Finding(source.name, "key", "good", text)
    try:
        day = paid_till.astimezone(source.time_zone).date()
    except OverflowError:
        day = paid_till.date()  # at an end of the calendar, which means never or always
    if paid_till < now:
        text = f"the account was paid until {day}, which is past. Pay it in CallKeeper's cabinet."
        return Finding(source.name, "key", "warning", text)
    if paid_till - now < _NEAR:
        days = (day - now.astimezone(source.time_zone).date()).days
        text = (
            f"the account is paid until {day}, {days} days from now. Pay it in CallKeeper's "
            "cabinet, or loads will fail."
        )
        return Finding(source.name, "key", "warning", text)
    return Finding(
        source.name, "key", "good", f"{source.api_key_env} is good, the account is paid until {day}"
    )
