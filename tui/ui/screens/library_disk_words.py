"""The words of the Library's Disk view: columns and the pane."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tui.core.disk import CheckView, DiskItem, DiskKind, DiskRow, DiskUse
from tui.core.library import DiskShare, ModelOrigin
from tui.core.names import normal
from tui.core.record import record
from tui.services.library import disk_words
from tui.text import clean_name, size
from tui.ui.widgets.columns import Cell, Column
from tui.ui.widgets.detail import Fact

if TYPE_CHECKING:
    from tui.core.library import KeptModel, ModelEvent
    from tui.core.models import Model


@record(frozen=True)
class Entry:
    """A line of the table: a row, or one of its items."""

    row: DiskRow
    item: DiskItem | None = None
    open: bool = False

    @property
    def key(self) -> tuple[str, str, str]:
        """What cursor and marks follow."""
        return self.row.provider, self.row.kind.value, self.item.key if self.item is not None else ""


def entries(uses: Mapping[str, DiskUse], opened: frozenset[tuple[str, DiskKind]]) -> list[Entry]:
    """All lines: each server's rows, and the items of those that are open."""
    found: list[Entry] = []
    for use in uses.values():
        for row in use.rows:
            is_open = (row.provider, row.kind) in opened and bool(row.items)
            found.append(Entry(row, open=is_open))
            found += [Entry(row, item) for item in row.items] if is_open else []
    return found


def columns(
    use_of: Callable[[str], DiskUse | None], now: Callable[[], float], *, several: bool, ascii: bool = False, binary: bool = False
) -> list[Column[Entry]]:
    """The columns; which server only where there are several."""

    def what(entry: Entry) -> Cell:
        if entry.item is not None:
            return Cell(f"  {entry.item.name}")
        sign = ("v " if ascii else "▾ ") if entry.open else ("> " if ascii else "▸ ") if entry.row.items else "  "
        return Cell(f"{sign}{disk_words.what(entry.row)}", "" if entry.row.items else "dim")

    def weight(entry: Entry) -> str:
        return size(entry.item.size if entry.item is not None else entry.row.size, binary=binary)

    def freed(entry: Entry) -> str:
        if entry.item is not None:
            return size(entry.item.freed, binary=binary)
        return "" if entry.row.kind is DiskKind.MODELS else size(entry.row.freed, binary=binary)

    def note(entry: Entry) -> Cell:
        use = use_of(entry.row.provider)
        if use is None:
            return Cell("")
        if entry.item is not None:
            return Cell(disk_words.item_note(entry.item, use, now(), binary=binary), "dim")
        return Cell(disk_words.note(entry.row, use, now(), binary=binary))

    return [
        Column("what", "WHAT", what, min=26, max=48, flex=1),
        *([Column[Entry]("on", "ON", lambda entry: entry.row.provider, min=6, max=16, flex=1)] if several else []),
        Column("size", "SIZE", weight, width=8, align="right"),
        Column("freed", "FREED", freed, width=8, align="right"),
        Column("note", "", note, min=12, flex=4),
    ]


def facts(entry: Entry, use: DiskUse, view: CheckView, cannot: str, now: float, *, binary: bool = False) -> list[Fact]:
    """What the pane tells of a line."""
    out: list[Fact] = []
    if entry.item is not None:
        out += _item_facts(entry.item, use, view, now, binary=binary)
    else:
        out += _row_facts(entry.row, use, cannot, now, binary=binary)
    free = f"   {size(use.free, binary=binary)} free on its disk" if use.free is not None else ""
    if use.failure is None:
        out.append(Fact("folder", f"{use.folder}{', simulated' if use.simulated else ''}{free}"))
    else:
        out.append(Fact("folder", f"{use.failure.what}. Figures are by what {clean_name(use.provider)} lists.", "$text-muted"))
        if use.failure.remedy:
            out.append(Fact("try", use.failure.remedy, "$text-muted"))
    out += [Fact("trouble" if number == 0 else "", text, "$text-warning") for number, text in enumerate(use.troubles[:20])]
    if len(use.troubles) > 20:
        out.append(Fact("", f"and {len(use.troubles) - 20} more", "$text-warning"))
    if words := disk_words.progress(view, binary=binary):
        out.append(Fact("checking", words, "$text-accent"))
    return [fact for fact in out if fact.text]


