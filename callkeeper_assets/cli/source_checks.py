"""What `check` looks at for each source: configuration, key, windows that it heeds, webhooks."""

import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from urllib.parse import quote, urlsplit

from callkeeper_assets.callkeeper.client import CallKeeperClient
from callkeeper_assets.callkeeper.records import (
    BASE_URLS,
    AbortError,
    ApiName,
    CallKeeperError,
    find_other_api,
    list_addresses,
)
from callkeeper_assets.callkeeper.session import RetryPolicy
from callkeeper_assets.callkeeper.windows import Window
from callkeeper_assets.cli.checks import CheckState, Finding
from callkeeper_assets.config.errors import MissingSecretError
from callkeeper_assets.config.loading import BrokenSource, load_sources
from callkeeper_assets.config.source import Source
from callkeeper_assets.home import configured_webhook_url
from callkeeper_assets.language import look_up, mark, tr
from callkeeper_assets.local_time import find_difference, list_rules, open_zone
from callkeeper_assets.postgres.url import connect, database_url
from callkeeper_assets.privacy.redaction import register_secret

_LOCAL_URL: Final = "http://127.0.0.1:8080"
_LOCAL_HOSTS: Final = ("127.0.0.1", "localhost", "::1")
_SHORTEST_TOKEN: Final = 16
_A_NEW_ONE: Final = "python -c 'import secrets; print(secrets.token_urlsafe(24))'"

_WHAT: Final = "windows"
_DAILY: Final = re.compile(r"(\d+) (\d+) \* \* \*")
_RECENT_DAYS: Final = 7
_HALF_MINUTE_SEC: Final = 30
# A bound need not be read to the second.
_SLACK_SEC: Final = 60
_OTHER_ZONE: Final = "Europe/Moscow"
_SUPPORT: Final = mark("ask CallKeeper's support")
_KNOWN: Final = "SELECT to_regclass('callkeeper_calls') IS NOT NULL"
# From the index's end: a maximum over a join reads all calls.
_NEWEST_CALL: Final = """
    SELECT newest.called_at
    FROM general_accounts AS a
    CROSS JOIN LATERAL (
        SELECT c.called_at
        FROM callkeeper_calls AS c
        WHERE c.account_id = a.account_id AND c.origin = 'api'
            AND c.called_at >= %(since)s AND c.called_at < %(before)s
        ORDER BY c.called_at DESC
        LIMIT 1
    ) AS newest
    WHERE a.name = %(name)s
"""

# A person waits for the answer.
_TIMEOUT_SEC: Final = 10.0
_RETRY: Final = RetryPolicy(retries=1, longest_retry_after_sec=2.0)
_MOST_AT_ONCE: Final = 32
# Time enough to pay an invoice.
_NEAR: Final = timedelta(days=14)


def find_shared_tokens(sources: Sequence[Source]) -> Mapping[str, tuple[str, ...]]:
    """Return, by token, the names of the sources that have it."""
    names: dict[str, tuple[str, ...]] = {}
    for source in sources:
        if source.webhook is not None:
            try:
                token = source.read_webhook_token()
            except MissingSecretError:
                continue
            names[token] = (*names.get(token, ()), source.name)
    return names


def find_twins(sources: Sequence[Source]) -> Mapping[str, tuple[str, ...]]:
    """Return, by source, the names of those that load the same calls: by the same key and role."""
    names: dict[tuple[str, ...], tuple[str, ...]] = {}
    for source in sources:
        try:
            account = (source.api, source.base_url, source.role, source.read_api_key())
        except MissingSecretError:
            continue
        names[account] = (*names.get(account, ()), source.name)
    return {
        name: tuple(other for other in alike if other != name)
        for alike in names.values()
        for name in alike
    }


def check_webhook(source: Source, tokens: Mapping[str, tuple[str, ...]]) -> list[Finding]:
    """Check a source's webhooks; no finding if it takes none.

    Args:
        source: The source.
        tokens: As `find_shared_tokens` returns it, of all sources.
    """
    if source.webhook is None:
        return []
    try:
        token = source.read_webhook_token()
    except MissingSecretError as error:
        return [Finding(source.name, "webhook", "bad", str(error))]
    base = configured_webhook_url() or _LOCAL_URL
    problem = _find_url_problem(base)
    if problem:
        return [Finding(source.name, "webhook", "bad", problem)]
    url = f"{base}/webhooks/{source.name}/{quote(token, safe='')}"
    remarks = _remark(source, source.webhook.token_env, token, base, tokens)
    state: CheckState = "warning" if remarks else "good"
    if not configured_webhook_url():
        remarks.append(
            tr(
                "It is for this machine: set CALLKEEPER_WEBHOOK_URL to the address under which "
                "CallKeeper reaches the receiver."
            )
        )
    text = tr(
        "to be put into CallKeeper's cabinet, {webhook_page}: {url}",
        webhook_page=source.webhook_page,
        url=url,
    )
    return [Finding(source.name, "webhook", state, "\n".join([text, *remarks]), url)]


