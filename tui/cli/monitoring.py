"""monitor: this machine and what is loaded, once, again and again, for Prometheus, or out of the history."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from typing import Any, Final

from tui import __version__
from tui.cli.context import Context
from tui.cli.loaded import Asking, Servers, as_json
from tui.cli.monitor_words import show
from tui.cli.output import DONE, USAGE, emit, message, plain
from tui.core.errors import PaddockError
from tui.core.models import Endpoint
from tui.core.monitor import Alert
from tui.core.threads import in_daemon_thread
from tui.hardware.sample import CORES, GPU_DETAIL, GPU_PROCESSES, PROCESSES, Sample
from tui.services.api import MonitorView
from tui.services.monitor.sampling import Sampling, sampler_command
from tui.services.sides import demo_sampler

SCHEMA: Final = 1
"""Of the JSON; see docs/monitor-json.md. New fields come without a new number."""
ALL: Final = frozenset((CORES, PROCESSES, GPU_PROCESSES, GPU_DETAIL))
MEASURE: Final = 0.6
"""Seconds one measurement takes, so that there are rates."""
_LOG: Final = logging.getLogger("paddock.cli")
DRIVER: Final = 5.0
"""Seconds a GPU driver is given beyond that, before the rest is told without it."""
GLANCE: Final = 1.5
"""Seconds in which this machine's memory is told at the side of something else, or not at all."""
ASK_EVERY: Final = 5.0
"""Seconds between two looks at the servers, while measuring goes on; the interval, where that is longer."""


async def monitor(context: Context) -> int:
    """Measure once, or as the options say."""
    args = context.args
    if args.export:
        from tui.cli.monitor_export import export

        return await export(context)
    if args.span or args.output:
        message("--span and -o go with --export.")
        return USAGE
    if args.prometheus is not None:
        from tui.cli.prometheus import serve

        return await serve(context)
    if args.watch:
        return await watch(context)
    return await once(context)


# --- once -------------------------------------------------------------------------------------------------------------


async def once(context: Context) -> int:
    """One measurement with everything; for people, or as one JSON object."""
    sample, servers = await asyncio.gather(measure(context), _asked_twice(context))
    alerts = active_alerts(context)
    if context.json:
        emit(as_object(sample, servers, alerts))
    else:
        show(context, sample, servers, alerts)
    return DONE


async def measure(context: Context, wanted: frozenset[str] = ALL, *, rates: bool = True) -> Sample:
    """A sample from a sampler of its own, with rates unless nobody needs them, which is sooner.

    A GPU driver that hangs or crashes is left out, and that is said.
    """
    newest, whole = await _sampled(context, wanted, MEASURE + DRIVER, rates=rates)
    if newest is None:
        from tui.hardware.once import sample_once

        newest = await in_daemon_thread(lambda: sample_once(_disks(context), False, MEASURE, wanted))
    if whole or not context.settings.monitor.gpu:
        return newest
    return replace(newest, gpu_note=newest.gpu_note or f"GPU data: no answer for {DRIVER:.0f} s")


async def glance(context: Context) -> Sample | None:
    """This machine's memory, for a command that was not asked to measure: None where that is off, or takes longer than `GLANCE`."""
    if not context.settings.monitor.enabled:
        return None
    newest, whole = await _sampled(context, frozenset(), GLANCE, rates=False)
    return newest if whole else None


async def _sampled(context: Context, wanted: frozenset[str], limit: float, *, rates: bool) -> tuple[Sample | None, bool]:
    """The newest sample within so many seconds, if any, and whether it is whole: it tells of the GPUs, or they are not wanted."""
    newest: Sample | None = None
    found = samples(sampler_of(context, wanted, MEASURE), wanted, rates=rates)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(limit), contextlib.aclosing(found):
            async for newest in found:
                if newest.gpus or newest.gpu_note or not context.settings.monitor.gpu:
                    return newest, True
    return newest, False


def _disks(context: Context) -> list[str]:
    """The folders that the sampler would watch."""
    words = sampler_command(context.settings)
    return [words[index + 1] for index, word in enumerate(words[:-1]) if word == "--disk"]


async def _asked_twice(context: Context) -> Servers:
    """All servers, with rates where anything is loaded."""
    asking, endpoints = Asking(context), await known(context)
    began = time.monotonic()
    servers = await asking.ask(endpoints)
    if not any("written" in told or "output_tokens" in told for told in asking.figures()):
        return servers
    await asyncio.sleep(max(0.0, began + MEASURE - time.monotonic()))
    names = {one.model.provider for one in servers.models}
    again = await asking.ask([endpoint for endpoint in endpoints if endpoint.name in names])
    rest = tuple(one for one in servers.models if one.model.provider not in names)
    return replace(servers, models=(*again.models, *rest)) if not again.failures else servers