def _row_facts(row: DiskRow, use: DiskUse, cannot: str, now: float, *, binary: bool) -> list[Fact]:
    name = clean_name(use.provider)
    if not row.known and use.exact:
        words = "A manifest is damaged, cannot be read or is not there: its model may use what looks unused, so nothing is called that."
        keeps = f"{name} deletes nothing at its start either, as long as one is damaged." if use.damaged else ""
        return [Fact("here", words), Fact("", keeps)]
    if not row.known:
        return [Fact("here", "Only the server's folder tells what lies there that no model uses.")]
    if row.kind is DiskKind.MODELS:
        frees = f"deleting all of them would free {size(row.freed, binary=binary)}" if row.freed is not None and row.items else ""
        return [Fact("here", _joined(f"{disk_words.what(row)}, {size(row.size, binary=binary)}, each blob counted once", frees))]
    if not row.items:
        return [Fact("here", f"{disk_words.what(row)}: none")]
    frees = f"frees {size(row.freed, binary=binary)}" if row.freed is not None else ""
    if row.kind in (DiskKind.TRASH, DiskKind.VERSIONS):
        which = "all that is in the trash" if row.kind is DiskKind.TRASH else "all earlier versions"
        return [Fact("d", _joined(f"deletes {which} for good", frees)), Fact("enter", "lists them; enter on one brings it back")]
    how = f"deletes them from the folder; {frees}" if not cannot else f"not possible: {cannot}. {_instead(use)}".rstrip()
    gone = disk_words.goes(use, old=any(item.at is None or now - item.at > 3600 for item in row.items))
    out = [Fact("d", how), Fact("else", f"{gone}.")]
    if row.kind is DiskKind.PARTIALS:
        out.append(Fact("", f"Pulling the same model again goes on from there, where {name} still has it."))
    return out


def _item_facts(item: DiskItem, use: DiskUse, view: CheckView, now: float, *, binary: bool) -> list[Fact]:
    if item.kind in (DiskKind.PARTIALS, DiskKind.UNUSED):
        note = disk_words.item_note(item, use, now, binary=binary)
        written = f"last written {disk_words.day(item.at, now)}" if item.at is not None else ""
        return [Fact("is", _joined(f"{size(item.size, binary=binary)} on the disk", note, written)), Fact("digest", item.key)]
    out = [Fact("is", disk_words.item_note(item, use, now, binary=binary))]
    if item.freed is not None and item.size is not None:
        share = DiskShare(item.size, item.freed, item.size - item.freed, item.shared_with, use.exact)
        out.append(Fact("disk", disk_words.frees(share, binary=binary)))
    check = view.results.get((item.provider, item.key))
    if check is not None:
        out.append(Fact("checked", disk_words.checked(check, now), "$text-error" if check.bad else "$foreground"))
    return out


def _instead(use: DiskUse) -> str:
    """Who does it, a sentence without its full stop; empty where nobody has to."""
    if use.simulated:
        return ""
    return f"A restart of {clean_name(use.provider)} does it, or its administrator" if use.keeps is not True else "Its administrator can"


def _joined(*parts: str) -> str:
    return "; ".join(part for part in parts if part)


def installed(services: Any, model: Model, now: float, *, binary: bool = False) -> list[Fact]:
    """`pane` of what the services know."""
    from tui.core.kept import KeptKind

    library, key = services.library, (model.provider, model.key)
    there = [one for one in library.keeping.kept.value if one.kind is KeptKind.VERSION and one.provider == model.provider]
    name = normal(model.key).casefold() if there else ""
    kept = [one for one in there if one.original.casefold() == name]
    disk, events = library.disk, library.events.history.value.get(key, ())
    return pane(model, disk.shares.value.get(key), disk.origins.value.get(key), disk.checks.value, kept, events, now, binary=binary)


def pane(
    model: Model,
    share: DiskShare | None,
    found: ModelOrigin | None,
    view: CheckView,
    kept: Sequence[KeptModel],
    events: Sequence[ModelEvent],
    now: float,
    *,
    binary: bool = False,
) -> list[Fact]:
    """The lines `origin` and `disk` of an installed model's pane, and `checked` where it was."""
    from tui.core.library import EventKind

    out: list[Fact] = []
    if found is not None:
        pulled = next((event for event in events if event.kind in (EventKind.PULLED, EventKind.UPDATED)), None)
        out.append(Fact("origin", disk_words.origin(found, disk_words.day(pulled.at, now) if pulled is not None else "", kept=len(kept))))
    if share is not None:
        out.append(Fact("disk", disk_words.frees(share, binary=binary)))
    check = view.results.get((model.provider, model.key))
    if (view.provider, view.model) == (model.provider, model.key):
        out.append(Fact("checking", disk_words.progress(view, binary=binary), "$text-accent"))
    elif check is not None:
        out.append(Fact("checked", disk_words.checked(check, now), "$text-error" if check.bad else "$foreground"))
    return out


def delete_question(chosen: Sequence[Entry], frees: int | None, *, binary: bool = False) -> str:
    """What a delete would do."""
    items = [entry.item for entry in chosen if entry.item is not None]
    one = f"{items[0].name} ({items[0].kind.value})" if len(items) == 1 else f"{len(items)} things"
    total = f" This frees {size(frees, binary=binary)}." if frees is not None else ""
    files = any(item.kind in (DiskKind.PARTIALS, DiskKind.UNUSED) for item in items)
    how = " These are files of the server's own folder; each is looked at again before." if files else ""
    return f"Delete {one} for good?{total}{how} This cannot be undone."
