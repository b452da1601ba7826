"""The Library's Hugging Face view: searched on request, its repositories and their files, pulled through the queue."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType

from tui.core.hub import HubFile, HubRepo
from tui.services.library.catalogue import HubView
from tui.ui.frame import Part
from tui.ui.screens import library_hub_words
from tui.ui.screens.library_base import LibraryView
from tui.ui.screens.library_catalogue import CatalogueVerbs
from tui.ui.screens.library_hub_words import MORE, More, Row
from tui.ui.widgets.columns import Column
from tui.ui.widgets.detail import Fact
from tui.ui.widgets.rows import Rows

_ASK = "/ searches Hugging Face for GGUF files; nothing is sent while you type."
_WIDE = frozenset({"F16", "FP16", "BF16", "F32", "FP32"})


class HubTable(Rows[Row]):
    """Repositories, or the files of one."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "open", "files, pull", id="rows.open", tooltip="the files of a repository; of a file, pull it"),
        Binding("p", "open", "pull", show=False, id="hub.pull", tooltip="pull this file"),
        Binding("r", "screen.search_again", "again", id="hub.again", tooltip="ask Hugging Face again"),
    ]


class HuggingFaceView(LibraryView[Row]):
    """What Hugging Face was asked for."""

    NAME = "hub"
    TITLE = "Hugging Face"

    def make(self) -> HubTable:
        """See `LibraryView`."""
        self.found = HubView()
        self._searched = ""
        self._at = ""
        return HubTable(
            self.columns(80), key=library_hub_words.name_of, text=lambda row: getattr(row, "name", ""), markable=False, id="hub"
        )

    def start(self) -> None:
        """Follow what was found."""
        self.screen.follow(self.screen.services.library.catalogue.hub, self._take, fps=10)

    def shown(self) -> None:
        """Say what to do where nothing was asked yet."""
        self._draw()

    def columns(self, width: int) -> Sequence[Column[Row]]:
        """See `LibraryView`."""
        if self.found.files is not None:
            return library_hub_words.file_columns(self.found.files.repo, self.screen.fits, binary=self.screen.binary)
        return library_hub_words.repo_columns(width, time.time())

    def _take(self, found: HubView) -> None:
        before, self.found = self.found, found
        rows: list[Row] = list(found.files.files) if found.files is not None else []
        if found.files is None:
            rows = [*found.repos, *([MORE] if found.more else [])]
        if (before.files is None) != (found.files is None):
            self.filter = "" if found.files is not None else self._searched
            self.screen.fit_columns(self.screen.width or 80)
        self.table.set_items(rows)
        if before.files is not None and found.files is None:
            self._back_to(before.open)
        elif found.files is not None and before.files is None:
            self.table.move_to(self._best_row())
        self._draw()
        if self.screen.view is self:
            self.screen.draw_detail()

    def _back_to(self, key: str) -> None:
        at = next((number for number, repo in enumerate(self.found.repos) if repo.key == key), 0)
        self.table.move_to(at)

    def _best_row(self) -> int:
        """The largest file that fits, of those that were made smaller; where none does, the first."""
        files, best = self.found.files, 0
        for number, file in enumerate(files.files if files is not None else ()):
            fit = library_hub_words.fit_of(files.repo, file, self.screen.fits) if files is not None and file.pull else None
            if fit is not None and not file.unusual and file.quant not in _WIDE and str(fit.verdict) in ("good", "tight"):
                best = number
        return best

    def _draw(self) -> None:
        found = self.found
        if found.failure is not None:
            self.table.set_empty(f"{found.failure.sentence()}. {found.failure.remedy}.")
        elif found.busy:
            self.table.set_empty("asking Hugging Face …")
        elif found.files is not None:
            self.table.set_empty("There are no GGUF files in this repository.")
        else:
            self.table.set_empty(f"Nothing with GGUF files is named {found.text}." if found.text else _ASK)

    def narrow(self, text: str) -> None:
        """Of files those that hold the words; repositories are searched for with enter."""
        self.table.set_filter(text if self.found.files is not None else "")

    def counts(self) -> list[Part]:
        """See `LibraryView`."""
        found = self.found
        if found.busy:
            return [("asking …", "$text-accent")]
        if found.failure is not None:
            return [(f"{found.failure.what}", "$text-warning")]
        if found.files is not None:
            count = len(found.files.files)
            where = f" of {found.files.repo.name}" if self.screen.size.width >= 110 else ""
            return [(f"{count} file{'s' if count != 1 else ''}{where}", "$foreground")]
        if not found.text:
            return [("nothing asked yet", "$text-muted")]
        return [(f"{len(found.repos)}{' or more' if found.more else ''} for {found.text}", "$foreground")]

    def title(self, item: Row) -> str:
        """See `LibraryView`."""
        if isinstance(item, HubFile) and self.found.files is not None:
            return f"{self.found.files.repo.name}:{item.quant or item.name}"
        return "" if isinstance(item, More) else item.name

    def facts(self, item: Row) -> list[Fact]:
        """See `LibraryView`."""
        failure = self.found.failure
        out = [Fact("failed", f"{failure.sentence()}. {failure.remedy}.", "$text-warning")] if failure is not None else []
        if isinstance(item, HubRepo):
            return [*out, *library_hub_words.repo_facts(item, self.found.host, time.time())]
        if isinstance(item, HubFile) and self.found.files is not None:
            return [*out, *library_hub_words.file_facts(self.found.files.repo, item, self.screen.fits, binary=self.screen.binary)]
        return [*out, Fact("", "enter asks for the next page", "$text-muted")]

    def entered(self, item: Row) -> None:
        """The next page, the files of a repository, or the pull of a file."""
        catalogue = self.screen.services.library.catalogue
        if isinstance(item, More):
            catalogue.more()
        elif isinstance(item, HubRepo):
            catalogue.look_into(item.key)
        elif isinstance(self.screen, HubVerbs):
            self.screen.action_pull()

    def search(self, *, again: bool = False) -> None:
        """Ask for what the filter says, unless that was just asked."""
        words = " ".join(self.filter.split())
        if words and self.found.files is None and (again or words != self.found.text or self.found.failure is not None):
            self._searched = self.filter
            self.screen.services.library.catalogue.search(words)

    def back(self) -> bool:
        """From the files to the repositories."""
        if not self.found.open:
            return False
        self.screen.services.library.catalogue.leave()
        return True


