"""Kinds of values a setting can have: how they are read, checked, named and written.

A kind is the annotation of a field in `settings.py`, so a range stands in one place. Nothing heavy is
imported here, because `peek` uses the same kinds before the first frame.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import urlsplit

from tui.core.record import record
from tui.text import clean_name

_TIME_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}
_SIZE_UNITS = {
    "": 1, "B": 1,
    "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
    "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40,
    "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12,
}  # fmt: skip
_AMOUNT = re.compile(r"\s*([0-9]{1,15}(?:\.[0-9]{1,6})?)\s*([A-Za-z]{0,3})(?:/s)?\s*\Z")
_TEXT_LIMIT = 20_000


class Kind:
    """What all kinds share. `check` and `literal` are each other's inverse as far as values go."""

    type_text: ClassVar[str] = "text"
    example: ClassVar[str] = '"text"'

    @property
    def range_text(self) -> str:
        """The values allowed, in words; empty: any."""
        return ""

    @property
    def choices(self) -> tuple[str, ...]:
        """All values, where they can be listed."""
        return ()

    def check(self, raw: object) -> Any:
        """Turn a value of a TOML file into the setting's value.

        Raises:
            ValueError: Wrong type or out of range; the message is a sentence with an example.
        """
        raise NotImplementedError

    def from_text(self, text: str) -> object:
        """Turn the text of an environment variable or an input field into what the file would hold."""
        return text

    def literal(self, value: Any) -> Any:
        """Turn the setting's value into what the file holds."""
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        """Let pydantic check with this kind."""
        from pydantic_core import core_schema

        return core_schema.no_info_plain_validator_function(self.check)


def _number(raw: object, expected: str) -> float:
    if isinstance(raw, bool) or not isinstance(raw, (int, float)):
        raise ValueError(f"must be {expected}")
    try:
        value = float(raw)
    except OverflowError:
        value = math.inf
    if not math.isfinite(value):
        raise ValueError(f"must be {expected}, not infinite or undefined")
    return value


def _amount(raw: object, units: Mapping[str, float], expected: str, *, upper: bool) -> float:
    if not isinstance(raw, str):
        return _number(raw, expected)
    match = _AMOUNT.match(raw)
    unit = match[2].upper() if match and upper else match[2] if match else ""
    if match is None or (unit and unit not in units):
        raise ValueError(f"must be {expected}")
    return float(match[1]) * units.get(unit, 1.0)


@record(frozen=True)
class Switch(Kind):
    """True or false."""

    type_text: ClassVar[str] = "true or false"

    @property
    def choices(self) -> tuple[str, ...]:
        """See `Kind`."""
        return ("true", "false")

    def check(self, raw: object) -> bool:
        """See `Kind`."""
        if not isinstance(raw, bool):
            raise ValueError("must be true or false, without quotes")
        return raw

    def from_text(self, text: str) -> object:
        """See `Kind`; yes, on and 1 are true as well."""
        word = text.strip().lower()
        return True if word in ("true", "yes", "on", "1") else False if word in ("false", "no", "off", "0") else text


@record(frozen=True)
class Choice(Kind):
    """One of some words; a word may have booleans as second names."""

    words: tuple[str, ...]
    true: str = ""
    false: str = ""
    type_text: ClassVar[str] = "one word"

    @property
    def range_text(self) -> str:
        """See `Kind`."""
        return ", ".join(self.words)

    @property
    def choices(self) -> tuple[str, ...]:
        """See `Kind`."""
        return self.words

    def check(self, raw: object) -> str:
        """See `Kind`."""
        if isinstance(raw, bool) and self.true:
            return self.true if raw else self.false
        if isinstance(raw, str) and raw in self.words:
            return raw
        raise ValueError(f"must be one of {self.range_text}, as in {_quoted(self.words[0])}")

    def from_text(self, text: str) -> object:
        """See `Kind`; capitals do not matter."""
        word = text.strip().lower()
        return next((known for known in self.words if known.lower() == word), text.strip())


@record(frozen=True)
class Whole(Kind):
    """A whole number."""

    low: int
    high: int
    type_text: ClassVar[str] = "whole number"

    @property
    def range_text(self) -> str:
        """See `Kind`."""
        return f"{self.low:,} to {self.high:,}"

    def check(self, raw: object) -> int:
        """See `Kind`."""
        expected = f"a whole number from {self.range_text}, as in {self.low}"
        if isinstance(raw, bool) or not isinstance(raw, int) or not self.low <= raw <= self.high:
            raise ValueError(f"must be {expected}")
        return raw

    def from_text(self, text: str) -> object:
        """See `Kind`."""
        return int(text) if re.fullmatch(r"\s*[+-]?[0-9]{1,18}\s*", text) else text


