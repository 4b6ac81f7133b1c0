"""A rule in a process of its own: the same calls come out, and it never outlives who started it."""

import json
import os
import signal
import subprocess
import sys
import time
from datetime import date
from itertools import islice

import pytest

from callkeeper_assets.callkeeper.records import RetryLaterError
from callkeeper_assets.personal_data.shield import Shield, ShieldPassage
from callkeeper_assets.privacy.process import ProcessEndedError, ProtectorProcess
from callkeeper_assets.privacy.rewriting import Eraser, Protector
from callkeeper_assets.privacy.rule import Rule
from callkeeper_assets_tests.privacy.number_corpus import list_writings, put
from callkeeper_assets_tests.privacy.test_number_corpus import RULES
from callkeeper_assets_tests.warehouse.raw_days import call


def _list_calls() -> list[bytes]:
    """Some that are done at once, some that are looked at closely, and what is no JSON."""
    texts = ["again", *(text for _, _, text in islice(list_writings(), 0, None, 40))]
    documents = [put(call(5, phone2="+79161234567"), "tags", text) for text in texts]
    return [*(json.dumps(one).encode() for one in documents), b'{"id": 1', b"[]"]


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_many_calls_at_once_become_what_each_becomes_alone(rule: Rule) -> None:
    protector, calls = Protector(rule), _list_calls()
    alone = [*(protector.protect(one) for one in calls[:-2]), None, protector.protect(calls[-1])]
    assert protector.protect_all(calls) == alone
    with ProtectorProcess(rule) as process:
        assert process.protect_all(calls) == process.protect_all(calls) == alone
        assert process.protect_all([]) == []
    assert not _is_alive(process.pid)


def test_a_suspect_among_many_is_found_wherever_it_stands() -> None:
    protector = Protector(RULES[1])
    for size in (1, 2, 3, 7, 64):
        for at in range(size):
            texts = ["tel 8 (916) 123-45-67" if i == at else f"note {i}" for i in range(size)]
            calls = [json.dumps(call(i, tags=text)).encode() for i, text in enumerate(texts)]
            given = [json.loads(one or b"")["tags"] for one in protector.protect_all(calls)]
            assert given[:at] + given[at + 1 :] == texts[:at] + texts[at + 1 :]
            assert "123-45" not in given[at]


def test_a_process_that_was_killed_fails_the_day_in_words() -> None:
    rule = RULES[1]
    calls = _list_calls()
    shield = Shield(Protector(rule), Eraser(), {})
    with ProtectorProcess(rule) as process:
        passage = ShieldPassage(shield, process.protect_all)
        os.kill(process.pid, signal.SIGKILL)
        with pytest.raises(ProcessEndedError, match=r"code -9; -9 is said where memory ran out"):
            process.protect_all(calls)
        with pytest.raises(RetryLaterError, match=r"2026-03-02 is not stored: .* run it again"):
            passage.pass_calls(date(2026, 3, 2), range(len(calls)), calls)


def test_few_days_pass_without_a_process_and_many_with_one() -> None:
    calls = _list_calls()
    given = (date(2026, 3, 2), range(1, 1 + len(calls)), calls)
    shield = Shield(Protector(RULES[1]), Eraser(), {1: "client"})
    with shield.passing(3) as few, shield.passing(4) as many:
        passed = many.pass_calls(*given)
        assert few.pass_calls(*given) == passed != calls
        assert b"79161234567" not in passed[0]


def test_the_process_ends_with_who_started_it_and_is_deaf_to_an_interrupt() -> None:
    script = (
        "import time\n"
        "from callkeeper_assets.privacy.process import ProtectorProcess\n"
        "from callkeeper_assets.privacy.rule import Rule\n"
        "print(ProtectorProcess(Rule(phones='mask')).pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    time.sleep(1)  # it has begun to listen
    os.kill(pid, signal.SIGINT)
    time.sleep(0.2)
    assert _is_alive(pid)
    parent.kill()
    parent.communicate()
    deadline = time.monotonic() + 60
    while _is_alive(pid):
        assert time.monotonic() < deadline
        time.sleep(0.05)
