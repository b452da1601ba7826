"""Reads Hugging Face's hub: which repositories hold GGUF files, and which files those are (its HTTP API, `/api/models`).

Only what a person asks for goes out. Names are cleaned where they come in; a name that breaks Ollama's grammar cannot be pulled.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

from tui.core.clock import SYSTEM, Clock
from tui.core.errors import Failure, FailureKind, PaddockError
from tui.core.hub import HubFile, HubFiles, HubPage, HubRepo
from tui.core.names import parse
from tui.providers.errors import Target, failed, protocol
from tui.providers.fetch import Reader
from tui.providers.library import is_unusual
from tui.providers.redirects import HUGGING_FACE
from tui.providers.streams import decode_json, int_of, list_of, map_of, text_of
from tui.text import clean_label, clean_name

HUB: Final = "https://huggingface.co"
PULL_FROM: Final = "hf.co"
PAGE: Final = 40
"""Repositories a page."""
WITHIN: Final = 10.0
MAX_PAGE: Final = 4 * 1024 * 1024
MAX_REPOSITORY: Final = 8 * 1024 * 1024
MAX_FILES: Final = 20_000
MAX_TEXT: Final = 200
MAX_BYTES: Final = 10**15

_NEXT: Final = re.compile(r'<([^<>\s]{1,4000})>\s*;[^,]{0,200}?\brel="?next"?', re.IGNORECASE)
_PART: Final = re.compile(r"(?P<base>.+)-(?P<number>[0-9]{5})-of-(?P<of>[0-9]{5})\.gguf\Z", re.IGNORECASE)
_QUANT: Final = re.compile(
    r"(?:(?<=[-._/ ])|\A)((?:UD-)?(?:I?Q[1-9](?:_[A-Z0-9]{1,4}){0,3}|TQ[12]_0|BF16|FP16|FP32|F16|F32|MXFP4(?:_MOE)?|NVFP4))(?=[-._/ ]|\Z)",
    re.IGNORECASE,
)
_ASKED: Final = ("downloads", "likes", "lastModified", "gated", "private", "tags", "gguf")


def hub_url(environ: Mapping[str, str]) -> str:
    """The hub's address: `HF_ENDPOINT`, or Hugging Face's own."""
    return environ.get("HF_ENDPOINT", "").strip() or HUB


class Hub:
    """The hub at an address; close it.

    Args:
        url: See `hub_url`.
        key: Gives the key for Hugging Face; sent to nobody else (P53).
        clock: For elapsed times.

    Raises:
        PaddockError: The address cannot be used (kind CONFIG).
    """

    def __init__(self, url: str = HUB, *, key: Callable[[], str] | None = None, clock: Clock = SYSTEM) -> None:
        self._reader = Reader(url, "Hugging Face", key=key, headers={"accept": "application/json"}, clock=clock)
        self._prefix = self._reader.place.split("?", 1)[0].rstrip("/")
        self.host = self._reader.host

    async def search(self, text: str, after: str = "") -> HubPage:
        """Repositories with GGUF files, the most downloaded first.

        Args:
            text: Words that their names hold.
            after: `HubPage.next` of the page before.

        Raises:
            PaddockError: It cannot be asked, or does not answer as a hub.
        """
        words = " ".join(text.split())[:MAX_TEXT]
        query = [("search", words), ("filter", "gguf"), ("sort", "downloads"), ("direction", "-1"), ("limit", str(PAGE))]
        place = after or f"{self._prefix}/api/models?{urlencode([*query, *(('expand', name) for name in _ASKED)])}"
        reply = await self._get(place, MAX_PAGE, "")
        value = self._value(reply.body)
        if not isinstance(value, list):
            raise protocol(self._target, "it is no list of repositories")
        repos = [repo for item in value[: 4 * PAGE] if (repo := repo_of(map_of(item))) is not None]
        return HubPage(tuple(repos), self._following(reply.headers.get("link", "")))

    async def files(self, key: str) -> HubFiles:
        """The GGUF files of a repository.

        Args:
            key: `HubRepo.key`: `org/repo`.

        Raises:
            PaddockError: NOT_FOUND, AUTH (private, or a wrong key), FORBIDDEN (gated) and what else keeps it from answering.
        """
        place = f"{self._prefix}/api/models/{quote(key, safe='/')}?blobs=true"
        value = self._value((await self._get(place, MAX_REPOSITORY, key)).body)
        if not isinstance(value, Mapping):
            raise protocol(self._target, "it is no repository")
        repo = repo_of(value)
        if repo is None:
            raise protocol(self._target, "it has no name")
        entries = [map_of(item) for item in list_of(value.get("siblings"))[:MAX_FILES]]
        return HubFiles(repo, files_of(repo, entries))

    async def _get(self, place: str, limit: int, repo: str) -> Any:
        try:
            return await self._reader.get(place, WITHIN, limit)
        except PaddockError as error:
            raise failed(self._refused(error.failure, repo)) from None

    def _value(self, body: bytes) -> Any:
        try:
            return decode_json(body)
        except ValueError:
            raise protocol(self._target, "it is not JSON") from None

    @property
    def _target(self) -> Target:
        return Target("Hugging Face", self.host)

    def _following(self, link: str) -> str:
        """The next page's place, where the hub names one of its own."""
        match = _NEXT.search(link[:8192])
        if match is None or not match[1].isascii():
            return ""
        try:
            parts = urlsplit(match[1])
            port = parts.port
        except ValueError:
            return ""
        if parts.netloc:
            host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
            origin = f"{parts.scheme}://{host}:{port or (443 if parts.scheme == 'https' else 80)}"
            if origin != self._reader.origin and not {origin, self._reader.origin} <= HUGGING_FACE:
                return ""
        return f"{parts.path}?{parts.query}" if parts.path == f"{self._prefix}/api/models" and parts.query else ""

    def _refused(self, failure: Failure, repo: str) -> Failure:
        """Our words for what the hub refuses."""
        status = failure.status
        if status is None:
            return failure
        shown = clean_name(repo, 100) or "this search"
        if status in (401, 403) and self._reader.with_key:
            what, kind = f"{self.host} does not give {shown} to your key ({status})", FailureKind.AUTH
            remedy = "Check models.hf_token, and ask for access on the model's page"
        elif status == 401:
            what, kind = f"{self.host} wants a key for {shown}, or there is no such repository (401)", FailureKind.AUTH
            remedy = "Check the name; models.hf_token is the key for private ones"
        elif status == 403:
            what, kind = f"{self.host} gives {shown} only to who was granted access (403)", FailureKind.FORBIDDEN
            remedy = "Ask for access on the model's page; models.hf_token then shows it here"
        elif status == 404:
            what, kind, remedy = f"{self.host} has no repository {shown} (404)", FailureKind.NOT_FOUND, "Check the name"
        elif status == 429:
            wait = f"in {failure.retry_after:.0f} s" if failure.retry_after else "in some minutes"
            what, kind, remedy = (
                f"{self.host} was asked too often (429)",
                FailureKind.BUSY,
                f"Try again {wait}; with models.hf_token it allows more",
            )
        elif status >= 500:
            what, kind, remedy = f"{self.host} has trouble of its own ({status})", FailureKind.SERVER, "Try again later"
        else:
            return failure
        return replace(failure, what=what, where=self.host, remedy=remedy, kind=kind)

    async def aclose(self) -> None:
        """Close every connection."""
        await self._reader.aclose()