def _find_url_problem(base: str) -> str | None:
    try:
        parts = urlsplit(base)
        _ = parts.port
    except ValueError:
        parts = urlsplit("")
    if parts.scheme in {"http", "https"} and parts.hostname and not (parts.query or parts.fragment):
        return None
    return tr("CALLKEEPER_WEBHOOK_URL must be an address such as https://hooks.example.com.")


def _remark(
    source: Source, variable: str, token: str, base: str, tokens: Mapping[str, tuple[str, ...]]
) -> list[str]:
    """Say what makes this URL less safe than it should be."""
    remarks = []
    if len(token) < _SHORTEST_TOKEN:
        remarks.append(
            tr(
                "The token in {variable} has less than {shortest_token} characters, and the URL "
                "is all that protects it. Make a new one: {command}",
                variable=variable,
                shortest_token=_SHORTEST_TOKEN,
                command=_A_NEW_ONE,
            )
        )
    others = [name for name in tokens.get(token, ()) if name != source.name]
    if others:
        remarks.append(
            tr(
                "The token in {variable} is also that of {names}: who has one URL has the others. "
                "Give each source its own: {command}",
                variable=variable,
                names=", ".join(others),
                command=_A_NEW_ONE,
            )
        )
    parts = urlsplit(base)
    if parts.scheme == "http" and parts.hostname not in _LOCAL_HOSTS:
        remarks.append(
            tr(
                "Over http the token can be read on its way: put a proxy with TLS before the "
                "receiver."
            )
        )
    return remarks


def find_known_day(source: Source) -> date | None:
    """Return the newest day before today of which the warehouse holds calls of the source's API."""
    today = source.today()
    values = {
        "name": source.name,
        "since": source.start_of(source.first_day(today)),
        "before": source.start_of(today),
    }
    with connect(database_url(), autocommit=True) as connection:
        known = connection.execute(_KNOWN).fetchone()
        row = connection.execute(_NEWEST_CALL, values).fetchone() if known and known[0] else None
    newest = row[0] if row else None
    return newest.astimezone(source.time_zone).date() if isinstance(newest, datetime) else None


def check_windows(source: Source, client: CallKeeperClient, known_day: date | None) -> Finding:
    """Check one source, whose key is good; `known_day` is one that must have calls."""
    try:
        for day in _list_days(source, known_day):
            picked = client.pick_call(day)
            if picked is not None:
                return _check_call(source, client, day, *picked)
            if day == known_day:
                text = tr(
                    "the tables hold calls of {day}, and the source sends none for it. Look at "
                    "that day in CallKeeper's cabinet; if it has calls, {remedy}.",
                    day=day,
                    remedy=look_up(_SUPPORT),
                )
                return Finding(source.name, _WHAT, "bad", text)
    except CallKeeperError as error:
        return Finding(source.name, _WHAT, "bad", str(error))
    text = tr(
        "no calls in the last {recent_days} days: whether the source heeds the dates that it is "
        "asked for could not be probed. Check again when it has calls.",
        recent_days=_RECENT_DAYS,
    )
    return Finding(source.name, _WHAT, "warning", text)


def _list_days(source: Source, known_day: date | None) -> Iterator[date]:
    if known_day is not None:
        yield known_day
        return
    today = source.today()
    for back in range(1, _RECENT_DAYS + 1):
        day = today - timedelta(days=back)
        if day >= source.first_day(today):
            yield day


def _minute_around(epoch: int) -> Window:
    return Window(epoch - _HALF_MINUTE_SEC, epoch + _HALF_MINUTE_SEC)


def _count_outside(found: Mapping[int, int], epoch: int) -> int:
    return sum(abs(each - epoch) > _HALF_MINUTE_SEC + _SLACK_SEC for each in found.values())


