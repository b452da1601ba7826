"""P30: whatever a server answers, a provider gives a value or a failure in words; nothing else ever leaves it."""

import asyncio
import json
import random
import tracemalloc
from contextlib import asynccontextmanager

import pytest

from tests.providers.test_faults import ASK, collect
from tui.core.chat import CompletionRequest
from tui.core.errors import FailureKind, PaddockError
from tui.core.models import Endpoint
from tui.providers.catalogue import kinds
from tui.providers.errors import Target
from tui.providers.factory import make_provider
from tui.providers.http import Http
from tui.providers.streams import JsonLines, ServerSentEvents
from tui.text import clean_label

KEYS = """
models data name model id key size size_vram digest details format family families parameter_size quantization_level
modified_at expires_at context_length capabilities model_info general.architecture llama.context_length projector_info
tensors shape type modelfile template system license parameters messages role content thinking reasoning
reasoning_content tool_calls function arguments index choices delta message text finish_reason usage prompt_tokens
completion_tokens timings prompt_n cache_n prompt_ms predicted_n predicted_ms prompt_progress processed total completed
status done done_reason error detail msg loc code object response version embeddings embedding meta n_ctx n_ctx_train
n_params ftype value failed args modalities vision chat_template is_processing stop stop_type eval_count eval_duration
load_duration total_duration state remote_host remote_model cloud source n_prompt_tokens quantization max_context_length
max_model_len root loaded_context_length created owned_by eval_duration signin_url build_info
""".split()  # noqa: SIM905
SCALARS = (
    *(None, True, False, 0, -1, 7, 2**31, 2**63, 2**70, 10**400, 0.5, -0.0, 1e308, "", " ", "x", "llama", "7", "loaded", "stop", "success"),
    *("0001-01-01T00:00:00Z", "2026-13-45T99:99:99Z", "2199-01-01T00:00:00+99:99", "2026-08-01T10:00:00.123456789-07:00"),
    "sha256:" + "a" * 64,
    *("\ud800", "\x1b]52;c;QQ==\x07", "[/opt/x]", "\u202eevil", "\0", "completion", "tools", "FROM /x/sha256-" + "b" * 64, "a" * 5000),
    *('{"a":1}', "{", "<think>", "</think>", "temperature 0.7\nstop \"x\"", "4.7B", "Q4_K_M"),
)  # fmt: skip


def document(choice: random.Random, depth: int = 0):
    kind = choice.random()
    if depth > 4 or kind < 0.35:
        return choice.choice(SCALARS)
    if kind < 0.6:
        return [document(choice, depth + 1) for _ in range(choice.randrange(4))]
    return {choice.choice(KEYS): document(choice, depth + 1) for _ in range(choice.randrange(9))}


def shaped(choice: random.Random):
    """An object that gets past the first look of the parsers, with anything inside."""
    inside = [document(choice, 1) for _ in range(choice.randrange(4))]
    return choice.choice(
        (
            document(choice),
            {"models": inside},
            {"data": inside},
            {"choices": inside, "usage": document(choice, 2), "timings": document(choice, 2)},
            {"choices": [{"delta": document(choice, 2), "finish_reason": choice.choice(SCALARS)}]},
            {"choices": [{"delta": {"tool_calls": [{"index": choice.choice(SCALARS), "function": document(choice, 3)}]}}]},
            {"message": document(choice, 1), "done": choice.choice((True, False, "x"))},
            {"message": {"role": 7, "content": choice.choice(SCALARS), "tool_calls": inside}, "done": choice.choice((True, False))},
            {"embeddings": inside, "data": inside, "version": "1"},
            {"details": document(choice, 1), "model_info": document(choice, 1), "modelfile": choice.choice(SCALARS), "messages": inside},
            {"status": choice.choice(SCALARS), "digest": choice.choice(SCALARS), "total": choice.choice(SCALARS), "completed": -1},
            {"error": document(choice, 1)},
        )
    )


class _Canned:
    def __init__(self, status: int, body: bytes, kind: str) -> None:
        self.status = status
        self.headers = {"content-type": kind}
        self.received = len(body)
        self._parts = [body[at : at + 997] for at in range(0, len(body), 997)]

    def __aiter__(self):
        return self

    async def __anext__(self):
        if not self._parts:
            raise StopAsyncIteration
        return self._parts.pop(0)

    async def whole(self, limit=0):
        return b"".join(self._parts)


