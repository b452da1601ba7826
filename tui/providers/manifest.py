"""Reads what a registry announces of a model: the manifest, and the small config it names (Ollama reference, sections 4.3 and 4.5)."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from tui import __version__
from tui.core.clock import SYSTEM, Clock
from tui.core.errors import Failure, FailureKind, PaddockError
from tui.core.jobs import PlanLayer
from tui.core.models import Endpoint
from tui.core.names import ModelName
from tui.core.record import record
from tui.providers.base_url import parse_base
from tui.providers.errors import failed, message_of, protocol
from tui.providers.redirects import MAX_REDIRECTS, Moving, is_hugging_face, next_hop
from tui.providers.streams import decode_json, int_of, list_of, map_of, text_of
from tui.text import clean_label, clean_name

MANIFEST_TYPE: Final = "application/vnd.docker.distribution.manifest.v2+json"
MAX_MANIFEST: Final = 4 * 1024 * 1024
MAX_CONFIG: Final = 64 * 1024
MAX_TEXT: Final = 256 * 1024
"""Bytes of a template, a licence and the like; larger ones are not read."""
MAX_LAYERS: Final = 20_000
MAX_BYTES: Final = 10**15
"""Of a whole model; more is no size but a mistake."""
MANIFEST_WITHIN: Final = 6.0
CONFIG_WITHIN: Final = 3.0
HEAD_WITHIN: Final = 5.0

_IMAGE: Final = "application/vnd.ollama.image."
_KINDS: Final = {
    "model": "weights",
    "projector": "projector",
    "adapter": "adapter",
    "template": "template",
    "system": "system",
    "params": "parameters",
    "messages": "messages",
    "license": "licence",
    "draft": "draft",
    "tensor": "tensor",
    "json": "metadata",
}
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}\Z")
_HEX: Final = re.compile(r"[0-9a-f]{64}\Z")
_GATED: Final = re.compile(r"\bgated\b|\brestricted\b|authorized list|ask for access", re.IGNORECASE)
_VERSION: Final = re.compile(r"[0-9A-Za-z.+-]{1,40}\Z")


@record(frozen=True)
class Manifest:
    """What a registry announces of one model; texts are cleaned.

    Attributes:
        layers: In the manifest's order, each digest once, the config last.
        digest: SHA-256 of the manifest's exact bytes, bare hex.
        canonical: The same after serialising anew, as servers before 0.19 do.
        requires: Oldest version of Ollama that can run it, or empty; this and the following where the config says it.
        context: Trained context length in tokens.
        remote: It runs in Ollama's cloud.
    """

    layers: tuple[PlanLayer, ...]
    digest: str
    canonical: str
    requires: str = ""
    context: int | None = None
    parameters: str = ""
    quantization: str = ""
    family: str = ""
    remote: bool = False


@record(frozen=True)
class Head:
    """What a registry says of a tag without its manifest: `digest` bare hex or empty, `pushed_at` epoch seconds."""

    digest: str = ""
    pushed_at: float | None = None


def registry_url(name: ModelName, *, insecure: bool = False) -> str:
    """The address of the registry that a name belongs to."""
    return f"{'http' if insecure else 'https'}://{name.host.lower()}"


class Registry:
    """One registry, for reading; close it.

    Args:
        url: Its address.
        version: Of the server that will pull, as it says; the registry decides by it who may have what. Empty where not known.
        key: Gives a key for Hugging Face; it is asked for, and sent, only where the address is Hugging Face's (P53).
        clock: For elapsed times.

    Raises:
        PaddockError: The address cannot be used (kind CONFIG).
    """

    def __init__(self, url: str, *, version: str = "", key: Callable[[], str] | None = None, clock: Clock = SYSTEM) -> None:
        self.host = parse_base(url).shown.removesuffix(":443")
        self._version = version
        self._key = key
        self._clock = clock
        self._http = self._open(url)

    def _open(self, url: str) -> Moving:
        own = f"paddock/{__version__}"
        agent = f"ollama/{self._version} ({own})" if _VERSION.match(self._version) else own
        headers = {"accept": MANIFEST_TYPE, "user-agent": agent}
        give = self._key if is_hugging_face(url) else None
        endpoint = Endpoint("registry", "registry", url, key="registry" if give else "", headers=headers, timeout=5.0, retries=0)
        return Moving(endpoint, (lambda _reference: give()) if give else (lambda _reference: ""), self._clock, label="the registry")

    async def manifest(self, name: ModelName) -> Manifest:
        """`GET /v2/…/manifests/…`, and the config where it is small; a config that cannot be read costs only what it says.

        Raises:
            PaddockError: NOT_FOUND, UNSUPPORTED (a newer server is needed), FORBIDDEN (gated) and BAD_REQUEST are the registry's own
                last words about this name. AUTH: it wants a key; every other kind: it could not be asked from here.
        """
        place = f"/v2/{name.namespace}/{name.model}"
        try:
            body = await self._get(f"{place}/manifests/{name.tag}", MANIFEST_WITHIN, MAX_MANIFEST)
        except PaddockError as error:
            raise failed(self._refused(error.failure, name)) from None
        try:
            layers, config, canonical = parse_manifest(body)
        except ValueError as error:
            raise protocol(self._http.target, str(error)) from None
        said = await self._config(place, config) if config is not None else {}
        return Manifest(
            layers,
            hashlib.sha256(body).hexdigest(),
            canonical,
            _word(said, "requires"),
            int_of(said.get("context_length")) or None,
            _word(said, "model_type"),
            _word(said, "file_type"),
            _word(said, "model_family"),
            bool(_word(said, "remote_host") or _word(said, "remote_model")),
        )

    async def head(self, name: ModelName) -> Head:
        """`HEAD /v2/…/manifests/…`: the digest and the time of the newest push, where the registry tells them (section 4.4(1)).

        Raises:
            PaddockError: As `manifest`; a registry that knows no HEAD is not one of the reasons: then nothing is told.
        """
        path = f"/v2/{name.namespace}/{name.model}/manifests/{name.tag}"
        try:
            reply = await self._http.request("HEAD", path, timeout=HEAD_WITHIN, limit=0)
        except PaddockError as error:
            if error.failure.status in (400, 405, 501) or 300 <= (error.failure.status or 0) < 400:
                return Head()
            raise failed(self._refused(error.failure, name)) from None
        digest = reply.headers.get("ollama-content-digest", "").removeprefix("sha256:").lower()
        pushed = reply.headers.get("ollama-push-time", "")
        good = pushed.isdecimal() and len(pushed) <= 11
        return Head(digest if _HEX.match(digest) else "", float(pushed) if good else None)

    async def small_blob(self, name: ModelName, layer: PlanLayer, limit: int = MAX_TEXT) -> bytes | None:
        """A small layer's bytes, checked against its digest; None where it is larger, cannot be had or is not what its digest says."""
        return await self._blob(f"/v2/{name.namespace}/{name.model}", layer, limit)

    async def _config(self, place: str, config: PlanLayer) -> Mapping[str, Any]:
        body = await self._blob(place, config, MAX_CONFIG)
        try:
            return map_of(decode_json(body)) if body is not None else {}
        except ValueError:
            return {}

    async def _blob(self, place: str, layer: PlanLayer, limit: int) -> bytes | None:
        if layer.size > limit:
            return None
        try:
            async with asyncio.timeout(CONFIG_WITHIN):
                body = await self._get(f"{place}/blobs/{layer.digest}", CONFIG_WITHIN, limit, anywhere=True)
        except (PaddockError, TimeoutError):
            return None
        return body if f"sha256:{hashlib.sha256(body).hexdigest()}" == layer.digest else None

    async def _get(self, path: str, timeout: float, limit: int, *, anywhere: bool = False) -> bytes:
        """Bytes at a path; redirects are followed between Hugging Face's own names, and with `anywhere` to other public hosts."""
        http, url = self._http, f"{self._http.base.origin}{self._http.prefix}{path}"
        for _hop in range(MAX_REDIRECTS + 1):
            http.moved = ""
            try:
                return (await http.get(path, timeout=timeout, limit=limit)).body
            except PaddockError:
                if not http.moved:
                    raise
                url, origin, path = await next_hop(url, http.moved, http, anywhere=anywhere)
            finally:
                if http is not self._http:
                    await http.aclose()
            http = self._open(origin)
        raise protocol(self._http.target, "it redirects again and again")

    def _refused(self, failure: Failure, name: ModelName) -> Failure:
        """Our words for a refusal, and its kind as `manifest` says."""
        status, said = failure.status, _words(failure.details)
        if status is None or status == 429 or 300 <= status < 400 or status >= 500:
            return replace(failure, kind=FailureKind.SERVER) if failure.kind is FailureKind.UNSUPPORTED else failure
        shown, kind = clean_name(str(name), 100), FailureKind.PROTOCOL
        what, remedy = f"{self.host} refuses to tell about {shown} ({status})", "Check the name"
        if status == 404:
            what, remedy, kind = f"{self.host} has no model or tag {shown}", "Check the name and the tag", FailureKind.NOT_FOUND
        elif status == 412:
            has = f"; the server has {clean_name(self._version, 60)}" if self._version else ""
            what, remedy, kind = f"{shown} needs a newer Ollama{has}", "Update the server, then pull again", FailureKind.UNSUPPORTED
        elif status in (401, 403) and _GATED.search(failure.details):
            what = f"{self.host} gives {shown} only to who was granted access"
            remedy = "Ask for access on the model's page; models.hf_token then shows it from here"
            kind = FailureKind.FORBIDDEN
        elif status in (401, 403):
            what, kind = f"{self.host} wants a key for {shown}", FailureKind.AUTH
            remedy = "Check the name; a private model needs the server's own key there"
        elif status == 400 and said:
            what, remedy, kind = f"{self.host} refuses {shown}: {said}", "Check the name and the tag", FailureKind.BAD_REQUEST
        return Failure(what, self.host, remedy, kind, failure.details, status=status)

    async def aclose(self) -> None:
        """Close every connection."""
        await self._http.aclose()


