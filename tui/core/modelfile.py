"""Modelfiles: read strictly, with the line in every refusal, and written so that reading gives the same (Ollama reference, section 7.2).

The API takes structured fields and never this text, so whoever offers it must read it. Where Ollama guesses (a setting given twice, an
unknown word) this refuses, as what a person meant cannot be known.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from tui.core.errors import FailureKind, PaddockError
from tui.core.record import record
from tui.text import clean_label, clean_name

SIZE_LIMIT: Final = 8_000_000
"""Characters; licences have 20 KB, templates 50."""
_WHOLE: Final = frozenset(
    {"num_ctx", "num_batch", "num_gpu", "main_gpu", "num_thread", "draft_num_predict", "num_keep", "seed", "num_predict", "top_k",
     "repeat_last_n"}
)  # fmt: skip
_NUMBERS: Final = frozenset(
    {"temperature", "top_p", "min_p", "typical_p", "repeat_penalty", "presence_penalty", "frequency_penalty"},
)
_TRUTHS: Final = frozenset({"use_mmap"})
_LISTS: Final = frozenset({"stop"})
PARAMETERS: Final = _WHOLE | _NUMBERS | _TRUTHS | _LISTS
"""All that a server knows (section 7.1)."""
GONE: Final = frozenset(
    {"tfs_z", "penalize_newline", "mirostat", "mirostat_eta", "mirostat_tau", "low_vram", "use_mlock", "f16_kv", "vocab_only",
     "logits_all", "numa"}
)  # fmt: skip
"""Read for the sake of old files, and left out."""
ROLES: Final = ("system", "user", "assistant")
_SINGLE: Final = ("TEMPLATE", "SYSTEM", "RENDERER", "PARSER", "REQUIRES", "DRAFT")
_TAKES: Final = ("FROM", "PARAMETER", "TEMPLATE", "SYSTEM", "ADAPTER", "LICENSE", "MESSAGE", "REQUIRES", "RENDERER", "PARSER", "DRAFT")
_LINE: Final = re.compile(r"[ \t]*([A-Za-z]+)(?:[ \t]+|\Z)")
_QUOTE: Final = '"""'
_FORBIDDEN: Final = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]"
)
"""What a terminal could act on, what hides the order of text, and what no text holds."""
_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,19}\Z")
_DECIMAL: Final = re.compile(r"[+-]?(?:[0-9]{1,40}\.?[0-9]{0,40}|\.[0-9]{1,40})(?:[eE][+-]?[0-9]{1,3})?\Z")
Value = int | float | bool | str


@record(frozen=True)
class Modelfile:
    """What a Modelfile says. Texts are as they were written, with plain line breaks: clean them before they are drawn.

    Attributes:
        sources: Of FROM: a model, a GGUF file, a folder; one or several (a projector).
        parameters: Typed, in the order given; only `stop` comes several times.
        template: None where nothing is said of it; so are the following.
        messages: (role, text).
        notes: What was left out, a sentence each.
    """

    sources: tuple[str, ...]
    parameters: tuple[tuple[str, Value], ...] = ()
    template: str | None = None
    system: str | None = None
    adapters: tuple[str, ...] = ()
    licences: tuple[str, ...] = ()
    messages: tuple[tuple[str, str], ...] = ()
    requires: str | None = None
    renderer: str | None = None
    parser: str | None = None
    draft: str | None = None
    notes: tuple[str, ...] = ()

    def fields(self) -> dict[str, Any]:
        """The fields of a create that need no file: all but `from`, `files`, `adapters` and `draft_files`."""
        found: dict[str, Any] = {}
        if self.parameters:
            found["parameters"] = grouped(self.parameters)
        if self.licences:
            found["license"] = list(self.licences)
        if self.messages:
            found["messages"] = [{"role": role, "content": text} for role, text in self.messages]
        for name in ("template", "system", "requires", "renderer", "parser"):
            value = getattr(self, name)
            if value:
                found[name] = value
        return found


def grouped(parameters: Iterable[tuple[str, Value]]) -> dict[str, Any]:
    """Parameters as `create` takes them: those that may come several times as lists."""
    found: dict[str, Any] = {}
    for name, value in parameters:
        if name in _LISTS:
            found.setdefault(name, []).append(value)
        else:
            found[name] = value
    return found


def ungrouped(parameters: Mapping[str, Any]) -> tuple[tuple[str, Value], ...]:
    """The reverse of `grouped`."""
    return tuple((name, one) for name, value in parameters.items() for one in (value if isinstance(value, (list, tuple)) else (value,)))


