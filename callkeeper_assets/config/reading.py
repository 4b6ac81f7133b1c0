"""From a file's data to attributes, or to everything that is wrong with them.

All mistakes of a file are found in one pass: attributes that are refused are left out, and the rest
is checked on. Values are quoted only where they cannot be a key or a phone number.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, get_args
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from callkeeper_assets.config.checks import (
    find_api_problems,
    find_day_problems,
    find_filter_problems,
    find_privacy_problems,
    find_table_problems,
)
from callkeeper_assets.config.models import SourceAttributes
from callkeeper_assets.config.problems import Location, Problem, describe_unknown
from callkeeper_assets.config.report_checks import find_report_problems

COMPONENT_TYPE = "callkeeper_assets.CallKeeperSource"

# Dagster's own keys of a defs.yaml. `requirements` only lists variables for `dg`.
_FILE_KEYS = ("type", "attributes", "requirements")
_CHOICE = re.compile(r"'([^']*)'")
# By pydantic's kinds of errors, filled in from their context.
_TEXTS = {
    "missing": "is required and missing.",
    "value_error": "{error}",
    "greater_than_equal": "must be at least {ge}.",
    "less_than_equal": "must be at most {le}.",
    "too_short": "is empty: choose at least one, or leave it out for the default.",
    "string_type": "must be text; in quotes if it looks like a number, a date or yes/no.",
    "int_type": "must be a whole number.",
    "float_type": "must be a number.",
    "list_type": "must be a list.",
    "dict_type": "must be a mapping of names to values.",
    "model_type": "must be a mapping of names to values.",
}


# Attributes that name the variable of a secret: what it is called, and how a variable's name ends.
_SECRETS: Mapping[Location, tuple[str, str, str]] = {
    ("api_key",): ("key", "API_KEY", "replace it in CallKeeper"),
    ("webhook", "token"): ("token", "WEBHOOK_TOKEN", "make a new one"),
    ("privacy", "key"): ("key", "PRIVACY_KEY", "make a new one"),
}


def _model_at(location: Location) -> type[BaseModel]:
    """Return the model that holds the location's last part, by the types on the way to it."""
    kind: Any = SourceAttributes
    for part in location[:-1]:
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            kind = kind.model_fields[str(part)].annotation
        else:
            # A list's or a mapping's values.
            kind = get_args(kind)[-1]
        if type(None) in get_args(kind):
            kind = get_args(kind)[0]
    model: type[BaseModel] = kind
    return model


def _describe_extra(location: Location) -> str:
    name = str(location[-1])
    return describe_unknown("attribute", name, _model_at(location).model_fields)


def _describe(error: ErrorDetails) -> str:
    location, kind = error["loc"], error["type"]
    if kind == "extra_forbidden":
        return _describe_extra(location)
    if kind == "literal_error":
        allowed = _CHOICE.findall(error["ctx"]["expected"])
        return describe_unknown(str(location[-1]), str(error["input"]), allowed)
    # Another kind would be a bound that models.py has and this table has not: pydantic's words.
    return _TEXTS.get(kind, f"{error['msg']}.").format_map(error.get("ctx", {}))


def _find_problems(error: ValidationError, name: str) -> Iterator[Problem]:
    """Translate pydantic's errors; those of a secret become one, which quotes nothing."""
    refused: set[Location] = set()
    for details in error.errors(include_url=False):
        location = tuple(part for part in details["loc"] if part != "[key]")
        secret = next((one for one in _SECRETS if location[: len(one)] == one), None)
        if secret is None:
            text = _describe({**details, "loc": location})
            yield Problem(("attributes", *location), text)
        elif secret not in refused:
            refused.add(secret)
            is_missing = details["type"] == "missing" and location == secret
            yield Problem(
                ("attributes", *secret), _describe_secret(secret, name, is_missing=is_missing)
            )


def _describe_secret(secret: Location, name: str, *, is_missing: bool) -> str:
    what, ending, remedy = _SECRETS[secret]
    text = (
        f"must name the environment variable that holds the {what}, never a {what} itself: "
        f"{secret[-1]}: {{env: {name.upper()}_{ending}}}."
    )
    if is_missing:
        return text
    return f"{text} If a {what} stands here, {remedy}: files are copied."


def suggest_variable(name: str) -> str:
    """The environment variable that a source's key would usually be in."""
    return f"{name.upper()}_{_SECRETS[('api_key',)][1]}"


def _find_file_problems(data: object) -> Iterator[Problem]:
    if not isinstance(data, Mapping):
        yield Problem((), f"must be a mapping with type and attributes: type: {COMPONENT_TYPE}")
        return
    for key in data:
        if key not in _FILE_KEYS:
            yield Problem((str(key),), describe_unknown("key", str(key), _FILE_KEYS))
    if "type" not in data:
        yield Problem((), f"type is missing: type: {COMPONENT_TYPE}")
    elif data["type"] != COMPONENT_TYPE:
        yield Problem(("type",), f"only sources are loaded from here. Allowed: {COMPONENT_TYPE}.")
    if not isinstance(data.get("attributes"), Mapping):
        yield Problem(("attributes",), "must be a mapping, at the least with api_key.")


def read_attributes(
    data: object, name: str, now: datetime
) -> tuple[SourceAttributes, tuple[Problem, ...]]:
    """Read a file's data.

    Args:
        data: As YAML gives it.
        name: The source's.
        now: To know which days are in the future.

    Returns:
        Attributes that can be used only if there are no problems, and all problems.
    """
    problems = list(_find_file_problems(data))
    given: Any = data.get("attributes") if isinstance(data, Mapping) else None
    # YAML's keys can be anything: `on` is true, `1` a number.
    values = {str(key): value for key, value in given.items()} if isinstance(given, Mapping) else {}
    refused: set[object] = set()
    try:
        attributes = SourceAttributes.model_validate(values)
    except ValidationError as error:
        found = tuple(_find_problems(error, name))
        if isinstance(given, Mapping):
            problems += found
        refused = {problem.location[1] for problem in found}
        good = {key: value for key, value in values.items() if key not in refused}
        if "api_key" in refused:
            good["api_key"] = {"env": suggest_variable("any")}
        attributes = SourceAttributes.model_validate(good)
    problems += find_table_problems(attributes)
    problems += find_filter_problems(attributes, tables_known="tables" not in refused)
    problems += find_privacy_problems(attributes, name)
    problems += find_report_problems(attributes)
    if "api" not in refused:
        problems += find_api_problems(attributes)
    problems += find_day_problems(attributes, now.astimezone(ZoneInfo(attributes.time_zone)).date())
    return attributes, tuple(problems)
