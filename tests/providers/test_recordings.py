"""What real servers answered, served again: every point of recordings/README that a provider meets."""

import json
import re

import pytest

from tests.providers.test_faults import ASK, collect, words
from tests.support.replay import Replay, scenes
from tui.core.capabilities import Ability
from tui.core.chat import ChatRequest, CompletionRequest, Message, Role
from tui.core.errors import FailureKind, PaddockError
from tui.core.events import Done, PromptProgress, Thinking, ToolCall
from tui.providers.errors import is_transient
from tui.providers.ollama_parse import classify_pull_error, running_of


def streamed(path):
    """Scenes that stream a good answer."""

    def pick(scene):
        body = scene.request["body"]
        wanted = not isinstance(body, dict) or body.get("stream") is not False
        return scene.request["path"] == path and scene.status == 200 and wanted

    return pick


@pytest.mark.parametrize("split", [0, 1, 61])
@pytest.mark.parametrize("name", ["chat", "chat_thinking", "chat_tools"])
async def test_ollama_answers_arrive_whole_however_they_are_split(server, connect, name, split):
    found = [scene for scene in scenes(f"ollama-0.24/{name}") if streamed("/api/chat")(scene)][:3]
    for scene in found:
        server.routes["/api/chat"] = Replay(f"ollama-0.24/{name}", split, lambda other, wanted=scene: other.request == wanted.request)
        events, failure = await collect(connect().chat(ASK))
        lines = [json.loads(line) for line in scene.body.split(b"\n") if line]
        text = "".join(line["message"].get("thinking", "") + line["message"]["content"] for line in lines)
        got = "".join(event.text for event in events if hasattr(event, "text"))
        assert failure is None
        assert got == re.sub(r"</think>\n*", "", text.removeprefix("<think>"))
        assert isinstance(events[-1], Done)
        assert events[-1].metrics.output_tokens == lines[-1].get("eval_count")


async def test_08_the_runners_death_is_an_error_line(server, connect):
    server.routes["*"] = Replay("ollama-0.24/death_runner_killed")
    provider = connect()
    events, failure = await collect(provider.chat(ASK))
    assert words(events) and failure.kind is FailureKind.SERVER
    assert "unexpected EOF" in failure.what
    running = await provider.running()
    assert running[0].vram == 0 and running[0].context == 2048 and running[0].parameters == "19.49M"
    assert isinstance((await collect(provider.chat(ASK)))[0][-1], Done)


async def test_09_thoughts_inside_the_text_are_thoughts(server, connect):
    found = [
        scene
        for scene in scenes("ollama-0.24/chat_thinking")
        if isinstance(scene.request["body"], dict) and scene.request["body"].get("think") is False
    ]
    assert found
    server.routes["/api/chat"] = Replay("ollama-0.24/chat_thinking", 0, lambda scene: scene.request == found[0].request)
    events, _ = await collect(connect().chat(ASK))
    assert any(isinstance(event, Thinking) for event in events)
    assert "<think>" not in words(events) and "</think>" not in words(events)


async def test_10_tool_calls_come_whole_and_go_back(server, connect):
    server.routes["/api/chat"] = Replay("ollama-0.24/chat_tools", 0, streamed("/api/chat"))
    provider = connect()
    events, _ = await collect(provider.chat(ASK))
    calls = [event for event in events if isinstance(event, ToolCall)]
    assert calls == [ToolCall("call_tcixmjrq", "get_weather", {"days": 3, "city": "Oslo"})]
    assert events[-1].reason == "tool_calls"
    stored = {"id": calls[0].id, "name": calls[0].name, "arguments": dict(calls[0].arguments)}
    history = (
        *ASK.messages,
        Message(0, 0, 1, Role.ASSISTANT, "", tool_calls=(stored,)),
        Message(0, 0, 2, Role.TOOL, "sunny", tool_calls=(stored,)),
    )
    await collect(provider.chat(ChatRequest("m", history)))
    sent = server.requests[-1].json["messages"]
    assert sent[1]["tool_calls"][0]["function"] == {"index": 0, "name": "get_weather", "arguments": {"days": 3, "city": "Oslo"}}
    assert sent[2]["tool_name"] == "get_weather" and sent[2]["tool_call_id"] == "call_tcixmjrq"


