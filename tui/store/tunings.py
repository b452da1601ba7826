"""What was measured of models on purpose: optimisations, before and after, and the levels of one model beside each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, Final

from tui.core.clock import SYSTEM, Clock
from tui.core.errors import Failure
from tui.core.levels import Answer, LevelFigures
from tui.core.library import EventKind
from tui.core.names import normal
from tui.core.tuning import Change, Measured, Optimised, OptimiseState
from tui.store import codec
from tui.store.identity import Identity, alive, myself
from tui.store.measurements import Measurements
from tui.store.model_events import MODEL_EVENTS
from tui.text import clean_block, clean_label, clean_name

if TYPE_CHECKING:
    import sqlite3

    from tui.store.db import Database

TUNINGS: Final = "tunings"
MOST: Final = 2000
"""Newest rows that are read."""
_KEPT: Final = 20
"""Optimisations of one model that are kept."""


class Tunings:
    """The repository of optimisations and levels; anyone writes."""

    def __init__(self, database: Database, clock: Clock = SYSTEM) -> None:
        self._db = database
        self._clock = clock

    # --- optimisations ------------------------------------------------------------------------------------------------

    async def begin(self, provider: str, model: str, changes: tuple[Change, ...]) -> Optimised:
        """Note that an optimisation begins, in this process."""
        row = Optimised(0, clean_name(provider), normal(model), self._clock.time(), OptimiseState.RUNNING, changes)
        found = _found(row) | {"who": codec.mapping(codec.dump(myself()))}

        def append(connection: sqlite3.Connection) -> int:
            query = "INSERT INTO optimised (at, provider, model, found) VALUES (?, ?, ?, ?)"
            number = connection.execute(query, (row.at, row.provider, row.model, codec.dump(found))).lastrowid or 0
            old = "DELETE FROM optimised WHERE provider = ? AND model = ? AND id <= ?"
            connection.execute(old, (row.provider, row.model, _oldest(connection, row.provider, row.model)))
            return number

        return replace(row, id=await self._db.run(append, (TUNINGS,)))

    async def end(self, row: Optimised) -> None:
        """Note how it ended; what was kept is also an event of the model."""
        event = ("optimised: " + ", ".join(change.diff for change in row.changes))[:500]

        def put(connection: sqlite3.Connection) -> None:
            connection.execute("UPDATE optimised SET found = ? WHERE id = ?", (codec.dump(_found(row)), row.id))
            if row.state == OptimiseState.KEPT:
                query = "INSERT INTO model_event (at, provider, model, kind, text) VALUES (?, ?, ?, ?, ?)"
                connection.execute(query, (self._clock.time(), row.provider, row.model, EventKind.CONFIGURED.value, event))

        await self._db.run(put, (TUNINGS, MODEL_EVENTS))

    async def enter(self, provider: str, model: str, figures: Measured, *, tuned: bool = False) -> None:
        """Enter what was measured under the settings in force into the model's profile; see `Measurements.add_measured`."""
        await Measurements(self._db, self._clock).add_measured(provider, model, figures, tuned=tuned)

    async def take_interrupted(self) -> tuple[Optimised, ...]:
        """The optimisations whose process is gone, each told once: to one of the processes that ask."""

        def take(connection: sqlite3.Connection) -> list[Optimised]:
            found = []
            for row in connection.execute("SELECT id, at, provider, model, found FROM optimised ORDER BY id DESC LIMIT ?", (MOST,)):
                one = _optimised(row)
                if one.state == OptimiseState.RUNNING and not alive(_who(row[4])):
                    found.append(replace(one, state=OptimiseState.INTERRUPTED))
            for one in found:
                connection.execute("UPDATE optimised SET found = ? WHERE id = ?", (codec.dump(_found(one)), one.id))
            return found

        return tuple(await self._db.run(take, (TUNINGS,)))

    def elsewhere(self, provider: str) -> str:
        """The model of a provider that another living process optimises now; empty where none does."""
        query = "SELECT id, at, provider, model, found FROM optimised WHERE provider = ? ORDER BY id DESC LIMIT ?"
        rows = self._db.read(lambda connection: connection.execute(query, (clean_name(provider), MOST)).fetchall())
        me = myself()
        for row in rows:
            if _optimised(row).state == OptimiseState.RUNNING and (who := _who(row[4])) != me and alive(who):
                return str(row[3])
        return ""

    def optimised(self) -> dict[tuple[str, str], Optimised]:
        """The newest optimisation of each model, by provider and normal name."""
        query = "SELECT id, at, provider, model, found FROM optimised ORDER BY id DESC LIMIT ?"
        rows = self._db.read(lambda connection: connection.execute(query, (MOST,)).fetchall())
        found: dict[tuple[str, str], Optimised] = {}
        for row in rows:
            found.setdefault((row[2], row[3]), _optimised(row))
        return found

    # --- levels -------------------------------------------------------------------------------------------------------

    async def add_level(self, figures: LevelFigures) -> None:
        """Keep how a level did, in place of what was known of the same model beside the same base."""
        key = (clean_name(figures.provider), normal(figures.base), normal(figures.model))
        hidden = ("provider", "base", "model", "level", "at")
        found = {name: value for name, value in codec.mapping(codec.dump(figures)).items() if name not in hidden}
        values = (figures.at, *key, clean_name(figures.level, 40), codec.dump(found))

        def put(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM level WHERE provider = ? AND base = ? AND model = ?", key)
            connection.execute("INSERT INTO level (at, provider, base, model, level, found) VALUES (?, ?, ?, ?, ?, ?)", values)

        await self._db.run(put, (TUNINGS,))

    def levels(self) -> dict[tuple[str, str], tuple[LevelFigures, ...]]:
        """How the levels of each base did, by provider and normal name of the base; in the order in which they were measured."""
        query = "SELECT at, provider, base, model, level, found FROM level ORDER BY id DESC LIMIT ?"
        rows = self._db.read(lambda connection: connection.execute(query, (MOST,)).fetchall())
        found: dict[tuple[str, str], tuple[LevelFigures, ...]] = {}
        for at, provider, base, model, level, text in reversed(rows):
            more = _checked(LevelFigures, codec.mapping(text))
            one = LevelFigures(provider, base, model, level, at, **more)
            found[provider, base] = (*found.get((provider, base), ()), one)
        return found


def _oldest(connection: sqlite3.Connection, provider: str, model: str) -> int:
    """The id up to which a model's optimisations are too old to keep."""
    query = "SELECT id FROM optimised WHERE provider = ? AND model = ? ORDER BY id DESC LIMIT 1 OFFSET ?"
    row = connection.execute(query, (provider, model, _KEPT)).fetchone()
    return 0 if row is None else int(row[0])


def _found(row: Optimised) -> dict[str, Any]:
    plain = {
        "state": row.state,
        "changes": [codec.mapping(codec.dump(change)) for change in row.changes],
        "words": list(row.words),
        "before": _measured(row.before),
        "after": _measured(row.after),
        "failure": codec.mapping(codec.dump_failure(row.failure)) or None,
    }
    return {name: value for name, value in plain.items() if value is not None}


def _measured(measured: Measured | None) -> dict[str, Any] | None:
    return None if measured is None else codec.mapping(codec.dump(measured))


def _who(text: str) -> Identity:
    found = codec.mapping(text).get("who")
    known = found if isinstance(found, dict) else {}
    pid = known.get("pid")
    return Identity(pid if isinstance(pid, int) else 0, str(known.get("start", "")), str(known.get("boot", "")))


def _optimised(row: Any) -> Optimised:
    number, at, provider, model, text = row
    found = codec.mapping(text)
    changes = [change for item in _list(found.get("changes")) if (change := _change(item)) is not None]
    words = tuple(clean_label(str(word), 200) for word in _list(found.get("words")))
    return Optimised(
        number, provider, model, at, clean_name(str(found.get("state", "")), 40), tuple(changes), _read(found.get("before")),
        _read(found.get("after")), words, _failure(found.get("failure")),
    )  # fmt: skip


def _change(item: Any) -> Change | None:
    if not isinstance(item, Mapping) or not isinstance(item.get("new"), int):
        return None
    old = item.get("old")
    return Change(
        clean_name(str(item.get("key", "")), 40),
        old if isinstance(old, int) else None,
        item["new"],
        clean_label(str(item.get("effect", ""))),
    )


def _read(item: Any) -> Measured | None:
    if not isinstance(item, Mapping):
        return None
    answers = tuple(
        Answer(clean_block(str(one.get("text", ""))), bool(one.get("cut")))
        for one in _list(item.get("answers"))
        if isinstance(one, Mapping)
    )
    return Measured(**{**_checked(Measured, item), "answers": answers})


def _failure(item: Any) -> Failure | None:
    return codec.load_failure(codec.dump(item)) if isinstance(item, Mapping) else None


def _list(item: Any) -> list[Any]:
    return item if isinstance(item, list) else []


def _checked(kind: type, found: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a flat record that hold what they should: figures, or short texts."""
    kept: dict[str, Any] = {}
    for field in fields(kind):
        value = found.get(field.name)
        if isinstance(value, bool) or value is None:
            continue
        if isinstance(value, str) and "str" in str(field.type):
            kept[field.name] = clean_label(value, 300)
        elif isinstance(value, (int, float)) and "str" not in str(field.type):
            kept[field.name] = value
    return kept
