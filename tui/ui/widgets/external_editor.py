"""Writing a text in the user's own editor: `$VISUAL`, else `$EDITOR`, started without a shell."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from textual.app import SuspendNotSupported

from tui.core.errors import FailureKind, PaddockError
from tui.core.threads import in_daemon_thread
from tui.text import clean_block, clean_label, clean_name, size

FOLDER: Final = "editing"
"""Below the state folder: one folder for each text being written, locked while it is."""
SIZE_LIMIT: Final = 8_000_000


def editor_command(environ: Mapping[str, str]) -> list[str]:
    """The editor and its arguments.

    Raises:
        PaddockError: None is set, it cannot be read as a command, or there is no such program; says what to set.
    """
    name = "VISUAL" if environ.get("VISUAL", "").strip() else "EDITOR"
    given = environ.get(name, "").strip()
    remedy = "Set EDITOR to a program you have, as in EDITOR=nano"
    if not given:
        raise PaddockError.of("No editor is set", "$VISUAL, $EDITOR", remedy, FailureKind.CONFIG)
    where = f"{name}={clean_name(given, 60)}"
    try:
        command = shlex.split(given)
    except ValueError:
        raise PaddockError.of("The editor cannot be read as a command: a quote is open", where, remedy, FailureKind.CONFIG) from None
    if not command or shutil.which(command[0], path=environ.get("PATH")) is None:
        raise PaddockError.of("The editor is not there", where, remedy, FailureKind.CONFIG)
    return command


def sweep(state: Path) -> None:
    """Remove what editing left behind when the program was killed; what another Paddock writes in is locked, and stays."""
    with contextlib.suppress(OSError):
        for folder in (state / FOLDER).iterdir():
            with contextlib.suppress(OSError), _locked(folder):
                shutil.rmtree(folder)


async def edit_text(
    app: Any, text: str, state: Path, environ: Mapping[str, str] | None = None, *, cleaned: Callable[[str], str] = clean_block
) -> str | None:
    """Hand the terminal to the editor until it ends; returns the cleaned text, None where the editor refused (its exit code).

    Args:
        app: The running app; it is suspended meanwhile, its loop goes on.
        text: What stands there at first.
        state: The state folder; the file is in a folder of its own below it, readable by the user only, and removed afterwards.
        environ: Where the editor is looked up; the process's own unless given.
        cleaned: What is done to the text that comes back.

    Raises:
        PaddockError: There is no editor, it cannot be started, or what it left cannot be read.
    """
    command = await in_daemon_thread(lambda: editor_command(os.environ if environ is None else environ))
    where = clean_name(str(state / FOLDER))
    try:
        folder = await in_daemon_thread(lambda: _new_folder(state))
        try:
            with _locked(folder):
                path = folder / "prompt.md"
                await in_daemon_thread(lambda: _write(path, text))
                with app.suspend(), _no_interrupts():
                    code = await _run([*command, str(path)])
                return None if code else await in_daemon_thread(lambda: _read(path, cleaned))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    except SuspendNotSupported:
        raise PaddockError.of("This terminal cannot be handed to an editor", "", "Write here", FailureKind.UNSUPPORTED) from None
    except OSError as error:
        reason = clean_label(error.strerror or "the system refuses", 80)
        raise PaddockError.of(
            f"The editor was not started: {reason}", clean_name(error.filename or where), "Look at the program and the folder"
        ) from None


async def _run(command: list[str]) -> int:
    """The editor's exit code; where Paddock ends meanwhile, the editor is told as by a terminal that closes."""
    begun: list[subprocess.Popen[bytes]] = []
    ended = threading.Event()

    def work() -> int:
        process = subprocess.Popen(command)
        begun.append(process)
        if ended.is_set():
            process.send_signal(signal.SIGHUP)
        return process.wait()

    try:
        return await in_daemon_thread(work)
    except asyncio.CancelledError:
        ended.set()
        for process in begun:
            process.send_signal(signal.SIGHUP)
        raise


def _new_folder(state: Path) -> Path:
    top = state / FOLDER
    top.mkdir(mode=0o700, parents=True, exist_ok=True)
    top.chmod(0o700)
    return Path(tempfile.mkdtemp(prefix="prompt-", dir=top))


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold a folder; raises BlockingIOError where another process does."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def _no_interrupts() -> Iterator[None]:
    """Ctrl+c in the editor's terminal is the editor's: a handler of ours is not inherited, being ignored would be."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGQUIT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _write(path: Path, text: str) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
        file.write(f"{text}\n" if text else "")


def _read(path: Path, cleaned: Callable[[str], str]) -> str:
    """What the editor left, without the line break at its end; a file it removed is an empty text."""
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW), "rb") as file:  # noqa: PTH123
            data = file.read(SIZE_LIMIT + 1)
    except FileNotFoundError:
        return ""
    if len(data) > SIZE_LIMIT:
        raise PaddockError.of(f"The text has more than {size(SIZE_LIMIT)}", "", "Attach it as a file: /attach FILE", FailureKind.REFUSED)
    return cleaned(data.decode("utf-8-sig", "replace")).removesuffix("\n")
