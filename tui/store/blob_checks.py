"""Blobs whose digests were checked: what was found holds as long as size and time of the file stay, and for `KEPT` at most."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

from tui.core.record import record

if TYPE_CHECKING:
    import sqlite3

    from tui.store.db import Database

BLOB_CHECKS: Final = "blob checks"
MOST: Final = 100_000
KEPT: Final = 365 * 86_400.0
"""Seconds a check is kept: of a disk of today one that is older says little, and its folder may be gone."""


@record(frozen=True)
class BlobCheck:
    """What was found of a file of `size` bytes, last changed at `modified` (epoch seconds), when it was checked (`at`)."""

    size: int
    modified: float
    at: float
    good: bool


class BlobChecks:
    """The repository of checked blobs.

    Checks go with their blobs: whoever has read a folder whole tells those that are gone from it (`forget`). What lies in folders that
    nobody reads any more goes after `KEPT`, by the time of the newest check.
    """

    def __init__(self, database: Database) -> None:
        self._db = database

    async def put(self, folder: str, digest: str, check: BlobCheck) -> None:
        """Keep the newest check of a blob; those that are `KEPT` older than it go."""
        values = (folder, digest, check.size, check.modified, check.at, int(check.good))
        query = (
            "INSERT INTO blob_check (folder, digest, size, modified, at, good) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (folder, digest)"
            " DO UPDATE SET size = excluded.size, modified = excluded.modified, at = excluded.at, good = excluded.good"
        )

        def write(connection: sqlite3.Connection) -> None:
            connection.execute(query, values)
            connection.execute("DELETE FROM blob_check WHERE at < ?", (check.at - KEPT,))

        await self._db.run(write, (BLOB_CHECKS,))

    async def forget(self, folder: str, digests: Iterable[str]) -> None:
        """Drop the checks of blobs that are gone from a folder."""
        gone = [(folder, digest) for digest in digests]
        if gone:
            query = "DELETE FROM blob_check WHERE folder = ? AND digest = ?"
            await self._db.run(lambda connection: connection.executemany(query, gone), (BLOB_CHECKS,))

    def of(self, folder: str) -> Mapping[str, BlobCheck]:
        """The checks of a folder's blobs, by digest."""
        query = "SELECT digest, size, modified, at, good FROM blob_check WHERE folder = ? LIMIT ?"
        rows = self._db.read(lambda connection: connection.execute(query, (folder, MOST)).fetchall())
        return {row[0]: BlobCheck(row[1], row[2], row[3], bool(row[4])) for row in rows}
