"""The database connection: one writer thread, fast reads, and word of what others changed."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from tui.core.errors import Failure, FailureKind, PaddockError
from tui.store import backup, faults
from tui.store.files import exclusive, lock, make_folder, open_private, sync_folder
from tui.store.identity import Identity, alive, myself
from tui.store.opening import CHECK_UNCLEAN, Opened, connect, prepare, sidecar, version_of
from tui.store.schema import MIGRATIONS
from tui.text import clean_name

if TYPE_CHECKING:
    from tui.store.schema import Step

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]

PATIENCE: Final = 30.0
"""Seconds a write is kept and tried again while another process holds the database."""
BACKUP_EVERY: Final = 86_400.0


@dataclass(slots=True)
class _Task(Generic[T]):
    work: Work[T]
    topics: tuple[str, ...]
    durable: bool
    future: Future[T]


class Changes:
    """One follower of the database; several may follow one `Database` without taking news from each other."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._revisions = database.revisions()
        self._version = database.data_version()

    def poll(self) -> frozenset[str]:
        """The topics that any process changed since the last call; takes microseconds when nothing did."""
        version = self._database.data_version()
        if version == self._version:
            return frozenset()
        self._version = version
        before, self._revisions = self._revisions, self._database.revisions()
        return frozenset(topic for topic, n in self._revisions.items() if before.get(topic) != n)


