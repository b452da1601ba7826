"""Many hands on one queue, as rules of a state machine: two apps and the command line, and what must be true whatever they do."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tui.cli import main
from tui.config.paths import find_paths
from tui.core.clock import Clock
from tui.core.jobs import Job, JobState, JobWish, Wait
from tui.core.models import Endpoint
from tui.core.options import AppOptions
from tui.services.jobs import Jobs
from tui.store.db import Database
from tui.store.jobs import JobTable, model_key

NAMES: Final = ("ant", "bee", "cat", "dog", "Ant", "bee:latest", "library/cat")
"""Four models, some of them spelled in several ways."""
APPS: Final = st.integers(0, 1)
HANDS: Final = st.integers(0, 2)
"""Two apps, and 2 for the command line."""
PICK: Final = st.integers(0, 7)
WISHES: Final = {"pause": JobWish.PAUSE, "cancel": JobWish.CANCEL, "resume": JobWish.RUN, "retry": JobWish.RUN}


class Hands(RuleBasedStateMachine):
    """The rules that any world knows; a world says how time passes and who works.

    Attributes:
        last: By entry, what was wished last.
        again: Entries that may leave their end: somebody asked for it since.
        seen: By entry, the end that was seen.
        moves_by_itself: The world does not wait for rules: what was read may have changed.
    """

    moves_by_itself = False

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.place = tempfile.TemporaryDirectory()
        self.folder = Path(self.place.name)
        self.paths = find_paths(environ={"PADDOCK_HOME": str(self.folder / "home"), "HOME": str(self.folder)})
        os.environ["PADDOCK_HOME"] = str(self.folder / "home")
        self.last: dict[int, JobWish] = {}
        self.again: set[int] = set()
        self.seen: dict[int, JobState] = {}
        self.endpoint, self.clock = self.open_world()
        self.paths.config_file.parent.mkdir(parents=True, exist_ok=True)
        self.paths.config_file.write_text(
            f'[general]\ndiscover = false\n[providers.box]\nkind = "ollama"\nurl = "{self.endpoint.url}"\n[models]\nexcluded = ["dog*"]\n'
        )
        self.databases = [Database(self.paths.database) for _ in range(2)]
        self.apps = [Jobs(database, self.paths, self.clock) for database in self.databases]
        self.table = JobTable(self.databases[0], self.clock)

    # --- what a world does --------------------------------------------------------------------------------------------

    def open_world(self) -> tuple[Endpoint, Clock]:
        """Begin; the server and the clock."""
        raise NotImplementedError

    def close_world(self) -> None:
        """End."""
        raise NotImplementedError

    def settle(self, done: Callable[[], bool]) -> None:
        """Let everything go on, without faults, until this holds or too long has passed."""
        raise NotImplementedError

    def may_fail(self, job: Job) -> bool:
        """Whether the server ever had a reason to refuse this model for good."""
        return False

    # --- helpers ------------------------------------------------------------------------------------------------------

    def do(self, work: Awaitable[Any]) -> Any:
        """Run on the machine's loop."""
        return self.loop.run_until_complete(asyncio.wait_for(work, 30))

    def jobs(self) -> tuple[Job, ...]:
        """The queue as the disk has it."""
        return self.table.list()

    def pick(self, number: int) -> Job | None:
        """One of the entries."""
        jobs = self.jobs()
        return jobs[number % len(jobs)] if jobs else None

    def command(self, *words: str) -> tuple[int, str]:
        """The command line, in this process."""
        out = io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            code = main(list(words), AppOptions())
        return code, out.getvalue()

    def wished(self, jobs: Sequence[Job], verb: str) -> None:
        """Remember what was wished of entries that stood like this when it was; an ended one has no wish, until it is asked for again."""
        waiting = {job.id for job in jobs if self.renewal_waits(job.id)}
        for job in jobs:
            if verb == "retry":
                self.again.add(job.id)
                self.last[job.id] = JobWish.RUN
            elif self.moves_by_itself and (now := self.table.get(job.id)) is not None and now.wish is not WISHES[verb]:
                assert now.state.ended  # it ended before it could be wished otherwise
            elif not job.state.ended or job.id in waiting:
                self.last[job.id] = WISHES[verb]

    # --- rules --------------------------------------------------------------------------------------------------------

    @initialize()
    def three_entries(self) -> None:
        """Something to quarrel about."""
        for name in NAMES[:3]:
            self.add(0, name)

    @rule(hand=HANDS, name=st.sampled_from(NAMES))
    def add(self, hand: int, name: str) -> None:
        """Queue a model; one that waits or runs is used again, an ended one makes room."""
        before = {model_key(job.model): job for job in self.jobs()}.get(model_key(name))
        if hand < 2:
            number = self.do(self.apps[hand].add(name, self.endpoint, asked_by="test")).id
        else:
            code, said = self.command("pull", "--yes", name)
            assert code == 0, said
            number = next(job.id for job in self.jobs() if model_key(job.model) == model_key(name))
        if before is not None and number != before.id:
            assert before.state.ended or self.moves_by_itself
            self.forget(before.id)
        elif before is not None:
            assert not before.state.ended
        self.last[number] = JobWish.RUN

    def forget(self, number: int) -> None:
        """An entry is gone."""
        self.last.pop(number)
        self.seen.pop(number, None)
        self.again.discard(number)

    @rule(hand=HANDS, verb=st.sampled_from(("pause", "pause", "resume", "resume", "cancel", "retry")), pick=PICK)
    def wish(self, hand: int, verb: str, pick: int) -> None:
        """One entry."""
        job = self.pick(pick)
        if job is None:
            return
        if hand < 2:
            self.do(getattr(self.apps[hand], verb)([job.id]))
        else:
            code, said = self.command("pulls", verb, str(job.id))
            assert code == 0 or " already." in said or " Use paddock pulls " in said, said
            if code:
                return
        self.wished([job], verb)

    @rule(app=APPS, verb=st.sampled_from(("pause", "resume")))
    def wish_all(self, app: int, verb: str) -> None:
        """Every entry at once."""
        jobs = self.jobs()
        self.do(getattr(self.apps[app], verb)([job.id for job in jobs]))
        self.wished(jobs, verb)

    @rule(hand=HANDS, where=st.sampled_from(("up", "down", "first")), pick=PICK)
    def move(self, hand: int, where: str, pick: int) -> None:
        """Change the order: nobody else changes places, and ended ones stay where they are."""
        job, before = self.pick(pick), self.jobs()
        if job is None:
            return
        if hand < 2:
            self.do(self.apps[hand].move([job.id], where))
        else:
            self.command("pulls", where, str(job.id))
        if self.moves_by_itself:
            return
        ended = {other.id for other in before if other.state.ended}
        old, new = [other.id for other in before], [other.id for other in self.jobs()]
        assert [number in ended and number for number in old] == [number in ended and number for number in new]
        assert [number for number in old if number != job.id] == [number for number in new if number != job.id] or job.id not in ended
        if where == "first" and job.id not in ended:
            assert next(number for number in new if number not in ended) == job.id

    @rule(hand=HANDS, pick=PICK, limit=st.sampled_from((None, 5_000_000, 20_000_000)))
    def limit(self, hand: int, pick: int, limit: int | None) -> None:
        """A limit of its own."""
        job = self.pick(pick)
        if job is not None and hand < 2:
            self.do(self.apps[hand].limit([job.id], limit))
        elif job is not None:
            self.command("pulls", "limit", str(job.id), "none" if limit is None else f"{limit // 1_000_000}MB")

    @rule(hand=HANDS, pick=PICK, after=PICK, on=st.booleans())
    def chain(self, hand: int, pick: int, after: int, on: bool) -> None:
        """One after another, or no more."""
        job, before = self.pick(pick), self.pick(after)
        if job is None or before is None:
            return
        if hand < 2:
            self.do(self.apps[hand].chain([job.id], before.id if on else 0))
        else:
            self.command("pulls", "after", str(job.id), str(before.id) if on else "none")

    @rule(app=APPS, pick=PICK, seconds=st.sampled_from((None, 0.3, 60.0)))
    def start_at(self, app: int, pick: int, seconds: float | None) -> None:
        """Wait for a time, or no more."""
        job = self.pick(pick)
        if job is not None:
            self.do(self.apps[app].start_at([job.id], None if seconds is None else self.clock.time() + seconds))

    @rule(app=APPS, pick=PICK)
    def allow(self, app: int, pick: int) -> None:
        """Say yes."""
        job = self.pick(pick)
        if job is not None:
            self.do(self.apps[app].allow([job.id]))

    @rule(hand=HANDS, pick=PICK)
    def remove(self, hand: int, pick: int) -> None:
        """Take an ended one off the list; others stay."""
        job = self.pick(pick)
        if job is None:
            return
        if hand < 2:
            self.do(self.apps[hand].remove([job.id]))
        else:
            self.command("pulls", "remove", str(job.id))
        gone = self.table.get(job.id) is None
        assert gone is job.state.ended or self.moves_by_itself
        if gone:
            self.forget(job.id)

    # --- what must be true --------------------------------------------------------------------------------------------

    @invariant()
    def each_entry_is_there_once(self) -> None:
        """Nothing lost, nothing doubled; places are distinct; no chain is a circle."""
        jobs = self.jobs()
        assert {job.id for job in jobs} == self.last.keys()
        assert max(Counter(model_key(job.model) for job in jobs).values(), default=0) <= 1
        assert len({job.position for job in jobs}) == len(jobs)
        after = {job.id: job.after for job in jobs}
        for job in jobs:
            seen, at = set[int](), job.id
            while at:
                assert at not in seen
                seen.add(at)
                at = after.get(at, 0)

    @invariant()
    def what_ended_stays_ended(self) -> None:
        """Unless somebody asked for it again."""
        for job in self.jobs():
            if job.id in self.seen and job.id not in self.again and self.seen[job.id] is not JobState.CANCELLED:
                assert job.state is self.seen[job.id], job
            if not job.state.ended:
                self.seen.pop(job.id, None)
                continue
            if job.id not in self.seen and not self.renewal_waits(job.id):
                self.again.discard(job.id)
            if job.id not in self.again:
                self.seen[job.id] = job.state

    def renewal_waits(self, number: int) -> bool:
        """Whether a retry was not looked at yet."""
        query = "SELECT asked > seen FROM job WHERE id = ?"
        return bool(self.databases[0].read(lambda connection: connection.execute(query, (number,)).fetchone())[0])

    @invariant()
    def both_apps_see_the_same(self) -> None:
        """What the disk has."""
        if self.moves_by_itself:
            return
        views = []
        for app in self.apps:
            app.refresh()
            views.append(app.view.value)
        assert [(job.id, job.state, job.wish) for job in views[0].jobs] == [(job.id, job.state, job.wish) for job in views[1].jobs]
        assert [(job.id, job.wish) for job in views[0].jobs] == [(job.id, job.wish) for job in self.jobs()]

    # --- the end ------------------------------------------------------------------------------------------------------

    def blocked(self, jobs: dict[int, Job], job: Job) -> bool:
        """Whether it waits for a yes, or for one that does not end."""
        if job.model.startswith("dog") and not job.allowed:
            return True
        before = jobs.get(job.after)
        if before is None or before.state.ended:
            return False
        return before.wish is JobWish.PAUSE or self.blocked(jobs, before)

    def rests(self) -> bool:
        """Whether every entry is as it was wished last."""
        jobs = {job.id: job for job in self.jobs()}
        return all(self.agrees(jobs, job) for job in jobs.values()) and not any(self.renewal_waits(number) for number in jobs)

    def agrees(self, jobs: dict[int, Job], job: Job) -> bool:
        """Whether an entry is as it was wished last, or had ended before."""
        if job.state is JobState.DONE or (job.state is JobState.FAILED and self.may_fail(job)):
            return True
        wish = self.last[job.id]
        if wish is JobWish.PAUSE:
            return job.state is JobState.PAUSED
        if wish is JobWish.CANCEL:
            return job.state is JobState.CANCELLED
        return job.state is JobState.WAITING and job.wait in (Wait.CHAIN, Wait.ANSWER) and self.blocked(jobs, job)

    def teardown(self) -> None:
        """Let everything come to rest, and see that the last wish of each entry was granted."""
        try:
            self.do(self.apps[0].start_at(list(self.last), None))
            self.settle(self.rests)
            jobs = {job.id: job for job in self.jobs()}
            wrong = [(job, self.last[job.id]) for job in jobs.values() if not self.agrees(jobs, job)]
            assert not wrong, wrong
            self.each_entry_is_there_once()
            assert self.databases[0].read(lambda connection: connection.execute("PRAGMA quick_check").fetchone()[0]) == "ok"
        finally:
            self.close_world()
            for database in self.databases:
                database.close()
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
            self.loop.close()
            self.place.cleanup()


def wait(loop: asyncio.AbstractEventLoop, condition: Callable[[], bool], seconds: float) -> bool:
    """Wait in real time while the loop runs; whether the condition came to hold."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        loop.run_until_complete(asyncio.sleep(0.02))
    return True
