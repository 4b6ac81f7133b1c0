"""Where clients call from: Russian cities (and a few neighbours) by rough population.

`country` is a code, as CallKeeper sends it. The weights and address blocks are invented for the
simulator.
"""

from typing import Final, NamedTuple


class Place(NamedTuple):
    """A client's place; a None is a value that CallKeeper could not tell."""

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
    (Place("RU", "Москва", "Москва", _CENTRAL), 130),
    (Place("RU", "Санкт-Петербург", "Санкт-Петербург", _NORTH_WEST), 56),
    (Place("RU", "Новосибирск", "Новосибирская область", _SIBERIA), 16),
    (Place("RU", "Екатеринбург", "Свердловская область", _URAL), 15),
    (Place("RU", "Казань", "Республика Татарстан", _VOLGA), 13),
    (Place("RU", "Нижний Новгород", "Нижегородская область", _VOLGA), 12),
    (Place("RU", "Челябинск", "Челябинская область", _URAL), 12),
    (Place("RU", "Красноярск", "Красноярский край", _SIBERIA), 11),
    (Place("RU", "Самара", "Самарская область", _VOLGA), 11),
    (Place("RU", "Уфа", "Республика Башкортостан", _VOLGA), 11),
    (Place("RU", "Ростов-на-Дону", "Ростовская область", _SOUTH), 11),
    (Place("RU", "Краснодар", "Краснодарский край", _SOUTH), 11),
    (Place("RU", "Омск", "Омская область", _SIBERIA), 11),
    (Place("RU", "Воронеж", "Воронежская область", _CENTRAL), 10),
    (Place("RU", "Пермь", "Пермский край", _VOLGA), 10),
    (Place("RU", "Волгоград", "Волгоградская область", _SOUTH), 10),
    (Place("RU", "Саратов", "Саратовская область", _VOLGA), 8),
    (Place("RU", "Тюмень", "Тюменская область", _URAL), 8),
    (Place("RU", "Тольятти", "Самарская область", _VOLGA), 7),
    (Place("RU", "Ижевск", "Удмуртская Республика", _VOLGA), 6),
    (Place("RU", "Барнаул", "Алтайский край", _SIBERIA), 6),
    (Place("RU", "Иркутск", "Иркутская область", _SIBERIA), 6),
    (Place("RU", "Хабаровск", "Хабаровский край", _FAR_EAST), 6),
    (Place("RU", "Владивосток", "Приморский край", _FAR_EAST), 6),
    (Place("RU", "Ярославль", "Ярославская область", _CENTRAL), 6),
    (Place("RU", "Томск", "Томская область", _SIBERIA), 5),
    (Place("RU", "Рязань", "Рязанская область", _CENTRAL), 5),
    (Place("RU", "Тула", "Тульская область", _CENTRAL), 5),
    (Place("RU", "Калининград", "Калининградская область", _NORTH_WEST), 4),
    (Place("RU", "Сочи", "Краснодарский край", _SOUTH), 4),
    (Place("RU", "Химки", "Московская область", _CENTRAL), 4),
    (Place("RU", "Балашиха", "Московская область", _CENTRAL), 4),
    (Place("RU", "Киров", "Кировская область", _VOLGA), 4),
    (Place("RU", "Орёл", "Орловская область", _CENTRAL), 2),
    (Place("RU", "Петропавловск-Камчатский", "Камчатский край", _FAR_EAST), 1),
    (Place("BY", "Минск", "Минская область", None), 5),
    (Place("KZ", "Алматы", "Алматы", None), 5),
    (Place("RU", None, None, None), 18),
    (Place(None, None, None, None), 12),
)
COUNTRY_NAMES: Final = {"RU": "Россия", "BY": "Беларусь", "KZ": "Казахстан"}
"""What the unified API sends in place of the code."""
ADDRESS_BLOCKS: Final = ("5.18", "31.173", "46.39", "77.88", "85.140", "95.24", "176.59", "188.170")
