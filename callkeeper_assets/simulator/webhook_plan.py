"""Which webhooks calls have, when each is due, and what goes wrong with it: drawn, not yet sent.

A call's draws follow from the account's seed and the call alone, so that it makes no difference
which others are sent with it, or how fast.
"""

import random
from collections.abc import Collection, Iterable, Iterator
from typing import Final, NamedTuple

from callkeeper_assets.simulator.calls import Call
from callkeeper_assets.simulator.webhook_settings import EVENTS, WebhookEvent, WebhookSettings

_LATEST_DUPLICATE_SEC: Final = 120


class Webhook(NamedTuple):
    """One webhook that is to be sent; `due_ts` is the moment, on the simulator's clock."""

    due_ts: int
    call: Call
    event: WebhookEvent
    is_lost: bool
    is_duplicate: bool


def happened_events(call: Call, now: int) -> tuple[WebhookEvent, ...]:
    """What a call's webhooks can tell at `now`."""
    return tuple(event for event in list_events(call) if _event_ts(call, event) <= now)


def list_events(call: Call) -> tuple[WebhookEvent, ...]:
    """What a call's webhooks tell; of call tracking there is one, when the call is over."""
    return EVENTS if call.service == "callback" else EVENTS[-1:]


def _event_ts(call: Call, event: WebhookEvent) -> int:
    return call.called_ts if event == "Call is processing" else call.settles_ts


def _plan_call(
    call: Call, events: Iterable[WebhookEvent], settings: WebhookSettings, rng: random.Random
) -> Iterator[Webhook]:
    # Always the same number of draws before those of each event: one switch changes no other's.
    is_wrong = rng.random() < settings.wrong_order
    draws = {event: [rng.random() for _ in range(5)] for event in EVENTS}
    ordered = [event for event in EVENTS if event in events]
    is_wrong = is_wrong and len(ordered) == len(EVENTS)
    for event in reversed(ordered) if is_wrong else ordered:
        lost, duplicate, lost_again, at_once, share = draws[event]
        due_ts = call.settles_ts if is_wrong else _event_ts(call, event)
        yield Webhook(due_ts, call, event, lost < settings.loss, is_duplicate=False)
        if duplicate < settings.duplicate:
            # At once, two copies race on two connections.
            later = 0 if at_once < 0.5 else 1 + int(share * _LATEST_DUPLICATE_SEC)  # noqa: PLR2004
            is_lost = lost_again < settings.loss
            yield Webhook(due_ts + later, call, event, is_lost, is_duplicate=True)


def plan_webhooks(
    calls: Iterable[tuple[Call, Collection[WebhookEvent]]], settings: WebhookSettings, seed: str
) -> list[Webhook]:
    """The webhooks of calls for the given events of each, in the order in which they are due."""
    planned = [
        webhook
        for call, events in calls
        for webhook in _plan_call(
            call,
            events,
            settings,
            random.Random(f"{seed}/webhooks of {call.call_id}"),  # noqa: S311 - not a secret
        )
    ]
    planned.sort(key=lambda webhook: webhook.due_ts)
    return planned
