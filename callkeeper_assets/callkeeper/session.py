"""HTTP with one source: one keep-alive session, time-outs, bounded retries.

429 and 5xx are retried, `Retry-After` is heeded; no other 4xx is. Nothing outside of this package
sees `requests`.
"""

import logging
import random
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.cookiejar import DefaultCookiePolicy
from typing import Final, TypeVar
from urllib.parse import urlsplit

import requests
import urllib3

from callkeeper_assets.callkeeper.bodies import (
    OK,
    AnswerProblem,
    connection_problem,
    cut_problem,
    is_no_calls,
    is_of_unified_api,
    problem_of_status,
    read_reason,
    timeout_problem,
)
from callkeeper_assets.callkeeper.records import AbortError, RetryLaterError
from callkeeper_assets.language import tr
from callkeeper_assets.privacy.redaction import RedactingFilter, excerpt, register_secret

_CHUNK_BYTES: Final = 1 << 18
_EMPTY_ANSWER: Final = b"[]"
# A source that sends a little now and then is never silent; it has this many time-outs in all.
_TIMEOUTS_AN_ANSWER: Final = 5
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
# How a web server says that there is no program at an address; 403 of a folder without one.
_NOTHING_HERE: Final = frozenset({403, 404, 405, 410})
_OS_ERROR: Final = re.compile(r"\[Errno -?\d+\] [^'\")>]+")
_REDACTING_FILTER: Final = RedactingFilter()

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How patiently to ask again: after 0.5, 1, 2, 4, 8 s as a rule, each shortened by chance.

    A `Retry-After` that is longer is obeyed up to `longest_retry_after_sec`; beyond that it is a
    failure that a later load retries, not a reason to wait.
    """

    retries: int = 5
    first_pause_sec: float = 0.5
    longest_pause_sec: float = 30.0
    longest_retry_after_sec: float = 120.0

    def pause_sec(self, retry: int) -> float:
        """Return the pause before a retry (from 0), partly by chance: no two retry in step."""
        pause = min(self.longest_pause_sec, self.first_pause_sec * 2.0**retry)
        return pause * random.uniform(0.5, 1.0)  # noqa: S311 - no secret


@dataclass(slots=True)
class RequestContext:
    """What the requests of one task share: a count of them, and the signal to stop."""

    stop: threading.Event
    requests: int = 0
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))


@dataclass(frozen=True, slots=True)
class _Reply:
    status: int
    body: bytes
    retry_after: str | None
    location: str | None

    @property
    def is_of_an_api(self) -> bool:
        """Whether an API answered, well or badly; else none is at the address that was asked."""
        if self.status not in _REDIRECTS and self.status not in _NOTHING_HERE:
            return True
        return is_of_unified_api(self.body) or is_no_calls(self.status, self.body)

    def describe_problem(self) -> AnswerProblem:
        """Return what an answer without data means and what to do about it."""
        said = read_reason(self.body)
        if self.status in _REDIRECTS:
            # The host alone: the rest of it may hold the key.
            target = urlsplit(self.location or "")
            said = tr(
                "a redirect to {scheme}://{hostname}",
                scheme=target.scheme or "http",
                hostname=target.hostname or "itself",
            )
        return problem_of_status(self.status, said, _parse_retry_after(self.retry_after))


def _parse_retry_after(text: str | None) -> float | None:
    """Return seconds, 0 for a date that has passed; None for a missing or unreadable header.

    urllib3's own reading cuts what is longer than six hours.
    """
    text = (text or "").strip()
    if text.isascii() and text.isdecimal():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
        return max(0.0, moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


def _short(error: Exception) -> str:
    text = str(error)
    os_error = _OS_ERROR.search(text)
    return excerpt(os_error.group() if os_error else text)


def _problem_of_connection(error: requests.exceptions.ConnectionError) -> AnswerProblem:
    if isinstance(error, requests.exceptions.SSLError) and "certificate" in str(error).lower():
        remedy = tr("The host's certificate is not accepted: check base_url and the proxy")
        return AnswerProblem(AbortError, _short(error), remedy)
    if error.args and isinstance(error.args[0], urllib3.exceptions.ProtocolError):
        return cut_problem(tr("no answer: the connection was closed"))
    return connection_problem(tr("no connection ({error})", error=_short(error)))


def _problem_of_exception(error: Exception, timeout_sec: float) -> AnswerProblem:
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return connection_problem(
            tr("no connection within {timeout_sec:g} s", timeout_sec=timeout_sec)
        )
    if isinstance(error, requests.exceptions.ReadTimeout) or "Read timed out" in str(error):
        return timeout_problem(tr("no answer within {timeout_sec:g} s", timeout_sec=timeout_sec))
    if isinstance(
        error, requests.exceptions.ChunkedEncodingError | requests.exceptions.ContentDecodingError
    ):
        return cut_problem(tr("an answer that was cut short: the connection closed before its end"))
    if isinstance(error, requests.exceptions.ConnectionError):
        return _problem_of_connection(error)
    if isinstance(error, ValueError):
        return AnswerProblem(
            AbortError,
            tr("no request could be made ({error})", error=_short(error)),
            tr("Check base_url"),
        )
    return connection_problem(tr("no answer ({error})", error=_short(error)))


class SourceSession:
    """Asks one source over one pool of connections; safe to use from several threads.

    Where an API may be at one of several addresses, the first at which it answers is remembered.
    """

    def __init__(
        self,
        *,
        addresses: Sequence[str],
        api_key: str,
        at_most: int,
        timeout_sec: float,
        retry: RetryPolicy,
    ) -> None:
        register_secret(api_key)
        for name in ("urllib3.connectionpool", "urllib3.util.retry"):
            logging.getLogger(name).addFilter(_REDACTING_FILTER)
        self._addresses = tuple(addresses)
        self._timeout_sec = timeout_sec
        self._retry = retry
        self._http = requests.Session()
        self._http.headers["User-Agent"] = "callkeeper-assets"
        # PHP answers requests of one session cookie one after another.
        self._http.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        adapter = requests.adapters.HTTPAdapter(pool_connections=1, pool_maxsize=at_most)
        self._http.mount("http://", adapter)
        self._http.mount("https://", adapter)

    @property
    def address(self) -> str:
        """The address that is asked first: the one that answered, if one has."""
        return self._addresses[0]

    def close(self) -> None:
        """Close the connections that are kept alive."""
        self._http.close()

    def ask(
        self,
        target: str,
        parameters: Mapping[str, str],
        read: Callable[[bytes], T | AnswerProblem],
        context: RequestContext,
        *,
        can_be_halved: bool = False,
    ) -> T | AnswerProblem:
        """Ask, with retries, and return what `read` makes of the answer, or the last problem.

        Args:
            target: What follows the address.
            parameters: Of the query, the key among them unless the target has it.
            read: Reads a body; is given an empty list for a refusal that says so.
            context: The task that the request belongs to.
            can_be_halved: Whether the caller would rather ask for less than once more.
        """
        retries = 0
        while True:
            if context.stop.is_set():
                return AnswerProblem(
                    RetryLaterError, tr("nothing, as another day failed"), tr("See that one")
                )
            context.requests += 1
            answer = self._ask_once(target, parameters, read, context.stop)
            if not isinstance(answer, AnswerProblem):
                return answer
            allowed = answer.retries
            if can_be_halved and answer.retries_before_halving is not None:
                allowed = answer.retries_before_halving
            if retries >= min(allowed, self._retry.retries):
                return answer
            asked_for = answer.pause_sec or 0.0
            if asked_for > self._retry.longest_retry_after_sec:
                longest = self._retry.longest_retry_after_sec
                came_back = tr(
                    "{came_back}, to be asked again after {asked_for:.0f} s, longer than the "
                    "{longest:.0f} s that are waited for",
                    came_back=answer.came_back,
                    asked_for=asked_for,
                    longest=longest,
                )
                return AnswerProblem(RetryLaterError, came_back, tr("Try again after that time"))
            # A 0, or a clock that is behind, must not spend all tries at once.
            context.stop.wait(max(asked_for, self._retry.pause_sec(retries)))
            retries += 1

    def _ask_once(
        self,
        target: str,
        parameters: Mapping[str, str],
        read: Callable[[bytes], T | AnswerProblem],
        stop: threading.Event,
    ) -> T | AnswerProblem:
        reply = self._send_to_any(target, parameters, stop)
        if isinstance(reply, AnswerProblem):
            return reply
        if reply.status == OK:
            return read(reply.body)
        if is_no_calls(reply.status, reply.body):
            return read(_EMPTY_ANSWER)
        problem = reply.describe_problem()
        others = [urlsplit(address).path or "/" for address in self._addresses[1:]]
        if others and not reply.is_of_an_api:
            came_back = tr(
                "{came_back}, and nothing better at {names}",
                came_back=problem.came_back,
                names=", ".join(others),
            )
            return replace(problem, came_back=came_back)
        return problem

    def _send_to_any(
        self, target: str, parameters: Mapping[str, str], stop: threading.Event
    ) -> _Reply | AnswerProblem:
        """Send to the first address at which an API answers; of none, what the first said."""
        first = None
        for address in self._addresses:
            reply = self._send(f"{address}{target}", parameters, stop)
            if isinstance(reply, AnswerProblem) or reply.is_of_an_api:
                if first and not isinstance(reply, AnswerProblem):
                    others = [each for each in self._addresses if each != address]
                    self._addresses = (address, *others)
                return reply
            first = first or reply
        return first or connection_problem(tr("no address to ask at"))

    def _send(
        self, url: str, parameters: Mapping[str, str], stop: threading.Event
    ) -> _Reply | AnswerProblem:
        deadline = time.monotonic() + _TIMEOUTS_AN_ANSWER * self._timeout_sec
        chunks: list[bytes] = []
        try:
            with self._http.get(
                url,
                params=parameters,
                timeout=self._timeout_sec,
                allow_redirects=False,  # the key would go along
                stream=True,
            ) as response:
                for chunk in response.iter_content(_CHUNK_BYTES):
                    chunks.append(chunk)
                    if stop.is_set() or time.monotonic() > deadline:
                        seconds = _TIMEOUTS_AN_ANSWER * self._timeout_sec
                        return timeout_problem(
                            tr("an answer still unfinished after {seconds:g} s", seconds=seconds)
                        )
                return _Reply(
                    response.status_code,
                    b"".join(chunks),
                    response.headers.get("Retry-After"),
                    response.headers.get("Location"),
                )
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            return _problem_of_exception(error, self._timeout_sec)
