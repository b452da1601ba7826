"""What the process that watches the rules does: measure against `[alerts]`, write alerts down, run the alert command."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Protocol

from tui.core.alert_words import NOBODY_LOOKED, PROVIDER_DOWN
from tui.core.clock import Clock
from tui.core.errors import PaddockError
from tui.core.models import ProviderStatus, Severity
from tui.core.monitor import Alert
from tui.core.threads import in_daemon_thread
from tui.hardware.sample import GPU_PROCESSES, PROCESSES, Sample
from tui.services.limits import heard
from tui.services.monitor.alerts import AlertBook, Key, ended
from tui.services.monitor.notify import Notifier
from tui.services.monitor.readings import MACHINE, asks_own, at_work, machine_readings, provider_readings
from tui.services.own_use import OwnUse, own_use, processes
from tui.store.alerts import LOG, UNWATCHED, AlertTable

if TYPE_CHECKING:
    from tui.config.paths import Paths
    from tui.config.settings import Settings
    from tui.core.models import ProviderState, RunningModel
    from tui.providers.ports import Holder
    from tui.services.chat.api import LiveAnswer

OWN_EVERY: Final = 5.0
"""Seconds between two looks at what own servers use, while that decides."""
OWN_VALID: Final = 15.0
WRITE_WORSE: Final = 10.0
"""Seconds between two writes of alerts that only got worse."""
ALIVE_EVERY: Final = 60.0
PRUNE_EVERY: Final = 3600.0


class RulesHost(Protocol):
    """What the rules need of the hub, or of a worker."""

    @property
    def clock(self) -> Clock:
        """See `MonitorHost`."""
        ...

    @property
    def paths(self) -> Paths:
        """See `MonitorHost`."""
        ...

    def settings(self) -> Settings:
        """The running settings."""
        ...

    def live(self) -> Sequence[LiveAnswer]:
        """Our answers that are being written."""
        ...

    def say(self, text: str, severity: Severity = Severity.INFO) -> None:
        """Tell the user."""

    def audit(self, what: str, target: str, result: str = "ok") -> None:
        """Write to the audit trail."""

    def environ(self) -> Mapping[str, str]:
        """Of this process."""
        ...

    def states(self) -> Sequence[ProviderState] | None:
        """All providers; None where nobody looks whether they answer."""
        ...

    def running(self) -> Sequence[RunningModel]:
        """What is loaded."""
        ...

    async def own_servers(self) -> tuple[Sequence[Holder], int]:
        """Who holds the ports of the providers on this machine, and bytes of GPU memory their models have."""
        ...


class Own:
    """What own servers use, measured while it decides whether something is over its limit."""

    def __init__(self, clock: Clock, servers: Callable[[], Awaitable[tuple[Sequence[Holder], int]]]) -> None:
        self.use: OwnUse | None = None
        self.cpu: float | None = None
        self._clock = clock
        self._servers = servers
        self._task: asyncio.Task[None] | None = None
        self._at = float("-inf")
        self._seconds: tuple[float, Mapping[int, float]] | None = None

    def look(self, sample: Sample, binary: bool) -> None:
        """Measure again where the last time is too long ago; old figures are forgotten."""
        now = self._clock.monotonic()
        if now - self._at > OWN_VALID:
            self.use = self.cpu = self._seconds = None
        if now - self._at >= OWN_EVERY and (self._task is None or self._task.done()):
            self._task = asyncio.get_running_loop().create_task(self._measure(sample, binary), name="own use")

    async def _measure(self, sample: Sample, binary: bool) -> None:
        holders, vram = await self._servers()

        def work() -> tuple[OwnUse, dict[int, float]]:
            known = processes()
            use = own_use(holders, sample, vram, binary=binary, known=known)
            return use, {pid: known[pid].seconds for pid in use.pids if pid in known}

        self.use, seconds = await in_daemon_thread(work)
        now, before = self._clock.monotonic(), self._seconds
        self._at, self._seconds = now, (now, seconds)
        if not seconds:
            self.cpu = 0.0
        elif before is not None and now > before[0]:
            used = sum(value - before[1][pid] for pid, value in seconds.items() if pid in before[1])
            self.cpu = max(0.0, 100 * used / (now - before[0]) / (os.cpu_count() or 1))

    async def aclose(self) -> None:
        """End a measurement that runs."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)


