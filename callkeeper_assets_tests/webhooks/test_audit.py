"""The audit as a comparison: what is lost is what did not come, whatever was sent and answered."""

import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callkeeper_assets.webhooks.audit import Held, HeldPayload, Hook, find_lost, is_ours, read_hooks
from callkeeper_assets.webhooks.raw_call import HOOK_EVENTS, OVER, PROCESSING

# As the source lists them, and the same as payloads name them.
EVENTS = tuple(HOOK_EVENTS.values())
URL = "https://hooks.example.com/webhooks/main/***"


def hook(position: int = 0, **changes: object) -> Hook:
    """A webhook that was accepted."""
    known = {"call_id": 7, "event": EVENTS[0], "method": "POST", "status": 200, "has_id": True}
    return Hook(position=position, **{**known, **changes})  # type: ignore[arg-type]


def held(**comings: int) -> Held:
    """What the inbox holds of call 7, by the events' names in payloads."""
    names = {"start": PROCESSING, "end": OVER, "other": "call_started", "none": None}
    return {7: [HeldPayload(names[name], count) for name, count in comings.items()]}


def payload(*hooks: object, **fields: object) -> str:
    return json.dumps({"serviceType": "callback", "cbCallId": 7, "hooks": list(hooks), **fields})


@given(
    sent=st.lists(st.tuples(st.integers(1, 4), st.sampled_from(EVENTS), st.booleans()), max_size=40)
)
def test_exactly_what_did_not_come_is_lost(sent: list[tuple[int, str, bool]]) -> None:
    """Each was accepted as far as the source knows; a call's webhooks of one event are alike."""
    hooks = [
        hook(n, call_id=call_id, event=event, status=200 if n % 3 else None)
        for n, (call_id, event, _) in enumerate(sent)
    ]
    came = Counter((call_id, event) for call_id, event, is_there in sent if is_there)
    in_payloads: dict[str, str] = {listed: named for named, listed in HOOK_EVENTS.items()}
    inbox: dict[int, list[HeldPayload]] = {}
    for (call_id, event), count in came.items():
        inbox.setdefault(call_id, []).append(HeldPayload(f" {in_payloads[event].lower()}", count))
    lost = Counter((one.hook.call_id, one.hook.event) for one in find_lost(hooks, inbox))
    assert lost == Counter((call_id, event) for call_id, event, is_there in sent if not is_there)
    assert all(one.kind == "lost" and not one.is_held for one in find_lost(hooks, inbox))


def test_one_without_an_answer_is_lost_before_one_with_a_good_one() -> None:
    [lost] = find_lost([hook(0, status=None), hook(1)], held(start=1))
    assert lost.hook.position == 0


def test_a_refused_one_is_named_even_where_it_came_again() -> None:
    found = find_lost([hook(0, status=503), hook(1)], held(start=1))
    assert [(one.hook.position, one.kind, one.is_held) for one in found] == [(0, "refused", True)]
    found = find_lost([hook(0, status=404)], {})
    assert [(one.kind, one.is_held) for one in found] == [("refused", False)]


def test_the_listed_events_are_the_payloads_under_other_names() -> None:
    """The end is lost, not the beginning, which came."""
    hooks = [hook(0), hook(1, event=EVENTS[1])]
    assert find_lost(hooks, held(start=1, end=1)) == []
    [lost] = find_lost(hooks, held(start=1))
    assert lost.hook.position == 1
    [lost] = find_lost(hooks, held(end=1))
    assert lost.hook.position == 0


def test_a_payload_that_came_again_hides_no_other_ones_loss() -> None:
    hooks = [hook(0), hook(1, event=EVENTS[1])]
    [lost] = find_lost(hooks, held(start=2))
    assert lost.hook.position == 1
    assert len(find_lost(hooks, held(other=2))) == 1


def test_a_refused_one_that_is_held_is_not_lost_whatever_its_event_is_called() -> None:
    for inbox in (held(end=1), held(other=1), held(none=1)):
        [found] = find_lost([hook(0, event=EVENTS[1], status=504)], inbox)
        assert (found.kind, found.is_held) == ("refused", True)
    [found] = find_lost([hook(0, event=EVENTS[1], status=504)], held(start=1))
    assert not found.is_held


def test_payloads_whose_events_have_other_names_are_not_lost() -> None:
    hooks = [hook(0), hook(1, event=EVENTS[1])]
    assert find_lost(hooks, held(other=1, none=1)) == []
    [lost] = find_lost(hooks, held(other=1))
    assert lost.hook.position == 1
    unknown = [hook(0, event="ON_ANSWER"), hook(1)]
    [lost] = find_lost(unknown, {7: [HeldPayload("on_answer ", 1)]})
    assert lost.hook.position == 1


def test_a_webhook_that_cannot_name_its_call_is_only_counted_if_it_was_refused() -> None:
    hooks = [hook(0, has_id=False), hook(1, has_id=False, status=500)]
    assert [one.hook.position for one in find_lost(hooks, {})] == [1]


@pytest.mark.parametrize(
    ("address", "host", "expected"),
    [
        (URL, None, True),
        (URL, "hooks.example.com", True),
        (URL, "Hooks.Example.com", True),
        (URL, "other.example.com", False),
        ("http://10.0.0.1:8080/in/webhooks/main/***?a=1", None, True),
        ("https://hooks.example.com//webhooks/main/***", None, True),
        ("https://hooks.example.com/webhooks/main/***/", "hooks.example.com", True),
        ("https://hooks.example.com/webhooks//main//***/?id=1", None, True),
        ("https://hooks.example.com/webhooks/main2/***", None, False),
        ("https://hooks.example.com/webhooks/xmain/***", None, False),
        ("https://crm.example.com/webhooks", None, False),
        ("http://[", None, False),
        ("", None, False),
    ],
)
def test_only_our_own_address_counts(address: str, host: str | None, *, expected: bool) -> None:
    assert is_ours(address, "main", host) is expected


def test_hooks_are_read_in_whatever_form_they_come() -> None:
    listed = (
        {"hookAddress": "https://crm.example.com/", "hookResponseStatus": 200},
        {"hookAddress": URL, "hookEventName": " ", "hookResponseStatus": "200"},
        {"hookAddress": URL, "hookEventName": EVENTS[0], "hookResponseStatus": 0},
        {"hookAddress": URL, "hookMethod": "GET", "hookResponseStatus": "timeout"},
        "nothing",
        {"hookAddress": 5},
    )
    found = read_hooks(7, payload(*listed), "main", None)
    assert found is not None
    assert [(one.position, one.event, one.method, one.status) for one in found] == [
        (1, None, None, 200),
        (2, EVENTS[0], None, None),
        (3, None, "GET", None),
    ]
    assert all(one.has_id for one in found)
    other = payload(listed[1], serviceType="calltracking")
    assert [one.has_id for one in read_hooks(7, other, "main", None) or ()] == [False]


@pytest.mark.parametrize(
    "text", ['{"hooks": ""}', '{"hooks": 0}', '{"hooks": []}', '{"hooks": [1]}']
)
def test_a_call_without_hooks_has_none(text: str) -> None:
    assert read_hooks(1, text, "main", None) == []


@pytest.mark.parametrize("text", ['{"id": 1}', '{"hooks": null}', '{"site": "\\"hooks\\""}'])
def test_an_answer_that_lists_no_webhooks_is_told_from_one_that_lists_none_for_a_call(
    text: str,
) -> None:
    assert read_hooks(1, text, "main", None) is None
