"""What a command was given, read: names of models, limits, times."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Final, TypeVar

from tui.cli.context import wrong_usage
from tui.cli.output import read_input
from tui.core.errors import FailureKind, PaddockError
from tui.core.names import parse
from tui.services import wishes
from tui.services.wishes import Wanted
from tui.text import clean_name

MAX_LIST: Final = 1_000_000
"""Bytes of a file of names; more is a mistake rather than a list."""
T = TypeVar("T")


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
            lines += [(bare, f"{shown}:{number}") for bare in wishes.lines_of(one)]
    found: dict[str, Wanted] = {}
    for text, where in lines:
        try:
            wanted = wishes.read_name(text)
        except PaddockError as error:
            wrong = wrong_usage(error).failure
            raise PaddockError.of(wrong.what, where or wrong.where, wrong.remedy, FailureKind.CONFIG) from None
        key = parse(wanted.name).key
        plain = insecure or wanted.insecure or (key in found and found[key].insecure)
        found[key] = Wanted(wanted.typed, wanted.name, plain)
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
    return _given(wishes.read_limit, text, where)


def read_time(text: str, where: str, now: float) -> float | None:
    """Epoch seconds of `23:00` (the next one), `+2h`, or `2026-11-22 06:00`; None for `none`.

    Raises:
        PaddockError: It is no such time, or it is over; of kind CONFIG.
    """
    return _given(wishes.read_time, text, where, now)


def _given(read: Callable[..., T], text: str, where: str, *more: float) -> T:
    """What was given to an option; what is wrong with it is wrong usage, there. Nothing at all is a slip, not a wish."""
    try:
        return read(text if text.strip() else "nothing", *more)
    except PaddockError as error:
        raise PaddockError(replace(error.failure, where=where, kind=FailureKind.CONFIG)) from None


def time_words(moment: float, now: float) -> str:
    """`23:00` within the next day, else with the date, as this machine's clock says."""
    local = datetime.fromtimestamp(moment)  # noqa: DTZ006
    return local.strftime("%H:%M" if abs(moment - now) < 86_400 else "%Y-%m-%d %H:%M")
