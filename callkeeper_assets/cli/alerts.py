"""Commands of alerts: `alert`, which tries them and says what is told now; `alerts` tells."""

from typing import TYPE_CHECKING, Annotated

import typer

from callkeeper_assets.cli.console import FAILED, AsJson, UsageProblemError
from callkeeper_assets.language import current_language, tr
from callkeeper_assets.local_time import show_moment

if TYPE_CHECKING:
    from callkeeper_assets.alerts.plans import Cause
    from callkeeper_assets.alerts.settings import AlertSettings
    from callkeeper_assets.alerts.store import Waiting


def alert(
    *,
    test: Annotated[
        bool, typer.Option("--test", help="Send a test message to each address, now.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show what alerts have told that is not over, and what is not delivered; or try them."""
    from callkeeper_assets.alerts.settings import read_settings  # noqa: PLC0415

    settings = read_settings()
    if test:
        _test(settings, as_json=as_json)
    else:
        _show(settings, as_json=as_json)


def _explain_none() -> str:
    return tr(
        "Nobody is named to be told. Set CALLKEEPER_ALERT_URLS or "
        "CALLKEEPER_ALERT_WEBHOOK_URL (docs/alerts.md), and start `callkeeper alerts` or "
        "`callkeeper dev` again."
    )


def _test(settings: "AlertSettings", *, as_json: bool) -> None:
    import uuid  # noqa: PLC0415
    from datetime import UTC, datetime  # noqa: PLC0415

    from callkeeper_assets.alerts.facts import name_machine  # noqa: PLC0415
    from callkeeper_assets.alerts.sending import (  # noqa: PLC0415
        Parcel,
        UndeliveredError,
        send,
    )
    from callkeeper_assets.alerts.texts import compose_test  # noqa: PLC0415
    from callkeeper_assets.cli.console import (  # noqa: PLC0415
        print_error,
        print_json,
        print_text,
    )

    if not settings.channels:
        raise UsageProblemError(_explain_none())
    machine = name_machine()
    message = compose_test(machine, settings.language)
    document = {"machine": machine, "at": datetime.now(UTC).isoformat(), "alerts": []}
    errors: dict[str, str | None] = {}
    for channel in settings.channels:
        try:
            send(channel, Parcel(str(uuid.uuid4()), message.title, message.body, document))
        except UndeliveredError as error:
            errors[channel.name] = str(error)
            if not as_json:
                print_error(
                    tr("{channel}: not delivered: {error}", channel=channel.name, error=error)
                )
        else:
            errors[channel.name] = None
            if not as_json:
                print_text(tr("{channel}: delivered", channel=channel.name))
    if as_json:
        channels = [{"channel": name, "error": error} for name, error in errors.items()]
        print_json({"ok": not any(errors.values()), "channels": channels})
    if any(errors.values()):
        raise typer.Exit(FAILED)


def _show(settings: "AlertSettings", *, as_json: bool) -> None:
    from dataclasses import asdict  # noqa: PLC0415
    from datetime import UTC, datetime  # noqa: PLC0415

    from callkeeper_assets.alerts.store import (  # noqa: PLC0415
        list_waiting_messages,
        read_causes,
    )
    from callkeeper_assets.alerts.texts import tell  # noqa: PLC0415
    from callkeeper_assets.cli.console import print_json, print_warning  # noqa: PLC0415
    from callkeeper_assets.postgres.url import connect, database_url  # noqa: PLC0415
    from callkeeper_assets.warehouse.migrate import ensure_schema  # noqa: PLC0415

    url = database_url()
    ensure_schema(url)
    with connect(url) as connection:
        causes = read_causes(connection, datetime.now(UTC))
        waiting = list_waiting_messages(connection)
    if as_json:
        told = [
            {
                "kind": cause.finding.kind,
                "subject": cause.finding.subject,
                "severity": cause.finding.severity,
                "place": cause.finding.place,
                "first_seen_at": cause.first_seen_at,
                "told_at": cause.told_at,
                "text": tell(cause.finding).text,
            }
            for cause in causes
        ]
        print_json(
            {
                "channels": [channel.name for channel in settings.channels],
                "alerts": told,
                "undelivered": [asdict(one) for one in waiting],
            }
        )
        return
    _print_causes(causes, waiting)
    if not settings.is_configured:
        print_warning(_explain_none())


def _print_causes(causes: "list[Cause]", waiting: "list[Waiting]") -> None:
    from callkeeper_assets.alerts.texts import tell  # noqa: PLC0415
    from callkeeper_assets.cli.console import (  # noqa: PLC0415
        build_table,
        print_table,
        print_text,
        print_warning,
    )

    if causes:
        table = build_table("What", "Since", "Told", "Text")
        for cause in causes:
            table.add_row(
                cause.finding.kind,
                show_moment(cause.first_seen_at),
                show_moment(cause.told_at) if cause.told_at else tr("not yet"),
                tell(cause.finding, current_language()).text,
            )
        print_table(table)
    else:
        print_text(tr("No alert is open."))
    for one in waiting:
        reason = f": {one.error}" if one.error else ""
        print_warning(
            tr(
                "{channel}: not delivered since {since}, tried {attempts} times{reason}",
                channel=one.channel,
                since=show_moment(one.created_at),
                attempts=one.attempts,
                reason=reason,
            )
        )


def alerts(
    *,
    once: Annotated[
        bool, typer.Option("--once", help="Look and tell once, for cron; do not go on.")
    ] = False,
    interval: Annotated[
        float, typer.Option(min=1, help="Seconds from one look to the next.")
    ] = 60.0,
) -> None:
    """Watch runs, checks, days, webhooks, keys, disks and database, and tell what needs a person.

    Each cause once, daily while it lasts, and when it is over. `callkeeper dev` does it as well.
    """
    import logging  # noqa: PLC0415
    import signal  # noqa: PLC0415

    from callkeeper_assets.alerts.settings import read_settings  # noqa: PLC0415
    from callkeeper_assets.alerts.watching import Watcher  # noqa: PLC0415
    from callkeeper_assets.cli.console import print_note  # noqa: PLC0415
    from callkeeper_assets.privacy.redaction import RedactingFilter  # noqa: PLC0415
    from callkeeper_assets.supervision import report_from_thread  # noqa: PLC0415

    settings = read_settings()
    if not settings.is_configured:
        raise UsageProblemError(_explain_none())
    handler = logging.StreamHandler()
    handler.addFilter(RedactingFilter())
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger = logging.getLogger("callkeeper_assets")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    watcher = Watcher(settings)
    # A message that is being sent is noted before the end: else it would come a second time.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: watcher.stop())
    if once:
        watcher.look()
        return
    report_from_thread(lambda: watcher.has_looked, lambda: watcher.is_alive)
    names = ", ".join(channel.name for channel in settings.channels) or tr("none but the ping")
    print_note(
        tr(
            "Watching, each {interval:g} s; told: {names}. Stop: Ctrl-C",
            interval=interval,
            names=names,
        )
    )
    watcher.watch(interval)
    print_note(tr("Stopped."))
