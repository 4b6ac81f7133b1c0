"""What `check` finds out about a source's webhooks: the URL to paste, and how good its token is.

The URL holds the token: it is shown here and nowhere else.
"""

from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import quote, urlsplit

from callkeeper_assets.cli.findings import Finding, State
from callkeeper_assets.config.errors import MissingSecretError
from callkeeper_assets.config.source import Source
from callkeeper_assets.home import configured_webhook_url

_LOCAL_URL: Final = "http://127.0.0.1:8080"
_LOCAL_HOSTS: Final = ("127.0.0.1", "localhost", "::1")
_SHORTEST_TOKEN: Final = 16
_A_NEW_ONE: Final = "python -c 'import secrets; print(secrets.token_urlsafe(24))'"


def find_shared_tokens(sources: Sequence[Source]) -> Mapping[str, tuple[str, ...]]:
    """Return, by token, the names of the sources that have it."""
    names: dict[str, tuple[str, ...]] = {}
    for source in sources:
        if source.webhook is not None:
            try:
                token = source.read_webhook_token()
            except MissingSecretError:
                continue
            names[token] = (*names.get(token, ()), source.name)
    return names


def check_webhook(source: Source, tokens: Mapping[str, tuple[str, ...]]) -> list[Finding]:
    """Check a source's webhooks; no finding if it takes none.

    Args:
        source: The source.
        tokens: As `find_shared_tokens` returns it, of all sources.
    """
    if source.webhook is None:
        return []
    try:
        token = source.read_webhook_token()
    except MissingSecretError as error:
        return [Finding(source.name, "webhook", "bad", str(error))]
    base = configured_webhook_url() or _LOCAL_URL
    problem = _find_url_problem(base)
    if problem:
        return [Finding(source.name, "webhook", "bad", problem)]
    url = f"{base}/webhooks/{source.name}/{quote(token, safe='')}"
    remarks = _remark(source, source.webhook.token_env, token, base, tokens)
    state: State = "warning" if remarks else "good"
    if not configured_webhook_url():
        remarks.append(
            "It is for this machine: set CALLKEEPER_WEBHOOK_URL to the address under which "
            "CallKeeper reaches the receiver."
        )
    text = f"put into CallKeeper's cabinet, {source.webhook_page}: {url}"
    return [Finding(source.name, "webhook", state, "\n".join([text, *remarks]))]


def _find_url_problem(base: str) -> str | None:
    try:
        parts = urlsplit(base)
        _ = parts.port
    except ValueError:
        parts = urlsplit("")
    if parts.scheme in {"http", "https"} and parts.hostname and not (parts.query or parts.fragment):
        return None
    return "CALLKEEPER_WEBHOOK_URL must be an address such as https://hooks.example.com."


def _remark(
    source: Source, variable: str, token: str, base: str, tokens: Mapping[str, tuple[str, ...]]
) -> list[str]:
    """Say what makes this URL less safe than it should be."""
    remarks = []
    if len(token) < _SHORTEST_TOKEN:
        remarks.append(
            f"The token in {variable} has less than {_SHORTEST_TOKEN} characters, and the URL is "
            f"all that protects it. Make a new one: {_A_NEW_ONE}"
        )
    others = [name for name in tokens.get(token, ()) if name != source.name]
    if others:
        remarks.append(
            f"The token in {variable} is also that of {', '.join(others)}: who has one URL has the "
            f"others. Give each source its own: {_A_NEW_ONE}"
        )
    parts = urlsplit(base)
    if parts.scheme == "http" and parts.hostname not in _LOCAL_HOSTS:
        remarks.append(
            "Over http the token can be read on its way: put a proxy with TLS before the receiver."
        )
    return remarks
