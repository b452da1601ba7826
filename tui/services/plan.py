"""What a pull will fetch, found out before it starts: the registry's manifest, and what the server has of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final
from urllib.parse import urlsplit

from tui.config.secrets import resolve_secret
from tui.config.settings import Settings
from tui.core.capabilities import Capability
from tui.core.clock import SYSTEM, Clock
from tui.core.errors import Failure, FailureKind, PaddockError
from tui.core.jobs import Plan, PlanLayer
from tui.core.models import Endpoint
from tui.core.names import DEFAULT_HOST, ModelName, parse
from tui.core.record import record
from tui.core.threads import in_daemon_thread
from tui.core.versions import numbers
from tui.providers import ports
from tui.providers.base import Provider
from tui.providers.base_url import is_near
from tui.providers.manifest import Manifest, Registry, registry_url
from tui.providers.redirects import is_hugging_face
from tui.services.space import LOOPBACK, runs_here
from tui.text import clean_name

WITHIN: Final = 15.0
"""Seconds for all of it."""
VERSION_WITHIN: Final = 3.0
MANIFEST_WITHIN: Final = 9.0
HEADS_END: Final = 0.5
"""Seconds before the end at which the server is asked no more, so that what it said counts."""
HEADS_AT_ONCE: Final = 2
MOST_HEADS: Final = 200
"""Layers that a server is asked about, the largest first; the small ones of a model in a thousand pieces weigh nothing."""
LOOK_WITHIN: Final = 1.0

_FINAL: Final = frozenset({FailureKind.NOT_FOUND, FailureKind.UNSUPPORTED, FailureKind.FORBIDDEN, FailureKind.BAD_REQUEST})
_LATER: Final = "sizes come while it runs"
_NO: Final = frozenset({"", "0", "f", "false"})


@record(frozen=True)
class _Here:
    """What is known of a server's process on this machine."""

    local: bool = False
    keeps_partials: bool | None = None


class Planner:
    """Makes plans.

    Args:
        settings: The running settings: the network, the token for Hugging Face.
        environ: `PADDOCK_REGISTRY` names another address for Ollama's registry (a mirror); the token may be in a variable.
        demo: The server itself is the registry.
    """

    def __init__(self, settings: Callable[[], Settings], environ: Mapping[str, str], clock: Clock = SYSTEM, *, demo: bool = False) -> None:
        self._settings = settings
        self._environ = environ
        self._clock = clock
        self._demo = demo

    async def plan(self, provider: Provider, model: str, *, insecure: bool = False) -> Plan:
        """Ask the registry and the server; at most 15 s.

        Raises:
            PaddockError: The name is none, the server cannot pull, or the registry says that this cannot be pulled: no such model,
                a newer server is needed, access is refused.
        """
        name = parse(model)
        if Capability.PULL not in provider.capabilities:
            what = f"{clean_name(provider.endpoint.name)} cannot pull models"
            raise PaddockError.of(what, provider.endpoint.name, "Choose an Ollama server", FailureKind.UNSUPPORTED)
        made_at = self._clock.time()
        until = asyncio.get_running_loop().time() + WITHIN
        try:
            async with asyncio.timeout_at(until):
                (version, down), here = await asyncio.gather(self._version(provider), self._here(provider.endpoint))
                known = Plan(version=version, keeps_partials=here.keeps_partials, made_at=made_at)
                manifest, note = await self._manifest(provider.endpoint, name, version, here, insecure=insecure)
                if manifest is None:
                    return replace(known, note=note)
                _check_version(manifest, name, version, provider.endpoint)
                plan = replace(
                    known,
                    layers=manifest.layers,
                    digest=manifest.digest,
                    canonical=manifest.canonical,
                    requires=manifest.requires,
                    context=manifest.context,
                    parameters=manifest.parameters,
                    quantization=manifest.quantization,
                    family=manifest.family,
                )
                if manifest.remote or _in_cloud(name):
                    return replace(plan, note=f"{clean_name(str(name))} runs in Ollama's cloud: there are no weights to fetch")
                if down:
                    return replace(plan, note=down)
                present, note = await self._present(provider, manifest.layers, until - HEADS_END)
                return replace(plan, present=present, note=note)
        except TimeoutError:
            return Plan(note=f"Neither the registry nor the server answered in time; {_LATER}", made_at=made_at)

    # --- the server ---------------------------------------------------------------------------------------------------

    async def _version(self, provider: Provider) -> tuple[str, str]:
        """The server's version, or why it is not known."""
        if self._settings().general.network == "offline" and not is_near(urlsplit(provider.endpoint.url).hostname or ""):
            return "", f"general.network is offline: {clean_name(provider.endpoint.name)} is not asked what it has already"
        try:
            async with asyncio.timeout(VERSION_WITHIN):
                return (await provider.check()).version, ""
        except (PaddockError, TimeoutError):
            return "", f"{clean_name(provider.endpoint.name)} does not answer: what it has already is not known"

    async def _present(self, provider: Provider, layers: Sequence[PlanLayer], until: float) -> tuple[frozenset[str] | None, str]:
        """Which layers the server has; None and why, where it does not tell. `until` is a time of the loop's clock."""
        waiting = sorted(layers, key=lambda layer: -layer.size)[:MOST_HEADS]
        found: set[str] = set()
        asked = 0

        async def ask() -> None:
            nonlocal asked
            while waiting:
                layer = waiting.pop(0)
                if await provider.has_blob(layer.digest):
                    found.add(layer.digest)
                asked += 1

        trouble = False
        try:
            async with asyncio.timeout_at(until), asyncio.TaskGroup() as group:
                for _each in range(HEADS_AT_ONCE):
                    group.create_task(ask())
        except (TimeoutError, ExceptionGroup) as error:
            if isinstance(error, ExceptionGroup) and (other := error.split(PaddockError)[1]) is not None:
                raise other from None
            trouble = True
        server = clean_name(provider.endpoint.name)
        if trouble and not asked:
            return None, f"{server} does not tell which layers it has"
        few = f"{server} was asked about the largest {asked} of {len(layers)} layers" if asked < len(layers) else ""
        return frozenset(found), few

    async def _here(self, endpoint: Endpoint) -> _Here:
        """Whether the server runs on this machine, and what its process says of unfinished downloads."""
        if not runs_here(endpoint, self._settings()):
            return _Here()
        host, port = urlsplit(endpoint.url).hostname or "", urlsplit(endpoint.url).port or 80
        try:
            async with asyncio.timeout(LOOK_WITHIN):
                return await in_daemon_thread(lambda: look_at(port, host))
        except TimeoutError:
            return _Here(True)

    # --- the registry -------------------------------------------------------------------------------------------------

    async def _manifest(
        self, endpoint: Endpoint, name: ModelName, version: str, here: _Here, *, insecure: bool
    ) -> tuple[Manifest | None, str]:
        """The manifest, or why it is not known.

        Raises:
            PaddockError: What the registry says makes the pull useless.
        """
        mirror = self.mirror(name)
        url = self.address(endpoint, name, insecure=insecure)
        shown = "the registry" if self._demo or mirror else clean_name(name.host, 60)
        host = urlsplit(url).hostname or ""
        if self._settings().general.network == "offline" and host not in LOOPBACK:
            return None, f"general.network is offline: {shown} is not asked, {_LATER}"
        if not self._demo and not mirror and host in LOOPBACK and not here.local:
            return None, f"{shown} is an address of the server's own machine: {_LATER}"
        registry: Registry | None = None
        try:
            async with asyncio.timeout(MANIFEST_WITHIN):
                registry = Registry(url, version=version, key=self.key_for(url), clock=self._clock)
                return await registry.manifest(name), ""
        except PaddockError as error:
            failure = error.failure
            if failure.kind in _FINAL and (version or failure.kind is not FailureKind.UNSUPPORTED):
                raise
            return None, _why(failure, shown)
        except TimeoutError:
            return None, f"{shown} did not answer in time; the server may reach it: {_LATER}"
        finally:
            if registry is not None:
                await registry.aclose()

    def mirror(self, name: ModelName) -> str:
        """The address that `PADDOCK_REGISTRY` names instead of Ollama's registry, or empty."""
        return self._environ.get("PADDOCK_REGISTRY", "").strip() if name.host.lower() == DEFAULT_HOST else ""

    def address(self, endpoint: Endpoint, name: ModelName, *, insecure: bool = False) -> str:
        """Where the registry of a name is; the demo's server is its own."""
        return endpoint.url if self._demo else self.mirror(name) or registry_url(name, insecure=insecure)

    def key_for(self, url: str) -> Callable[[], str] | None:
        """Gives the key for Hugging Face, where the address is Hugging Face's."""
        settings = self._settings()
        token = settings.models.hf_token
        if not token or not is_hugging_face(url):
            return None
        return lambda: token.text if token.literal else resolve_secret(token.text, settings=settings, environ=self._environ)


