"""What a command works with: settings, providers and, on demand, the database."""

from __future__ import annotations

import asyncio
import os
import sys
from argparse import Namespace
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from tui.cli.output import ask, message, report
from tui.config.paths import Paths, ensure_dirs, find_paths
from tui.config.secrets import resolve_secret
from tui.config.settings import Settings
from tui.config.store import ConfigStore
from tui.core.clock import SYSTEM
from tui.core.errors import Failure, FailureKind, PaddockError
from tui.core.kept import kept_of
from tui.core.models import Endpoint, Model
from tui.core.names import same
from tui.core.options import AppOptions
from tui.providers.address import Address, display_place, is_loopback, ollama_host, origin, parse
from tui.providers.base import Provider
from tui.providers.catalogue import kinds
from tui.providers.discovery import Found, discover, find, held_by
from tui.providers.factory import make_provider
from tui.services.asks import OFFLINE
from tui.services.audit import Audit
from tui.services.logs import start_log
from tui.services.ports import Ports
from tui.services.registry import DEMO, GIVEN, endpoint_of
from tui.text import clean_name, nearest, rate, size

if TYPE_CHECKING:
    from tui.services.jobs import Jobs
    from tui.store.db import Database

CAP: Final = 5.0
"""Seconds a server is given for a list."""
LOOK: Final = 2.0
"""Seconds of looking around; servers that are named later are not waited for."""
_NOBODY: Final = "Start a model server, or name one with paddock --provider URL; paddock doctor tells more"


class Listed(NamedTuple):
    """A server that answered, and its models; what is kept of deleted and replaced ones is among them only where it was asked for."""

    provider: Provider
    models: tuple[Model, ...]


