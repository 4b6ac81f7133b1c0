"""What each of our connections sets for itself, whatever the role, database or server say.

An administrator's settings are meant for people and for BI; a statement that is ended after 30 s,
or a lock that goes with an idle session, would here be a day that is never loaded. They are asked
for while connecting, so that no statement runs without them; `check` names what is not in force.
Settings that are meant to stop a program that writes (read-only) are left alone, and named.
"""

import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import psycopg

# Known to every version that will do.
SETTINGS: Final = {
    # ADBC tells types by the text of their functions' names as it connects.
    "quote_all_identifiers": "off",
    # A role's own, or a schema named like it, would hide the tables or make them anew elsewhere.
    "search_path": "public",
    # psycopg reads no other forms.
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    "bytea_output": "hex",
    # Moments that come as texts are the same text everywhere.
    "TimeZone": "UTC",
    # A double that comes as a text is the very same double again.
    "extra_float_digits": "1",
    # Drivers write values and lists so.
    "standard_conforming_strings": "on",
    "array_nulls": "on",
    "transform_null_equals": "off",
    # Locks keep apart what must not run at once; runs side by side would fail each other.
    "default_transaction_isolation": "read committed",
    "default_transaction_deferrable": "off",
    # A run holds its locks for hours in a session that is idle, and some wait for them as long.
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
    # A table that is not there yet is an answer, not an end.
    "exit_on_error": "off",
}
# Of 17 and newer: an older server would refuse a connection that asks for it.
NEWER_SETTINGS: Final = {"transaction_timeout": "0"}
_FIRST_WITH_NEWER: Final = 170_000

# To be run on each new connection that did not know its server's version: nothing on an older one.
SET_NEWER: Final = "; ".join(
    f"SELECT set_config('{name}', '{value}', false) WHERE current_setting('{name}', true) <> ''"
    for name, value in NEWER_SETTINGS.items()
)

_DIFFERING: Final = """
    SELECT w.name, current_setting(w.name, true)
    FROM unnest(%s::text[], %s::text[]) AS w (name, value)
    WHERE current_setting(w.name, true) <> w.value
    ORDER BY 1
"""


def build_options(given: str = "", *, server_version: int = 0) -> str:
    """Return libpq's `options`: those that were given, then ours, which win.

    Args:
        given: of the URL; empty means those of PGOPTIONS, as libpq does it.
        server_version: as libpq numbers it; 0 if it is not known.
    """
    wanted = SETTINGS | (NEWER_SETTINGS if server_version >= _FIRST_WITH_NEWER else {})
    ours = (f"-c {name}={_escape(value)}" for name, value in wanted.items())
    return " ".join([given or os.environ.get("PGOPTIONS", ""), *ours]).strip()


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace(" ", "\\ ")


def find_differing(connection: "psycopg.Connection[tuple[object, ...]]") -> dict[str, str]:
    """Return what is in force otherwise than we need it, by name: nothing, if all is well."""
    wanted = SETTINGS | NEWER_SETTINGS
    rows = connection.execute(_DIFFERING, (list(wanted), list(wanted.values()))).fetchall()
    return {str(name): str(value) for name, value in rows}