@record(frozen=True)
class Number(Kind):
    """A number."""

    low: float
    high: float
    type_text: ClassVar[str] = "number"

    @property
    def range_text(self) -> str:
        """See `Kind`."""
        return f"{self.low:g} to {self.high:g}"

    def check(self, raw: object) -> float:
        """See `Kind`."""
        expected = f"a number from {self.range_text}, as in {self.low:g}"
        value = _number(raw, expected)
        if not self.low <= value <= self.high:
            raise ValueError(f"must be {expected}")
        return value

    def from_text(self, text: str) -> object:
        """See `Kind`."""
        try:
            return float(text) if "." in text or "e" in text.lower() else int(text[:30])
        except ValueError:
            return text


@record(frozen=True)
class Seconds(Kind):
    """A time span; the value is seconds."""

    low: float
    high: float
    zero: bool = False
    type_text: ClassVar[str] = "duration"

    @property
    def range_text(self) -> str:
        """See `Kind`."""
        text = f"{self.literal(self.low)} to {self.literal(self.high)}"
        return f"0 (off), or {text}" if self.zero else text

    def check(self, raw: object) -> float:
        """See `Kind`."""
        if self.zero and raw == "":
            return 0.0
        expected = f"a duration: {self.range_text}, as in {_quoted(str(self.literal(max(self.low, 1.0))))}"
        value = round(_amount(raw, _TIME_UNITS, expected, upper=False), 6)
        if not (self.low <= value <= self.high or (self.zero and value == 0)):
            raise ValueError(f"must be {expected}")
        return value

    def literal(self, value: float) -> str | int:
        """See `Kind`."""
        if value == 0:
            return 0
        for unit, seconds in (("d", 86_400), ("h", 3600), ("m", 60)):
            if value % seconds == 0:
                return f"{value / seconds:.0f}{unit}"
        return f"{value:.6f}".rstrip("0").rstrip(".") + "s"


@record(frozen=True)
class Bytes(Kind):
    """A size; the value is bytes, or None where empty is allowed and given."""

    low: int = 0
    high: int = 10**15
    empty: bool = False
    type_text: ClassVar[str] = "size"

    @property
    def range_text(self) -> str:
        """See `Kind`."""
        text = f"{self.literal(self.low)} to {self.literal(self.high)}"
        return f"empty, or {text}" if self.empty else text

    def check(self, raw: object) -> int | None:
        """See `Kind`."""
        if self.empty and (raw is None or (isinstance(raw, str) and not raw.strip())):
            return None
        expected = f"a size: {self.range_text}, as in {_quoted(str(self.literal(max(self.low, 10**6))))}"
        value = _amount(raw, _SIZE_UNITS, expected, upper=True)
        if not self.low <= value <= self.high:
            raise ValueError(f"must be {expected}")
        return round(value)

    def literal(self, value: int | None) -> str | int:
        """See `Kind`."""
        if value is None:
            return ""
        for unit in ("TB", "TiB", "GB", "GiB", "MB", "MiB", "kB", "KiB"):
            if value and value % _SIZE_UNITS[unit.upper()] == 0:
                return f"{value // _SIZE_UNITS[unit.upper()]} {unit}"
        return value


@record(frozen=True)
class Words(Kind):
    """Any text, or text of a pattern; `allowed` says in words what the pattern means."""

    pattern: str = ""
    allowed: str = ""
    example_text: str = ""
    lines: bool = False
    type_text: ClassVar[str] = "text"

    @property
    def range_text(self) -> str:
        """See `Kind`."""
        return self.allowed

    def check(self, raw: object) -> str:
        """See `Kind`."""
        if not isinstance(raw, str):
            raise ValueError(f"must be text in quotes, as in {_quoted(self.example_text or 'text')}")
        if len(raw) > _TEXT_LIMIT or (not self.lines and any(ord(char) < 32 for char in raw)):
            raise ValueError(f"must be text of {'at most 20,000 characters' if self.lines else 'one line'}")
        if self.pattern and not re.fullmatch(self.pattern, raw):
            raise ValueError(f"must be {self.allowed}, as in {_quoted(self.example_text)}")
        return raw


