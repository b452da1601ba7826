"""What the user said about ports of this machine, kept in the database so that each question is asked once ever."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Final

from tui.core.errors import PaddockError
from tui.core.models import Location, ProviderState
from tui.providers.address import display_url, origin
from tui.providers.ports import Holder
from tui.services.audit import Audit

if TYPE_CHECKING:
    from tui.store.meta import Meta

Ask = Callable[[str, Sequence[tuple[str, str]]], Awaitable[str]]
_WHERE: Final = "where "
_TRUST: Final = "trust "


class Ports:
    """Where tunnels lead, and which accounts may get prompts and keys; used on the engine's thread only.

    Answers count for this run where they cannot be stored.
    """

    def __init__(self, ask: Ask, audit: Audit) -> None:
        self._ask = ask
        self._audit = audit
        self._meta: Meta | None = None
        self._said: dict[str, str] = {}
        self._ready = asyncio.Event()
        self._asking: dict[str, asyncio.Future[str]] = {}

    def open(self, meta: Meta | None) -> None:
        """The answers of earlier runs are there now, or (None) will not be."""
        self._meta = meta
        self._ready.set()

    async def ready(self) -> None:
        """Wait until earlier answers are known; before, nobody is asked."""
        await self._ready.wait()

    def _get(self, key: str) -> str:
        if key not in self._said and self._meta is not None:
            try:
                self._said[key] = self._meta.get(key)
            except PaddockError:
                return ""
        return self._said.get(key, "")

    async def _keep(self, key: str, value: str) -> None:
        self._said[key] = value
        if self._meta is not None:
            await self._meta.set(key, value)

    async def _once(self, key: str, text: str, choices: Sequence[tuple[str, str]]) -> str:
        """Ask; who needs the same answer meanwhile waits for it."""
        asking = self._asking.get(key)
        if asking is None:
            asking = self._asking[key] = asyncio.ensure_future(self._ask(text, choices))
            asking.add_done_callback(lambda _done: self._asking.pop(key, None))
        return await asyncio.shield(asking)

    # --- where a tunnel leads -----------------------------------------------------------------------------------------

    def tunnel(self, url: str) -> Location:
        """Where a server behind an ssh tunnel runs; ASK where the user did not say yet."""
        said = self._get(_WHERE + origin(url))
        return Location(said) if said in (Location.HERE, Location.ELSEWHERE) else Location.ASK

    async def ask_where(self, state: ProviderState) -> Location:
        """Ask, unless it was said before."""
        await self.ready()
        url = state.endpoint.url
        if (said := self.tunnel(url)) is not Location.ASK:
            return said
        text = f"{display_url(url)} is held by ssh: a tunnel. Where does {state.label or state.name} really run?"
        choice = Location(await self._once(_WHERE + origin(url), text, (("elsewhere", "On another machine"), ("here", "On this machine"))))
        await self.set_where(url, choice)
        return choice

    async def set_where(self, url: str, location: Location) -> None:
        """Keep the user's answer; ASK forgets it."""
        await self._keep(_WHERE + origin(url), "" if location is Location.ASK else str(location))

    # --- who holds a port ---------------------------------------------------------------------------------------------

    def trusted(self, url: str, holder: Holder | None) -> bool:
        """Whether prompts and keys may go to whoever holds this port."""
        return holder is None or not holder.other_person or bool(self._get(_trust_key(url, holder)))

    async def ask_trust(self, url: str, holder: Holder | None, what: str) -> bool:
        """Ask once for each port and account; a refusal is asked again at the next occasion."""
        await self.ready()
        if holder is None or self.trusted(url, holder):
            return True
        who = holder.words() or "unknown"
        text = f"{display_url(url)} is held by another person's account ({who}). Send {what} there?"
        if await self._once(_trust_key(url, holder), text, (("no", "Do not send"), ("send", "Send"))) != "send":
            return False
        if not self.trusted(url, holder):
            await self._keep(_trust_key(url, holder), "yes")
            self._audit.write("trust", display_url(url), account=holder.user, uid_of_holder=holder.uid if holder.uid is not None else -1)
        return True


def _trust_key(url: str, holder: Holder) -> str:
    return f"{_TRUST}{origin(url)} {holder.uid}"
