"""monitor and status."""

from __future__ import annotations

import asyncio

from tui.cli import quick
from tui.cli.context import Context
from tui.cli.output import DASH, DONE, NO_PROVIDER, emit, facts, line
from tui.core.capabilities import Capability
from tui.core.errors import PaddockError
from tui.core.models import Endpoint, RunningModel
from tui.hardware.once import Meter
from tui.hardware.sample import Sample
from tui.services.locks import WORKER_LOCK, read_holder

PATIENCE = 2.0
"""Seconds all servers together are given for `status`."""


async def monitor(context: Context) -> int:
    """Measure once, or until interrupted."""
    settings = context.settings.monitor
    meter = Meter([str(context.paths.data if context.paths.data.exists() else "/")], settings.gpu)
    meter.read()
    while True:
        await asyncio.sleep(settings.interval if context.args.watch else min(settings.interval, 1.0))
        sample = meter.read()
        if context.json:
            emit(sample)
        else:
            _print(context, sample)
        if not context.args.watch:
            return DONE
        if not context.json:
            line()


def _print(context: Context, sample: Sample) -> None:
    def percent(value: float | None) -> str:
        return DASH if value is None else f"{value:.0f}%"

    memory, rows = sample.memory, [("cpu", f"{percent(sample.cpu.percent)}, load {' '.join(f'{value:.2f}' for value in sample.cpu.load)}")]
    rows.append(("memory", f"{context.size(memory.used)} of {context.size(memory.total)}"))
    rows.append(("swap", f"{context.size(memory.swap_used)} of {context.size(memory.swap_total)}" if memory.swap_total else "none"))
    rows += [("disk", f"{context.size(disk.free)} free of {context.size(disk.total)} ({disk.path})") for disk in sample.disks]
    rows.append(("network", f"in {context.rate(sample.network.received)}, out {context.rate(sample.network.sent)}"))
    for gpu in sample.gpus:
        used = f"{context.size(gpu.memory_used)} of {context.size(gpu.memory_total)}"
        rows.append((f"gpu {gpu.index}", f"{percent(gpu.percent)}, {used} ({gpu.name})"))
    if sample.gpu_note:
        rows.append(("gpu", sample.gpu_note))
    facts(rows)


async def status(context: Context) -> int:
    """How things are; never starts the worker, and asks for at most `PATIENCE` seconds. 4 where no server answers."""
    try:
        async with asyncio.timeout(PATIENCE):
            endpoint, running = await _first(context)
    except (PaddockError, TimeoutError):
        endpoint, running = None, None
    counts = quick.pulls(context.paths)
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
