"""What `check` looks at for each source: its configuration, its key, what the key is good for."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Final

from callkeeper_assets.api.client import CallKeeperClient
from callkeeper_assets.api.errors import AbortError, CallKeeperError
from callkeeper_assets.api.names import BASE_URLS, ApiName, find_other_api
from callkeeper_assets.api.records import UserInfo
from callkeeper_assets.api.redaction import register_secret
from callkeeper_assets.api.session import RetryPolicy
from callkeeper_assets.cli.findings import Finding
from callkeeper_assets.cli.webhook_checks import check_webhook, find_shared_tokens
from callkeeper_assets.config.errors import MissingSecretError
from callkeeper_assets.config.loading import BrokenSource, load_sources
from callkeeper_assets.config.source import Source

# A person waits for the answer.
_TIMEOUT_SEC: Final = 10.0
_RETRY: Final = RetryPolicy(retries=1, longest_retry_after_sec=2.0)
_MOST_AT_ONCE: Final = 32
# Time enough to pay an invoice.
_NEAR: Final = timedelta(days=14)


def check_sources(sources: Sequence[Source]) -> list[Finding]:
    """Check sources side by side; findings are in the order of the sources."""
    if not sources:
        return []
    tokens = find_shared_tokens(load_sources()[0])
    for token in tokens:
        register_secret(token)
    with ThreadPoolExecutor(min(_MOST_AT_ONCE, len(sources))) as executor:
        return [
            finding
            for source, found in zip(sources, executor.map(_check_source, sources), strict=True)
            for finding in (*found, *check_webhook(source, tokens))
        ]


def describe_refused(broken: BrokenSource) -> list[Finding]:
    """Return a finding for each mistake in a refused configuration."""
    return [Finding(broken.name, "configuration", "bad", text) for text in broken.problems]


def _check_source(source: Source) -> list[Finding]:
    first = source.first_day(source.today())
    configuration = Finding(
        source.name,
        "configuration",
        "good",
        f"{len(source.tables)} tables from {first} on, {source.time_zone.key}, refresh "
        f"{source.refresh.cron}",
    )
    try:
        key = source.read_api_key()
    except MissingSecretError as error:
        return [configuration, Finding(source.name, "key", "bad", str(error))]
    register_secret(key)
    return [configuration, _check_key(source, key)]


def _check_key(source: Source, key: str) -> Finding:
    try:
        paid_till = _ask_for_account(source, key, source.api, source.base_url).paid_till
    except AbortError as error:
        return Finding(source.name, "key", "bad", f"{error}{_find_owner(source, key)}")
    except CallKeeperError as error:
        return Finding(source.name, "key", "bad", str(error))
    return judge_payment(source, paid_till, datetime.now(UTC))


def _find_owner(source: Source, key: str) -> str:
    """Say so if a key that is refused is one of the other API's; empty if it is not."""
    other, address = find_other_api(source.api, source.base_url)
    try:
        _ask_for_account(source, key, other, address)
    except CallKeeperError:
        return ""
    setting = f"set api: {other}"
    if source.base_url != BASE_URLS[source.api]:
        setting += f" and base_url: {address}"
    return f"\nThe key belongs to CallKeeper's other API: {setting} in {source.file}."


def _ask_for_account(source: Source, key: str, api: ApiName, base_url: str) -> UserInfo:
    with CallKeeperClient(
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
    ) as client:
        return client.get_user_info()


def judge_payment(source: Source, paid_till: datetime | None, now: datetime) -> Finding:
    """Judge a good key by the day until which the account is paid."""
    if paid_till is None:
        text = f"{source.api_key_env} is good; the source does not say until when it is paid"
        return Finding(source.name, "key", "good", text)
    day = paid_till.astimezone(source.time_zone).date()
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
