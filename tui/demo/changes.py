"""What changes the demo's models: pulls, pushes, creates, uploads; and the registry that it is itself."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import time
from collections.abc import Mapping
from typing import Any, Final

from tui.core.errors import PaddockError
from tui.core.names import DEFAULT_HOST, DEFAULT_NAMESPACE, parse
from tui.demo.http import Exchange, Request
from tui.demo.models import PUSHED, SPECS, Spec, World, config_of, digest_of, layers_of, manifest_of, spec_of, texts_of

TICK: Final = 0.06
"""Seconds between two progress lines, as Ollama has it."""
_PIECE: Final = 256 * 1024
_BITS: Final = {"Q4_K_S": 4.6, "Q4_K_M": 4.9, "Q8_0": 8.5, "F16": 16.0, "BF16": 16.0, "F32": 32.0}
_WIDE: Final = frozenset({"F16", "BF16", "F32"})
_FROM_FILES: Final = "llama3.2:1b-instruct-fp16"
"""Whose shape a model made of uploaded files gets."""
_BLOB: Final = re.compile(r"/api/blobs/sha256[:-]([0-9a-f]{64})\Z")
_V2: Final = re.compile(r"/v2/([^/]+)/([^/]+)/(manifests|blobs)/([^/]+)\Z")


async def registry(request: Request, answer: Exchange) -> None:
    """`/v2/…`: the manifests and configs of what can be pulled here."""
    match = _V2.match(request.path)
    if match is not None:
        namespace, model, what, which = match.groups()
        model = model if namespace == DEFAULT_NAMESPACE else f"hf.co/{namespace}/{model}"
        if what == "manifests" and (spec := spec_of(f"{model}:{which}")) is not None:
            pushed = str(int(time.time()) // 86_400 * 86_400 - PUSHED)  # not another one at every look
            digest = hashlib.sha256(manifest_of(spec)).hexdigest()
            await answer.text(manifest_of(spec).decode(), headers={"ollama-content-digest": digest, "ollama-push-time": pushed})
            return
        if what == "blobs":
            for spec in SPECS.values():
                if not spec.name.startswith(f"{model}:"):
                    continue
                for text in (config_of(spec), *(text for _name, text in texts_of(spec))):
                    if which == f"sha256:{hashlib.sha256(text).hexdigest()}":
                        await answer.text(text.decode())
                        return
    await answer.json({"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]}, 404)


class Changes:
    """The handlers.

    Args:
        world: What they change.
        pace: Bytes a second, of everything that moves.
    """

    def __init__(self, world: World, pace: float) -> None:
        self._world = world
        self._pace = pace
        self._pushed: set[str] = set()
        self.pulling = 0

    async def pull(self, request: Request, answer: Exchange) -> None:
        """`POST /api/pull`."""
        name = str(request.json().get("model") or request.json().get("name") or "")
        if await self._fetch(name, answer):
            await answer.line({"status": "success"})

    async def _fetch(self, name: str, answer: Exchange) -> bool:
        """Fetch a model; False where there is none of that name."""
        await answer.line({"status": "pulling manifest"})
        spec = spec_of(name)
        if spec is None:
            await answer.line({"error": "pull model manifest: file does not exist"})
            return False
        fetched = False
        self.pulling += 1
        try:
            for digest, size in layers_of(spec):
                fetched |= await self._layer(answer, digest, size)
        finally:
            self.pulling -= 1
            self._world.save()
        await answer.line({"status": "verifying sha256 digest"})
        if fetched:
            await asyncio.sleep(min(3.0, spec.size / 2e9, spec.size / self._pace))
        await answer.line({"status": "writing manifest"})
        self._world.put(spec.name, spec.name)
        return True

    async def _layer(self, answer: Exchange, digest: str, size: int) -> bool:
        """Fetch one layer from where it stopped; returns whether anything was missing."""
        label = {"status": f"pulling {digest[:12]}", "digest": f"sha256:{digest}", "total": size}
        done = self._world.partial.get(digest, 0)
        if digest in self._world.blobs() or done >= size:
            await answer.line({**label, "completed": size})
            return False
        before = time.monotonic()
        while done < size:
            await asyncio.sleep(TICK)
            now = time.monotonic()
            done = min(size, done + int(self._pace * (now - before)))
            before = now
            self._world.partial[digest] = done
            await answer.line({**label, "completed": done})
        return True

    async def push(self, request: Request, answer: Exchange) -> None:
        """`POST /api/push`: to a namespace of one's own; the library belongs to others."""
        name = str(request.json().get("model") or request.json().get("name") or "")
        await answer.line({"status": "retrieving manifest"})
        found = self._world.find(name)
        if found is None:
            await answer.line({"error": "couldn't retrieve manifest for that name"})
            return
        whole = parse(name)
        if whole.host.lower() == DEFAULT_HOST and whole.namespace.lower() == DEFAULT_NAMESPACE:
            await answer.line({"error": "unauthorized: access denied; push to a name like me/model"})
            return
        for digest, size in layers_of(found[1]):
            await self._moves(
                answer, {"status": f"pushing {digest[:12]}", "digest": f"sha256:{digest}"}, size, at_once=digest in self._pushed
            )
            self._pushed.add(digest)
        await answer.line({"status": "pushing manifest"})
        await answer.line({"status": "success"})

    async def _moves(self, answer: Exchange, label: Mapping[str, Any], size: int, *, at_once: bool = False) -> None:
        """Progress lines of so many bytes at the pace."""
        begun = time.monotonic()
        done = size if at_once else 0
        while done < size:
            await answer.line({**label, "total": size, "completed": done})
            await asyncio.sleep(TICK)
            done = min(size, int(self._pace * (time.monotonic() - begun)))
        await answer.line({**label, "total": size, "completed": size})

    # --- creating -----------------------------------------------------------------------------------------------------

    async def create(self, request: Request, answer: Exchange) -> None:
        """`POST /api/create`: out of a model (fetched where it is not here) or of uploaded files; with `quantize`, made smaller."""
        body = request.json()
        name, base, files = str(body.get("model") or ""), str(body.get("from") or ""), body.get("files")
        if not _is_name(name):
            await answer.error(400, "invalid model name")
            return
        if base:
            if self._world.find(base) is None and not await self._fetch(base, answer):
                return
            found = self._world.find(base)
            assert found is not None
            source, spec = self._world.installed[found[0]], found[1]
            made = dict(self._world.made.get(found[0], {}))
        elif isinstance(files, dict) and files:
            digests = [str(digest).rpartition(":")[2] for digest in files.values()]
            there = self._weights_of(digests[0])
            missing = [digest for digest in digests if digest not in self._world.uploads]
            if missing and there is None:
                await answer.error(400, f"blob sha256:{missing[0]} not found")
                return
            source, made = _FROM_FILES, {"weights": digests[0], "size": sum(self._world.uploads.get(digest, 0) for digest in digests)}
            if there is not None:
                source, made = there[0], {**there[1], "bare": True}
            spec = SPECS[source]
            await answer.line({"status": "parsing GGUF"})
        else:
            await answer.error(400, "neither 'from' or 'files' was specified")
            return
        if body.get("quantize") and not await self._quantize(str(body["quantize"]), spec, made, answer):
            return
        changed = {key: body[key] for key in ("system", "template", "parameters") if body.get(key)}
        if changed or "bare" in made:
            made["edition"] = digest_of(json.dumps([made, changed], default=str))
            changed["parameters"] = {**made.get("parameters", {}), **_map(changed.get("parameters"))}
        weights = str(made.get("weights") or layers_of(spec)[0][0])
        for status in (f"using existing layer sha256:{weights}", "writing manifest"):
            await answer.line({"status": status})
        self._world.put(name, source, {**made, **changed})
        await answer.line({"status": "success"})

    def _weights_of(self, digest: str) -> tuple[str, dict[str, Any]] | None:
        """What an installed model with these weights is of, without what a person changed of it."""
        kept = ("weights", "size", "quantization")
        for name, source in self._world.installed.items():
            if layers_of(self._world.spec(name))[0][0] == digest:
                return source, {key: value for key, value in self._world.made.get(name, {}).items() if key in kept}
        return None

    async def _quantize(self, wanted: str, spec: Spec, made: dict[str, Any], answer: Exchange) -> bool:
        """Make the weights smaller; False where that was refused."""
        target = {"Q4_K": "Q4_K_M"}.get(wanted.upper(), wanted.upper())
        size = int(made.get("size") or spec.size)
        if target not in _BITS:
            await answer.line({"error": f"unsupported quantization type {wanted} - supported types are {', '.join(_BITS)}"})
            return False
        if spec.quantization not in _WIDE:
            await answer.line({"error": "quantization is only supported for F16, BF16 and F32 models"})
            return False
        label = {"status": f"quantizing {spec.quantization} model to {target}", "digest": "0000000000000000000"}
        await self._moves(answer, label, size)
        await answer.line({"status": "verifying conversion"})
        weights = digest_of(f"{made.get('weights') or layers_of(spec)[0][0]} {target}")
        made |= {"quantization": target, "size": int(size * _BITS[target] / _BITS[spec.quantization]), "weights": weights}
        await answer.line({"status": f"creating new layer sha256:{weights}"})
        return True

    async def copy(self, request: Request, answer: Exchange) -> None:
        """`POST /api/copy`."""
        body = request.json()
        source, name = self._world.find(str(body.get("source") or "")), str(body.get("destination") or "")
        if source is None:
            await answer.error(404, f'model "{body.get("source")}" not found')
            return
        if not _is_name(name):
            await answer.error(400, "invalid model name")
            return
        self._world.put(name, self._world.installed[source[0]], self._world.made.get(source[0]))
        await answer.text("")

    async def delete(self, request: Request, answer: Exchange) -> None:
        """`DELETE /api/delete`; blobs that nothing else uses go too."""
        wanted = str(request.json().get("model") or request.json().get("name") or "")
        found = self._world.find(wanted)
        if found is None:
            await answer.error(404, f"model '{wanted}' not found")
            return
        name, spec = found
        world = self._world
        del world.installed[name]
        world.made.pop(name, None)
        world.loaded.pop(name, None)
        used = {digest for other in world.installed for digest, _size in layers_of(world.spec(other))}
        for digest, _size in layers_of(spec):
            if digest not in used:
                world.partial.pop(digest, None)
                world.uploads.pop(digest, None)
        world.save()
        await answer.text("")

    # --- files --------------------------------------------------------------------------------------------------------

    async def blob(self, request: Request, answer: Exchange, reader: asyncio.StreamReader) -> None:
        """`HEAD` and `POST /api/blobs/…`: of an upload only its digest and length are kept."""
        seen, length = hashlib.sha256(request.body), len(request.body) + request.rest
        left = request.rest
        while left:
            piece = await reader.read(min(_PIECE, left))
            if not piece:
                return
            seen.update(piece)
            left -= len(piece)
        match = _BLOB.match(request.path)
        if match is None:
            await answer.error(400, "invalid digest format")
        elif request.method == "HEAD":
            await answer.text("", 200 if match[1] in self._world.blobs() else 404)
        elif request.method != "POST":
            await answer.text("405 method not allowed", 405)
        elif match[1] in self._world.blobs():
            await answer.text("")
        elif seen.hexdigest() != match[1]:
            await answer.error(400, f'digest mismatch, expected "sha256:{match[1]}", got "sha256:{seen.hexdigest()}"')
        else:
            self._world.uploads[match[1]] = length
            self._world.save()
            await answer.text("", 201)


def _is_name(name: str) -> bool:
    try:
        parse(name)
    except PaddockError:
        return False
    return True


def _map(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