async def known(context: Context) -> list[Endpoint]:
    """All servers there are to ask, found ones too."""
    try:
        endpoints = await context.endpoints()
    except PaddockError as error:
        if context.options.provider:
            raise
        message(error.failure.sentence())
        return []
    return [*endpoints, *await context.discovered(endpoints)]


def active_alerts(context: Context) -> tuple[Alert, ...]:
    """The alerts that last, as whoever watches the rules wrote them down."""
    if not context.paths.database.exists():
        return ()
    from tui.store.alerts import AlertTable

    try:
        return AlertTable(context.database(write=False)).lasting(time.time())
    except PaddockError:
        return ()


def as_object(sample: Sample, servers: Servers, alerts: Sequence[Alert]) -> dict[str, Any]:
    """What docs/monitor-json.md describes."""
    return {
        "schema": SCHEMA,
        "paddock": __version__,
        **plain(sample),
        "loaded": [as_json(one) for one in servers.models],
        "servers": {"answered": servers.answered, "failed": {name: failure.sentence() for name, failure in servers.failures.items()}},
        "alerts": alerts,
    }


# --- again and again --------------------------------------------------------------------------------------------------


def sampler_of(context: Context, wanted: frozenset[str], interval: float | None = None) -> Sampling:
    """A sampler for this command alone; it measures although `monitor.enabled` is off: it was asked to."""
    changes: dict[str, Any] = {"enabled": True} if interval is None else {"enabled": True, "interval": interval}
    monitor = context.settings.monitor.model_copy(update=changes)
    settings = context.settings.model_copy(update={"monitor": monitor})
    if context.options.demo:
        return Sampling(lambda: settings, command=demo_sampler(context.paths))
    wants = [word for name in sorted(wanted) for word in ("--want", name)]
    return Sampling(lambda: settings, command=lambda current: [*sampler_command(current), *wants])


async def samples(sampling: Sampling, wanted: frozenset[str], *, rates: bool = True) -> AsyncGenerator[Sample, None]:
    """Samples; without `rates` also the first, which has none. A driver that hangs ends a sampler and not us."""
    sampling.want(wanted)
    newest: asyncio.Queue[Sample] = asyncio.Queue(1)

    def take(sample: Sample, _interval: float) -> None:
        if newest.full():  # who reads slowly gets the newest
            newest.get_nowait()
        newest.put_nowait(sample)

    sampling.taken.append(take)
    forget = sampling.latest.watch(_Silence().look)
    task = asyncio.ensure_future(sampling.run())
    try:
        while True:
            sample = await newest.get()
            if sample.seconds is not None or not rates:
                yield sample
    finally:
        forget()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


class _Silence:
    """Says once when nothing comes any more, until something does."""

    def __init__(self) -> None:
        self._said = False

    def look(self, view: MonitorView) -> None:
        if view.silent and not self._said:
            message(f"No figures: {view.note}.")
        self._said = bool(view.silent)


class Following:
    """Asks the servers and the database in the background, so that what is slow delays nobody."""

    def __init__(self, context: Context) -> None:
        self.newest = Servers()
        self.alerts: tuple[Alert, ...] = ()
        self._context = context
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Following:
        self._task = asyncio.ensure_future(self._follow())
        return self

    async def __aexit__(self, *_error: object) -> None:
        assert self._task is not None
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def _follow(self) -> None:
        asking, every = Asking(self._context), max(ASK_EVERY, self._context.settings.monitor.interval)
        endpoints: list[Endpoint] = []
        look = 0
        while True:
            try:
                if look % 12 == 0:  # servers come and go
                    endpoints = await known(self._context)
                self.newest = await asking.ask(endpoints)
                self.alerts = await in_daemon_thread(lambda: active_alerts(self._context))
            except Exception:  # the machine's figures go on
                _LOG.exception("asking the servers")
            look += 1
            await asyncio.sleep(every)


async def watch(context: Context) -> int:
    """One JSON object a line, until interrupted or until nobody reads."""
    async with Following(context) as following, contextlib.aclosing(samples(sampler_of(context, ALL), ALL)) as found:
        async for sample in found:
            emit(as_object(sample, following.newest, following.alerts))
    return DONE
