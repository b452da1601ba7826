"""What is said before and after models are deleted, renamed and brought back; pure."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Final

from tui.core.kept import KeptKind, kept_of
from tui.core.library import KeptModel
from tui.core.names import normal
from tui.core.record import record
from tui.text import duration, size

if TYPE_CHECKING:
    from tui.core.models import Model

Known = Callable[[Iterable[tuple[str, str]]], tuple[int, bool] | None]
"""What deleting all of these frees, and whether that is exact; None where it is not known."""
_DAY: Final = 86_400.0
_MOST: Final = 3
"""Names that a question lists."""


@record(frozen=True)
class Freed:
    """What deleting frees.

    Attributes:
        size: Bytes, None where nothing is known.
        bound: `""` where it is exactly that (read from the disk), else `at least` or `up to`.
    """

    size: int | None
    bound: str = ""


def freed(doomed: Sequence[Model], everything: Iterable[Model], known: Known = lambda _keys: None, *, at_once: bool = False) -> Freed:
    """What deleting these models for good frees, with the versions of them that go, too, and copies in the trash but for `at_once`.

    As the disk tells where it is known; else by digests: what is the same as a model that stays frees nothing, and layers that others
    share make it less than the sizes tell.
    """
    going = {(model.provider, model.key) for model in doomed}
    if not doomed:
        return Freed(None)
    installed = [model for model in doomed if kept_of(model.key) is None]
    names = {(model.provider, normal(model.key).lower()) for model in installed}
    digests = {(model.provider, model.digest) for model in installed if model.digest}
    others: list[Model] = []
    for model in everything:
        if (model.provider, model.key) in going:
            continue
        kept = kept_of(model.key)
        version = kept is not None and kept.kind is KeptKind.VERSION and (model.provider, kept.original.lower()) in names
        copy = not at_once and kept is not None and kept.kind is KeptKind.TRASH and (model.provider, model.digest) in digests
        if version or copy:
            going.add((model.provider, model.key))
        else:
            others.append(model)
    told = known(going)
    if told is not None:
        return Freed(told[0], "" if told[1] else "up to")
    stays = {(model.provider, model.digest) for model in others if model.digest}
    counted, total, unknown = set[tuple[str, str]](), 0, False
    for model in doomed:
        same_as = (model.provider, model.digest or model.key)
        if same_as in stays or same_as in counted:
            continue
        counted.add(same_as)
        unknown = unknown or model.size is None
        total += model.size or 0
    if unknown and not total:
        return Freed(None)
    return Freed(total, "" if not total else "at least" if unknown else "up to")


def day(at: float, now: float) -> str:
    """`28 Nov`, or `at 14:05` where it is within a day."""
    there = time.localtime(at)
    if abs(at - now) < _DAY:
        return f"at {time.strftime('%H:%M', there)}"
    return f"on {there.tm_mday} {time.strftime('%b', there)}"


def until(at: float, now: float) -> str:
    """The same without its preposition: `until 28 Nov`, `until 14:05`."""
    return f"until {day(at, now).partition(' ')[2]}"


def frees(found: Freed, *, binary: bool, when: str = "") -> str:
    """A sentence: `Frees 11.4 GB on 28 Nov.`"""
    if found.size is None:
        return f"What that frees is not known{f'; it does so {when}' if when else ''}."
    if not found.size:
        return "Frees nothing: its layers are used by others."
    return f"Frees {f'{found.bound} ' if found.bound else ''}{size(found.size, binary=binary)}{f' {when}' if when else ' at once'}."


def listed(names: Sequence[str], most: int = _MOST) -> str:
    """`a, b and c`, `a, b, c and 4 more`."""
    if len(names) > most:
        return f"{', '.join(names[:most])} and {len(names) - most} more"
    return " and ".join(part for part in (", ".join(names[:-1]), *names[-1:]) if part)


def dropped(names: Sequence[str], of: int, frees: tuple[int, bool] | None, *, binary: bool) -> str:
    """What was deleted for good, of how many, and what that freed: `a and b: deleted for good, 2.1 GB freed`.

    Args:
        names: What went.
        of: How many were to go.
        frees: Bytes, and whether they are exact; None where that is not known.
        binary: Sizes in GiB.
    """
    went = f"{listed(names)}: deleted for good" if len(names) == of else f"{len(names)} of {of} deleted for good: {listed(names)}"
    return went if frees is None else f"{went}, {'' if frees[1] else '~'}{size(frees[0], binary=binary)} freed"


@record(frozen=True)
class Deleting:
    """What a question about deleting says.

    Attributes:
        hidden: Those that the filter hides.
        loaded: Those in memory.
        pinned: Those that `models.pinned` names.
        versions: How many earlier versions go, too.
        trash: Seconds of `models.trash`; 0 where there is no trash (or the server cannot copy).
        stays: Nothing goes out of the trash by itself: it cannot be noted what is put there.
    """

    models: Sequence[Model]
    freed: Freed
    hidden: Sequence[Model] = ()
    loaded: Sequence[Model] = ()
    pinned: Sequence[Model] = ()
    versions: int = 0
    trash: float = 0.0
    stays: bool = False


def delete_question(what: Deleting, now: float, *, binary: bool = False, undo: str = "z") -> str:
    """What deleting does, to what, what it frees and when; `undo` is what brings it back."""
    models = what.models
    where = listed(sorted({model.provider for model in models}))
    names = models[0].name if len(models) == 1 else f"{len(models)} models"
    some = listed([model.name for model in what.hidden])
    note = f" ({len(what.hidden)} of them hidden by the filter: {some})" if what.hidden and len(models) > 1 else ""
    ends = now + what.trash if what.trash and not what.stays else None
    when = day(ends, now) if ends is not None else "once you empty it" if what.trash else ""
    parts = [
        f"Move {names} on {where} to the trash{note}?" if what.trash else f"Delete {names} on {where} for good{note}?",
        frees(what.freed, binary=binary, when=when),
    ]
    if what.loaded:
        one = len(what.loaded) == 1
        parts.append(f"{listed([m.name for m in what.loaded])} {'is' if one else 'are'} loaded and will be unloaded first.")
    if what.pinned:
        parts.append(f"models.pinned names {listed([m.name for m in what.pinned])}.")
    if what.versions:
        one = what.versions == 1
        parts.append(f"{what.versions} earlier version{'' if one else 's'} {'goes' if one else 'go'}, too.")
    them = "it" if len(models) == 1 else "them"
    last = "" if ends is None else " until then" if when in parts[1] else f" {until(ends, now)}"
    parts.append(f"{undo} brings {them} back{last}." if what.trash else "This cannot be undone.")
    return " ".join(part for part in parts if part)


def kept_words(one: KeptModel, now: float, *, binary: bool = False) -> str:
    """What stands beside a kept model: since when, how big, when it goes."""
    parts = [
        f"{'deleted' if one.kind is KeptKind.TRASH else 'replaced'} {ago(one.at, now)}",
        size(one.size, binary=binary) if one.size is not None else "",
    ]
    if one.goes_at is not None:
        parts.append(f"goes {day(one.goes_at, now)}" if one.goes_at > now else "goes now")
    elif one.kind is KeptKind.TRASH:
        parts.append("stays until you empty the trash")
    return ", ".join(part for part in parts if part)


def ago(at: float, now: float) -> str:
    """`3 d ago`; `just now` within a minute."""
    return "just now" if now - at < 60 else f"{duration(now - at)} ago"


def versions_in(kept: Sequence[KeptModel], name: str) -> list[KeptModel]:
    """The earlier versions of a model, the newest first."""
    wanted = normal(name).lower()
    return [one for one in kept if one.kind is KeptKind.VERSION and one.original.lower() == wanted]
