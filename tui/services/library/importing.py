"""What a model can be made from on this machine, and the job that makes it: weights, or a Modelfile that names some."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tui.core.errors import FailureKind, PaddockError
from tui.core.jobs import JobKind
from tui.core.modelfile import SIZE_LIMIT, Modelfile, decode, parse_modelfile
from tui.core.names import normal, parse
from tui.core.record import record
from tui.core.threads import in_daemon_thread
from tui.services.library.keep_now import find
from tui.services.library.weights import Weights, looks_like_path, says_weights, weights_of
from tui.text import clean_name

if TYPE_CHECKING:
    from tui.core.models import Model

_LEVEL: Final = re.compile(r"(.+?)[-._](i?q[0-9][a-z0-9_]*|f16|bf16|f32|fp16)\Z", re.IGNORECASE)
_FROM: Final = re.compile(rb"^[ \t]*FROM[ \t]+\S", re.IGNORECASE | re.MULTILINE)
_HEAD: Final = 64 * 1024
"""Bytes in which a Modelfile names what it is made from."""
_PART: Final = re.compile(r"-[0-9]{5}-of-[0-9]{5}\Z")


@record(frozen=True)
class Source:
    """What was found at a path.

    Attributes:
        path: As a person would write it, cleaned.
        name: Proposed for the model.
        kind: `GGUF`, `safetensors` or `Modelfile`.
        base: The model that a Modelfile names, or empty.
        groups: Files to send: `files` and `adapters`, each name: absolute path.
        size: Bytes to send.
        fields: Of the create, from a Modelfile.
        notes: What was left out of it.
    """

    path: str
    name: str
    kind: str
    base: str = ""
    groups: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    size: int = 0
    fields: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def job(self) -> JobKind:
        """What the queue has to do for it."""
        return JobKind.UPLOAD if self.groups else JobKind.CREATE

    def arguments(self, more: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Of the job; `more` are further fields of the create, which win, but for parameters, which are added one by one."""
        fields = {**self.fields, **(more or {})}
        if "parameters" in self.fields and more and "parameters" in more:
            fields["parameters"] = {**self.fields["parameters"], **more["parameters"]}
        return {**({"from": self.base} if self.base else {}), **{group: dict(files) for group, files in self.groups.items()}, **fields}


def installed_base(source: Source, models: Iterable[Model], where: str) -> None:
    """Refuse a Modelfile whose model is not installed: the server would fetch it unasked, whatever its size.

    Raises:
        PaddockError: It is not there.
    """
    if source.base and find(models, source.base) is None:
        what = f"{source.base} is not installed on {where}, and the Modelfile is made from it"
        raise PaddockError.of(what, source.path, f"Fetch it first: paddock pull {source.base}", FailureKind.NOT_FOUND)


def _named_modelfile(text: str) -> bool:
    return "modelfile" in Path(text).name.lower()


def _reads_as_modelfile(text: str) -> bool:
    """Whether a file of another name has a FROM line; one whose name says weights, good or bad, is judged as those."""
    if says_weights(text):
        return False
    try:
        path = Path(text).expanduser()
        if not path.is_file():  # a pipe may keep us waiting
            return False
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except (OSError, ValueError, RuntimeError):
        return False
    return b"\0" not in head and _FROM.search(head) is not None


def may_be_path(text: str) -> bool:
    """Whether a person means a file rather than a model."""
    return looks_like_path(text) or (_named_modelfile(text) and Path(text).is_file())


async def look_at(text: str) -> Source:
    """Look at a path; in a thread, as disks may be slow.

    Raises:
        PaddockError: There is nothing that a model can be made from; says why, with the line of a Modelfile.
    """
    return await in_daemon_thread(lambda: source_of(text))


def source_of(text: str) -> Source:
    """See `look_at`; blocks."""
    if not text.strip():
        raise PaddockError.of(
            "No file is named", "", "Name a GGUF file, a folder with safetensors, or a Modelfile", FailureKind.BAD_REQUEST
        )
    if _named_modelfile(text) or _reads_as_modelfile(text):
        return _modelfile(text)
    weights = weights_of(text)
    return Source(clean_name(text, 1000), proposed(weights), _kind(weights), "", {"files": weights.files}, weights.size)


def _modelfile(text: str) -> Source:
    shown = clean_name(text, 1000)
    try:
        path = Path(text).expanduser().absolute()
        if not path.is_file():
            what = "There is no such file" if not path.exists() else "This is not a file"
            raise PaddockError.of(what, shown, "Name a Modelfile", FailureKind.BAD_REQUEST)
        with path.open("rb") as file:
            body = file.read(4 * SIZE_LIMIT + 1)
    except (OSError, ValueError, RuntimeError) as error:
        why = clean_name(getattr(error, "strerror", "") or "its name is not usable").lower()
        raise PaddockError.of(f"It cannot be read: {why}", shown, "Check its name and rights", FailureKind.BAD_REQUEST) from error
    return from_modelfile(parse_modelfile(decode(body, shown), shown), path.parent, shown)


def from_modelfile(found: Modelfile, folder: Path, shown: str) -> Source:
    """What a Modelfile means; its paths are relative to its folder. Blocks.

    Raises:
        PaddockError: A file it names is none a model can be made from, or it mixes a model and files.
    """
    if found.draft is not None:
        raise PaddockError.of("DRAFT is not taken yet: no draft is sent", shown, "Take the line out", FailureKind.UNSUPPORTED)
    paths = [source for source in found.sources if _is_path(source, folder)]
    groups: dict[str, dict[str, str]] = {}
    size, kind, stem = 0, "Modelfile", ""
    base = ""
    if not paths:
        if len(found.sources) > 1:
            raise PaddockError.of("FROM names two models", shown, "Name one model, or files", FailureKind.BAD_REQUEST)
        base = str(parse(found.sources[0]))
    elif len(paths) < len(found.sources):
        raise PaddockError.of("FROM names a model and a file", shown, "Name one model, or files", FailureKind.BAD_REQUEST)
    for group, sources in (("files", paths), ("adapters", list(found.adapters))):
        for source in sources:
            weights = weights_of(str(_inside(source, folder)))
            size += weights.size
            stem = stem or proposed(weights)
            for name, place in weights.files.items():
                groups.setdefault(group, {})[_named(name)] = place
    name = stem if not base else _name(f"my-{parse(base).model}")
    return Source(shown, name, kind, base, groups, size, found.fields(), found.notes)


def _is_path(source: str, folder: Path) -> bool:
    return looks_like_path(source) or _inside(source, folder).exists()


def _inside(source: str, folder: Path) -> Path:
    return folder / Path(source).expanduser()


def _named(name: str) -> str:
    """A name that tells the server the kind: blobs of its own folder have none."""
    return name if "." in name else f"{name}.gguf"


def _kind(weights: Weights) -> str:
    return "safetensors" if any(name.lower().endswith(".safetensors") for name in weights.files) else "GGUF"


def proposed(weights: Weights) -> str:
    """A name for a model out of the names of its files; the level of its weights becomes the tag."""
    first = Path(next(iter(weights.files.values())))
    stem = first.parent.name if _kind(weights) == "safetensors" else _PART.sub("", first.stem)
    match = _LEVEL.match(stem)
    return _name(f"{match[1]}:{match[2]}" if match is not None else stem)


def _name(text: str) -> str:
    stem, _, tag = text.lower().partition(":")
    found = re.sub(r"[^a-z0-9._-]+", "-", stem).strip("-._")[:60] or "my-model"
    return normal(f"{found}:{tag}" if tag else found)
