"""Reads a command, runs it, and turns how it ended into an exit code."""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import os
import signal
import sys
from argparse import Namespace
from collections.abc import Coroutine
from importlib import import_module
from keyword import iskeyword
from typing import Any, Final

from tui.cli.output import DONE, FAILED, INTERRUPTED, USAGE, message, report
from tui.cli.parser import build
from tui.core.errors import PaddockError, limit_of
from tui.core.options import AppOptions
from tui.text import clean_label, clean_name

_MODULES: Final = {
    "ls": "library_table", "show": "library_table", "compare": "library_table", "pin": "library_table", "unpin": "library_table",
    "ps": "models", "search": "library_catalogue", "load": "changes",
    "unload": "changes", "pull": "pull", "pulls": "pulls", "push": "make", "create": "make", "import": "make",
    "configure": "library_making", "export": "library_making", "backup": "library_making", "restore-backup": "library_making",
    "cp": "library_kept", "mv": "library_kept", "rm": "library_kept", "restore": "library_kept", "versions": "library_kept",
    "update": "library_updates", "outdated": "library_updates",
    "fit": "library_fit", "verify": "library_disk", "clean": "library_disk",
    "optimise": "library_tuning", "quantize": "library_tuning", "levels": "library_tuning",
    "chat": "chat", "complete": "complete", "chats": "chats", "providers": "providers", "monitor": "monitoring", "status": "machine",
    "doctor": "doctor", "config": "settings",
}  # fmt: skip
"""Where each command is; its function has its name (and `_` where that is a word of Python). Only the one that runs is imported."""
_WITH_BAD_SETTINGS: Final = ("config", "doctor", "status")
"""Commands that work while the configuration has errors."""
_LOG: Final = logging.getLogger("paddock.cli")


def run(argv: list[str], options: AppOptions, demo_url: str = "") -> int:
    """Run one command; returns the exit code of settings.md.

    Args:
        argv: The command and its arguments.
        options: The global options.
        demo_url: The demo server's address, with `--demo`.
    """
    _open_streams()
    try:
        args = build().parse_args(argv)
    except SystemExit as end:
        return DONE if end.code in (0, None) else USAGE
    except BrokenPipeError:
        return _nobody_reads()
    try:
        code = _run(args, options, demo_url)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        return _nobody_reads()
    except PaddockError as error:
        return report(error.failure)
    except OSError as error:
        _nobody_reads()
        place = f" ({clean_name(str(error.filename))})" if error.filename else ""
        message(f"{clean_label(error.strerror or 'A file could not be used')}{place}.")
        return FAILED
    except Exception as error:
        if (failure := limit_of(error)) is not None:
            return report(failure)
        _start_log()
        _LOG.exception("the command %s failed", args.command)
        message(f"paddock {args.command} met a fault of its own. Please report it; the log (paddock doctor names it) has the details.")
        return FAILED
    return code


def _open_streams() -> None:
    """Replace standard streams that were closed (`>&-`), so that nothing we open takes their place."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115  (lives as long as we)


def _start_log() -> None:
    """For the fault that is about to be written down; without it Python would show it on the terminal."""
    from tui.config.paths import find_paths
    from tui.services.logs import start_log

    start_log(find_paths().logs, "info")


def _nobody_reads() -> int:
    """Standard output is gone; the interpreter must not complain about it at its end."""
    with contextlib.suppress(OSError, io.UnsupportedOperation, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return DONE


def _run(args: Namespace, options: AppOptions, demo_url: str) -> int:
    if args.command == "completions":
        from tui.cli.completions import script

        print(script(args.shell), end="")
        return DONE
    return asyncio.run(_work(args, options, demo_url))


async def _work(args: Namespace, options: AppOptions, demo_url: str) -> int:
    from tui.cli.context import Context

    context = Context(options, args, demo_url)
    try:
        wrong = [problem for problem in context.config.problems.value if not problem.warning]
        if wrong and args.command not in _WITH_BAD_SETTINGS:
            for problem in wrong:
                report(problem.failure())
            return USAGE
        function = f"{args.command}_" if iskeyword(args.command) else args.command.replace("-", "_")
        command = getattr(import_module(f"tui.cli.{_MODULES[args.command]}"), function)
        return await _stoppable(command(context))
    finally:
        await context.aclose()


async def _stoppable(work: Coroutine[Any, Any, int]) -> int:
    """Run to the end, or until somebody ends us: then with the code of that signal, after tidying up."""
    task = asyncio.ensure_future(work)
    loop, got = asyncio.get_running_loop(), 0

    def stop(number: int) -> None:
        nonlocal got
        got = number
        task.cancel()

    numbers = (signal.SIGTERM, signal.SIGHUP)
    with contextlib.suppress(ValueError, RuntimeError):  # not on the main thread
        for number in numbers:
            loop.add_signal_handler(number, stop, number)
    try:
        return await task
    except asyncio.CancelledError:
        if got:
            return 128 + got
        raise
    finally:
        for number in numbers:
            with contextlib.suppress(ValueError, RuntimeError):
                loop.remove_signal_handler(number)
