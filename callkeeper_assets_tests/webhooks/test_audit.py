"""The audit as a comparison: what is lost is what did not come, whatever was sent and answered."""

import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callkeeper_assets.webhooks.audit import Hook, find_lost, is_ours, read_hooks

EVENTS = ("Call is processing", "Call is over")
URL = "https://hooks.example.com/webhooks/main/***"


def hook(position: int = 0, **changes: object) -> Hook:
    """A webhook that was accepted."""
    known = {"call_id": 7, "event": EVENTS[0], "method": "POST", "status": 200, "has_id": True}
    return Hook(position=position, **{**known, **changes})  # type: ignore[arg-type]


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
    held: dict[int, dict[str | None, int]] = {}
    for (call_id, event), count in came.items():
        held.setdefault(call_id, {})[event] = count
    lost = Counter((one.hook.call_id, one.hook.event) for one in find_lost(hooks, held))
    assert lost == Counter((call_id, event) for call_id, event, is_there in sent if not is_there)
    assert all(one.kind == "lost" and not one.is_held for one in find_lost(hooks, held))


def test_one_without_an_answer_is_lost_before_one_with_a_good_one() -> None:
    [lost] = find_lost([hook(0, status=None), hook(1)], {7: {EVENTS[0]: 1}})
    assert lost.hook.position == 0


def test_a_refused_one_is_named_even_where_it_came_again() -> None:
    found = find_lost([hook(0, status=503), hook(1)], {7: {EVENTS[0]: 1}})
    assert [(one.hook.position, one.kind, one.is_held) for one in found] == [(0, "refused", True)]
    found = find_lost([hook(0, status=404)], {})
    assert [(one.kind, one.is_held) for one in found] == [("refused", False)]


def test_payloads_whose_events_have_other_names_are_not_lost() -> None:
    hooks = [hook(0), hook(1, event=EVENTS[1])]
    assert find_lost(hooks, {7: {"call_started": 1, None: 1}}) == []
    [lost] = find_lost(hooks, {7: {"call_started": 1}})
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
    found = list(read_hooks(7, payload(*listed), "main", None))
    assert [(one.position, one.event, one.method, one.status) for one in found] == [
        (1, None, None, 200),
        (2, EVENTS[0], None, None),
        (3, None, "GET", None),
    ]
    assert all(one.has_id for one in found)
    other = payload(listed[1], serviceType="calltracking")
    assert [one.has_id for one in read_hooks(7, other, "main", None)] == [False]


@pytest.mark.parametrize(
    "text", ['{"id": 1}', '{"hooks": ""}', '{"hooks": null}', '{"hooks": [1]}']
)
def test_a_call_without_hooks_has_none(text: str) -> None:
    assert list(read_hooks(1, text, "main", None)) == []
