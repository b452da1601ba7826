"""The engine: verbs from any thread, faults that end one task only, an end within its time."""

import asyncio
import logging
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tui.core.errors import PaddockError
from tui.core.threads import in_daemon_thread
from tui.services.engine import Engine


class Told:
    def __init__(self) -> None:
        self.errors: list[BaseException] = []
        self.came = threading.Event()

    def __call__(self, error: BaseException) -> None:
        self.errors.append(error)
        self.came.set()


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def engine(told: Told) -> Iterator[Engine]:
    engine = Engine(told)
    engine.start()
    yield engine
    engine.close(_nothing, 2.0)


async def _nothing() -> None:
    return


def test_verbs_run_on_the_engines_thread_and_return_at_once(engine: Engine) -> None:
    held, seen = threading.Event(), []
    done = threading.Event()

    async def blocked() -> None:
        held.wait(5)  # the loop itself is stuck

    async def note() -> None:
        seen.append(engine.here)
        done.set()

    engine.post(blocked)
    began = time.monotonic()
    for _ in range(200):
        engine.post(note)
    took = time.monotonic() - began
    held.set()
    assert done.wait(5)
    assert took < 0.25  # P20, while the loop stood still
    assert engine.submit(_here, engine).result(5)
    assert len(seen) == 200
    assert all(seen)
    assert not engine.here


async def _here(engine: Engine) -> bool:
    return engine.here


def test_posts_of_many_threads_are_all_run(engine: Engine) -> None:
    seen: list[int] = []

    async def note(number: int) -> None:
        seen.append(number)

    threads = [threading.Thread(target=lambda base=base: [engine.post(note, base + n) for n in range(100)]) for base in (0, 100, 200, 300)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert engine.submit(_count, seen).result(5) == list(range(400))


async def _count(seen: list[int]) -> list[int]:
    return sorted(seen)


async def _raise(error: BaseException) -> None:
    raise error


def test_P30_a_failing_task_is_reported_and_logged_and_the_engine_goes_on(engine: Engine, told: Told) -> None:
    records: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = records.append  # type: ignore[method-assign]
    logging.getLogger("paddock.engine").addHandler(handler)
    try:
        engine.post(_raise, KeyError("boom"))
        assert told.came.wait(5)
        told.came.clear()
        engine.post(_raise, PaddockError.of("said in words"))
        assert told.came.wait(5)
    finally:
        logging.getLogger("paddock.engine").removeHandler(handler)
    assert [type(error) for error in told.errors] == [KeyError, PaddockError]
    assert len(records) == 1  # what has words needs no traceback
    assert records[0].exc_info is not None
    assert engine.submit(_here, engine).result(5)


def test_a_call_with_wrong_arguments_is_reported(engine: Engine, told: Told) -> None:
    engine.post(_nothing, "one too many")
    assert told.came.wait(5)
    assert isinstance(told.errors[0], TypeError)
    assert engine.submit(_here, engine).result(5)


def test_a_task_that_must_go_on_begins_anew_and_says_the_same_trouble_once(engine: Engine, told: Told) -> None:
    rounds: list[int] = []
    reached = threading.Event()

    async def work() -> None:
        rounds.append(len(rounds))
        if len(rounds) < 4:
            raise ValueError("again")
        reached.set()

    async def begin() -> None:
        engine.keep_going(work, "follower", 0.001)

    engine.post(begin)
    assert reached.wait(5)
    assert len(told.errors) == 1


def test_P24_closing_is_bounded_and_ends_every_task() -> None:
    engine = Engine(lambda _error: None)
    engine.start()
    ended = threading.Event()

    async def endless() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def hangs() -> None:
        await asyncio.Event().wait()

    engine.post(endless)
    engine.submit(_nothing).result(5)
    began = time.monotonic()
    engine.close(hangs, 0.4)
    assert time.monotonic() - began < 2.0
    assert ended.is_set()
    assert not engine._thread.is_alive()


def test_nothing_is_begun_after_the_end(engine: Engine) -> None:
    seen: list[int] = []

    async def note() -> None:
        seen.append(1)

    async def closing() -> None:
        engine.post(note)  # posted while it ends

    engine.close(closing, 2.0)
    engine.post(note)  # posted afterwards
    engine.close(closing, 2.0)  # and twice
    assert seen == []


def test_an_engine_that_never_started_can_be_closed() -> None:
    Engine(lambda _error: None).close(_nothing, 1.0)


def test_H29_blocking_work_is_in_threads_that_nobody_joins(engine: Engine) -> None:
    release = threading.Event()
    names: list[Any] = []

    def hangs() -> None:
        names.append((threading.current_thread().daemon, threading.current_thread() is not threading.main_thread()))
        release.wait(5)

    async def resolve() -> None:
        await asyncio.get_running_loop().run_in_executor(None, hangs)

    engine.post(resolve)
    value, error = engine.submit(_blocking).result(5)
    began = time.monotonic()
    engine.close(_nothing, 1.0)
    assert time.monotonic() - began < 1.5
    release.set()
    assert names == [(True, True)]
    assert value == 7
    assert error == "no"


async def _blocking() -> tuple[int, str]:
    def fails() -> None:
        raise OSError("no")

    try:
        await asyncio.to_thread(fails)
    except OSError as caught:
        error = str(caught)
    return await in_daemon_thread(lambda: 7), error


async def test_what_a_thread_raises_comes_back() -> None:
    def fails() -> None:
        raise PaddockError.of("no")

    with pytest.raises(PaddockError):
        await in_daemon_thread(fails)