def repo_of(item: Mapping[str, Any]) -> HubRepo | None:
    """A repository out of the hub's answer; None where it has no name."""
    key = text_of(item.get("id")) or text_of(item.get("modelId"))
    if key.count("/") != 1 or len(key) > MAX_TEXT or key.startswith("/") or key.endswith("/") or ".." in key or not key.isprintable():
        return None
    gguf = map_of(item.get("gguf"))
    tags = [tag for tag in list_of(item.get("tags"))[:500] if isinstance(tag, str)]
    licence = next((tag.partition(":")[2] for tag in tags if tag.startswith("license:")), "")
    return HubRepo(
        clean_name(key, 120),
        key,
        int_of(item.get("downloads")),
        int_of(item.get("likes")),
        _time(item.get("lastModified")),
        item.get("gated") not in (False, None, ""),
        item.get("private") is True,
        clean_label(licence or text_of(map_of(item.get("cardData")).get("license")), 60),
        clean_name(text_of(gguf.get("architecture")), 40),
        int_of(gguf.get("total")) or None,
        int_of(gguf.get("context_length")) or None,
        is_unusual(key),
    )


def _time(value: Any) -> float | None:
    if not isinstance(value, str) or len(value) > 40:
        return None
    try:
        found = datetime.fromisoformat(value.replace("Z", "+00:00"))
    except ValueError:
        return None
    return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).timestamp()


