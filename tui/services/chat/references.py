"""`@file` and `@folder/*.py` in a prompt: finding them in what was typed, and the files they mean.

`find` is quick; all else blocks (a folder may be on another machine) and belongs in a daemon thread. Hidden files are only meant
where the pattern begins with a dot, links to folders are not followed by `**`, and every walk has an end.
"""

from __future__ import annotations

import fnmatch
import heapq
import os
import re
import shlex
import socket
import stat
import urllib.parse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from tui.core.errors import Failure, PaddockError
from tui.core.record import record
from tui.services.chat import attachments
from tui.text import clean_block

MANY_FILES: Final = 20
MANY_BYTES: Final = 1_000_000
"""More than this is asked about before it is attached."""
FILES_LIMIT: Final = 1000
VISITS_LIMIT: Final = 200_000
"""Names looked at for one pattern."""
DEPTH_LIMIT: Final = 32
TYPED: Final = "t"
"""The mark of a typed character (see `find`)."""
_REFERENCE: Final = re.compile(r"""(?<![^\s(\[{<"'`,;:])@(?:"([^"\n]+)"|([^\s"]+))""")
_BEFORE_CURSOR: Final = re.compile(r"""(?<![^\s(\[{<"'`,;:])@(?:"([^"\n]*)|([^\s"]*))$""")
_TRAILING: Final = ".,;:!?)]}>'`\""
_MAGIC: Final = frozenset("*?[")
_LIKE_A_FILE: Final = re.compile(r"/|\.[A-Za-z0-9]{1,5}$")
_SURELY_A_PATH: Final = ("/", "~/", "./", "../")


@record(frozen=True)
class Reference:
    """An `@` in a text: from `start` to `end` it means `pattern`."""

    start: int
    end: int
    pattern: str


@record(frozen=True)
class Expanded:
    """The files that patterns mean.

    Attributes:
        paths: In the order of the patterns, each file once.
        size: Their bytes together.
        failures: What was named and cannot be attached.
        unknown: Patterns that name nothing and may be meant as plain text.
        left_out: Files a glob matched that are not text.
        more: A glob matched more than are taken.
        outside: Those of `paths` that are neither below the home folder nor below the folder Paddock was started in.
    """

    paths: tuple[Path, ...] = ()
    size: int = 0
    failures: tuple[Failure, ...] = ()
    unknown: tuple[str, ...] = ()
    left_out: int = 0
    more: bool = False
    outside: tuple[Path, ...] = ()

    @property
    def asks(self) -> bool:
        """It is more, or elsewhere, than is taken without a question."""
        return len(self.paths) > MANY_FILES or self.size > MANY_BYTES or bool(self.outside)


def find(text: str, typed: str) -> list[Reference]:
    """The references in a text.

    Args:
        text: The prompt.
        typed: As long as the text: `TYPED` where a character was typed; one that was pasted begins no reference (X21).
    """
    return [
        Reference(found.start(), found.end(), found[1] or found[2])
        for found in _REFERENCE.finditer(text)
        if typed[found.start() : found.start() + 1] == TYPED
    ]


def before_cursor(line: str) -> Reference | None:
    """The reference that is being written at the end of this text."""
    found = _BEFORE_CURSOR.search(line)
    return Reference(found.start(), found.end(), found[1] or found[2] or "") if found is not None else None


def quoted(path: str) -> str:
    """A path as it is written behind an `@`."""
    return f'"{path}"' if re.search(r"\s", path) or path[-1:] in _TRAILING else path


def has_magic(pattern: str) -> bool:
    """Whether it is a glob."""
    return not _MAGIC.isdisjoint(pattern)


# --- from patterns to files --------------------------------------------------------------------------------------------


