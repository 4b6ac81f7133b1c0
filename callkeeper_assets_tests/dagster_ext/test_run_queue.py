"""How the queue is looked at, with a run server that says how much room there is."""

import json
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import dagster as dg
import pytest
from dagster._core.remote_origin import (  # noqa: TID251 -- a queued run has one
    RegisteredCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.test_utils import (  # noqa: TID251 -- with settings that need no file
    create_run_for_test,
    instance_for_test,
)

from callkeeper_assets.dagster_ext.queue_daemon import PromptQueueDaemon
from callkeeper_assets.dagster_ext.run_socket import socket_file

_PLACE = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("here"), "all")
_ONE_AT_ONCE = {"callkeeper/source": "shop"}
_SETTINGS: Mapping[str, Any] = {
    "run_coordinator": {
        "module": "callkeeper_assets.dagster_ext.run_queue",
        "class": "RoomyRunCoordinator",
        "config": {
            "tag_concurrency_limits": [
                {
                    "key": "callkeeper/source",
                    "limit": 1,
                    "value": {"applyLimitPerUniqueValue": True},
                }
            ]
        },
    },
    # It remembers what it was given.
    "run_launcher": {"module": "dagster._core.test_utils", "class": "MockedRunLauncher"},
}


class _Context:
    """What the daemon works with."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.instance = instance

    def create_request_context(self) -> None:
        """Runs need none of their code here."""


@contextmanager
def _places(counts: Sequence[int]) -> Iterator[None]:
    """Answer as the run server does: so many places, and the last number for ever."""
    file = socket_file()
    file.parent.mkdir(parents=True)
    left = list(counts)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(file))
        listener.listen()

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection, connection.makefile("rb") as lines:
                    assert json.loads(lines.readline()) == {"places": True}
                    count = left.pop(0) if len(left) > 1 else left[0]
                    connection.sendall(json.dumps({"places": count}).encode() + b"\n")

        server = threading.Thread(target=serve)
        server.start()
        try:
            yield
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            server.join()


@pytest.fixture
def instance(home: object) -> Iterator[dg.DagsterInstance]:  # noqa: ARG001
    """One with our queue, and a launcher that starts nothing."""
    with instance_for_test(overrides=dict(_SETTINGS)) as made:
        # As the daemon does: who asks is who looks at the queue.
        assert made.run_coordinator.dequeue_interval_seconds  # type: ignore[attr-defined]
        yield made


def _queue(instance: dg.DagsterInstance, count: int, tags: Mapping[str, str] = {}) -> None:
    for _ in range(count):
        create_run_for_test(
            instance,
            status=dg.DagsterRunStatus.QUEUED,
            tags=dict(tags),
            remote_job_origin=RemoteJobOrigin(_PLACE, "load"),
        )


def _look_once(instance: dg.DagsterInstance) -> int:
    """Let the daemon do what it does between two rests; return how many runs it started."""
    daemon = PromptQueueDaemon(interval_seconds=1)
    with daemon:
        for _ in daemon.run_iteration(_Context(instance)):  # type: ignore[arg-type]
            pass
    return len(instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTING])))


def test_runs_that_wait_for_room_start_without_a_rest_when_there_is_some(
    instance: dg.DagsterInstance,
) -> None:
    _queue(instance, 4)
    with _places([1, 0, 0, 2, 0, 2]):
        assert _look_once(instance) == 4


def test_a_run_that_waits_for_another_of_its_source_is_left_until_after_the_rest(
    instance: dg.DagsterInstance,
) -> None:
    _queue(instance, 2, _ONE_AT_ONCE)
    with _places([8]):
        assert _look_once(instance) == 1


def test_without_a_run_server_the_settings_number_is_the_limit(
    instance: dg.DagsterInstance,
) -> None:
    _queue(instance, 12)
    assert _look_once(instance) == 10
