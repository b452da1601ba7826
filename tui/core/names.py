"""Names of models: `[host/][namespace/]model[:tag]`, after Ollama's types/model/name.go."""

from __future__ import annotations

import re
from typing import Final

from tui.core.errors import FailureKind, PaddockError
from tui.core.record import record
from tui.text import clean_name

DEFAULT_HOST: Final = "registry.ollama.ai"
DEFAULT_NAMESPACE: Final = "library"
DEFAULT_TAG: Final = "latest"

_HOST: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,349}\Z")
_NAMESPACE: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,79}\Z")
_PART: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}\Z")


@record(frozen=True)
class ModelName:
    """A parsed name; compare `key`, show `str()`."""

    host: str
    namespace: str
    model: str
    tag: str

    @property
    def key(self) -> str:
        """What makes two spellings the same model: full and lower case."""
        return f"{self.host}/{self.namespace}/{self.model}:{self.tag}".lower()

    @property
    def official(self) -> bool:
        """Of Ollama's own library."""
        return self.host.lower() == DEFAULT_HOST and self.namespace.lower() == DEFAULT_NAMESPACE

    def __str__(self) -> str:
        """Shortest form; the tag is always there."""
        if self.host.lower() != DEFAULT_HOST:
            return f"{self.host}/{self.namespace}/{self.model}:{self.tag}"
        if self.namespace.lower() != DEFAULT_NAMESPACE:
            return f"{self.namespace}/{self.model}:{self.tag}"
        return f"{self.model}:{self.tag}"


def parse(text: str) -> ModelName:
    """Read a name.

    Raises:
        PaddockError: The name breaks the grammar; says which part.
    """
    shown = clean_name(text, 80)
    name = text.strip().split("://", 1)[-1]
    if not name:
        raise _refused("The model name is empty", shown)
    path, colon, tag = name.rpartition(":")
    if not colon or "/" in tag:
        path, tag, colon = name, DEFAULT_TAG, ""
    parts = path.split("/")
    if len(parts) > 3:
        raise _refused("A model name has at most host, namespace and model", shown)
    model = parts[-1]
    namespace = parts[-2] if len(parts) > 1 else DEFAULT_NAMESPACE
    host = parts[0] if len(parts) > 2 else DEFAULT_HOST
    for part, pattern, what in ((host, _HOST, "host"), (namespace, _NAMESPACE, "namespace"), (model, _PART, "model"), (tag, _PART, "tag")):
        if not pattern.match(part):
            raise _refused(f"The {what} part {clean_name(part, 40)!r} is not a valid name", shown)
    return ModelName(host, namespace, model, tag)


def normal(text: str) -> str:
    """The shortest form of a name, or the cleaned text itself where it is not an Ollama name."""
    try:
        return str(parse(text))
    except PaddockError:
        return clean_name(text)


def unusual(text: str) -> bool:
    """Whether a name holds what cannot be seen, or what only looks like the letters one types (X23)."""
    return not (text.isascii() and text.isprintable()) and clean_name(text, len(text) + 1) != text


def same(one: str, other: str) -> bool:
    """Whether two spellings mean one model (`a`, `a:latest`, `library/a`, other case)."""
    if one == other:
        return True
    try:
        return parse(one).key == parse(other).key
    except PaddockError:
        return False


def _refused(what: str, where: str) -> PaddockError:
    remedy = "Write it like qwen3:8b, user/model:tag or hf.co/org/repo:Q4_K_M"
    return PaddockError.of(what, where or "model name", remedy, FailureKind.BAD_REQUEST)
