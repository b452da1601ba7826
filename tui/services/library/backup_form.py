"""What a backup is made of: names of its files, its index, and the digest that seals the index.

A backup is a folder or a plain tar with:

    blobs/sha256-<hex>              weights and the other layers of models, each once
    models/0001.Modelfile, .json    for people; the manifest where the models folder could be read
    config/config.toml, prompts/…   the configuration
    paddock-backup.json             the index: SHA-256 and length of everything above, and what each model is made with
    paddock-backup.sha256           SHA-256 of the index, written last: without it a backup is not whole

docs/backup.md describes it for others.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import field
from pathlib import PurePosixPath
from typing import Any, Final

from tui.core.errors import FailureKind, PaddockError
from tui.core.names import parse
from tui.core.record import record
from tui.text import clean_label, clean_name

FORMAT: Final = 1
INDEX: Final = "paddock-backup.json"
SEAL: Final = "paddock-backup.sha256"
MAX_INDEX: Final = 64_000_000
MAX_FILES: Final = 100_000
MAX_MODELS: Final = 9_999
MAX_CONFIG: Final = 4_000_000
"""Bytes of one file of the configuration."""
PIECE: Final = 1 << 20
CONFIG_NAME: Final = re.compile(r"[A-Za-z0-9][\w .-]{0,99}\Z")
_NAME: Final = re.compile(
    r"(?:blobs/sha256-[0-9a-f]{64}|models/[0-9]{4}\.(?:Modelfile|json)|config/(?:prompts/)?[A-Za-z0-9][\w .-]{0,99})\Z"
)
_HEX: Final = re.compile(r"[0-9a-f]{64}\Z")
_BLOB: Final = re.compile(r"sha256:[0-9a-f]{64}\Z")
_PART: Final = re.compile(r"[a-z]{1,10}[0-9]{0,4}\.gguf\Z")
_GROUPS: Final = ("files", "adapters", "draft_files")
_FIELDS: Final[Mapping[str, tuple[type, ...]]] = {
    "parameters": (dict,), "license": (list,), "messages": (list,), "template": (str,), "system": (str,), "requires": (str,),
    "renderer": (str,), "parser": (str,),
}  # fmt: skip


@record(frozen=True)
class Entry:
    """A file of a backup: its name in it, bytes, bare hex SHA-256."""

    name: str
    size: int
    sha256: str


@record(frozen=True)
class SavedModel:
    """A model in a backup.

    Attributes:
        fields: Of the create that makes it again; raw texts.
        blobs: Groups (`files`, `adapters`, `draft_files`) of name: `sha256:…` of that create.
        whole: All its blobs are in the backup.
        why: Why they are not, one sentence, or empty.
    """

    name: str
    provider: str
    digest: str = ""
    size: int = 0
    fields: Mapping[str, Any] = field(default_factory=dict)
    blobs: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    whole: bool = False
    why: str = ""

    def digests(self) -> tuple[str, ...]:
        """Of the blobs that it is made from, each once."""
        return tuple(dict.fromkeys(digest for group in self.blobs.values() for digest in group.values()))


@record(frozen=True)
class Index:
    """The index of a backup; `made_at` is epoch seconds."""

    made_at: float
    by: str
    files: tuple[Entry, ...]
    models: tuple[SavedModel, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(entry.size for entry in self.files)

    @property
    def configuration(self) -> tuple[str, ...]:
        """Names of the files of the configuration."""
        return tuple(entry.name for entry in self.files if entry.name.startswith("config/"))


def blob_name(digest: str) -> str:
    """The file of a blob `sha256:…`."""
    return f"blobs/{digest.replace(':', '-')}"


def is_name(name: str) -> bool:
    """Whether a file of a backup may have this name: nothing else is ever read or written."""
    return _NAME.match(name) is not None and ".." not in PurePosixPath(name).parts


def write_index(index: Index) -> tuple[bytes, bytes]:
    """The index and its seal."""
    value = {
        "paddock_backup": FORMAT,
        "made_at": round(index.made_at, 3),
        "by": index.by,
        "files": [{"name": entry.name, "size": entry.size, "sha256": entry.sha256} for entry in index.files],
        "models": [
            {
                "name": model.name,
                "provider": model.provider,
                "digest": model.digest,
                "size": model.size,
                "weights": "included" if model.whole else "absent",
                "why": model.why,
                "blobs": {group: dict(files) for group, files in model.blobs.items()},
                "fields": dict(model.fields),
            }
            for model in index.models
        ],
    }
    body = json.dumps(value, ensure_ascii=False, indent=1).encode("utf-8", "replace")
    return body, _seal(body)


def _seal(body: bytes) -> bytes:
    """As `sha256sum` writes it."""
    return f"{hashlib.sha256(body).hexdigest()}  {INDEX}\n".encode()


def read_index(body: bytes, seal: bytes, where: str) -> Index:
    """Read an index, every field of it checked.

    Raises:
        PaddockError: It is damaged, of a later version, or says what no backup holds.
    """
    if seal != _seal(body):
        raise damaged("Its index is not what it was when it was written", where)
    try:
        value = json.loads(body)
        version = value["paddock_backup"]
        if version != FORMAT:
            raise PaddockError.of(
                f"This backup has form {clean_label(str(version), 20)}; this Paddock reads {FORMAT}", where, "Use a newer Paddock"
            )
        files = tuple(_entry(one) for one in _listed(value["files"], MAX_FILES))
        if len({entry.name for entry in files}) != len(files):
            raise ValueError("a file is named twice")
        names = {entry.name for entry in files}
        models = tuple(_model(one, names) for one in _listed(value["models"], MAX_MODELS))
        return Index(float(value["made_at"]), clean_name(_text(value["by"]), 60), files, models)
    except (ValueError, KeyError, TypeError, RecursionError, OverflowError) as error:
        raise damaged(f"Its index cannot be read: {clean_label(str(error), 100)}", where) from None


def damaged(what: str, where: str) -> PaddockError:
    """What is said of a backup that is not what was written."""
    return PaddockError.of(what, where, "Use another backup: nothing was restored", FailureKind.BAD_REQUEST)


def _listed(value: Any, most: int) -> list[Any]:
    if not isinstance(value, list) or len(value) > most:
        raise ValueError("a list is missing or too long")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("a text is missing")
    return value


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 1 << 60:
        raise ValueError("a length is missing")
    return value


def _entry(value: Any) -> Entry:
    name, digest = _text(value["name"]), _text(value["sha256"])
    if not is_name(name) or not _HEX.match(digest):
        raise ValueError(f"no backup holds a file named {clean_name(name, 60)}")
    if name.startswith("blobs/") and not name.endswith(digest):
        raise ValueError(f"{clean_name(name, 90)} has another digest than its name")
    return Entry(name, _count(value["size"]), digest)


def _model(value: Any, names: set[str]) -> SavedModel:
    blobs: dict[str, dict[str, str]] = {}
    for group, files in value["blobs"].items():
        if group not in _GROUPS or not all(_PART.match(part) and _BLOB.match(digest) for part, digest in files.items()):
            raise ValueError("a model names blobs that no backup holds")
        blobs[group] = dict(files)
    fields = {}
    for name, one in value["fields"].items():
        if name not in _FIELDS or not isinstance(one, _FIELDS[name]):
            raise ValueError("a model has a field that no backup holds")
        fields[name] = one
    model = SavedModel(
        str(parsed(_text(value["name"]))),
        clean_name(_text(value["provider"]), 60),
        _text(value["digest"]) if _HEX.match(_text(value["digest"])) else "",
        _count(value["size"]),
        fields,
        blobs,
        value["weights"] == "included",
        clean_label(_text(value["why"])),
    )
    if model.whole and not ("files" in blobs and all(blob_name(digest) in names for digest in model.digests())):
        raise ValueError(f"weights of {clean_name(model.name, 60)} are missing")
    return model


def parsed(name: str) -> str:
    """A model's name in its shortest form; raises ValueError where it is none."""
    try:
        return str(parse(name))
    except PaddockError as error:
        raise ValueError(error.failure.what) from None