async def test_requests_hold_only_what_is_set(server, connect):
    server.routes["/api/chat"] = Replay("ollama-0.24/chat", 0, streamed("/api/chat"))
    provider = connect(keep_alive="300")
    await collect(provider.chat(ASK))
    assert server.requests[-1].json == {"model": "m", "stream": True, "keep_alive": 300, "messages": [{"role": "user", "content": "hi"}]}
    for word, value in (("on", True), ("off", False), ("high", "high")):
        await collect(provider.chat(ChatRequest("m", ASK.messages, "be brief", word, {"num_ctx": 512, "seed": None})))
        body = server.requests[-1].json
        assert body["think"] == value
        assert body["options"] == {"num_ctx": 512}
        assert body["messages"][0] == {"role": "system", "content": "be brief"}


@pytest.mark.parametrize("name", ["ollama-0.33/pull_fresh", "ollama-0.24/pull_fresh"])
@pytest.mark.parametrize("split", [0, 13])
async def test_01_02_pulls_end_with_success_only(server, connect, name, split):
    server.routes["/api/pull"] = Replay(name, split)
    steps, failure = await collect(connect().pull("lab/mid", insecure=True))
    assert failure is None
    assert steps[-1].status == "success"
    assert steps[0].status == "pulling manifest"
    assert any(step.digest.startswith("sha256:") and step.total for step in steps)


PULL_KINDS = [
    FailureKind.NOT_FOUND,
    FailureKind.UNREACHABLE,
    FailureKind.BAD_REQUEST,
    FailureKind.BAD_REQUEST,
    FailureKind.UNREACHABLE,
    FailureKind.NOT_FOUND,
    FailureKind.TLS,
]


async def test_06_pull_errors_in_our_words(server, connect):
    server.routes["/api/pull"] = Replay("ollama-0.24/pull_errors")
    provider = connect()
    for kind in PULL_KINDS:
        _, failure = await collect(provider.pull("x"))
        assert failure.kind is kind
        assert failure.what and "file does not exist" not in failure.what
    server.routes["/api/pull"] = Replay("ollama-0.24/pull_blob_errors")
    failures = [(await collect(provider.pull("x")))[1] for _ in range(3)]
    assert [failure.kind for failure in failures] == [FailureKind.NOT_FOUND, FailureKind.SERVER, FailureKind.SERVER]
    assert failures[1].details == "500: "


@pytest.mark.parametrize(("text", "kind", "transient"), [
    ("max retries exceeded: unexpected EOF", FailureKind.INTERRUPTED, True),
    ("context canceled", FailureKind.INTERRUPTED, True),
    ("write /x/sha256-1-partial: no space left on device", FailureKind.DISK, False),
    ("pull model manifest: 412: \n\nThe model requires a newer version of Ollama", FailureKind.UNSUPPORTED, False),
    ('pull model manifest: realm host "huggingface.co" does not match original host "hf.co"', FailureKind.AUTH, False),
    ("pull model manifest: 403: no", FailureKind.AUTH, False),
    ("pull model manifest: 429: slow down", FailureKind.BUSY, True),
    ("digest mismatch, file must be downloaded again: want sha256:1, got sha256:2", FailureKind.SERVER, True),
    ("something never seen", FailureKind.SERVER, True),
    ("", FailureKind.SERVER, True),
])  # fmt: skip
def test_pull_errors_by_text(text, kind, transient):
    failure = classify_pull_error(text)
    assert failure.kind is kind
    assert is_transient(failure) is transient
    assert failure.what and failure.remedy


def test_pull_error_details_hold_no_signed_query():
    failure = classify_pull_error('Get "https://cdn.example/blob?X-Signature=abc": EOF')
    assert "abc" not in failure.details and "cdn.example" in failure.details


async def test_pull_cut_off_is_interrupted(server, connect):
    server.routes["/api/pull"] = lambda exchange: exchange.stream(b'{"status":"pulling manifest"}\n')
    steps, failure = await collect(connect().pull("x"))
    assert len(steps) == 1 and failure.kind is FailureKind.INTERRUPTED


async def test_create_refused_before_its_first_line_is_final(server, connect):
    server.routes["/api/create"] = Replay("ollama-0.24/create", 0, lambda scene: scene.status == 500)
    _, failure = await collect(connect().create("x", {"from": "y", "quantize": "q8_0"}))
    assert failure.kind is FailureKind.BAD_REQUEST
    assert "quantization is only supported" in failure.what


async def test_07_upload_asks_first(server, connect, tmp_path):
    digest, file, sent = "sha256:" + "1" * 64, tmp_path / "m.gguf", []
    file.write_bytes(b"x" * 3_000_000)
    there = False

    async def blob(exchange):
        if exchange.request.method == "HEAD":
            await exchange.head(200 if there else 404, chunked=False)
        else:
            await exchange.reply(201)

    server.routes["*"] = blob
    provider = connect()
    await provider.upload_blob(digest, file, sent.append)
    assert sent[-1] == 3_000_000
    assert [request.method for request in server.requests] == ["HEAD", "POST"]
    assert server.requests[1].body == file.read_bytes()
    there = True
    await provider.upload_blob(digest, file, sent.append)
    assert [request.method for request in server.requests][2:] == ["HEAD"]
    with pytest.raises(PaddockError) as caught:
        await provider.upload_blob(digest, tmp_path / "none")
    assert caught.value.failure.kind is FailureKind.BAD_REQUEST  # DISK is the server's


