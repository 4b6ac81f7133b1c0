"""`deploy/compose.yaml`: what it says is what its tool takes, and its commands work together.

Containers cannot be started everywhere; the same commands in the same order can. The proxy's part
is tried with Caddy itself, where it is installed.
"""

import base64
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest
import yaml

from callkeeper_assets.cli.serving import find_free_port, is_listening
from callkeeper_assets.simulator.server import RunningSimulator, run_simulator
from callkeeper_assets.simulator.settings import AccountSettings
from callkeeper_assets_tests.chaos.installation import KEY, SOURCE, Installation
from callkeeper_assets_tests.deploy.conftest import DEPLOY
from callkeeper_assets_tests.waiting import wait_until
from callkeeper_assets_tests.warm import WarmPopen

_COMPOSE: Final[Mapping[str, Any]] = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))
_SERVICES: Final[Mapping[str, Mapping[str, Any]]] = _COMPOSE["services"]
_OURS: Final = [name for name, one in _SERVICES.items() if one["image"] == "callkeeper-assets"]
_TOKEN: Final = "token-0123456789abcdef"


def _find_compose() -> list[str] | None:
    """Return the command of Compose, of its second version or of its first; None: neither."""
    for words in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(words[0]):
            done = subprocess.run([*words, "version"], capture_output=True, check=False)
            if done.returncode == 0:
                return words
    return None


