"""The job `<source>_protect`: a source's privacy settings applied to the calls that are stored.

What changed, or would by a dry run, is in the metadata of its step. The source is asked nothing.
"""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Final

import dagster as dg

from callkeeper_assets.assets.config import PROTECTION_SCHEMA
from callkeeper_assets.assets.failures import failing_clearly
from callkeeper_assets.assets.resources import RawCallsResource, WarehouseResource
from callkeeper_assets.assets.signatures import with_known_signature
from callkeeper_assets.config.source import Source
from callkeeper_assets.runs import progress
from callkeeper_assets.runs.burial import SOURCE_TAG

NAME: Final = "protect"


def name_protection_job(source: str) -> str:
    """Name the job that brings a source's stored calls to its privacy settings."""
    return f"{source}_{NAME}"


def build_protection(source: Source) -> dg.Definitions:
    """Build a source's job."""
    name = name_protection_job(source.name)

    @dg.op(
        name=f"{name}_calls",
        out=dg.Out(dg.Nothing),
        config_schema=PROTECTION_SCHEMA,
        description="Rewrites raw calls and payloads as the settings say, and loads from them.",
    )
    @with_known_signature
    def protect_calls(
        context: dg.OpExecutionContext, raw_store: RawCallsResource, warehouse: WarehouseResource
    ) -> Iterator[dg.Output[None]]:
        # The database's driver, which loading the code location need not pay for.
        from callkeeper_assets.personal_data.applying import apply_privacy  # noqa: PLC0415

        def say(text: str) -> None:
            context.log.info(text)
            progress.say(text)

        is_dry = context.op_config["dry_run"]
        with failing_clearly(context), warehouse.open(context, source) as url:
            done = apply_privacy(
                url,
                raw_store.open_store(),
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
