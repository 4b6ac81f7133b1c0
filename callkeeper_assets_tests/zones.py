"""Time zones that no table of zones has, for tests: what a server knows must not matter.

And tables of zones that no system has: what is installed beside the newest must not matter either.
"""

import io
import shutil
import struct
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path
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


def install_rules(folder: Path, version: str | None, **zones: str) -> Path:
    """Make a system's files: by name a zone, whose rules are those of another one."""
    package = Path(str(files("tzdata") / "zoneinfo"))
    for name, rules in {"UTC": "UTC", **zones}.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(package / rules, path)
    if version:
        lines = [f"# version {version}", "Z Etc/UTC 0 - UTC", "L Etc/UTC UTC"]
        lines += [f"L Etc/UTC {name.replace('__', '/')}" for name in zones]
        (folder / "tzdata.zi").write_text("\n".join(lines) + "\n")
    return folder
