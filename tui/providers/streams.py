"""Objects out of bytes: NDJSON and server-sent events, split by ourselves (reliability reference, H05-H20, H35).

The line iterators of HTTP libraries also split on U+0085, U+2028 and U+2029, which are ordinary characters inside
JSON; here only the bytes 0x0A (and for server-sent events 0x0D) end a line.
"""

from __future__ import annotations

import json
import logging
import math
import re
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final, Protocol

from tui.core.errors import PaddockError
from tui.core.events import Delta, StreamEvent, Thinking, ToolCall
from tui.core.record import record
from tui.providers.errors import Target, protocol
from tui.text import clean_block, clean_door

MAX_LINE: Final = 8 * 1024 * 1024
"""Bytes of one line; Ollama's own client takes 8,000,000."""

_SAMPLE: Final = 200
_log = logging.getLogger("paddock.providers")

MAX_BAD: Final = 20
"""Unusable lines in a row before a stream is given up."""


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _walk(value: Any) -> Any:
    if isinstance(value, str):
        return clean_door(value)
    if isinstance(value, list):
        return [_walk(item) for item in value]
    if isinstance(value, dict):
        return {clean_door(key): _walk(item) for key, item in value.items()}
    return value


def decode_json(raw: bytes) -> Any:
    """Parse bytes as JSON and make every string storable (`text.clean_door`).

    Bytes that are not UTF-8 become U+FFFD; the charset of a header is never asked.

    Raises:
        ValueError: It is no JSON, nested too deeply, or holds a number out of reach.
    """
    text = raw.decode("utf-8", "replace").removeprefix("\ufeff")
    try:
        value = json.loads(text, parse_constant=_no_constant)
        return _walk(value) if "\\u" in text or not text.isascii() else value
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def text_of(value: Any) -> str:
    """The value if it is text, else an empty string."""
    return value if isinstance(value, str) else ""


def int_of(value: Any) -> int | None:
    """The value as a whole number from 0 up to 2**63, else None."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or (isinstance(value, float) and not math.isfinite(value)):
        return None
    return int(value) if 0 <= value < 2**63 else None


def float_of(value: Any) -> float | None:
    """The value as a finite number from 0 up, else None."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) and number >= 0 else None


def vector_of(value: Any) -> tuple[float, ...]:
    """The value as a vector; empty where it is no array, or an element of it no finite number."""
    try:
        found = tuple(float(item) for item in list_of(value) if isinstance(item, (int, float)) and not isinstance(item, bool))
    except OverflowError:
        return ()
    return found if len(found) == len(list_of(value)) and all(map(math.isfinite, found)) else ()


def map_of(value: Any) -> Mapping[str, Any]:
    """The value if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def list_of(value: Any) -> list[Any]:
    """The value if it is an array, else an empty one."""
    return value if isinstance(value, list) else []


class BadLines:
    """Counts lines that make no sense; too many in a row end the stream.

    Attributes:
        skipped: All of them since the start.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._row = 0
        self.skipped = 0

    def good(self) -> None:
        """A line made sense."""
        self._row = 0

    def bad(self, raw: bytes | str = b"") -> None:
        """A line made none.

        Raises:
            PaddockError: It was the last one in a row that we take (kind PROTOCOL).
        """
        self.skipped += 1
        self._row += 1
        if self.skipped == 1:
            _log.warning("%s sent a line that makes no sense (%d bytes); it is skipped", self._target, len(raw))
        if self._row >= MAX_BAD:
            sample = raw[:200] if isinstance(raw, str) else raw[:200].decode("utf-8", "replace")
            raise protocol(self._target, f"{self._row} lines in a row make no sense", clean_block(sample))


@record(frozen=True)
class Comment:
    """A comment line of an event stream, without its colon."""

    text: str


Item = Mapping[str, Any] | Comment


class Splitter(Protocol):
    """Takes the pieces of a body and gives its objects."""

    def feed(self, chunk: bytes) -> Iterator[Item]:
        """The objects that are complete with this piece."""
        ...

    def close(self) -> Iterator[Item]:
        """The object that the end of the body completes."""
        ...

    def rest(self) -> bytes:
        """The beginning of what came and never became an object."""
        ...


