"""Statements in files: `sql/<name>.sql` beside the code that runs them."""

from collections.abc import Callable
from functools import cache
from importlib.resources import files


def read_sql_of(package: str) -> Callable[[str], str]:
    """Return what reads a package's statements by their names, each file once.

    Comments at a file's beginning are left out: the server would be sent them each time.
    """

    @cache
    def read_sql(name: str) -> str:
        lines = (files(package) / "sql" / f"{name}.sql").read_text("utf-8").splitlines()
        while lines and lines[0].startswith("--"):
            lines.pop(0)
        return "\n".join(lines).strip()

    return read_sql
