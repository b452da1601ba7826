"""Weights of this machine that can become a model: GGUF and safetensors; what could run code is refused."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tui.core.errors import FailureKind, PaddockError
from tui.core.record import record
from tui.core.threads import in_daemon_thread
from tui.text import clean_name

_REMEDY: Final = "Name a GGUF file, a folder with safetensors, or a Modelfile"
_PICKLE: Final = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".npy", ".npz")
_CODE: Final = "may run code when it is read, as it can hold a pickle"
_BESIDE: Final = (".json", ".txt", ".jinja")
"""Files of a safetensors folder that tell about the weights."""
_PART: Final = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<all>\d{5})\.gguf\Z", re.IGNORECASE)
_MAGIC: Final = b"GGUF"


@record(frozen=True)
class Weights:
    """Files to send: names as the server gets them, absolute paths; `size` is bytes."""

    files: Mapping[str, str]
    size: int


def says_weights(text: str) -> bool:
    """Whether the name of a file says that it holds weights, also where those are refused."""
    return text.lower().endswith((".gguf", ".safetensors", *_PICKLE))


def looks_like_path(text: str) -> bool:
    """Whether a person means a file rather than a model."""
    if text.startswith(("/", "./", "../", "~")) or says_weights(text):
        return True
    return os.sep in text and Path(text).exists()


async def find_weights(text: str) -> Weights:
    """Look at a file or folder; in a thread, as disks may be slow.

    Raises:
        PaddockError: It cannot be read, or is nothing a model can be made from.
    """
    return await in_daemon_thread(lambda: weights_of(text))


def weights_of(text: str) -> Weights:
    """The files of a GGUF (all parts of a split one) or of a folder with safetensors or one GGUF.

    Raises:
        PaddockError: See `find_weights`.
    """
    try:
        path = Path(text).expanduser().absolute()
        if not path.exists():
            raise _wrong("There is no such file", path, _REMEDY)
        return _folder(path) if path.is_dir() else _file(path)
    except (OSError, ValueError, RuntimeError) as error:
        why = clean_name(getattr(error, "strerror", "") or "its name is not usable").lower()
        raise PaddockError.of(
            f"It cannot be read: {why}", clean_name(text), "Check its name and rights", FailureKind.BAD_REQUEST
        ) from error


def _file(path: Path) -> Weights:
    kind = path.suffix.lower()
    if kind in _PICKLE:
        raise _wrong(f"A {kind} file is refused: it {_CODE}", path, "Use a GGUF or safetensors version of the model")
    if kind == ".safetensors":
        raise _wrong("One safetensors file is not enough: its config.json belongs to it", path, "Name the folder that holds them all")
    if not path.is_file():
        raise _wrong("This is not a file", path, _REMEDY)
    parts = _parts(path)
    for part in parts:
        with part.open("rb") as handle:
            if handle.read(4) != _MAGIC:
                raise _wrong("This is no GGUF file: it begins otherwise", part, _REMEDY)
    return _sized(parts)


def _parts(path: Path) -> list[Path]:
    """A file, or all files of the split set it belongs to."""
    match = _PART.match(path.name)
    if match is None:
        return [path]
    number = int(match["all"])
    parts = [path.with_name(f"{match['stem']}-{n:05}-of-{match['all']}{path.suffix}") for n in range(1, number + 1)]
    missing = [part for part in parts if not part.is_file()]
    if missing or not 0 < number <= 1000:
        raise _wrong(f"{len(missing)} of {number} parts are missing", missing[0] if missing else path, "Put all parts into one folder")
    return parts


def _folder(path: Path) -> Weights:
    files = sorted(one for one in path.iterdir() if one.is_file() and not one.name.startswith("."))
    tensors = [one for one in files if one.suffix.lower() == ".safetensors"]
    ggufs = [one for one in files if one.suffix.lower() == ".gguf"]
    if tensors:
        if not any(one.name == "config.json" for one in files):
            raise _wrong("The folder lacks config.json, which says what the weights are", path, "Fetch the model's folder as a whole")
        beside = [one for one in files if one.suffix.lower() in _BESIDE or one.name == "tokenizer.model"]
        return _sized([*tensors, *beside])
    whole = [one for one in ggufs if _PART.match(one.name) is None or "-00001-of-" in one.name]
    if len(whole) == 1:
        return _file(whole[0])
    if whole:
        raise _wrong(f"The folder holds {len(whole)} GGUF models", path, "Name one of the files")
    pickles = [one for one in files if one.suffix.lower() in _PICKLE]
    if pickles:
        what = f"{clean_name(pickles[0].name)} is refused: it {_CODE}"
        raise _wrong(what, path, "Use a GGUF or safetensors version of the model")
    raise _wrong("The folder holds no GGUF and no safetensors", path, _REMEDY)


def _sized(files: list[Path]) -> Weights:
    sizes = [file.stat().st_size for file in files]
    for file, size in zip(files, sizes, strict=True):
        if not size:
            raise _wrong("The file is empty", file, "Fetch it again")
        if not os.access(file, os.R_OK):
            raise _wrong("The file may not be read by you", file, "Change its rights")
    return Weights({file.name: str(file) for file in files}, sum(sizes))


def _wrong(what: str, path: Path, remedy: str) -> PaddockError:
    return PaddockError.of(what, clean_name(str(path), 1000), remedy, FailureKind.BAD_REQUEST)