def _check_call(
    source: Source, client: CallKeeperClient, day: date, call_id: int, epoch: int
) -> Finding:
    """Ask for the minute around a call of a day that has just been read."""

    def find(state: CheckState, text: str) -> Finding:
        return Finding(source.name, _WHAT, state, text)

    found = client.probe(_minute_around(epoch))
    minute = tr(
        "a minute around {moment:%Y-%m-%dT%H:%M:%S} UTC", moment=datetime.fromtimestamp(epoch, UTC)
    )
    outside = _count_outside(found, epoch)
    if outside:
        text = tr(
            "asked for {minute}, the source sends {count} calls, {outside} of them of other "
            "times: it does not heed the dates. Days that are loaded so are not whole: {remedy}.",
            minute=minute,
            count=len(found),
            outside=outside,
            remedy=look_up(_SUPPORT),
        )
        return find("bad", text)
    if call_id not in found:
        text = tr(
            "asked for {minute}, the source does not send the call of that time, which it sent "
            "for {day}{zone}. Days that are loaded so are not whole: {remedy}.",
            minute=minute,
            day=day,
            zone=_describe_zone(source, client, call_id, epoch),
            remedy=look_up(_SUPPORT),
        )
        return find("bad", text)
    good = tr(
        "asked for {minute}, of {day}, it brings its call and none of elsewhere",
        minute=minute,
        day=day,
    )
    if not client.has_zones:
        return find("good", good)
    if call_id not in client.probe(_minute_around(epoch), _OTHER_ZONE):
        text = tr(
            "{good}, but not with time_zone={other_zone}: the source does not heed time_zone. "
            "Loads ask in UTC, which it reads right; should that change, they would be refused: "
            "{remedy}.",
            good=good,
            other_zone=_OTHER_ZONE,
            remedy=look_up(_SUPPORT),
        )
        return find("warning", text)
    return find("good", tr("{good}; time_zone is heeded", good=good))


def _describe_zone(source: Source, client: CallKeeperClient, call_id: int, epoch: int) -> str:
    """Say in which zone the source reads bounds instead, if it is one of two; empty if not."""
    moment = datetime.fromtimestamp(epoch, UTC)
    for zone in dict.fromkeys((source.time_zone, open_zone(_OTHER_ZONE))):
        offset = moment.astimezone(zone).utcoffset() or timedelta()
        shifted = _minute_around(epoch + int(offset.total_seconds()))
        if offset and call_id in client.probe(shifted):
            return tr(": it reads the bounds in {key}, whatever zone it is told", key=zone.key)
    return ""


def check_sources(sources: Sequence[Source], *, has_database: bool = False) -> list[Finding]:
    """Check sources side by side; findings are in the order of the sources.

    Args:
        sources: The sources.
        has_database: Whether the database is there, to say which days have calls.
    """
    if not sources:
        return []
    everyone = load_sources()[0]
    tokens, twins = find_shared_tokens(everyone), find_twins(everyone)
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
            for finding in (
                *found,
                *_check_twins(source, twins.get(source.name, ())),
                *check_webhook(source, tokens),
            )
        ]


def _check_twins(source: Source, others: Sequence[str]) -> list[Finding]:
    if not others:
        return []
    text = tr(
        "The key in {api_key_env} is also that of {names}: each call is in the tables once for "
        "each of them, and counts as often. Name each source's own key in api_key; if it is one "
        "account, keep one source, and of the others: callkeeper remove NAME --with-calls",
        api_key_env=source.api_key_env,
        names=", ".join(others),
    )
    return [Finding(source.name, "key", "bad", text)]


def describe_refused(broken: BrokenSource) -> list[Finding]:
    """Return a finding for each mistake in a refused configuration."""
    return [Finding(broken.name, "configuration", "bad", text) for text in broken.problems]


def describe_schedule(cron: str) -> str:
    """Say when something is due: the hour if it is daily, else the schedule as it was written."""
    daily = _DAILY.fullmatch(cron)
    if daily is None:
        return f"({cron})"
    return tr("daily at {hour:02d}:{minute:02d}", hour=int(daily[2]), minute=int(daily[1]))


def _check_source(source: Source, has_database: bool) -> list[Finding]:
    first = source.first_day(source.today())
    configuration = Finding(
        source.name,
        "configuration",
        "good",
        tr(
            "{count} tables from {first} on, {key}, refresh {schedule}",
            count=len(source.tables),
            first=first,
            key=source.time_zone.key,
            schedule=describe_schedule(source.refresh.cron),
        ),
    )
    offline = [configuration, *_check_zone(source, first)]
    try:
        key = source.read_api_key()
    except MissingSecretError as error:
        return [*offline, Finding(source.name, "key", "bad", str(error))]
    register_secret(key)
    known_day = find_known_day(source) if has_database else None
    return [*offline, *_ask_source(source, key, known_day)]