@record(frozen=True)
class KeepAlive(Kind):
    """How long a model stays loaded, as Ollama takes it: empty, a duration, 0, or -1 for ever."""

    type_text: ClassVar[str] = "duration"

    @property
    def range_text(self) -> str:
        """See `Kind`."""
        return "empty, 0, a duration, -1 (for ever)"

    def check(self, raw: object) -> str:
        """See `Kind`."""
        if isinstance(raw, int) and not isinstance(raw, bool) and -1 <= raw < 10**9:
            return f"{raw}s" if raw > 0 else str(raw)
        if isinstance(raw, str) and re.fullmatch(r"|-1|0|(?:[0-9]{1,9}(?:ms|s|m|h)){1,4}", raw.strip()):
            return raw.strip()
        raise ValueError(f"must be {self.range_text}, as in {_quoted('10m')}")


@record(frozen=True)
class Address(Kind):
    """The URL of a server: http or https, host, port, path; no user part, query or fragment."""

    type_text: ClassVar[str] = "URL"

    @property
    def range_text(self) -> str:
        """See `Kind`."""
        return "http:// or https:// URL"

    def check(self, raw: object) -> str:
        """See `Kind`."""
        expected = f"must be a URL, as in {_quoted('http://127.0.0.1:11434')}"
        if not isinstance(raw, str) or len(raw) > 2000 or not raw.isprintable() or " " in raw:
            raise ValueError(expected)
        try:
            parts = urlsplit(raw)
            port = parts.port
        except ValueError as error:
            raise ValueError(f"{expected}; the port must be from 1 to 65535") from error
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(expected)
        if port == 0:
            raise ValueError(f"{expected}; the port must be from 1 to 65535")
        if parts.username is not None or parts.password is not None:
            raise ValueError("must be a URL without a user or password; a key belongs into api_key")
        if parts.query or parts.fragment:
            raise ValueError("must be a URL without ? and #")
        return raw.rstrip("/")


@record(frozen=True)
class Certificates(Kind):
    """Whether certificates are checked: true, false, or the path of a CA file."""

    type_text: ClassVar[str] = "true, false or path"

    @property
    def range_text(self) -> str:
        """See `Kind`."""
        return "true, false, or the path of a CA file"

    def check(self, raw: object) -> bool | str:
        """See `Kind`."""
        if isinstance(raw, bool) or (isinstance(raw, str) and raw.strip() and raw.isprintable()):
            return raw
        raise ValueError(f"must be {self.range_text}, as in true")

    def from_text(self, text: str) -> object:
        """See `Kind`."""
        return Switch().from_text(text)


@record(frozen=True)
class Names(Kind):
    """A list of names."""

    type_text: ClassVar[str] = "list"
    limit: int = 1000

    @property
    def range_text(self) -> str:
        """See `Kind`."""
        return "names in [ ]"

    def check(self, raw: object) -> tuple[str, ...]:
        """See `Kind`."""
        fine = isinstance(raw, (list, tuple)) and len(raw) <= self.limit
        if not fine or not all(isinstance(item, str) and item and item.isprintable() and len(item) <= 4096 for item in raw):  # type: ignore[attr-defined]
            raise ValueError('must be a list of names, as in ["one", "two"]')
        return tuple(raw)  # type: ignore[arg-type]

    def from_text(self, text: str) -> object:
        """See `Kind`; names between commas."""
        return [part.strip() for part in text.strip().strip("[]").replace('"', "").split(",") if part.strip()]

    def literal(self, value: tuple[str, ...]) -> list[str]:
        """See `Kind`."""
        return list(value)


@record(frozen=True)
class Arguments(Kind):
    """A program and its arguments, as they are given to it without a shell; {name} stands for what is filled in."""

    type_text: ClassVar[str] = "list"

    @property
    def range_text(self) -> str:
        """See `Kind`."""
        return "texts in [ ], the program first"

    def check(self, raw: object) -> tuple[str, ...]:
        """See `Kind`; nothing may be filled into the program itself."""
        fine = isinstance(raw, (list, tuple)) and len(raw) <= 100
        if not fine or not all(isinstance(item, str) and "\0" not in item and len(item) <= 4096 for item in raw):  # type: ignore[attr-defined]
            raise ValueError('must be a list of texts, as in ["weather", "--city={city}"]')
        items: tuple[str, ...] = tuple(raw)  # type: ignore[arg-type]
        if items and (not items[0].strip() or not items[0].isprintable() or re.search(r"\{\w+\}", items[0])):
            raise ValueError('must be a program, without { } in it, and its arguments, as in ["weather", "--city={city}"]')
        return items

    def from_text(self, text: str) -> object:
        """See `Kind`; a list as TOML."""
        import tomllib

        try:
            return tomllib.loads(f"value = {text}")["value"]
        except (ValueError, RecursionError):
            return text

    def literal(self, value: tuple[str, ...]) -> list[str]:
        """See `Kind`."""
        return list(value)


