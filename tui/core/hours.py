"""Hours of the day in which the queue may work: `23:00-07:00`, in this machine's time."""

from __future__ import annotations

import re
from datetime import datetime, time, timedelta
from typing import Final

PATTERN: Final = r"(?:[01]\d|2[0-3]):[0-5]\d-(?:[01]\d|2[0-3]):[0-5]\d"
"""What the setting looks like where it is not empty."""


def opens_at(hours: str, now: float) -> float | None:
    """Epoch seconds at which the hours begin next; None while they last, and for no hours.

    The two times are wall-clock times of this machine, so a change to summer time moves them as a person expects.
    Equal times mean the whole day.
    """
    match = re.fullmatch(PATTERN, hours)
    if match is None:
        return None
    begin, end = (time.fromisoformat(part) for part in hours.split("-"))
    local = datetime.fromtimestamp(now)  # noqa: DTZ006 - the hours are those of the wall clock
    clock = local.time()
    if begin == end or (begin <= clock < end if begin < end else clock >= begin or clock < end):
        return None
    opening = datetime.combine(local.date(), begin)
    if opening <= local:
        opening = datetime.combine(local.date() + timedelta(days=1), begin)
    return opening.timestamp()
