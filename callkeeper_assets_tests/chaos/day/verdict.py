"""Whether all is whole again after a fault, and whether anything was lost in the end."""

import datetime as dt
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from callkeeper_assets_tests.chaos.day.plant import KEPT_DAYS, Plant
from callkeeper_assets_tests.chaos.day.source import ZONE, Traffic, Webhook
from callkeeper_assets_tests.chaos.facts import describe_difference, read_days, tell_days

_UNDER_WAY: Final = "('QUEUED', 'NOT_STARTED', 'STARTING', 'STARTED', 'CANCELING')"
_NEWEST_RUN: Final = "SELECT coalesce(max(id), 0) FROM dagster.runs"
_HANGING: Final = f"""
    SELECT pipeline_name, status FROM dagster.runs WHERE id <= %s AND status IN {_UNDER_WAY}
"""
_REFRESHED: Final = """
    SELECT 1 FROM dagster.runs
    WHERE id > %s AND status = 'SUCCESS' AND pipeline_name LIKE '%%_refresh' LIMIT 1
"""
# A key that is held by a run that has ended.
_HELD: Final = f"""
    SELECT s.concurrency_key FROM dagster.concurrency_slots AS s
    JOIN dagster.runs AS r USING (run_id) WHERE r.status NOT IN {_UNDER_WAY}
"""
_INBOX: Final = """
    SELECT a.name, w.call_id, w.event, w.state FROM callkeeper_webhooks AS w
    JOIN general_accounts AS a USING (account_id)
"""
_UNKNOWN_CALLS: Final = """
    SELECT count(*) FROM callkeeper_webhooks AS w
    LEFT JOIN callkeeper_calls AS c USING (account_id, call_id)
    WHERE w.state <> 'rejected' AND c.call_id IS NULL
"""
_OLD: Final = """
    SELECT count(*) FROM callkeeper_calls JOIN general_accounts AS a USING (account_id)
    WHERE a.name = %s AND called_at < %s
"""
_MESSAGES: Final = "SELECT key::text FROM callkeeper_alert_messages"


@dataclass(frozen=True)
class Mark:
    """A moment from which all has to become whole.

    Attributes:
        run: The newest run there was.
        at: By the monotonic clock.
    """

    run: int
    at: float


def set_mark(plant: Plant, at: float) -> Mark | None:
    """Note which runs there are now; None while nobody can say."""
    rows = plant.ask(_NEWEST_RUN)
    return Mark(int(rows[0][0]), at) if rows else None


def find_problems(plant: Plant, traffic: Traffic, mark: Mark) -> Iterator[str]:
    """Yield what is not yet as if nothing had happened; the cheapest question first."""
    health = plant.health()
    if not health or health["database"] != "reachable" or health["spooled"]:
        yield f"the receiver: {health}"
        return
    for what, sql, values in (
        ("hanging", _HANGING, (mark.run,)),
        ("keys held", _HELD, ()),
    ):
        rows = plant.ask(sql, *values)
        if rows is None or rows:
            yield f"{what}: {rows if rows is None else [*map(str, rows)][:5]}"
            return
    if not plant.ask(_REFRESHED, mark.run):
        yield "no refresh since"
        return
    yield from find_lost_alerts(plant)
    yield from find_lost_webhooks(plant, traffic.list_accepted(mark.at), is_last=False)


def find_lost_webhooks(
    plant: Plant, accepted: set[Webhook], *, is_last: bool = True
) -> Iterator[str]:
    """Yield which accepted webhooks are not in the inbox once, and processed."""
    rows = plant.ask(_INBOX)
    if rows is None:
        yield "the inbox cannot be read"
        return
    found = Counter((str(name), int(call), str(event)) for name, call, event, _ in rows)
    waiting = {(str(name), int(call), str(event)) for name, call, event, s in rows if s == "new"}
    missing, twice = accepted - found.keys(), [one for one, times in found.items() if times > 1]
    if missing:
        yield f"{len(missing)} webhooks are missing: {sorted(missing)[:3]}"
    if twice:
        yield f"{len(twice)} webhooks are there twice: {twice[:3]}"
    left = waiting if is_last else waiting & accepted
    if left:
        yield f"{len(left)} webhooks are not processed"
    if is_last:
        unknown = plant.ask(_UNKNOWN_CALLS)
        if unknown != [(0,)]:
            yield f"webhooks' calls that are not in the tables: {unknown}"


def find_wrong_calls(plant: Plant, last: dt.date) -> Iterator[str]:
    """Yield the sources whose tables are not what the source says, call by call."""
    for name in plant.names:
        truth = plant.source.truth(name, plant.first_day, last)
        want = tell_days(truth, plant.first_day, last, ZONE)
        have = read_days(plant.installation, plant.first_day, last, ZONE, name)
        have = {day: calls for day, calls in have.items() if day >= plant.first_day}
        difference = describe_difference(have, want)
        if difference:
            yield f"{name}: {difference}"


def find_kept_days(plant: Plant) -> Iterator[str]:
    """Yield the sources whose old days retention has not deleted."""
    oldest = dt.datetime.combine(
        dt.datetime.now(ZONE).date() - dt.timedelta(KEPT_DAYS), dt.time(), ZONE
    )
    for name in plant.retained:
        rows = plant.ask(_OLD, name, oldest)
        if rows != [(0,)]:
            yield f"{name}: {rows} calls are older than it keeps"


def find_wrong_alerts(plant: Plant, *, is_over: bool) -> Iterator[str]:
    """Yield the causes that were told twice before their end, or whose end was not told.

    A message that comes again with its key is the same one: its sender was killed meanwhile.
    """
    seen: set[str] = set()
    open_: dict[tuple[str, str], int] = defaultdict(int)
    for post in list(plant.alerts.posts):
        if post.key in seen:
            continue
        seen.add(post.key)
        for one in post.document.get("alerts", ()):
            cause = (one["kind"], one["subject"])
            if one["state"] == "began":
                open_[cause] += 1
                if open_[cause] > 1:
                    yield f"{cause} was told {open_[cause]} times"
            elif one["state"] == "ended":
                open_[cause] -= 1
                if open_[cause] < 0:
                    yield f"{cause} ended, and was not told"
    left = [cause for cause, times in open_.items() if times > 0]
    if is_over and left:
        yield f"no all-clear for {left}"


def find_lost_alerts(plant: Plant) -> Iterator[str]:
    """Yield what was to be told and did not arrive, and what arrived and is not known of."""
    messages = plant.ask(_MESSAGES)
    if messages is None:
        yield "the alerts' messages cannot be read"
        return
    written = {str(key) for (key,) in messages}
    arrived = {post.key for post in list(plant.alerts.posts)}
    for what, keys in (("not told", written - arrived), ("of nobody", arrived - written)):
        if keys:
            yield f"{len(keys)} messages of alerts are {what}: {sorted(keys)[:3]}"


def find_untold_keys(plant: Plant) -> Iterator[str]:
    """Yield the sources whose key was refused, and nobody was told."""
    told = plant.alerts.list_told()
    for name in plant.refused:
        if ("began", "key_refused", name) not in told:
            yield f"{name}: nobody was told that its key is refused"
