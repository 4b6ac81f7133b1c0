"""Brings a database's schema to this program's."""


def ensure_schema(url: str) -> None:
    """Create or upgrade the warehouse's tables; cheap if there is nothing to do."""
    raise NotImplementedError
