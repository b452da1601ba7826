"""status: how things are, shortly."""

from __future__ import annotations

import asyncio

from tui.cli import quick
from tui.cli.context import Context
from tui.cli.output import DASH, DONE, NO_PROVIDER, emit, facts
from tui.config.paths import Paths
from tui.core.capabilities import Capability
from tui.core.errors import PaddockError
from tui.core.jobs import JobState
from tui.core.models import Endpoint, RunningModel
from tui.services.locks import WORKER_LOCK, read_holder
from tui.store.db import Database
from tui.store.jobs import JobTable

PATIENCE = 2.0
"""Seconds all servers together are given for `status`."""


async def status(context: Context) -> int:
    """How things are; never starts the worker, and asks for at most `PATIENCE` seconds. 4 where no server answers."""
    try:
        async with asyncio.timeout(PATIENCE):
            endpoint, running = await _first(context)
    except (PaddockError, TimeoutError):
        endpoint, running = None, None
    counts = pulls(context.paths)
    worker = read_holder(context.paths.locks / WORKER_LOCK) is not None
    code = DONE if running is not None else NO_PROVIDER
    name = endpoint.name if endpoint is not None else ""
    loaded = [f"{model.name} {context.size(model.size)}" if model.size is not None else model.name for model in running or ()]
    if context.json:
        emit({"provider": name, "up": running is not None, "running": running or (), "pulls": counts, "worker": worker})
        return code
    if context.args.line:
        return quick.show(name, running is not None, loaded, counts, context.args.for_)
    where = (
        "none answers"
        if not name
        else f"{name} at {endpoint.url if endpoint else ''}, {'up' if running is not None else 'does not answer'}"
    )
    facts(
        [
            ("server", where),
            ("memory", ", ".join(loaded) or ("no model" if running is not None else DASH)),
            ("pulls", ", ".join(f"{number} {state}" for state, number in counts.items()) or "none"),
            ("worker", "running" if worker else "not running; it starts when there is work"),
        ]
    )
    return code


def pulls(paths: Paths) -> dict[str, int]:
    """How many pulls are in which state."""
    if not paths.database.exists():
        return {}
    database = Database(paths.database, read_only=True, network_fs=paths.network)
    try:
        jobs = JobTable(database).list()
    finally:
        database.close()
    return {state.value: number for state in JobState if (number := sum(job.state is state for job in jobs))}


async def _first(context: Context) -> tuple[Endpoint | None, tuple[RunningModel, ...] | None]:
    """The default server, else the first that answers, with what it has in memory; found ones last."""
    known = await context.endpoints()
    default = context.settings.general.default_provider
    asked = [endpoint for endpoint in known if endpoint.name == default] or known
    answers = await asyncio.gather(*(_running(context, endpoint) for endpoint in asked))
    for endpoint, answer in zip(asked, answers, strict=True):
        if answer is not None:
            return endpoint, answer
    if not known:
        for endpoint in await context.discovered(known):
            answer = await _running(context, endpoint)
            if answer is not None:
                return endpoint, answer
    return (asked[0] if asked else None), None


async def _running(context: Context, endpoint: Endpoint) -> tuple[RunningModel, ...] | None:
    try:
        provider = context.connect(endpoint)
        async with asyncio.timeout(PATIENCE / 2):
            if Capability.RUNNING in provider.capabilities:
                return await provider.running()
            await provider.check()
            return ()
    except (PaddockError, TimeoutError):
        return None