def value_of(name: str, text: str) -> Value:
    """A parameter's value as its kind wants it; what servers of the future may know is guessed.

    Raises:
        ValueError: It is none, with the words for a sentence that begins with the name.
    """
    if name in _LISTS:
        if not text:
            raise ValueError("needs a text")
        return text
    if name in _TRUTHS:
        if text.lower() not in ("true", "false"):
            raise ValueError(f"must be true or false, not {clean_label(text, 40)!r}")
        return text.lower() == "true"
    if name in _WHOLE:
        if _INTEGER.match(text) and -(2**63) <= int(text) < 2**63:
            return int(text)
        raise ValueError(f"must be a whole number, not {clean_label(text, 40)!r}")
    if name in _NUMBERS:
        number = float(text) if _DECIMAL.match(text) else math.nan
        if math.isfinite(number):
            return number
        raise ValueError(f"must be a number, not {clean_label(text, 40)!r}")
    raise ValueError("is no parameter that servers know")


def plain(text: str) -> str:
    """A text as a Modelfile can hold it: plain line breaks, and a sign in place of what no text holds."""
    return _FORBIDDEN.sub("\ufffd", text.replace("\r\n", "\n").replace("\r", "\n"))


def decode(data: bytes, where: str) -> str:
    """The text of a file: UTF-8, or UTF-16 with its mark.

    Raises:
        PaddockError: It is neither.
    """
    try:
        return data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError:
        raise PaddockError.of("This is no text: it is not UTF-8", where, "Save it as UTF-8", FailureKind.BAD_REQUEST) from None


def parse_modelfile(text: str, where: str = "Modelfile") -> Modelfile:
    """Read a Modelfile.

    Args:
        text: Its text.
        where: What refusals name; the line is added.

    Raises:
        PaddockError: It breaks the grammar; says in which line.
    """
    if len(text) > SIZE_LIMIT:
        raise _wrong("This is too long for a Modelfile", where, 0, "Name another file")
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    found = _FORBIDDEN.search(text)
    if found is not None:
        line = text.count("\n", 0, found.start()) + 1
        raise _wrong(f"A character that no text holds stands there (U+{ord(found[0]):04X})", where, line, "Take it out")
    reader = _Reader(where)
    for number, word, rest in _instructions(text.split("\n"), where):
        reader.take(number, word, rest)
    return reader.done()


def _instructions(lines: list[str], where: str) -> Iterator[tuple[int, str, str]]:
    """(line number, instruction, what follows), with texts over several lines joined and quotes taken off."""
    at = 0
    while at < len(lines):
        number, line = at + 1, lines[at]
        at += 1
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _LINE.match(line)
        word = match[1].upper() if match is not None else ""
        if match is None or word not in _TAKES:
            shown = clean_label(line.split()[0], 40)
            raise _wrong(f"{shown!r} is no instruction", where, number, f"Begin a line with one of {', '.join(_TAKES)}")
        head, rest = "", line[match.end() :].lstrip(" \t")
        if word in ("PARAMETER", "MESSAGE"):
            name, *after = re.split(r"[ \t]+", rest, maxsplit=1)
            if not name:
                raise _wrong(f"{word} names nothing", where, number, _EXAMPLE[word])
            head, rest = f"{name} ", after[0] if after else ""
        quote = _quote_of(rest)
        goes_on = quote != "" and not _closes(rest, quote, first=True)
        whole = [rest if goes_on else rest.rstrip(" \t")]
        while goes_on:
            if at == len(lines):
                raise _wrong(f"The text of {word} is not closed", where, number, "End it with the quotes it begins with")
            goes_on = not _closes(lines[at], quote)
            whole.append(lines[at])
            at += 1
        value = "\n".join(whole)
        yield number, word, head + (value.rstrip(" \t")[len(quote) : -len(quote)] if quote else value)


_EXAMPLE: Final = {"PARAMETER": "Write it like PARAMETER temperature 0.7", "MESSAGE": "Write it like MESSAGE user Hello"}


def _quote_of(text: str) -> str:
    return _QUOTE if text.startswith(_QUOTE) else '"' if text.startswith('"') else ""


def _closes(line: str, quote: str, *, first: bool = False) -> bool:
    """Whether a text in quotes ends with this line; in its first line the quotes that open it do not close it."""
    line = line.rstrip(" \t")
    return line.endswith(quote) and (not first or len(line) >= 2 * len(quote))


