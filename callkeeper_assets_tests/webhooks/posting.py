"""Senders that post side by side and remember what they were answered.

Each payload is posted as CallKeeper would: once, whatever comes of it; some are posted twice, as
different requests. An answer that never came is `None`: such a payload may be kept or not.
"""

import http.client
import threading
import time
from collections import Counter
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from callkeeper_assets_tests.webhooks.installation import url_of

_HEADERS: Final = {"content-type": "application/json"}


class Posting:
    """Posts while the block runs, or until so many were posted.

    Attributes:
        answers: By body, the status of each posting.
    """

    def __init__(
        self,
        find_port: Callable[[], int],
        *,
        senders: int = 4,
        pause_sec: float = 0.01,
        repeat_every: int = 7,
    ) -> None:
        self.answers: dict[bytes, list[int | None]] = {}
        self._find_port = find_port
        self._pause_sec = pause_sec
        self._repeat_every = repeat_every
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._run, args=(number,), name=f"sender-{number}")
            for number in range(senders)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    @property
    def posted(self) -> int:
        """Requests so far."""
        with self._lock:
            return sum(map(len, self.answers.values()))

    def count(self) -> Counter[int | None]:
        """How often each status was answered."""
        return Counter(status for statuses in self.answers.values() for status in statuses)

    def check(self, inbox: dict[bytes, tuple[int, str, str | None]]) -> None:
        """Compare with the inbox: all that was answered 200 is in it, each coming counted once."""
        missing = [b for b, answers in self.answers.items() if 200 in answers and b not in inbox]
        assert missing == []
        unknown = [body for body in inbox if body not in self.answers]
        assert unknown == []
        for body, (count, _, _) in inbox.items():
            answers = self.answers[body]
            kept, uncertain = answers.count(200), len(answers) - answers.count(503)
            assert kept <= count <= uncertain, (body, answers, count)

    def _run(self, sender: int) -> None:
        connection: http.client.HTTPConnection | None = None
        number = 0
        while not self._ended.is_set():
            number += 1
            body = b'{"id": %d, "of": %d}' % (number, sender)
            for _ in range(2 if number % self._repeat_every == 0 else 1):
                if connection is None:
                    connection = http.client.HTTPConnection(
                        "127.0.0.1", self._find_port(), timeout=30
                    )
                status: int | None = None
                try:
                    connection.request("POST", url_of("office"), body, _HEADERS)
                    answer = connection.getresponse()
                    answer.read()
                    status = answer.status
                except (OSError, http.client.HTTPException):
                    connection.close()
                    connection = None
                with self._lock:
                    self.answers.setdefault(body, []).append(status)
            time.sleep(self._pause_sec if connection else 10 * self._pause_sec)
        if connection is not None:
            connection.close()
