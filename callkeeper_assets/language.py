"""The language of what commands say to a person: English, or Russian where it is asked for.

A text is marked where it stands, `tr("{count} days", count=3)`, and is its own key; translations
are in `locale`, made by `make texts`. Until `use_language` chose Russian nothing is read, and
nothing is looked up. Names, JSON and logs stay English; a run, which has no command line, says what
goes wrong in the language of its environment.
"""

import os
import string
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, cast

if TYPE_CHECKING:
    from gettext import NullTranslations

Language = Literal["en", "ru"]

FOLDER: Final = Path(__file__).with_name("locale")
DOMAIN: Final = "callkeeper"
LANGUAGES: Final = ("en", "ru")
# In the order in which POSIX has one win over the other.
_LOCALES: Final = ("LC_ALL", "LC_MESSAGES", "LANG")
# By which gettext, and so Typer, knows it.
_OF_GETTEXT: Final = "LANGUAGE"
# Between thousands a no-break space: the narrow one is in none of the older Russian encodings.
_RUSSIAN_MARKS: Final = str.maketrans({",": "\N{NO-BREAK SPACE}", ".": ","})


class _Chosen:
    """What `use_language` has chosen; None is English."""

    texts: "NullTranslations | None" = None


def choose_language(environ: Mapping[str, str]) -> Language:
    """Return the language that an environment asks for: by `CALLKEEPER_LANG`, else its locale.

    Raises:
        ValueError: `CALLKEEPER_LANG` is neither `en` nor `ru`.
    """
    asked = environ.get("CALLKEEPER_LANG", "").strip().lower()
    if asked in LANGUAGES:
        return cast("Language", asked)
    if asked:
        raise ValueError("CALLKEEPER_LANG must be en or ru.")
    locale = next((environ[name] for name in _LOCALES if environ.get(name)), "")
    return "ru" if locale.lower().startswith("ru") else "en"


def use_language(language: Language) -> None:
    """Say everything in this language from now on, in this process."""
    _Chosen.texts = None
    if language == "en":
        return
    import gettext  # noqa: PLC0415 -- English needs none

    _Chosen.texts = gettext.translation(DOMAIN, FOLDER, [language])
    # What Typer says itself it asks gettext for, in the domain and the language in force.
    gettext.bindtextdomain(DOMAIN, str(FOLDER))
    gettext.textdomain(DOMAIN)
    os.environ.update({_OF_GETTEXT: language})


def follow_environment() -> None:
    """Use the language that the environment asks for; the one in force if there is none such."""
    with suppress(ValueError):
        use_language(choose_language(os.environ))


def current_language() -> Language:
    """Return the language in force."""
    return "en" if _Chosen.texts is None else "ru"


def mark(text: str) -> str:
    """Mark a text that is translated elsewhere: it is a constant, made before anybody chose."""
    return text


def look_up(text: str) -> str:
    """Return the translation of a marked text, its places for values left as they are."""
    return text if _Chosen.texts is None or not text else _Chosen.texts.gettext(text)


def say_number(number: float, spec: str = ",") -> str:
    """Return a number as it is written in the language in force: `1,234.5`, `1 234,5`."""
    said = format(number, spec)
    return said if _Chosen.texts is None else said.translate(_RUSSIAN_MARKS)


class _Filling(string.Formatter):
    """Fills the places of a text, and numbers that have a format as the language writes them."""

    def format_field(self, value: object, format_spec: str) -> str:
        if format_spec and isinstance(value, int | float):
            return say_number(value, format_spec)
        return format(value, format_spec)


def _fill(text: str, values: Mapping[str, object]) -> str:
    return text.format(**values) if _Chosen.texts is None else _Filling().vformat(text, (), values)


def tr(text: str, **values: object) -> str:
    """Return a text in the language in force, its places filled.

    Args:
        text: English, a constant; `{name}` is a place, `{name:,}` one with a format.
        values: By the names of the places.
    """
    said = look_up(text)
    return _fill(said, values) if values else said


def tr_count(one: str, many: str, number: int, **values: object) -> str:
    """Return the form of a text that goes with a number, which is its `{number}`."""
    if _Chosen.texts is None:
        said = one if number == 1 else many
    else:
        said = _Chosen.texts.ngettext(one, many, number)
    return _fill(said, {"number": number, **values})
