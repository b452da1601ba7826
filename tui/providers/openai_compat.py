"""Every server that speaks the OpenAI dialect, by what the catalogue says of its kind (providers reference, 2.3, 3.13)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tui.core.capabilities import Capability
from tui.core.chat import ChatRequest, CompletionRequest
from tui.core.clock import SYSTEM, Clock
from tui.core.errors import Failure, FailureKind, PaddockError
from tui.core.events import Delta, Done, JobStep, PromptProgress, StreamEvent, Thinking
from tui.core.models import Endpoint, Model, ModelDetail, RunningModel
from tui.providers.base import Health
from tui.providers.catalogue import Kind
from tui.providers.errors import error_in, failed, interrupted, protocol, stream_failure, unsupported
from tui.providers.http import MAX_CONTROL, Http, Reply
from tui.providers.metrics import Figures, ask
from tui.providers.ollama import MAX_ANSWER
from tui.providers.openai_parse import Reader, entries_of, models_of
from tui.providers.openai_requests import chat_body, completion_body, optional, refuse_what_it_cannot
from tui.providers.streams import (
    DONE,
    Comment,
    Objects,
    ServerSentEvents,
    ThinkTags,
    decode_json,
    list_of,
    map_of,
    progress_of,
    vector_of,
)
from tui.text import clean_name

if TYPE_CHECKING:
    from tui.core.modelfile import Modelfile
    from tui.providers.client import Answer

PLAIN: Final = Kind(id="openai", name="the server", family="openai", rank=1000)
"""What holds where the catalogue does not know the kind."""

_TRIM: Final = ("/v1/chat/completions", "/chat/completions", "/v1/models", "/models", "/v1")
_TAIL: Final = 5.0


class OpenAI:
    """One server with an OpenAI-like API; see `base.Provider` for the methods.

    Attributes:
        refused: Optional fields that it named in a refusal, and that are not sent any more.

    Args:
        endpoint: Where.
        resolve: Gives the key for a reference.
        clock: For latencies.
        kind: Its entry in the catalogue.

    Raises:
        PaddockError: The address cannot be used.
    """

    capabilities: frozenset[Capability] = frozenset({Capability.CHAT, Capability.COMPLETE, Capability.EMBED})

    def __init__(self, endpoint: Endpoint, resolve: Callable[[str], str], clock: Clock = SYSTEM, kind: Kind = PLAIN) -> None:
        self.endpoint = endpoint
        self.kind = kind
        key = kind.auth.headers[0]
        self.http = Http(endpoint, resolve, clock, label=kind.name, trim=_TRIM, key_header=(key.header, key.prefix))
        self._clock = clock
        self._version_path = "/v1"
        self.refused: frozenset[str] = frozenset()
        if kind.models.state or kind.models.lists == "loaded":
            self.capabilities = self.capabilities | {Capability.RUNNING}
        if kind.metrics.map:
            self.capabilities = self.capabilities | {Capability.METRICS}

    def _path(self, path: str) -> str:
        return self._version_path + path.removeprefix("/v1") if path.startswith("/v1/") else path

    # --- questions

    async def check(self) -> Health:
        """The catalogue's health path, or the model list; never a completion."""
        begun = self._clock.monotonic()
        path = self.kind.health.path if self.kind.health is not None else self._path(self.kind.models.path)
        try:
            reply = await self._look(path)
        except PaddockError as error:
            if error.failure.kind is not FailureKind.LOADING:
                raise
            return Health("", self._clock.monotonic() - begun, loading=True, note="loading model")
        if "html" in reply.headers.get("content-type", "") and reply.body[:300].lstrip().lower().startswith((b"<!doctype", b"<html")):
            raise protocol(self.http.target, "it is a web page")
        return Health("", self._clock.monotonic() - begun)

    async def _look(self, path: str) -> Reply:
        """GET a path; a server that knows it not still answered, so it is asked for its models instead."""
        models = self._path(self.kind.models.path)
        try:
            return await self.http.get(path)
        except PaddockError as error:
            if error.failure.status not in (404, 405):
                raise
            if path == models:
                return Reply(error.failure.status, {}, b"")
        return await self._look(models)

    async def models(self) -> tuple[Model, ...]:
        """The model list; empty where this server has none (then the user types the name)."""
        spec = self.kind.models
        paths = [self._path(spec.path)]
        if spec.path.startswith("/v1/") and self._version_path:
            paths.append(spec.path.removeprefix("/v1"))
        for path in paths:
            try:
                reply = await self.http.get(path, retry=True)
            except PaddockError as error:
                if error.failure.status in (404, 405):
                    continue
                raise
            if not reply.body.strip():
                return ()
            entries = entries_of(self.http.parse(reply), spec.list)
            if entries is None:
                raise protocol(self.http.target, "it holds no list of models")
            if path == spec.path.removeprefix("/v1"):
                self._version_path = ""
            return models_of(self.endpoint.name, entries, spec)
        return ()

    async def running(self) -> tuple[RunningModel, ...]:
        """The models its list marks as loaded."""
        if Capability.RUNNING not in self.capabilities:
            raise unsupported(self.http.target, "say what is in memory")
        return tuple(
            RunningModel(self.endpoint.name, model.name, model.key, context=model.context, quantization=model.quantization)
            for model in await self.models()
            if model.loaded
        )

    async def figures(self, model: str = "") -> Figures:
        """What the catalogue's `[metrics]` say where to find."""
        if not self.kind.metrics.map:
            raise unsupported(self.http.target, "tell about its work")
        return await ask(self.http, self.kind)

    async def show(self, model: str, *, verbose: bool = False) -> ModelDetail:
        """Not part of this API."""
        raise unsupported(self.http.target, "describe a model")

    # --- answers

    def chat(self, request: ChatRequest) -> AsyncIterator[StreamEvent]:
        """`POST /v1/chat/completions`; what this kind cannot do is a failure of kind UNSUPPORTED."""

        def body() -> dict[str, Any]:
            refuse_what_it_cannot(request, self.kind.chat, self.endpoint.name, self.http.target.host)
            return chat_body(request, self.kind.chat, self.refused)

        return self._answer(self.kind.chat.path, body, tags=True)

    def complete(self, request: CompletionRequest) -> AsyncIterator[StreamEvent]:
        """`POST /v1/completions`; with suffix where the kind documents it, else a failure of kind UNSUPPORTED."""
        return self._answer("/v1/completions", lambda: self._completion(request), tags=False)

    def _completion(self, request: CompletionRequest) -> dict[str, Any]:
        if request.suffix and not self.kind.chat.suffix:
            raise unsupported(self.http.target, "fill a gap")
        return completion_body(request, self.kind.chat, self.refused)

    async def _answer(self, path: str, make: Callable[[], dict[str, Any]], *, tags: bool) -> AsyncIterator[StreamEvent]:
        while True:
            body = make()
            try:
                async with self.http.stream("POST", self._path(path), body, model=str(body.get("model", ""))) as answer:
                    async for event in _Events(self, answer, ThinkTags() if tags else None):
                        yield event
                    return
            except PaddockError as error:
                named = self._named(error.failure, body)
                if not named:
                    raise
                self.refused |= named

    def _named(self, failure: Failure, body: Mapping[str, Any]) -> frozenset[str]:
        """The optional fields a refusal names: the request was not worked, so it may go out again without them."""
        if failure.status not in (400, 422):
            return frozenset()
        return frozenset(name for name in optional(self.kind.chat) if name in body and name in failure.details)

    async def embed(self, model: str, texts: Sequence[str], *, dimensions: int | None = None) -> tuple[tuple[float, ...], ...]:
        """`POST /v1/embeddings`."""
        body: dict[str, Any] = {"model": model, "input": list(texts), **({"dimensions": dimensions} if dimensions is not None else {})}
        async with self.http.stream("POST", self._path("/v1/embeddings"), body, model=model) as answer:
            raw = await answer.whole(MAX_CONTROL)
        try:
            value = map_of(decode_json(raw))
        except ValueError:
            raise protocol(self.http.target, "it is not JSON") from None
        vectors = tuple(vector for item in list_of(value.get("data")) if (vector := vector_of(map_of(item).get("embedding"))))
        if len(vectors) != len(texts):
            raise protocol(self.http.target, f"{len(texts)} texts gave {len(vectors)} vectors")
        return vectors

    # --- what this API has no calls for

    def pull(self, model: str, *, insecure: bool = False) -> AsyncIterator[JobStep]:
        """Not part of this API."""
        raise unsupported(self.http.target, "pull models")

    def push(self, model: str, *, insecure: bool = False) -> AsyncIterator[JobStep]:
        """Not part of this API."""
        raise unsupported(self.http.target, "push models")

    def create(self, model: str, fields: Mapping[str, Any]) -> AsyncIterator[JobStep]:
        """Not part of this API."""
        raise unsupported(self.http.target, "create models")

    async def made_of(self, model: str) -> Modelfile:
        """Not part of this API."""
        raise unsupported(self.http.target, "tell what a model is made of")

    async def has_blob(self, digest: str) -> bool:
        """Not part of this API."""
        raise unsupported(self.http.target, "keep files")

    async def upload_blob(self, digest: str, path: Path, progress: Callable[[int], None] | None = None) -> None:
        """Not part of this API."""
        raise unsupported(self.http.target, "take files")

    async def copy(self, model: str, destination: str) -> None:
        """Not part of this API."""
        raise unsupported(self.http.target, "copy models")

    async def delete(self, model: str) -> None:
        """Not part of this API."""
        raise unsupported(self.http.target, "delete models")

    async def load(self, model: str, *, keep_alive: str = "", options: Mapping[str, Any] | None = None) -> None:
        """Not part of this API."""
        raise unsupported(self.http.target, "load models on request")

    async def unload(self, model: str) -> None:
        """Not part of this API."""
        raise unsupported(self.http.target, "unload models on request")

    async def aclose(self) -> None:
        """Close every connection."""
        await self.http.aclose()