class HubVerbs(CatalogueVerbs):
    """Searching, and pulling what was found."""

    MORE: ClassVar[tuple[tuple[str, str, str], ...]] = (
        ("hub", "Search Hugging Face", "repositories with GGUF files, and the sizes of those; only when you ask"),
    )

    @property
    def hub(self) -> HuggingFaceView | None:
        """The view."""
        return next((view for view in self.views if isinstance(view, HuggingFaceView)), None)

    def action_filter_done(self) -> None:
        """Enter in the filter of this view asks Hugging Face."""
        super().action_filter_done()
        if self.hub is not None and self.view is self.hub:
            self.hub.search()

    def action_search_again(self) -> None:
        """Ask again."""
        view = self.hub
        if view is None:
            return
        if view.found.open:
            self.services.library.catalogue.look_into(view.found.open)
        else:
            view.search(again=True)

    def action_hub(self) -> None:
        """Show the view, and type what to search for."""
        if self.hub is not None:
            self.show_view(self.hub.NAME)
            self.action_filter()

    def action_pull(self) -> None:
        """Pull the file under the cursor."""
        item = self.table.highlighted
        if not isinstance(item, HubFile):
            if isinstance(item, HubRepo) and self.hub is not None and self.view is self.hub:
                self.services.library.catalogue.look_into(item.key)
                return
            super().action_pull()
        elif not item.pull:
            self.say(f"This file cannot be pulled: {item.why}.")
        elif reason := self.refusal("pull"):
            self.say(reason)
        else:
            self.pull_named(item.pull)
