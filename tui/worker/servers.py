"""Servers we start: each in a session of its own, its output in a file, found again by pid, start time and boot."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import uuid
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import psutil

from tui import __version__
from tui.core.clock import SYSTEM, Clock
from tui.core.errors import PaddockError
from tui.core.record import record
from tui.core.threads import in_daemon_thread
from tui.providers import ports
from tui.services.audit import Audit
from tui.store.db import Database
from tui.store.files import make_folder, open_private
from tui.store.identity import Identity, alive, identify
from tui.store.meta import ServerRow, Servers, servers_have_work
from tui.text import clean_label, clean_name

GRACE: Final = 10.0
"""Seconds between the request to end and the kill."""
READY_WITHIN: Final = 60.0
"""Seconds a server is given until it listens."""
MARK: Final = "PADDOCK_SERVER"
"""Environment variable that carries the record's id: it finds a server whose record was not finished."""
_KEPT: Final = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "SSL_CERT_FILE", "SSL_CERT_DIR")
_KEPT_PREFIXES: Final = ("LC_", "XDG_", "OLLAMA_", "CUDA_", "NVIDIA_", "HIP_", "ROCR_", "HSA_", "GPU_", "VK_")
_KILLED: Final = "did not end when asked, killed"
_PROXIES: Final = ("http_proxy", "https_proxy", "no_proxy", "all_proxy")


MAX_LOG: Final = 10 << 20
"""Bytes of a server's log until it is copied aside and cut; three older ones are kept."""
LOGS_KEPT: Final = 3


