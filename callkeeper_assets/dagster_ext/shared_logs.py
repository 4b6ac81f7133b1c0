"""What runs print, beside the raw calls in an object store, where each machine can read it.

Private of Dagster: `CloudStorageComputeLogManager`, the base of its own ones for S3 and others,
which captures into a local file and asks for the moves between that and the store.
"""

import logging
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import dagster as dg
from dagster._core.storage.cloud_storage_compute_log_manager import CloudStorageComputeLogManager
from dagster._core.storage.compute_log_manager import ComputeIOType
from dagster._core.storage.local_compute_log_manager import (
    IO_TYPE_EXTENSION,
    LocalComputeLogManager,
)

from callkeeper_assets.home import make_folder
from callkeeper_assets.object_store import open_files

_logger = logging.getLogger(__name__)

# The second part of a step's key; ticks of sensors, which are many and print nothing, have another.
_OF_STEPS: Final = "compute_logs"


class SharedLogs(CloudStorageComputeLogManager[dg.DagsterInstance]):
    """Runs' output in an object store; that of a run under way is on its own machine.

    Args:
        url: An fsspec URL.
        local: What captures output, into files.
    """

    def __init__(self, url: str, local: LocalComputeLogManager) -> None:
        self._url = url
        self._local = local

    @property
    def local_manager(self) -> LocalComputeLogManager:
        """Captures; of Dagster."""
        return self._local

    @property
    def upload_interval(self) -> int | None:
        """None: output is stored at a step's end."""
        return None

    @cached_property
    def _store(self) -> tuple[Any, str]:
        return open_files(self._url, use_listings_cache=False)

    def _name(self, log_key: Sequence[str], io_type: ComputeIOType) -> str:
        return f"{self._store[1]}/{'/'.join(log_key)}.{IO_TYPE_EXTENSION[io_type]}"

    def _local_path(self, log_key: Sequence[str], io_type: ComputeIOType) -> Path:
        return Path(self._local.get_captured_local_path(log_key, IO_TYPE_EXTENSION[io_type]))

    def delete_logs(
        self, log_key: Sequence[str] | None = None, prefix: Sequence[str] | None = None
    ) -> None:
        """Delete the output of a step, or all below a prefix."""
        self._local.delete_logs(log_key=log_key, prefix=prefix)
        files, root = self._store
        if log_key:
            for io_type in ComputeIOType:
                if files.exists(name := self._name(log_key, io_type)):
                    files.rm_file(name)
        elif prefix and files.exists(folder := f"{root}/{'/'.join(prefix)}"):
            files.rm(folder, recursive=True)

    def download_url_for_type(
        self,
        log_key: Sequence[str],  # noqa: ARG002 -- Dagster's signature
        io_type: ComputeIOType,  # noqa: ARG002 -- the same
    ) -> str | None:
        """None: the UI shows it, whose users need no right to the store."""
        return None

    def display_path_for_type(self, log_key: Sequence[str], io_type: ComputeIOType) -> str:
        """Return where it is."""
        return f"{self._url}/{'/'.join(log_key)}.{IO_TYPE_EXTENSION[io_type]}"

    def cloud_storage_has_logs(
        self, log_key: Sequence[str], io_type: ComputeIOType, partial: bool = False
    ) -> bool:
        """Whether the output is stored; that of a step under way is not."""
        return not partial and bool(self._store[0].exists(self._name(log_key, io_type)))

    def upload_to_cloud_storage(
        self, log_key: Sequence[str], io_type: ComputeIOType, partial: bool = False
    ) -> None:
        """Store what was captured; a store that is away costs the output, not the run."""
        path = self._local_path(log_key, io_type)
        is_empty = not path.exists() or not path.stat().st_size
        if partial or (is_empty and _OF_STEPS not in log_key):
            return
        try:
            content = path.read_bytes() if path.exists() else b""
            self._store[0].pipe_file(self._name(log_key, io_type), content)
        except Exception as error:  # noqa: BLE001 -- each file system has errors of its own
            _logger.warning("The output of %s is not stored: %s", "/".join(log_key), error)

    def download_from_cloud_storage(
        self, log_key: Sequence[str], io_type: ComputeIOType, partial: bool = False
    ) -> None:
        """Fetch what is stored, for who reads it here."""
        if partial:
            return
        path = self._local_path(log_key, io_type)
        make_folder(path.parent)
        path.write_bytes(self._store[0].cat_file(self._name(log_key, io_type)))
