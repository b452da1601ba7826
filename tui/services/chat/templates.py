"""Prompts with blanks: `prompts/*.md` in the user's own configuration folder, and nowhere else (X14).

`{{name}}` is asked for, `{{name:default}}` too with the default standing there, `{{date}}` is today, `{{selection}}` what was typed
behind the command. A first line `# title` is the title and not sent. Loading blocks: the folder may be on another machine.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tui.core.errors import Failure, FailureKind, PaddockError
from tui.core.record import record
from tui.text import clean_block, clean_label, clean_name, size

SIZE_LIMIT: Final = 256_000
COUNT_LIMIT: Final = 200
BLANKS_LIMIT: Final = 20
BUILT_IN: Final = ("date", "selection")
_BLANK: Final = re.compile(r"\{\{\s*([A-Za-z][A-Za-z0-9_ -]{0,39}?)\s*(?::([^{}\n]{0,2000}))?\}\}")
_OPEN: Final = re.compile(r"\{\{|\}\}")


@record(frozen=True)
class Blank:
    """Something to fill in."""

    name: str
    default: str = ""


@record(frozen=True)
class Template:
    """One prompt with blanks.

    Attributes:
        name: What it is called by: its file's name, blanks in it as hyphens.
        title: Its first heading, or empty.
        text: Cleaned.
        blanks: What is asked for, each once, in order.
    """

    name: str
    title: str
    text: str
    blanks: tuple[Blank, ...] = ()


def folder_of(config_file: Path) -> Path:
    """Where the templates stand."""
    return config_file.parent / "prompts"


def load(folder: Path) -> tuple[tuple[Template, ...], tuple[Failure, ...]]:
    """All that can be used, by name, and what is wrong with the others; a missing folder is an empty one."""
    try:
        files = sorted(
            (path for path in folder.iterdir() if path.suffix == ".md" and not path.name.startswith(".")), key=lambda path: path.name
        )
    except FileNotFoundError:
        return (), ()
    except OSError as error:
        return (), (
            Failure(f"The prompts cannot be read: {error.strerror}", clean_name(str(folder)), "Look at its rights", FailureKind.CONFIG),
        )
    found: dict[str, Template] = {}
    failures: list[Failure] = []
    if len(files) > COUNT_LIMIT:
        what = f"{len(files) - COUNT_LIMIT} prompts were left out: {COUNT_LIMIT} are read"
        failures.append(Failure(what, clean_name(str(folder)), "Move some of them elsewhere", FailureKind.CONFIG))
    for path in files[:COUNT_LIMIT]:
        try:
            template = parse(path.stem, _read(path), clean_name(str(path)))
        except PaddockError as error:
            failures.append(error.failure)
            continue
        if template.name in found:
            failures.append(_wrong(f"Another prompt is called {template.name} too", str(path), "Rename one of them").failure)
        else:
            found[template.name] = template
    return tuple(found.values()), tuple(failures)


def parse(stem: str, text: str, where: str = "") -> Template:
    """Read a template's text.

    Raises:
        PaddockError: Braces that do not pair, too many blanks, or nothing in it; names file and line.
    """
    text = clean_block(text).strip("\n")
    skipped, title = 0, ""
    if text.startswith("# "):
        first, _break, text = text.partition("\n")
        title, skipped = clean_label(first[2:].strip(), 100), 1
    if not text.strip():
        raise _wrong("A prompt needs a text", where, "Write one below the title")
    blanks: dict[str, str] = {}
    for found in _BLANK.finditer(text):
        name = found[1].strip()
        if name not in BUILT_IN:
            blanks[name] = blanks.get(name) or (found[2] or "").strip()
    rest = _BLANK.sub(lambda found: " " * len(found[0]), text)
    stray = _OPEN.search(rest)
    if stray is not None:
        line = rest.count("\n", 0, stray.start()) + 1 + skipped
        raise _wrong(
            "A blank is written {{name}} or {{name:default}}",
            f"{where}:{line}",
            "Letters, digits, - and _; both pairs of braces on one line",
        )
    if len(blanks) > BLANKS_LIMIT:
        raise _wrong(f"{len(blanks)} blanks are too many", where, f"At most {BLANKS_LIMIT}")
    name = clean_name("-".join(stem.split()), 60)
    return Template(name, title, text.strip("\n"), tuple(Blank(name, default) for name, default in blanks.items()))


def fill(template: Template, values: Mapping[str, str], *, date: str, selection: str = "") -> str:
    """The prompt; what is put in is not looked at for blanks again."""
    known = {**{blank.name: blank.default for blank in template.blanks}, **values, "date": date, "selection": selection}
    return _BLANK.sub(lambda found: known.get(found[1].strip(), ""), template.text)


def _wrong(what: str, where: str, remedy: str) -> PaddockError:
    return PaddockError.of(what, clean_name(where), remedy, FailureKind.CONFIG)


def _read(path: Path) -> str:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        with os.fdopen(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise _wrong("A prompt must be a file", str(path), "Replace it by a text file")
            data = file.read(SIZE_LIMIT + 1)
    except OSError as error:
        raise _wrong(f"A prompt cannot be read: {clean_label(error.strerror or '')}", str(path), "Look at its rights") from None
    if len(data) > SIZE_LIMIT:
        raise _wrong(f"A prompt may have {size(SIZE_LIMIT)}", str(path), "Make it shorter, or attach it as a file")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise _wrong("A prompt must be UTF-8", f"{path}:{line}", "Save it as UTF-8") from None
