"""What `check` found: one record a thing looked at, and the table of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from callkeeper_assets.cli.console import build_table, print_table

State = Literal["good", "warning", "bad"]

_MARKS: Final[dict[State, tuple[str, str]]] = {
    "good": ("✓", "green"),
    "warning": ("!", "yellow"),
    "bad": ("✗", "red"),
}


@dataclass(frozen=True)
class Finding:
    """One thing looked at.

    Attributes:
        subject: A source's name, or `installation`.
        what: What was looked at: `key`, `database`.
        text: What was found and, unless it is good, what to do.
    """

    subject: str
    what: str
    state: State
    text: str


def print_findings(findings: Sequence[Finding]) -> None:
    """Print the table."""
    from rich.text import Text  # noqa: PLC0415

    table = build_table("", "", "", "")
    table.show_header = False
    last = ""
    for finding in findings:
        if last and finding.subject != last:
            table.add_row()
        mark, style = _MARKS[finding.state]
        subject = finding.subject if finding.subject != last else ""
        table.add_row(Text(mark, style), subject, finding.what, finding.text)
        last = finding.subject
    print_table(table)
