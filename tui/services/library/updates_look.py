"""Looks whether registries have newer versions of what is installed (Ollama reference, section 4.4).

One `HEAD` a tag; only where that says something else the manifest is read, and then the small layers that changed.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from tui.core.clock import Clock
from tui.core.errors import Failure, FailureKind, PaddockError
from tui.core.jobs import Plan
from tui.core.library import UpdateState, UpdateStatus
from tui.core.models import Model, ModelDetail
from tui.core.names import DEFAULT_HOST, ModelName, parse
from tui.core.textdiff import LEFT_OUT, changed_lines
from tui.core.threads import in_daemon_thread
from tui.providers.base import Provider
from tui.providers.manifest import Head, Registry
from tui.services.library.updates_past import Past, is_old
from tui.services.plan import Planner
from tui.text import clean_block, clean_label, clean_name, size

AT_ONCE: Final = 6
"""Tags that are asked about at the same time, each on a connection of its own."""
GIVE_UP: Final = 3
"""Failures to reach a registry, one after the other, after which its other tags are not asked about."""
HEAD_HOST: Final = "https://ollama.com"
"""Where Ollama's own app asks whether a tag of its library is stale."""
MOST_LINES: Final = 400
"""Lines of a diff that are kept."""
LONGEST: Final = 2000
"""Lines of a text that is compared."""
_AWAY: Final = (FailureKind.UNREACHABLE, FailureKind.TIMEOUT, FailureKind.INTERRUPTED, FailureKind.TLS, FailureKind.BUSY)
_TEXTS: Final = ("template", "parameters", "system", "licence")
_WORDS: Final = {"licence": "licence", "system": "system prompt"}

Found = tuple[Provider, Model, UpdateState]


class Radar:
    """Asks the registries.

    Args:
        planner: Knows the registries' addresses and keys, and what a pull would fetch.
        clock: For the times that are kept.
        past: What is known of a model; asked where its own date says too little.
        demo: The server is the registry.
    """

    def __init__(self, planner: Planner, clock: Clock, past: Callable[[Model], Awaitable[Past]], *, demo: bool = False) -> None:
        self._planner = planner
        self._clock = clock
        self._past = past
        self._demo = demo
        self._away: dict[str, int] = {}

    async def look(self, pairs: Iterable[tuple[Provider, Model]]) -> AsyncGenerator[Found, None]:
        """What the registries have of these models, in the order the answers come; models in a cloud are left out."""
        waiting = [(provider, model) for provider, model in pairs if not model.remote]
        done: asyncio.Queue[Found] = asyncio.Queue()
        total = len(waiting)
        waiting.reverse()

        async def work() -> None:
            async with _Registries(self._planner) as registries:
                while waiting:
                    provider, model = waiting.pop()
                    done.put_nowait((provider, model, await self._one(registries, provider, model)))

        workers = [asyncio.create_task(work(), name="update check") for _each in range(min(AT_ONCE, total))]
        try:
            for _each in range(total):
                yield await _next(done, workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)

    async def _one(self, registries: _Registries, provider: Provider, model: Model) -> UpdateState:
        try:
            name = parse(model.key)
        except PaddockError as error:
            return self._state(model, UpdateStatus.GONE, failure=error.failure)
        host = name.host.lower()
        if self._away.get(host, 0) >= GIVE_UP:
            what = f"{clean_name(host)} did not answer, so it was not asked about this one"
            return self._state(model, UpdateStatus.UNKNOWN, failure=Failure(what, clean_name(host), "Look again later"))
        try:
            found = await self._compared(registries, provider, model, name)
        except PaddockError as error:
            failure = error.failure
            if failure.kind is FailureKind.NOT_FOUND:
                return self._state(model, UpdateStatus.GONE)
            self._away[host] = self._away.get(host, 0) + 1 if failure.kind in _AWAY else 0
            return self._state(model, UpdateStatus.UNKNOWN, failure=failure)
        self._away[host] = 0
        return found

    async def _compared(self, registries: _Registries, provider: Provider, model: Model, name: ModelName) -> UpdateState:
        head = Head()
        if name.host.lower() == DEFAULT_HOST:
            url = self._planner.address(provider.endpoint, name)
            head = await registries.at(url if self._demo or self._planner.mirror(name) else HEAD_HOST).head(name)
            if head.digest and head.digest == _bare(model.digest):
                return self._state(model, UpdateStatus.CURRENT, head)
        plan = await self._planner.plan(provider, model.key)
        if not plan.digest:
            why = Failure(plan.note or "The registry gave no manifest", clean_name(name.host), "Look again later")
            return self._state(model, UpdateStatus.UNKNOWN, head, failure=why)
        if _bare(model.digest) in (plan.digest, plan.canonical):
            return self._state(model, UpdateStatus.CURRENT, head)
        detail = await provider.show(model.key)
        if same_weights(plan, detail):
            if name.host.lower() != DEFAULT_HOST and not self._changed_texts(plan, detail):
                return self._state(model, UpdateStatus.CURRENT, head)  # Hugging Face gives each client another manifest
            pushed = head.pushed_at
            if pushed is not None and (model.modified_at or 0) >= pushed and not is_old(model, pushed, await self._past(model)):
                return self._state(model, UpdateStatus.CURRENT, head, changes=("you changed it after it was pulled",))
            status = UpdateStatus.METADATA
        else:
            status = UpdateStatus.WEIGHTS
        kinds = self._changed_texts(plan, detail)
        diff = await self._diff(registries.at(self._planner.address(provider.endpoint, name)), name, plan, detail, kinds)
        changes = _changes(status, plan, kinds)
        return self._state(model, status, head, plan.missing if plan.present is not None else None, changes, diff)

    @staticmethod
    def _changed_texts(plan: Plan, detail: ModelDetail) -> tuple[str, ...]:
        """Which of the small texts are others: their layers are not on the server, or it has one that the registry dropped."""
        there = plan.present or frozenset()
        new = {layer.kind for layer in plan.layers if layer.digest not in there} if plan.present is not None else set(_TEXTS)
        announced = {layer.kind for layer in plan.layers}
        gone = {kind for kind, text in (("system", detail.system), ("template", detail.template)) if text and kind not in announced}
        return tuple(kind for kind in _TEXTS if kind in (new & announced) | (gone if announced & {"template", "system"} else set()))

    async def _diff(self, registry: Registry, name: ModelName, plan: Plan, detail: ModelDetail, kinds: Sequence[str]) -> tuple[str, ...]:
        ours = {
            "template": detail.template,
            "system": detail.system,
            "licence": detail.licence,
            "parameters": "\n".join(sorted(f"{key} {value}" for key, value in detail.options)),
        }
        lines: list[str] = []
        for kind in kinds:
            theirs = []
            for layer in (one for one in plan.layers if one.kind == kind):
                body = await registry.small_blob(name, layer)
                if body is None:
                    break
                theirs.append(text_of(kind, body))
            else:
                lines += await in_daemon_thread(partial(unified, kind, ours[kind], "\n".join(theirs)))
        return tuple(lines[:MOST_LINES])

    def _state(
        self,
        model: Model,
        status: UpdateStatus,
        head: Head = Head(),  # noqa: B008  frozen
        fetch: int | None = None,
        changes: tuple[str, ...] = (),
        diff: tuple[str, ...] = (),
        failure: Failure | None = None,
    ) -> UpdateState:
        return UpdateState(status, model.digest, self._clock.time(), fetch, head.pushed_at, changes, diff, failure)


