"""`kill -9` at many moments of a pull: the worker, the app, the server, all of them. After each the queue is whole, and ends by itself."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import psutil
import pytest

from tests.support.pty import Terminal
from tests.sweep.night import MODELS, STEPS, Night
from tui.core.jobs import JobWish

AT_ONCE = 3
"""Nights that pass beside each other."""
SAMPLE = pytest.param(range(3), True, id="sample")
WHOLE = pytest.param(range(20), False, id="whole", marks=pytest.mark.sweep)


@contextlib.asynccontextmanager
async def night_of(folder: Path, *, quick: bool) -> AsyncIterator[Night]:
    night = Night(folder, quick=quick)
    try:
        await night.fill()
        yield night
    finally:
        await night.close()


async def at_a_moment(night: Night, chance: random.Random) -> None:
    """Wait for a moment: soon after the worker began, or after so many lines of the server, in between two."""
    early, steps, pause = chance.random() < 0.15, chance.randint(1, STEPS), chance.uniform(0, 0.03)
    if early:
        await night.until(night.worker, "a worker")
        await asyncio.sleep(pause * 10)
    else:
        await night.until(lambda: night.steps() >= steps or night.ended(), f"{steps} lines")
        await asyncio.sleep(pause)


async def each(seeds: range, quick: bool, folder: Path, one: Callable[[Night, int, random.Random], Awaitable[None]]) -> None:
    """One night for each seed, a few at a time; in all of them the queue is the same after the kill, and ends."""
    places = asyncio.Semaphore(AT_ONCE)

    async def pass_night(seed: int) -> None:
        async with places, night_of(folder / str(seed), quick=quick) as night:
            await one(night, seed, random.Random(f"{one.__name__} {seed}"))
            await night.finish()

    async with asyncio.TaskGroup() as group:
        for seed in seeds:
            group.create_task(pass_night(seed), name=f"seed {seed}")


async def replaced(night: Night, killed: int) -> None:
    """Another worker goes on, unless nothing was left to do."""
    await night.until(lambda: night.worker() not in (0, killed) or night.ended(), "another worker")


@pytest.mark.parametrize(("seeds", "quick"), [SAMPLE, WHOLE])
async def test_Q03_P05_the_worker_is_killed(tmp_path: Path, seeds: range, quick: bool) -> None:
    async def one(night: Night, seed: int, chance: random.Random) -> None:
        night.app()
        await at_a_moment(night, chance)
        killed = night.kill_worker()
        night.check_queue()
        await replaced(night, killed)

    await each(seeds, quick, tmp_path, one)


@pytest.mark.parametrize(("seeds", "quick"), [SAMPLE, WHOLE])
async def test_Q03_Q13_the_app_is_killed(tmp_path: Path, seeds: range, quick: bool) -> None:
    """In turn its engine alone, the command line that waits, and the whole program on its terminal: the worker goes on without them."""

    async def one(night: Night, seed: int, chance: random.Random) -> None:
        with contextlib.ExitStack() as stack:
            kill = begin(night, seed % 3, stack)
            await at_a_moment(night, chance)
            worker = night.worker()
            kill()
            night.check_queue()
            await night.until(night.ended, "the end without an app")
            assert night.worker() in (0, worker)

    await each(seeds, quick, tmp_path, one)


def begin(night: Night, which: int, stack: contextlib.ExitStack) -> Callable[[], None]:
    """Start one of the programs that start a worker; returns how it is killed."""
    if which == 2:
        terminal = stack.enter_context(Terminal([sys.executable, "-m", "tui"], night.env))
        return lambda: kill_family(terminal)
    child = night.app() if which == 0 else night.command("pull", "--wait", *MODELS)

    def kill() -> None:
        child.kill()
        child.wait(10)

    return kill


def kill_family(terminal: Terminal) -> None:
    """Guard, app and sampler; the worker is none of them."""
    guard = psutil.Process(terminal.process.pid)
    with contextlib.suppress(psutil.Error):
        for process in [guard, *guard.children(recursive=True)]:
            if "worker" not in process.cmdline():
                process.send_signal(signal.SIGKILL)


@pytest.mark.parametrize(("seeds", "quick"), [SAMPLE, WHOLE])
async def test_Q11_P38_the_server_is_killed(tmp_path: Path, seeds: range, quick: bool) -> None:
    """It comes back after a moment, with the bytes that it had; nobody is asked to retry."""

    async def one(night: Night, seed: int, chance: random.Random) -> None:
        night.app()
        await at_a_moment(night, chance)
        night.kill_server()
        night.check_queue()
        await asyncio.sleep(chance.uniform(0, 0.5))
        night.serve_again()

    await each(seeds, quick, tmp_path, one)


@pytest.mark.parametrize(("seeds", "quick"), [SAMPLE, WHOLE])
async def test_Q13_P13_all_are_killed(tmp_path: Path, seeds: range, quick: bool) -> None:
    """In any order; then everything is started again, and the command line asks for nothing new."""

    async def one(night: Night, seed: int, chance: random.Random) -> None:
        with contextlib.ExitStack() as stack:
            kills = [begin(night, seed % 3, stack), night.kill_worker, night.kill_server]
            await at_a_moment(night, chance)
            chance.shuffle(kills)
            for kill in kills:
                kill()
            night.kill_worker()  # an app that was killed last may have begun another
            night.check_queue()
        night.serve_again()
        left = [str(job.id) for job in night.jobs() if job.wish is JobWish.RUN and not job.state.ended]
        if seed % 2 or not left:
            night.app()
        else:
            night.command("pulls", "resume", *left)

    await each(seeds, quick, tmp_path, one)
