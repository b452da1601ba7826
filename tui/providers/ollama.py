"""Ollama's own API (Ollama reference, section 2)."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tui.core.capabilities import Capability
from tui.core.chat import ChatRequest, CompletionRequest
from tui.core.clock import SYSTEM, Clock
from tui.core.errors import Failure, FailureKind, PaddockError
from tui.core.events import Delta, Done, JobStep, StreamEvent, Thinking, ToolCall
from tui.core.models import Endpoint, Model, ModelDetail, RunningModel
from tui.providers.base import Health
from tui.providers.errors import error_in, failed, interrupted, message_of, protocol, stream_failure, unsupported
from tui.providers.http import MAX_CONTROL, Http
from tui.providers.ollama_parse import (
    chat_events,
    classify_pull_error,
    detail_of,
    generate_events,
    hides_arrays,
    metrics_of,
    models_of,
    running_of,
    step_of,
)
from tui.providers.ollama_requests import chat_body, generate_body, keep_alive_of, refusal
from tui.providers.streams import Comment, JsonLines, Objects, ThinkTags, list_of, map_of, text_of, vector_of
from tui.text import clean_name

if TYPE_CHECKING:
    from tui.core.modelfile import Modelfile
    from tui.providers.metrics import Figures

__all__ = ["Ollama", "classify_pull_error"]

MAX_ANSWER: Final = 16 * 1024 * 1024
"""Characters of one answer, thoughts included."""

SHOW: Final = 10.0
CHANGE: Final = 30.0
_BLOB: Final = re.compile(r"sha256[:-][0-9a-f]{64}\Z")
_PIECE: Final = 1024 * 1024
_LISTS: Final = 256
"""Models whose per-layer figures are remembered: `show` gives them together with the whole vocabulary."""
_WRITTEN: Final = "Let whoever writes to it end, then retry"


class Ollama:
    """One Ollama server; see `base.Provider` for the methods.

    Args:
        endpoint: Where.
        resolve: Gives the key for a reference.
        clock: For latencies and for what is in the past.

    Raises:
        PaddockError: The address cannot be used.
    """

    capabilities: frozenset[Capability] = frozenset(Capability) - {Capability.METRICS, Capability.SLOTS, Capability.INFILL}

    def __init__(self, endpoint: Endpoint, resolve: Callable[[str], str], clock: Clock = SYSTEM) -> None:
        self.endpoint = endpoint
        self.http = Http(endpoint, resolve, clock, label="Ollama", trim=("/api", "/v1"))
        self._clock = clock
        self._lists: dict[str, Mapping[str, Any]] = {}

    # --- questions

    async def check(self) -> Health:
        """`GET /api/version`."""
        begun = self._clock.monotonic()
        value = map_of(await self.http.get_json("/api/version"))
        version = text_of(value.get("version"))
        if not version:
            raise protocol(self.http.target, "it names no version")
        return Health(clean_name(version, 60), self._clock.monotonic() - begun)

    async def status(self) -> Mapping[str, Any]:
        """`GET /api/status`: whether the cloud is disabled, and by what; empty on servers before 0.16.2."""
        try:
            return map_of(await self.http.get_json("/api/status"))
        except PaddockError as error:
            if error.failure.status in (404, 405):
                return {}
            raise

    async def models(self) -> tuple[Model, ...]:
        """`GET /api/tags`."""
        value = await self.http.get_json("/api/tags", retry=True)
        if not isinstance(value, dict) or "models" not in value:
            raise protocol(self.http.target, "it holds no list of models")
        return models_of(self.endpoint.name, value, self._clock.time())

    async def running(self) -> tuple[RunningModel, ...]:
        """`GET /api/ps`."""
        return running_of(self.endpoint.name, await self.http.get_json("/api/ps"), self._clock.time())

    async def figures(self, model: str = "") -> Figures:
        """Not part of this API."""
        raise unsupported(self.http.target, "tell about its work")

    async def show(self, model: str, *, verbose: bool = False) -> ModelDetail:
        """`POST /api/show`; asked a second time with `verbose` where per-layer figures were withheld, once for each blob of weights."""
        detail = await self._show(model, verbose)
        if verbose or not hides_arrays(detail):
            return detail
        lists = self._lists.get(detail.weights_digest) if detail.weights_digest else None
        if lists is None:
            try:
                told = await self._show(model, True)
            except PaddockError:
                return detail
            lists = {key: value for key, value in told.info.items() if isinstance(value, list)}
            while len(self._lists) >= _LISTS:
                del self._lists[next(iter(self._lists))]
            self._lists[detail.weights_digest] = lists
        return replace(detail, info={**detail.info, **lists})

    async def _show(self, model: str, verbose: bool) -> ModelDetail:
        body = {"model": model, "verbose": True} if verbose else {"model": model}
        reply = await self.http.request("POST", "/api/show", body, timeout=SHOW, model=model)
        value = self.http.parse(reply)
        if not isinstance(value, dict):
            raise protocol(self.http.target, "it describes no model")
        return detail_of(self.endpoint.name, model, value)

    # --- answers

    def chat(self, request: ChatRequest) -> AsyncIterator[StreamEvent]:
        """`POST /api/chat`."""
        return self._answer("/api/chat", lambda: chat_body(request, self.endpoint.keep_alive), chat_events)

    def complete(self, request: CompletionRequest) -> AsyncIterator[StreamEvent]:
        """`POST /api/generate`."""
        return self._answer("/api/generate", lambda: generate_body(request, self.endpoint.keep_alive), generate_events)

    async def _answer(
        self, path: str, make: Callable[[], dict[str, Any]], read: Callable[[Mapping[str, Any]], Iterator[StreamEvent] | None]
    ) -> AsyncIterator[StreamEvent]:
        body, tags = make(), ThinkTags()
        try:
            async with aclosing(self._events(path, body, read, tags)) as events:
                async for event in events:
                    yield event
        except PaddockError as error:
            for part in tags.close():  # what might have become a tag is text after all
                yield part
            told = refusal(error.failure, clean_name(str(body["model"])))
            if told is error.failure:
                raise
            raise failed(told) from error

    async def _events(
        self, path: str, body: Mapping[str, Any], read: Callable[[Mapping[str, Any]], Iterator[StreamEvent] | None], tags: ThinkTags
    ) -> AsyncGenerator[StreamEvent, None]:
        target, length, called = self.http.target, 0, False
        async with self.http.stream("POST", path, body, model=text_of(body.get("model"))) as answer:
            lines = JsonLines(target)
            objects = Objects(answer, lines)
            async for item in objects:
                if isinstance(item, Comment):
                    continue
                error = error_in(item)
                if error is not None:
                    raise failed(stream_failure(error, target))
                events, done = read(item), item.get("done") is True
                if events is None and not done:
                    lines.lines.bad(str(item)[:200])
                    continue
                lines.lines.good()
                for event in events or ():
                    called = called or isinstance(event, ToolCall)
                    for part in tags.feed(event):
                        length += len(part.text) if isinstance(part, (Delta, Thinking)) else 0
                        yield part
                if length > MAX_ANSWER:
                    raise protocol(target, f"it is longer than {MAX_ANSWER // 1024 // 1024} MB")
                if done:
                    for part in tags.close():
                        yield part
                    reason = clean_name(text_of(item.get("done_reason")), 40)
                    name = clean_name(text_of(item.get("model")))
                    yield Done("tool_calls" if called and reason == "stop" else reason, metrics_of(item), name)
                    return
            raise interrupted(target, "it ended without its end mark", objects.cut())

    async def embed(self, model: str, texts: Sequence[str], *, dimensions: int | None = None) -> tuple[tuple[float, ...], ...]:
        """`POST /api/embed`."""
        body: dict[str, Any] = {"model": model, "input": list(texts)}
        if dimensions is not None:
            body["dimensions"] = dimensions
        value = await self._wait("/api/embed", body, model)
        vectors = tuple(vector for item in list_of(value.get("embeddings")) if (vector := vector_of(item)))
        if len(vectors) != len(texts):
            raise protocol(self.http.target, f"{len(texts)} texts gave {len(vectors)} vectors")
        return vectors

    # --- memory

    async def load(self, model: str, *, keep_alive: str = "", options: Mapping[str, Any] | None = None) -> None:
        """`POST /api/generate` without a prompt; embedding models, which refuse that, by an empty `/api/embed`."""
        body: dict[str, Any] = {"model": model}
        if (kept := keep_alive_of(keep_alive or self.endpoint.keep_alive)) is not None:
            body["keep_alive"] = kept
        if chosen := {name: value for name, value in (options or {}).items() if value is not None}:
            body["options"] = chosen
        try:
            await self._wait("/api/generate", body, model)
        except PaddockError as error:
            if error.failure.status != 400 or "does not support generate" not in error.failure.details:
                raise
            await self._wait("/api/embed", {**body, "input": []}, model)

    async def unload(self, model: str) -> None:
        """`POST /api/generate` with a keep-alive of 0."""
        await self._wait("/api/generate", {"model": model, "keep_alive": 0}, model)

    async def _wait(self, path: str, body: Mapping[str, Any], model: str) -> Mapping[str, Any]:
        """A request answered by one object after a load of unknown length."""
        async with self.http.stream("POST", path, body, model=model) as answer:
            last: Mapping[str, Any] | None = None
            async for item in Objects(answer, JsonLines(self.http.target)):
                if isinstance(item, Comment):
                    continue
                error = error_in(item)
                if error is not None:
                    raise failed(stream_failure(error, self.http.target))
                last = item
        if last is None:
            raise interrupted(self.http.target, "it ended before it began")
        return last

    # --- jobs

    def pull(self, model: str, *, insecure: bool = False) -> AsyncIterator[JobStep]:
        """`POST /api/pull`."""
        return self._job("/api/pull", {"model": model, "stream": True, **({"insecure": True} if insecure else {})})

    def push(self, model: str, *, insecure: bool = False) -> AsyncIterator[JobStep]:
        """`POST /api/push`."""
        return self._job("/api/push", {"model": model, "stream": True, **({"insecure": True} if insecure else {})})

    def create(self, model: str, fields: Mapping[str, Any]) -> AsyncIterator[JobStep]:
        """`POST /api/create`."""
        return self._job("/api/create", {**fields, "model": model, "stream": True})

    async def _job(self, path: str, body: Mapping[str, Any]) -> AsyncIterator[JobStep]:
        target = self.http.target
        try:
            async with self.http.stream("POST", path, body, model=text_of(body.get("model"))) as answer:
                lines = JsonLines(target)
                objects = Objects(answer, lines)
                async for item in objects:
                    if isinstance(item, Comment):
                        continue
                    if item.get("error"):
                        raise failed(classify_pull_error(message_of(item), target))
                    step = step_of(item)
                    if step is None:
                        lines.lines.bad(str(item)[:200])
                        continue
                    lines.lines.good()
                    yield step
                    if step.status == "success":
                        return
        except PaddockError as error:
            if error.failure.status != 500:
                raise
            raise failed(_reclassified(error.failure, self.http)) from None
        raise interrupted(target, "it ended without success", objects.cut())

    # --- files

    async def made_of(self, model: str) -> Modelfile:
        """`POST /api/show`."""
        from tui.providers.ollama_made import made_of

        reply = await self.http.request("POST", "/api/show", {"model": model}, timeout=SHOW, model=model)
        return made_of(self.http.parse(reply))

    async def has_blob(self, digest: str) -> bool:
        """`HEAD /api/blobs/…`."""
        try:
            await self.http.request("HEAD", f"/api/blobs/{self._digest(digest)}")
        except PaddockError as error:
            if error.failure.status == 404:
                return False
            raise
        return True

    async def upload_blob(self, digest: str, path: Path, progress: Callable[[int], None] | None = None) -> None:
        """`POST /api/blobs/…`, only where `HEAD` says it is not there: the server closes on us in the middle otherwise."""
        name, told = self._digest(digest), progress or (lambda sent: None)
        try:
            length = (await asyncio.to_thread(path.stat)).st_size
            if await self.has_blob(name):
                told(length)
                return
            file = await asyncio.to_thread(path.open, "rb")
        except OSError as error:
            raise failed(_unreadable(path, error)) from None

        shown = clean_name(str(path))
        changed = failed(Failure(f"The file {shown} changed while it was sent", shown, _WRITTEN, FailureKind.BAD_REQUEST))

        async def pieces() -> AsyncIterator[bytes]:
            sent = 0
            while sent < length:
                try:
                    piece = await asyncio.to_thread(file.read, min(_PIECE, length - sent))
                except OSError as error:
                    raise failed(_unreadable(path, error)) from None
                if not piece:
                    raise changed
                yield piece
                sent += len(piece)
                told(sent)

        try:
            async with self.http.stream("POST", f"/api/blobs/{name}", content=pieces(), length=length) as answer:
                await answer.whole(MAX_CONTROL)
        except PaddockError as error:
            if error.failure.status == 400 and "digest mismatch" in error.failure.details:
                raise changed from None
            if error.failure.status == 500 and (full := _reclassified(error.failure, self.http)).kind is FailureKind.DISK:
                raise failed(full) from None
            if error.failure.kind is not FailureKind.INTERRUPTED or not await self.has_blob(name):
                raise
            told(length)
        finally:
            file.close()

    def _digest(self, digest: str) -> str:
        if not _BLOB.match(digest):
            what = f"{clean_name(digest, 80)!r} is no digest"
            raise failed(Failure(what, "digest", "Write it as sha256: and 64 hex digits", FailureKind.BAD_REQUEST))
        return digest.replace("-", ":", 1)

    async def copy(self, model: str, destination: str) -> None:
        """`POST /api/copy`."""
        await self.http.request("POST", "/api/copy", {"source": model, "destination": destination}, timeout=CHANGE, model=model)

    async def delete(self, model: str) -> None:
        """`DELETE /api/delete`, which wants a body."""
        await self.http.request("DELETE", "/api/delete", {"model": model}, timeout=CHANGE, model=model)

    async def aclose(self) -> None:
        """Close every connection."""
        await self.http.aclose()


def _reclassified(failure: Failure, http: Http) -> Failure:
    """A job refused with 500 before its first line says the same things as an error line."""
    try:
        text = message_of(json.loads(failure.details))
    except (ValueError, RecursionError):
        text = ""
    return classify_pull_error(text, http.target) if text else failure


def _unreadable(path: Path, error: OSError) -> Failure:
    why = "it does not exist" if isinstance(error, FileNotFoundError) else clean_name(error.strerror or "it cannot be opened", 100)
    shown = clean_name(str(path))
    return Failure(f"The file {shown} cannot be read: {why}", shown, "Choose a file you may read", FailureKind.BAD_REQUEST)
