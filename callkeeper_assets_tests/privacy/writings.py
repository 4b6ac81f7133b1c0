"""Ways in which people and programs write one Russian phone number."""

from collections.abc import Callable
from typing import Final
from urllib.parse import quote, quote_plus

# Of the ten digits of a number.
WRITINGS: Final[tuple[Callable[[str], str], ...]] = (
    lambda n: f"+7{n}",
    lambda n: f"7{n}",
    lambda n: f"8{n}",
    lambda n: n,
    lambda n: f"+7 ({n[:3]}) {n[3:6]}-{n[6:8]}-{n[8:]}",
    lambda n: f"8 ({n[:3]}) {n[3:6]}-{n[6:8]}-{n[8:]}",
    lambda n: f"8-{n[:3]}-{n[3:6]}-{n[6:8]}-{n[8:]}",
    lambda n: f"+7\u00a0{n[:3]}\u00a0{n[3:6]}\u00a0{n[6:8]}\u00a0{n[8:]}",
    lambda n: f"({n[:3]}) {n[3:6]} {n[6:]}",
    lambda n: f"{n[:3]}.{n[3:6]}.{n[6:]}",
    lambda n: quote(f"+7 ({n[:3]}) {n[3:6]}-{n[6:]}", safe=""),
    lambda n: quote_plus(f"+7 {n[:3]} {n[3:6]} {n[6:]}"),
)