class Database:
    """One SQLite file shared by app, worker and command line.

    Writes run one after another on a thread of their own, each inside `BEGIN IMMEDIATE`; reads run on a second
    connection in the caller's thread (`read`) or a third one off the loop (`read_async`).

    Attributes:
        opened: What opening found: damage, a restored backup, a migration.
        problem: Why writing does not work at present, or None.
        unclean: The program did not end properly last time.

    Raises:
        PaddockError: The file can neither be opened nor created.
    """

    def __init__(
        self,
        path: Path,
        *,
        read_only: bool = False,
        network_fs: bool = False,
        patience: float = PATIENCE,
        migrations: Sequence[Sequence[Step]] = MIGRATIONS,
    ) -> None:
        self.path = path
        self.opened = Opened()
        self.problem: Failure | None = None
        self.unclean = False
        self._network_fs = network_fs
        self._patience = patience
        self._migrations = migrations
        self._schema = len(migrations)
        self._read_lock = threading.Lock()
        self._slow_lock = threading.Lock()
        self._checked_at = 0.0
        self._epoch = 0
        self._closed = self._closing = False
        self._users = -1
        if not read_only:
            try:
                self.opened = self._prepare()
                self.problem = self.opened.problem
            except PaddockError as error:
                if error.failure.kind is not FailureKind.DISK or not self._readable():
                    raise
                self.problem = error.failure
        self.read_only = read_only or self.problem is not None
        self._marker = f"open:{os.getpid()}:{myself().start}:{myself().boot}:{id(self)}:{time.time_ns()}"
        try:
            self._connect()
        except sqlite3.Error as error:
            raise PaddockError(faults.failure_of(error, path)) from error
        self._tasks: queue.SimpleQueue[_Task[Any] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="paddock-store", daemon=True)
        self._thread.start()
        self._changes = self.changes()
        if not self.read_only:
            with contextlib.suppress(PaddockError, TimeoutError):
                # A full disk or a busy database delays the mark, not the start.
                self.unclean = self._submit(self._mark_open, (), True).result(2.0)
            if self.unclean and self.path.stat().st_size > CHECK_UNCLEAN:
                threading.Thread(target=self._check_in_background, name="paddock-check", daemon=True).start()

    def _prepare(self) -> Opened:
        """Open for writing, while holding the lock file that keeps migrations of others away."""
        try:
            make_folder(self.path.parent)
            self._users = open_private(sidecar(self.path, ".users"))
        except OSError as error:
            raise PaddockError(faults.not_writable(error, self.path)) from error
        lock(self._users, fcntl.LOCK_SH, 20.0)
        try:
            opened = prepare(self.path, migrations=self._migrations, network_fs=self._network_fs, users=self._users)
        except BaseException:
            os.close(self._users)
            self._users = -1
            raise
        fcntl.flock(self._users, fcntl.LOCK_SH)
        return opened

    def _readable(self) -> bool:
        """Whether there is a database to be read, at least."""
        try:
            with contextlib.closing(connect(self.path, query_only=True)) as connection:
                return version_of(connection) == self._schema
        except sqlite3.Error:
            return False

    # --- reading ---------------------------------------------------------------------------------------------------

    def read(self, work: Work[T]) -> T:
        """Run a fast query in this thread, inside one snapshot.

        Raises:
            PaddockError: The database cannot be read.
        """
        with self._read_lock:
            return self._read_on(self._reader, work)

    async def read_async(self, work: Work[T]) -> T:
        """Run a slow query (a search) off the loop."""

        def slow() -> T:
            with self._slow_lock:
                return self._read_on(self._slow, work)

        return await asyncio.to_thread(slow)

    def _read_on(self, connection: sqlite3.Connection, work: Work[T]) -> T:
        try:
            connection.execute("BEGIN")
            try:
                return work(connection)
            finally:
                connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            self._note_damage(error)
            raise PaddockError(faults.failure_of(error, self.path)) from error
        except MemoryError as error:
            raise PaddockError(faults.no_memory(self.path, reading=True)) from error

    def revisions(self) -> dict[str, int]:
        """How often each topic was changed, ever."""
        return self.read(lambda connection: dict(connection.execute("SELECT topic, n FROM revision").fetchall()))

    def data_version(self) -> tuple[int, int]:
        """A value that differs after any commit of another connection. Also notices a lost file, every second."""
        if not self.read_only and time.monotonic() - self._checked_at > 1.0:
            self._checked_at = time.monotonic()
            if not self._in_place():
                self._submit(lambda connection: None, (), True)
        with self._read_lock:
            try:
                number: int = self._reader.execute("PRAGMA data_version").fetchone()[0]
            except sqlite3.Error as error:
                raise PaddockError(faults.failure_of(error, self.path)) from error
            return self._epoch, number

    def changes(self) -> Changes:
        """A new follower; it reports what changes from now on."""
        return Changes(self)

    def poll_changes(self) -> frozenset[str]:
        """`Changes.poll` of the follower that this object has itself."""
        return self._changes.poll()

    # --- writing ---------------------------------------------------------------------------------------------------

    async def run(self, work: Work[T], topics: Iterable[str] = ("jobs",), durable: bool = True) -> T:
        """Run `work` in a write transaction and tell the followers of `topics`. It happens even if the caller is cancelled.

        With `durable` it is on disk before this returns; without, a power cut may lose it, a crash of ours not.

        Raises:
            PaddockError: Nothing was changed; the same call may be tried again (full disk, database held by another).
        """
        return await asyncio.shield(asyncio.wrap_future(self._submit(work, tuple(topics), durable)))

    def run_sync(self, work: Work[T], topics: Iterable[str] = ("jobs",), durable: bool = True) -> T:
        """`run` for callers without a loop; waits."""
        return self._submit(work, tuple(topics), durable).result()

    def _submit(self, work: Work[T], topics: tuple[str, ...], durable: bool) -> Future[T]:
        future: Future[T] = Future()
        if self._closed:
            future.set_exception(
                PaddockError.of("The database is closed", clean_name(str(self.path)), "Start Paddock again", FailureKind.CANCELLED)
            )
        elif self.read_only:
            future.set_exception(PaddockError(self.problem or faults.read_only(self.path)))
        else:
            self._tasks.put(_Task(work, topics, durable, future))
        return future

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            if not task.future.set_running_or_notify_cancel():
                continue
            try:
                result = self._attempt(task)
            except BaseException as error:
                task.future.set_exception(error)
            else:
                task.future.set_result(result)
            del task

    def _attempt(self, task: _Task[T]) -> T:
        until = time.monotonic() + self._patience
        while True:
            try:
                self._keep_in_place()
                result = self._transact(task)
            except sqlite3.Error as error:
                failure = faults.failure_of(error, self.path)
                if not isinstance(error, sqlite3.DatabaseError) or faults.primary(error) in (0, sqlite3.SQLITE_CONSTRAINT):
                    raise PaddockError(failure) from error
                self.problem = failure
                self._note_damage(error)
                if not faults.is_busy(error) or time.monotonic() >= until or self._closing:
                    raise PaddockError(failure) from error
            except MemoryError as error:
                raise PaddockError(faults.no_memory(self.path)) from error
            else:
                self.problem = None
                return result

    def _transact(self, task: _Task[T]) -> T:
        connection = self._writer
        connection.execute(f"PRAGMA synchronous = {'FULL' if task.durable else 'NORMAL'}")
        connection.execute("BEGIN IMMEDIATE")
        try:
            if (found := version_of(connection)) > self._schema:
                self.problem = faults.newer(found, self._schema, self.path)
                self.read_only = True
                raise PaddockError(self.problem)
            result = task.work(connection)
            for topic in task.topics:
                connection.execute("INSERT INTO revision (topic, n) VALUES (?, 1) ON CONFLICT (topic) DO UPDATE SET n = n + 1", (topic,))
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return result

    # --- the file --------------------------------------------------------------------------------------------------

    def _connect(self) -> None:
        self._writer = connect(self.path, query_only=self.read_only, network_fs=self._network_fs)
        self._reader = connect(self.path, query_only=True)
        self._slow = connect(self.path, query_only=True)
        # A first read opens the log as well: should the files be deleted, this connection still has all of both.
        self._slow.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        info = self.path.stat()
        self._inode = (info.st_dev, info.st_ino)

    def _in_place(self) -> bool:
        try:
            info = self.path.stat()
        except OSError:
            return False
        return (info.st_dev, info.st_ino) == self._inode

    def _keep_in_place(self) -> None:
        """Before a write: when our file was deleted or replaced, writing to it would succeed into nothing."""
        if self._in_place():
            return
        make_folder(self.path.parent)
        with exclusive(sidecar(self.path, ".lock")):
            if not self.path.exists():
                self._put_back()
        # What lies there now may be anybody's: it is examined like at a start.
        report = prepare(self.path, migrations=self._migrations, network_fs=self._network_fs)
        with self._read_lock, self._slow_lock:
            for connection in (self._writer, self._reader, self._slow):
                connection.close()
            self.opened = report
            self.problem = report.problem
            self.read_only = report.problem is not None
            self._epoch += 1
            self._connect()
        if self.read_only and self.problem is not None:
            raise PaddockError(self.problem)

    def _put_back(self) -> None:
        """Write the deleted database anew: our open connection still reads it."""
        temporary = sidecar(self.path, ".again")
        temporary.unlink(missing_ok=True)
        with self._slow_lock, contextlib.suppress(sqlite3.Error):
            backup.copy_verified(self._slow, temporary)
        good = temporary if temporary.exists() else backup.newest_good(self.path)
        for suffix in ("-wal", "-shm", "-journal"):
            sidecar(self.path, suffix).unlink(missing_ok=True)
        if good is not None and good is not temporary:
            with contextlib.closing(sqlite3.connect(f"{good.absolute().as_uri()}?mode=ro", uri=True)) as source:
                backup.copy_verified(source, temporary)
        if temporary.exists():
            temporary.rename(self.path)
            sync_folder(self.path.parent)

    def _note_damage(self, error: sqlite3.Error) -> None:
        """Have the next start look at the whole file."""
        if faults.is_damage(error):
            self.problem = faults.failure_of(error, self.path)
            with contextlib.suppress(OSError, PaddockError):
                os.close(open_private(sidecar(self.path, ".check")))

    def _mark_open(self, connection: sqlite3.Connection) -> bool:
        unclean = False
        for (key,) in connection.execute("SELECT key FROM meta WHERE key LIKE 'open:%'").fetchall():
            _, pid, start, boot, *_ = key.split(":")
            if not alive(Identity(int(pid), start, boot)):
                unclean = True
                connection.execute("DELETE FROM meta WHERE key = ?", (key,))
        connection.execute("INSERT INTO meta (key, value) VALUES (?, '')", (self._marker,))
        return unclean

    def _check_in_background(self) -> None:
        until = time.monotonic() + 60
        try:
            with contextlib.closing(connect(self.path, query_only=True)) as connection:
                connection.set_progress_handler(lambda: time.monotonic() > until or self._closed, 100_000)
                if connection.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
                    raise sqlite3.DatabaseError("quick_check found damage")
        except sqlite3.Error as error:
            if faults.primary(error) != sqlite3.SQLITE_INTERRUPT:
                with contextlib.suppress(OSError, PaddockError):  # first: what is said of the next start is true when it is said
                    os.close(open_private(sidecar(self.path, ".check")))
                self.problem = Failure(
                    "The database is damaged",
                    clean_name(str(self.path)),
                    "Restart Paddock: it is moved aside and rescued",
                    FailureKind.DISK,
                )

    # --- backup and end --------------------------------------------------------------------------------------------

    def back_up(self) -> Path:
        """Make a verified backup now, on a connection of its own, so that writers go on.

        Raises:
            PaddockError: It failed; earlier backups are untouched.
        """
        try:
            with contextlib.closing(connect(self.path, query_only=True)) as connection:
                return backup.back_up(connection, self.path, f"-v{self._schema}")
        except sqlite3.Error as error:
            raise PaddockError(faults.failure_of(error, self.path)) from error
        except OSError as error:
            raise PaddockError.of(
                "The backup failed", clean_name(str(self.path)), "Make room", FailureKind.DISK, clean_name(str(error))
            ) from error

    async def back_up_if_due(self) -> Path | None:
        """Make a backup where the newest is older than a day; off the loop."""
        newest = next(iter(backup.backups(self.path)), None)
        if self.read_only or (newest is not None and time.time() - newest.stat().st_mtime < BACKUP_EVERY):
            return None
        return await asyncio.to_thread(self.back_up)

    def close(self) -> None:
        """Finish the writes, note the clean end, fold the log into the file; may be called twice."""
        if self._closed:
            return
        self._closing = True
        if not self.read_only:
            with contextlib.suppress(PaddockError):
                self.run_sync(lambda connection: connection.execute("DELETE FROM meta WHERE key = ?", (self._marker,)), topics=())
        self._closed = True
        self._tasks.put(None)
        self._thread.join()
        with self._read_lock, self._slow_lock:
            self._reader.close()
            self._slow.close()
        if not self.read_only:
            with contextlib.suppress(sqlite3.Error):
                self._writer.execute("PRAGMA busy_timeout = 200")
                self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._writer.close()
        if self._users >= 0:
            os.close(self._users)

    async def aclose(self) -> None:
        """`close` off the loop."""
        await asyncio.to_thread(self.close)