class Context:
    """One command's surroundings; close it with `aclose`.

    Args:
        options: The global ones.
        args: Of the command.
        demo_url: The demo server's address, where `--demo` was given.
    """

    def __init__(self, options: AppOptions, args: Namespace, demo_url: str = "") -> None:
        self.options = options
        self.args = args
        self.json = bool(getattr(args, "json", False))
        self.paths: Paths = find_paths(config=options.config, demo=options.demo)
        overrides = {"security.access": "look"} if options.readonly else {}
        self.config = ConfigStore(self.paths, os.environ, overrides)
        start_log(self.paths.logs, options.log_level or self.settings.general.log_level)
        self.audit = Audit(self.paths.state, SYSTEM, lambda: self.settings.security.audit, "command line")
        self.failed: list[Failure] = []
        self._demo_url = demo_url
        self._looked_at = ""
        self._providers: dict[str, Provider] = {}
        self._asked: dict[str, Endpoint] = {}
        self._given: Endpoint | None = None
        self._database: Database | None = None
        self._jobs: Jobs | None = None

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return self.config.current.value

    def size(self, count: float | None) -> str:
        """Bytes as `appearance.units` wants them."""
        return size(count, binary=self.settings.appearance.units == "binary")

    def rate(self, count: float | None) -> str:
        """Bytes a second, likewise."""
        return rate(count, binary=self.settings.appearance.units == "binary")

    def allow(self, what: str, *, destructive: bool = False) -> None:
        """Refuse what `security.access` does not allow.

        Raises:
            PaddockError: Of kind REFUSED.
        """
        access = self.settings.security.access
        if access == "look" or (access == "use" and destructive):
            remedy = "Run it without --readonly" if self.options.readonly else "Change security.access in the configuration file"
            raise PaddockError.of(f"{what} is refused", f"security.access = {access}", remedy, FailureKind.REFUSED)

    @property
    def offline(self) -> bool:
        """Nothing may leave this machine."""
        return self.settings.general.network == "offline"

    # --- which servers -----------------------------------------------------------------------------------------------

    async def endpoints(self) -> list[Endpoint]:
        """The servers to ask, the default first; discovery is not among them."""
        if self.options.demo and not self.options.provider:
            return [Endpoint(DEMO, "ollama", self._demo_url)]
        if self.options.provider:
            self._given = self._given or await self._by_address(self.options.provider)
            return [self._given]
        configured = self.settings.providers
        found = [endpoint_of(name, one) for name, one in configured.items() if one.enabled and not self.silent(name)]
        if not any(one.kind == "ollama" for one in configured.values()):
            url = ollama_host(os.environ)
            if url and not (self.offline and not is_loopback(url)):
                found.append(Endpoint("ollama", "ollama", url))
        default = self.settings.general.default_provider
        return sorted(found, key=lambda endpoint: endpoint.name != default)

    def silent(self, name: str) -> str:
        """Why nothing may be asked of a configured server, or empty."""
        one = self.settings.providers[name]
        if not one.enabled:
            return "switched off"
        return OFFLINE if self.offline and (not is_loopback(one.url) or one.location == "elsewhere") else ""

    async def _by_address(self, text: str) -> Endpoint:
        """The configured server at an address, with its key, else what answers there; raises PaddockError where nothing known does."""
        if self.offline and not is_loopback(text):
            raise PaddockError.of(f"Not asked: {OFFLINE}", clean_name(text, 200), "Change general.network", FailureKind.REFUSED)
        address_of(text)
        for name, one in self.settings.providers.items():
            if origin(one.url) == origin(text):
                return endpoint_of(name, one)
        found = await find(text, kinds())
        if isinstance(found, Failure):
            raise PaddockError(found)
        return Endpoint(GIVEN, found.kind, found.url)

    async def discovered(self, known: Sequence[Endpoint]) -> list[Endpoint]:
        """Servers found on this machine's known ports, where `general.discover` allows; takes at most `LOOK` seconds."""
        if not self.settings.general.discover or self.options.provider or self.options.demo:
            return []
        found: dict[str, Found] = {}

        def noted(one: Found) -> None:
            if one.kind and not one.child_of:
                found[one.url] = one

        try:
            async with asyncio.timeout(LOOK):
                looked = await discover(kinds(), known=[endpoint.url for endpoint in known], environ={}, on_found=noted)
                self._looked_at = looked.looked_at
        except TimeoutError:
            pass
        taken = {endpoint.name for endpoint in known} | set(self.settings.providers)
        endpoints = []
        for one in sorted(found.values(), key=lambda one: one.url):
            number, name = 1, one.kind
            while name in taken:
                number += 1
                name = f"{one.kind}-{number}"
            taken.add(name)
            endpoints.append(Endpoint(name, one.kind, one.url))
        return endpoints

    async def named(self, name: str) -> Endpoint:
        """The server of a name.

        Raises:
            PaddockError: There is none, or nothing may be asked of it.
        """
        known = await self.endpoints()
        for endpoint in known:
            if endpoint.name == name:
                return endpoint
        if name in self.settings.providers and not self.options.provider and not self.options.demo:
            raise PaddockError.of(
                f"{clean_name(name, 80)} is not asked: {self.silent(name)}",
                f"providers.{clean_name(name, 80)}",
                "Change that setting",
                FailureKind.REFUSED,
            )
        found = await self.discovered(known)
        for endpoint in found:
            if endpoint.name == name:
                return endpoint
        near = nearest(name, [endpoint.name for endpoint in (*known, *found)])
        remedy = f"The nearest name is {near}" if near else "See paddock providers"
        raise PaddockError.of(f"There is no provider named {clean_name(name, 80)}", "", remedy, FailureKind.CONFIG)

    def connect(self, endpoint: Endpoint) -> Provider:
        """The provider of an endpoint; a person waits, so a request is repeated once, soon."""
        if endpoint.name not in self._providers:
            self._asked[endpoint.name] = endpoint
            brisk = replace(endpoint, retries=min(endpoint.retries, 1), retry_delay=min(endpoint.retry_delay, 0.3))
            self._providers[endpoint.name] = make_provider(
                brisk, lambda reference: resolve_secret(reference, settings=self.settings, environ=os.environ)
            )
        return self._providers[endpoint.name]

    def endpoint_of(self, provider: Provider) -> Endpoint:
        """A provider's endpoint as the settings have it, for jobs that run without us."""
        return self._asked[provider.endpoint.name]

    # --- asking them -------------------------------------------------------------------------------------------------

    async def ask(self, endpoints: Sequence[Endpoint], *, kept: bool = False) -> tuple[list[Listed], dict[str, Failure]]:
        """Ask servers for their models, all at once, each at most `CAP` seconds; the failures by name."""
        answers = await asyncio.gather(*(self._list(endpoint, kept=kept) for endpoint in endpoints))
        found = [answer for answer in answers if isinstance(answer, Listed)]
        pairs = zip(endpoints, answers, strict=True)
        return found, {endpoint.name: answer for endpoint, answer in pairs if isinstance(answer, Failure)}

    async def _list(self, endpoint: Endpoint, *, kept: bool = False) -> Listed | Failure:
        try:
            await self.trust(endpoint, "your key", only_with_key=True)
            provider = self.connect(endpoint)
            async with asyncio.timeout(CAP):
                return Listed(provider, tuple(model for model in await provider.models() if kept or kept_of(model.key) is None))
        except PaddockError as error:
            return named_failure(endpoint, error.failure)
        except TimeoutError:
            return late(endpoint)

    async def everybody(self, on: str = "", *, kept: bool = False) -> list[Listed]:
        """All servers that list their models, the default first, found ones last; the others are named on standard error.

        They are kept in `failed`, so that the exit code can tell. With `kept`, the trash and earlier versions are listed, too.

        Raises:
            PaddockError: None answered, or there is none of the name `on`.
        """
        if on:
            found, failures = await self.ask([await self.named(on)], kept=kept)
        else:
            known = await self.endpoints()
            (found, failures), others = await asyncio.gather(self.ask(known, kept=kept), self._look(known, kept=kept))
            found += others[0]
            failures |= others[1]
        self.failed = list(failures.values())
        if not found:
            raise self._nobody(self.failed)
        for failure in self.failed:
            report(failure)
        return found

    async def _look(self, known: Sequence[Endpoint], *, kept: bool = False) -> tuple[list[Listed], dict[str, Failure]]:
        return await self.ask(await self.discovered(known), kept=kept)

    def _nobody(self, failures: Sequence[Failure]) -> PaddockError:
        for failure in failures[:-1]:
            report(failure)
        if failures:
            return PaddockError(failures[-1])
        if self.settings.providers and self.offline:
            return PaddockError.of("No provider was asked", "general.network = offline", "Change general.network", FailureKind.REFUSED)
        where = f"looked at {self._looked_at}" if self._looked_at else ""
        return PaddockError.of("No provider answered", where, _NOBODY, FailureKind.UNREACHABLE)

    async def answers(self, on: str = "") -> AsyncGenerator[Listed, None]:
        """The servers a change or a prompt may go to, in their order: the one named, else the default first, found ones last.

        All are asked at once; who stops reading early does not wait for those that come later.

        Raises:
            PaddockError: None answered. A default that was named and does not answer is not replaced by another.
        """
        free = on or self.options.provider or self.options.demo
        pinned = on or ("" if free else self.settings.general.default_provider)
        known = [await self.named(pinned)] if pinned else []
        if not on:
            known += [endpoint for endpoint in await self.endpoints() if endpoint.name != pinned]
        self.failed, someone = [], False
        tasks = [asyncio.ensure_future(self._list(endpoint)) for endpoint in known]
        try:
            for endpoint, task in zip(known, tasks, strict=True):
                answer = await task
                if isinstance(answer, Listed):
                    someone = True
                    yield answer
                    continue
                self.failed.append(answer)
                if endpoint.name == pinned:
                    remedy = answer.remedy if on else f"{answer.remedy}, or name another with --on".removeprefix(", ")
                    raise PaddockError(replace(answer, remedy=remedy))
        finally:
            for task in tasks:
                task.cancel()
        if not on:
            found, failures = await self._look(known)
            self.failed += failures.values()
            for answer in found:
                someone = True
                yield answer
        if not someone:
            raise self._nobody(self.failed)

    async def with_model(self, name: str, on: str = "", *, alone: bool = False) -> tuple[Provider, Model]:
        """The provider that has a model, the default before others.

        Args:
            name: As the server spells it, or as Ollama would read it.
            on: The only provider to look at.
            alone: Refuse where several have it and none of them is the default.

        Raises:
            PaddockError: None has it, or none answered.
        """
        asked: list[Listed] = []
        have: list[tuple[Provider, Model]] = []
        default = self.settings.general.default_provider
        async with aclosing(self.answers(on)) as answers:
            async for answer in answers:
                asked.append(answer)
                have += having([answer], name)
                if have and (not alone or have[0][0].endpoint.name == default):
                    return have[0]
        for failure in self.failed:
            report(failure)
        if not have:
            raise self._missing(name, asked)
        if alone and self.failed and not on:
            silent = "One provider" if len(self.failed) == 1 else f"{len(self.failed)} providers"
            what = f"{silent} did not answer: it is not known who else has {clean_name(name, 80)}"
            raise PaddockError.of(what, have[0][0].endpoint.name, "Say which with --on", FailureKind.CONFIG)
        if len(have) > 1:
            where = ", ".join(provider.endpoint.name for provider, _ in have)
            raise PaddockError.of(f"{len(have)} providers have {clean_name(name, 80)}", where, "Say which with --on", FailureKind.CONFIG)
        return have[0]

    def _missing(self, name: str, asked: Sequence[Listed]) -> PaddockError:
        from tui.core.capabilities import Capability

        for failure in self.failed:
            report(failure)
        shown, where = clean_name(name, 80), ", ".join(listed.provider.endpoint.name for listed in asked)
        near = nearest(name, [model.name for listed in asked for model in listed.models])
        if near:
            remedy = f"The nearest name is {near}"
        elif any(Capability.PULL in listed.provider.capabilities for listed in asked):
            remedy = f"Fetch it with paddock pull {shown}"
        else:
            remedy = "See paddock ls"
        return PaddockError.of(f"There is no model {shown}", where, remedy, FailureKind.NOT_FOUND)

    async def trust(self, endpoint: Endpoint, what: str, *, only_with_key: bool = False) -> None:
        """Before a prompt or key goes to a port of this machine that another person's account holds: ask once ever.

        Raises:
            PaddockError: It is not allowed, or there is nobody to ask.
        """
        if endpoint.name == DEMO or not is_loopback(endpoint.url) or (only_with_key and not endpoint.key):
            return
        holder = await held_by(endpoint.url)
        if holder is None or not holder.other_person:
            return
        from tui.store.meta import Meta

        async def put(text: str, choices: Sequence[tuple[str, str]]) -> str:
            there = sys.stdin.isatty() and sys.stderr.isatty()
            return choices[1][0] if there and await ask(text) else choices[0][0]

        ports = Ports(put, self.audit)
        ports.open(Meta(self.database()))
        if not await ports.ask_trust(endpoint.url, holder, what):
            raise PaddockError.of(
                f"Nothing was sent: another person's account ({holder.user or 'unknown'}) holds the port",
                display_place(endpoint.url),
                "Check who runs that server, or allow it in a terminal",
                FailureKind.REFUSED,
            )

    # --- the database ------------------------------------------------------------------------------------------------

    def database(self, *, write: bool = True) -> Database:
        """The database, opened the first time it is asked for."""
        from tui.services.jobs import make_way
        from tui.store.db import Database
        from tui.store.opening import is_older

        if self._database is None:
            ensure_dirs(self.paths)
            read_only = not write and self.paths.database.exists() and not is_older(self.paths.database)
            if not read_only and not make_way(self.paths):
                remedy = "Wait until it ends, then try again"
                raise PaddockError.of("A worker of another version keeps the database", clean_name(str(self.paths.locks)), remedy)
            self._database = Database(self.paths.database, read_only=read_only, network_fs=self.paths.network)
            if self._database.opened.sentence():
                message(f"{self._database.opened.sentence()}.")
        return self._database

    def writable(self) -> Database:
        """The database, where it can be written.

        Raises:
            PaddockError: It cannot, and why.
        """
        database = self.database()
        if database.read_only:
            what = Failure("The database is open for reading only", clean_name(str(self.paths.database)), "Check the disk and its owner")
            raise PaddockError(database.problem or what)
        return database

    def jobs(self, *, write: bool = True) -> Jobs:
        """The queue; without `write` it can only be looked at."""
        from tui.services.jobs import Jobs

        if self._jobs is None:
            database = self.writable() if write else self.database(write=False)
            self._jobs = Jobs(database, self.paths, limit=lambda: self.settings.pulls.bandwidth)
        return self._jobs

    async def aclose(self) -> None:
        """Close connections and the database."""
        for provider in self._providers.values():
            await provider.aclose()
        if self._database is not None:
            await self._database.aclose()


def having(asked: Sequence[Listed], name: str) -> list[tuple[Provider, Model]]:
    """The providers that have a model, each with it; an exact spelling wins over another one."""
    found = []
    for provider, models in asked:
        exact = next((model for model in models if name in (model.key, model.name)), None)
        model = exact or next((model for model in models if same(model.key, name)), None)
        if model is not None:
            found.append((provider, model))
    return found


def named_failure(endpoint: Endpoint, failure: Failure) -> Failure:
    """The same, with the provider's name in front."""
    return replace(failure, what=f"{endpoint.name}: {failure.what}")


def late(endpoint: Endpoint) -> Failure:
    """A server that takes connections and does not answer in time."""
    what = f"{endpoint.name} did not answer in {CAP:g} s"
    return Failure(what, display_place(endpoint.url), "See whether it is busy, or look at its log", FailureKind.TIMEOUT)


def address_of(text: str) -> Address:
    """A typed address; raises PaddockError of kind CONFIG where it is none."""
    try:
        return parse(text)
    except PaddockError as error:
        raise wrong_usage(error) from None


def wrong_usage(error: PaddockError) -> PaddockError:
    """The same as a mistake in the command, which exits with 2."""
    return PaddockError(replace(error.failure, kind=FailureKind.CONFIG))
