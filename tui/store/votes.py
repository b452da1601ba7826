"""Votes on comparisons, and how the models fared."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from tui.core.chat import Message, Timeline, Votes
from tui.core.events import Metrics
from tui.store import codec
from tui.store.messages import Repository

if TYPE_CHECKING:
    import sqlite3

VOTES: Final = "votes"
NOBODY: Final = -1
"""The winner of a vote for none of the answers."""


class Tally:
    """Counts votes and the figures of compared answers by model."""

    def __init__(self) -> None:
        self._votes: dict[tuple[str, str], list[int]] = {}
        self._figures: dict[tuple[str, str], tuple[list[float], list[float]]] = {}

    def vote(self, winner: tuple[str, str] | None, others: Iterable[tuple[str, str]], blind: bool) -> None:
        """One vote; one for nobody is lost by nobody."""
        if winner is None:
            return
        for key, place in ((winner, 0), *((other, 1) for other in others)):
            counts = self._votes.setdefault(key, [0, 0, 0])
            counts[place] += 1
            counts[2] += blind

    def answer(self, provider: str, model: str, metrics: Metrics, timeline: Timeline) -> None:
        """The figures of one compared answer."""
        rates, firsts = self._figures.setdefault((provider, model), ([], []))
        if rate := metrics.rate or timeline.rate:
            rates.append(rate)
        if timeline.first_token is not None:
            firsts.append(timeline.first_token)

    def result(self) -> tuple[Votes, ...]:
        """Most votes first."""
        found = []
        for key in {**self._votes, **self._figures}:
            won, lost, blind = self._votes.get(key, (0, 0, 0))
            rates, firsts = self._figures.get(key, ((), ()))
            rate = statistics.median(rates) if rates else None
            found.append(Votes(*key, won, lost, blind, rate, statistics.median(firsts) if firsts else None))
        return tuple(sorted(found, key=lambda one: (-one.won, one.lost, one.model, one.provider)))


class Ballots(Repository):
    """The part of the repository that is about votes; they outlive their conversations, as counts without text."""

    async def add_vote(
        self, conversation: int, prompt: int, comparison: int, winner: Message | None, others: Sequence[Message], blind: bool
    ) -> None:
        """Store the vote on a comparison, in place of an earlier one; no winner: none of them."""
        values = (
            conversation,
            comparison,
            prompt,
            NOBODY if winner is None else winner.id,
            "" if winner is None else winner.provider,
            "" if winner is None else winner.model,
            codec.dump([[other.provider, other.model] for other in others]),
            int(blind),
            self._clock.time(),
        )

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(
                "INSERT INTO vote (conversation, comparison, prompt, winner, provider, model, others, blind, at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (conversation, comparison) DO UPDATE SET"
                " (prompt, winner, provider, model, others, blind, at) = (excluded.prompt, excluded.winner, excluded.provider,"
                " excluded.model, excluded.others, excluded.blind, excluded.at)",
                values,
            )

        await self._db.run(work, (VOTES,))

    def vote_of(self, conversation: int, comparison: int) -> int | None:
        """The id of the answer voted for, -1 for none of them, None before a vote."""
        query = "SELECT winner FROM vote WHERE conversation = ? AND comparison = ?"
        row = self._db.read(lambda connection: connection.execute(query, (conversation, comparison)).fetchone())
        return row[0] if row else None

    def votes(self) -> tuple[Votes, ...]:
        """How each model fared in all comparisons."""

        def work(connection: sqlite3.Connection) -> tuple[Votes, ...]:
            tally = Tally()
            for winner, provider, model, others, blind in connection.execute("SELECT winner, provider, model, others, blind FROM vote"):
                tally.vote(None if winner == NOBODY else (provider, model), _keys(codec.items(others)), bool(blind))
            query = (
                "SELECT provider, model, metrics, timeline FROM message WHERE comparison > 0 AND deleted_at IS NULL"
                " AND state NOT IN ('waiting', 'writing')"
            )
            for provider, model, metrics, timeline in connection.execute(query):
                tally.answer(provider, model, codec.load(Metrics, metrics), codec.load(Timeline, timeline))
            return tally.result()

        return self._db.read(work)


def _keys(pairs: Iterable[Any]) -> list[tuple[str, str]]:
    """Provider and model of each; what damage left there is passed over."""
    return [(str(pair[0]), str(pair[1])) for pair in pairs if isinstance(pair, list) and len(pair) == 2]
