"""Whatever a file holds, it is a source or it is refused in words; nothing else may come of it.

Anything else would be an exception while the code location loads, which takes all sources away.
"""

import tempfile
from pathlib import Path

import yaml
from hypothesis import given
from hypothesis import strategies as st

from callkeeper_assets.config.errors import InvalidSourceError
from callkeeper_assets.config.loading import load_source_file
from callkeeper_assets.config.models import SourceAttributes
from callkeeper_assets.warehouse.tables import SELECTABLE_TABLES

_SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.dates(),
    st.sampled_from(
        [*SELECTABLE_TABLES, "eq", "in", "is_null", "status", "called_at", "0 5 * * *"]
    ),
)
_KEYS = st.one_of(
    st.sampled_from([*SourceAttributes.model_fields, *SELECTABLE_TABLES, "webhook"]),
    st.sampled_from(["env", "cron", "overlap_days", "field", "op", "value"]),
    _SCALARS,
)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_KEYS, inner, max_size=4)),
    max_leaves=12,
)
_FILTER = st.fixed_dictionaries(
    {
        "field": st.sampled_from(["status", "duration_sec", "called_at", "visit_info.current"]),
        "op": st.sampled_from(["eq", "in", "lt", "contains", "is_null"]),
    },
    optional={"value": _VALUES},
)
_TEXTS = st.one_of(
    st.sampled_from(["id", "tags[]", "@", "a.b", "length(a)", "t", "select", "r", "text"]),
    _SCALARS,
)
_COLUMN = st.fixed_dictionaries(
    {"type": st.sampled_from(["text", "bigint", "jsonb", "txt"])},
    optional={"path": _TEXTS, "parent": _TEXTS},
)
_TABLE = st.fixed_dictionaries(
    {
        "table": _TEXTS,
        "key": st.lists(_TEXTS, max_size=2) | _VALUES,
        "columns": st.dictionaries(_TEXTS, _COLUMN | _VALUES, max_size=3),
    },
    optional={"rows": _TEXTS},
)
_REPORT = st.fixed_dictionaries(
    {"name": _TEXTS},
    optional={
        "fields": st.lists(_TEXTS, max_size=3) | st.dictionaries(_TEXTS, _TEXTS, max_size=3),
        "structure": st.lists(_TABLE, max_size=2),
        "filters": st.lists(_FILTER, max_size=2),
        "refresh": _VALUES,
    },
)
_ATTRIBUTES = st.fixed_dictionaries(
    {"api_key": st.just({"env": "KEY"})},
    optional={
        "filters": st.dictionaries(
            st.sampled_from(SELECTABLE_TABLES), st.lists(_FILTER, max_size=2), max_size=2
        ),
        "reports": st.lists(_REPORT, max_size=2),
        **{
            name: _VALUES
            for name in SourceAttributes.model_fields
            if name not in {"api_key", "filters", "reports"}
        },
    },
)


def _load(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "office" / "defs.yaml"
        file.parent.mkdir()
        file.write_bytes(content)
        try:
            load_source_file(file)
        except InvalidSourceError as error:
            problems = error.problems
        else:
            return
    assert problems
    assert all(problem.startswith(f"{file}:") for problem in problems)


@given(st.one_of(_ATTRIBUTES, _VALUES))
def test_any_attributes_load_or_are_refused(attributes: object) -> None:
    data = {"type": "callkeeper_assets.CallKeeperSource", "attributes": attributes}
    _load(yaml.safe_dump(data, allow_unicode=True).encode())


@given(st.binary() | st.text("{}[]:,-&*!|>'\"%@`\n aA0#?<=").map(str.encode))
def test_any_bytes_load_or_are_refused(content: bytes) -> None:
    _load(content)