def test_compose_takes_the_file(tmp_path: Path) -> None:
    words = _find_compose()
    if words is None:
        pytest.skip("neither `docker compose` nor docker-compose is installed here")
    text = (DEPLOY / "compose.yaml").read_text("utf-8")
    if words == ["docker-compose"]:
        # Its first version knows no name.
        text = text.replace("\nname: callkeeper\n", "\n")
    (tmp_path / "compose.yaml").write_text(text, "utf-8")
    for name in ("callkeeper.env", "proxy.env", "users"):
        (tmp_path / name).touch()
    done = subprocess.run(
        [*words, "-f", "compose.yaml", "--profile", "webhooks", "--profile", "alerts", "config"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert set(yaml.safe_load(done.stdout)["services"]) == set(_SERVICES)


def test_only_the_proxy_is_reached_from_outside_and_nothing_of_ours_may_much() -> None:
    assert [name for name, one in _SERVICES.items() if "ports" in one] == ["proxy"]
    for name in _OURS:
        one = _SERVICES[name]
        assert one["read_only"], name
        assert one["cap_drop"] == ["ALL"], name
        assert one["security_opt"] == ["no-new-privileges:true"], name
        assert "./secrets:/run/secrets:ro" in one["volumes"], name


class _Machine:
    """The containers as processes of one machine, each service at a port of its own."""

    def __init__(self, installation: Installation, folder: Path) -> None:
        self.ports: dict[str, int] = {}
        self._installation = installation
        self._folder = folder
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def _translate(self, name: str) -> list[str]:
        words = [str(word) for word in _SERVICES[name]["command"]]
        for place, word in enumerate(words[:-1]):
            if word == "--host":
                words[place + 1] = "127.0.0.1"
            elif word == "--port":
                self.ports[name] = find_free_port()
                words[place + 1] = str(self.ports[name])
            elif word == "--code":
                host, _, port = words[place + 1].partition(":")
                assert port == _port_of(host)
                words[place + 1] = f"127.0.0.1:{self.ports[host]}"
        return words

    def start(self) -> None:
        """Start all of ours, each when those that it depends on are healthy."""
        waiting = list(_OURS)
        while waiting:
            for name in waiting:
                needed = set(_SERVICES[name].get("depends_on", ())) - {"db"}
                if needed <= self._processes.keys():
                    self._start(name)
                    waiting.remove(name)
                    break

    def _start(self, name: str) -> None:
        for needed, how in _SERVICES[name].get("depends_on", {}).items():
            if how["condition"] == "service_healthy" and needed != "db":
                wait_until(partial(is_listening, self.ports[needed]), f"{needed} listens")
        with self.log_of(name).open("wb") as log:
            self._processes[name] = WarmPopen(
                [sys.executable, "-m", "callkeeper_assets.cli.main", *self._translate(name)],
                env=self._installation.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def log_of(self, name: str) -> Path:
        """Return what a service has said."""
        return self._folder / f"{name}.log"

    def stop(self) -> dict[str, float]:
        """Stop all, who depends on others first; return how long each took."""
        taken = {}
        for name, process in reversed(self._processes.items()):
            began = time.monotonic()
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0, self.log_of(name).read_text()
            taken[name] = time.monotonic() - began
        return taken

    def kill(self) -> None:
        """End what is left."""
        for process in self._processes.values():
            process.kill()
            process.wait()


def _port_of(name: str) -> str:
    words = _SERVICES[name]["command"]
    return str(words[words.index("--port") + 1])


@pytest.fixture
def simulator() -> Iterator[RunningSimulator]:
    """CallKeeper with one account."""
    with run_simulator([AccountSettings(key=KEY, name=SOURCE, calls_per_day=10)]) as running:
        yield running


@pytest.fixture
def machine(installation: Installation, tmp_path: Path) -> Iterator[_Machine]:
    """A machine; nothing of it is left after the test."""
    one = _Machine(installation, tmp_path)
    yield one
    one.kill()


def _ask(url: str, body: bytes | None = None) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, body, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, refused.read().decode()


def _check_that_no_second_code_server_shares_the_port(
    installation: Installation, port: int
) -> None:
    """As gRPC would let it: each would answer by turns, the first with what was before."""
    second = installation.run("code", "--port", str(port))
    assert second.code == 1
    assert f"callkeeper code at port {port} runs already with this home" in second.stderr
    other = replace(installation, home=installation.home / "other")
    third = other.run("code", "--port", str(port))
    assert third.code == 1
    assert f"127.0.0.1:{port} cannot be listened at: Address already in use" in third.stderr


@pytest.mark.e2e
def test_the_commands_work_together_and_each_ends_within_its_time(
    installation: Installation, simulator: RunningSimulator, machine: _Machine, tmp_path: Path
) -> None:
    installation.add_source(simulator.base_url, webhook_token=_TOKEN)
    # As compose gives them: files, named by a variable or by where they lie.
    credentials = tmp_path / "secrets"
    credentials.mkdir()
    for name in (f"{SOURCE.upper()}_API_KEY", f"{SOURCE.upper()}_WEBHOOK_TOKEN"):
        (credentials / name).write_text(f"{installation.variables.pop(name)}\n", "utf-8")
    installation.variables["CREDENTIALS_DIRECTORY"] = str(credentials)
    (credentials / "CALLKEEPER_DATABASE_URL").write_text(installation.database, "utf-8")
    installation.variables["CALLKEEPER_ALERT_WEBHOOK_URL"] = "http://127.0.0.1:9/nobody"
    machine.start()
    urls = {name: f"http://127.0.0.1:{port}" for name, port in machine.ports.items()}

    def is_well() -> bool:
        return is_listening(machine.ports["metrics"]) and (
            _ask(f"{urls['metrics']}/health")[0] == 200
        )

    wait_until(is_well, "the daemon lives", 120)
    wait_until(lambda: is_listening(machine.ports["web"]), "the web server listens", 120)
    assert _ask(f"{urls['web']}/server_info")[0] == 200
    sent = f"{urls['webhooks']}/webhooks/{SOURCE}/{_TOKEN}"
    wait_until(lambda: is_listening(machine.ports["webhooks"]), "the receiver listens")
    assert _ask(sent, b'{"id": 1}')[0] == 200

    # By the sensor of the inbox: daemon, code server, queue, and a fork of the run server.
    def is_looked_at() -> bool:
        # The receiver takes a webhook before there are tables.
        with suppress(psycopg.errors.UndefinedTable):
            return installation.query("SELECT state FROM callkeeper_webhooks") == [("rejected",)]
        return False

    wait_until(is_looked_at, "a run has looked at the webhook", 120)
    text = _ask(f"{urls['metrics']}/metrics")[1]
    assert "callkeeper_key_missing{source=" in text
    assert f'callkeeper_key_missing{{source="{SOURCE}"}} 0.0' in text
    assert _TOKEN not in machine.log_of("webhooks").read_text()

    _check_that_no_second_code_server_shares_the_port(installation, machine.ports["code"])
    for name, seconds in machine.stop().items():
        assert seconds < int(_SERVICES[name]["stop_grace_period"].rstrip("s")), name


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[Mapping[str, int]]:
    """Caddy with the deployment's file, before two servers of nothing; yields its ports."""
    caddy = shutil.which("caddy")
    if caddy is None:
        pytest.skip("caddy is not installed here")
    hashed = subprocess.run(
        [caddy, "hash-password", "--plaintext", "on duty"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    users = tmp_path / "users"
    users.write_text(f"duty {hashed}\n", "utf-8")
    behind = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    web, hooks = (one.getsockname()[1] for one in behind)
    ports = {"ui": find_free_port(), "hooks": find_free_port(), "web": web, "receiver": hooks}
    for one in behind:
        one.close()
    environment = {
        **os.environ,
        "XDG_DATA_HOME": str(tmp_path / "data"),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "CALLKEEPER_UI_NAME": f"localhost:{ports['ui']}",
        "CALLKEEPER_HOOKS_NAME": f"localhost:{ports['hooks']}",
        "CALLKEEPER_USERS": str(users),
        "CALLKEEPER_WEB": f"127.0.0.1:{web}",
        "CALLKEEPER_WEBHOOKS": f"127.0.0.1:{hooks}",
    }
    text = (DEPLOY / "Caddyfile").read_text("utf-8")
    file = tmp_path / "Caddyfile"
    # No ports that are the machine's, and no certificate in its store.
    options = "{\n\tadmin off\n\tauto_https disable_redirects\n\tskip_install_trust\n}\n"
    file.write_text(options + text, "utf-8")
    process = subprocess.Popen(
        [caddy, "run", "--config", str(file), "--adapter", "caddyfile"],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(lambda: is_listening(ports["ui"]), "the proxy listens")
        yield ports
    finally:
        process.terminate()
        process.wait(30)


def _ask_proxy(port: int, path: str, password: str = "") -> int:
    context = ssl.create_default_context()
    # Its certificate is of its own making.
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    request = urllib.request.Request(f"https://localhost:{port}{path}")
    if password:
        word = base64.b64encode(f"duty:{password}".encode()).decode()
        request.add_header("authorization", f"Basic {word}")
    try:
        with urllib.request.urlopen(request, timeout=30, context=context) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code


def test_the_proxy_asks_for_a_password_before_the_ui_and_lets_only_webhooks_through(
    proxy: Mapping[str, int],
) -> None:
    """502 is the proxy's word that nobody is behind it: so far the request would have come."""
    wait_until(lambda: _ask_proxy(proxy["ui"], "/") == 401, "it asks for a password")
    assert _ask_proxy(proxy["ui"], "/", "wrong") == 401
    assert _ask_proxy(proxy["ui"], "/graphql") == 401
    assert _ask_proxy(proxy["ui"], "/", "on duty") == 502
    assert _ask_proxy(proxy["hooks"], "/webhooks/office/token") == 502
    for path in ("/", "/metrics", "/health", "/webhooksx"):
        assert _ask_proxy(proxy["hooks"], path) == 404


def test_the_board_can_be_imported() -> None:
    board = json.loads((DEPLOY / "monitoring" / "grafana.json").read_text("utf-8"))
    places = [tuple(panel["gridPos"].values())[:2] for panel in board["panels"]]
    assert len(places) == len(set(places))
