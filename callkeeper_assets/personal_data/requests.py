"""Names of what a person asked for: they stand where a run's id stands, and sort by time."""

import secrets
from datetime import UTC, datetime


def name_request(what: str) -> str:
    """Return a new name, such as `forget-20260131T120000-3f09a1`."""
    return f"{what}-{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"
