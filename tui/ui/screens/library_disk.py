"""The Library's view of the disk, and checking what lies on it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, ClassVar

from textual.binding import Binding, BindingType

from tui.core.capabilities import Capability
from tui.core.disk import DiskKind, DiskUse
from tui.core.models import ModelKey
from tui.core.observe import Observable
from tui.services.library import disk_words
from tui.ui.frame import Part
from tui.ui.screens import library_disk_words
from tui.ui.screens.library_base import LibraryBase, LibraryView
from tui.ui.screens.library_disk_words import Entry
from tui.ui.widgets.columns import Column
from tui.ui.widgets.detail import Fact
from tui.ui.widgets.rows import Rows

_NAMED = (DiskKind.MODELS, DiskKind.VERSIONS, DiskKind.TRASH)
_KEPT = (DiskKind.VERSIONS, DiskKind.TRASH)


class DiskTable(Rows[Entry]):
    """What lies on the disks."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "open", "list", id="rows.open", tooltip="list what a row holds; on what is kept: bring it back"),
        Binding("d", "screen.clean", "free", id="library.clean", tooltip="delete for good what no model needs; asks"),
    ]


class DiskView(LibraryView[Entry]):
    """Models with what they share, the trash, unfinished pulls, blobs no model uses."""

    NAME = "disk"
    TITLE = "Disk"

    def make(self) -> DiskTable:
        """See `LibraryView`."""
        self._open: frozenset[tuple[str, DiskKind]] = frozenset()
        self._several = False
        return DiskTable(
            self.columns(80),
            key=lambda entry: entry.key,
            text=lambda entry: f"{entry.item.name if entry.item is not None else disk_words.what(entry.row)} {entry.row.provider}",
            empty="Nothing is known of any disk yet.",
            id="disk",
        )

    @property
    def uses(self) -> dict[str, DiskUse]:
        """By provider, in the order in which the servers stand elsewhere."""
        found = self.screen.services.library.disk.uses.value
        order = [state.name for state in self.screen.services.registry.providers.value]
        return {name: found[name] for name in sorted(found, key=lambda name: order.index(name) if name in order else len(order))}

    def use(self, provider: str) -> DiskUse | None:
        """One server's."""
        return self.screen.services.library.disk.uses.value.get(provider)

    def columns(self, width: int) -> Sequence[Column[Entry]]:
        """See `LibraryView`."""
        screen = self.screen
        ascii = screen.is_attached and screen.ascii
        return library_disk_words.columns(self.use, time.time, several=self._several, ascii=ascii, binary=screen.binary)

    def start(self) -> None:
        """Follow the disks and the checks."""
        disk = self.screen.services.library.disk
        disk.attend()
        sources: tuple[Observable[Any], ...] = (disk.uses, disk.checks)
        for source in sources:
            self.screen.follow(source, lambda _value: self._moved(), fps=4)

    def shown(self) -> None:
        """What costs a request a model is asked for now."""
        self.screen.services.library.disk.attend(whole=True)
        self._moved()

    def _moved(self) -> None:
        uses = self.uses
        several = len(uses) > 1
        if several != self._several:
            self._several = several
            self.table.set_columns(self.columns(self.screen.width or 80))
        self.table.set_items(library_disk_words.entries(uses, self._open))
        if self.screen.view is self:
            self.screen.draw_detail()

    def counts(self) -> list[Part]:
        """The folder of the server under the cursor; while a check goes on, how far it is."""
        view = self.screen.services.library.disk.checks.value
        if view.model:
            return [(f"checking{f' {100 * view.done // view.total}%' if view.total else ''}", "$text-accent")]
        entry = self.table.highlighted
        use = self.use(entry.row.provider) if entry is not None else None
        return [(disk_words.sizes(use, binary=self.screen.binary), "$foreground")] if use is not None else []

    def title(self, item: Entry) -> str:
        """See `LibraryView`."""
        return item.item.name if item.item is not None else disk_words.what(item.row)

    def facts(self, item: Entry) -> list[Fact]:
        """See `LibraryView`."""
        use, disk = self.use(item.row.provider), self.screen.services.library.disk
        if use is None:
            return []
        cannot = disk.can_clean(item.row.provider)
        return library_disk_words.facts(item, use, disk.checks.value, cannot, time.time(), binary=self.screen.binary)

    def entered(self, item: Entry) -> None:
        """Open or close a row; an installed model is shown, a kept one can be brought back."""
        if item.item is None:
            if not item.row.items:
                return
            self._open ^= {(item.row.provider, item.row.kind)}
            self._moved()
        elif item.row.kind is DiskKind.MODELS:
            key = (item.row.provider, item.item.key)
            self.screen.show_view("installed")
            self.screen.views[0].table.move_to_key(key)
        elif item.row.kind in _KEPT:
            self._bring_back(item)

    def _bring_back(self, entry: Entry) -> None:
        from tui.ui.widgets.confirm import ConfirmDialog

        item, keeping = entry.item, self.screen.services.library.keeping
        assert item is not None
        trash = entry.row.kind is DiskKind.TRASH
        more = "" if trash else " What it is now becomes an earlier version."

        def done(answer: str | None) -> None:
            if answer == "back":
                (keeping.restore if trash else keeping.bring_back)(item.provider, item.key)

        if reason := self.screen.services.registry.can(item.provider, Capability.COPY):
            self.screen.say(f"Not possible: {reason}.")
            return
        question = f"Bring {item.name} back on {item.provider}?{more}"
        self.screen.ask(ConfirmDialog(question, (("keep", "Leave it"), ("back", "Bring back"))), done)

    def back(self) -> bool:
        """Close what is open."""
        had = bool(self._open)
        self._open = frozenset()
        if had:
            self._moved()
        return had

    @property
    def chosen(self) -> list[Entry]:
        """The items that a verb acts on: those marked, else the one under the cursor; of a row all its items."""
        found: dict[Any, Entry] = {}
        for entry in self.table.chosen:
            for item in (entry.item,) if entry.item is not None else entry.row.items:
                one = Entry(entry.row, item)
                found[one.key] = one
        return list(found.values())