class Supervisor:
    """Acts on the wishes about servers. It never signals a process that is not exactly the one it started."""

    def __init__(self, database: Database, logs: Path, audit: Audit, clock: Clock = SYSTEM, grace: float = GRACE) -> None:
        self._table = Servers(database)
        self._logs = logs
        self._audit = audit
        self._clock = clock
        self._grace = grace
        self._rows: dict[str, ServerRow] = {}
        self._since: dict[str, float] = {}
        self._children: dict[int, subprocess.Popen[bytes]] = {}

    @property
    def busy(self) -> bool:
        """Whether a start or stop is under way."""
        return servers_have_work(tuple(self._rows.values()))

    async def open(self) -> None:
        """Find the servers of an earlier worker again."""
        for row in self._table.list():
            if row.state in ("starting", "running", "stopping"):
                await self._find_again(row)

    async def tick(self) -> None:
        """Do what is due; looks at processes off the loop."""
        for row in self._table.list():
            self._rows[row.name] = row
            if row.record.get("log"):
                _rotate(Path(str(row.record["log"])))
            if row.asked > row.seen:
                await self._act(row)
            elif row.state == "starting":
                await self._watch_start(row)
            elif row.state == "stopping":
                await self._watch_stop(row)
            elif row.state == "running" and not _lives(row):
                await self._watch_ended(row)

    async def _note(
        self, row: ServerRow, state: str, note: str = "", *, record: Mapping[str, Any] | None = None, seen: int | None = None
    ) -> ServerRow:
        changed = replace(
            row, state=state, note=note, record=row.record if record is None else record, seen=row.seen if seen is None else seen
        )
        self._rows[row.name] = changed
        await self._table.record(changed)
        return changed

    async def _find_again(self, row: ServerRow) -> None:
        """Adopt what still runs; a record without a pid was written just before the fork."""
        if not row.record.get("pid") and row.record.get("uuid"):
            found = await in_daemon_thread(lambda: _by_mark(str(row.record["uuid"])))
            if found is not None:
                row = await self._note(row, row.state, row.note, record={**row.record, **_fields(found)})
        if _lives(row) or row.state == "stopping":
            self._since[row.name] = self._clock.monotonic()
            await self._note(row, row.state, row.note)
        else:
            await self._ended(row, "it ended while nobody watched", await in_daemon_thread(lambda: _family(row)))

    async def _watch_ended(self, row: ServerRow) -> None:
        """Its first process is gone: children get a moment to follow it, then they are named."""
        family = await in_daemon_thread(lambda: _family(row))
        code = self._exit_code(row)
        note = f"it ended by itself{code}" if code or not row.note else row.note
        now = self._clock.monotonic()
        if family and row.note != note:
            self._since[row.name] = now
            await self._note(row, "running", note)
        elif not family or now - self._since.setdefault(row.name, now) > self._grace:
            await self._ended(row, note, family)

    async def _ended(self, row: ServerRow, note: str, family: list[_Member]) -> None:
        if family:
            await self._note(row, "failed", f"{note}, and left {_named(family)}; stop it to end {'it' if len(family) == 1 else 'them'}")
        else:
            await self._note(row, "stopped", note)

    # --- starting --------------------------------------------------------------------------------------------------

    async def _act(self, row: ServerRow) -> None:
        if row.wish == "running":
            if _lives(row):
                await self._note(row, row.state if row.state == "starting" else "running", seen=row.asked)
            else:
                await self._start(row)
        else:
            await self._stop(row)

    async def _start(self, row: ServerRow) -> None:
        holder = await in_daemon_thread(lambda: ports.holder(_port(row), host=_host(row)))
        if holder is not None:
            who = holder.words() or "a process of another user"
            name = f"{holder.process_name} ({who})" if holder.process_name else who
            await self._note(row, "failed", f"{row.address} is already used by {name}", seen=row.asked, record={})
            return
        log = self._logs / "servers" / f"{row.name}.log"
        command = [row.program, *row.arguments]
        intent = {"uuid": uuid.uuid4().hex, "argv": command, "log": str(log), "started_at": self._clock.time(), "version": __version__}
        # The intent is on disk before there is a process: one that we lose sight of now is found by its mark.
        row = await self._note(row, "starting", record=intent, seen=row.asked)
        try:
            child = _spawn(command, log, {**_environment(), **row.environment, MARK: str(intent["uuid"])})
        except (OSError, PaddockError) as error:
            reason = clean_label(error.failure.what if isinstance(error, PaddockError) else str(error.strerror or error))
            await self._note(row, "failed", f"{clean_name(row.program)} could not be started: {reason}", record={})
            return
        self._children[child.pid] = child
        self._since[row.name] = self._clock.monotonic()
        found = identify(child.pid)
        await self._note(row, "starting", record={**intent, **(_fields(found) if found else {"pid": child.pid})})
        self._audit.write("start server", row.name, program=row.program, pid=child.pid)

    async def _watch_start(self, row: ServerRow) -> None:
        if not _lives(row):
            family = await in_daemon_thread(lambda: _family(row))
            left = f", and left {_named(family)}" if family else ""
            note = f"it ended while starting{self._exit_code(row)}{left}; see {row.record.get('log', '')}"
            await self._note(row, "failed", note, record=row.record if family else {})
            return
        holder = await in_daemon_thread(lambda: ports.holder(_port(row), host=_host(row)))
        if holder is not None and holder.pid is not None and _of_session(holder.pid, int(row.record["pid"])):
            await self._note(row, "running")
        elif holder is not None:
            # Somebody else answers there: its readiness is not ours.
            note = f"not ready: {row.address} is answered by {holder.process_name or 'another process'} ({holder.words()})"
            if note != row.note:
                await self._note(row, "starting", note)
        elif self._clock.monotonic() - self._since.setdefault(row.name, self._clock.monotonic()) > READY_WITHIN and not row.note:
            await self._note(row, "starting", f"not ready after {READY_WITHIN:.0f}s; see {row.record.get('log', '')}")

    def _exit_code(self, row: ServerRow) -> str:
        pid = int(row.record.get("pid") or 0)
        code = self._children[pid].poll() if pid in self._children else None
        if code is None:
            return ""
        del self._children[pid]
        return f" (signal {-code})" if code < 0 else f" (exit code {code})"

    # --- stopping --------------------------------------------------------------------------------------------------

    async def _stop(self, row: ServerRow) -> None:
        """Ask the family to end; what survived an earlier stop outside of the session is asked as well this time."""
        family = await in_daemon_thread(lambda: _family(row))
        if not family:
            await self._note(row, "stopped", seen=row.asked, record={})
            return
        _signal(row, family, signal.SIGTERM, everyone=row.state == "failed")
        self._since[row.name] = self._clock.monotonic()
        self._audit.write("stop server", row.name, pid=int(row.record.get("pid") or 0))
        await self._note(row, "stopping", seen=row.asked)

    async def _watch_stop(self, row: ServerRow) -> None:
        """Stopped is what has no process left; TERM, then KILL, then the survivors are named."""
        self._exit_code(row)
        family = await in_daemon_thread(lambda: _family(row))
        waited = self._clock.monotonic() - self._since.setdefault(row.name, self._clock.monotonic())
        if not family:
            await self._note(row, "stopped", record={})
        elif waited > 2 * self._grace or (waited > self._grace and not any(member.inside for member in family)):
            self._audit.write("server survived", row.name, processes=_named(family))
            await self._note(row, "failed", f"the stop left {_named(family)}; stop again to end {'it' if len(family) == 1 else 'them'}")
        elif waited > self._grace and row.note != _KILLED:
            _signal(row, family, signal.SIGKILL, everyone=False)
            self._audit.write("kill server", row.name, pid=int(row.record.get("pid") or 0))
            await self._note(row, "stopping", _KILLED)


