"""What a person may set for one run: shown in the launchpad of Dagster's UI."""

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
