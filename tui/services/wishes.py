"""What a person wrote about pulls, read: names of models, limits, times of a start."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Final

from tui.config.kinds import Bytes, Seconds
from tui.core.errors import FailureKind, PaddockError
from tui.core.names import parse
from tui.core.record import record
from tui.text import clean_name

LOWEST: Final = 10**6
"""Bytes a second: below it a limit cannot be kept, as it is for `pulls.bandwidth`."""
LONGEST: Final = 366 * 86_400.0
"""Seconds into the future that a start may be given."""
NONE: Final = ("", "none", "off")
_COMMENT: Final = re.compile(r"(?:^|\s)#.*$")
_CLOCK: Final = re.compile(r"(tomorrow\s+)?(\d{1,2}):(\d{2})\Z")
_LATER: Final = re.compile(r"(?:in\s+|\+)(\d+(?:\.\d+)?)\s*(s|m|min|h|hours?|d|days?)\Z")
_UNITS: Final = {"s": "s", "m": "m", "min": "m", "h": "h", "hour": "h", "hours": "h", "d": "d", "day": "d", "days": "d"}


@record(frozen=True)
class Wanted:
    """A model to fetch.

    Attributes:
        typed: As written, without spaces and comment.
        name: In normal form.
        insecure: Its registry may go without TLS: it was written with `http://`.
    """

    typed: str
    name: str
    insecure: bool = False


def lines_of(text: str) -> list[str]:
    """What stands in a list: one name a line, comments (`#`) and empty lines left out, each once."""
    bare = (_COMMENT.sub("", line).strip() for line in text.splitlines())
    return list(dict.fromkeys(line for line in bare if line))


def read_name(typed: str) -> Wanted:
    """One name; `http://host/namespace/model:tag` is a registry without TLS.

    Raises:
        PaddockError: It breaks the grammar; says which part.
    """
    return Wanted(typed, str(parse(typed)), typed.strip().lower().startswith("http://"))


def read_names(text: str) -> list[Wanted]:
    """All names of a list, each once however it is spelled.

    Raises:
        PaddockError: One breaks the grammar.
    """
    found: dict[str, Wanted] = {}
    for line in lines_of(text):
        wanted = read_name(line)
        before = found.get(parse(line).key)
        found[parse(line).key] = wanted if before is None else Wanted(before.typed, before.name, before.insecure or wanted.insecure)
    return list(found.values())


def read_limit(text: str) -> int | None:
    """Bytes a second of `20 MB`, `20MB/s` or a number; None for nothing and `none`.

    Raises:
        PaddockError: It is no such amount.
    """
    bare = re.sub(r"/s\Z", "", text.strip())
    if bare.lower() in NONE:
        return None
    try:
        value = Bytes(0, empty=True).check(int(bare) if bare.isascii() and bare.isdigit() and len(bare) < 18 else bare)
    except ValueError:
        raise _refused(f"{clean_name(bare, 40)} is no amount", "limit", "Write it like 20MB; none is no limit") from None
    if value is not None and value < LOWEST:
        raise _refused(f"{clean_name(bare, 40)} a second is too little to be kept", "limit", "Give 1MB or more; none is no limit")
    return value


def read_time(text: str, now: float) -> float | None:
    """Epoch seconds of `23:00` (the next one), `tomorrow 7:00`, `in 2h` or `2026-11-22 06:00`; None for nothing and `none`.

    Raises:
        PaddockError: It is no such time, or it is over.
    """
    bare = " ".join(text.lower().split())
    if bare in NONE:
        return None
    wrong = _refused(f"{clean_name(bare, 40)} is no time", "start", "Write it like 23:00, in 2h or tomorrow 7:00; none is at once")
    try:
        later = _LATER.match(bare)
        if later:
            return now + Seconds(0.0, LONGEST).check(f"{later[1]}{_UNITS[later[2]]}")
        local = datetime.fromtimestamp(now)  # noqa: DTZ006 - a person means the clock on the wall
        clock = _CLOCK.match(bare)
        if clock:
            at = local.replace(hour=int(clock[2]), minute=int(clock[3]), second=0, microsecond=0)
            return (at + timedelta(days=1) if clock[1] or at <= local else at).timestamp()
        moment = datetime.fromisoformat(bare).timestamp()
    except (ValueError, OverflowError, OSError):
        raise wrong from None
    if moment <= now:
        raise _refused(f"{clean_name(bare, 40)} is over", "start", "Give a time to come; none is at once")
    return moment


def problem(read: object, text: str, *more: float) -> str | None:
    """What is wrong with a text in the words of its reader, with the remedy; None where it is fine."""
    assert callable(read)
    try:
        read(text, *more)
    except PaddockError as error:
        failure = error.failure
        return f"{failure.what} ({failure.where}). {failure.remedy}."
    return None


def _refused(what: str, where: str, remedy: str) -> PaddockError:
    return PaddockError.of(what, where, remedy, FailureKind.BAD_REQUEST)
