"""After a load and webhooks of numbers in all writings, none is in any table, file, log or event.

Searched by digits alone, by nothing of the product's.
"""

import json
import re
import unicodedata
from datetime import UTC, date, datetime, timedelta
from html import unescape
from urllib.parse import unquote_plus, urlencode

import pytest

from callkeeper_assets.simulator.server import RunningSimulator, run_simulator
from callkeeper_assets.simulator.settings import AccountSettings
from callkeeper_assets_tests.chaos.installation import Installation
from callkeeper_assets_tests.e2e.clients import KEY, TOKEN, send
from callkeeper_assets_tests.e2e.secret_search import Searcher
from callkeeper_assets_tests.privacy.number_corpus import NUMBERS, list_writings

_FIRST, _LAST = date(2026, 1, 10), date(2026, 1, 12)
_TOLD_AT = f"{datetime.now(UTC) - timedelta(minutes=30):%Y-%m-%d %H:%M:%S}"
_RUN = re.compile(r"\d(?:[^\w\"'{}]{0,4}\d){8,}")


class _DigitSearcher(Searcher):
    def is_in(self, content: bytes) -> bool:
        """Whether a number's national digits stand there, whatever is between them."""
        text = content.decode("utf-8", "replace")
        if "%" in text or "&" in text:
            text += "\n" + unescape(unquote_plus(unquote_plus(text)))
        runs = (
            "".join(str(unicodedata.decimal(one, "")) for one in run.replace("(0)", ""))
            for run in _RUN.findall(text)
        )
        return any(number.national in run for run in runs for number in NUMBERS)


def _plant(simulator: RunningSimulator) -> int:
    """Give each call of three days a client and tags in another writing; return how many."""
    account = simulator.simulator.add_account(
        AccountSettings(key=KEY, name="office", calls_per_day=270, rhythm="flat")
    )
    written = list_writings()
    count = 0
    for place in range((_LAST - _FIRST).days + 1):
        day = _FIRST + timedelta(days=place)
        for call in list(account.see_day(day)):
            number, _, text = next(written, (None, "", ""))
            if number is not None:
                tags = f"see {text}" if count % 2 else f"{number.whole}"
                # The simulator's own numbers have nothing to escape.
                phone = json.dumps(text)[1:-1]
                account._replace(day, call, call._replace(client_phone=phone, tags=tags))
                count += 1
    return count


def _list_webhooks() -> list[tuple[str, bytes, int]]:
    payloads = []
    for place, (_, _, text) in enumerate(list_writings()):
        fields = {"id": str(1000 + place), "phone2": text, "tags": text, "date": _TOLD_AT}
        if place % 3:
            payloads.append(("application/json", json.dumps(fields).encode(), 200))
        else:
            # Of two values the last one counts, and a number that nobody names is none in tags.
            body = urlencode(fields).encode() + b"&phone2=&tags=x"
            payloads.append(("application/x-www-form-urlencoded", body, 200))
    return payloads


@pytest.mark.parametrize(
    "privacy",
    ["{phones: mask, ips: mask}", "{phones: hash, key: {env: OFFICE_PRIVACY_KEY}, ips: drop}"],
)
def test_no_writing_of_a_number_is_anywhere(
    installation: Installation, postgres_server: object, privacy: str
) -> None:
    assert postgres_server
    installation.variables["OFFICE_PRIVACY_KEY"] = "a key to hash with, long enough"
    searcher = _DigitSearcher([])
    with run_simulator([]) as simulator:
        assert _plant(simulator) > 700
        installation.add_source(simulator.base_url, name="office", key=KEY, webhook_token=TOKEN)
        file = installation.defs / "office" / "defs.yaml"
        file.write_text(file.read_text() + f"  privacy: {privacy}\n")
        ended = installation.load(_FIRST, _LAST, "office")
        assert ended.code == 0, ended
        printed = send(installation, _list_webhooks(), away=False)
        processed = installation.run("inbox", "office", "--process")
        assert processed.code == 0, processed
    printed += ended.stdout + ended.stderr + processed.stdout + processed.stderr
    [(calls, phones)] = installation.query(
        "SELECT count(*), count(nullif(client_phone, '')) FROM callkeeper_calls"
    )
    assert calls > 1400
    assert phones > 1100
    assert not searcher.is_in(printed.encode())
    assert list(searcher.search_tables(installation)) == []
    assert list(searcher.search_files(installation.home)) == []
    (installation.home / "planted.log").write_text(f"+{NUMBERS[0].whole}")
    assert list(searcher.search_files(installation.home)) == ["planted.log"]
