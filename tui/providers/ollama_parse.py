"""Ollama's JSON to our snapshots and back; pure functions (Ollama reference, sections 2, 3.7, 5 and 6)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from tui.core.capabilities import Ability
from tui.core.errors import Failure, FailureKind
from tui.core.events import Delta, JobStep, Metrics, StreamEvent, Thinking, ToolCall
from tui.core.models import Model, ModelDetail, RunningModel
from tui.providers.errors import Target
from tui.providers.requests import call_parts
from tui.providers.streams import float_of, int_of, list_of, map_of, text_of
from tui.text import clean_block, clean_label, clean_name

_YEAR: Final = 365.25 * 86_400
_HEX: Final = re.compile(r"[0-9a-f]{64}\Z")
_FROM: Final = re.compile(r"^FROM\s+\S*sha256-([0-9a-f]{64})\s*$", re.MULTILINE)
_QUERY: Final = re.compile(r"(https?://[^\s\"'?]+)\?[^\s\"']+")
_LONGEST_LIST: Final = 4096
_ABILITIES: Final = {str(ability): ability for ability in Ability}


def time_of(value: Any) -> float | None:
    """Epoch seconds of an RFC 3339 time; None for the zero time and for anything unreadable."""
    try:
        moment = datetime.fromisoformat(text_of(value))
        seconds = moment.timestamp()
    except (ValueError, OverflowError, OSError):
        return None
    return seconds if seconds > 0 and moment.tzinfo is not None else None


def abilities_of(value: Any) -> frozenset[Ability]:
    """The abilities we know among the words of a server."""
    return frozenset(_ABILITIES[word] for word in list_of(value) if isinstance(word, str) and word in _ABILITIES)


def _name(value: Any) -> str:
    return clean_name(text_of(value))


def _quantization(value: Any) -> str:
    name = _name(value)
    return "" if name == "unknown" else name


def _is_remote(item: Mapping[str, Any], key: str) -> bool:
    return bool(item.get("remote_host") or item.get("remote_model")) or key.endswith((":cloud", "-cloud"))


def model_of(provider: str, item: Any, now: float) -> Model | None:
    """One entry of `/api/tags`; None where it has no name. A date in the future counts as unknown."""
    entry = map_of(item)
    key = text_of(entry.get("model")) or text_of(entry.get("name"))
    if not key:
        return None
    details = map_of(entry.get("details"))
    modified = time_of(entry.get("modified_at"))
    digest = text_of(entry.get("digest")).removeprefix("sha256:")
    return Model(
        provider=provider,
        name=clean_name(key),
        key=key,
        size=int_of(entry.get("size")),
        digest=digest if _HEX.match(digest) else "",
        family=_name(details.get("family")),
        parameters=_name(details.get("parameter_size")),
        quantization=_quantization(details.get("quantization_level")),
        format=_name(details.get("format")),
        context=int_of(details.get("context_length")) or None,
        modified_at=modified if modified is not None and modified < now + 86_400 else None,
        abilities=abilities_of(entry.get("capabilities")),
        remote=_is_remote(entry, key),
    )


def models_of(provider: str, value: Any, now: float) -> tuple[Model, ...]:
    """The list of `/api/tags`, without nameless entries and repetitions."""
    found: dict[str, Model] = {}
    for item in list_of(map_of(value).get("models")):
        model = model_of(provider, item, now)
        if model is not None:
            found.setdefault(model.key, model)
    return tuple(found.values())


def running_of(provider: str, value: Any, now: float) -> tuple[RunningModel, ...]:
    """The list of `/api/ps`. An `expires_at` in the past means that an unload waits, one 20 years off that it is pinned."""
    found: list[RunningModel] = []
    for item in list_of(map_of(value).get("models")):
        entry = map_of(item)
        key = text_of(entry.get("model")) or text_of(entry.get("name"))
        if not key:
            continue
        details = map_of(entry.get("details"))
        memory = int_of(entry.get("size")) or None
        expires = time_of(entry.get("expires_at"))
        pinned = expires is not None and expires > now + 20 * _YEAR
        found.append(
            RunningModel(
                provider=provider,
                name=clean_name(key),
                key=key,
                size=memory,
                vram=int_of(entry.get("size_vram")) if memory is not None else None,
                context=int_of(entry.get("context_length")) or None,
                expires_at=None if pinned else expires,
                pinned=pinned,
                stopping=expires is not None and expires < now,
                parameters=_name(details.get("parameter_size")),
                quantization=_quantization(details.get("quantization_level")),
            )
        )
    return tuple(found)


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return clean_block(value)
    if isinstance(value, list):
        return None if len(value) > _LONGEST_LIST else [_plain(item) for item in value]
    if isinstance(value, dict):
        return {clean_name(key): _plain(item) for key, item in value.items()}
    return value


def _options(text: str) -> tuple[tuple[str, str], ...]:
    rows: list[tuple[str, str]] = []
    for line in text.splitlines():
        name, _, value = line.strip().partition(" ")
        value = value.strip()
        if value.startswith('"'):
            try:
                value = str(json.loads(value))
            except ValueError:
                value = value.strip('"')
        if name:
            rows.append((clean_name(name, 60), clean_label(value)))
    return tuple(sorted(rows))


def _tensors(value: Any) -> tuple[tuple[str, str, tuple[int, ...]], ...]:
    rows = []
    for item in list_of(value):
        entry = map_of(item)
        shape = tuple(length for length in (int_of(number) for number in list_of(entry.get("shape"))) if length is not None)
        if name := _name(entry.get("name")):
            rows.append((name, _name(entry.get("type")), shape))
    return tuple(rows)


def _guess_abilities(value: Mapping[str, Any], info: Mapping[str, Any]) -> frozenset[Ability]:
    """What servers before 0.6.4 leave to the client: the same rules they use themselves since."""
    template = text_of(value.get("template"))
    found = {Ability.EMBEDDING if any(key.endswith(".pooling_type") for key in info) else Ability.COMPLETION}
    if value.get("projector_info") or any(".vision." in key for key in info):
        found.add(Ability.VISION)
    if ".Tools" in template:
        found.add(Ability.TOOLS)
    if ".Suffix" in template:
        found.add(Ability.INSERT)
    if "<think>" in template:
        found.add(Ability.THINKING)
    return frozenset(found)


def detail_of(provider: str, model: str, value: Any) -> ModelDetail:
    """The answer of `/api/show`; lists of thousands of entries (the vocabulary) are left out."""
    entry = map_of(value)
    details = map_of(entry.get("details"))
    info = map_of(_plain(map_of(entry.get("model_info"))))
    modelfile = text_of(entry.get("modelfile"))
    weights = _FROM.search(modelfile)
    architecture = text_of(info.get("general.architecture"))
    return ModelDetail(
        provider=provider,
        name=clean_name(model),
        abilities=abilities_of(entry["capabilities"]) if isinstance(entry.get("capabilities"), list) else _guess_abilities(entry, info),
        family=_name(details.get("family")) or architecture,
        parameters=_name(details.get("parameter_size")),
        quantization=_quantization(details.get("quantization_level")),
        format=_name(details.get("format")),
        licence=clean_block(text_of(entry.get("license"))),
        system=clean_block(text_of(entry.get("system"))),
        template=clean_block(text_of(entry.get("template"))),
        options=_options(text_of(entry.get("parameters"))),
        messages=tuple(
            (clean_name(text_of(map_of(item).get("role")), 20), clean_block(text_of(map_of(item).get("content"))))
            for item in list_of(entry.get("messages"))
        ),
        modelfile=clean_block(modelfile),
        info=info,
        projector=map_of(_plain(map_of(entry.get("projector_info")))),
        tensors=_tensors(entry.get("tensors")),
        weights_digest=weights[1] if weights else "",
        parent=clean_name(text_of(details.get("parent_model")), 200),
        context=int_of(info.get(f"{architecture}.context_length")) or None,
        modified_at=time_of(entry.get("modified_at")),
        requires=_name(entry.get("requires")),
        remote_host=_name(entry.get("remote_host")),
    )


_PER_LAYER: Final = (".attention.head_count_kv", ".attention.head_count", ".attention.sliding_window_pattern")


def hides_arrays(detail: ModelDetail) -> bool:
    """Whether per-layer figures the memory estimate needs came as null (every array does without `verbose`)."""
    return any(value is None and key.endswith(_PER_LAYER) for key, value in detail.info.items())


# --- stream lines ----------------------------------------------------------------------------------------------------


def _seconds(value: Any) -> float | None:
    nanoseconds = float_of(value)
    return None if nanoseconds is None else nanoseconds / 1e9


def metrics_of(item: Mapping[str, Any]) -> Metrics:
    """The figures of a last line; Ollama leaves out every one that is zero."""
    return Metrics(
        prompt_tokens=int_of(item.get("prompt_eval_count")),
        output_tokens=int_of(item.get("eval_count")),
        prompt_seconds=_seconds(item.get("prompt_eval_duration")),
        output_seconds=_seconds(item.get("eval_duration")),
        load_seconds=_seconds(item.get("load_duration")),
        total_seconds=_seconds(item.get("total_duration")),
    )


def chat_events(item: Mapping[str, Any]) -> Iterator[StreamEvent] | None:
    """The events of a line of `/api/chat` but for the end, or None where the line is none."""
    message = item.get("message")
    if not isinstance(message, dict):
        return None
    content, thinking, calls = message.get("content"), message.get("thinking"), message.get("tool_calls")
    if not isinstance(content, str) and not isinstance(thinking, str) and not isinstance(calls, list):
        return None
    return _events(text_of(content), text_of(thinking), list_of(calls))


def generate_events(item: Mapping[str, Any]) -> Iterator[StreamEvent] | None:
    """The events of a line of `/api/generate` but for the end, or None where the line is none."""
    if not isinstance(item.get("response"), str) and not isinstance(item.get("thinking"), str):
        return None
    return _events(text_of(item.get("response")), text_of(item.get("thinking")), list_of(item.get("tool_calls")))


def _events(content: str, thinking: str, calls: Sequence[Any]) -> Iterator[StreamEvent]:
    if thinking:
        yield Thinking(thinking)
    if content:
        yield Delta(content)
    for call in calls:
        id_, name, arguments = call_parts(map_of(call))
        if name:
            yield ToolCall(clean_name(id_, 100), clean_name(name, 200), arguments)


def step_of(item: Mapping[str, Any]) -> JobStep | None:
    """One line of a pull, push or create; None where the line is none. Some servers send layer lines without status."""
    status, digest = clean_label(text_of(item.get("status"))), clean_name(text_of(item.get("digest")), 80)
    if not status and not digest:
        return None
    return JobStep(status, digest, int_of(item.get("total")) or None, int_of(item.get("completed")))


# --- errors of pulls, pushes and creates -----------------------------------------------------------------------------

_K: Final = FailureKind
_DOWNLOADER = "The registry does not work the way Ollama downloads"
_RULES: Final[tuple[tuple[str, str, str, FailureKind], ...]] = (
    (r"no space left|disk quota|not enough (disk )?space", "The server's disk is full", "Free space on the server, then retry", _K.DISK),
    (r"permission denied", "The server may not write to its models folder", "Correct the owner of that folder on the server", _K.DISK),
    (r"read-only file system", "The server's models folder is read-only", "Make it writable on the server", _K.DISK),
    (
        r"invalid model name",
        "That is not a model's name",
        "Write it like qwen3:8b, user/model:tag or hf.co/org/repo:Q4_K_M",
        _K.BAD_REQUEST,
    ),
    (r"manifest: file does not exist", "The registry has no such model or tag", "Check the name and the tag", _K.NOT_FOUND),
    (r"^file does not exist", "The registry lacks a part of this model", "Try another tag, or tell its publisher", _K.NOT_FOUND),
    (r"\b412\b|requires a newer version", "This model needs a newer Ollama", "Update the server", _K.UNSUPPORTED),
    (r"mlx (support|runtime)", "This model needs the MLX engine, which this server lacks", "Choose a GGUF variant", _K.UNSUPPORTED),
    (
        r"realm host",
        "The registry asks for a sign-in: private, gated, or no such model",
        "Check the name; for hf.co try huggingface.co",
        _K.AUTH,
    ),
    (
        r"unauthorized|not authorized|access denied|manifest: 40[13]\b|^40[13]:",
        "The registry refuses access: private or gated",
        "Give the server's key access there",
        _K.AUTH,
    ),
    (
        r"does not look like a tls|http response to https",
        "The registry speaks plain HTTP",
        "Allow insecure for this pull if you trust it",
        _K.TLS,
    ),
    (r"x509|certificate", "The registry's certificate is not accepted by the server", "Correct the server's certificates", _K.TLS),
    (r"digest mismatch", "The download arrived damaged", "Retry; the damaged part is loaded anew", _K.SERVER),
    (r"no such host", "The server cannot find the registry's name", "Check the server's network", _K.UNREACHABLE),
    (r"connection refused", "Nothing answers at the registry's address", "Check the name, or try later", _K.UNREACHABLE),
    (
        r"i/o timeout|handshake timeout|deadline exceeded|unreachable|no route",
        "The server cannot reach the registry",
        "Check its network",
        _K.UNREACHABLE,
    ),
    (r"no location header|unexpected status code|maximum redirects", _DOWNLOADER, "Pull from another registry", _K.UNSUPPORTED),
    (r"context canceled", "The server was still ending an earlier transfer", "Retry in a few seconds", _K.INTERRUPTED),
    (
        r"max retries|\beof\b|connection reset|broken pipe|stalled",
        "The connection to the registry broke",
        "Retry; it goes on where it stopped",
        _K.INTERRUPTED,
    ),
    (r"(manifest: |^)429\b", "The registry is busy", "Retry later", _K.BUSY),
    (r"(manifest: |^)5\d\d\b", "The registry has a fault", "Retry later", _K.SERVER),
    (r"(manifest: |^)4\d\d\b", "The registry refuses the request", "Check the name", _K.BAD_REQUEST),
    (
        r"invalid character|cannot unmarshal|unexpected end of json|invalid digest",
        "The registry's answer cannot be read",
        "Check the name's host",
        _K.PROTOCOL,
    ),
    (r"no such file or directory|blob .*not found", "The server lacks a file this needs", "Upload it again", _K.NOT_FOUND),
    (r"model .*not found|couldn't find model", "The server has no such model", "Check the name", _K.NOT_FOUND),
)
_SAYS: Final = re.compile(
    r"quantiz|neither 'from'|no files|unknown type|not in gguf|adapter|must be |template|unsupported|invalid|parse", re.IGNORECASE
)


def classify_pull_error(text: str, target: Target | None = None) -> Failure:
    """Our words for the error line of a pull, push or create; the server's are in the details, without signed queries.

    `errors.is_transient` tells whether a later attempt can help.
    """
    host, text = ("", text) if target is None else (target.host, target.hide(text))
    details = clean_block(_QUERY.sub(r"\1?…", text))[:8000]
    lowered = text.strip().lower()
    for pattern, what, remedy, kind in _RULES:
        if re.search(pattern, lowered):
            return Failure(what, host, remedy, kind, details)
    shown = clean_label(details.strip(), 300)
    if _SAYS.search(text):
        return Failure(f"The server refused: {shown}", host, "Change the request", FailureKind.BAD_REQUEST, details)
    what = f"The server gave up: {shown}" if shown else "The server gave up without a reason"
    return Failure(what, host, "Retry", FailureKind.SERVER, details)
