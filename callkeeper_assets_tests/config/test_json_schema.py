"""The published JSON schema of a defs.yaml is that of the attributes, and says what files mean."""

import copy
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from callkeeper_assets.config import models
from callkeeper_assets_tests.config.test_reports import EXAMPLE

HEAD = "type: callkeeper_assets.CallKeeperSource\nattributes:\n  api_key: {env: KEY}\n"


def _load(text: str) -> Any:  # noqa: ANN401
    return yaml.safe_load(HEAD + "".join(f"  {line}\n" for line in text.splitlines()))


def _validator() -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(models.build_schema())


def test_the_file_is_what_the_attributes_render() -> None:
    assert models.SCHEMA_FILE.read_text("utf-8") == models.render_schema(), (
        "run `python -m callkeeper_assets.config.models`"
    )


def test_the_schema_is_one_and_every_attribute_in_it_is_described() -> None:
    schema = models.build_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    objects = [schema["properties"]["attributes"], *schema["$defs"].values()]
    missing = [
        f"{one['title']}.{name}"
        for one in objects
        for name, attribute in one.get("properties", {}).items()
        # A part's description is in its own definition.
        if not {"description", "$ref"} & attribute.keys()
    ]
    assert missing == []


def test_the_interfaces_example_is_right(tmp_path: Path) -> None:
    assert list(_validator().iter_errors(_load(EXAMPLE))) == []
    place = models.locate_schema(models.SCHEMA_FILE.parent / "defs" / "x")
    assert place == "../../defs.schema.json"
    assert (tmp_path / models.locate_schema(tmp_path)).resolve() == models.SCHEMA_FILE


@pytest.mark.parametrize(
    "change",
    [
        {"captoin": "x"},
        {"reports": [{"fields": ["id"]}]},
        {"reports": [{"name": "R", "fields": ["id"]}]},
        {"reports": [{"name": "r", "fields": [7]}]},
        {"reports": [{"name": "r", "structure": [{"table": "t", "key": ["a"], "columns": {}}]}]},
        {
            "reports": [
                {
                    "name": "r",
                    "structure": [
                        {"table": "t", "key": ["a"], "columns": {"a": {"path": "a", "type": "str"}}}
                    ],
                }
            ]
        },
        {"tables": ["callkeeper_call"]},
    ],
)
def test_an_editor_marks_what_is_wrong(change: dict[str, Any]) -> None:
    document = copy.deepcopy(_load("caption: x"))
    document["attributes"] |= change
    assert list(_validator().iter_errors(document))
