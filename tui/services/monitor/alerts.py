"""When an alert begins and when it ends: a state for each rule and what it watches. Pure; times are given.

A figure must be over its limit in every measurement for as long as its rule says. Time without measurements counts neither way; after
`FORGET` seconds without, what was not an alert yet is forgotten, and an alert ends with the last time it was known. So a machine that was
suspended, or a clock that was set, begins and ends nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from typing import Final

from tui.core.alert_words import NOBODY_LOOKED, NOT_WATCHED, PROVIDER_DOWN
from tui.core.monitor import Alert
from tui.core.record import record

POINTS: Final = 5.0
"""Percent points below its limit at which a figure is well again."""
DEGREES: Final = 3.0
"""The same for temperatures."""
SETTLE: Final = 10.0
"""Seconds that a figure must be well until its alert ends."""
GAP: Final = 5.0
"""Seconds between two measurements beyond which the time between them is not counted; longer where they are rarer."""
FORGET: Final = 120.0
"""Seconds without a measurement after which nothing is known any more."""

Key = tuple[str, str]
"""Rule, and what it watches: a GPU's uuid, a folder, a provider; empty for the machine."""


@record(frozen=True)
class Reading:
    """What a rule looks at, measured once.

    Attributes:
        key: Rule and what is watched.
        subject: As `Alert.subject`.
        figure: As `Alert.figure`; of `provider_down` 1 while it does not answer, else 0.
        limit: As `Alert.limit`.
        hold: Seconds that it must be over the limit.
        culprit: Who is to blame, where it is known.
    """

    key: Key
    subject: str
    figure: float
    limit: float
    hold: float
    culprit: str = ""

    @property
    def over(self) -> bool:
        """Past its limit."""
        return self.figure > 0 if self.key[0] == PROVIDER_DOWN else self.figure > self.limit

    @property
    def well(self) -> bool:
        """So far below that an alert may end."""
        if self.key[0] == PROVIDER_DOWN:
            return self.figure == 0
        return self.figure < self.limit - (DEGREES if self.key[0] == "gpu_temperature" else POINTS)

    @property
    def settle(self) -> float:
        """Seconds that it must be well."""
        return 0.0 if self.key[0] == PROVIDER_DOWN else SETTLE


@dataclass
class _State:
    """Of one key: when it was measured last (both clocks), how long it is over or well by now, and its alert."""

    at: float
    time: float
    held: float = 0.0
    well: float | None = None
    well_since: float = 0.0
    started_at: float = 0.0
    worst: float = 0.0
    culprit: str = ""
    over: bool = False
    alert: Alert | None = None


class AlertBook:
    """The alerts that last, and what may become one.

    Attributes:
        last: Number of the newest alert; the next one's is higher.
    """

    def __init__(self, last: int = 0) -> None:
        self.last = last
        self._states: dict[Key, _State] = {}

    @property
    def active(self) -> tuple[Alert, ...]:
        """Those that last, newest first."""
        found = [state.alert for state in self._states.values() if state.alert is not None]
        return tuple(sorted(found, key=lambda alert: (alert.started_at, alert.id), reverse=True))

    def adopt(self, alerts: Iterable[Alert], now: float, time: float) -> None:
        """Go on with alerts that another keeper began; what they watch is found again by its name."""
        for alert in alerts:
            state = _State(now, time, started_at=alert.started_at, worst=alert.figure, culprit=alert.culprit, over=True, alert=alert)
            if alert.rule == PROVIDER_DOWN:
                state.held = max(alert.figure, time - alert.started_at)
            self._states[(alert.rule, alert.subject)] = state
            self.last = max(self.last, alert.id)

    def seen(self, ids: Collection[int]) -> None:
        """Mark alerts as seen; an empty collection: all."""
        for state in self._states.values():
            if state.alert is not None and (not ids or state.alert.id in ids):
                state.alert = replace(state.alert, acknowledged=True)

    def update(
        self,
        readings: Iterable[Reading],
        rules: Collection[str],
        now: float,
        time: float,
        *,
        gone: Callable[[Key], bool] = lambda _key: False,
        every: float = 1.0,
    ) -> tuple[Alert, ...]:
        """Take what was measured; returns the alerts that ended, began or got worse.

        Args:
            readings: Those that could be measured now.
            rules: The rules that this call is about.
            now: Monotonic seconds.
            time: Epoch seconds.
            gone: Whether something is not watched any more: the rule is off, the provider was removed.
            every: Seconds between two calls.
        """
        before = {id(state): state.alert for state in self._states.values()}
        ended: list[Alert] = []
        gap, forget = max(GAP, 2.5 * every), max(FORGET, 3 * every)
        given = set()
        for reading in readings:
            given.add(reading.key)
            state = self._states.pop(reading.key, None) or self._states.pop((reading.key[0], reading.subject), None)
            if state is not None and now - state.at > forget:
                ended += _ended(state, state.time, NOBODY_LOOKED)
                state = None
            state = state or _State(now, time)
            ended += _take(state, reading, now, time, gap)
            if state.over and state.alert is None and state.held >= reading.hold:
                self.last = max(self.last + 1, int(time))
                state.alert = Alert(
                    self.last, reading.key[0], reading.subject, state.worst, reading.limit, state.started_at, culprit=state.culprit
                )
            if state.over or state.alert is not None:
                self._states[reading.key] = state
        for key, state in list(self._states.items()):
            if key in given or key[0] not in rules:
                continue
            if gone(key):
                ended += _ended(self._states.pop(key), time, NOT_WATCHED)
            elif now - state.at > forget:
                ended += _ended(self._states.pop(key), state.time, NOBODY_LOOKED)
        alerts = [(state.alert, before.get(id(state))) for state in self._states.values()]
        return (*ended, *(alert for alert, known in alerts if alert is not None and alert != known))


def _ended(state: _State, time: float, why: str) -> Iterable[Alert]:
    if state.alert is not None:
        yield ended(state.alert, time, why)


def ended(alert: Alert, time: float, why: str) -> Alert:
    """An alert that ends because it is not known any more whether it lasts; a provider did not come back, so it is said why."""
    return replace(alert, ended_at=max(time, alert.started_at), culprit=why if alert.rule == PROVIDER_DOWN else alert.culprit)


def _take(state: _State, reading: Reading, now: float, time: float, gap: float) -> Iterable[Alert]:
    apart = now - state.at
    state.at, state.time = now, time
    if reading.over:
        if not state.over and state.alert is None:
            state.held, state.started_at, state.worst, state.culprit = 0.0, time, 0.0, ""
        elif apart <= gap:
            state.held += apart
        state.over, state.well = True, None
        _worst(state, reading)
        if state.alert is not None:
            state.alert = replace(state.alert, figure=state.worst, limit=reading.limit, culprit=state.culprit)
        return
    state.over = False
    if state.alert is None:
        return
    if reading.limit > state.alert.limit:  # it was set higher: what is over the old one only is no alert
        state.well_since, state.well = time, reading.settle
    elif not reading.well:
        state.well = None
    elif state.well is None:
        state.well, state.well_since = 0.0, time
    elif apart <= gap:
        state.well += apart
    if state.well is not None and state.well >= reading.settle:
        yield replace(state.alert, ended_at=max(state.well_since, state.alert.started_at))
        state.alert = None


def _worst(state: _State, reading: Reading) -> None:
    figure = state.held if reading.key[0] == PROVIDER_DOWN else reading.figure
    if figure >= state.worst:
        state.worst = figure
        state.culprit = reading.culprit or state.culprit
    elif not state.culprit:
        state.culprit = reading.culprit