def _check_zone(source: Source, first: date) -> list[Finding]:
    """Warn where other rules on this machine have another clock, from the first day to next year's.

    Programs on this machine that read the tables may use those: a BI tool, or PostgreSQL.
    """
    zone = source.time_zone
    since = datetime.combine(first, time.min, UTC)
    until = datetime(source.today().year + 2, 1, 1, tzinfo=UTC)
    found = []
    ours, *others = list_rules()
    for other in others:
        apart = find_difference(zone.key, other, since, until)
        if apart:
            text = tr(
                "{key} is {offset} from {since:%Y-%m-%d %H:%M} UTC on by the rules used here "
                "({ours}), and {other_offset} by {other}. Days here are right; what goes by the "
                "others shows other times: update them. Days from then on that were loaded by "
                "other rules have to be loaded again: callkeeper load {name} --from DAY --to DAY.",
                key=zone.key,
                offset=_describe_offset(apart.by_first),
                since=apart.since,
                ours=ours,
                other_offset=_describe_offset(apart.by_second),
                other=other,
                name=source.name,
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
            payment = check_payment(source, client.get_user_info().paid_till, datetime.now(UTC))
            address = _check_address(source, client.address)
            return [payment, *address, check_windows(source, client, known_day)]
    except AbortError as error:
        text = f"{error}{_find_owner(source, key)}"
        return [Finding(source.name, "key", "bad", text)]
    except CallKeeperError as error:
        return [Finding(source.name, "key", "bad", str(error))]


def _check_address(source: Source, answered: str) -> list[Finding]:
    """Say at which address the API answered, where it can be at several."""
    first, *others = list_addresses(source.api, source.base_url)
    if not others:
        return []
    if answered == first:
        return [
            Finding(
                source.name,
                "address",
                "good",
                tr("the API answers at {answered}", answered=answered),
            )
        ]
    text = tr(
        "the API answers at {answered}, not at {first}: that is what loads use. Set base_url: "
        "{answered} in {file}, and the other is not tried first.",
        answered=answered,
        first=first,
        file=source.file,
    )
    return [Finding(source.name, "address", "warning", text)]


def _find_owner(source: Source, key: str) -> str:
    """Say so if a key that is refused is one of the other API's; empty if it is not."""
    other, address = find_other_api(source.api, source.base_url)
    if not _is_taken(source, key, other, address):
        return ""
    setting = tr("set api: {other}", other=other)
    if address != BASE_URLS[other]:
        setting += tr(" and base_url: {address}", address=address)
    return tr(
        "\nThe key belongs to CallKeeper's other API: {setting} in {file}.",
        setting=setting,
        file=source.file,
    )


def _is_taken(source: Source, key: str, api: ApiName, base_url: str) -> bool:
    try:
        with _open_client(source, key, api, base_url) as client:
            client.get_user_info()
    except CallKeeperError:
        return False
    return True


def find_api_of(source: Source, key: str) -> tuple[ApiName, str] | None:
    """Return the API that takes a key, the source's own first, and its address; None if none."""
    own = (source.api, source.base_url)
    for api, address in (own, find_other_api(*own)):
        if _is_taken(source, key, api, address):
            return api, address
    return None


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
        key_name=tr("the environment variable {api_key_env}", api_key_env=source.api_key_env),
        check_answers_from=source.check_answers_from,
    )


def check_payment(source: Source, paid_till: datetime | None, now: datetime) -> Finding:
    """Check a good key by the day until which the account is paid."""
    if paid_till is None:
        text = tr(
            "{api_key_env} is good; the source does not say until when it is paid",
            api_key_env=source.api_key_env,
        )
        return Finding(source.name, "key", "good", text)
    try:
        day = paid_till.astimezone(source.time_zone).date()
    except OverflowError:
        day = paid_till.date()  # at an end of the calendar, which means never or always
    if paid_till < now:
        text = tr(
            "the account was paid until {day}, which is past. Pay it in CallKeeper's cabinet.",
            day=day,
        )
        return Finding(source.name, "key", "warning", text)
    if paid_till - now < _NEAR:
        days = (day - now.astimezone(source.time_zone).date()).days
        text = tr(
            "the account is paid until {day}, {days} days from now. Pay it in CallKeeper's "
            "cabinet, or loads will fail.",
            day=day,
            days=days,
        )
        return Finding(source.name, "key", "warning", text)
    return Finding(
        source.name,
        "key",
        "good",
        tr(
            "{api_key_env} is good, the account is paid until {day}",
            api_key_env=source.api_key_env,
            day=day,
        ),
    )