class _Events:
    """The events of one answer, streamed or whole; ends after `Done`. No generator, so leaving it leaves nothing behind."""

    def __init__(self, provider: OpenAI, answer: Answer, tags: ThinkTags | None) -> None:
        self._target = provider.http.target
        self._answer = answer
        self._tags = tags
        self._reader = Reader(provider.kind.chat)
        self._events = ServerSentEvents(self._target)
        self._objects = Objects(answer, self._events)
        self._ready: list[StreamEvent] = []
        self._length = 0
        self._ended = False
        self._fault: PaddockError | None = None

    def __aiter__(self) -> _Events:
        return self

    async def __anext__(self) -> StreamEvent:
        while not self._ready:
            if self._fault is not None:
                raise self._fault
            if self._ended:
                raise StopAsyncIteration
            try:
                await self._more()
            except PaddockError as error:
                self._fault = error
                if self._tags:  # what might have become a tag is text after all
                    self._ready.extend(self._tags.close())
        return self._ready.pop(0)

    async def _more(self) -> None:
        kind = self._answer.headers.get("content-type", "")
        if "json" in kind and "event-stream" not in kind and not self._reader.chunks:
            self._take(self._whole(await self._answer.whole(MAX_CONTROL)))
            calls = any(self._reader.calls())
            if not self._ready and not calls and not self._reader.reason:
                raise protocol(self._target, "it holds no answer")
            self._end()
            return
        try:
            item = await (asyncio.wait_for(anext(self._objects), _TAIL) if self._reader.reason else anext(self._objects))
        except StopAsyncIteration:
            self._stop()
        except (PaddockError, TimeoutError):
            if not self._reader.reason:
                raise
            self._end()  # the answer was whole; only its figures are missing
        else:
            if isinstance(item, Comment):
                if found := progress_of(item):
                    self._ready.append(PromptProgress(*found))
            elif item is DONE:
                self._stop(marked=True)
            else:
                self._take(item)

    def _whole(self, raw: bytes) -> Mapping[str, Any]:
        try:
            return map_of(decode_json(raw))
        except ValueError:
            raise protocol(self._target, "it is not JSON") from None

    def _take(self, item: Mapping[str, Any]) -> None:
        error = error_in(item)
        if error is not None:
            raise failed(stream_failure(error, self._target))
        found = self._reader.read(item)
        if found is None:
            self._events.lines.bad(str(item)[:200])
            return
        self._events.lines.good()
        for event in found:
            self._length += len(event.text) if isinstance(event, (Delta, Thinking)) else 0
            self._ready.extend(self._tags.feed(event) if self._tags else (event,))
        if self._length > MAX_ANSWER:
            raise protocol(self._target, f"it is longer than {MAX_ANSWER // 1024 // 1024} MB")

    def _stop(self, *, marked: bool = False) -> None:
        if self._reader.reason or (marked and self._reader.chunks):
            self._end()
            return
        if not self._answer.received:
            what = f"{self._target} sent nothing at all: the prompt is probably longer than the model's context"
            raise failed(Failure(what, self._target.host, "Shorten the conversation, or serve a larger context", FailureKind.BAD_REQUEST))
        raise interrupted(self._target, "it ended without its end mark", self._objects.cut())

    def _end(self) -> None:
        self._ended = True
        if self._tags:
            self._ready.extend(self._tags.close())
        calls = list(self._reader.calls())
        self._ready.extend(calls)
        reason = self._reader.reason or "stop"
        self._ready.append(
            Done("tool_calls" if calls and reason == "stop" else reason, self._reader.metrics(), clean_name(self._reader.model))
        )
