"""llama.cpp's `llama-server`, with one model or as a router (providers reference, section 3.1)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

from tui.core.capabilities import Ability, Capability
from tui.core.chat import CompletionRequest
from tui.core.clock import SYSTEM, Clock
from tui.core.errors import PaddockError
from tui.core.events import Delta, Done, StreamEvent
from tui.core.fim import fim_of
from tui.core.models import Endpoint, ModelDetail, RunningModel
from tui.providers.base import Health
from tui.providers.catalogue import Kind
from tui.providers.errors import error_in, failed, interrupted, protocol, stream_failure
from tui.providers.http import CONTROL
from tui.providers.metrics import PATIENCE, Figures, ask
from tui.providers.openai_compat import PLAIN, OpenAI
from tui.providers.openai_parse import dig, metrics_of, reason_of
from tui.providers.openai_requests import options_body
from tui.providers.streams import Comment, Objects, ServerSentEvents, int_of, list_of, map_of, text_of
from tui.text import clean_block, clean_label, clean_name

_POLL: Final = 0.3
MOST_SLOTS: Final = 256


class LlamaCpp(OpenAI):
    """One llama-server; what it adds to the OpenAI dialect."""

    capabilities: frozenset[Capability] = OpenAI.capabilities | {
        Capability.INFILL,
        Capability.RUNNING,
        Capability.SHOW,
        Capability.METRICS,
        Capability.SLOTS,
    }

    def __init__(self, endpoint: Endpoint, resolve: Callable[[str], str], clock: Clock = SYSTEM, kind: Kind = PLAIN) -> None:
        super().__init__(endpoint, resolve, clock, kind)
        self.router = False
        self._slots = Written()

    async def check(self) -> Health:
        """`GET /health`, then `/props` for the version and for whether it is a router."""
        health = await super().check()
        if health.loading:
            return health
        props = await self.props()
        self.router = props.get("role") == "router"
        self.capabilities = type(self).capabilities | ({Capability.LOAD, Capability.UNLOAD} if self.router else frozenset())
        return Health(clean_name(text_of(props.get("build_info")), 60), health.latency)

    async def props(self, model: str = "") -> Mapping[str, Any]:
        """`GET /props`; empty where it is switched off."""
        return map_of(await self._optional("/props" + _query(model)) or {})

    async def slots(self, model: str = "", *, timeout: float = CONTROL) -> list[Mapping[str, Any]] | None:
        """`GET /slots`; None where it is switched off."""
        value = await self._optional("/slots" + _query(model), timeout)
        return [map_of(item) for item in value] if isinstance(value, list) else None

    async def figures(self, model: str = "") -> Figures:
        """`GET /metrics` and `/slots`; a router has them only of one model.

        Answers are counted in `/metrics` once they are finished: what is written now is told by the slots.
        """
        query = _query(model)
        told = await ask(self.http, self.kind, query) if self.kind.metrics.map else Figures("/slots")
        try:
            slots = await self.slots(model, timeout=PATIENCE)
        except PaddockError:
            if not told.values:
                raise
            slots = None
        if slots is None:
            return told
        values = {**self._slots.figures(model, slots), **told.values}
        return Figures(told.source if told.values else "/slots", values, note=told.note)

    async def _optional(self, path: str, timeout: float = CONTROL) -> Any:
        try:
            return await self.http.get_json(path, timeout=timeout)
        except PaddockError as error:
            if error.failure.status in (400, 404, 501):
                return None
            raise

    async def running(self) -> tuple[RunningModel, ...]:
        """The loaded models with the context they are served with; the slots of a single model."""
        reply = await self.http.get_json("/v1/models")
        entries = [map_of(item) for item in list_of(map_of(reply).get("data"))]
        loaded = [entry for entry in entries if dig(entry, "status.value") in (None, "loaded", "sleeping")]
        slots = await self.slots() if len(loaded) == 1 and "status" not in loaded[0] else None
        found = []
        for entry in loaded:
            key = text_of(entry.get("id"))
            if key:
                found.append(
                    RunningModel(
                        provider=self.endpoint.name,
                        name=clean_name(key),
                        key=key,
                        context=int_of(dig(entry, "meta.n_ctx")) or None,
                        trained_context=int_of(dig(entry, "meta.n_ctx_train")) or None,
                        quantization=clean_name(text_of(dig(entry, "meta.ftype")), 60),
                        slots=None if slots is None else len(slots),
                        busy_slots=None if slots is None else sum(slot.get("is_processing") is True for slot in slots),
                    )
                )
        return tuple(found)

    async def show(self, model: str, *, verbose: bool = False) -> ModelDetail:
        """What `/props` and the model list say of a model."""
        entries = [map_of(item) for item in list_of(map_of(await self.http.get_json("/v1/models")).get("data"))]
        entry = next((item for item in entries if item.get("id") == model), entries[0] if len(entries) == 1 else {})
        props = await self.props(model if "status" in entry else "")
        parameters = int_of(dig(entry, "meta.n_params"))
        return ModelDetail(
            provider=self.endpoint.name,
            name=clean_name(model),
            abilities=_abilities(model, props),
            parameters=f"{parameters / 1e9:.1f}B" if parameters and parameters >= 1e9 else f"{parameters / 1e6:.0f}M" if parameters else "",
            quantization=clean_name(text_of(dig(entry, "meta.ftype")) or text_of(props.get("model_ftype")), 60),
            format="gguf",
            template=clean_block(text_of(props.get("chat_template"))),
            context=int_of(dig(entry, "meta.n_ctx_train")) or int_of(dig(entry, "meta.n_ctx")) or None,
            info={clean_name(key): clean_label(str(value)) for key, value in map_of(entry.get("meta")).items()},
        )

    def complete(self, request: CompletionRequest) -> AsyncIterator[StreamEvent]:
        """`POST /infill` where there is a suffix, else the OpenAI call."""
        return self._infill(request) if request.suffix else super().complete(request)

    async def _infill(self, request: CompletionRequest) -> AsyncIterator[StreamEvent]:
        options = options_body(request.options, self.kind.chat)
        if limit := options.pop(self.kind.chat.max_tokens, None):
            options["n_predict"] = limit
        body = {**options, "model": request.model, "input_prefix": request.prompt, "input_suffix": request.suffix, "stream": True}
        target = self.http.target
        async with self.http.stream("POST", "/infill", body, model=request.model) as answer:
            events = ServerSentEvents(target)
            objects = Objects(answer, events)
            async for item in objects:
                if isinstance(item, Comment):
                    continue
                error = error_in(item)
                if error is not None:
                    raise failed(stream_failure(error, target))
                text = item.get("content")
                if not isinstance(text, str):
                    events.lines.bad(str(item)[:200])
                    continue
                events.lines.good()
                if text:
                    yield Delta(text)
                if item.get("stop") is True:
                    reason = "length" if item.get("stop_type") == "limit" else reason_of("stop")
                    yield Done(reason, metrics_of({}, map_of(item.get("timings"))), clean_name(text_of(item.get("model"))))
                    return
            raise interrupted(target, "it ended without its end mark", objects.cut())

    # --- router mode

    async def load(self, model: str, *, keep_alive: str = "", options: Mapping[str, Any] | None = None) -> None:
        """`POST /models/load` of a router, then its list until the model is loaded; cancelling asks for the unload."""
        if not self.router:
            await super().load(model)
        await self.http.request("POST", "/models/load", {"model": model}, model=model)
        try:
            while not await self._is_loaded(model):  # noqa: ASYNC110 (the server has no event for it)
                await asyncio.sleep(_POLL)
        except asyncio.CancelledError:
            await self.http.request("POST", "/models/unload", {"model": model}, model=model)
            raise

    async def _is_loaded(self, model: str) -> bool:
        for item in list_of(map_of(await self.http.get_json("/models")).get("data")):
            entry = map_of(item)
            if entry.get("id") == model:
                status = map_of(entry.get("status"))
                if status.get("failed"):
                    raise protocol(self.http.target, f"{clean_name(model)} could not be loaded")
                return status.get("value") == "loaded"
        raise protocol(self.http.target, f"{clean_name(model)} is not in its list")

    async def unload(self, model: str) -> None:
        """`POST /models/unload` of a router."""
        if not self.router:
            await super().unload(model)
        await self.http.request("POST", "/models/unload", {"model": model}, model=model)


class Written:
    """What the slots of a server wrote since it was asked first; what a request wrote after the last look at it is not counted."""

    def __init__(self) -> None:
        self._seen: dict[str, dict[int, tuple[int, int]]] = {}
        self._sum: dict[str, int] = {}

    def figures(self, model: str, slots: Sequence[Mapping[str, Any]]) -> dict[str, float]:
        """Busy slots, and what they wrote; with one slot also the share of its context that is in use."""
        seen, now = self._seen.get(model, {}), dict[int, tuple[int, int]]()
        running = 0
        for number, slot in enumerate(slots[:MOST_SLOTS]):
            running += slot.get("is_processing") is True
            task = int_of(slot.get("id_task")) or 0
            written = self._written(slot)
            now[number] = (task, written)
            before_task, before = seen.get(number, (task, written if not seen else 0))
            grown = written - before if before_task == task else written
            self._sum[model] = self._sum.get(model, 0) + max(0, grown)
        self._seen[model] = now
        found = {"running": float(running), "written": float(self._sum.get(model, 0))}
        if len(slots) == 1 and (share := self._share(slots[0])) is not None:
            found["kv_used"] = share
        return found

    def _written(self, slot: Mapping[str, Any]) -> int:
        told = slot.get("next_token")
        entry = map_of(told[0] if isinstance(told, list) and told else told)
        return max(0, int_of(entry.get("n_decoded")) or 0)

    def _share(self, slot: Mapping[str, Any]) -> float | None:
        """Several slots may share one cache, so this is told of a single one only."""
        total, prompt = int_of(slot.get("n_ctx")), int_of(slot.get("n_prompt_tokens"))
        if not total or prompt is None or prompt < 0:
            return None
        return min(1.0, (prompt + self._written(slot)) / total)


def _abilities(model: str, props: Mapping[str, Any]) -> frozenset[Ability]:
    """What a model can: by its template, and by what the server says of it; what neither tells (older servers) is taken as possible."""
    template, says = text_of(props.get("chat_template")), map_of(props.get("chat_template_caps"))
    modalities, silent = map_of(props.get("modalities")), not template and not says
    found = {Ability.COMPLETION}
    found |= {ability for ability in (Ability.VISION, Ability.AUDIO) if modalities.get(str(ability)) is True}
    if silent or says.get("supports_tools") is True or (not says and "tools" in template):
        found.add(Ability.TOOLS)
    if silent or says.get("supports_reasoning_effort") is True or re.search(r"think|reasoning", template):
        found.add(Ability.THINKING)
    if fim_of(model) is not None:
        found.add(Ability.INSERT)
    return frozenset(found)


def _query(model: str) -> str:
    return f"?model={quote(model, safe='')}" if model else ""
