"""What is kept on the servers, when it goes, and what an interrupted move left behind."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from tui.core.kept import KeptKind, kept_of
from tui.core.library import KeptModel
from tui.core.names import normal, same
from tui.services.library.keep_now import find
from tui.services.library.keeping_moves import server_of
from tui.store.identity import alive, myself
from tui.store.model_moves import Move, MoveKind

if TYPE_CHECKING:
    from tui.config.problems import Problem
    from tui.core.clock import Clock
    from tui.core.models import Endpoint, Model
    from tui.providers.base import Provider
    from tui.services.library.keeping_moves import Mover
    from tui.store.model_moves import ModelMoves

FRESH: Final = 60.0
"""Seconds in which a note may be ahead of a list."""
UNSET: Final = 1_600_000_000
"""Epoch seconds before which no clock of a Paddock stood that was set: what went into the trash then does not go by itself."""
JUMP: Final = 3600.0
"""Seconds by which a clock must have been set forward, or the machine slept, for the trash to wait."""
HOLD: Final = 600.0
"""Seconds that it waits then: a clock that is wrong for a moment must not cost anybody a model."""


class Steady:
    """Whether the wall clock went as time did since the last look."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._wall, self._since = clock.time(), clock.monotonic()
        self._until = self._since

    def hold(self) -> float:
        """Seconds to wait until the clock is trusted; 0 where it is."""
        wall, now = self._clock.time(), self._clock.monotonic()
        if wall - self._wall > now - self._since + JUMP:
            self._until = now + HOLD
        self._wall, self._since = wall, now
        return max(0.0, self._until - now)


def is_sure(problems: Iterable[Problem]) -> bool:
    """Whether `models.trash` is as the file says: not where that, or the key in it, cannot be read and a default stands for it."""
    return not any(problem.key in ("", "models", "models.trash") and not problem.warning for problem in problems)


def kept_models(provider: str, models: Iterable[Model], ours: Collection[str], trash: float) -> tuple[KeptModel, ...]:
    """What a server keeps, the newest first, out of its whole list; `trash` is `models.trash`.

    Only what this Paddock put into the trash (`ours`, exact names) goes by itself; other people may use the same server, with other
    settings. The versions of a model that is in the trash go with it.
    """
    models = tuple(models)
    found = [(model, kept) for model in models if (kept := kept_of(model.key)) is not None]
    goes: dict[str, KeptModel] = {}
    out: list[KeptModel] = []
    for model, kept in sorted(found, key=lambda pair: (pair[1].at, pair[0].key)):
        at = float(kept.at)
        one = KeptModel(provider, model.key, kept.kind, kept.original, at, model.size, model.digest)
        if kept.kind is KeptKind.TRASH:
            one = replace(one, goes_at=at + trash if model.key in ours and at >= UNSET else None)
            goes[kept.original.lower()] = one
        out.append(one)
    orphans = [place for place, one in enumerate(out) if one.kind is KeptKind.VERSION and one.original.lower() in goes]
    installed = {normal(model.key).lower() for model in models if kept_of(model.key) is None} if orphans else set()
    for place in orphans:
        one, gone = out[place], goes[out[place].original.lower()]
        if gone.at >= one.at and one.original.lower() not in installed:
            out[place] = replace(one, goes_at=gone.goes_at)
    return tuple(reversed(out))


def own_trash(moves: Iterable[Move], endpoint: Endpoint) -> frozenset[str]:
    """The names of a server's trash that this Paddock put there."""
    server = server_of(endpoint)
    return frozenset(move.target for move in moves if move.kind is MoveKind.TRASH and move.server == server)


async def empty_due(provider: Provider, mover: Mover, moves: ModelMoves, trash: float, now: float) -> list[KeptModel]:
    """Delete for good what was in the trash for its time; returns it. Notes of what is there no more are dropped.

    Raises:
        PaddockError: The server cannot be asked, or something was not deleted.
    """
    models = await provider.models()
    noted = moves.list()
    kept = kept_models(provider.endpoint.name, models, own_trash(noted, provider.endpoint), trash)
    due = [one for one in kept if one.goes_at is not None and one.goes_at <= now]
    for one in reversed(due):  # versions before the entry that says when they go
        if one.kind is KeptKind.VERSION:
            await mover.drop(one.key, "empty trash")
    for one in due:
        if one.kind is KeptKind.TRASH:
            await mover.drop(one.key, "empty trash")
    server, there = server_of(provider.endpoint), {model.key for model in models}
    lost = [move.id for move in noted if move.done and move.server == server and move.target not in there and now - move.at > FRESH]
    if lost:
        await moves.forget(tuple(lost))
    return due


def interrupted(moves: Sequence[Move], endpoint: Endpoint, *, busy: bool = False) -> tuple[Move, ...]:
    """Moves on a server that nobody works at any more and that did not come to their end; `busy`: this process works at some."""
    server, me = server_of(endpoint), myself()
    here = [move for move in moves if move.server == server and not move.done]
    return tuple(move for move in here if (not busy if move.who == me else not alive(move.who)))


async def settle(left: Sequence[Move], models: Sequence[Model], moves: ModelMoves) -> list[str]:
    """Say what interrupted moves left behind on a server that lists `models` now, a sentence each where there is something; each once."""
    said = []
    for move in left:
        source, target = find(models, move.source), find(models, move.target)
        if text := _left(move, source, target):
            said.append(text)
        if move.kind is MoveKind.TRASH and target is not None:
            await moves.done(move.id)
        else:
            await moves.forget((move.id,))
    return said


def _left(move: Move, source: Model | None, target: Model | None) -> str:
    if target is None or (source is not None and source.digest != target.digest):
        return ""
    if move.kind is MoveKind.TRASH:
        name = normal(move.source)
        if source:
            return f"Deleting {name} was interrupted: it is still here, and a copy of it is in the trash"
        return f"Deleting {name} was interrupted after its last step: it is in the trash"
    if move.kind is MoveKind.RENAME and source:
        both = f"{normal(move.source)} and {normal(move.target)}"
        return f"A rename was interrupted: {both} are the same model under two names; delete the one you do not want"
    if move.kind is MoveKind.RESTORE and source and (kept := kept_of(move.source)) is not None:
        where = "trash" if kept.kind is KeptKind.TRASH else "list of versions"
        again = "" if same(kept.original, move.target) else f" as {normal(move.target)}"
        return f"Bringing back {kept.original} was interrupted: it is here again{again}, and its copy is still in the {where}"
    return ""
