"""monitor and status."""

from __future__ import annotations

import asyncio
import time

from tui.cli.context import Context
from tui.cli.output import DONE, NO_PROVIDER, emit, line
from tui.core.errors import PaddockError
from tui.core.models import Job, JobState, RunningModel
from tui.hardware.cpu import Machine
from tui.hardware.nvidia import Nvidia
from tui.hardware.sample import Sample
from tui.services.locks import WORKER_LOCK, read_holder
from tui.store.jobs import JobTable
from tui.text import rate


async def monitor(context: Context) -> int:
    """Measure once, or until interrupted."""
    settings = context.settings.monitor
    machine, gpus = Machine([str(context.paths.data if context.paths.data.exists() else "/")]), Nvidia() if settings.gpu else None
    machine.cpu()
    began = time.monotonic()
    while True:
        await asyncio.sleep(min(settings.interval, 1.0) if not context.args.watch else settings.interval)
        now = time.monotonic()
        found = gpus.read() if gpus else ()
        sample = Sample(
            time.time(), now - began, machine.cpu(), machine.memory(), machine.disks(), machine.network(), found, gpus.note if gpus else ""
        )
        began = now
        if context.json:
            emit(sample)
        else:
            _print(context, sample)
        if not context.args.watch:
            return DONE


def _print(context: Context, sample: Sample) -> None:
    percent = "\u2013" if sample.cpu.percent is None else f"{sample.cpu.percent:.0f}%"
    line(f"cpu      {percent}  load {' '.join(f'{value:.2f}' for value in sample.cpu.load)}")
    line(f"memory   {context.size(sample.memory.used)} of {context.size(sample.memory.total)}")
    line(f"swap     {context.size(sample.memory.swap_used)} of {context.size(sample.memory.swap_total)}")
    for disk in sample.disks:
        line(f"disk     {disk.path}  {context.size(disk.free)} free of {context.size(disk.total)}")
    line(f"network  in {rate(sample.network.received)}  out {rate(sample.network.sent)}")
    for gpu in sample.gpus:
        used = "\u2013" if gpu.percent is None else f"{gpu.percent:.0f}%"
        line(f"gpu {gpu.index}    {gpu.name}  {used}  {context.size(gpu.memory_used)} of {context.size(gpu.memory_total)}")
    if sample.gpu_note:
        line(f"gpu      {sample.gpu_note}")


async def status(context: Context) -> int:
    """How things are; never starts the worker, and asks one server for at most one second."""
    name, running = "", None
    try:
        async with asyncio.timeout(1.0):
            known = await context.endpoints()
            if known:
                name = known[0].name
                running = await context.connect(known[0]).running()
    except (PaddockError, TimeoutError):
        running = None
    jobs = JobTable(context.database(write=False)).list() if context.paths.database.exists() else ()
    worker = read_holder(context.paths.locks / WORKER_LOCK) is not None
    code = DONE if running is not None else NO_PROVIDER
    if context.json:
        emit({"provider": name, "up": running is not None, "running": running or (), "pulls": _counts(jobs), "worker": worker})
        return code
    line(_line(context, name, running, jobs))
    if not context.args.line:
        line(f"worker {'running' if worker else 'not running'}")
    # A status line must not fail because a server is down: that is what it shows.
    return DONE if context.args.line else code


def _counts(jobs: tuple[Job, ...]) -> dict[str, int]:
    return {state.value: number for state in JobState if (number := sum(job.state is state for job in jobs))}


def _line(context: Context, name: str, running: tuple[RunningModel, ...] | None, jobs: tuple[Job, ...]) -> str:
    parts = [f"{name or 'no provider'} {'up' if running is not None else 'down'}"]
    parts += [f"{model.name} {context.size(model.size)}" for model in running or ()]
    parts += [
        f"{number} {state}" for state, number in _counts(jobs).items() if state in ("waiting", "fetching", "checking", "paused", "failed")
    ]
    return "  ".join(parts)
