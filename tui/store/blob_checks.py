"""Blobs whose digests were checked: what was found holds as long as size and time of the file stay."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from tui.core.record import record

if TYPE_CHECKING:
    from tui.store.db import Database

BLOB_CHECKS: Final = "blob checks"
MOST: Final = 100_000


@record(frozen=True)
class BlobCheck:
    """What was found of a file of `size` bytes, last changed at `modified` (epoch seconds), when it was checked (`at`)."""

    size: int
    modified: float
    at: float
    good: bool


class BlobChecks:
    """The repository of checked blobs."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def put(self, folder: str, digest: str, check: BlobCheck) -> None:
        """Keep the newest check of a blob."""
        values = (folder, digest, check.size, check.modified, check.at, int(check.good))
        query = (
            "INSERT INTO blob_check (folder, digest, size, modified, at, good) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (folder, digest)"
            " DO UPDATE SET size = excluded.size, modified = excluded.modified, at = excluded.at, good = excluded.good"
        )
        await self._db.run(lambda connection: connection.execute(query, values), (BLOB_CHECKS,))

    def of(self, folder: str) -> Mapping[str, BlobCheck]:
        """The checks of a folder's blobs, by digest."""
        query = "SELECT digest, size, modified, at, good FROM blob_check WHERE folder = ? LIMIT ?"
        rows = self._db.read(lambda connection: connection.execute(query, (folder, MOST)).fetchall())
        return {row[0]: BlobCheck(row[1], row[2], row[3], bool(row[4])) for row in rows}
