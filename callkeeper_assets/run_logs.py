"""Where Dagster keeps what runs print: `CALLKEEPER_HOME/logs`.

`dagster.yaml` can take a folder from a variable only if the variable is set; the home has a
default. So `dagster.yaml` names this class, which asks for the home.
"""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

# Dagster marks the class public and documents this path for dagster.yaml, but exports it nowhere.
from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager

from callkeeper_assets.home import home

if TYPE_CHECKING:
    from dagster._serdes import ConfigurableClassData


class CallKeeperLogs(LocalComputeLogManager):
    """What runs print, in `CALLKEEPER_HOME/logs`."""

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        """Take no configuration: the folder is the home's."""
        return {}

    @classmethod
    def from_config_value(
        cls,
        inst_data: "ConfigurableClassData | None",
        config_value: Mapping[str, Any],  # noqa: ARG003 -- empty, Dagster's signature
    ) -> Self:
        """Open the logs' folder."""
        return cls(os.fspath(home() / "logs"), inst_data=inst_data)