class _Reader:
    """Takes one instruction after another."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._lists: dict[str, list[str]] = {"FROM": [], "ADAPTER": [], "LICENSE": []}
        self._single: dict[str, str] = {}
        self._seen: dict[str, int] = {}
        self._parameters: list[tuple[str, Value]] = []
        self._messages: list[tuple[str, str]] = []
        self._notes: list[str] = []

    def take(self, line: int, word: str, rest: str) -> None:
        """One instruction.

        Raises:
            PaddockError: It is wrong.
        """
        if word == "PARAMETER":
            self._parameter(line, *rest.split(" ", 1))
        elif word == "MESSAGE":
            role, text = rest.split(" ", 1)
            if role.lower() not in ROLES:
                shown = clean_label(role, 40)
                raise _wrong(f"{shown!r} is no role of a message", self._where, line, f"Write one of {', '.join(ROLES)}")
            self._messages.append((role.lower(), text))
        elif not rest and word not in ("SYSTEM", "TEMPLATE", "LICENSE"):
            raise _wrong(f"{word} names nothing", self._where, line, "Write what it is, or take the line out")
        elif word in self._lists:
            if "\n" in rest and word != "LICENSE":
                raise _wrong(f"What {word} names has more than one line", self._where, line, "Write one name or path")
            self._lists[word].append(rest)
        else:
            self._once(word, word, line)
            if "\n" in rest and word not in ("SYSTEM", "TEMPLATE"):
                raise _wrong(f"What {word} names has more than one line", self._where, line, "Write one word")
            self._single[word] = rest

    def _parameter(self, line: int, name: str, text: str = "") -> None:
        name = name.lower()
        if name in GONE:
            self._notes.append(f"{name} (line {line}) is left out: servers know it no more")
            return
        if name not in _LISTS:
            self._once(f"PARAMETER {name}", name, line)
        try:
            self._parameters.append((name, value_of(name, text)))
        except ValueError as error:
            raise _wrong(f"{clean_name(name, 40)} {error}", self._where, line, "Correct the line, or take it out") from None

    def _once(self, key: str, shown: str, line: int) -> None:
        before = self._seen.setdefault(key, line)
        if before != line:
            raise _wrong(f"{clean_name(shown, 40)} is there twice: line {before} has it too", self._where, line, "Take one of them out")

    def done(self) -> Modelfile:
        """What was read.

        Raises:
            PaddockError: There is no FROM.
        """
        if not self._lists["FROM"]:
            raise _wrong("There is no FROM: it is not said what the model is made from", self._where, 0, "Add a line like FROM qwen3:8b")
        one = self._single.get
        return Modelfile(
            tuple(self._lists["FROM"]),
            tuple(self._parameters),
            one("TEMPLATE"),
            one("SYSTEM"),
            tuple(self._lists["ADAPTER"]),
            tuple(self._lists["LICENSE"]),
            tuple(self._messages),
            one("REQUIRES"),
            one("RENDERER"),
            one("PARSER"),
            one("DRAFT"),
            tuple(self._notes),
        )


def _wrong(what: str, where: str, line: int, remedy: str) -> PaddockError:
    place = clean_name(where, 1000)
    return PaddockError.of(what, f"{place}:{line}" if line else place, remedy, FailureKind.BAD_REQUEST)


# --- writing -------------------------------------------------------------------------------------------------------------


def write_modelfile(found: Modelfile, comment: str = "") -> str:
    """The text of a Modelfile; reading it gives the same, but for `notes` and for carriage returns, which become line breaks.

    Args:
        found: What to write.
        comment: Stands above it.

    Raises:
        PaddockError: A text cannot be written, as a line of it ends in quotes that would close it (Ollama knows no escapes).
    """
    lines = [f"# {line}" for line in comment.split("\n")] if comment else []
    lines += [f"FROM {_quoted(source, 'FROM')}" for source in found.sources]
    lines += [f"ADAPTER {_quoted(adapter, 'ADAPTER')}" for adapter in found.adapters]
    for word in _SINGLE:
        value = getattr(found, word.lower())
        if value is not None:
            lines.append(f"{word} {_quoted(value, word)}")
    for name, value in found.parameters:
        text = str(value).lower() if isinstance(value, bool) else repr(value) if isinstance(value, float) else str(value)
        lines.append(f"PARAMETER {name} {_quoted(text, name)}")
    lines += [f"LICENSE {_quoted(licence, 'LICENSE')}" for licence in found.licences]
    lines += [f"MESSAGE {role} {_quoted(text, 'MESSAGE')}" for role, text in found.messages]
    return "\n".join(lines) + "\n"


def _quoted(text: str, word: str) -> str:
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if text and "\n" not in text and text == text.strip() and not text.startswith('"'):
        return text
    first, *others = text.split("\n")
    for quote in (_QUOTE, '"'):
        reads_so = _quote_of(f"{quote}{text}{quote}") == quote
        closed_early = others and _closes(quote + first, quote, first=True)
        if reads_so and not closed_early and not any(_closes(line, quote) for line in others[:-1]):
            return f"{quote}{text}{quote}"
    what = f"{word} cannot be written: a line of it ends in three quotes, which would close the text"
    raise PaddockError.of(what, word, "Change that line of the text", FailureKind.UNSUPPORTED)
