"""The check of an address that a user wrote: no more than where an API is."""

from urllib.parse import urlsplit

from callkeeper_assets.api.names import strip_address


def check_address(value: str) -> str:
    """Return the address without what it may end in.

    Raises:
        ValueError: It is no address, or more than one: what a person can do about it.
    """
    try:
        parts = urlsplit(value)
        port_is_good = parts.port is None or parts.port > 0
    except ValueError:
        parts, port_is_good = urlsplit(""), False
    if parts.scheme not in {"http", "https"} or not parts.hostname or not port_is_good:
        raise ValueError("must be an address such as https://api.callkeeper.ru.")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("must be scheme, host and path alone, without user, '?' or '#'.")
    return strip_address(value)
