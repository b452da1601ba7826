"""What loads of models took: one row for each way a model was loaded; what was seen last wins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tui.core.fit_learn import Load
from tui.text import clean_name

if TYPE_CHECKING:
    import sqlite3

    from tui.store.db import Database

LOAD_MEMORY: Final = "load memory"
MOST: Final = 2000
"""Loads that are kept; the oldest go first."""
_COLUMNS: Final = (
    "provider", "model", "digest", "context", "kv_type", "slots", "family", "weights", "formula", "cache", "size", "vram", "version", "at",
)  # fmt: skip
_KEY: Final = ("provider", "digest", "context", "kv_type", "slots")
_NEW: Final = ", ".join(f"{name} = excluded.{name}" for name in _COLUMNS if name not in _KEY)
_PUT: Final = (
    f"INSERT INTO load_memory ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"
    f" ON CONFLICT ({', '.join(_KEY)}) DO UPDATE SET {_NEW}"
)
_ALL: Final = f"SELECT {', '.join(_COLUMNS)} FROM load_memory ORDER BY at DESC LIMIT ?"
_PRUNE: Final = "DELETE FROM load_memory WHERE at < (SELECT at FROM load_memory ORDER BY at DESC LIMIT 1 OFFSET ?)"
_BIG: Final = 1 << 62


class LoadMemory:
    """The repository of what loads took; what a model that is gone took goes on teaching its family."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def put(self, load: Load) -> None:
        """Note a load, in place of an earlier one of the same kind."""
        values = (
            clean_name(load.provider), clean_name(load.model), clean_name(load.digest, 80), load.context, clean_name(load.kv_type, 20),
            load.slots, clean_name(load.family, 60), min(load.weights, _BIG), min(load.formula, _BIG), min(load.cache, _BIG),
            min(load.size, _BIG), min(load.vram, _BIG), clean_name(load.version, 40), load.at,
        )  # fmt: skip

        def write(connection: sqlite3.Connection) -> None:
            connection.execute(_PUT, values)
            connection.execute(_PRUNE, (MOST,))

        await self._db.run(write, (LOAD_MEMORY,))

    def all(self) -> tuple[Load, ...]:
        """Every load, newest first."""
        return tuple(Load(*row) for row in self._db.read(lambda connection: connection.execute(_ALL, (MOST,)).fetchall()))

    async def all_async(self) -> tuple[Load, ...]:
        """The same, off the loop."""
        rows = await self._db.read_async(lambda connection: connection.execute(_ALL, (MOST,)).fetchall())
        return tuple(Load(*row) for row in rows)
