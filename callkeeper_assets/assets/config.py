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


class ProtectionConfig(dg.Config):
    """Settings of one application of the privacy settings."""

    dry_run: bool = Field(
        default=False, description="Say what would be rewritten, and change nothing."
    )


class ExportConfig(dg.Config):
    """Settings of one export; never a phone number: it would stay in Dagster's storage."""

    request: str = Field(
        description=(
            "The name of the request, no phone number. The number stands in the file "
            "requests/<name> of the home, readable by its owner alone; it is removed afterwards."
        ),
    )


class ForgetConfig(ExportConfig):
    """Settings of one request to forget a client; never a phone number."""

    request: str = Field(
        description=(
            "The name of the request, no phone number. The number stands in the file "
            "requests/<name> of the home, readable by its owner alone; it is removed afterwards. "
            "Without the file a request of `callkeeper erasures` is verified again."
        ),
    )
    reference: str = Field(
        default="", description="On whose word, such as: request 17 of 2026-11-20."
    )
    dry_run: bool = Field(default=False, description="Say what would be erased, change nothing.")


LOAD_SCHEMA: Final = LoadConfig.to_fields_dict()
RECONCILIATION_SCHEMA: Final = ReconciliationConfig.to_fields_dict()
RETENTION_SCHEMA: Final = RetentionConfig.to_fields_dict()
PROTECTION_SCHEMA: Final = ProtectionConfig.to_fields_dict()
EXPORT_SCHEMA: Final = ExportConfig.to_fields_dict()
FORGET_SCHEMA: Final = ForgetConfig.to_fields_dict()

Settings = TypeVar("Settings", bound=dg.Config)


def read_config(context: dg.AssetExecutionContext, kind: type[Settings]) -> Settings:
    """Return what was set for the run of a step whose schema is the kind's."""
    return kind(**context.op_execution_context.op_config)