async def test_13_14_lists_and_details(server, connect):
    server.routes["*"] = Replay("ollama-0.24/library")
    provider = connect()
    models = {model.key: model for model in await provider.models()}
    assert models["127.0.0.1:5000/lab/tiny:q"].size == 457_977
    assert models["127.0.0.1:5000/lab/tiny:q"].parameters == "114K"
    detail = await provider.show("127.0.0.1:5000/lab/mid:latest")
    assert detail.weights_digest == "b5e71190108d187675c1293184ef32caf4de60302208ffd28ba566190882a0b5"
    assert ("stop", "</s>") in detail.options and ("temperature", "0") in detail.options
    assert Ability.COMPLETION in detail.abilities
    assert detail.licence.startswith("A licence")
    await provider.show("127.0.0.1:5000/lab/tiny:q", verbose=True)
    with pytest.raises(PaddockError) as caught:
        await provider.show("missing")
    assert caught.value.failure.kind is FailureKind.NOT_FOUND
    assert caught.value.failure.what.startswith("Model missing is not on Ollama at")
    assert await provider.has_blob("sha256:3231ecd29f34f0ce394ae4d021739698373371872a18d5f6634d846084cb11cb")
    assert not await provider.has_blob("sha256:" + "0" * 64)


def test_13_stopping_pinned_and_unknown():
    def entry(expires, **more):
        return {"model": "m", "size": 10, "size_vram": 0, "expires_at": expires, "details": {"quantization_level": "unknown"}, **more}

    value = {
        "models": [
            entry("2026-11-21T03:00:00Z"),
            entry("2318-01-01T00:00:00Z"),
            entry("2026-11-21T05:00:00.123456789Z", size=0),
            {"size": 3},
        ]
    }
    stopping, pinned, odd = running_of("lab", value, 1_795_233_600.0)
    assert stopping.stopping and not stopping.pinned and stopping.quantization == "" and stopping.context is None
    assert pinned.pinned and pinned.expires_at is None and not pinned.stopping
    assert odd.size is None and odd.vram is None and odd.expires_at == pytest.approx(1_795_237_200.123456, abs=1)


async def test_basics_status_and_null_list(server, connect):
    server.routes["*"] = Replay("ollama-0.24/basics")
    provider = connect()
    assert (await provider.check()).version == "0.24.0"
    assert (await provider.status())["cloud"] == {"disabled": True, "source": "env"}
    assert await provider.models() == () and await provider.running() == ()
    assert await connect("vllm").models() == ()


async def test_copy_delete_load_unload(server, connect):
    server.routes["/api/copy"] = server.routes["/api/delete"] = lambda exchange: exchange.reply(200)
    server.routes["/api/embed"] = lambda exchange: exchange.json({"embeddings": []})

    async def generate(exchange):
        if exchange.request.json["model"] == "embedder":
            await exchange.json({"error": '"embedder" does not support generate'}, 400)
        else:
            await exchange.json({"model": "m", "done": True, "done_reason": "load"})

    server.routes["/api/generate"] = generate
    provider = connect()
    await provider.copy("a", "b")
    await provider.delete("a")
    assert (server.requests[-1].method, server.requests[-1].json) == ("DELETE", {"model": "a"})
    await provider.load("m", keep_alive="-1", options={"num_ctx": 512})
    assert server.requests[-1].json == {"model": "m", "keep_alive": -1, "options": {"num_ctx": 512}}
    await provider.unload("m")
    assert server.requests[-1].json == {"model": "m", "keep_alive": 0}
    await provider.load("embedder")
    assert server.requests[-1].path == "/api/embed" and server.requests[-1].json["input"] == []


# --- llama.cpp and the OpenAI dialect --------------------------------------------------------------------------------


@pytest.mark.parametrize("split", [0, 1])
async def test_16_llama_server_stream_with_timings_and_progress(server, connect, split):
    server.routes["*"] = Replay("llama-server/chat", split, streamed("/v1/chat/completions"))
    provider = connect("llamacpp")
    events, failure = await collect(provider.chat(ASK))
    assert failure is None
    assert any(isinstance(event, Thinking) for event in events)
    assert words(events).startswith("## Which quantization")
    done = events[-1]
    assert done.reason == "stop" and done.model == "/srv/lab/lmodels/scripted.gguf"
    assert done.metrics.output_tokens == 88 and done.metrics.rate
    events, failure = await collect(provider.chat(ASK))
    assert failure is None and events[-1].reason == "length"
    assert any(isinstance(event, PromptProgress) for event in events)


