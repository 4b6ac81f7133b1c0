"""Writes callkeeper_assets/defs.schema.json from the attributes: `python -m` this module.

The schema of a whole `defs.yaml`, by which editors complete and check one. A test fails while the
file says anything else than the attributes. What a schema cannot say, `callkeeper check` does.
"""

import json
import os
from pathlib import Path
from typing import Any, Final

from callkeeper_assets.config.loading import COMPONENT_TYPE
from callkeeper_assets.config.models import SourceAttributes
from callkeeper_assets.home import find_project

FILE: Final = Path(__file__).parents[1] / "defs.schema.json"


def build_schema() -> dict[str, Any]:
    """Return the schema of a `defs.yaml`."""
    attributes = SourceAttributes.model_json_schema()
    definitions = attributes.pop("$defs", {})
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "CallKeeper source",
        "description": "A defs.yaml of callkeeper_assets: one CallKeeper account.",
        "type": "object",
        "properties": {
            "type": {"const": COMPONENT_TYPE, "description": "What the file is."},
            "attributes": attributes,
            "requirements": {
                "type": "object",
                "description": "Dagster's list of environment variables, for `dg` alone.",
            },
        },
        "required": ["type", "attributes"],
        "additionalProperties": False,
        "$defs": definitions,
    }


def render() -> str:
    """Return the schema's file."""
    return json.dumps(build_schema(), indent=2, ensure_ascii=False) + "\n"


def locate_from(folder: Path) -> str:
    """Return the schema's place as a file in the folder names it.

    A project of a user's own has a copy: a path into an environment is another on each machine.
    """
    project = find_project()
    copy = project.root / FILE.name if project else FILE
    return Path(os.path.relpath(copy if copy.is_file() else FILE, folder)).as_posix()


if __name__ == "__main__":
    FILE.write_text(render(), encoding="utf-8")
