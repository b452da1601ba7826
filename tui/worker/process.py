"""The worker's life: one a home, by a lock file; it ends by itself, on a signal, or for a newer version."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from typing import Final

from tui.config.paths import Paths, find_paths
from tui.config.settings import Settings
from tui.config.store import ConfigStore
from tui.core.clock import SYSTEM, Clock
from tui.core.errors import PaddockError
from tui.core.models import Endpoint
from tui.providers.base import Provider
from tui.services.audit import Audit
from tui.services.jobs import worker_environment
from tui.services.library.keeping_trash import is_sure
from tui.services.limits import Samples, check_here, check_pull
from tui.services.locks import WORKER_LOCK, take
from tui.services.plan import Planner
from tui.store.db import Database
from tui.store.jobs import WISHES, JobTable, has_work
from tui.store.meta import HAND_OVER, META, Meta, Servers, servers_have_work
from tui.worker.acting import WorkerActs
from tui.worker.keys import Keys
from tui.worker.queue import Queue
from tui.worker.rules import WorkerRules
from tui.worker.servers import Supervisor
from tui.worker.trash import Trash

TICK: Final = 0.25
"""Seconds between two ticks: how fast wishes are obeyed and progress is written."""
LINGER: Final = 60.0
"""Seconds without work until the worker ends."""
CONFIG_EVERY: Final = 2.0
RULES_END: Final = 2.0
"""Seconds that giving up the rules may take."""

_log = logging.getLogger("paddock.worker")


Make = Callable[[Endpoint, Callable[[str], str], Clock], Provider]
"""How a provider is made from a snapshot, a resolver of key references and a clock."""


class Worker:
    """One worker, with its lock held."""

    def __init__(
        self,
        database: Database,
        paths: Paths,
        settings: Callable[[], Settings],
        make: Make,
        linger: float,
        *,
        limited: bool = False,
        space: bool = True,
        demo: bool = False,
        sure: Callable[[], bool] = lambda: True,
    ) -> None:
        audit = Audit(paths.state, SYSTEM, lambda: settings().security.audit, "worker")
        self._database = database
        self._meta = Meta(database)
        self._changes = database.changes()
        keys = Keys(settings, self._meta, audit)

        def provider(endpoint: Endpoint) -> Provider:
            return make(endpoint, lambda _reference: keys.key(endpoint), SYSTEM)

        planner = Planner(settings, os.environ, SYSTEM, demo=demo)
        measure, weigh = (check_pull, check_here) if limited else (None, None)

        async def acts(samples: Callable[[], Samples]) -> None:
            await WorkerActs(database, paths, settings, provider, keys.check, audit, SYSTEM).run(samples)

        self._queue = Queue(database, settings, provider, keys.check, planner, audit, measure=measure, weigh=weigh, space=space, demo=demo)
        self._servers = Supervisor(database, paths.logs, audit)
        self._rules = None if demo else WorkerRules(database, paths, settings, audit, act=acts)
        self._trash = None if demo else Trash(database, settings, provider, keys.check, audit, SYSTEM, sure)
        self._linger = linger
        self._stopped = False
        self._moved = frozenset[str]()

    def stop(self) -> None:
        """Close the streams and end."""
        self._stopped = True
        self._queue.news.set()

    @property
    def stopped(self) -> bool:
        """Whether it was told to end."""
        return self._stopped

    async def run(self, poll_config: Callable[[], object]) -> None:
        """Work until nothing is left, or until told to stop; watch the rules meanwhile."""
        watching = [asyncio.create_task(part.run(), name=type(part).__name__) for part in (self._rules, self._trash) if part is not None]
        try:
            await self._work(poll_config)
        finally:
            for task in watching:
                task.cancel()
            if watching:
                await asyncio.wait(watching, timeout=RULES_END)

    async def _work(self, poll_config: Callable[[], object]) -> None:
        await self._queue.open()
        await self._servers.open()
        with contextlib.suppress(PaddockError):
            await self._database.back_up_if_due()
        idle_since = time.monotonic()
        config_at = 0.0
        said = ""
        while not self._stopped:
            now = time.monotonic()
            if now >= config_at:
                config_at = now + CONFIG_EVERY
                poll_config()
            try:
                await self._tick()
                said = ""
            except PaddockError as error:
                if error.failure.sentence() != said:
                    said = error.failure.sentence()
                    _log.warning("%s", said)
            except Exception as error:  # one wrong entry must not end the downloads of the others
                if repr(error) != said:
                    said = repr(error)
                    _log.exception("a tick failed")
            if self._queue.busy or self._servers.busy:
                idle_since = now
            elif now - idle_since >= self._linger:
                break
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._queue.news.wait(), TICK)
        await self._queue.close()

    async def _tick(self) -> None:
        self._moved |= self._changes.poll()
        if META in self._moved and self._meta.get(HAND_OVER) == str(os.getpid()):
            _log.info("a newer version takes over")
            await self._meta.set(HAND_OVER, "")
            self.stop()
            return
        if WISHES in self._moved:
            await self._queue.read()
        self._moved = frozenset()  # not before it was read: a fault must not lose a wish
        try:
            await self._servers.tick()
        finally:  # trouble with a server stops no download
            await self._queue.tick()


async def _work(paths: Paths, options: argparse.Namespace, make: Make) -> bool:
    """Work; True where it ended because nothing was left."""
    config = ConfigStore(paths, worker_environment(os.environ))
    database = Database(paths.database, network_fs=paths.network)
    try:
        demo = options.simulated or options.demo
        worker = Worker(
            database,
            paths,
            lambda: config.current.value,
            make,
            options.linger,
            limited=not (options.no_space_checks or demo),
            space=not (options.no_space_checks or demo),
            demo=demo,
            sure=lambda: is_sure(config.problems.value),
        )
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, worker.stop)
        await worker.run(config.poll)
        return not worker.stopped
    finally:
        await database.aclose()


def _work_while_there_is_work(paths: Paths, options: argparse.Namespace, make: Make) -> None:
    """Be the worker of this home unless another is; a wish that comes while this one ends is not left lying."""
    while True:
        lock = take(paths.locks / WORKER_LOCK)
        if lock is None:
            return
        try:
            idle = asyncio.run(_work(paths, options, make))
        finally:
            lock.release()
        database = Database(paths.database, read_only=True, network_fs=paths.network)
        try:
            jobs = JobTable(database)
            if not idle or not (has_work(jobs.list()) or jobs.renewals_wait() or servers_have_work(Servers(database).list())):
                return
        finally:
            database.close()


def _real() -> Make:
    """What makes providers of every family, and what measures, all read now: an upgrade of the files under it must not break a worker."""
    from tui.hardware import gpus, once, processes
    from tui.providers import client, llamacpp, manifest, ollama, openai_compat
    from tui.providers.factory import make_provider

    del client, gpus, llamacpp, manifest, ollama, once, openai_compat, processes
    return make_provider


def run(argv: Sequence[str], make: Make | None = None) -> int:
    """Parse the arguments and be the worker of this home; 0 also where another one is."""
    parser = argparse.ArgumentParser(prog="paddock worker", description="Works the queue of downloads; started where there is work.")
    parser.add_argument("--demo", action="store_true", help="of the demo's home")
    parser.add_argument("--linger", type=float, default=LINGER, metavar="S", help="seconds without work until it ends")
    parser.add_argument(
        "--simulated", action="store_true", help="of a demo's home: no disks are looked at, and nothing leaves this machine"
    )
    parser.add_argument("--no-space-checks", action="store_true", help="take no notice of this machine's disks")
    options = parser.parse_args(list(argv))
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        _work_while_there_is_work(find_paths(demo=options.demo), options, make or _real())
    except PaddockError as error:
        _log.error("%s", error.failure.sentence())
        return 1
    return 0
