"""An account's stage: places, sites, managers, campaigns, marks of visits, statuses."""

import csv
import random
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from itertools import accumulate
from typing import Final, Literal, NamedTuple, TypeVar

from callkeeper_assets.simulator.settings import AccountSettings

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


class MarkKeys(NamedTuple):
    """What a visit's marks are called."""

    marks: tuple[str, ...]
    entry_point: str
    referrer: str


UTM_KEYS: Final = MarkKeys(
    ("utm_type", "utm_source", "utm_medium", "utm_campaign", "utm_content", "utm_term"),
    "entry_point",
    "referrer",
)
SOURCEBUSTER_KEYS: Final = MarkKeys(("typ", "src", "mdm", "cmp", "cnt", "trm"), "ep", "rf")


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


class ClientPlace(NamedTuple):
    """A client's place; a None is a value that CallKeeper does not know."""

    country: str | None
    city: str | None
    region: str | None
    district: str | None


_CENTRAL: Final = "Центральный федеральный округ"
_NORTH_WEST: Final = "Северо-Западный федеральный округ"
_SOUTH: Final = "Южный федеральный округ"
_VOLGA: Final = "Приволжский федеральный округ"
_URAL: Final = "Уральский федеральный округ"
_SIBERIA: Final = "Сибирский федеральный округ"
_FAR_EAST: Final = "Дальневосточный федеральный округ"

# Hours that most clocks of a district are ahead of UTC.
DISTRICT_HOURS: Final = {_VOLGA: 4, _URAL: 5, _SIBERIA: 7, _FAR_EAST: 10}

WEIGHTED_PLACES: Final = (
    (ClientPlace("RU", "Москва", "Москва", _CENTRAL), 130),
    (ClientPlace("RU", "Санкт-Петербург", "Санкт-Петербург", _NORTH_WEST), 56),
    (ClientPlace("RU", "Новосибирск", "Новосибирская область", _SIBERIA), 16),
    (ClientPlace("RU", "Екатеринбург", "Свердловская область", _URAL), 15),
    (ClientPlace("RU", "Казань", "Республика Татарстан", _VOLGA), 13),
    (ClientPlace("RU", "Нижний Новгород", "Нижегородская область", _VOLGA), 12),
    (ClientPlace("RU", "Челябинск", "Челябинская область", _URAL), 12),
    (ClientPlace("RU", "Красноярск", "Красноярский край", _SIBERIA), 11),
    (ClientPlace("RU", "Самара", "Самарская область", _VOLGA), 11),
    (ClientPlace("RU", "Уфа", "Республика Башкортостан", _VOLGA), 11),
    (ClientPlace("RU", "Ростов-на-Дону", "Ростовская область", _SOUTH), 11),
    (ClientPlace("RU", "Краснодар", "Краснодарский край", _SOUTH), 11),
    (ClientPlace("RU", "Омск", "Омская область", _SIBERIA), 11),
    (ClientPlace("RU", "Воронеж", "Воронежская область", _CENTRAL), 10),
    (ClientPlace("RU", "Пермь", "Пермский край", _VOLGA), 10),
    (ClientPlace("RU", "Волгоград", "Волгоградская область", _SOUTH), 10),
    (ClientPlace("RU", "Саратов", "Саратовская область", _VOLGA), 8),
    (ClientPlace("RU", "Тюмень", "Тюменская область", _URAL), 8),
    (ClientPlace("RU", "Тольятти", "Самарская область", _VOLGA), 7),
    (ClientPlace("RU", "Ижевск", "Удмуртская Республика", _VOLGA), 6),
    (ClientPlace("RU", "Барнаул", "Алтайский край", _SIBERIA), 6),
    (ClientPlace("RU", "Иркутск", "Иркутская область", _SIBERIA), 6),
    (ClientPlace("RU", "Хабаровск", "Хабаровский край", _FAR_EAST), 6),
    (ClientPlace("RU", "Владивосток", "Приморский край", _FAR_EAST), 6),
    (ClientPlace("RU", "Ярославль", "Ярославская область", _CENTRAL), 6),
    (ClientPlace("RU", "Томск", "Томская область", _SIBERIA), 5),
    (ClientPlace("RU", "Рязань", "Рязанская область", _CENTRAL), 5),
    (ClientPlace("RU", "Тула", "Тульская область", _CENTRAL), 5),
    (ClientPlace("RU", "Калининград", "Калининградская область", _NORTH_WEST), 4),
    (ClientPlace("RU", "Сочи", "Краснодарский край", _SOUTH), 4),
    (ClientPlace("RU", "Химки", "Московская область", _CENTRAL), 4),
    (ClientPlace("RU", "Балашиха", "Московская область", _CENTRAL), 4),
    (ClientPlace("RU", "Киров", "Кировская область", _VOLGA), 4),
    (ClientPlace("RU", "Орёл", "Орловская область", _CENTRAL), 2),
    (ClientPlace("RU", "Петропавловск-Камчатский", "Камчатский край", _FAR_EAST), 1),
    (ClientPlace("BY", "Минск", "Минская область", None), 5),
    (ClientPlace("KZ", "Алматы", "Алматы", None), 5),
    (ClientPlace("RU", None, None, None), 18),
    (ClientPlace(None, None, None, None), 12),
)
COUNTRY_NAMES: Final = {"RU": "Россия", "BY": "Беларусь", "KZ": "Казахстан"}
"""What the unified API sends in place of the code."""
ADDRESS_BLOCKS: Final = ("5.18", "31.173", "46.39", "77.88", "85.140", "95.24", "176.59", "188.170")


