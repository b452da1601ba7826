"""What lies on a disk, in words, for the screen and the command line."""

from __future__ import annotations

import time
from typing import Final

from tui.core.disk import CheckView, DiskItem, DiskKind, DiskRow, DiskUse, ModelCheck, Verdict
from tui.core.kept import kept_words
from tui.core.library import DiskShare, ModelOrigin, OriginKind
from tui.core.partials import SPARED
from tui.core.versions import numbers
from tui.text import clean_name, count, size

_UNITS: Final = "BkMGTP"
_NAMES: Final = {
    DiskKind.MODELS: ("model", "models"),
    DiskKind.VERSIONS: ("earlier version", "earlier versions"),
    DiskKind.TRASH: ("trash", "trash"),
    DiskKind.PARTIALS: ("unfinished pull", "unfinished pulls"),
    DiskKind.UNUSED: ("blob no model uses", "blobs no model uses"),
}


def day(at: float, now: float) -> str:
    """`28 Nov`, with the year where it is another."""
    then, today = time.localtime(at), time.localtime(now)
    return f"{then.tm_mday} {time.strftime('%b' if then.tm_year == today.tm_year else '%b %Y', then)}"


def what(row: DiskRow) -> str:
    """`14 models`, `trash, 3 models`, `unfinished pulls, 2`."""
    number, (one, many) = len(row.items), _NAMES[row.kind]
    if row.kind is DiskKind.MODELS:
        return f"{count(number)} {one if number == 1 else many}"
    if row.kind is DiskKind.TRASH:
        return f"trash, {count(number)} {'model' if number == 1 else 'models'}"
    return f"{many}, {count(number)}" if number else many


def note(row: DiskRow, use: DiskUse, now: float, *, binary: bool = False) -> str:
    """What else there is to say of a row."""
    if not row.known:
        return "not known: the server does not tell" if not use.exact else "not known: a manifest is lacking"
    if row.kind is DiskKind.MODELS:
        about = "" if use.exact else "about "
        heavy = row.shared * 1000 >= (row.size or 0) > 0  # some KB of licences that many share are not worth a word
        return f"{about}{size(row.shared, binary=binary)} of it shared" if heavy else ""
    if row.kind is DiskKind.TRASH:
        times = [item.at for item in row.items if item.at is not None]
        return f"emptied {day(min(times), now)}" if times else "kept until you empty it"
    if row.kind is DiskKind.VERSIONS:
        return "what updates replaced"
    if not row.items:
        return "none"
    if row.kind is DiskKind.PARTIALS:
        lost = sum(1 for item in row.items if not item.queued)
        return f"{lost} not in the queue" if lost else "in the queue"
    return goes(use, old=any(item.at is None or now - item.at > SPARED for item in row.items))


def goes(use: DiskUse, *, old: bool) -> str:
    """What a start of the server does to files that no model uses (Ollama reference, section 3.6); `old`: of more than an hour."""
    name = clean_name(use.provider)
    if use.keeps:
        return f"{name} keeps it: OLLAMA_NOPRUNE"
    if use.damaged:
        return f"{name} keeps it while a manifest is damaged"
    unless = "" if use.keeps is False else ", unless OLLAMA_NOPRUNE"
    spares = (numbers(use.version) or (0,)) >= (0, 21)
    if not old and spares:
        return f"gone as {name} restarts, an hour from now{unless}"
    return f"gone as {name} restarts{unless}"


def item_note(item: DiskItem, use: DiskUse, now: float, *, binary: bool = False) -> str:
    """What else there is to say of one thing."""
    if item.kind in (DiskKind.MODELS, DiskKind.VERSIONS, DiskKind.TRASH):
        parts = [f"emptied {day(item.at, now)}"] if item.kind is DiskKind.TRASH and item.at is not None else []
        parts += [f"until {day(item.at, now)}"] if item.kind is DiskKind.VERSIONS and item.at is not None else []
        shared = (item.size or 0) - (item.freed or 0)
        parts += [f"shares with {with_whom(item.shared_with)}"] if item.shared_with and shared * 1000 >= (item.size or 0) else []
        return ", ".join(parts)
    if item.kind is DiskKind.PARTIALS:
        of = f", of {size(item.total, binary=binary)}" if item.total else ""
        return f"{item.queued or 'not in the queue'}{of}"
    return goes(use, old=item.at is None or now - item.at > SPARED)