def parse_manifest(body: bytes) -> tuple[tuple[PlanLayer, ...], PlanLayer | None, str]:
    """The layers (each digest once, the config last), the config, and the digest after serialising anew.

    Raises:
        ValueError: It is no manifest; its text ends a sentence.
    """
    try:
        value = decode_json(body)
    except ValueError:
        raise ValueError("it is not JSON") from None
    if not isinstance(value, dict) or not isinstance(value.get("layers"), list):
        raise ValueError("it is no manifest: it lists no layers")
    if len(value["layers"]) > MAX_LAYERS:
        raise ValueError(f"it lists more than {MAX_LAYERS} layers")
    layers = [_layer(item) for item in list_of(value["layers"])]
    config = _layer(value["config"], "config") if value.get("config") else None
    found: dict[str, PlanLayer] = {}
    for layer in (*layers, *((config,) if config is not None else ())):
        if found.setdefault(layer.digest, layer).size != layer.size:
            raise ValueError("it gives one layer two sizes")
    if sum(layer.size for layer in found.values()) > MAX_BYTES:
        raise ValueError("its sizes are beyond reason")
    return tuple(found.values()), config, _canonical(value)


def _layer(item: Any, kind: str = "") -> PlanLayer:
    digest, count, media = map_of(item).get("digest"), map_of(item).get("size"), text_of(map_of(item).get("mediaType"))
    if not isinstance(digest, str) or not _DIGEST.match(digest):
        raise ValueError("a layer has no digest")
    if not isinstance(count, int) or isinstance(count, bool) or not 0 <= count <= MAX_BYTES:
        raise ValueError("a layer has no size")
    short = media.partition(";")[0].strip().removeprefix(_IMAGE)
    return PlanLayer(digest, count, kind or _KINDS.get(short, ""))


def _canonical(value: Mapping[str, Any]) -> str:
    """Digest of the manifest as Go writes it again from its own structure (Ollama reference, section 4.4(3))."""

    def blob(item: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
        yield "mediaType", text_of(item.get("mediaType"))
        yield "digest", text_of(item.get("digest"))
        yield "size", item.get("size")
        if text_of(item.get("from")):
            yield "from", item["from"]

    fields = {
        "schemaVersion": int_of(value.get("schemaVersion")) or 0,
        "mediaType": text_of(value.get("mediaType")),
        "config": dict(blob(map_of(value.get("config")))),
        "layers": [dict(blob(item)) for item in value["layers"]],
    }
    text = json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
    for char in "<>&\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def _word(said: Mapping[str, Any], key: str) -> str:
    return clean_name(text_of(said.get(key)).strip(), 60)


def _words(details: str) -> str:
    """The registry's own words on one line, where its answer is an object that holds some."""
    try:
        value = json.loads(details)
    except (ValueError, RecursionError):
        return ""
    return clean_label(message_of(value), 200) if isinstance(value, dict) else ""
