"""The jobs `forget`, `export` and `<source>_protect`."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import dagster as dg

from callkeeper_assets.assets import progress
from callkeeper_assets.assets.days import EXPORT_SCHEMA, FORGET_SCHEMA, PROTECTION_SCHEMA
from callkeeper_assets.assets.resources import (
    failing_clearly,
    open_store,
    opened_warehouse,
    with_known_signature,
)
from callkeeper_assets.config.errors import ConfigError
from callkeeper_assets.config.loading import load_sources
from callkeeper_assets.config.source import Source
from callkeeper_assets.dagster_ext.dead_runs import SOURCE_TAG
from callkeeper_assets.language import tr

if TYPE_CHECKING:
    from callkeeper_assets.personal_data.verifying import FoundPlace

FORGET: Final = "forget"
EXPORT: Final = "export"


ListSources: TypeAlias = Callable[[], Sequence[Source]]

PROTECT: Final = "protect"


def load_all_sources() -> Sequence[Source]:
    """Return all sources of the project: a client is looked for in all of them.

    Raises:
        ConfigError: The configuration of one is refused.
    """
    sources, broken = load_sources()
    if broken:
        names = ", ".join(sorted(one.name for one in broken))
        raise ConfigError(
            tr(
                "A client is looked for in all sources, and the configuration of {names} is "
                "refused: callkeeper check says why. Correct it first.",
                names=names,
            )
        )
    return sources


def build_client_jobs(
    list_sources: ListSources = load_all_sources, prefix: str = ""
) -> dg.Definitions:
    """Build both jobs; which sources there are is asked when they run."""

    @dg.op(
        name=f"{prefix}forget_client",
        out=dg.Out(dg.Nothing),
        config_schema=FORGET_SCHEMA,
        description="Erases one client everywhere, and searches again by other means.",
    )
    def forget_client(context: dg.OpExecutionContext) -> Iterator[dg.Output[None]]:
        with failing_clearly(context):
            sources = list_sources()
            with opened_warehouse(context, *sources) as url:
                document = _forget(context, url, sources)
        progress.report_result(document)
        yield dg.Output(None, metadata=_describe(document))
        _fail_if_left(document)

    @dg.op(
        name=f"{prefix}export_client",
        out=dg.Out(dg.Nothing),
        config_schema=EXPORT_SCHEMA,
        description="Writes all that is held on one client into a private file in the home.",
    )
    def export_client(context: dg.OpExecutionContext) -> Iterator[dg.Output[None]]:
        with failing_clearly(context):
            sources = list_sources()
            with opened_warehouse(context, *sources) as url:
                document = _export(context, url, sources)
        progress.report_result(document)
        yield dg.Output(None, metadata=_describe(document))

    @dg.job(
        name=f"{prefix}{FORGET}", description="Forgets a client; or verifies that one is forgotten."
    )
    def forget() -> None:
        forget_client()

    @dg.job(
        name=f"{prefix}{EXPORT}", description="Gives what is held on one client, as a private file."
    )
    def export() -> None:
        export_client()

    return dg.Definitions(jobs=[forget, export])


def _forget(
    context: dg.OpExecutionContext,
    url: str,
    sources: Sequence[Source],
) -> dict[str, Any]:
    from callkeeper_assets.personal_data.forgetting import (  # noqa: PLC0415
        Forgetter,
        verify_request,
    )

    config: Mapping[str, Any] = context.op_config
    request_id, store, is_dry = config["request"], open_store(), config["dry_run"]
    with _number_of(request_id) as number:
        if number is None:
            context.log.info("No number was handed over: searching by the request's hash.")
            places = verify_request(url, store, sources, request_id)
            return {"verified": request_id, "left_over": [asdict(one) for one in places]}
        forgetter = Forgetter(url, store, sources, _say_to(context))
        done = forgetter.forget(
            number, is_dry=is_dry, request_id=request_id, reference=config["reference"]
        )
    return {"dry_run": is_dry, **asdict(done)}


def _export(
    context: dg.OpExecutionContext,
    url: str,
    sources: Sequence[Source],
) -> dict[str, Any]:
    from callkeeper_assets.personal_data.exporting import (  # noqa: PLC0415
        export_client,
        write_export,
    )

    request_id = context.op_config["request"]
    with _number_of(request_id) as number:
        if number is None:
            raise ConfigError(
                tr(
                    "No number was handed over for the request {request_id}. Type callkeeper "
                    "export; or put the number into the file requests/{request_id} of the home "
                    "first, readable by its owner alone, and run this again.",
                    request_id=request_id,
                )
            )
        document = export_client(url, open_store(), sources, number, _say_to(context))
    rows = {table: len(found) for table, found in document["tables"].items()}
    return {
        "file": str(write_export(request_id, document)),
        "rows": rows,
        "sources": sorted(document["sources"]),
        "similar": document["similar"],
    }


@contextmanager
def _number_of(request_id: str) -> Iterator[str | None]:
    """Yield a request's number; what was handed over is removed when it is done."""
    from callkeeper_assets.personal_data.requests import drop_number, take_number  # noqa: PLC0415
    from callkeeper_assets.privacy.redaction import register_secret  # noqa: PLC0415

    number = take_number(request_id)
    if number is not None:
        # Whatever a library may say of what it was given: no log of this process has it.
        register_secret(number)
    yield number
    drop_number(request_id)


