"""How much memory is left, by what Linux says of the machine and of a control group."""

from pathlib import Path

import psutil
import pytest

from callkeeper_assets.dagster_ext import room

_MB = 1 << 20


def test_there_is_no_more_room_than_memory() -> None:
    assert 0 < room.measure_room() <= psutil.virtual_memory().total


@pytest.mark.parametrize(
    ("controller", "files"),
    [
        ("", ("memory.max", "memory.current", "inactive_file")),
        (
            "memory",
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ),
    ],
    ids=["version 2", "version 1"],
)
def test_a_control_group_that_allows_less_counts_without_what_the_kernel_gives_back(
    controller: str,
    files: tuple[str, str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In a container the group's path may lead nowhere; its root has the limit."""
    monkeypatch.setattr(room, "_ROOT", tmp_path)
    folder, (limit, used, reclaimable) = tmp_path / controller, files
    folder.mkdir(exist_ok=True)
    (folder / used).write_text(str(90 * _MB))
    (folder / "memory.stat").write_text(f"anon 1\n{reclaimable} {40 * _MB}\n")
    (folder / limit).write_text(str(100 * _MB))
    assert room.measure_room() == 50 * _MB
    (folder / limit).write_text("max")
    assert room.measure_room() > 100 * _MB
