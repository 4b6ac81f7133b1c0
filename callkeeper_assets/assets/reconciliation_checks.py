"""The checks of a reconciled day: one for each compared number, one for each kind of missing.

Counts are exact, samples are capped: what is kept of a day does not grow with what differs in it.
A discrepancy that was healed is a warning, one that is left an error.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

import dagster as dg

from callkeeper_assets.assets.day_metadata import describe_counts
from callkeeper_assets.config.source import Source
from callkeeper_assets.warehouse.dimensions import FACTS
from callkeeper_assets.warehouse.discrepancies import ComparedDay, Discrepancy, Mode

_MOST_SHOWN: Final = 10

# By check: its parameter or kind in callkeeper_discrepancies, and what passing means.
_MISSING: Final = {
    "missing_in_warehouse": "Every call that the source has, and no filter leaves out, is there.",
    "missing_in_source": "Every call in the warehouse is one that the source still has.",
}
_NUMBERS: Final = {
    "call_duration": ("duration_sec", "call duration"),
    "talk_duration": ("duration2_sec", "talk duration"),
    "attempt": ("attempt", "number of the attempt"),
    "recognition_attempts": ("asr_attempts", "number of recognition attempts"),
    "ivr_readings": ("playback_tick", "number of IVR readings"),
}
_SAMPLE: Final = dg.TableSchema(
    columns=[
        dg.TableColumn("call_id", "int"),
        dg.TableColumn("warehouse", "string"),
        dg.TableColumn("source", "string"),
        dg.TableColumn("healed", "bool"),
    ]
)
_CHECK_OF: Final = {parameter: name for name, (parameter, _) in _NUMBERS.items()}


@dataclass(frozen=True)
class Finding:
    """What one check found on one day; the sample shows what is left first."""

    found: int
    left: int
    sample: tuple[Discrepancy, ...]


def build_reconciliation_checks(
    source: Source, key: dg.AssetKey, partitions: dg.PartitionsDefinition[str]
) -> list[dg.AssetCheckSpec]:
    """Build the specs of the checks that fit the source's selected tables."""
    descriptions = dict(_MISSING)
    if FACTS in source.tables:
        descriptions |= {
            name: f"The {label} of every call is that of the source (`{parameter}`)."
            for name, (parameter, label) in _NUMBERS.items()
        }
    return [
        dg.AssetCheckSpec(name=name, asset=key, description=description, partitions_def=partitions)
        for name, description in descriptions.items()
    ]


def find_by_check(discrepancies: Sequence[Discrepancy]) -> dict[str, Finding]:
    """Sort a day's discrepancies by check; checks that found nothing are left out."""
    by_check: dict[str, list[Discrepancy]] = {}
    for one in discrepancies:
        by_check.setdefault(_CHECK_OF.get(one.parameter, one.kind), []).append(one)
    return {
        name: Finding(
            found=len(found),
            left=sum(not one.is_healed for one in found),
            sample=tuple(sorted(found, key=lambda one: one.is_healed)[:_MOST_SHOWN]),
        )
        for name, found in by_check.items()
    }


def judge_check(
    source: Source, mode: Mode, day: date, name: str, finding: Finding | None
) -> dg.AssetCheckResult:
    """Say what a check found on a day, and what to do."""
    if finding is None:
        return dg.AssetCheckResult(passed=True, metadata={"found": 0, "healed": 0, "left": 0})
    what = _describe(name)
    metadata: dict[str, Any] = {
        "found": finding.found,
        "healed": finding.found - finding.left,
        "left": finding.left,
        "sample": dg.MetadataValue.table([_show(one) for one in finding.sample], _SAMPLE),
        "sample_is_cut": finding.found > len(finding.sample),
    }
    if not finding.left:
        text = f"{what}: {_count(finding.found)}, all healed. Nothing has to be done."
        return dg.AssetCheckResult(
            passed=False, description=text, metadata=metadata, severity=dg.AssetCheckSeverity.WARN
        )
    text = f"{what}: {_count(finding.found)}, {finding.left} left. {_remedy(source, mode, day)}"
    return dg.AssetCheckResult(passed=False, description=text, metadata=metadata)


def _describe(name: str) -> str:
    if name in _NUMBERS:
        parameter, label = _NUMBERS[name]
        return f"The {label} differs from the source's ({parameter})"
    return "Missing in the warehouse" if name == "missing_in_warehouse" else "Missing at the source"


def _count(number: int) -> str:
    return f"{number} call{'' if number == 1 else 's'}"


def _remedy(source: Source, mode: Mode, day: date) -> str:
    period = f"{source.name} --from {day} --to {day}"
    match mode:
        case "look":
            return f"This was a dry run. To heal: callkeeper reconcile {period}"
        case "note":
            return (
                f"Healing is off (reconciliation.heal in {source.file}). To load the day anew: "
                f"callkeeper load {period}"
            )
        case "heal":
            return (
                "Healing did not change it: something else writes to the tables, a trigger or "
                f"another program. Find it, then: callkeeper reconcile {period}"
            )


def _show(one: Discrepancy) -> dg.TableRecord:
    return dg.TableRecord(
        {
            "call_id": one.call_id,
            "warehouse": one.warehouse_value,
            "source": one.source_value,
            "healed": one.is_healed,
        }
    )


def summarise_day(day: ComparedDay) -> tuple[dict[str, Any], dict[str, Finding]]:
    """Return what Dagster's UI shows of a day, and what each check found."""
    findings = find_by_check(day.discrepancies)
    found = sum(one.found for one in findings.values())
    left = sum(one.left for one in findings.values())
    metadata: dict[str, Any] = {
        "found": found,
        "healed": found - left,
        "left": left,
        "calls_compared": day.calls,
        "non_final_calls": day.non_final,
        "waiting_calls": day.waiting,
        **describe_counts(*(day.loaded.counts.values() if day.loaded else ())),
    }
    return metadata, findings
