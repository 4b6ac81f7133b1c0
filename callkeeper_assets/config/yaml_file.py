"""A YAML file as data, with the line that each value stands on.

PyYAML's C loader (a hundred files in some tens of milliseconds) and its node graph, which knows the
lines. Dates stay text, as in Dagster's own reading of `defs.yaml`. What YAML reads otherwise than
people do, without a word, is a mistake here: of a key written twice the later one, `0755` as 493,
`2:30` as 150.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from callkeeper_assets.config.errors import Location, Problem
from callkeeper_assets.language import tr

# Nothing in a defs.yaml is nested deeper; an alias that contains itself has no end.
_MAX_DEPTH = 8

_TIMESTAMP_TAG = "tag:yaml.org,2002:timestamp"
_FLOAT_TAG = "tag:yaml.org,2002:float"
_NUMBER_TAGS = ("tag:yaml.org,2002:int", _FLOAT_TAG)
_DIGITS = re.compile("[0-9]")
_MOST_FLOAT_DIGITS = 15
# Octal numbers begin with a 0, others have a letter; times of day have a colon.
_UNLIKE_NUMBER = re.compile(r"[-+]?0[0-9xb_]|.*[:_]", re.IGNORECASE)
# A value that begins with a quote: after a key, a list's dash, or within brackets.
_OPENED_QUOTE = re.compile(r"""[^'"#]*(?:^|[:\-\[{,]\s*)(?P<quote>["'])""")


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """PyYAML's safe loader without dates; in Python where libyaml is missing."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != _TIMESTAMP_TAG]
    for first, resolvers in _Loader.yaml_implicit_resolvers.items()
}


class YamlFileError(Exception):
    """The file cannot be read as one YAML document; holds the one problem that says why."""

    def __init__(self, problem: Problem, line: int) -> None:
        super().__init__(problem.text)
        self.problem = problem
        self.line = line


@dataclass(frozen=True)
class YamlFile:
    """What a file holds.

    Args:
        data: Its one document.
        lines: From 1, by location: of a mapping's entry the line of its key.
        mistakes: Keys that stand twice in one mapping, and numbers that are others than they look.
    """

    data: object
    lines: Mapping[Location, int]
    mistakes: tuple[Problem, ...]

    def line(self, location: Location) -> int:
        """The line of the location, or of what would contain it."""
        while location and location not in self.lines:
            location = location[:-1]
        return self.lines.get(location, 1)


def _walk(node: yaml.Node, location: Location, line: int) -> Iterator[tuple[Location, int]]:
    yield location, line
    if len(location) == _MAX_DEPTH:
        return
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield from _walk(value, (*location, str(key.value)), key.start_mark.line + 1)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield from _walk(item, (*location, index), item.start_mark.line + 1)


def _find_odd_numbers(node: yaml.Node, location: Location) -> Iterator[Problem]:
    if isinstance(node, yaml.MappingNode) and len(location) < _MAX_DEPTH:
        for key, value in node.value:
            yield from _find_odd_numbers(value, (*location, str(key.value)))
    elif isinstance(node, yaml.SequenceNode) and len(location) < _MAX_DEPTH:
        for index, item in enumerate(node.value):
            yield from _find_odd_numbers(item, (*location, index))
    elif node.tag == _FLOAT_TAG and len(_DIGITS.findall(node.value)) > _MOST_FLOAT_DIGITS:
        yield Problem(
            location,
            tr(
                "has more digits than a number with a fraction keeps ({most_float_digits}): put "
                "it in quotes if it is a text, leave the fraction out if it is a whole number.",
                most_float_digits=_MOST_FLOAT_DIGITS,
            ),
        )
    elif node.tag in _NUMBER_TAGS and _UNLIKE_NUMBER.match(node.value):
        yield Problem(
            location,
            tr(
                "YAML reads {value} as another number: put it in quotes if it is a text, else "
                "write it in plain digits.",
                value=node.value,
            ),
        )


def _find_lines(node: yaml.Node) -> tuple[dict[Location, int], tuple[Problem, ...]]:
    lines: dict[Location, int] = {}
    repeated: dict[Location, Problem] = {}
    for location, line in _walk(node, (), node.start_mark.line + 1):
        # What lies in a repeated key is repeated with it.
        if location in lines and not any(
            location[:end] in repeated for end in range(len(location))
        ):
            repeated[location] = Problem(
                location,
                tr("is written twice, first on line {lines}: keep one.", lines=lines[location]),
            )
        lines[location] = line
    return lines, tuple(repeated.values())


def _find_open_quote(lines: Sequence[str]) -> tuple[int, str] | None:
    """Return the line, from 1, and the quote of the first value that does not end on it."""
    for number, line in enumerate(lines, start=1):
        opened = _OPENED_QUOTE.match(line)
        if opened and line.count(opened["quote"]) % 2 and not line.lstrip().startswith("#"):
            return number, opened["quote"]
    return None


def _explain(error: yaml.MarkedYAMLError, text: str) -> tuple[int, str]:
    """Return the line of a mistake, and what it is: never an excerpt, which could show a key."""
    mark = error.problem_mark
    at, column = (mark.line, mark.column) if mark else (0, 0)
    lines = text.splitlines()
    line = lines[at] if at < len(lines) else ""
    before, here = line[:column], line[column : column + 1]
    quote = _find_open_quote(lines[: at + 1])
    if "\t" in f"{before}{here}" and not before.strip():
        return at + 1, tr("the line is indented by a tab: indent by spaces alone")
    if quote:
        return quote[0], tr(
            "the quote {quote} that is opened here is not closed on its line", quote=quote[1]
        )
    if (error.context or "").startswith("while parsing a flow ") and error.context_mark:
        bracket = "[" if "sequence" in str(error.context) else "{"
        return error.context_mark.line + 1, tr(
            "the {bracket} that is opened here is not closed", bracket=bracket
        )
    return at + 1, _describe_parsers(str(error.problem), here)


def _describe_parsers(problem: str, here: str) -> str:
    if "mapping values are not allowed" in problem:
        return tr(
            "a ':' stands where none can: put a text that has one in quotes, and indent the line "
            "as those beside it"
        )
    if "expected key" in problem:
        return tr("the line is indented otherwise than those that it belongs to")
    if here and ("cannot start any token" in problem or here in "*&"):
        return tr("a text that begins with {here} has to be in quotes", here=here)
    return problem


def read_yaml_file(file: Path) -> YamlFile:
    """Read a file that must hold one YAML document.

    Raises:
        YamlFileError: It cannot be read, is not UTF-8, not YAML, or more than one document.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            raise YamlFileError(
                Problem((), tr("the file is empty: `type` and `attributes` go in.")), 1
            )
        lines, repeated = _find_lines(node)
        mistakes = (*repeated, *_find_odd_numbers(node, ()))
        return YamlFile(data=loader.construct_document(node), lines=lines, mistakes=mistakes)
    except OSError as error:
        problem = Problem((), tr("the file cannot be read: {strerror}.", strerror=error.strerror))
        raise YamlFileError(problem, 1) from None
    except UnicodeDecodeError as error:
        problem = Problem(
            (), tr("the file is not UTF-8 (byte {start}): save it as UTF-8.", start=error.start)
        )
        raise YamlFileError(problem, 1) from None
    except yaml.MarkedYAMLError as error:
        line, cause = _explain(error, text)
        raise YamlFileError(
            Problem((), tr("this is not YAML: {cause}.", cause=cause)), line
        ) from None
    except yaml.YAMLError:
        problem = Problem(
            (), tr("this is not YAML: it holds a character that YAML does not allow.")
        )
        raise YamlFileError(problem, 1) from None
