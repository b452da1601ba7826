"""Reads a command, runs it, and turns how it ended into an exit code."""

from __future__ import annotations

import asyncio
import os
import sys
from argparse import Namespace
from collections.abc import Awaitable, Callable
from typing import Final

from tui.cli import chat, chats, doctor, machine, models, providers, pulls, settings
from tui.cli.completions import script
from tui.cli.context import Context
from tui.cli.output import DONE, FAILED, INTERRUPTED, USAGE, message, report
from tui.cli.parser import build
from tui.core.errors import PaddockError
from tui.core.options import AppOptions
from tui.text import clean_label, clean_name

_COMMANDS: Final[dict[str, Callable[[Context], Awaitable[int]]]] = {
    "ls": models.ls, "ps": models.ps, "show": models.show, "search": models.search, "cp": models.cp, "rm": models.rm,
    "load": models.load, "unload": models.unload, "pull": pulls.pull, "pulls": pulls.pulls, "chat": chat.chat,
    "complete": chat.complete, "chats": chats.chats, "providers": providers.providers, "monitor": machine.monitor,
    "status": machine.status, "doctor": doctor.doctor, "config": settings.config,
}  # fmt: skip
_WITH_BAD_SETTINGS: Final = ("config", "doctor", "status")
"""Commands that work while the configuration has errors."""


def main(argv: list[str], options: AppOptions, demo_url: str = "") -> int:
    """Run one command; returns the exit code of settings.md.

    Args:
        argv: The command and its arguments.
        options: The global options.
        demo_url: The demo server's address, with `--demo`.
    """
    try:
        args = build().parse_args(argv)
    except SystemExit as end:
        return DONE if end.code in (0, None) else USAGE
    try:
        code = _run(args, options, demo_url)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Nobody reads any more; the interpreter must not complain about it at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except PaddockError as error:
        return report(error.failure)
    except OSError as error:
        message(f"{clean_label(error.strerror or 'A file could not be used')} ({clean_name(str(error.filename or 'system'))}).")
        return FAILED
    return code


def _run(args: Namespace, options: AppOptions, demo_url: str) -> int:
    if args.command == "completions":
        print(script(args.shell), end="")
        return DONE
    return asyncio.run(_work(args, options, demo_url))


async def _work(args: Namespace, options: AppOptions, demo_url: str) -> int:
    context = Context(options, args, demo_url)
    try:
        wrong = [problem for problem in context.config.problems.value if not problem.warning]
        if wrong and args.command not in _WITH_BAD_SETTINGS:
            for problem in wrong:
                report(problem.failure())
            return USAGE
        return await _COMMANDS[args.command](context)
    finally:
        await context.aclose()