async def attack(monkeypatch, names, documents, seed):
    """Each method of each kind gets its own answers; what it gives must be usable text, what it raises must be words."""
    choice = random.Random(seed)
    answer = {}

    @asynccontextmanager
    async def canned(self, *_args, **_kwargs):
        yield _Canned(200, answer["body"], answer["kind"])

    monkeypatch.setattr(Http, "_open", canned)
    monkeypatch.setattr("tui.providers.http.random.uniform", lambda *_: 0.0)
    for name in names:
        provider = make_provider(Endpoint("box", name, "http://127.0.0.1:1", retries=0), lambda reference: "")
        calls = {
            "check": provider.check,
            "models": provider.models,
            "running": provider.running,
            "show": lambda provider=provider: provider.show("m"),
            "chat": lambda provider=provider: collect(provider.chat(ASK)),
            "complete": lambda provider=provider: collect(provider.complete(CompletionRequest("m", "p", suffix=choice.choice(("", "s"))))),
            "embed": lambda provider=provider: provider.embed("m", ["t"]),
            "pull": lambda provider=provider: collect(provider.pull("m")),
            "create": lambda provider=provider: collect(provider.create("m", {})),
        }
        for extra in ("status", "props", "slots"):
            if hasattr(provider, extra):
                calls[extra] = getattr(provider, extra)
        for number in range(documents):
            parts = [json.dumps(shaped(choice)).encode() for _ in range(choice.randrange(1, 4))]
            for method, call in calls.items():
                stream = method in ("chat", "complete", "pull", "create")
                lines = name == "ollama" or method in ("pull", "create")
                answer["kind"] = "application/json" if not stream or lines else "text/event-stream"
                answer["body"] = (
                    parts[0] if not stream else b"\n".join(parts) + b"\n" if lines else b"".join(b"data: %s\n\n" % part for part in parts)
                )
                said = None
                try:
                    found = await asyncio.wait_for(call(), 5)
                    said = found[1] if stream else None
                except PaddockError as error:
                    said = error.failure
                except Exception as error:
                    raise AssertionError(f"{name}.{method} on {answer['body'][:3000]!r} (document {number})") from error
                if said is not None:
                    assert said.what and said.where and said.remedy, (name, method, said)
                    assert len(said.what) < 700
                    assert said.what == clean_label(said.what, 1000)
                    assert "Error" not in said.what.split(":")[0].split() or "error" in said.what


@pytest.mark.parametrize("name", ["ollama", "llamacpp", "vllm", "openai"])
async def test_P30_no_json_gets_through_as_an_exception(monkeypatch, name):
    await attack(monkeypatch, [name], 300, seed=30)


@pytest.mark.sweep
async def test_P30_no_json_gets_through_as_an_exception_of_any_kind(monkeypatch):
    await attack(monkeypatch, list(kinds()), 3000, seed=31)


@pytest.mark.parametrize(
    "body", [b'"text"', b"{}", b"[]", b"null", b'{"status":"ok"}', b'{"choices":[]}', b'{"choices":[null]}', b'{"choices":[{}]}']
)
async def test_H07_json_that_is_no_answer_is_no_empty_answer(monkeypatch, body):
    """Servers that do not stream answer with one object; what is none of theirs must not look like a model that said nothing."""

    @asynccontextmanager
    async def canned(self, *_args, **_kwargs):
        yield _Canned(200, body, "application/json")

    monkeypatch.setattr(Http, "_open", canned)
    events, failure = await collect(make_provider(Endpoint("box", "vllm", "http://127.0.0.1:1"), lambda reference: "").chat(ASK))
    assert events == []
    assert failure.kind is FailureKind.PROTOCOL
    assert "it holds no answer" in failure.what


@pytest.mark.parametrize("name", ["ollama", "llamacpp", "vllm"])
async def test_P30_P46_bytes_that_are_no_json_are_a_sentence(monkeypatch, name):
    bodies = (b"", b"\0" * 50, b"<html>", b"[" * 100_000, b"9" * 5000, b"\xff\xfe\x00", b"nul", b'{"models":', b'"text"', b"NaN", b"-")
    for body in bodies:

        @asynccontextmanager
        async def canned(self, *_args, body=body, **_kwargs):
            yield _Canned(200, body, "application/json")

        monkeypatch.setattr(Http, "_open", canned)
        provider = make_provider(Endpoint("box", name, "http://127.0.0.1:1", retries=0), lambda reference: "")
        if body or name == "ollama":  # some servers of the other dialects have no list, and say nothing
            with pytest.raises(PaddockError) as caught:
                await provider.models()
            assert caught.value.failure.kind is FailureKind.PROTOCOL
        _, failure = await collect(provider.chat(ASK))
        assert failure is not None
        assert failure.what and failure.remedy


@pytest.mark.parametrize("splitter", [JsonLines, ServerSentEvents])
def test_H20_fifty_megabytes_without_a_line_end_cost_little_memory(splitter):
    """The cap ends it; what was held on the way is not many times as much."""
    split, chunk, fed = splitter(Target("Ollama", "h:1")), b"x" * 65_536, 0
    tracemalloc.start()
    try:
        with pytest.raises(PaddockError, match="longer than 8 MB"):
            while fed < 50_000_000:
                fed += len(chunk)
                list(split.feed(chunk))
        assert fed < 9_000_000
        assert tracemalloc.get_traced_memory()[1] < 32_000_000
    finally:
        tracemalloc.stop()