def _say_to(context: dg.OpExecutionContext) -> "progress.Words":
    def say(text: str) -> None:
        context.log.info(text)
        progress.say(text)

    return say


def _fail_if_left(document: Mapping[str, Any]) -> None:
    """End a run as failed if it found something that a person has to look at.

    Raises:
        dagster.Failure: Something is not erased, or similar digits are left.
    """
    text = explain_rest(document)
    if text:
        raise dg.Failure(text, metadata=_describe(document), allow_retries=False)


def explain_rest(document: Mapping[str, Any]) -> str:
    """Say what is not erased, or left to a person's decision; nothing of a dry run."""
    if document.get("dry_run"):
        return ""
    lines = list(document.get("problems", ()))
    if lines:
        lines.append("Not all could be erased; what was, stays erased. Run it again after that.")
    places = document.get("similar") or document.get("left_over") or ()
    if places:
        lines.append(
            "The same last nine digits are in the places below. They may be another's number, an "
            "amount or an id: a person has to look at each. If it is the client, erase it there."
        )
        lines += [f"  {_say_place(one)}" for one in places]
    return "\n".join(lines)


def _say_place(place: "Mapping[str, Any] | FoundPlace") -> str:
    found = place if isinstance(place, Mapping) else asdict(place)
    calls = ", ".join(str(one) for one in found["calls"])
    return f"{found['place']}: {found['count']}{f' (call {calls})' if calls else ''}"


def _describe(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return what Dagster's UI shows of a result."""
    kept = {name: value for name, value in document.items() if value is not None}
    return {
        name: dg.MetadataValue.path(value) if name == "file" else _as_metadata(value)
        for name, value in kept.items()
    }


def _as_metadata(value: object) -> Any:  # noqa: ANN401 -- whatever Dagster shows
    if isinstance(value, tuple | list | dict):
        return dg.MetadataValue.json(value if not isinstance(value, tuple) else list(value))
    return value


def name_protection_job(source: str) -> str:
    """Name the job that brings a source's stored calls to its privacy settings."""
    return f"{source}_{PROTECT}"


def build_protection(source: Source) -> dg.Definitions:
    """Build a source's job."""
    name = name_protection_job(source.stem)

    @dg.op(
        name=f"{name}_calls",
        out=dg.Out(dg.Nothing),
        config_schema=PROTECTION_SCHEMA,
        description="Rewrites raw calls and payloads as the settings say, and loads from them.",
    )
    @with_known_signature
    def protect_calls(context: dg.OpExecutionContext) -> Iterator[dg.Output[None]]:
        # The database's driver, which loading the code location need not pay for.
        from callkeeper_assets.personal_data.applying import apply_privacy  # noqa: PLC0415

        say = _say_to(context)
        is_dry = context.op_config["dry_run"]
        with failing_clearly(context), opened_warehouse(context, source) as url:
            done = apply_privacy(
                url,
                open_store(),
                source,
                say,
                is_dry=is_dry,
                run_id=context.run.run_id,
            )
        document = {"source": source.name, "dry_run": is_dry, **asdict(done)}
        progress.report_result(document)
        metadata = {**document, "problems": list(done.problems)}
        yield dg.Output(None, metadata=metadata)
        if done.problems:
            raise dg.Failure("\n".join(done.problems), metadata=metadata, allow_retries=False)

    @dg.job(
        name=name,
        description=f"Applies the privacy settings of {source.caption} to its stored calls.",
        tags={SOURCE_TAG: source.name},
    )
    def protect() -> None:
        protect_calls()

    return dg.Definitions(jobs=[protect])
