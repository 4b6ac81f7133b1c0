"""Numbers of eight countries in all the ways in which people and programs write them.

Made from the digits alone, by nothing of the product's. A search of its own says whether a text has
a number's digits: by all readings of the text that it can think of, with nothing left but digits.
"""

import html
import json
import re
import unicodedata
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple
from urllib.parse import quote, quote_plus, unquote, unquote_plus


class Number(NamedTuple):
    """One number: its country's code, what is dialled instead of it, area, and the rest."""

    code: str
    trunk: str
    area: str
    rest: str

    @property
    def national(self) -> str:
        """Without the country's code."""
        return self.area + self.rest

    @property
    def whole(self) -> str:
        """With it."""
        return self.code + self.national


# From ranges for documentation, or of codes that nobody has; mobile and city ones.
NUMBERS: Final = (
    Number("7", "8", "916", "5550147"),
    Number("7", "8", "903", "5550162"),
    Number("7", "8", "495", "5550138"),
    Number("7", "8", "812", "5550119"),
    Number("7", "8", "701", "5550153"),
    Number("7", "8", "727", "5550124"),
    Number("375", "80", "29", "5550171"),
    Number("375", "80", "17", "5550188"),
    Number("375", "80", "44", "5550193"),
    Number("380", "0", "67", "5550116"),
    Number("380", "0", "44", "5550127"),
    Number("996", "0", "700", "555018"),
    Number("996", "0", "312", "555029"),
    Number("44", "0", "20", "79460958"),
    Number("44", "0", "7700", "900461"),
    Number("49", "0", "30", "23125814"),
    Number("49", "0", "171", "5550182"),
    Number("1", "", "415", "5550132"),
    Number("374", "0", "91", "555013"),
    Number("374", "0", "10", "555024"),
)


def _group(digits: str, sign: str) -> str:
    head = digits[:-4]
    return sign.join(one for one in (head, digits[-4:-2], digits[-2:]) if one)


def _script(text: str, zero: str) -> str:
    return "".join(chr(ord(zero) + int(one)) if one in "0123456789" else one for one in text)


def _mark(text: str, mark: str) -> str:
    return text[:3] + mark + text[3:7] + mark + text[7:]


def _abroad(number: Number) -> str:
    return f"+{number.code} ({number.area}) {_group(number.rest, '-')}"


def _trunked(number: Number) -> str:
    trunk = {"80": "8 0", "0": "0"}.get(number.trunk, f"{number.trunk} ")
    return f"{trunk}{number.area} {_group(number.rest, '-')}"


# Each is known as the number wherever it stands, by the plus or by what is written around it.
WRITINGS: Final[dict[str, Callable[[Number], str]]] = {
    "plain": lambda n: f"+{n.whole}",
    "brackets": _abroad,
    "spaces": lambda n: f"+{n.code} {n.area} {_group(n.rest, ' ')}",
    "dots": lambda n: f"+{n.code}.{n.area}.{_group(n.rest, '.')}",
    "trunk in brackets": lambda n: f"+{n.code} (0){n.area} {n.rest[:-4]} {n.rest[-4:]}",
    "no plus": lambda n: n.whole,
    "two zeros": lambda n: f"00{n.whole}",
    "full width": lambda n: _script(f"+{n.whole}", "０").replace("+", "＋"),
    "Arabic": lambda n: _script(f"+{n.whole}", "٠"),
    "Devanagari": lambda n: _script(_abroad(n), "०"),
    "mathematical": lambda n: _script(f"+{n.whole}", "𝟎"),
    "direction mark": lambda n: f"\u200e\u202a+\u2066{n.whole}\u2069",
    "zero width": lambda n: _mark(f"+{n.whole}", "\u200b"),
    "soft hyphen": lambda n: _mark(f"+{n.whole}", "\u00ad"),
    "no-break spaces": lambda n: _abroad(n).replace(" ", "\u00a0"),
    "en dashes": lambda n: _abroad(n).replace("-", "–"),
    "figure dashes": lambda n: _abroad(n).replace("-", "\u2012"),
    "JSON's escapes": lambda n: _abroad(n).replace("-", "\\u2011").replace(" ", "\\n"),
    "line break": lambda n: _abroad(n).replace(" ", "\n"),
    "URL": lambda n: quote(_abroad(n), safe=""),
    "URL with dashes": lambda n: quote(_abroad(n).replace("-", "–"), safe=""),
    "form": lambda n: quote_plus(_abroad(n)),
    "URL twice": lambda n: quote(quote(_abroad(n), safe=""), safe=""),
    "HTML": lambda n: _abroad(n).replace("+", "&#43;").replace(" ", "&nbsp;"),
    "HTML digits": lambda n: "+" + "".join(f"&#{ord(one)};" for one in n.whole),
    "HTML hexadecimal": lambda n: _abroad(n).replace("-", "&#x2010;").replace("+", "&plus;"),
    "extension": lambda n: f"+{n.whole} доб. 1234",
    "ext": lambda n: f"+{n.whole} ext. 1234",
    "comma": lambda n: f"+{n.whole},1234",
    "x": lambda n: f"+{n.whole}x1234",
    "tel": lambda n: f"tel:+{n.whole};ext=1234",
    "SIP": lambda n: f"sip:{n.whole}@sip.example",
    "caret": lambda n: f"+{n.whole}^1234",
    "list": lambda n: f"+{n.whole};+79995550100",
    "managers": lambda n: f"+{n.whole}^12_+79995550100^34",
    "within a text": lambda n: f"Перезвонить на {_abroad(n)}, Иван",
    "within a URL": lambda n: f"https://a.example/f?tel={quote(_abroad(n), safe='')}&id=7",
    "national": _trunked,
}
# Writings in which a number of a country without a trunk is not one.
WITH_TRUNK: Final = frozenset(("national", "trunk in brackets"))
# Only a field whose business it is can tell these from ids.
UNSIGNED: Final = frozenset(("no plus", "two zeros"))
# More than a number: of these, fields of numbers have one token and more.
MANY: Final = frozenset(("list", "managers"))


