"""What the update radar found last, for every process of the home."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

from tui.core.library import UpdateState, UpdateStatus
from tui.core.models import ModelKey
from tui.store import codec
from tui.text import clean_label, clean_name

if TYPE_CHECKING:
    from tui.store.db import Database

UPDATES: Final = "updates"
"""Topic: something was found, or asked for again."""


class UpdateStates:
    """The repository of what the registries had."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def put(self, found: Mapping[ModelKey, UpdateState]) -> None:
        """Replace what was found before of these models."""
        rows = [(*key, state.digest, state.checked_at, _dump(state)) for key, state in found.items()]
        query = (
            "INSERT INTO update_state (provider, model, digest, checked_at, found) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (provider, model) DO UPDATE SET"
            " digest = excluded.digest, checked_at = excluded.checked_at, found = excluded.found"
        )
        if rows:
            await self._db.run(lambda connection: connection.executemany(query, rows), (UPDATES,))

    async def keep_only(self, keys: Iterable[ModelKey], providers: Iterable[str]) -> None:
        """Forget the models of these providers that are none of `keys`: they are gone."""
        there, names = frozenset(keys), frozenset(providers)
        rows = self._db.read(lambda connection: connection.execute("SELECT provider, model FROM update_state").fetchall())
        gone = [(row[0], row[1]) for row in rows if row[0] in names and (row[0], row[1]) not in there]
        if gone:
            query = "DELETE FROM update_state WHERE provider = ? AND model = ?"
            await self._db.run(lambda connection: connection.executemany(query, gone), (UPDATES,))

    def all(self) -> dict[ModelKey, UpdateState]:
        """What is known; rows that make no sense are left out."""
        query = "SELECT provider, model, digest, checked_at, found FROM update_state"
        rows = self._db.read(lambda connection: connection.execute(query).fetchall())
        return {(row[0], row[1]): state for row in rows if (state := _read(row[2], row[3], row[4])) is not None}


def _dump(state: UpdateState) -> str:
    found = {
        "status": state.status.value,
        "fetch": state.fetch,
        "pushed_at": state.pushed_at,
        "changes": list(state.changes),
        "diff": list(state.diff),
        "failure": codec.dump_failure(state.failure),
    }
    return json.dumps(found)


def _read(digest: str, checked_at: float, text: str) -> UpdateState | None:
    found = codec.mapping(text)
    status = codec.one_of(UpdateStatus, found.get("status"), UpdateStatus.UNKNOWN)
    fetch, pushed, failure = found.get("fetch"), found.get("pushed_at"), found.get("failure")
    if not isinstance(digest, str) or not isinstance(checked_at, (int, float)):
        return None
    return UpdateState(
        status,
        clean_name(digest, 80),
        float(checked_at),
        fetch if isinstance(fetch, int) and not isinstance(fetch, bool) else None,
        float(pushed) if isinstance(pushed, (int, float)) else None,
        tuple(clean_label(str(line), 300) for line in _lines(found.get("changes"))),
        tuple(clean_label(str(line), 400) for line in _lines(found.get("diff"))),
        codec.load_failure(failure) if isinstance(failure, str) else None,
    )


def _lines(value: object) -> list[object]:
    return value if isinstance(value, list) else []
