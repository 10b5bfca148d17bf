"""The command that sends the events of swings to a webhook."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Literal

import click

from launch.cli.common import http_url, run_service

if TYPE_CHECKING:
    import asyncio

    from miningmap.notify.choice import Choice
    from miningmap.notify.feed import Start
    from miningmap.settings import Settings
    from miningmap.swings import Driver, SwingSubject


@click.command()
@click.option("--webhook", metavar="URL", help="The receiver; by default that of the settings.")
@click.option(
    "--subject",
    type=click.Choice(["place", "pool"]),
    help="Only swings of places, or only those of pools; by default both.",
)
@click.option(
    "--driver",
    type=click.Choice(["own", "others", "all"]),
    default="own",
    show_default=True,
    help="Of places: those that moved by themselves, those that others moved, or all.",
)
@click.option("--muted", is_flag=True, help="Also swings of annotations that the operator mutes.")
@click.option(
    "--from",
    "start",
    type=click.Choice(["beginning", "now"]),
    default="now",
    show_default=True,
    help="Where to begin the first time; later it goes on where it was.",
)
@click.pass_context
def notify(
    context: click.Context,
    /,
    *,
    webhook: str | None,
    subject: SwingSubject | None,
    driver: Driver | Literal["all"],
    muted: bool,
    start: Start,
) -> None:
    """Send each event of a swing to a webhook, until it was received.

    Requests are signed if the setting notify.secret is set. The address can be a secret too: then
    set notify.webhook, because other users of the machine can see options.
    """
    from miningmap.notify.choice import Choice

    if webhook is not None:
        http_url("--webhook", webhook)
    choice = Choice(subject, None if driver == "all" else driver, muted)
    run_service(context, "notify", partial(_run, webhook=webhook, choice=choice, start=start))


async def _run(
    settings: Settings, stop: asyncio.Event, *, webhook: str | None, choice: Choice, start: Start
) -> None:
    from pydantic import SecretStr

    from miningmap.notify.service import run

    if webhook is not None:
        settings.notify.webhook = SecretStr(webhook)
    await run(settings, stop, choice=choice, start=start)


COMMANDS = (notify,)