def list_writings() -> Iterator[tuple[Number, str, str]]:
    """Yield each number with the name of each writing, and how it looks in it."""
    for number in NUMBERS:
        for name, write in WRITINGS.items():
            if number.trunk or name not in WITH_TRUNK:
                yield number, name, write(number)


_ZERO_DIGITS: Final = re.compile(r"\(0\)")


def _digits(text: str) -> str:
    return "".join(str(unicodedata.decimal(one, "")) for one in text)


def _decode_json(text: str) -> str:
    return re.sub(r"\\+u([0-9a-fA-F]{4})", lambda found: chr(int(found[1], 16)), text).replace(
        "\\n", "\n"
    )


def is_in(number: Number, text: str) -> bool:
    """Whether a number's digits stand in a text, as it is or with escapes undone up to thrice."""
    sought = number.national
    seen = {text}
    for _ in range(3):
        seen |= {
            decode(one)
            for one in seen
            for decode in (unquote, unquote_plus, html.unescape, _decode_json)
        }
    return any(sought in _digits(_ZERO_DIGITS.sub("", one)) for one in seen)


def put(document: dict[str, object], path: str, value: object) -> dict[str, object]:
    """Return a copy of a call with a value at a dotted path."""
    copy: dict[str, object] = json.loads(json.dumps(document))
    node = copy
    *parents, name = path.split(".")
    for parent in parents:
        child = node.get(parent)
        if not isinstance(child, dict):
            child = node[parent] = {}
        node = child
    node[name] = value
    return copy


def list_lookalikes() -> list[str]:
    """Return 200 texts that look like numbers, and are none: none may be touched."""
    texts = [f"{1543925694 + 7919 * n}" for n in range(20)]  # seconds since 1970
    texts += [f"{1543925694123 + 104729 * n}" for n in range(15)]
    texts += [f"GA1.2.{1005864114 + n}.{1766203016 + n}" for n in range(10)]
    texts += [f"{90700825 + n}.{1762736872 + n}" for n in range(10)]
    texts += [f"{1768007272045350412 + 7 * n}" for n in range(15)]  # Metrica's ids
    texts += [f"https://a.example/?yclid={7245678901234567890 + n}&gclid=Cj0{n}" for n in range(10)]
    texts += [f"cid|{51234567 + n}|gid|{4512345678 + n}|aid|{12345678901 + n}" for n in range(15)]
    texts += [f"order {4512345678 + 13 * n}" for n in range(10)]
    texts += [f"№ {2026000100 + n} от 02.03.2026" for n in range(10)]
    texts += [f"2026-03-{1 + n:02} 12:{n:02}:0{n % 10}" for n in range(20)]
    texts += [f"2026-03-02T1{n}:00:00+03:00" for n in range(10)]
    texts += [f"{n:08x}-93b8-4d0f-8c8e-0a5f6c7d8e{n:02x}" for n in range(10, 20)]
    texts += [f"ИНН 77{12345678 + n}" for n in range(10)]
    texts += [f"Mozilla/5.0 (X11) Chrome/12{n}.0.6478.1{n} Safari/537.36" for n in range(10)]
    texts += [f"utm_content={4512345678 + n}&utm_term=4512345{n}" for n in range(10)]
    texts += [f"{12 + n}:34:56, {n} min, 1 234 567 ₽" for n in range(5)]
    texts += [f"banner_240x400_{45123456 + n}" for n in range(5)]
    texts += [f"0.{1234567890123 + n}" for n in range(5)]
    return texts