class _Registries:
    """Connections to registries by address, closed at the end."""

    def __init__(self, planner: Planner) -> None:
        self._planner = planner
        self._open: dict[str, Registry] = {}

    def at(self, url: str) -> Registry:
        """The connection to an address."""
        if url not in self._open:
            self._open[url] = Registry(url, key=self._planner.key_for(url))
        return self._open[url]

    async def __aenter__(self) -> _Registries:
        return self

    async def __aexit__(self, *_what: object) -> None:
        for registry in self._open.values():
            await registry.aclose()


async def _next(done: asyncio.Queue[Found], workers: Sequence[asyncio.Task[None]]) -> Found:
    """The next answer; raises what ended a worker."""
    getting = asyncio.ensure_future(done.get())
    try:
        while not getting.done():
            running = [worker for worker in workers if not worker.done()]
            await asyncio.wait({getting, *running}, return_when=asyncio.FIRST_COMPLETED)
            for worker in workers:
                if worker.done() and not worker.cancelled() and (error := worker.exception()) is not None:
                    raise error
        return getting.result()
    finally:
        getting.cancel()


def _bare(digest: str) -> str:
    return digest.removeprefix("sha256:").lower()


def same_weights(plan: Plan, detail: ModelDetail) -> bool:
    """Whether the registry's weights are those the server has."""
    if detail.weights_digest and detail.weights_digest in plan.weights:
        return True
    weights = [layer.digest for layer in plan.layers if layer.kind in ("weights", "tensor")]
    return not detail.weights_digest and plan.present is not None and bool(weights) and all(digest in plan.present for digest in weights)


def _changes(status: UpdateStatus, plan: Plan, kinds: Sequence[str]) -> tuple[str, ...]:
    weights = sum(layer.size for layer in plan.layers if layer.kind in ("weights", "tensor"))
    out = [f"weights: {size(weights)} of others"] if status is UpdateStatus.WEIGHTS else []
    out += [f"{_WORDS.get(kind, kind)} changed" for kind in kinds]
    if status is UpdateStatus.WEIGHTS and "template" not in kinds:
        out.append("template the same")
    return tuple(out)


def text_of(kind: str, body: bytes) -> str:
    """A small layer as text, cleaned; parameters as `show` lists them."""
    text = body.decode("utf-8", "replace")
    if kind != "parameters":
        return clean_block(text)
    try:
        value: Any = json.loads(text)
    except (ValueError, RecursionError):
        return clean_block(text)
    if not isinstance(value, Mapping):
        return clean_block(text)
    lines = [f"{key} {item}" for key, items in value.items() for item in (items if isinstance(items, list) else [items])]
    return "\n".join(sorted(clean_label(line, 400) for line in lines))


def unified(kind: str, ours: str, theirs: str) -> list[str]:
    """A unified diff of a text, headed by its kind; nothing where both are alike."""
    before, after = ours.strip().split("\n"), theirs.strip().split("\n")
    if len(before) > LONGEST or len(after) > LONGEST:
        return [f"{_WORDS.get(kind, kind)}: {len(before)} and {len(after)} lines, too many to compare here"]
    changes = changed_lines([clean_label(line, 400) for line in before], [clean_label(line, 400) for line in after], 2)
    shown = ["…" if sign == LEFT_OUT else sign + line for sign, line in changes]
    return [f"{_WORDS.get(kind, kind)}:", *shown] if shown else []
