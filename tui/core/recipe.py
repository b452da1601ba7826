"""What a person changes of a model, as a diff: options one by one, texts line by line; and what a create is asked for it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import field, replace
from typing import Any, Final

from tui.core.errors import FailureKind, PaddockError
from tui.core.modelfile import Modelfile, Value, grouped, ungrouped
from tui.core.record import record
from tui.core.textdiff import LEFT_OUT, changed_lines
from tui.text import clean_block, clean_label

CONTEXT_LINES: Final = 2
MOST_LINES: Final = 20_000
"""Lines of a text that are compared one by one; a longer one is new as a whole."""
_BLOB: Final = re.compile(r"sha256[-:]([0-9a-f]{64})\Z")


@record(frozen=True)
class Recipe:
    """What may be changed of a model, or what the settings say of it.

    Attributes:
        options: Typed, as the API takes them; `stop` as a list.
        system: Empty where it has none; the settings have no texts.
        keep_alive: Of the settings only: a model cannot carry it.
    """

    options: Mapping[str, Any] = field(default_factory=dict)
    system: str = ""
    template: str = ""
    keep_alive: str = ""

    def with_option(self, name: str, value: Any) -> Recipe:
        """The same with another option; None takes it out."""
        options = {other: one for other, one in self.options.items() if other != name}
        if value is not None:
            options[name] = list(value) if isinstance(value, (list, tuple)) else value
        return replace(self, options=dict(sorted(options.items())))


@record(frozen=True)
class DiffLine:
    """One line of a diff, cleaned: `+` is new, `-` goes, `~` changes, a space stays, `@` is a heading."""

    sign: str
    text: str


def recipe_of(made: Modelfile) -> Recipe:
    """What a model carries now."""
    return Recipe(dict(sorted(grouped(made.parameters).items())), made.system or "", made.template or "")


def difference(old: Recipe, new: Recipe) -> tuple[DiffLine, ...]:
    """What is different; empty where nothing is."""
    return tuple(_differences(old, new))


def _differences(old: Recipe, new: Recipe) -> Iterator[DiffLine]:
    for name in sorted({*old.options, *new.options}):
        yield from _one(name, old.options.get(name), new.options.get(name))
    yield from _one("keep_alive", old.keep_alive or None, new.keep_alive or None)
    for name, before, after in (("system", old.system, new.system), ("template", old.template, new.template)):
        if before != after:
            yield DiffLine("@", name)
            yield from _text(before, after)


def _one(name: str, before: Any, after: Any) -> Iterator[DiffLine]:
    if before is None and after is not None:
        yield DiffLine("+", f"{name}  {shown(after)}")
    elif before is not None and after is None:
        yield DiffLine("-", f"{name}  {shown(before)}")
    elif before != after:
        yield DiffLine("~", f"{name}  {shown(before)} -> {shown(after)}")


def _text(before: str, after: str) -> Iterator[DiffLine]:
    one, two = before.split("\n") if before else [], after.split("\n") if after else []
    if len(one) + len(two) > MOST_LINES:
        yield DiffLine("-", f"{len(one)} lines")
        yield DiffLine("+", f"{len(two)} lines")
        return
    for sign, line in changed_lines(one, two, CONTEXT_LINES):
        yield DiffLine(" ", "...") if sign == LEFT_OUT else DiffLine(sign, clean_label(line, 2000))


def shown(value: Any) -> str:
    """A value for people, on one line."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return ", ".join(shown(one) for one in value)
    if isinstance(value, str):
        text = clean_label(value, 200)
        return text if text and text == text.strip() and "," not in text else f'"{text}"'
    return f"{value:g}" if isinstance(value, float) else str(value)


def drawn(lines: tuple[DiffLine, ...]) -> str:
    """A diff as plain text."""
    return clean_block("\n".join(f"{line.sign} {line.text}" for line in lines))


# --- what is asked for ---------------------------------------------------------------------------------------------------


def create_fields(source: str, made: Modelfile, old: Recipe, new: Recipe) -> dict[str, Any]:
    """The fields of a create that turns a model into another one with the same weights.

    A create `from` a model keeps what it is not given, so nothing can be taken out that way: then the model is put together anew out of
    the blobs that the server names.

    Args:
        source: The model's name.
        made: What it is made of.
        old: As `recipe_of` read it.
        new: As it is to be.

    Raises:
        PaddockError: Something is to be taken out, and the server does not name the weights by their digests, or the model has parameters
            that are not known here.
    """
    options = {name: value for name, value in new.options.items() if old.options.get(name) != value}
    texts = {name: getattr(new, name) for name in ("system", "template") if getattr(new, name) != getattr(old, name)}
    gone = [name for name in old.options if name not in new.options] + [name for name, text in texts.items() if not text]
    if not gone:
        return {"from": source, **({"parameters": options} if options else {}), **texts}
    if made.notes:
        what = f"{', '.join(gone)} cannot be taken out of {source}, as that would lose something else: {made.notes[0]}"
        raise PaddockError.of(what, source, "Set it to the value the server would use without it", FailureKind.UNSUPPORTED)
    whole = replace(made, parameters=_parameters(new), system=new.system or None, template=new.template or None)
    files = blobs_of(whole)
    if files is None:
        what = f"{', '.join(gone)} cannot be taken out of {source}: the server does not name its weights"
        raise PaddockError.of(what, source, "Set it to the value the server would use without it", FailureKind.UNSUPPORTED)
    return {**files, **whole.fields()}


def blobs_of(made: Modelfile) -> dict[str, Any] | None:
    """`files`, `adapters` and `draft_files` of a create out of blobs that the server has; None where it names others."""
    groups = (("files", "model", made.sources), ("adapters", "adapter", made.adapters), ("draft_files", "draft", _some(made.draft)))
    found: dict[str, Any] = {}
    for group, stem, sources in groups:
        for number, source in enumerate(sources):
            match = _BLOB.search(source)
            if match is None:
                return None
            found.setdefault(group, {})[f"{stem}{number or ''}.gguf"] = f"sha256:{match[1]}"
    return found if "files" in found else None


def _some(one: str | None) -> tuple[str, ...]:
    return () if one is None else (one,)


def _parameters(recipe: Recipe) -> tuple[tuple[str, Value], ...]:
    return ungrouped(recipe.options)
