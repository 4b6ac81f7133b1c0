"""What a person may set for one run: shown in the launchpad of Dagster's UI.

Steps name a schema that is made once, and read their settings by it: made for each step anew, as
Dagster does for an annotated parameter, it costs a tenth of the time in which the location loads.
"""

from typing import Final, TypeVar

import dagster as dg
from pydantic import Field


class LoadConfig(dg.Config):
    """Settings of one load."""

    force: bool = Field(
        default=False,
        description=(
            "Replace a day also if it comes back empty, or would lose so many of its calls "
            "that the guard refuses it."
        ),
    )


class ReconciliationConfig(LoadConfig):
    """Settings of one reconciliation."""

    dry_run: bool = Field(
        default=False,
        description="Compare and say what differs, but change neither tables nor raw calls.",
    )


class RetentionConfig(dg.Config):
    """Settings of one retention."""

    dry_run: bool = Field(
        default=False, description="Say what would be deleted, and delete nothing."
    )


LOAD_SCHEMA: Final = LoadConfig.to_fields_dict()
RECONCILIATION_SCHEMA: Final = ReconciliationConfig.to_fields_dict()
RETENTION_SCHEMA: Final = RetentionConfig.to_fields_dict()

Settings = TypeVar("Settings", bound=dg.Config)


def read_config(context: dg.AssetExecutionContext, kind: type[Settings]) -> Settings:
    """Return what was set for the run of a step whose schema is the kind's."""
    return kind(**context.op_execution_context.op_config)
