"""Single values that processes tell each other, and the servers we were asked to run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any, Final

from tui.core.record import record
from tui.store import codec
from tui.store.db import Database

META: Final = "meta"
SERVERS: Final = "servers"
HAND_OVER: Final = "hand over"
"""Meta key: the pid of a worker that should close its streams and end, because a newer version waits."""


class Meta:
    """The repository of single values."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def get(self, key: str) -> str:
        """A value, empty where there is none."""
        row = self._db.read(lambda connection: connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone())
        return row[0] if row else ""

    async def set(self, key: str, value: str) -> None:
        """Set a value; an empty one removes it."""
        if value:
            query = "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value"
            await self._db.run(lambda connection: connection.execute(query, (key, value)), (META,))
        else:
            await self._db.run(lambda connection: connection.execute("DELETE FROM meta WHERE key = ?", (key,)), (META,))


@record(frozen=True)
class ServerRow:
    """A server we start and stop.

    Attributes:
        name: The provider's name.
        program: Absolute path.
        arguments: Of the program, without the program itself.
        environment: What is added to the environment.
        address: Host and port it will listen on.
        wish: `running` or `stopped`; the user's.
        asked: Grows with each wish; `seen` is the last one the worker acted on.
        state: `stopped`, `starting`, `running`, `stopping`, `failed`; the worker's.
        note: Why, in words.
        record: uuid, pid, start, boot, argv, log, started_at, version; empty where nothing was started.
    """

    name: str
    program: str
    address: str
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    wish: str = "running"
    asked: int = 1
    seen: int = 0
    state: str = "stopped"
    note: str = ""
    record: Mapping[str, Any] = field(default_factory=dict)


class Servers:
    """The repository of servers."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def list(self) -> tuple[ServerRow, ...]:
        """All servers by name."""
        query = "SELECT name, program, address, arguments, environment, wish, asked, seen, state, note, record FROM server ORDER BY name"
        return self._db.read(lambda connection: tuple(_server(row) for row in connection.execute(query)))

    async def want(self, row: ServerRow) -> None:
        """Wish that a server runs, with this program, arguments and address."""
        values = (row.name, row.program, codec.dump(list(row.arguments)), codec.dump(dict(row.environment)), row.address)
        await self._db.run(
            lambda connection: connection.execute(
                "INSERT INTO server (name, program, arguments, environment, address, wish) VALUES (?, ?, ?, ?, ?, 'running')"
                " ON CONFLICT (name) DO UPDATE SET program = excluded.program, arguments = excluded.arguments,"
                " environment = excluded.environment, address = excluded.address, wish = 'running', asked = asked + 1",
                values,
            ),
            (SERVERS,),
        )

    async def stop(self, name: str) -> None:
        """Wish that a server is stopped."""
        await self._db.run(
            lambda connection: connection.execute("UPDATE server SET wish = 'stopped', asked = asked + 1 WHERE name = ?", (name,)),
            (SERVERS,),
        )

    async def record(self, row: ServerRow) -> None:
        """Write the facts of a server; the worker's."""
        values = (row.seen, row.state, row.note, codec.dump(dict(row.record)) if row.record else None, row.name)
        await self._db.run(
            lambda connection: connection.execute("UPDATE server SET seen = ?, state = ?, note = ?, record = ? WHERE name = ?", values),
            (SERVERS,),
        )


def _server(row: Sequence[Any]) -> ServerRow:
    arguments = codec.texts(row[3])
    environment = {str(key): str(value) for key, value in codec.mapping(row[4]).items()}
    name, program, address, _, _, wish, asked, seen, state, note, record = row
    return ServerRow(name, program, address, arguments, environment, wish, asked, seen, state, note, codec.mapping(record))


def servers_have_work(rows: Sequence[ServerRow]) -> bool:
    """Whether a wish was not acted on yet, or a start or stop is under way."""
    return any(row.asked > row.seen or row.state in ("starting", "stopping") for row in rows)