def _port(row: ServerRow) -> int:
    port = row.address.rpartition(":")[2]
    return int(port) if port.isdigit() else 0


def _host(row: ServerRow) -> str:
    return row.address.rpartition(":")[0].strip("[]") or "127.0.0.1"


def _fields(who: Identity) -> dict[str, str | int]:
    return {"pid": who.pid, "start": who.start, "boot": who.boot}


def _identity(row: ServerRow) -> Identity | None:
    record = row.record
    if not record.get("pid") or not record.get("start") or not record.get("boot"):
        return None
    return Identity(int(record["pid"]), str(record["start"]), str(record["boot"]))


def _lives(row: ServerRow) -> bool:
    who = _identity(row)
    return who is not None and alive(who)


def _of_session(pid: int, leader: int) -> bool:
    try:
        return os.getsid(pid) == leader
    except ProcessLookupError:
        return False


@record(frozen=True)
class _Member:
    """A process of a server's family; `inside` its session, where a stop reaches it without asking again."""

    who: Identity
    name: str
    inside: bool


def _family(row: ServerRow) -> list[_Member]:
    """The living processes that carry a server's mark, or are in the session of its living leader. Reads every process."""
    leader, mark = int(row.record.get("pid") or 0), str(row.record.get("uuid") or "")
    ours = _lives(row)
    if not mark and not ours:
        return []
    found: list[_Member] = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            inside = bool(leader) and os.getsid(process.pid) == leader
            marked = bool(mark) and process.environ().get(MARK) == mark
            who = identify(process.pid) if marked or (inside and ours) else None
            if who is not None:
                found.append(_Member(who, clean_name(process.name(), 40), inside))
    return found


def _named(family: list[_Member]) -> str:
    """`1 process: pid 812 (ollama)`."""
    named = ", ".join(f"pid {member.who.pid} ({member.name})" for member in family[:5])
    return f"{'1 process' if len(family) == 1 else f'{len(family)} processes'}: {named}"


def _signal(row: ServerRow, family: list[_Member], number: signal.Signals, *, everyone: bool) -> None:
    """Signal a server's family, each only if it still is the very process that was looked at."""
    who = _identity(row)
    for member in family:
        if not (member.inside or everyone or member.who == who):
            continue
        with contextlib.suppress(ProcessLookupError, PermissionError):
            # The handle pins the process: from here on its pid cannot become another's.
            handle = os.pidfd_open(member.who.pid) if hasattr(os, "pidfd_open") else -1
            try:
                if alive(member.who):
                    os.kill(member.who.pid, number)
            finally:
                if handle >= 0:
                    os.close(handle)


def _by_mark(mark: str) -> Identity | None:
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(MARK) == mark and os.getsid(process.pid) == process.pid:
                return identify(process.pid)
    return None


def _environment() -> dict[str, str]:
    """What a server needs of our environment; keys and secrets of ours stay out of it."""
    return {
        name: value for name, value in os.environ.items() if name in _KEPT or name.startswith(_KEPT_PREFIXES) or name.lower() in _PROXIES
    }


def _rotate(log: Path) -> None:
    """Copy a large log aside and cut it: the server keeps writing to the same file, at its end."""
    with contextlib.suppress(OSError, PaddockError):
        if log.stat().st_size <= MAX_LOG:
            return
        for number in range(LOGS_KEPT - 1, 0, -1):
            with contextlib.suppress(FileNotFoundError):
                log.with_suffix(f".log.{number}").rename(log.with_suffix(f".log.{number + 1}"))
        copy = open_private(log.with_suffix(".log.1"), os.O_WRONLY | os.O_TRUNC)
        with log.open("rb") as source, os.fdopen(copy, "wb") as target:
            shutil.copyfileobj(source, target)
        os.truncate(log, 0)


def _spawn(command: list[str], log: Path, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    make_folder(log.parent)
    handle = open_private(log, os.O_WRONLY | os.O_APPEND)
    try:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=handle, stderr=handle, cwd="/", env=environment, start_new_session=True
        )
    finally:
        os.close(handle)
