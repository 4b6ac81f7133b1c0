"""What `dev` and `demo --serve` say when everything runs."""

from collections.abc import Sequence

from callkeeper_assets.cli.console import print_text
from callkeeper_assets.cli.selection import describe_broken, explain_no_source, has_sources
from callkeeper_assets.cli.serving import WebAddress
from callkeeper_assets.config.errors import MissingSecretError
from callkeeper_assets.config.loading import load_sources
from callkeeper_assets.database.url import describe, is_embedded
from callkeeper_assets.home import home, raw_url


def list_source_lines() -> list[str]:
    """Return what there is to say of the sources: their names, and what is wrong with any.

    Raises:
        MissingFolderError: `CALLKEEPER_DEFS` names a folder that does not exist.
    """
    if not has_sources():
        return [explain_no_source()]
    sources, broken = load_sources()
    lines = []
    for source in sources:
        readers = (source.read_api_key, source.read_webhook_token)
        for read in readers if source.webhook else readers[:1]:
            try:
                read()
            except MissingSecretError as error:
                lines.append(str(error))
    lines += [describe_broken(refused) for refused in broken]
    names = ", ".join(source.name for source in sources) or "none that can be loaded"
    return [f"Sources:        {names}", *lines]


def has_webhooks() -> bool:
    """Whether any source takes webhooks."""
    return any(source.webhook for source in load_sources()[0])


def show_database(url: str) -> str:
    """Return the URL as a BI tool wants it: with its password only if that was made up here."""
    return url if is_embedded() else describe(url)


def print_greeting(
    address: WebAddress, receiver: WebAddress | None, url: str, lines: Sequence[str]
) -> None:
    """Print where everything is, and how to stop it."""
    print_text()
    print_text(f"Dagster's UI:   {address.url}")
    if receiver:
        print_text(f"Webhooks:       {receiver.url}; callkeeper check prints each source's URL")
    print_text(f"Tables for BI:  {show_database(url)}")
    print_text(f"Raw calls:      {raw_url()}")
    print_text(f"Logs:           {home() / 'logs' / 'dev'}")
    for line in lines:
        print_text(line)
    print_text("Stop:           Ctrl-C")