class Alarms:
    """The alerts, from taking the rules to giving them up. On the loop.

    Args:
        want: Told what of `hardware.sample.WANTED` is needed to find out who is to blame.

    Attributes:
        log: Ended alerts, newest first.
        muted_until: Epoch seconds.
    """

    def __init__(self, host: RulesHost, table: AlertTable, machine: str, want: Callable[[frozenset[str]], None]) -> None:
        self._host = host
        self._table = table
        self._want = want
        self._wanted = frozenset[str]()
        self._book = AlertBook()
        self._own = Own(host.clock, host.own_servers)
        self._notifier = Notifier(host.settings, machine, host.environ(), host.say, host.audit)
        self._known: set[int] = set()
        self._quiet: set[int] = set()
        self._unwritten: dict[int, Alert] = {}
        self._were_up: set[str] = set()
        self._every = 1.0
        self._write_at = self._alive_at = self._prune_at = float("-inf")
        self._said = False
        self.log: tuple[Alert, ...] = ()
        self.muted_until: float | None = None

    @property
    def active(self) -> tuple[Alert, ...]:
        """Those that last, newest first."""
        return self._book.active

    async def begin(self) -> None:
        """Take over what the keeper before left: go on with it, or, where that is too long ago, close it with the time last known."""
        clock, now = self._host.clock, self._host.clock.time()
        with contextlib.suppress(PaddockError):
            left, alive = self._table.open(), self._table.watched_at()
            self._book.last = self._table.newest()
            fresh = alive is not None and abs(now - alive) <= UNWATCHED
            if fresh:
                rules = (*MACHINE, PROVIDER_DOWN) if self._host.states() is not None else MACHINE
                mine = [alert for alert in left if alert.rule in rules]
                self._book.adopt(mine, clock.monotonic(), now)
                self._known = {alert.id for alert in mine}
                left = tuple(alert for alert in left if alert.rule not in (*MACHINE, PROVIDER_DOWN))  # another version's: nobody ends them
            closed = [ended(alert, alive or alert.started_at, NOBODY_LOOKED) for alert in left]
            self._unwritten = {alert.id: alert for alert in closed}
            await self.reread()
        await self.flush()

    async def reread(self) -> None:
        """Somebody muted or acknowledged something, or ended alerts were written."""
        seen = {alert.id for alert in self._table.open() if alert.acknowledged}
        if seen:
            self._book.seen(seen)
        self.muted_until = self._table.muted_until()
        stored = self._table.log()
        waiting = [alert for alert in self._unwritten.values() if alert.ended_at is not None]
        numbers = {alert.id for alert in waiting}
        merged = [*waiting, *(alert for alert in stored if alert.id not in numbers)]
        self.log = tuple(sorted(merged, key=lambda alert: alert.ended_at or 0.0, reverse=True)[:LOG])

    def seen(self, ids: Sequence[int]) -> None:
        """Mark alerts as seen; none: all."""
        self._book.seen(set(ids))
        for number, alert in self._unwritten.items():
            if not ids or number in ids:
                self._unwritten[number] = replace(alert, acknowledged=True)

    # --- measuring ----------------------------------------------------------------------------------------------------

    def take(self, sample: Sample, interval: float) -> None:
        """Look at a new sample; what a source that is silent said last is no measurement."""
        sample = heard(sample)
        settings = self._host.settings()
        self._every = interval
        asks = asks_own(settings, sample)
        if asks:
            self._own.look(sample, settings.appearance.units == "binary")
        wanted = frozenset({GPU_PROCESSES, PROCESSES}) if asks or self._book.active else frozenset[str]()
        if wanted != self._wanted:
            self._wanted = wanted
            self._want(wanted)
        culprit = at_work(self._host.live(), self._host.running())
        found = machine_readings(settings, sample, self._own.use, self._own.cpu, culprit)
        clock = self._host.clock
        self._note(self._book.update(found, MACHINE, clock.monotonic(), clock.time(), gone=self._gone, every=interval))

    def look(self) -> None:
        """Look at the providers, and at what was not measured any more; once a second."""
        clock = self._host.clock
        now, time = clock.monotonic(), clock.time()
        self._note(self._book.update((), MACHINE, now, time, gone=self._gone, every=self._every))
        states = self._host.states()
        if states is not None:
            found = provider_readings(self._host.settings(), states, self._were_up)
            self._note(self._book.update(found, (PROVIDER_DOWN,), now, time, gone=self._gone))

    def _gone(self, key: Key) -> bool:
        if not getattr(self._host.settings().alerts, key[0]):
            return True
        states = self._host.states() if key[0] == PROVIDER_DOWN else None
        return states is not None and not any(state.name == key[1] and state.status is not ProviderStatus.OFF for state in states)

    def _note(self, changed: Sequence[Alert]) -> None:
        now = self._host.clock.time()
        for alert in changed:
            self._unwritten[alert.id] = alert
            begins = alert.id not in self._known
            if begins or alert.ended_at is not None:
                self._write_at = float("-inf")
                if begins and self.muted(now):
                    self._quiet.add(alert.id)
                elif not self.muted(now) and alert.id not in self._quiet:
                    self._notifier.tell(alert, now)
            self._known.add(alert.id)
            if alert.ended_at is not None:
                self._known.discard(alert.id)
                self._quiet.discard(alert.id)
                self.log = (alert, *(one for one in self.log if one.id != alert.id))[:LOG]

    def muted(self, now: float) -> bool:
        """Whether nothing is rung, told or run."""
        return self.muted_until is not None and now < self.muted_until

    # --- writing ------------------------------------------------------------------------------------------------------

    async def flush(self, *, alive: bool = False) -> None:
        """Write what is due. What fails is said once and tried again."""
        now = self._host.clock.monotonic()
        try:
            if self._unwritten and now >= self._write_at:
                self._write_at = now + WRITE_WORSE
                written = dict(self._unwritten)
                await self._table.put(written.values())
                for number, alert in written.items():
                    if self._unwritten.get(number) is alert:
                        del self._unwritten[number]
                self._said = False
            if alive or now >= self._alive_at:
                self._alive_at = now + ALIVE_EVERY
                await self._table.watched(self._host.clock.time())
            if now >= self._prune_at:
                self._prune_at = now + PRUNE_EVERY
                await self._table.prune(self._host.clock.time())
        except PaddockError as error:
            if not self._said:
                self._said = True
                self._host.say(f"Alerts are not written down: {error.failure.what}", Severity.WARNING)

    async def aclose(self) -> None:
        """Write everything; what lasts is left for the next keeper."""
        self._want(frozenset())
        await self._own.aclose()
        await self._notifier.aclose()
        self._write_at = float("-inf")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                await self.flush(alive=True)
