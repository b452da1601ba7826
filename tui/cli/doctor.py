"""doctor: what may be wrong with the installation, each with a remedy."""

from __future__ import annotations

import asyncio
import os
import platform
import shutil
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from tui import __version__
from tui.cli.context import Context
from tui.cli.output import DONE, FAILED, emit, line
from tui.cli.providers import check
from tui.config.paths import ensure_dirs
from tui.core.errors import Failure, PaddockError
from tui.providers.address import display_url
from tui.services.jobs import logout_note
from tui.services.locks import WORKER_LOCK, read_holder
from tui.text import clean_name

KINDS: Final = ("NVIDIA", "AMD", "Intel", "Apple", "Tegra")
_DRIVER: Final = "See whether its driver is loaded and fits its library: after an update of it, restart the machine"

Check = tuple[str, bool, str, str]
"""Name, whether it is well, what was found, remedy."""


async def doctor(context: Context) -> int:
    """Check everything; 1 where something is wrong."""
    checks = [*_settings(context), *_program(), *_terminal(), *_place(context), *await _servers(context)]
    checks += await _gpus(context)
    checks.append(_worker(context))
    note = await asyncio.to_thread(logout_note)
    checks.append(("logout", not note, note or "downloads survive it", "Run loginctl enable-linger" if note else ""))
    well = all(check[1] for check in checks)
    if context.json:
        emit({"ok": well, "checks": [dict(zip(("name", "ok", "found", "remedy"), check, strict=True)) for check in checks]})
    else:
        for name, ok, found, remedy in checks:
            line(f"{'ok     ' if ok else 'problem'}  {name:<9}  {found}{f'. {remedy}.' if remedy and not ok else ''}")
    return DONE if well else FAILED


def _settings(context: Context) -> list[Check]:
    problems = context.config.problems.value
    if not problems:
        return [("config", True, clean_name(str(context.paths.config_file)), "")]
    return [("config", problem.warning, problem.sentence(), problem.remedy) for problem in problems]


def _program() -> list[Check]:
    found = [f"paddock {__version__}", f"python {platform.python_version()}"]
    missing = []
    for name in ("textual", "httpx", "pydantic", "psutil"):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    checks: list[Check] = [("versions", not missing, ", ".join(found), f"Install {' '.join(missing)}")]
    return checks


def _terminal() -> list[Check]:
    term = clean_name(os.environ.get("TERM", ""), 40)
    colours = (
        "no colour (NO_COLOR)" if os.environ.get("NO_COLOR") else clean_name(os.environ.get("COLORTERM", ""), 40) or "256 colours or fewer"
    )
    encoding = (sys.stdout.encoding or "").lower().replace("-", "")
    checks: list[Check] = [
        ("terminal", term not in ("", "dumb"), f"TERM={term or 'not set'}, {colours}", "Set TERM to your terminal's name"),
        ("text", encoding == "utf8", sys.stdout.encoding or "unknown", "Use a UTF-8 locale, such as LANG=C.UTF-8"),
    ]
    if os.environ.get("TMUX"):
        there = shutil.which("tmux") is not None
        checks.append(("clipboard", there, "tmux load-buffer" if there else "inside tmux, but no tmux program", "Put tmux on the PATH"))
    return checks


def _place(context: Context) -> list[Check]:
    try:
        ensure_dirs(context.paths)
    except PaddockError as error:
        return [("home", False, error.failure.sentence(), error.failure.remedy)]
    free = shutil.disk_usage(context.paths.data).free
    return [
        ("home", True, clean_name(str(context.paths.data)), ""),
        ("log", True, clean_name(str(context.paths.logs / "app.log")), ""),
        ("disk", free > 500_000_000, f"{context.size(free)} free", "Make room"),
    ]


async def _servers(context: Context) -> list[Check]:
    try:
        known = await context.endpoints()
    except PaddockError as error:
        return [("provider", False, error.failure.sentence(), error.failure.remedy)]
    known += await context.discovered(known)
    checks: list[Check] = []
    for endpoint, answer in zip(known, await asyncio.gather(*(check(context, endpoint) for endpoint in known)), strict=True):
        if isinstance(answer, Failure):
            checks.append(("provider", False, f"{endpoint.name}: {answer.sentence()}", answer.remedy))
        else:
            checks.append(("provider", True, f"{endpoint.name} {answer.version} at {display_url(endpoint.url)}".replace("  ", " "), ""))
    return checks or [("provider", False, "none was found", "Start a model server, or run paddock providers add URL")]


async def _gpus(context: Context) -> list[Check]:
    """Which sources tell about which GPUs, and why there is none."""
    from tui.cli.monitoring import measure
    from tui.hardware.gpus import NO_GPU

    if not context.settings.monitor.gpu:
        return [("gpu", True, "not asked (monitor.gpu is off)", "")]
    sample = await measure(context, frozenset())
    found, note = sample.gpus, sample.gpu_note
    if not found:
        none = note == NO_GPU
        words = f"{NO_GPU}: looked for {', '.join(KINDS)}" if none else note
        return [("gpu", none, words, "" if none else _DRIVER)]
    checks: list[Check] = []
    for source in dict.fromkeys(gpu.source for gpu in found if gpu.source):
        names = [gpu.name or f"GPU{gpu.index}" for gpu in found if gpu.source == source]
        checks.append(("gpu", True, f"{source}: {', '.join(names)}", ""))
    checks += [("gpu", False, f"{gpu.name}: {gpu.note or 'no figures'}", _DRIVER) for gpu in found if not gpu.source or gpu.lost]
    return checks


def _worker(context: Context) -> Check:
    holder = read_holder(context.paths.locks / WORKER_LOCK)
    if holder is None:
        return ("worker", True, "not running; it starts when there is work", "")
    return (
        "worker",
        holder.version == __version__,
        f"pid {holder.who.pid}, version {holder.version}",
        "It hands over by itself at the next pull",
    )
