"""An S3 server that counts requests and takes its time: `python -m … PORT SECONDS`.

moto's, in a process of its own: in the tests' it would share an interpreter with who asks.
"""

import io
import json
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import boto3
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

from callkeeper_assets.cli.serving import find_free_port, is_listening
from callkeeper_assets_tests.waiting import wait_until

BUCKET: Final = "calls"
# Objects of this source cannot be deleted; S3's own words for it.
REFUSED: Final = "locked"
_REFUSAL: Final = b"""<?xml version="1.0" encoding="UTF-8"?>
<DeleteResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Error>
<Key>raw/locked</Key><Code>AccessDenied</Code><Message>Access Denied</Message>
</Error></DeleteResult>"""
_COUNTS: Final = "/counts"
# By POST: nothing can be written from now on, as on a full disk; by DELETE: it can be again.
_FULL: Final = "/full"


class _Counting:
    """moto's application, asked over this one."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._inner = DomainDispatcherApplication(create_backend_app)
        self._counts: Counter[str] = Counter()
        self._guard = threading.Lock()
        self._is_full = False

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """Answer, after a while."""
        if environ["PATH_INFO"] == _COUNTS:
            start_response("200 OK", [("content-type", "application/json")])
            with self._guard:
                counts, self._counts = self._counts, Counter()
            return [json.dumps(counts).encode()]
        if environ["PATH_INFO"] == _FULL:
            self._is_full = environ["REQUEST_METHOD"] == "POST"
            start_response("204 No Content", [])
            return []
        if self._is_full and environ["REQUEST_METHOD"] == "PUT":
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            start_response("507 Insufficient Storage", [("content-length", "0")])
            return []
        if environ["PATH_INFO"].startswith(f"/{BUCKET}"):
            key = environ["PATH_INFO"].removeprefix(f"/{BUCKET}").strip("/")
            method = environ["REQUEST_METHOD"]
            kind = "LIST" if method == "GET" and not key else method
            with self._guard:
                self._counts[kind] += 1
            time.sleep(self._seconds)
            if kind == "POST":
                body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
                if REFUSED.encode() in body:
                    start_response("200 OK", [("content-type", "application/xml")])
                    return [_REFUSAL]
                environ["wsgi.input"] = io.BytesIO(body)
        answer: Iterable[bytes] = self._inner(environ, start_response)
        return answer


@dataclass(frozen=True)
class ObjectStore:
    """One that runs, with a bucket."""

    port: int

    @property
    def url(self) -> str:
        """Of raw calls."""
        return f"s3://{BUCKET}/raw"

    @property
    def variables(self) -> Mapping[str, str]:
        """By what the file system finds it."""
        return {
            "CALLKEEPER_RAW_URL": self.url,
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def take_counts(self) -> dict[str, int]:
        """Return how many requests came since the last time, by kind."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{_COUNTS}") as answer:
            counts: dict[str, int] = json.load(answer)
        return counts

    def refuse_writing(self, *, is_full: bool) -> None:
        """Have it refuse all that is to be written, or take it again."""
        method = "POST" if is_full else "DELETE"
        url = f"http://127.0.0.1:{self.port}{_FULL}"
        urllib.request.urlopen(urllib.request.Request(url, method=method)).close()

    def open_client(self) -> Any:  # noqa: ANN401 -- boto's
        """Return a client of S3."""
        return boto3.client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{self.port}",
            aws_access_key_id="test",
            aws_secret_access_key="test",
            region_name="us-east-1",
        )


@contextmanager
def run_object_store(seconds: float = 0.0) -> Iterator[ObjectStore]:
    """Keep one while the block runs; each request takes so long."""
    store = ObjectStore(find_free_port())
    command = [sys.executable, "-m", __name__, str(store.port), str(seconds)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: is_listening(store.port), "the object store listens")
        store.open_client().create_bucket(Bucket=BUCKET)
        store.take_counts()
        yield store
    finally:
        process.terminate()
        process.wait()


def _serve(port: int, seconds: float) -> None:
    server = make_server("127.0.0.1", port, _Counting(seconds), threaded=True)
    server.serve_forever()


if __name__ == "__main__":
    _serve(int(sys.argv[1]), float(sys.argv[2]))
