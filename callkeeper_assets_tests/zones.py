"""Time zones that no table of zones has, for tests: what a server knows must not matter."""

import io
import struct
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

_NAME = b"TST\0"


def make_zone(
    key: str, offset: timedelta, changes: Mapping[datetime, timedelta] | None = None
) -> ZoneInfo:
    """Make a zone from nothing but its offsets: the first, and those after each change (UTC)."""
    moments = sorted((changes or {}).items())
    offsets = [offset, *(after for _, after in moments)]
    # A file that begins with a change tells what holds before it, too.
    times = [-(2**31), *(int(moment.replace(tzinfo=UTC).timestamp()) for moment, _ in moments)]
    content = b"TZif" + bytes(16)
    content += struct.pack(">6l", 0, 0, 0, len(times), len(offsets), len(_NAME))
    content += struct.pack(f">{len(times)}l", *times) + bytes(range(len(times)))
    for each in offsets:
        content += struct.pack(">lbb", int(each.total_seconds()), 0, 0)
    return ZoneInfo.from_file(io.BytesIO(content + _NAME), key=key)