def quant_of(path: str) -> str:
    """The quantization that a file's name says, in capitals; empty where it says none. The last one counts."""
    found = _QUANT.findall(re.sub(r"\.gguf\Z", "", path, flags=re.IGNORECASE))
    return found[-1].upper() if found else ""


def files_of(repo: HubRepo, entries: Sequence[Mapping[str, Any]]) -> tuple[HubFile, ...]:
    """The GGUF files among the hub's entries, parts of one put together, smallest first."""
    groups: dict[tuple[str, int], dict[int, int | None]] = {}
    for entry in entries:
        path = text_of(entry.get("rfilename")) or text_of(entry.get("path"))
        if not path.lower().endswith(".gguf") or len(path) > 500:
            continue
        match = _PART.match(path)
        group, number = (path, 0), 1
        if match is not None and 0 < int(match["number"]) <= int(match["of"]):
            group, number = (f"{match['base']}.gguf", int(match["of"])), int(match["number"])
        groups.setdefault(group, {})[number] = _bytes(entry)
    found = [_file(path, count, sizes) for (path, count), sizes in groups.items()]
    labels = Counter(file.quant for file in found if not file.projector)
    found = [_named(repo, file, alone=labels[file.quant] == 1) for file in found]
    return tuple(sorted(found, key=lambda file: (file.projector, file.size is None, file.size or 0, file.name)))


def _bytes(entry: Mapping[str, Any]) -> int | None:
    size = int_of(entry.get("size"))
    if size is None:
        size = int_of(map_of(entry.get("lfs")).get("size"))
    return size if size is not None and size <= MAX_BYTES else None


def _file(path: str, count: int, sizes: Mapping[int, int | None]) -> HubFile:
    known = [size for size in sizes.values() if size is not None]
    total = sum(known) if len(known) == len(sizes) else None
    projector = "mmproj" in path.rpartition("/")[2].lower()
    return HubFile(path, quant_of(path), total, max(1, count), max(0, count - len(sizes)), projector=projector, unusual=is_unusual(path))


def _named(repo: HubRepo, file: HubFile, *, alone: bool) -> HubFile:
    """With the name to pull it by: its quantization, or the file's own name where several have that."""
    tag = file.quant if alone else ""
    if not tag and file.parts == 1 and "/" not in file.name:
        tag = file.name
    shown = clean_name(file.name, 160)
    if file.projector:
        return replace(file, name=shown, why="comes with the model")
    if file.missing:
        return replace(file, name=shown, why=f"{file.missing} of {file.parts} parts are missing")
    if not tag:
        return replace(file, name=shown, why="several files say the same" if file.quant else "its name says no quantization")
    pull = f"{PULL_FROM}/{repo.key}:{tag}"
    try:
        parse(pull)
    except PaddockError:
        return replace(file, name=shown, why="Ollama takes no such name")
    return replace(file, name=shown, pull=pull)
