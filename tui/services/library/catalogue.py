"""What can be pulled: the dated list, a newer one on request, and Hugging Face."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from tui.core.errors import Failure, PaddockError
from tui.core.observe import Observable
from tui.core.record import record
from tui.services.library.host import LibraryHost
from tui.services.library.part import Part
from tui.text import clean_label

if TYPE_CHECKING:
    from tui.core.hub import HubFiles, HubRepo
    from tui.providers.hub import Hub
    from tui.providers.library import Library
    from tui.services.library.catalogue_list import Refreshed
    from tui.store.db import Database

_LOG = logging.getLogger("paddock.library")


@record(frozen=True)
class CatalogueView:
    """The list that is shown.

    Attributes:
        library: None until our copy of a newer one was looked for: what came with the program.
        busy: A newer one is being fetched.
        failure: Why the last refresh brought nothing; the list is the one before.
    """

    library: Library | None = None
    busy: bool = False
    failure: Failure | None = None

    @property
    def list(self) -> Library:
        """The list to show."""
        from tui.providers.library import load_library

        return self.library or load_library()


@record(frozen=True)
class HubView:
    """What Hugging Face was asked for last.

    Attributes:
        host: Whom we asked.
        text: The words of the search.
        repos: What was found so far; `more` says that there is another page.
        open: Repository whose files are shown or asked for, empty for none.
        files: Its files, None while they are asked for.
        busy: It is being asked now.
        failure: Why it did not answer.
    """

    host: str = ""
    text: str = ""
    repos: tuple[HubRepo, ...] = ()
    more: str = ""
    open: str = ""
    files: HubFiles | None = None
    busy: bool = False
    failure: Failure | None = None


class Catalogue(Part):
    """The list of models that can be pulled, and the hub."""

    def __init__(self, host: LibraryHost) -> None:
        super().__init__(host)
        self.view: Observable[CatalogueView] = Observable(CatalogueView())
        self.hub: Observable[HubView] = Observable(HubView())
        self._asking: asyncio.Task[None] | None = None
        self._turn = 0
        self._refreshing = False

    # --- life ---------------------------------------------------------------------------------------------------------

    async def open(self, database: Database) -> None:
        """Look for our copy of a newer list."""
        from tui.core.threads import in_daemon_thread
        from tui.services.library.catalogue_list import FILE, newest

        folder, now = self._host.paths.cache, self._host.clock.time()
        if not await in_daemon_thread((folder / FILE).exists):
            return
        library, problem = await in_daemon_thread(lambda: newest(folder, now))
        self.view.set(replace(self.view.value, library=library, failure=problem.failure if problem is not None else None))

    async def aclose(self) -> None:
        """See `Part`."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)

    # --- the list -----------------------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Fetch a newer list from `models.catalogue_url`, else today's facts of what is installed; any thread."""
        self._host.post(self._refresh)

    async def _refresh(self) -> None:
        if self._refreshing or not await self._allowed():
            return
        self._refreshing = True
        self.view.set(replace(self.view.value, busy=True, failure=None))
        try:
            await self._host.activity("Refreshing the list of models", "", self._bring)
        except PaddockError as error:
            self.view.set(replace(self.view.value, failure=error.failure))
            old = self._library().snapshot
            self._host.say(f"The list of {old} stays: {error.failure.sentence()}", failure=error.failure)
        finally:
            self._refreshing = False
            self.view.set(replace(self.view.value, busy=False))

    async def _allowed(self) -> bool:
        """A metered network is asked about first."""
        if self._host.settings().general.network != "metered":
            return True
        choices = (("no", "Keep this list"), ("yes", "Refresh"))
        return await self._host.ask("The network is metered (general.network). Fetch a newer list of models?", choices) == "yes"

    async def _bring(self) -> None:
        from tui.core.threads import in_daemon_thread
        from tui.services.library.catalogue_list import write_copy

        found = await self._newer()
        folder = self._host.paths.cache
        await in_daemon_thread(lambda: write_copy(folder, found.library))
        self.view.set(replace(self.view.value, library=found.library, failure=None))
        self._host.say(f"List of models refreshed: {found.words}.")

    async def _newer(self) -> Refreshed:
        from tui.services.library.catalogue_list import refreshed_from, refreshed_installed

        host, settings = self._host, self._host.settings()
        if settings.models.catalogue_url:
            return await refreshed_from(settings.models.catalogue_url, self._library(), settings, host.clock)
        endpoints = {state.name: state.endpoint for state in host.watching.providers.value}
        pairs = [(endpoints[model.provider], model) for model in host.watching.models.value if model.provider in endpoints]
        return await refreshed_installed(pairs, self._library(), host.planner(), settings, host.clock)

    def _library(self) -> Library:
        return self.view.value.list

    # --- the hub ------------------------------------------------------------------------------------------------------

    def search(self, text: str) -> None:
        """Search Hugging Face for repositories with GGUF files; `hub` tells; any thread."""
        self._host.post(self._search, text)

    def more(self) -> None:
        """Fetch the next page of the search; any thread."""
        self._host.post(self._more)

    def look_into(self, repo: str) -> None:
        """List the files of a repository, by its key; any thread."""
        self._host.post(self._look_into, repo)

    def leave(self) -> None:
        """Back to the repositories; any thread."""
        self._host.post(self._leave)

    async def _search(self, text: str) -> None:
        words = " ".join(text.split())
        if not words:
            return
        self.hub.set(HubView(self.hub.value.host, clean_label(words, 80), busy=True))

        async def ask(hub: Hub) -> None:
            page = await hub.search(words)
            self.hub.set(replace(self.hub.value, host=hub.host, repos=page.repos, more=page.next, busy=False))

        await self._ask(f"Searching Hugging Face for {self.hub.value.text}", ask)

    async def _more(self) -> None:
        view = self.hub.value
        if not view.more or view.busy or view.open:
            return
        self.hub.set(replace(view, busy=True, failure=None))

        async def ask(hub: Hub) -> None:
            page = await hub.search(view.text, view.more)
            known = {repo.key for repo in view.repos}
            new = tuple(repo for repo in page.repos if repo.key not in known)
            self.hub.set(replace(self.hub.value, repos=(*view.repos, *new), more=page.next if new else "", busy=False))

        await self._ask(f"Searching Hugging Face for {view.text}", ask)

    async def _look_into(self, repo: str) -> None:
        self.hub.set(replace(self.hub.value, open=repo, files=None, busy=True, failure=None))

        async def ask(hub: Hub) -> None:
            files = await hub.files(repo)
            self.hub.set(replace(self.hub.value, host=hub.host, files=files, busy=False))

        await self._ask("Asking Hugging Face for the files", ask)

    async def _leave(self) -> None:
        self._turn += 1
        if self._asking is not None:
            self._asking.cancel()
        self.hub.set(replace(self.hub.value, open="", files=None, busy=False, failure=None))

    async def _ask(self, text: str, ask: Callable[[Hub], Awaitable[None]]) -> None:
        """Ask the hub in the place of what was asked before; what fails is told where the answer would stand."""
        self._turn += 1
        turn = self._turn
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)
        if turn != self._turn:
            return
        self._asking = asyncio.ensure_future(self._host.activity(text, "", lambda: self._asked(ask)))
        await asyncio.gather(self._asking, return_exceptions=True)
        if turn == self._turn:
            self._asking = None
            self.hub.set(replace(self.hub.value, busy=False))

    async def _asked(self, ask: Callable[[Hub], Awaitable[None]]) -> None:
        from tui.services.library.catalogue_hub import open_hub

        host = self._host
        demo = next((state.endpoint.url for state in host.watching.providers.value), "") if host.demo else ""
        try:
            hub = open_hub(host.settings(), host.environ, host.secret, host.clock, demo=demo)
            try:
                await ask(hub)
            finally:
                await hub.aclose()
        except PaddockError as error:
            self.hub.set(replace(self.hub.value, failure=error.failure, busy=False))
