"""The configuration file as text: parsing, finding lines, changing single keys.

Paths are tuples of plain key names, as in `("chat", "options", "top_k")`.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any, Final

from tui.core.errors import FailureKind, PaddockError

Path = tuple[str, ...]
UNSET: Final = object()
"""In an edit: take the key out of the file."""

_AT: Final = re.compile(r"\(at line (\d+), column \d+\)")
_KEY_LINE: Final = re.compile(r"""\s*((?:[A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*'))*)\s*=""")
_COMMENTED: Final = re.compile(r"\s*#\s?([A-Za-z0-9_-]+)\s*=")


class SyntaxProblem(Exception):
    """The text is not TOML; `line` is counted from 1 where known."""

    def __init__(self, what: str, line: int | None) -> None:
        super().__init__(what)
        self.what = what
        self.line = line


def parse(text: str) -> dict[str, Any]:
    """Read the text as TOML.

    Raises:
        SyntaxProblem: It is none, or nested too deeply, or holds absurd numbers.
    """
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise SyntaxProblem("nested too deeply", _line_of(text, "[[[[[[[[[[[[[[[[")) from None
    except ValueError as error:
        message = str(error)
        found = _AT.search(message)
        if "Exceeds the limit" in message:
            long = re.search(r"\d{4300,}", text)
            raise SyntaxProblem("a number is too long", text.count("\n", 0, long.start()) + 1 if long else None) from None
        line = int(found[1]) if found else text.count("\n") + 1 if "end of document" in message else None
        what = _AT.sub("", message).replace("(at end of document)", "at the end of the file").strip()
        raise SyntaxProblem((what[:1].lower() + what[1:])[:200] or "not valid TOML", line) from None


def _line_of(text: str, part: str) -> int | None:
    at = text.find(part)
    return None if at < 0 else text.count("\n", 0, at) + 1


def _names(text: str) -> Path | None:
    """Read a dotted key as TOML reads it."""
    try:
        found: Any = tomllib.loads(f"{text} = 0")
    except ValueError:
        return None
    path: list[str] = []
    while isinstance(found, dict) and len(found) == 1:
        ((name, found),) = found.items()
        path.append(name)
    return tuple(path)


def _lines(text: str) -> Iterator[tuple[int, Path, Path | None, str]]:
    """Yield line number from 0, table it stands in, the whole path of the key (or table header) it begins, and the line."""
    table: Path = ()
    for number, line in enumerate(text.split("\n")):
        bare = line.strip()
        if bare.startswith("[") and not bare.startswith("[["):
            end = bare.find("]")
            header = _names(bare[1:end]) if end > 0 else None
            if header is not None:
                table = header
                yield number, table, table, line
                continue
        match = _KEY_LINE.match(line) if not bare.startswith("#") else None
        key = _names(match[1]) if match else None
        yield number, table, None if key is None else (*table, *key), line


def find_line(text: str, path: Path) -> int | None:
    """Find where a key stands, or else the table it is in; counted from 1."""
    best: tuple[int, int] | None = None
    for number, _, found, _ in _lines(text):
        if found and found == path[: len(found)] and (best is None or len(found) > best[0]):
            best = (len(found), number + 1)
    return None if best is None else best[1]


def value_at(raw: Mapping[str, Any], path: Path) -> Any:
    """Return the value at a path, or `UNSET`."""
    place: Any = raw
    for name in path:
        if not isinstance(place, Mapping) or name not in place:
            return UNSET
        place = place[name]
    return place


def put(raw: dict[str, Any], path: Path, value: Any) -> None:
    """Set a value at a path, or remove it with `UNSET`; tables left empty go."""
    if len(path) == 1:
        if value is UNSET:
            raw.pop(path[0], None)
        else:
            raw[path[0]] = value
        return
    inner = raw.get(path[0])
    if not isinstance(inner, dict):
        if value is UNSET:
            return
        inner = raw[path[0]] = {}
    put(inner, path[1:], value)
    if value is UNSET and not inner:
        del raw[path[0]]


def format_value(value: Any) -> str:
    """Write one value as TOML on one line."""
    import tomli_w

    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{format_key(name)} = {format_value(item)}" for name, item in value.items()) + " }" if value else "{}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(format_value(item) for item in value) + "]"
    return tomli_w.dumps({"x": value}).partition(" = ")[2].strip()


def format_key(name: str) -> str:
    """Write one key, quoted where it must be."""
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else format_value(name)


def _insert(text: str, path: Path, value: Any) -> str:
    """Add a key: after the comment that shows its default, else below its table's header, else in a table of its own at the end."""
    lines = text.split("\n")
    table, name = path[:-1], path[-1]
    new = f"{format_key(name)} = {format_value(value)}"
    header: int | None = None
    for number, inside, found, line in _lines(text):
        if inside == table and found == table and header is None:
            header = number
        commented = _COMMENTED.match(line)
        if inside == table and commented and commented[1] == name:
            return "\n".join([*lines[: number + 1], new, *lines[number + 1 :]])
    if header is not None:
        return "\n".join([*lines[: header + 1], new, *lines[header + 1 :]])
    body = text.rstrip("\n")
    return (body + "\n\n" if body else "") + f"[{'.'.join(map(format_key, table))}]\n{new}\n"


def _with_tomlkit(text: str, path: Path, value: Any) -> str:
    import tomlkit  # 30 times slower than tomllib; only when saving

    document = tomlkit.parse(text)
    place: Any = document
    for name in path[:-1]:
        if name not in place:
            if value is UNSET:
                return text
            place[name] = tomlkit.table()
        place = place[name]
    if value is UNSET:
        place.pop(path[-1], None)
    else:
        place[path[-1]] = value
    return tomlkit.dumps(document)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def edit(text: str, path: Path, value: Any) -> str:
    """Change one key of a valid text; comments, order and everything else stay.

    Raises:
        PaddockError: The text is written so that no edit was safe.
    """
    value = value if value is UNSET else _plain(value)
    before = parse(text)
    if value_at(before, path) == value and (value is UNSET or type(value_at(before, path)) is type(value)):
        return text
    wanted = parse(text)
    put(wanted, path, value)
    ways = (_insert, _with_tomlkit) if value_at(before, path) is UNSET else (_with_tomlkit,)
    for way in ways:
        try:
            changed = way(text, path, value)
            if _without_empty(parse(changed)) == _without_empty(wanted):
                return changed
        except Exception:  # tomlkit raises many kinds; the check above decides
            continue
    raise PaddockError.of(
        "Not saved: the file is written in a way that cannot be changed safely",
        ".".join(path),
        "Change this key in an editor",
        FailureKind.CONFIG,
    )


def _without_empty(raw: Mapping[str, Any]) -> dict[str, Any]:
    found = {name: _without_empty(value) if isinstance(value, Mapping) else value for name, value in raw.items()}
    return {name: value for name, value in found.items() if value != {}}
