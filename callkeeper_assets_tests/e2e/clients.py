"""A source whose calls have one client's number everywhere that a number can get to.

In raw calls and in an answer that the guard refused, in webhooks of every form, in the spool, in
what cannot be read, in reports and their rejects; written in different ways. Its other calls are
other clients'.
"""

import http.client
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from callkeeper_assets.cli.serving import find_free_port, is_listening
from callkeeper_assets.simulator.server import RunningSimulator
from callkeeper_assets.simulator.settings import AccountSettings, AnswerSettings
from callkeeper_assets_tests.chaos.installation import Installation
from callkeeper_assets_tests.waiting import wait_until

FIRST, LAST = date(2026, 1, 10), date(2026, 1, 12)
# So late that only webhooks have told of it, and the source has time left to show it.
WEBHOOK_CALL_AT: Final = datetime.now(UTC) - timedelta(minutes=30)
KEY: Final = f"{1:032x}"
# Of no other test: the server writes failed statements into its log, which all tests share.
NATIONAL: Final = "9268047315"
WEBHOOK_CALL: Final = 41
TOKEN: Final = "a-token-of-some-length-0123"
_NOWHERE: Final = "postgresql://somebody:word@127.0.0.1:9/nowhere"
_REPORTS: Final = """\
  reports:
    - name: everything
      fields: [id, phone1, phone2, tags, ip, visit_info, record_url]
    - name: clients
      fields: [id]
      structure:
        - table: client_numbers
          key: [call_id]
          columns:
            call_id: {path: id, type: bigint}
            phone: {path: phone2, type: text}
            words: {path: tags, type: text}
        - table: client_amounts
          key: [call_id]
          columns:
            call_id: {path: id, type: bigint}
            amount: {path: phone2, type: integer}
"""


def list_numbers(simulator: RunningSimulator) -> set[str]:
    """The ten digits of every number of the account, clients' and managers'."""
    account = simulator.simulator.accounts[0]
    calls = account.truth(FIRST, LAST).calls
    written = [call[name] for call in calls for name in ("client_phone", "manager_phone")]
    return {"".join(one for one in str(text) if one.isdigit())[-10:] for text in written}


def do_everything(installation: Installation, ids: tuple[int, int, int]) -> tuple[str, list[Path]]:
    """Load, fail, refuse, build reports, take webhooks with and without database, process them.

    Returns:
        All that was printed, and the spool's files that there were.
    """
    ended = [installation.load(FIRST, LAST, "office")]
    printed = send(installation, build_payloads(ids), away=True)
    spooled = sorted((installation.home / "spool").glob("*.sqlite"))
    printed += send(installation, build_payloads(ids)[:3], away=False)
    words = (
        ("inbox", "office", "--process"),
        ("inbox", "office"),
        ("refresh", "office"),
        *(
            ("report", "office", name, "--from", str(FIRST), "--to", str(LAST))
            for name in ("everything", "clients")
        ),
        ("reconcile", "office", "--from", str(FIRST), "--to", str(LAST)),
        ("status",),
        ("history", str(ids[0])),
    )
    ended += [installation.run(*each) for each in words]
    assert [one.code for one in ended] == [0] * len(ended), ended
    return printed + "".join(one.stdout + one.stderr for one in ended), spooled


def configure(installation: Installation, base_url: str, privacy: str = "") -> None:
    """Write the source's file."""
    installation.add_source(base_url, name="office", key=KEY, webhook_token=TOKEN)
    file = installation.defs / "office" / "defs.yaml"
    more = f"  privacy: {privacy}\n" if privacy else ""
    file.write_text(file.read_text() + more + _REPORTS)


def plant(simulator: RunningSimulator) -> tuple[int, int, int]:
    """Make an account; return two calls of the client, and one of another that mentions it."""
    account = simulator.simulator.add_account(
        AccountSettings(key=KEY, name="office", calls_per_day=8, rhythm="flat"),
        AnswerSettings(unknown_fields=True, nesting="inside"),
    )
    ids = []
    days = (FIRST, LAST, LAST)
    n = NATIONAL
    plans: tuple[dict[str, Any], ...] = (
        {"client_phone": f"+7{n}", "tags": f"Ivan, {n}"},
        {"client_phone": f"8 ({n[:3]}) {n[3:6]}-{n[6:8]}-{n[8:]}"},
        {"tags": f"for 8-{n[:3]}-{n[3:6]}-{n[6:]}"},
    )
    for place, (day, plan) in enumerate(zip(days, plans, strict=True)):
        calls = [
            call
            for call in account.see_day(day)
            if call.visit is not None and call.status_code not in (1, 2, 707)
        ]
        call = calls[place]
        assert call.visit is not None
        page = f"https://a.example/form?phone=%2B7{n}&a=1"
        visit = call.visit._replace(page=page, current=call.visit.current)
        account._replace(day, call, call._replace(visit=visit, **plan))
        ids.append(call.call_id)
    first, second, third = ids
    return first, second, third


def build_payloads(ids: tuple[int, int, int]) -> list[tuple[str, bytes, int]]:
    """Webhooks: content type, body and the answer that it has to get."""
    n = NATIONAL
    call: dict[str, Any] = {
        "id": ids[0],
        "date": f"{FIRST} 12:00:00",
        "hook_event": "Call is over",
        "phone2": f"+7{n}",
        "uip": "203.0.113.17",
        "client_number": n,
        "vst": 2,
    }
    reported = {
        **call,
        "id": WEBHOOK_CALL,
        "date": f"{WEBHOOK_CALL_AT:%Y-%m-%d %H:%M:%S}",
        "phone2": f"8{n}",
    }
    form = {
        **reported,
        "hook_event": "Call is processing",
        "visit_info": json.dumps({"a": f"7{n}"}),
    }
    return [
        ("application/json", json.dumps(call).encode(), 200),
        ("application/json", json.dumps(reported).encode(), 200),
        ("application/x-www-form-urlencoded", urlencode(form).encode(), 200),
        ("application/json", b'{"hook_event": "x", "phone2": "+7' + n.encode() + b'"}', 200),
        ("application/json", b'{"id": 7, "phone2": "8 (926) 804-73-15", ', 400),
        ("text/plain", f"+7{n}".encode("utf-16"), 400),
    ]


def send(installation: Installation, payloads: list[tuple[str, bytes, int]], *, away: bool) -> str:
    """Run a receiver and have it take payloads; return what it printed."""
    if away:
        installation = replace(installation, database=_NOWHERE)
    port = find_free_port()
    receiver = installation.start("callkeeper_assets.cli.main", "webhooks", "--port", str(port))
    try:
        wait_until(lambda: is_listening(port), "the receiver listens")
        if not away:
            wait_until(
                lambda: '"reachable"' in _ask(port, "GET", "/health", {}, b"")[1], "database"
            )
        for content_type, body, status in payloads:
            headers = {"content-type": content_type}
            assert _ask(port, "POST", f"/webhooks/office/{TOKEN}", headers, body)[0] == status
        if not away:
            wait_until(lambda: '"spooled":0' in _ask(port, "GET", "/health", {}, b"")[1], "drained")
    finally:
        receiver.terminate()
        printed = "".join(receiver.communicate(timeout=60))
    return printed


def _ask(
    port: int, method: str, path: str, headers: Mapping[str, str], body: bytes
) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, body, dict(headers))
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()