CallStatus = Literal["success", "failed", "in_progress", "planned", "pending"]
LegOutcome = Literal["talked", "client_failed", "manager_failed", "not_dialled"]

_SIP_REASONS: Final = {
    200: "OK",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    406: "Not Acceptable",
    408: "Request Timeout",
    410: "Gone",
    461: "Call Forbidden",
    480: "Temporarily Unavailable",
    484: "Address Incomplete",
    486: "Busy Here",
    487: "Request Terminated",
    488: "Not Acceptable Here",
    491: "Request Pending",
    500: "Server Internal Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Server Time-out",
    600: "Busy Everywhere",
    603: "Decline",
    604: "Does Not Exist Anywhere",
}
# Per 10,000 calls; a pair that is not named gets _RARE, so that a month of 1,000 calls a day shows
# every one.
_WEIGHTS: Final = {
    (200, 200): 5600,
    (200, 487): 1050,
    (200, 486): 420,
    (200, 480): 330,
    (200, 603): 210,
    (200, 0): 180,
    (200, 1): 160,
    (200, 404): 120,
    (487, 0): 520,
    (486, 0): 190,
    (480, 0): 160,
    (701, 0): 230,
    (702, 0): 190,
    (708, 0): 70,
    (200, 708): 50,
    (813, 0): 120,
    (815, 0): 90,
    (790, 0): 40,
    (667, 0): 35,
    (709, 0): 35,
}
_RARE: Final = 12


class Status(NamedTuple):
    """A pair of codes that a call can end with."""

    code: int
    code2: int
    weight: int


def _read_labels() -> dict[tuple[int, int], str]:
    text = resources.files(__package__).joinpath("statuses.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(text.splitlines())
    return {
        (int(row["status_code"]), int(row["status2_code"])): row["label_ru"].strip() for row in rows
    }


LABELS: Final = _read_labels()
NOT_FINAL: Final[dict[int, CallStatus]] = {1: "in_progress", 2: "planned", 707: "pending"}
FINAL: Final = tuple(
    Status(code, code2, _WEIGHTS.get((code, code2), _RARE))
    for code, code2 in LABELS
    if code not in NOT_FINAL
)


# A voice message was delivered; passed to voice mail; only the lead was taken: no talk was to come.
APART: Final = frozenset(((101, 200), (200, 199), (200, 201)))


def classify(code: int, code2: int) -> CallStatus | None:
    """The warehouse's word for a pair of codes; None for what is neither success nor failure."""
    if (code, code2) == (200, 200):
        return "success"
    return None if (code, code2) in APART else NOT_FINAL.get(code, "failed")


def outcome_of(code: int, code2: int) -> LegOutcome:
    """How far the call came: decides which durations it can have."""
    if (code, code2) in APART:
        return "not_dialled"
    if code == 200:  # noqa: PLR2004 - SIP's OK
        return "talked" if code2 == code else "client_failed"
    return "manager_failed" if code in _SIP_REASONS else "not_dialled"


def reason_of(code: int, code2: int) -> str | None:
    """The text of the manager's leg: SIP's phrase, or the cabinet's label of CallKeeper's codes."""
    return _SIP_REASONS.get(code) or LABELS.get((code, code2))


def reason2_of(code2: int) -> str | None:
    """The text of the client's leg, None when it was not dialled."""
    return _SIP_REASONS.get(code2) if code2 else None


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
    places: tuple[ClientPlace, ...]
    statuses: tuple[Status, ...]
    event_sources: tuple[str, ...]


def _repeat(weighted: Sequence[tuple[Value, int]]) -> tuple[Value, ...]:
    return tuple(value for value, weight in weighted for _ in range(weight))


def write_phone(area: int, number: int) -> str:
    """Write the number of a Russian landline that nobody has.

    Behind an area's code no number begins with 0: so the Russian numbering plan says.
    """
    return f"+7{area}0{number % 10**6:06d}"


def draw_phone(drawn: int) -> str:
    """Return a client's number, for a draw of nine digits; codes of areas are 3xx and 4xx."""
    return write_phone(300 + drawn // 10**6 % 200, drawn)


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
        (write_phone(495, rng.randrange(10**7)), str(rng.randint(100, 9999)) if n % 2 else None)
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
