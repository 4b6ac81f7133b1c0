"""Where visits come from: kinds of traffic, campaigns, pages and browsers, as marks of a visit.

The values follow Sourcebuster.js: a kind of visit is `utm`, `organic`, `referral` or `typein`, and
a mark that a visit does not have is `(none)`.
"""

import random
from typing import Final, NamedTuple

NONE_MARK: Final = "(none)"
_PRODUCTS: Final = ("okna", "remont", "dveri", "kuhni", "natyazhnye-potolki", "evakuator")
_PATHS: Final = ("/", "/kontakty", "/ceny", "/akcii", "/katalog/okna-pvh", "/uslugi/remont?ot=menu")
_TERMS: Final = (
    "пластиковые окна цена",
    "ремонт квартир под ключ",
    "купить входную дверь",
    "кухни на заказ москва",
    "натяжной потолок 20 м2",
    NONE_MARK,
)
_CAMPAIGNS: Final = (
    "brand",
    "search_msk",
    "rsya_retargeting",
    "Акция «Весна»",
    "k50|{region}",
    "spb",
)
_CONTENTS: Final = ("banner_240x400", "v1_2", "cid|51234567|gid|40012", NONE_MARK)
_PAID: Final = (("yandex", "cpc"), ("google", "cpc"), ("vk", "cpm"), ("mail", "e-mail"))
_ENGINES: Final = ("yandex", "google", "mail", "bing", "rambler")
_REFERRALS: Final = ("otzovik.com", "2gis.ru", "avito.ru", "zoon.ru", "t.me")

_WEBKIT: Final = "AppleWebKit/537.36 (KHTML, like Gecko)"
_WINDOWS: Final = f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {_WEBKIT}"
_IPHONE: Final = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15"

USER_AGENTS: Final = (
    f"{_WINDOWS} Chrome/126.0.0.0 Safari/537.36",
    f"{_WINDOWS} Chrome/124.0.0.0 YaBrowser/24.6.0.0 Safari/537.36",
    f"{_IPHONE} (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1",
    f"Mozilla/5.0 (Linux; Android 14; SM-A546E) {_WEBKIT} Chrome/126.0.0.0 Mobile Safari/537.36",
    "Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0",
)


class Marks(NamedTuple):
    """The marks of one visit, as the visitor's browser kept them."""

    kind: str
    source: str
    medium: str
    campaign: str
    content: str
    term: str
    entry_point: str
    referrer: str


def _paid_marks(rng: random.Random, site: str) -> Marks:
    source, medium = rng.choice(_PAID)
    product = rng.choice(_PRODUCTS)
    campaign = f"{rng.choice(_CAMPAIGNS)}_{rng.randint(1, 40)}"
    content, term = rng.choice(_CONTENTS), rng.choice(_TERMS)
    entry = f"https://{site}/{product}?utm_source={source}&utm_medium={medium}"
    return Marks("utm", source, medium, campaign, content, term, entry, f"https://{source}.ru/")


def _free_marks(rng: random.Random, site: str) -> Marks:
    entry = f"https://{site}{rng.choice(_PATHS)}"
    none = NONE_MARK
    draw = rng.random()
    if draw < 0.5:  # noqa: PLR2004 - half of the free visits come from search
        engine = rng.choice(_ENGINES)
        return Marks("organic", engine, "organic", none, none, none, entry, f"https://{engine}.ru/")
    if draw < 0.7:  # noqa: PLR2004 - a fifth from other sites
        other = rng.choice(_REFERRALS)
        return Marks("referral", other, "referral", none, none, none, entry, f"https://{other}/")
    return Marks("typein", "(direct)", none, none, none, none, entry, none)


def build_marks(rng: random.Random, site: str, count: int) -> tuple[Marks, ...]:
    """The visits' marks that one site sees: three in five come from advertisements."""
    return tuple(
        _paid_marks(rng, site) if rng.random() < 0.6 else _free_marks(rng, site)  # noqa: PLR2004 - three in five
        for _ in range(count)
    )


def build_pages(rng: random.Random, site: str, count: int) -> tuple[str, ...]:
    """Pages of one site that a call is ordered from."""
    return tuple(
        f"https://{site}{rng.choice(_PATHS)}{rng.choice(('', '#order', '#call'))}"
        for _ in range(count)
    )