def expand(patterns: Sequence[str], base: Path, *, home: Path | None = None, strict: bool = False, sees: bool | None = None) -> Expanded:
    """Find the files.

    Args:
        patterns: Paths and globs, relative to `base`.
        base: The folder Paddock was started in.
        home: The user's home folder.
        strict: Each pattern was meant as a file: what names nothing is a failure.
        sees: Whether the model takes images; None where that is not known.
    """
    home = home or Path("~").expanduser()
    found: dict[tuple[int, int], tuple[Path, int]] = {}
    failures: list[Failure] = []
    unknown: list[str] = []
    left_out, more = 0, False
    for given in patterns:
        pattern = _existing(given, base, home)
        if pattern is None and not has_magic(given):
            if strict or given.startswith(_SURELY_A_PATH):
                failures.append(attachments.unreadable(absolute(given, base, home), FileNotFoundError()).failure)
            elif _LIKE_A_FILE.search(given):
                unknown.append(given)
            continue
        if pattern is not None:
            path = absolute(pattern, base, home)
            try:
                attachments.read_file(path, sees=sees)
                seen = path.stat()
                found.setdefault((seen.st_dev, seen.st_ino), (path, seen.st_size))
            except PaddockError as error:
                failures.append(error.failure)
            except OSError as error:
                failures.append(attachments.unreadable(path, error).failure)
            continue
        count = len(found)
        for path, seen in _files(absolute(given, base, home)):
            if len(found) >= FILES_LIMIT:
                more = True
                break
            if attachments.is_text(path):
                found.setdefault((seen.st_dev, seen.st_ino), (path, seen.st_size))
            else:
                left_out += 1
        if len(found) == count and (strict or given.startswith(_SURELY_A_PATH) or "/" in given):
            failures.append(Failure(f"No text file is {given}", "", "Look at the name; ** looks into folders"))
    paths = tuple(path for path, _size in found.values())
    outside = tuple(path for path in paths if not _is_below(path, (base, home)))
    return Expanded(paths, sum(size for _path, size in found.values()), tuple(failures), tuple(unknown), left_out, more, outside)


def start_folder() -> Path:
    """The folder Paddock was started in; the home folder where that is gone."""
    try:
        return Path.cwd()
    except OSError:
        return Path("~").expanduser()


def absolute(pattern: str, base: Path, home: Path | None = None) -> Path:
    """The path that a typed one means."""
    home = home or Path("~").expanduser()
    if pattern == "~" or pattern.startswith("~/"):
        return home / pattern[2:]
    return base / pattern


def _existing(given: str, base: Path, home: Path) -> str | None:
    """The path as it stands there, or without the full stop that ends the sentence."""
    tried = given
    while tried:
        try:
            absolute(tried, base, home).lstat()
        except (OSError, ValueError):
            if tried[-1] not in _TRAILING:
                return None
            tried = tried[:-1]
        else:
            return tried
    return None


def _is_below(path: Path, folders: Sequence[Path]) -> bool:
    real = os.path.realpath(path)
    return any(os.path.commonpath((real, top)) == top for top in map(os.path.realpath, folders) if top != "/")


