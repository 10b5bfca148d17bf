"""The partners' HTTP service: it accepts rows in two forms and publishes them as reports.

Rows in CBECI's format are handled in :mod:`collector.intake.contributions`, live rows in
:mod:`collector.intake.live`, and what both have in common in :mod:`collector.intake.handler`. A
wrong path or method is a problem document (RFC 9457).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from collector.intake.contributions import ContributionHandler, ReportPublisher
from collector.intake.follower import FollowsNothing
from collector.intake.handler import Gate
from collector.intake.live import LiveHandler
from miningmap import live_rows
from miningmap.cbeci import contribution
from miningmap.http.problems import problem_middleware
from miningmap.rows import MAX_BODY
from miningmap.times import utc_now

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from collector.intake.follower import Follows
    from collector.intake.handler import Authenticate, Known, Publish
    from collector.intake.ledger import Ledger
    from collector.intake.rate_limit import RateLimiter
    from collector.metrics import Metrics
    from miningmap.settings import Retention


def intake_app(
    authenticate: Authenticate,
    publish: Publish,
    ledger: Ledger,
    limiter: RateLimiter,
    *,
    follows: Follows | None = None,
    known: Known,
    retention: Retention,
    metrics: Metrics,
    simulated: bool,
    now: Callable[[], datetime] = utc_now,
) -> web.Application:
    """Return the app, which runs on a port of its own.

    Args:
        authenticate: returns the partner that a token belongs to.
        publish: returns when Kafka has acknowledged the messages, and raises if it has not.
        ledger: the rows in CBECI's format that partners have sent so far.
        limiter: limits how often a token may be used, for both forms together.
        follows: says up to where the ledger is complete; without it, it always is.
        known: returns what is known of the network, once its past is.
        retention: how long cells are kept; rows that could change none are refused.
        metrics: where requests and rows are counted.
        simulated: whether all reports are marked as simulated.
        now: the wall clock, UTC.
    """
    gate = Gate(authenticate, limiter, metrics)
    publisher = ReportPublisher(
        publish, ledger, follows or FollowsNothing(), known, now, simulated=simulated
    )
    contributions = ContributionHandler(gate, publisher, retention, now)
    live = LiveHandler(gate, publish, known, retention, now, simulated=simulated)
    app = web.Application(
        middlewares=[metrics.http.middleware, problem_middleware], client_max_size=MAX_BODY
    )
    app.router.add_post(contribution.PATH, contributions.handle)
    app.router.add_post(live_rows.PATH, live.handle)
    return app
