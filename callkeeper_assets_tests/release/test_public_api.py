"""What others build on stays as it is: names, signatures, attributes of a `defs.yaml`.

docs/releasing.md lists what is promised. Commands, keys of `--json` documents and metrics have
snapshots of their own (callkeeper_assets_tests/cli/test_snapshots.py). A change that is meant is
taken over by RENEW=1, too, and is a line of the changelog.
"""

import ast
import inspect
import json
import os
from collections.abc import Iterator
from importlib import import_module
from typing import Any, Final

import yaml

import callkeeper_assets as ck
from callkeeper_assets_tests.release.environments import ROOT

_SNAPSHOT: Final = ROOT / "callkeeper_assets_tests" / "snapshots" / "public_api.txt"
# What a dagster.yaml names: of this release, and of the one before.
_IN_DAGSTER_YAML: Final = (
    "callkeeper_assets.dagster_ext.storage.CallKeeperStorage",
    "callkeeper_assets.dagster_ext.storage.CallKeeperLogs",
    "callkeeper_assets.dagster_ext.launcher.ForkingRunLauncher",
    "callkeeper_assets.database.dagster_storage.CallKeeperStorage",
    "callkeeper_assets.run_logs.CallKeeperLogs",
)


def _describe_function(function: Any, name: str) -> Iterator[str]:  # noqa: ANN401
    """Yield its signature as it is written, and those of its overloads."""
    module = ast.parse(inspect.getsource(inspect.getmodule(function) or ck))
    for node in module.body:
        if isinstance(node, ast.FunctionDef) and node.name == function.__name__:
            returned = ast.unparse(node.returns) if node.returns else "None"
            mark = "overload " if node.decorator_list else ""
            yield f"{mark}{name}({ast.unparse(node.args)}) -> {returned}"


def _describe_names() -> Iterator[str]:
    for name in ck.__all__:
        found = getattr(ck, name)
        if inspect.isclass(found):
            yield f"class {name}({', '.join(base.__name__ for base in found.__bases__)})"
        else:
            yield from _describe_function(found, name)


def _describe_attributes(
    schema: dict[str, Any], definitions: dict[str, Any], place: str = ""
) -> Iterator[str]:
    """Yield each attribute of a JSON schema with its types, its values, and its default."""
    if "$ref" in schema:
        schema = definitions[schema["$ref"].rpartition("/")[2]] | schema
    for one in schema.get("anyOf", ()):
        yield from _describe_attributes(one, definitions, place)
    if "items" in schema:
        yield from _describe_attributes(schema["items"], definitions, f"{place}[]")
    if isinstance(schema.get("additionalProperties"), dict):
        yield from _describe_attributes(
            schema["additionalProperties"], definitions, f"{place}.NAME"
        )
    for name, below in schema.get("properties", {}).items():
        there = f"{place}.{name}".removeprefix(".")
        needed = " required" if name in schema.get("required", ()) else ""
        told = {key: below[key] for key in ("const", "enum", "default") if key in below}
        kinds = [one.get("type", "object") for one in below.get("anyOf", [below])]
        yield f"{there}: {' | '.join(kinds)}{needed} {json.dumps(told) if told else ''}".rstrip()
        yield from _describe_attributes(below, definitions, there)


def test_the_public_api_is_what_it_was() -> None:
    schema = json.loads((ROOT / "callkeeper_assets" / "defs.schema.json").read_text("utf-8"))
    sections = {
        "import callkeeper_assets": _describe_names(),
        "defs.yaml": dict.fromkeys(_describe_attributes(schema, schema["$defs"])),
        "dagster.yaml": _IN_DAGSTER_YAML,
    }
    text = "\n".join(
        f"# {title}\n" + "".join(f"{line}\n" for line in lines) for title, lines in sections.items()
    )
    if os.environ.get("RENEW"):
        _SNAPSHOT.write_text(text, "utf-8")
    assert text == _SNAPSHOT.read_text("utf-8")


def test_names_in_a_dagster_yaml_are_classes_that_dagster_can_make() -> None:
    for name in _IN_DAGSTER_YAML:
        module, _, attribute = name.rpartition(".")
        found = getattr(import_module(module), attribute)
        assert {"config_type", "from_config_value"} <= set(dir(found))
    written = (ROOT / "dagster.yaml").read_text("utf-8")
    named = {
        f"{one['module']}.{one['class']}"
        for one in (
            yaml.safe_load(written)["storage"]["custom"],
            yaml.safe_load(written)["compute_logs"],
            yaml.safe_load(written)["run_launcher"],
        )
    }
    assert named == set(_IN_DAGSTER_YAML[:3])


def test_every_name_of_the_api_is_in_the_guide() -> None:
    guide = (ROOT / "docs" / "releasing.md").read_text("utf-8")
    assert [name for name in ck.__all__ if f"`{name}`" not in guide] == []
