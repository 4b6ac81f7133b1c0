"""Whom alerts go to, by the environment; every secret in it is known to `redact` from then on.

A channel is named by its kind and a digest of its address: `tgram-3f2a91` says which one it is, in
tables and logs too, and nothing of its token.
"""

import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Literal
from urllib.parse import parse_qsl, unquote, urlsplit

from callkeeper_assets.config.errors import ConfigError
from callkeeper_assets.home import read_secret
from callkeeper_assets.language import tr
from callkeeper_assets.privacy.redaction import register_secret

Language = Literal["en", "ru"]

_WEBHOOK: Final = "webhook"
_SECRET_LENGTH: Final = 8
_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]*", re.IGNORECASE)


@dataclass(frozen=True)
class Channel:
    """One address that alerts go to.

    Attributes:
        name: For people and tables; the same as long as the address is.
        url: Of Apprise, or of a webhook that takes JSON.
        is_webhook: Whether it is the latter.
    """

    name: str
    url: str = field(repr=False)
    is_webhook: bool


@dataclass(frozen=True)
class AlertSettings:
    """What is configured.

    Attributes:
        ping_url: Asked for while all is well, so that somebody else notices when it is not.
    """

    channels: tuple[Channel, ...]
    ping_url: str | None = field(repr=False)
    language: Language

    @property
    def is_configured(self) -> bool:
        """Whether anybody would hear of anything."""
        return bool(self.channels or self.ping_url)


def read_settings() -> AlertSettings:
    """Read the environment.

    Raises:
        ConfigError: A variable cannot be what it says.
        UnreadableSecretError: One is to be in a file, and cannot be read there.
    """
    language = (os.environ.get("CALLKEEPER_ALERT_LANGUAGE") or "en").strip().lower()
    if language not in ("en", "ru"):
        raise ConfigError(tr("CALLKEEPER_ALERT_LANGUAGE must be en or ru."))
    urls = read_secret("CALLKEEPER_ALERT_URLS").split()
    hooks = read_secret("CALLKEEPER_ALERT_WEBHOOK_URL").split()
    pings = read_secret("CALLKEEPER_ALERT_PING_URL").split()
    for variable, addresses in (
        ("CALLKEEPER_ALERT_WEBHOOK_URL", hooks),
        ("CALLKEEPER_ALERT_PING_URL", pings),
    ):
        _check_address(variable, addresses)
    for url in urls:
        _check_apprise(url)
    channels = [Channel(_name(url), url, is_webhook=False) for url in urls]
    channels += [Channel(_name(url, _WEBHOOK), url, is_webhook=True) for url in hooks]
    for url in (*urls, *hooks, *pings):
        for secret in _list_secrets(url):
            register_secret(secret)
    unique = tuple({one.name: one for one in channels}.values())
    return AlertSettings(unique, pings[0] if pings else None, "ru" if language == "ru" else "en")


def _check_apprise(url: str) -> None:
    scheme, separator, rest = url.partition("://")
    if not separator or not rest or not _SCHEME.fullmatch(scheme):
        raise ConfigError(
            tr(
                "CALLKEEPER_ALERT_URLS: one of its addresses has no kind before ://. Write "
                "addresses of Apprise with blanks between them, such as tgram://TOKEN/CHAT or "
                "mailtos://user:password@smtp.example.com?to=me@example.com (docs/alerts.md)."
            )
        )


def _check_address(variable: str, addresses: list[str]) -> None:
    if len(addresses) > 1:
        raise ConfigError(tr("{variable} takes one address.", variable=variable))
    for address in addresses:
        try:
            parts = urlsplit(address)
            _ = parts.port
        except ValueError:
            parts = urlsplit("")
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ConfigError(
                tr(
                    "{variable} must be an address that begins with https:// or http://.",
                    variable=variable,
                )
            )


def _name(url: str, kind: str | None = None) -> str:
    digest = hashlib.sha256(url.encode()).hexdigest()[:6]
    return f"{kind or url.partition('://')[0].lower()}-{digest}"


def _list_secrets(url: str) -> Iterator[str]:
    """Yield what of an address may give access: the whole, its password, and long parts of it."""
    yield url
    rest = url.partition("://")[2]
    try:
        parts = urlsplit(f"https://{rest}")
        host = parts.hostname or ""
        words = [parts.username or "", parts.password or "", *parts.path.split("/")]
        words += [value for _, value in parse_qsl(parts.query)]
        # Of some kinds a token stands where a host would.
        words += [*re.split(r"[:@]", parts.netloc)]
    except ValueError:
        host, words = "", re.split(r"[/:@?&=]", rest)
    if parts_password := re.search(r":([^:@/]+)@", rest):
        yield unquote(parts_password[1])
    for word in words:
        plain = unquote(word)
        if len(plain) >= _SECRET_LENGTH and ("." not in plain or plain.lower() != host.lower()):
            yield plain