@record(frozen=True)
class Pairs(Kind):
    """A table of text by name; `names` is the pattern of the names."""

    type_text: ClassVar[str] = "table"
    allowed: str = '{ name = "value" }'
    names: str = ""

    @property
    def range_text(self) -> str:
        """See `Kind`."""
        return self.allowed

    def check(self, raw: object) -> dict[str, str]:
        """See `Kind`."""
        if not isinstance(raw, Mapping) or not all(
            isinstance(name, str) and isinstance(value, str) and name.isprintable() and value.isprintable()
            and (not self.names or re.fullmatch(self.names, name))
            for name, value in raw.items()
        ):  # fmt: skip
            raise ValueError(f"must be a table of text, as in {self.allowed}")
        return dict(raw)

    def from_text(self, text: str) -> object:
        """See `Kind`; the table as TOML."""
        import tomllib

        try:
            return tomllib.loads(f"value = {text}")["value"]
        except (ValueError, RecursionError):
            return text


@record(frozen=True)
class Secret:
    """A key or a reference to one; never prints a literal key.

    Attributes:
        text: `env:NAME`, `file:PATH`, a literal key, or empty.
    """

    text: str = ""

    @property
    def literal(self) -> bool:
        """The key itself stands in the file."""
        return bool(self.text) and not self.text.startswith(("env:", "file:"))

    def reference(self, provider: str) -> str:
        """What may be stored and shown: the reference, or `config:NAME` for a literal key of that provider."""
        return f"config:{provider}" if self.literal else self.text

    def __bool__(self) -> bool:
        """Whether there is one."""
        return bool(self.text)

    def __repr__(self) -> str:
        return "Secret('a literal key, hidden')" if self.literal else f"Secret({clean_name(self.text)!r})"

    def __str__(self) -> str:
        return "(a literal key, hidden)" if self.literal else clean_name(self.text)


@record(frozen=True)
class KeyReference(Kind):
    """A reference to a key; the value is a `Secret`."""

    type_text: ClassVar[str] = "key"

    @property
    def range_text(self) -> str:
        """See `Kind`."""
        return "env:NAME or file:PATH"

    def check(self, raw: object) -> Secret:
        """See `Kind`; messages never hold what was given."""
        if isinstance(raw, Secret):
            return raw
        if not isinstance(raw, str) or not raw.isprintable() or len(raw) > 8192:
            raise ValueError('must be a reference to a key, as in "env:OPENAI_API_KEY"')
        text = raw.strip()
        if text.startswith("env:") and not re.fullmatch(r"env:[A-Za-z_][A-Za-z0-9_]*", text):
            raise ValueError('must name an environment variable, as in "env:OPENAI_API_KEY"')
        if text == "file:":
            raise ValueError('must name a file, as in "file:~/.config/paddock/key"')
        return Secret(text)

    def literal(self, value: Secret) -> str:
        """See `Kind`."""
        return value.text


@record(frozen=True)
class Stops(Kind):
    """Texts that end an answer: one, or a list; spaces and line ends count."""

    type_text: ClassVar[str] = "list"

    def check(self, raw: object) -> tuple[str, ...]:
        """See `Kind`."""
        items = (raw,) if isinstance(raw, str) else raw
        if not isinstance(items, (list, tuple)) or len(items) > 100 or not all(isinstance(item, str) and item for item in items):
            raise ValueError('must be a list of texts, as in ["END"]')
        return tuple(items)

    def from_text(self, text: str) -> object:
        """See `Kind`; a list as TOML, else one text."""
        import tomllib

        try:
            return tomllib.loads(f"value = {text}")["value"]
        except (ValueError, RecursionError):
            return [text]

    def literal(self, value: tuple[str, ...]) -> list[str]:
        """See `Kind`."""
        return list(value)


def _quoted(text: str) -> str:
    return text if text.isdigit() else f'"{text}"'


SWITCH = Switch()
AUTO = Choice(("auto", "on", "off"), true="on", false="off")
DENSITY = Choice(("auto", "compact", "roomy"))
MOTION = Choice(("auto", "full", "none"), true="full", false="none")
WIRE = Choice(("auto", "full"))
LINE = Bytes(300, 10**10, empty=True)
THEME = Words("[a-z0-9][a-z0-9_-]{0,39}", "the name of a theme", "paddock")
BINDINGS = Pairs('"binding id" = "key,key"')
