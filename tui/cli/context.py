"""What a command works with: settings, providers and, on demand, the database."""

from __future__ import annotations

import asyncio
import os
from argparse import Namespace
from typing import TYPE_CHECKING

from tui.cli.output import message
from tui.config.paths import Paths, ensure_dirs, find_paths
from tui.config.secrets import resolve_secret
from tui.config.settings import Settings
from tui.config.store import ConfigStore
from tui.core.errors import Failure, FailureKind, PaddockError
from tui.core.models import Endpoint, Model
from tui.core.names import same
from tui.core.options import AppOptions
from tui.providers.address import ollama_host
from tui.providers.base import Provider
from tui.providers.catalogue import kinds
from tui.providers.discovery import discover, identify
from tui.providers.factory import make_provider
from tui.services.registry import endpoint_of
from tui.text import clean_name, size

if TYPE_CHECKING:
    from tui.services.jobs import Jobs
    from tui.store.db import Database

_NOBODY = Failure(
    "No provider answered", "", "Start a model server, or name one with --provider URL; paddock doctor tells more", FailureKind.UNREACHABLE
)


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
        self._demo_url = demo_url
        self._providers: dict[str, Provider] = {}
        self._database: Database | None = None
        self._jobs: Jobs | None = None

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return self.config.current.value

    def size(self, count: float | None) -> str:
        """Bytes as `appearance.units` wants them."""
        return size(count, binary=self.settings.appearance.units == "binary")

    def allow(self, what: str, *, destructive: bool = False) -> None:
        """Refuse what `security.access` does not allow.

        Raises:
            PaddockError: Of kind REFUSED.
        """
        access = self.settings.security.access
        if access == "look" or (access == "use" and destructive):
            remedy = "Run it without --readonly" if self.options.readonly else "Change security.access"
            raise PaddockError.of(f"{what} is refused", f"security.access = {access}", remedy, FailureKind.REFUSED)

    # --- providers -------------------------------------------------------------------------------------------------

    async def endpoints(self) -> list[Endpoint]:
        """The servers to ask, the default first; discovery is not among them."""
        if self.options.demo and not self.options.provider:
            return [Endpoint("demo", "ollama", self._demo_url)]
        if self.options.provider:
            return [await self.by_address(self.options.provider)]
        found = [endpoint_of(name, provider) for name, provider in self.settings.providers.items() if provider.enabled]
        if not any(provider.kind == "ollama" for provider in self.settings.providers.values()):
            url = ollama_host(os.environ)
            if url:
                found.append(Endpoint("ollama", "ollama", url))
        default = self.settings.general.default_provider
        return sorted(found, key=lambda endpoint: endpoint.name != default)

    async def by_address(self, text: str) -> Endpoint:
        """Find out what answers at an address that a person typed; raises PaddockError where nothing known does."""
        from tui.providers.address import candidates

        last: Failure | None = None
        for candidate in candidates(text, kinds()):
            identity = await identify(candidate.url)
            if identity.kind:
                return Endpoint(identity.kind, identity.kind, candidate.url)
            last = identity.failure or last
        raise PaddockError(last or Failure("No model server answered", clean_name(text, 200), "Check the address", FailureKind.UNREACHABLE))

    async def discovered(self, known: list[Endpoint]) -> list[Endpoint]:
        """Servers found on this machine's known ports, where `general.discover` allows."""
        if not self.settings.general.discover or self.options.provider or self.options.demo:
            return []
        result = await discover(kinds(), known=[endpoint.url for endpoint in known])
        names: dict[str, int] = {}
        endpoints = []
        for found in result.found:
            if found.child_of:
                continue
            names[found.kind] = names.get(found.kind, 0) + 1
            name = found.kind if names[found.kind] == 1 else f"{found.kind}-{names[found.kind]}"
            endpoints.append(Endpoint(name, found.kind, found.url))
        return endpoints

    def connect(self, endpoint: Endpoint) -> Provider:
        """The provider of an endpoint."""
        if endpoint.name not in self._providers:
            self._providers[endpoint.name] = make_provider(
                endpoint, lambda reference: resolve_secret(reference, settings=self.settings, environ=os.environ)
            )
        return self._providers[endpoint.name]

    async def answering(self, on: str = "") -> list[tuple[Provider, tuple[Model, ...]]]:
        """Providers that list their models, the default first; those that do not are named on standard error.

        Raises:
            PaddockError: None answered, or there is none of the name `on`.
        """
        known = await self.endpoints()
        asked = known
        if on:
            asked = [endpoint for endpoint in known if endpoint.name == on]
            if not asked:
                asked = [endpoint for endpoint in await self.discovered(known) if endpoint.name == on]
            if not asked:
                raise PaddockError.of("There is no provider of that name", clean_name(on, 80), "See paddock providers", FailureKind.CONFIG)
        found, failures = await self._ask(asked)
        if not found and not on:
            found, more = await self._ask(await self.discovered(known))
            failures += more
        if not found:
            raise PaddockError(failures[0] if failures else _NOBODY)
        for failure in failures:
            message(f"{failure.sentence()}.")
        return found

    async def _ask(self, endpoints: list[Endpoint]) -> tuple[list[tuple[Provider, tuple[Model, ...]]], list[Failure]]:
        providers = [self.connect(endpoint) for endpoint in endpoints]
        answers = await asyncio.gather(*(provider.models() for provider in providers), return_exceptions=True)
        found: list[tuple[Provider, tuple[Model, ...]]] = []
        failures: list[Failure] = []
        for provider, answer in zip(providers, answers, strict=True):
            if isinstance(answer, PaddockError):
                failures.append(answer.failure)
            elif isinstance(answer, BaseException):
                raise answer
            else:
                found.append((provider, answer))
        return found, failures

    async def provider(self, on: str = "") -> Provider:
        """The named provider, else the first that answers, the default before others."""
        return (await self.answering(on))[0][0]

    async def with_model(self, name: str, on: str = "") -> tuple[Provider, Model]:
        """The provider that has a model.

        Raises:
            PaddockError: None has it, or none answered.
        """
        answering = await self.answering(on)
        for provider, models in answering:
            for model in models:
                if name in (model.key, model.name) or same(model.key, name):
                    return provider, model
        where = ", ".join(provider.endpoint.name for provider, _ in answering)
        shown = clean_name(name, 80)
        raise PaddockError.of(f"There is no model {shown}", where, f"Fetch it with paddock pull {shown}", FailureKind.NOT_FOUND)

    # --- the database ------------------------------------------------------------------------------------------------

    def database(self, *, write: bool = True) -> Database:
        """The database, opened the first time it is asked for."""
        from tui.store.db import Database

        if self._database is None:
            ensure_dirs(self.paths)
            read_only = not write and self.paths.database.exists()
            self._database = Database(self.paths.database, read_only=read_only, network_fs=self.paths.network)
        return self._database

    def jobs(self) -> Jobs:
        """The queue."""
        from tui.services.jobs import Jobs

        if self._jobs is None:
            self._jobs = Jobs(self.database(), self.paths)
        return self._jobs

    async def aclose(self) -> None:
        """Close connections and the database."""
        for provider in self._providers.values():
            await provider.aclose()
        if self._database is not None:
            await self._database.aclose()
