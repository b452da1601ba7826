"""A copy under a name of ours, proved by the server's own list; what deletes or replaces a model makes one first."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from tui.core.errors import FailureKind, PaddockError
from tui.core.kept import Kept, KeptKind, kept_name, kept_of
from tui.core.names import same
from tui.core.record import record

if TYPE_CHECKING:
    from tui.core.clock import Clock
    from tui.core.models import Model
    from tui.providers.base import Provider


@record(frozen=True)
class Copied:
    """A copy that is listed, and its source in the same list: None where another deleted it meanwhile."""

    model: Model
    source: Model | None


def find(models: Iterable[Model], name: str) -> Model | None:
    """The model of a name, however it is spelled; an exact spelling wins."""
    found = None
    for model in models:
        if model.key == name:
            return model
        if found is None and same(model.key, name):
            found = model
    return found


def gone(model: str, where: str) -> PaddockError:
    """What is said of a model that somebody else deleted first."""
    return PaddockError.of(f"{model} is gone already", where, "Nothing is left to do; r shows what is there", FailureKind.NOT_FOUND)


async def copied(provider: Provider, source: Model, target: str) -> Copied:
    """Copy a model to a free name and look that it is there, with the same content.

    Raises:
        PaddockError: It could not be copied, or the list lacks the copy, or has it with another digest. Nothing was deleted.
    """
    where = provider.endpoint.name
    try:
        await provider.copy(source.key, target)
    except PaddockError as error:
        if error.failure.kind is FailureKind.NOT_FOUND and find(await provider.models(), source.key) is None:
            raise gone(source.name, where) from None
        raise
    models = await provider.models()
    made, now = find(models, target), find(models, source.key)
    if made is None:
        what = f"The server copied {source.name}, but {target} is not in its list: nothing was deleted"
        raise PaddockError.of(what, where, "Refresh, and look at the server's log", FailureKind.SERVER)
    if made.digest != (now or source).digest:
        what = f"{source.name} and its copy {target} are not the same: nothing was deleted"
        raise PaddockError.of(what, where, "It may just have been updated; try again", FailureKind.SERVER)
    return Copied(made, now)


def free_name(models: Iterable[Model], kind: KeptKind, original: str, at: float) -> str:
    """A kept name that is not taken: of this second, or of the next that is free. A version is newer than all others whatever the clock is.

    Raises:
        PaddockError: `original` is no model name.
    """
    taken = {kept.at for _model, kept in kept_as(models, kind, original)}
    second = max(int(at), max(taken, default=0) + 1) if kind is KeptKind.VERSION else int(at)
    while second in taken:
        second += 1
    return kept_name(kind, original, second)


def kept_as(models: Iterable[Model], kind: KeptKind, original: str) -> list[tuple[Model, Kept]]:
    """What is kept of a model in one way, the newest first."""
    found = [(model, kept) for model in models if (kept := kept_of(model.key)) is not None and kept.kind is kind]
    return sorted((pair for pair in found if same(pair[1].original, original)), key=lambda pair: (-pair[1].at, pair[0].key))


def versions_of(models: Iterable[Model], original: str) -> list[tuple[Model, Kept]]:
    """The earlier versions of a model, the newest first."""
    return kept_as(models, KeptKind.VERSION, original)


async def keep(provider: Provider, model: str, kind: KeptKind, clock: Clock) -> Copied:
    """Copy a model to a kept name.

    Raises:
        PaddockError: It is not there, or the copy could not be made and proved.
    """
    models = await provider.models()
    source = find(models, model)
    if source is None:
        raise gone(model, provider.endpoint.name)
    return await copied(provider, source, free_name(models, kind, source.key, clock.time()))


async def keep_version(provider: Provider, model: str, clock: Clock) -> str:
    """Keep what a model is now as an earlier version of it; one that is kept with the same digest already is enough.

    Returns:
        The kept name.

    Raises:
        PaddockError: It is not there, or the copy could not be made and proved.
    """
    models = await provider.models()
    source = find(models, model)
    if source is None:
        raise gone(model, provider.endpoint.name)
    for other, _kept in versions_of(models, source.key):
        if other.digest and other.digest == source.digest:
            return other.key
    made = await copied(provider, source, free_name(models, KeptKind.VERSION, source.key, clock.time()))
    return made.model.key