def _files(pattern: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Readable regular files that a glob matches, in order."""
    budget = [VISITS_LIMIT]
    for path in _walk(Path(pattern.anchor), pattern.parts[1:], budget, 0):
        try:
            seen = path.stat()
        except OSError:
            continue
        if stat.S_ISREG(seen.st_mode):
            yield path, seen


def _walk(folder: Path, parts: Sequence[str], budget: list[int], depth: int) -> Iterator[Path]:
    if not parts or depth > DEPTH_LIMIT:
        return
    part, rest = parts[0], parts[1:]
    if not has_magic(part):
        path = folder / part
        if rest:
            yield from _walk(path, rest, budget, depth)
        elif path.exists():
            yield path
        return
    if part == "**":
        yield from _walk(folder, rest or ("*",), budget, depth)
        for entry in _entries(folder, "*", budget):
            if _is_folder(entry, follow=False):
                yield from _walk(folder / entry.name, parts, budget, depth + 1)
        return
    for entry in _entries(folder, part, budget):
        if not rest:
            yield folder / entry.name
        elif _is_folder(entry, follow=True):
            yield from _walk(folder / entry.name, rest, budget, depth + 1)


def _entries(folder: Path, pattern: str, budget: list[int]) -> list[os.DirEntry[str]]:
    """The first names that match, in order; sorting all of a hundred thousand would hold up every other thread."""
    matches, hidden = re.compile(fnmatch.translate(pattern)).match, pattern.startswith(".")
    found: list[os.DirEntry[str]] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if budget[0] <= 0:
                    break
                budget[0] -= 1
                if entry.name.startswith(".") == hidden and matches(entry.name):
                    found.append(entry)
    except OSError:
        return []
    return heapq.nsmallest(FILES_LIMIT + 1, found, key=lambda entry: entry.name)


def _is_folder(entry: os.DirEntry[str], *, follow: bool) -> bool:
    try:
        return entry.is_dir(follow_symlinks=follow)
    except OSError:
        return False


# --- names that go on with what is typed -------------------------------------------------------------------------------


class Folder:
    """The names in one folder, read once; what is hidden or cannot be typed is kept apart or left out.

    Not sorted: sorting a hundred thousand names would hold up every other thread.
    """

    __slots__ = ("names", "problem")

    def __init__(self, path: Path) -> None:
        self.names: list[tuple[str, str, bool]] = []
        self.problem = ""
        try:
            with os.scandir(path) as entries:
                for entry in entries:
                    name = entry.name
                    if len(self.names) >= VISITS_LIMIT:
                        break
                    if clean_block(name) == name and '"' not in name and "\n" not in name:
                        self.names.append((name.casefold(), name, _is_folder(entry, follow=True)))
        except OSError as error:
            self.problem = error.strerror or "cannot be read"

    def going_on(self, prefix: str, limit: int = 200) -> tuple[list[tuple[str, bool]], int]:
        """Names that begin so (whatever the case), folders first, and how many there are in all."""
        start, hidden = prefix.casefold(), prefix.startswith(".")
        found = [one for one in self.names if one[0].startswith(start) and (hidden or not one[0].startswith("."))]
        first = heapq.nsmallest(limit, found, key=lambda one: (not one[2], one[0], one[1]))
        return [(name, is_folder) for _key, name, is_folder in first], len(found)


def split(typed: str, base: Path, *, home: Path | None = None) -> tuple[Path, str, str]:
    """Of a path being typed: the folder to look into, what of the text names it, and the beginning of a name."""
    head, slash, tail = typed.rpartition("/")
    if typed in ("~", "..", "."):
        head, slash, tail = typed, "", ""
        return absolute(typed, base, home), f"{typed}/", ""
    return absolute(head + slash, base, home), head + slash, tail


# --- files dropped on the terminal --------------------------------------------------------------------------------------

DROP_LIMIT: Final = 32_000
DROP_COUNT: Final = 200
_DROP_START: Final = re.compile(r"""\s*['"]?(?:/|~/|file://|\\ )""")


def may_be_dropped(text: str) -> bool:
    """Whether a paste may be paths and nothing else; only looks at the text."""
    return len(text) <= DROP_LIMIT and _DROP_START.match(text) is not None


def dropped(text: str) -> tuple[Path, ...]:
    """The files that a paste consists of, empty where it is anything else; blocks.

    Terminals write dropped files as they stand, quoted, escaped, or as `file://` addresses, separated by spaces or line breaks.
    """
    text = text.strip()
    for words in ([text], [line.strip() for line in text.splitlines()], _shell_words(text)):
        paths = [_dropped_path(word) for word in words if word]
        if paths and len(paths) <= DROP_COUNT and all(path is not None and _is_file(path) for path in paths):
            return tuple(path for path in paths if path is not None)
    return ()


def _shell_words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        return []


def _dropped_path(word: str) -> Path | None:
    if word.startswith("file://"):
        address = urllib.parse.urlsplit(word)
        if address.netloc not in ("", "localhost", socket.gethostname()):
            return None
        word = urllib.parse.unquote(address.path)
    if word.startswith("~/"):
        return absolute(word, Path("/"))
    return Path(word) if word.startswith("/") and "\0" not in word else None


def _is_file(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except (OSError, ValueError):
        return False
