"""`callkeeper demo`."""


def demo() -> None:
    """Placeholder."""
