"""Which sources a command is for, by the names that were typed."""

from collections.abc import Sequence

from callkeeper_assets.cli.exits import UsageProblemError
from callkeeper_assets.config.loading import BrokenSource, defs_folder, load_sources
from callkeeper_assets.config.problems import describe_unknown
from callkeeper_assets.config.source import Source
from callkeeper_assets.reports.definition import Report
from callkeeper_assets.warehouse.dimensions import CALLS


def explain_no_source() -> str:
    """Say how to make the first source."""
    return (
        f"There is no source in {defs_folder()} yet. Make one:\n"
        "  dg scaffold defs callkeeper_assets.CallKeeperSource main_office\n"
        "then put the account's API key into .env beside pyproject.toml, as the new defs.yaml "
        "says, and type: callkeeper check"
    )


def describe_broken(broken: BrokenSource) -> str:
    """Say what is wrong with a source that is refused."""
    problems = "\n".join(f"  {problem}" for problem in broken.problems)
    return f"Source '{broken.name}' is not loaded, its configuration is refused:\n{problems}"


def has_sources() -> bool:
    """Whether any source is configured, refused ones included.

    Raises:
        MissingFolderError: `CALLKEEPER_DEFS` names a folder that does not exist.
    """
    return any(load_sources())


def choose_sources(names: Sequence[str]) -> tuple[list[Source], list[BrokenSource]]:
    """Return the named sources in the order of their names as typed, or all if none is named.

    Raises:
        UsageProblemError: A name that no source has, or no source is configured at all.
        MissingFolderError: `CALLKEEPER_DEFS` names a folder that does not exist.
    """
    sources, broken = load_sources()
    if not sources and not broken:
        raise UsageProblemError(explain_no_source())
    if not names:
        return sources, broken
    by_name = {source.name: source for source in sources}
    refused = {source.name: source for source in broken}
    unknown = [name for name in names if name not in by_name and name not in refused]
    if unknown:
        known = (*by_name, *refused)
        raise UsageProblemError(
            "\n".join(_capitalise(describe_unknown("source", name, known)) for name in unknown)
        )
    wanted = tuple(dict.fromkeys(names))
    return (
        [by_name[name] for name in wanted if name in by_name],
        [refused[name] for name in wanted if name in refused],
    )


def choose_good_sources(names: Sequence[str]) -> list[Source]:
    """Return the named sources, all of them usable.

    Raises:
        UsageProblemError: One is not known, or its configuration is refused.
        MissingFolderError: `CALLKEEPER_DEFS` names a folder that does not exist.
    """
    sources, broken = choose_sources(names)
    if broken:
        raise UsageProblemError("\n".join(describe_broken(source) for source in broken))
    return sources


def choose_report(source: str, name: str) -> tuple[Source, Report]:
    """Return the named source and its report.

    Raises:
        UsageProblemError: One of them is not known, or the source's configuration is refused.
        MissingFolderError: `CALLKEEPER_DEFS` names a folder that does not exist.
    """
    (chosen,) = choose_good_sources([source])
    report = chosen.report(name)
    if report is None and not chosen.reports:
        raise UsageProblemError(
            f"Source '{source}' has no reports. They are made in {chosen.file}, under reports."
        )
    if report is None:
        known = [one.name for one in chosen.reports]
        raise UsageProblemError(_capitalise(describe_unknown("report", name, known)))
    return chosen, report


def choose_reconcilable_source(name: str) -> Source:
    """Return the named source, whose tables hold calls to compare.

    Raises:
        UsageProblemError: It is not known, its configuration is refused, or it has no calls.
        MissingFolderError: `CALLKEEPER_DEFS` names a folder that does not exist.
    """
    (source,) = choose_good_sources([name])
    if CALLS not in source.tables:
        raise UsageProblemError(
            f"Source '{name}' has nothing to compare: {CALLS} is not among its tables in "
            f"{source.file}."
        )
    return source


def choose_retained_source(name: str) -> Source:
    """Return the named source, which does not keep calls for ever.

    Raises:
        UsageProblemError: It is not known, its configuration is refused, or it has no retention.
        MissingFolderError: `CALLKEEPER_DEFS` names a folder that does not exist.
    """
    (source,) = choose_good_sources([name])
    if source.retention is None:
        raise UsageProblemError(
            f"Source '{name}' keeps its calls for ever. To have older ones deleted, add to "
            f"{source.file}: retention: {{keep_days: 730}}"
        )
    return source


def _capitalise(text: str) -> str:
    return text[:1].upper() + text[1:]
