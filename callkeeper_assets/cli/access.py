"""Who may do what in the database: `grant`."""

from typing import Annotated

import typer

from callkeeper_assets.cli.console import UsageProblemError
from callkeeper_assets.language import tr


def grant(
    role: Annotated[str, typer.Argument(help="The role, which an administrator has made.")],
    *,
    purpose: Annotated[
        str,
        typer.Option(
            "--for",
            help="bi: reads the tables of calls and reports. receiver: adds webhooks, reads none. "
            "dagster: web server and daemon, knows no calls. metrics: reads counts and days.",
        ),
    ] = "bi",
) -> None:
    """Give a role of the database the rights that its purpose needs, and take away all others.

    As the owner of the tables. To be typed again after an upgrade.
    """
    from callkeeper_assets.cli.console import print_note, print_text  # noqa: PLC0415
    from callkeeper_assets.config.errors import describe_unknown  # noqa: PLC0415
    from callkeeper_assets.postgres.url import database_url  # noqa: PLC0415
    from callkeeper_assets.warehouse import grants  # noqa: PLC0415

    chosen = next((one for one in grants.PURPOSES if one == purpose), None)
    if chosen is None:
        raise UsageProblemError(f"--for: {describe_unknown('purpose', purpose, grants.PURPOSES)}")
    statements = grants.grant(database_url(), role, chosen)
    for statement in statements:
        print_text(f"{statement};")
    print_note(
        tr(
            "The role '{role}' has the rights for {purpose}, and no others of these tables.",
            role=role,
            purpose=purpose,
        )
    )