def with_whom(names: tuple[str, ...], most: int = 2) -> str:
    """Names of those that share something; kept ones by what they are."""
    told = [kept_words(name) for name in names]
    return ", ".join(told[:most]) + (f" and {len(told) - most} more" if len(told) > most else "")


def cleaned_words(gone: int, of: int, freed: int, *, binary: bool = False) -> str:
    """`3 things deleted, 1.2 GB freed`; where not all went: `2 of 3 things deleted, …`."""
    how_many = f"{gone}" if gone == of else f"{gone} of {of}"
    return f"{how_many} {'thing' if of == 1 else 'things'} deleted, {size(freed, binary=binary)} freed"


def frees(share: DiskShare, *, binary: bool = False) -> str:
    """`deleting frees 19.6 of 19.9 GB (0.3 GB shared with qwen2.5-coder:7b)`."""
    about = "" if share.exact else "about "
    if share.shared * 1000 < share.size:
        return f"deleting frees {about}{size(share.own, binary=binary)}"
    whom = with_whom(share.shared_with)
    if not share.own:
        return f"deleting frees nothing: all {size(share.size, binary=binary)} shared with {whom}"
    return f"deleting frees {about}{_of(share.own, share.size, binary)} ({size(share.shared, binary=binary)} shared with {whom})"


def _of(part: int, whole: int, binary: bool) -> str:
    """`19.6 of 19.9 GB`: one unit and one decimal for both, as they may differ by little."""
    shown, base = size(whole, binary=binary), 1024 if binary else 1000
    unit = shown.rpartition(" ")[2]
    scale = float(base ** _UNITS.index(unit[0].replace("K", "k")))
    if part / scale < 0.05:
        return f"{size(part, binary=binary)} of {shown}"
    if f"{part / scale:.1f}" == f"{whole / scale:.1f}":
        return shown
    return f"{part / scale:.1f} of {whole / scale:.1f} {unit}"


def origin(found: ModelOrigin, pulled: str = "", *, kept: int = 0) -> str:
    """`registry.ollama.ai, pulled 3 Sep; previous version kept`; where nobody vouches that is said."""
    parts = [f"{found.text}{f', pulled {pulled}' if pulled else ''}"]
    if not found.scanned and found.kind is not OriginKind.UNKNOWN:
        parts.append("not scanned: nobody vouches for it")
    elif not found.scanned:
        parts.append("not scanned")
    if kept:
        parts.append("previous version kept" if kept == 1 else f"{kept} earlier versions kept")
    return "; ".join(parts)


def checked(check: ModelCheck, now: float) -> str:
    """What a check found, and when."""
    words = {Verdict.GOOD: "good", Verdict.THERE: "not read", Verdict.UNKNOWN: "not checked"}
    when = "" if now - check.at < 60 else f", {day(check.at, now)}"
    return f"{words.get(check.verdict, str(check.verdict).upper())}: {check.text}{when}{f'. {check.remedy}' if check.remedy else ''}"


def progress(view: CheckView, *, binary: bool = False) -> str:
    """`qwen3:8b, 2.1 of 5.2 GB, 2 more after it`; empty where nothing is checked."""
    if not view.model:
        return ""
    done = f", {size(view.done, binary=binary)} of {size(view.total, binary=binary)}" if view.total else ""
    return f"{kept_words(view.model)}{done}{f', {view.waiting} more after it' if view.waiting else ''}"


def sizes(use: DiskUse, *, binary: bool = False) -> str:
    """`/var/lib/ollama  61.2 GB models, 512 GB free`."""
    models = use.row(DiskKind.MODELS)
    parts = [f"{size(models.size, binary=binary)} models"] if models is not None and models.size is not None else []
    parts += [f"{size(use.free, binary=binary)} free"] if use.free is not None else []
    return f"{use.folder or use.provider}  {', '.join(parts)}".rstrip()