async def test_16_llama_server_refusals(server, connect):
    server.routes["*"] = Replay("llama-server/chat", 0, lambda scene: scene.status >= 400)
    provider = connect("llamacpp")
    _, failure = await collect(provider.chat(ASK))
    assert failure.kind is FailureKind.BAD_REQUEST
    assert failure.what.startswith("The prompt has 25018 tokens") and "takes 1024" in failure.what
    _, failure = await collect(provider.complete(CompletionRequest("m", "a", "b")))
    assert failure.kind is FailureKind.UNSUPPORTED and "Infill" in failure.what
    with pytest.raises(PaddockError) as caught:
        await provider.embed("m", ["x"])
    assert caught.value.failure.kind is FailureKind.UNSUPPORTED


async def test_16_llama_server_lists(server, connect):
    server.routes["*"] = Replay("llama-server/single")
    provider = connect("llamacpp")
    health = await provider.check()
    assert health.version and not health.loading and not provider.router
    running = await provider.running()
    assert (running[0].context, running[0].trained_context, running[0].slots, running[0].busy_slots) == (1024, 8192, 2, 0)
    assert (await provider.models())[0].quantization == "F16"
    told = await provider.figures()
    assert told.values == {"running": 0, "waiting": 0, "prompt_tokens": 0, "output_tokens": 0, "written": 0}
    assert (told.source, told.note) == ("/metrics", "")
    assert (await provider.show(running[0].key)).context == 8192


async def test_16_llama_server_loading_key_and_router(server, connect):
    server.routes["*"] = Replay("llama-server/loading")
    health = await connect("llamacpp").check()
    assert health.loading and health.note == "loading model"
    server.routes["*"] = Replay("llama-server/api_key")
    with pytest.raises(PaddockError) as caught:
        await connect("llamacpp").models()
    assert caught.value.failure.kind is FailureKind.AUTH and "wants an API key" in caught.value.failure.what
    server.routes["*"] = Replay("llama-server/router")
    states = {model.key: model.state for model in await connect("llamacpp").models()}
    assert states["scripted"] == "unloaded"


async def test_17_a_traceback_never_shows(server, connect):
    server.routes["*"] = Replay("llama-cpp-python/no_content_type", 0, lambda scene: scene.request["path"] == "/v1/chat/completions")
    _, failure = await collect(connect("llama_cpp_python").chat(ASK))
    assert failure.kind is FailureKind.SERVER
    assert "File" not in failure.what and "validation" not in failure.what and "quantization" not in failure.what
    assert "Details" in failure.remedy and "validation error" in failure.details


async def test_18_mlx_keepalives_are_progress(server, connect):
    server.routes["*"] = Replay("mlx-lm/chat", 0, streamed("/v1/chat/completions"))
    events, failure = await collect(connect("mlx").chat(ASK))
    assert failure is None
    assert events[0] == PromptProgress(6, 7)
    server.routes["*"] = Replay("mlx-lm/chat", 0, lambda scene: scene.status == 404 and scene.body.startswith(b"{"))
    _, failure = await collect(connect("mlx").chat(ASK))
    assert failure.kind is FailureKind.NOT_FOUND
    server.routes["*"] = lambda exchange: exchange.reply(200)
    assert await connect("mlx").models() == ()


async def test_19_an_empty_answer_names_the_likely_reason(server, connect):
    server.routes["*"] = Replay("llama-cpp-python/chat", 0, lambda scene: scene.status == 200 and not scene.body)
    _, failure = await collect(connect("llama_cpp_python").chat(ASK))
    assert "longer than the model's context" in failure.what


async def test_19_the_name_that_came_back(server, connect):
    server.routes["*"] = Replay("llama-cpp-python/chat", 0, streamed("/v1/chat/completions"))
    events, failure = await collect(connect("llama_cpp_python").chat(ASK))
    assert failure is None and events[-1].model == "s1.gguf"


