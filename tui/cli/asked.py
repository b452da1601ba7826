"""What a command was given, read: names of models, limits, times."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from tui.cli.context import wrong_usage
from tui.cli.output import read_input
from tui.config.kinds import Bytes, Seconds
from tui.core.errors import FailureKind, PaddockError
from tui.core.names import parse
from tui.core.record import record
from tui.text import clean_name

MAX_LIST: Final = 1_000_000
"""Bytes of a file of names; more is a mistake rather than a list."""
LOWEST: Final = 10**6
"""Bytes a second: below it a limit cannot be kept, as it is for `pulls.bandwidth`."""
LONGEST: Final = 366 * 86_400.0
"""Seconds into the future that a start may be given."""
NONE: Final = ("none", "off")
_TAIL: Final = re.compile(r"(?:^|\s)#.*$")
_CLOCK: Final = re.compile(r"(\d{1,2}):(\d{2})\Z")


@record(frozen=True)
class Wanted:
    """A model to fetch: its name in normal form, and whether its registry may go without TLS."""

    name: str
    insecure: bool = False


async def read_names(given: Sequence[str], file: str, *, insecure: bool = False) -> list[Wanted]:
    """The models of arguments and of a file (`-`: standard input), each once however it is spelled, in their order.

    Raises:
        PaddockError: A name breaks the grammar, or the file cannot be read; of kind CONFIG.
    """
    lines = [(text, "") for text in given]
    if file:
        shown = "standard input" if file == "-" else clean_name(file)
        text = await _listed(file, shown)
        for number, one in enumerate(text.splitlines(), 1):
            bare = _TAIL.sub("", one).strip()
            if bare:
                lines.append((bare, f"{shown}:{number}"))
    found: dict[str, Wanted] = {}
    for text, where in lines:
        try:
            name = parse(text)
        except PaddockError as error:
            wrong = wrong_usage(error).failure
            raise PaddockError.of(wrong.what, where or wrong.where, wrong.remedy, FailureKind.CONFIG) from None
        open_ = insecure or text.strip().lower().startswith("http://")
        before = found.get(name.key)
        found[name.key] = Wanted(str(name), open_ or (before is not None and before.insecure))
    return list(found.values())


async def _listed(file: str, shown: str) -> str:
    try:
        if file == "-":
            data = await read_input()
        else:
            path = Path(file).expanduser()
            if path.exists() and not path.is_file() and not path.is_fifo():
                raise PaddockError.of("This is not a file", shown, "Name a text file with one model a line", FailureKind.CONFIG)
            with path.open("rb") as handle:
                data = handle.read(MAX_LIST + 1)
    except OSError as error:
        why = clean_name(error.strerror or "not readable").lower()
        raise PaddockError.of(f"The list cannot be read: {why}", shown, "Check its name", FailureKind.CONFIG) from error
    if len(data) > MAX_LIST or b"\0" in data:
        raise PaddockError.of("This is no list of models", shown, "Name a text file with one model a line", FailureKind.CONFIG)
    return data.decode("utf-8-sig", "replace")


def read_limit(text: str, where: str) -> int | None:
    """Bytes a second of `20MB`, `20 MB/s` or a number; None for `none`.

    Raises:
        PaddockError: It is no such amount; of kind CONFIG.
    """
    bare = text.strip()
    if bare.lower() in NONE:
        return None
    try:
        return Bytes(LOWEST).check(bare)
    except ValueError:
        remedy = "Write it like 20MB, from 1 MB, or none"
        raise PaddockError.of(f"{clean_name(text, 40)} is not a limit", where, remedy, FailureKind.CONFIG) from None


def read_time(text: str, where: str, now: float) -> float | None:
    """Epoch seconds of `23:00` (the next one), `+2h`, or `2026-11-22 06:00`; None for `none`.

    Raises:
        PaddockError: It is no such time, or it is over; of kind CONFIG.
    """
    bare, remedy = text.strip(), "Write it like 23:00, +2h, 2026-11-22 06:00, or none"
    if bare.lower() in NONE:
        return None
    wrong = PaddockError.of(f"{clean_name(text, 40)} is not a time", where, remedy, FailureKind.CONFIG)
    try:
        if bare.startswith("+"):
            return now + Seconds(0.0, LONGEST).check(bare[1:])
        local = datetime.fromtimestamp(now)  # noqa: DTZ006 - a person means the clock on the wall
        clock = _CLOCK.match(bare)
        if clock:
            at = local.replace(hour=int(clock[1]), minute=int(clock[2]), second=0, microsecond=0)
            return (at if at > local else at + timedelta(days=1)).timestamp()
        moment = datetime.fromisoformat(bare).timestamp()
    except (ValueError, OverflowError, OSError):
        raise wrong from None
    if moment <= now:
        raise PaddockError.of(f"{clean_name(text, 40)} is over", where, remedy, FailureKind.CONFIG)
    return moment


def time_words(moment: float, now: float) -> str:
    """`23:00` within the next day, else with the date, as this machine's clock says."""
    local = datetime.fromtimestamp(moment)  # noqa: DTZ006
    return local.strftime("%H:%M" if abs(moment - now) < 86_400 else "%Y-%m-%d %H:%M")
