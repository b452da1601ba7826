"""What answers cost: append-only figures, anyone writes."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from tui.core.clock import SYSTEM, Clock
from tui.core.events import Metrics
from tui.core.models import RunningModel
from tui.core.monitor import Profile
from tui.text import clean_name

if TYPE_CHECKING:
    import sqlite3

    from tui.core.tuning import Measured
    from tui.store.db import Database

MEASUREMENTS: Final = "measurements"
RECENT: Final = 20
"""Answers of a model that its figures are made from."""
NOTICEABLE: Final = 0.5
"""Seconds from which a load counts as one."""
MEASURED: Final = "measured"
"""The kind of a measurement on purpose, under the settings in force."""
TUNED: Final = "tuned"
"""The same where these settings were just kept because of it: what came before was another speed, and counts no more."""
_COLUMNS: Final = (
    "at", "kind", "provider", "model", "rate", "load_seconds", "prompt_tokens", "output_tokens", "total_seconds", "note",
    "first_token", "prompt_rate", "memory", "vram", "context",
)  # fmt: skip
_ADD: Final = f"INSERT INTO measurement ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"
_LATEST: Final = (
    "SELECT at, rate, load_seconds, output_tokens, first_token, prompt_rate, memory, vram, context, joules, kind FROM measurement"
    " WHERE provider = ? AND model = ? ORDER BY id DESC LIMIT ?"
)


class Measurements:
    """The repository of measurements."""

    def __init__(self, database: Database, clock: Clock = SYSTEM) -> None:
        self._db = database
        self._clock = clock

    async def add(
        self,
        provider: str,
        model: str,
        metrics: Metrics,
        *,
        kind: str = "chat",
        note: str = "",
        first_token: float | None = None,
        prompt_rate: float | None = None,
        loaded: RunningModel | None = None,
    ) -> int:
        """Append what one complete answer cost; returns the row's id.

        Args:
            provider: By the user's name.
            model: Its exact name.
            metrics: What the server told.
            kind: "chat" or "complete"; see also `add_measured`.
            note: See `services.chat.tokens.prompt_note`.
            first_token: Seconds from sending to the first token, by our own clock.
            prompt_rate: Tokens a second of the prompt read, where none of it came from a cache that the count includes.
            loaded: The model as it was in memory at the end of the answer.
        """
        held = loaded or RunningModel(provider, model, model)
        values = (
            self._clock.time(), kind, clean_name(provider), clean_name(model), metrics.rate, metrics.load_seconds,
            metrics.prompt_tokens, metrics.output_tokens, metrics.total_seconds, clean_name(note),
            first_token, prompt_rate if prompt_rate is not None else metrics.prompt_rate, held.size, held.vram, held.context,
        )  # fmt: skip

        def append(connection: sqlite3.Connection) -> int:
            return connection.execute(_ADD, values).lastrowid or 0

        return await self._db.run(append, (MEASUREMENTS,))

    async def add_measured(self, provider: str, model: str, figures: Measured, *, tuned: bool = False) -> None:
        """Append a measurement on purpose, as one answer.

        Args:
            provider: By the user's name.
            model: Its exact name.
            figures: What was measured, under the settings in force.
            tuned: These settings were kept because of it, so that the profile begins anew.
        """
        values = (
            self._clock.time(), TUNED if tuned else MEASURED, clean_name(provider), clean_name(model), figures.rate,
            figures.load_seconds, None, None, None, "", figures.first_token, figures.prompt_rate, figures.memory, figures.vram,
            figures.context,
        )  # fmt: skip
        await self._db.run(lambda connection: connection.execute(_ADD, values), (MEASUREMENTS,))

    async def set_energy(self, row: int, joules: float) -> None:
        """Add the energy of an answer, which is known some moments after its end."""
        await self._db.run(
            lambda connection: connection.execute("UPDATE measurement SET joules = ? WHERE id = ?", (joules, row)), (MEASUREMENTS,), False
        )

    def profile(self, provider: str, model: str) -> Profile:
        """How one model does."""
        key = (clean_name(provider), clean_name(model))

        def read(connection: sqlite3.Connection) -> Profile:
            query = "SELECT count(*) FROM measurement WHERE provider = ? AND model = ?"
            return _profile(connection, *key, connection.execute(query, key).fetchone()[0])

        return self._db.read(read)

    async def profiles(self) -> dict[tuple[str, str], Profile]:
        """How each model does, by provider and model; off the loop."""

        def read(connection: sqlite3.Connection) -> dict[tuple[str, str], Profile]:
            counts = connection.execute("SELECT provider, model, count(*) FROM measurement GROUP BY provider, model").fetchall()
            return {(provider, model): _profile(connection, provider, model, count) for provider, model, count in counts}

        return await self._db.read_async(read)

    def longest(self, provider: str, model: str) -> int | None:
        """Tokens of the longest prompt and answer together of its latest answers, None where no server counted."""
        rows = self._db.read(
            lambda connection: connection.execute(
                "SELECT prompt_tokens, output_tokens FROM measurement WHERE provider = ? AND model = ? ORDER BY id DESC LIMIT ?",
                (clean_name(provider), clean_name(model), RECENT),
            ).fetchall()
        )
        return max((prompt + (output or 0) for prompt, output in rows if prompt), default=None)

    def last_rate(self, provider: str, model: str) -> float | None:
        """Tokens a second of its last answer that had a rate."""
        row = self._db.read(
            lambda connection: connection.execute(
                "SELECT rate FROM measurement WHERE provider = ? AND model = ? AND rate > 0 ORDER BY id DESC LIMIT 1",
                (clean_name(provider), clean_name(model)),
            ).fetchone()
        )
        return None if row is None else row[0]


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value]
    return statistics.median(known) if known else None


def _profile(connection: sqlite3.Connection, provider: str, model: str, answers: int) -> Profile:
    """Medians of the latest answers since the settings were tuned; loads and memory as they were last."""
    if not answers:
        return Profile()
    rows: list[tuple[Any, ...]] = connection.execute(_LATEST, (provider, model, RECENT)).fetchall()
    tuned = next((number for number, row in enumerate(rows) if row[-1] == TUNED), len(rows))
    at, rates, loads, outputs, firsts, prompts, memories, vrams, contexts, joules, _kinds = zip(*rows[: tuned + 1], strict=True)
    reported = next((number for number, memory in enumerate(memories) if memory), None)
    return Profile(
        answers=answers,
        load_seconds=next((load for load in loads if load is not None and load >= NOTICEABLE), None),
        first_token=_median(firsts),
        rate=_median(rates),
        prompt_rate=_median(prompts),
        memory=None if reported is None else memories[reported],
        vram=None if reported is None else vrams[reported],
        context=None if reported is None else contexts[reported],
        joules=_median(joules),
        joules_per_token=_median(energy / tokens for energy, tokens in zip(joules, outputs, strict=True) if energy and tokens),
        last_used=at[0],
    )
