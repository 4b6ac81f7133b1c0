"""How a command ends: exit codes, and the exception for a command that was typed wrongly."""

from typing import Final

FAILED: Final = 1
WRONG_USAGE: Final = 2
# As shells have it: 128 and the number of SIGINT.
INTERRUPTED: Final = 130


class UsageProblemError(Exception):
    """What was typed cannot be done: a person has to type something else; says what."""
