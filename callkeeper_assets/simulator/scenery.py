"""An account's stage: its sites, widgets, managers and campaigns, and weighted tables to draw from.

Built once per account from its seed. A weighted choice is made by repeating values in a tuple and
drawing an index: one multiplication a draw, where `random.choices` would cost a call's whole
budget.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final, TypeVar

from callkeeper_assets.simulator.marks import Marks, build_marks, build_pages
from callkeeper_assets.simulator.places import WEIGHTED_PLACES, Place
from callkeeper_assets.simulator.settings import AccountSettings
from callkeeper_assets.simulator.statuses import FINAL, Status

Value = TypeVar("Value")

_SITES: Final = (
    "okna-komfort.ru",
    "remont-spb.ru",
    "стройдом.рф",
    "dveri-lux.ru",
    "kuhni-mebel.ru",
)
_WIDGETS: Final = ("Основной виджет", 'Форма "Замер"', "Мобильная кнопка", "Лид-форма \\ акция")
_TAGS: Final = (
    "целевой",
    "повторный",
    "не целевой, спам",
    "замер назначен",
    "VIP \U0001f525",
    "перезвонить",
)
_SOURCES: Final = (
    ("widget", 52),
    ("mobile", 16),
    ("form", 9),
    ("api", 6),
    ("iform", 5),
    ("lg", 4),
    ("hand", 3),
    ("vk", 2),
    ("ckapp", 1),
    ("fb", 1),
    ("ok", 1),
)
VISITLESS_SOURCES: Final = frozenset(("api", "hand", "ckapp"))


@dataclass(frozen=True)
class Site:
    """One site of an account."""

    domain: str
    marks: tuple[Marks, ...]
    pages: tuple[str, ...]


@dataclass(frozen=True)
class Scenery:
    """What an account's calls are drawn from; a table has a value as often as it weighs."""

    sites: tuple[Site, ...]
    widgets: tuple[tuple[str, str], ...]
    managers: tuple[tuple[str, str | None], ...]
    tags: tuple[str, ...]
    places: tuple[Place, ...]
    statuses: tuple[Status, ...]
    event_sources: tuple[str, ...]


def _repeat(weighted: Sequence[tuple[Value, int]]) -> tuple[Value, ...]:
    return tuple(value for value, weight in weighted for _ in range(weight))


def build_scenery(settings: AccountSettings) -> Scenery:
    """The account's stage; the same for the same settings."""
    rng = random.Random(f"{settings.seed}/{settings.key}/scenery")  # noqa: S311 - not a secret
    domains = rng.sample(_SITES, 3)
    # The first site has most of the calls, as a main site does.
    sites = [
        Site(domain, build_marks(rng, domain, 60), build_pages(rng, domain, 12))
        for domain in domains
    ]
    managers = tuple(
        (f"+7495{rng.randrange(10**7):07d}", str(rng.randint(100, 9999)) if n % 2 else None)
        for n in range(6)
    )
    widgets = tuple((f"{rng.getrandbits(128):032x}", name) for name in _WIDGETS)
    return Scenery(
        sites=_repeat(list(zip(sites, (6, 3, 1), strict=True))),
        widgets=widgets,
        managers=managers,
        tags=_TAGS,
        places=_repeat(WEIGHTED_PLACES),
        statuses=_repeat([(status, status.weight) for status in FINAL]),
        event_sources=_repeat(_SOURCES),
    )


def accumulate_shares(weights: Sequence[float]) -> tuple[float, ...]:
    """Running sums from 0 to 1, for a draw by bisection."""
    total = sum(weights)
    return tuple(share / total for share in accumulate(weights))