async def test_fields_a_refusal_names_are_left_out_from_then_on(server, connect):
    async def strict(exchange):
        if "stream_options" in exchange.request.json:
            await exchange.json({"error": {"message": "Unknown field stream_options"}}, 422)
        else:
            body = b'data: {"choices":[{"delta":{"content":"a"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
            await exchange.stream(body, kind="text/event-stream")

    server.routes["*"] = strict
    provider = connect("vllm")
    for sent in (2, 3):
        events, failure = await collect(provider.chat(ChatRequest("m", ASK.messages, options={"num_predict": 5, "num_ctx": 9})))
        assert failure is None and words(events) == "a"
        assert len(server.requests) == sent
    assert server.requests[-1].json["max_tokens"] == 5 and "num_ctx" not in server.requests[-1].json


async def test_a_server_that_refuses_streams_is_asked_for_the_whole(server, connect):
    answer = {"model": "g", "choices": [{"message": {"content": "whole"}, "finish_reason": "stop"}], "usage": {"completion_tokens": 2}}
    server.routes["*"] = lambda exchange: exchange.json(answer)
    events, failure = await collect(connect("gpt4all").chat(ASK))
    assert failure is None and words(events) == "whole"
    assert events[-1].metrics.output_tokens == 2
    assert server.requests[0].json.get("stream") is not True and "stream_options" not in server.requests[0].json


async def test_tool_calls_in_pieces_are_put_together(server, connect):
    def chunk(delta, reason=None):
        return b"data: " + json.dumps({"choices": [{"delta": delta, "finish_reason": reason}]}).encode() + b"\n\n"

    pieces = [
        chunk({"tool_calls": [{"index": 0, "id": "c1", "function": {"name": "f", "arguments": '{"a"'}}]}),
        chunk({"tool_calls": [{"index": 0, "function": {"arguments": ": 1}"}}]}),
        chunk({}, "tool_calls"),
    ]
    server.routes["*"] = lambda exchange: exchange.stream(*pieces, kind="text/event-stream")
    events, failure = await collect(connect("vllm").chat(ASK))
    assert failure is None
    assert events[0] == ToolCall("c1", "f", {"a": 1}) and events[1].reason == "tool_calls"


async def test_embeddings_of_both_families(server, connect):
    server.routes["/api/embed"] = lambda exchange: exchange.json({"embeddings": [[1, 0.5], [0, 1]]})
    server.routes["/v1/embeddings"] = lambda exchange: exchange.json({"data": [{"embedding": [1, 0.5]}]})
    assert await connect().embed("m", ["a", "b"]) == ((1.0, 0.5), (0.0, 1.0))
    assert await connect("vllm").embed("m", ["a"]) == ((1.0, 0.5),)
    with pytest.raises(PaddockError) as caught:
        await connect("vllm").embed("m", ["a", "b"])
    assert caught.value.failure.kind is FailureKind.PROTOCOL


async def test_fill_in_the_middle(server, connect):
    lines = [{"response": "x", "done": False}, {"response": "y", "done": True, "done_reason": "length"}]
    server.routes["/api/generate"] = lambda exchange: exchange.stream(*(json.dumps(line).encode() + b"\n" for line in lines))
    frames = [
        {"content": "x", "stop": False},
        {"content": "y", "stop": True, "stop_type": "limit", "timings": {"predicted_n": 2, "predicted_ms": 10}},
    ]
    server.routes["/infill"] = lambda exchange: exchange.stream(
        *(b"data: " + json.dumps(frame).encode() + b"\n\n" for frame in frames), kind="text/event-stream"
    )
    for kind, field in (("ollama", "suffix"), ("llamacpp", "input_suffix")):
        events, failure = await collect(connect(kind).complete(CompletionRequest("m", "a", "b", {"num_predict": 2})))
        assert failure is None and words(events) == "xy" and events[-1].reason == "length"
        assert server.requests[-1].json[field] == "b"
    assert events[-1].metrics.rate == 200 and server.requests[-1].json["n_predict"] == 2


async def test_router_loads_until_its_list_says_so(server, connect):
    states = iter(["unloaded", "loading", "loaded"])
    server.routes["/health"] = lambda exchange: exchange.json({"status": "ok"})
    server.routes["/props"] = lambda exchange: exchange.json({"role": "router", "build_info": "b1-x"})
    server.routes["/models/load"] = server.routes["/models/unload"] = lambda exchange: exchange.json({"success": True})
    server.routes["/models"] = lambda exchange: exchange.json({"data": [{"id": "tiny", "status": {"value": next(states)}}]})
    provider = connect("llamacpp")
    with pytest.raises(PaddockError) as caught:
        await provider.load("tiny")
    assert caught.value.failure.kind is FailureKind.UNSUPPORTED
    assert (await provider.check()).version == "b1-x"
    await provider.load("tiny")
    assert next(states, "over") == "over"
    await provider.unload("tiny")
    assert server.requests[-1].path == "/models/unload"