class _Lines:
    """Bytes to lines, ended by 0x0A, with a cap; every byte is looked at once."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._parts: list[bytes] = []
        self._held = 0

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        *ended, rest = chunk.split(b"\n")
        for piece in ended:
            yield self._whole(piece)
        if rest:
            self._hold(rest)

    def close(self) -> bytes:
        return self._whole(b"")

    def rest(self) -> bytes:
        return b"".join(self._parts)[:_SAMPLE]

    def _whole(self, piece: bytes) -> bytes:
        self._hold(piece)
        line = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._parts, self._held = [], 0
        return line

    def _hold(self, piece: bytes) -> None:
        self._held += len(piece)
        if self._held > MAX_LINE:
            raise protocol(self._target, f"a line is longer than {MAX_LINE // 1024 // 1024} MB")
        if self._parts and len(self._parts[-1]) < 16_384:
            self._parts[-1] += piece
        else:
            self._parts.append(piece)


class JsonLines:
    """Newline-delimited JSON objects, as Ollama streams them.

    Attributes:
        lines: Counter of unusable lines.
        half: What stood behind the last line end when the body ended and is no JSON.
    """

    def __init__(self, target: Target) -> None:
        self.lines = BadLines(target)
        self.half = b""
        self._split = _Lines(target)

    def feed(self, chunk: bytes) -> Iterator[Item]:
        """See `Splitter`.

        Raises:
            PaddockError: A line is too long, or too many make no sense (kind PROTOCOL).
        """
        for line in self._split.feed(chunk):
            if line.strip():
                yield from self._objects(line)

    def close(self) -> Iterator[Item]:
        """See `Splitter`; a single object may come without a line end."""
        line = self._split.close()
        if not line.strip():
            return
        try:
            value = decode_json(line)
        except ValueError:
            self.half = line[:_SAMPLE]
            return
        if isinstance(value, dict):
            yield value

    def rest(self) -> bytes:
        """See `Splitter`."""
        return self.half or self._split.rest()

    def _objects(self, line: bytes) -> Iterator[Item]:
        try:
            value = decode_json(line)
        except ValueError:
            self.lines.bad(line)
            return
        if isinstance(value, dict):
            yield value
        else:
            self.lines.bad(line)


DONE: Final[Mapping[str, Any]] = {"[DONE]": True}
"""What the line `data: [DONE]` becomes."""


class ServerSentEvents:
    """Objects of an event stream as the OpenAI-like servers send it.

    Event names, ids and retry times are ignored. Two `data:` lines without an empty line between them are one
    event by the rules, but TextGen means two: a first line that is complete by itself is taken so.
    """

    def __init__(self, target: Target) -> None:
        self.lines = BadLines(target)
        self.half = b""
        self._split = _Lines(target)
        self._data: list[bytes] = []
        self._first = True
        self._after_cr = False

    def feed(self, chunk: bytes) -> Iterator[Item]:
        """See `Splitter`.

        Raises:
            PaddockError: A line is too long, or too many events make no sense (kind PROTOCOL).
        """
        if self._after_cr and chunk:
            chunk = chunk.removeprefix(b"\n")
            self._after_cr = False
        if b"\r" in chunk:
            self._after_cr = chunk.endswith(b"\r")
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        for line in self._split.feed(chunk):
            yield from self._line(line)

    def close(self) -> Iterator[Item]:
        """See `Splitter`; an event without its empty line counts where it is whole."""
        line = self._split.close()
        if line:
            yield from self._line(line)
        if self._data:
            raw = b"\n".join(self._data)
            self._data = []
            found = _event(raw)
            if found is None:
                self.half = raw[:_SAMPLE]
            else:
                yield found

    def rest(self) -> bytes:
        """See `Splitter`."""
        return self.half or b"\n".join((*self._data, self._split.rest())).strip()[:_SAMPLE]

    def _line(self, line: bytes) -> Iterator[Item]:
        if self._first:
            line = line.removeprefix(b"\xef\xbb\xbf")
            self._first = False
        if not line:
            yield from self._flush()
        elif line.startswith(b":"):
            yield Comment(line[1:200].decode("utf-8", "replace").strip())
        elif line.startswith(b"data:") or line == b"data":
            if self._data and (found := _event(b"\n".join(self._data))) is not None:
                self._data = []
                self.lines.good()
                yield found
            self._data.append(line[5:].removeprefix(b" "))
        elif line.lstrip().startswith(b"{"):
            self.lines.bad(line)

    def _flush(self) -> Iterator[Item]:
        if not self._data:
            return
        raw = b"\n".join(self._data)
        self._data = []
        if not raw.strip():
            return
        found = _event(raw)
        if found is None:
            self.lines.bad(raw)
        else:
            yield found


def _event(raw: bytes) -> Mapping[str, Any] | None:
    if raw.strip() == b"[DONE]":
        return DONE
    try:
        value = decode_json(raw)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


_KEEPALIVE: Final = re.compile(r"keepalive\s+(\d{1,9})/(\d{1,9})")


def progress_of(comment: Comment) -> tuple[int, int] | None:
    """Prompt tokens done of total, from the keep-alive comments of mlx_lm; None for other comments."""
    found = _KEEPALIVE.search(comment.text)
    return (int(found[1]), int(found[2])) if found else None


class Objects:
    """The objects of a body one by one; what came before a fault comes before the fault.

    No generator, so that leaving a loop over it leaves nothing running behind.
    """

    def __init__(self, chunks: AsyncIterator[bytes], splitter: Splitter) -> None:
        self._chunks = chunks
        self._splitter = splitter
        self._ready: deque[Item] = deque()
        self._fault: PaddockError | None = None
        self._ended = False

    def __aiter__(self) -> Objects:
        return self

    async def __anext__(self) -> Item:
        while not self._ready:
            if self._fault is not None:
                raise self._fault
            if self._ended:
                raise StopAsyncIteration
            try:
                chunk = await anext(self._chunks)
            except StopAsyncIteration:
                self._ended = True
                self._collect(self._splitter.close())
            except PaddockError as error:
                cut = self.cut()
                raise PaddockError(replace(error.failure, details=f"{error.failure.details}\n{cut}".strip())) from error
            else:
                self._collect(self._splitter.feed(chunk))
        return self._ready.popleft()

    def cut(self) -> str:
        """For the details of a failure: the line in the middle of which the stream ended; it is shown nowhere else. Or empty."""
        rest = self._splitter.rest()
        if not rest:
            return ""
        _log.warning("a stream ended in the middle of a line (%d bytes or more)", len(rest))
        return f"It ended in the middle of a line: {ascii(rest)[1:]}"

    def _collect(self, items: Iterable[Item]) -> None:
        try:
            self._ready.extend(items)
        except PaddockError as error:
            self._fault = error


class ThinkTags:
    """Thoughts that a model writes into its text (`<think>…</think>` at the very start) as thinking events.

    Servers do that when told not to think, and those that know nothing of thinking always.
    """

    _OPEN: Final = "<think>"
    _CLOSE: Final = "</think>"

    def __init__(self) -> None:
        self._held = ""
        self._state = "start"

    def feed(self, event: StreamEvent) -> Iterator[StreamEvent]:
        """The event itself, or what the tags in its text make of it; text that may be a tag's beginning waits."""
        if self._state == "gap" and isinstance(event, Delta):
            yield from self._answer(event.text)
            return
        if self._state in ("text", "gap") or not isinstance(event, Delta):
            if isinstance(event, (Thinking, ToolCall)) and self._state == "start":
                yield from self.close()
            yield event
            return
        self._held += event.text
        if self._state == "start":
            begin = self._held.lstrip()
            if self._OPEN.startswith(begin):
                if begin == self._OPEN:
                    self._state, self._held = "thoughts", ""
                return
            if not begin.startswith(self._OPEN):
                yield from self.close()
                return
            self._state, self._held = "thoughts", begin[len(self._OPEN) :]
        yield from self._thoughts()

    def close(self) -> Iterator[StreamEvent]:
        """What was held back at the end."""
        held, self._held = self._held, ""
        thoughts, self._state = self._state == "thoughts", "text"
        if held:
            yield Thinking(held) if thoughts else Delta(held)

    def _thoughts(self) -> Iterator[StreamEvent]:
        thought, tag, rest = self._held.partition(self._CLOSE)
        if not tag:
            keep = next((size for size in range(len(self._CLOSE) - 1, 0, -1) if self._held.endswith(self._CLOSE[:size])), 0)
            thought, rest = self._held[: len(self._held) - keep], self._held[len(self._held) - keep :]
        self._held = "" if tag else rest
        if thought:
            yield Thinking(thought)
        if tag:
            self._state = "gap"
            yield from self._answer(rest)

    def _answer(self, text: str) -> Iterator[StreamEvent]:
        """Text behind the closing tag, without the empty lines that set it off."""
        if text := text.lstrip("\n"):
            self._state = "text"
            yield Delta(text)
