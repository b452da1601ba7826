"""Moves of models between names, noted before their first step: what was interrupted is known, and whose trash it is."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

from tui.core.clock import SYSTEM, Clock
from tui.core.record import record
from tui.store.identity import Identity, myself

if TYPE_CHECKING:
    from tui.store.db import Database

MODEL_MOVES: Final = "model moves"


class MoveKind(StrEnum):
    """Why a model goes from one name to another."""

    TRASH = "trash"
    RENAME = "rename"
    RESTORE = "restore"


@record(frozen=True)
class Move:
    """A move; `done` ones are kept only for the trash, which is emptied by who filled it.

    Attributes:
        server: What tells servers apart, whatever they are called.
        source: The exact name that goes.
        target: The exact name that comes.
        who: The process that moves it.
    """

    id: int
    at: float
    server: str
    kind: MoveKind
    source: str
    target: str
    done: bool
    who: Identity


class ModelMoves:
    """The repository of moves."""

    def __init__(self, database: Database, clock: Clock = SYSTEM) -> None:
        self._db = database
        self._clock = clock

    async def begin(self, server: str, kind: MoveKind, source: str, target: str) -> int:
        """Note that a move begins; returns its number."""
        me = myself()
        values = (self._clock.time(), server, kind.value, source, target, me.pid, me.start, me.boot)
        query = "INSERT INTO model_move (at, server, kind, source, target, pid, start, boot) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
        return await self._db.run(lambda connection: connection.execute(query, values).lastrowid or 0, (MODEL_MOVES,))

    async def done(self, number: int) -> None:
        """It is done, and is remembered."""
        query = "UPDATE model_move SET done = 1 WHERE id = ?"
        await self._db.run(lambda connection: connection.execute(query, (number,)), (MODEL_MOVES,))

    async def forget(self, numbers: tuple[int, ...]) -> None:
        """They are done, or never came to be."""
        query = "DELETE FROM model_move WHERE id = ?"
        await self._db.run(lambda connection: connection.executemany(query, [(number,) for number in numbers]), (MODEL_MOVES,))

    def list(self) -> tuple[Move, ...]:
        """All moves, the oldest first."""
        query = "SELECT id, at, server, kind, source, target, done, pid, start, boot FROM model_move ORDER BY id"
        rows = self._db.read(lambda connection: connection.execute(query).fetchall())
        kinds = {kind.value: kind for kind in MoveKind}
        return tuple(
            Move(row[0], row[1], row[2], kinds[row[3]], row[4], row[5], bool(row[6]), Identity(row[7], row[8], row[9]))
            for row in rows
            if row[3] in kinds
        )
