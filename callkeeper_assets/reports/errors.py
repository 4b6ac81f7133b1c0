"""What goes wrong with reports, grouped by what to do about it.

`PathError`: correct the path in `defs.yaml`. `StructureError`: a table is not as the report wants
it; the text has the statement that a person may run. Texts show no value of a call.
"""

from callkeeper_assets.warehouse.errors import WarehouseError


class PathError(ValueError):
    """A path in `defs.yaml` that can never give a value."""


class StructureError(WarehouseError):
    """A report's table in the database is not what the report says, or is not a report's."""
