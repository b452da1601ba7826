"""What answers cost: append-only figures, anyone writes."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Final

from tui.core.clock import SYSTEM, Clock
from tui.core.events import Metrics
from tui.core.record import record
from tui.text import clean_name

if TYPE_CHECKING:
    from tui.store.db import Database

MEASUREMENTS: Final = "measurements"
RECENT: Final = 20
"""Answers of a model that its figures are made from."""


@record(frozen=True)
class ModelFigures:
    """What is known of a model's speed on one provider.

    Attributes:
        answers: How many were measured in all.
        rate: Median tokens a second of the latest answers, None where the server does not say.
        load_seconds: Of the last load that took noticeable time (0.5 s), None where none did.
        last_used: Epoch seconds.
    """

    answers: int = 0
    rate: float | None = None
    load_seconds: float | None = None
    last_used: float | None = None


class Measurements:
    """The repository of measurements."""

    def __init__(self, database: Database, clock: Clock = SYSTEM) -> None:
        self._db = database
        self._clock = clock

    async def add(self, provider: str, model: str, metrics: Metrics, *, kind: str = "chat", note: str = "") -> None:
        """Append what one answer cost."""
        values = (
            self._clock.time(), kind, clean_name(provider), clean_name(model), metrics.rate, metrics.load_seconds,
            metrics.prompt_tokens, metrics.output_tokens, metrics.total_seconds, clean_name(note),
        )  # fmt: skip
        await self._db.run(
            lambda connection: connection.execute(
                "INSERT INTO measurement (at, kind, provider, model, rate, load_seconds, prompt_tokens, output_tokens, total_seconds, note)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                values,
            ),
            (MEASUREMENTS,),
        )

    def figures(self, provider: str, model: str) -> ModelFigures:
        """The figures of one model."""
        return self.all_figures(provider, model).get((clean_name(provider), clean_name(model)), ModelFigures())

    def all_figures(self, provider: str = "", model: str = "") -> dict[tuple[str, str], ModelFigures]:
        """The figures by provider and model; of all, or of those that match."""
        rows = self._db.read(
            lambda connection: connection.execute(
                "SELECT provider, model, at, rate, load_seconds, n, count FROM (SELECT provider, model, at, rate, load_seconds,"
                " row_number() OVER (PARTITION BY provider, model ORDER BY id DESC) AS n,"
                " count(*) OVER (PARTITION BY provider, model) AS count"
                " FROM measurement WHERE ?1 IN ('', provider) AND ?2 IN ('', model)) WHERE n <= ?3 ORDER BY n",
                (clean_name(provider), clean_name(model), RECENT),
            ).fetchall()
        )
        found: dict[tuple[str, str], list[tuple[float, float | None, float | None, int]]] = {}
        for name, of, at, rate, load, _, count in rows:
            found.setdefault((name, of), []).append((at, rate, load, count))
        return {
            key: ModelFigures(
                answers=values[0][3],
                rate=statistics.median(rates) if (rates := [value[1] for value in values if value[1]]) else None,
                load_seconds=next((value[2] for value in values if value[2] is not None and value[2] >= 0.5), None),
                last_used=values[0][0],
            )
            for key, values in found.items()
        }