def look_at(port: int, host: str) -> _Here:
    """Whoever holds a local port: whether that is the server itself, and its `OLLAMA_NOPRUNE` where we may read it."""
    import psutil  # only where a plan is made

    holder = ports.holder(port, host=host)
    if holder is None or holder.is_ssh_tunnel:
        return _Here(holder is None)
    if holder.pid is None or "ollama" not in f"{holder.process_name} {holder.command}".lower():
        return _Here(True)
    try:
        value = psutil.Process(holder.pid).environ().get("OLLAMA_NOPRUNE", "")
    except (psutil.Error, OSError):
        return _Here(True)
    return _Here(True, value.strip().strip("\"'").lower() not in _NO)


def _why(failure: Failure, shown: str) -> str:
    """Why a registry's manifest is not known, one sentence."""
    if failure.kind is FailureKind.AUTH:
        return f"{shown} wants a key, which the server may have: {_LATER}" if failure.status else f"{failure.what}: {_LATER}"
    if failure.kind is FailureKind.UNSUPPORTED:
        return f"{shown} wants a newer Ollama, and the server's version is not known: {_LATER}"
    if failure.kind in (FailureKind.UNREACHABLE, FailureKind.TIMEOUT, FailureKind.INTERRUPTED, FailureKind.TLS):
        return f"{shown} cannot be reached from here; the server may reach it: {_LATER}"
    if failure.kind in (FailureKind.BUSY, FailureKind.SERVER) and failure.status:
        return f"{shown} answered {failure.status}; the server may fare better: {_LATER}"
    if failure.kind is FailureKind.CONFIG:
        return f"{failure.what}: {_LATER}"
    return f"{shown} gave no manifest that can be used; the server may fare better: {_LATER}"


def _in_cloud(name: ModelName) -> bool:
    tag = name.tag.lower()
    return name.host.lower() == DEFAULT_HOST and (tag == "cloud" or tag.endswith("-cloud"))


def _check_version(manifest: Manifest, name: ModelName, version: str, endpoint: Endpoint) -> None:
    """Refuse what the config says the server is too old for; versions that say nothing (0.0.0 of a build of one's own) pass."""
    needed, has = numbers(manifest.requires), numbers(version)
    if needed is not None and has is not None and any(has) and has < needed:
        what = f"{clean_name(str(name))} needs Ollama {manifest.requires}; {clean_name(endpoint.name)} has {version}"
        raise PaddockError.of(what, endpoint.name, "Update the server, then pull again", FailureKind.UNSUPPORTED)
