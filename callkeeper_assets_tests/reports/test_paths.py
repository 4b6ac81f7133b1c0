"""Paths: a plain one means what JMESPath means, a wrong one is refused before any call is read."""

from typing import Any

import jmespath
import pytest
from hypothesis import given
from hypothesis import strategies as st

from callkeeper_assets.reports.definition import PathError
from callkeeper_assets.reports.rows import UnfitValueError, compile_path

_NAMES = st.sampled_from(["a", "b", "поле", "a b", "1"])
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=3),
    max_leaves=12,
)


@given(st.lists(_NAMES, min_size=1, max_size=4), _JSON)
def test_a_plain_path_finds_what_jmespath_finds(names: list[str], document: Any) -> None:  # noqa: ANN401
    path = ".".join(f'"{name}"' for name in names)
    assert compile_path(path)(document) == jmespath.search(path, document)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("id", 7),
        ("visit.current.utm", "x"),
        ("visit.missing.utm", None),
        ("id.utm", None),
        ('"моё поле"', "да"),
        ("tags[]", ["a", "b"]),
        ("tags[1]", "b"),
        ("length(tags)", 2),
        ("visit.current.utm || id", "x"),
        ("hooks[?code==`500`].name | [0]", "late"),
        ("hooks[].{n: name, c: code}", [{"n": "late", "c": 500}, {"n": "good", "c": 200}]),
        ("@.id", 7),
    ],
)
def test_a_path_finds_its_value(path: str, expected: object) -> None:
    call = {
        "id": 7,
        "visit": {"current": {"utm": "x"}},
        "моё поле": "да",
        "tags": ["a", "b"],
        "hooks": [{"name": "late", "code": 500}, {"name": "good", "code": 200}],
    }
    assert compile_path(path)(call) == expected


def test_the_element_itself_is_found() -> None:
    element = {"a": 1}
    assert compile_path("@")(element) is element


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("a..b", "'a..b' is not JMESPath at character 3. Nested names are joined by dots"),
        ("моё", "a name with other characters than Latin letters, digits and '_' stands in double"),
        ("a[", "'a[' is not JMESPath"),
        ("", "'' is not JMESPath"),
        ("lenght(a)", "there is no function 'lenght'. Allowed: abs, avg, "),
        ("length(a, b)", "the function 'length' takes 1 arguments, not 2"),
        ("merge()", "the function 'merge' takes at least 1 arguments, not 0"),
        ("[a, [&b]]", "'&' is for the arguments of functions"),
        ("a[::0]", "a slice's step cannot be 0"),
        ("a" * 1001, "is longer than 1000 characters"),
        ("(" * 900, "is not JMESPath"),
    ],
)
def test_a_path_that_never_gives_a_value_is_refused(path: str, text: str) -> None:
    with pytest.raises(PathError) as caught:
        compile_path(path)
    assert text in str(caught.value)


def test_a_function_that_cannot_take_a_value_says_so_without_the_value() -> None:
    search = compile_path("length(phone2)")
    assert search({"phone2": "+70001112233"}) == 12
    with pytest.raises(UnfitValueError) as caught:
        search({"phone2": 70001112233})
    assert "7000" not in repr(caught.value)
    assert caught.value.__cause__ is None


@given(st.text(max_size=20))
def test_any_text_is_a_path_or_refused(text: str) -> None:
    try:
        search = compile_path(text)
    except PathError:
        return
    try:
        search({"a": {"b": [1]}})
    except UnfitValueError:
        return