class DiskVerbs(LibraryBase):
    """Verify models, clean the disk."""

    VERBS = frozenset({"verify"})
    MORE: ClassVar[tuple[tuple[str, str, str], ...]] = (
        ("verify", "Verify", "read its blobs again and compare them with their digests"),
        ("disk", "Free disk space", "the Disk view: the trash, unfinished pulls, blobs no model uses"),
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("V", "verify", "verify", show=False, id="library.verify", tooltip="check the blobs of the model, or of the marked ones"),
    ]

    def _to_verify(self) -> list[ModelKey]:
        if isinstance(self.view, DiskView):
            chosen = [entry.item for entry in self.view.chosen if entry.item is not None and entry.row.kind in _NAMED]
            return [(item.provider, item.key) for item in chosen]
        return [(model.provider, model.key) for model in self.chosen if not model.remote]

    def refusal(self, action: str) -> str:
        """See `RefusingScreen`."""
        if action != "verify":
            return super().refusal(action)
        if not self.installed and not isinstance(self.view, DiskView):
            return self.refused_for(Capability.SHOW, [])
        keys = self._to_verify()
        if not keys:
            return "There is no model with files under the cursor."
        for provider in sorted({provider for provider, _name in keys}):
            if reason := self.services.registry.can(provider, Capability.SHOW):
                return f"Not possible: {reason}."
        return ""

    def action_verify(self) -> None:
        """Check them in the background."""
        self.services.library.disk.verify(self._to_verify())

    def action_disk(self) -> None:
        """Show the Disk view."""
        self.show_view(DiskView.NAME)

    def action_clean(self) -> None:
        """Delete for good what is chosen in the Disk view; asks."""
        if isinstance(self.view, DiskView):
            reason = self._clean_refused(self.view.chosen)
            if reason:
                self.say(reason)
            else:
                self._ask_clean(self.view)

    def _clean_refused(self, chosen: Sequence[Entry]) -> str:
        kinds = {entry.row.kind for entry in chosen}
        if not chosen:
            return "There is nothing to delete here."
        if DiskKind.MODELS in kinds:
            return "d on Installed deletes models; enter leads there."
        if len({entry.row.provider for entry in chosen}) > 1:
            return "Free one server's disk at a time; esc unmarks."
        provider = chosen[0].row.provider
        reason = self.services.registry.can(provider, Capability.DELETE)
        if not reason and kinds - set(_KEPT):
            reason = self.services.library.disk.can_clean(provider)
        if reason:
            return f"Not possible: {reason}."
        wanted = [entry.item for entry in chosen if entry.item is not None and entry.item.queued]
        if wanted and len(wanted) == len(chosen):
            return "The queue goes on with it: cancel that on 3 Pulls first."
        return ""

    def _ask_clean(self, view: DiskView) -> None:
        from tui.ui.widgets.confirm import ConfirmDialog

        disk, keeping = self.services.library.disk, self.services.library.keeping
        chosen = [entry for entry in view.chosen if entry.item is not None and not entry.item.queued]
        kept = [(entry.row.provider, entry.item.key) for entry in chosen if entry.item is not None and entry.row.kind in _KEPT]
        files = [entry.item for entry in chosen if entry.item is not None and entry.row.kind not in _KEPT]
        of_kept = disk.freed(kept) if kept else (0, True)
        frees = of_kept[0] + sum(item.freed or 0 for item in files) if of_kept is not None else None

        def done(answer: str | None) -> None:
            if answer != "delete":
                return
            if kept:
                keeping.drop(kept)
            if files:
                disk.clean(chosen[0].row.provider, [item.key for item in files])
            view.table.clear_marks()

        question = library_disk_words.delete_question(chosen, frees, binary=self.binary)
        self.ask(ConfirmDialog(question, (("keep", "Keep"), ("delete", "Delete"))), done)
