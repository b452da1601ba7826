"""What each dialect is sent: images, files, tools, formats, thinking, answers to go on with; and what is said instead of left out."""

import asyncio
import base64
import json

import pytest

from tests.providers.test_faults import ASK, END, collect, sse, streams, words
from tests.support.screen import until
from tui.config.settings import ChatOptions
from tui.core.chat import Attachment, AttachmentKind, ChatRequest, CompletionRequest, Message, Role
from tui.core.errors import FailureKind
from tui.core.events import Done, ToolCall
from tui.providers.catalogue import kinds
from tui.providers.options import dropped_options

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
IMAGE = Attachment("a.png", AttachmentKind.IMAGE, len(PNG), data=PNG, media="image/png")
NOTE = Attachment("note.md", text="```\nhi\n```\n")
SSE_END = sse("", "stop") + b"data: [DONE]\n\n"
SCHEMA = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
TOOLS = ({"type": "function", "function": {"name": "time", "description": "now", "parameters": {"type": "object", "properties": {}}}},)
AS_OBJECT = {"response_format": {"type": "json_object"}}
FAMILIES = sorted(name for name, kind in kinds().items() if kind.family != "ollama")


def as_schema(schema):
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}}


def answers(server):
    """Both dialects answer well."""
    streams(server, END)
    streams(server, sse("hi"), SSE_END, path="/v1/chat/completions", kind="text/event-stream")
    streams(server, b'data: {"choices":[{"text":"hi","finish_reason":"stop"}]}\n\n', path="/v1/completions", kind="text/event-stream")
    streams(server, b'{"response":"hi","done":true,"done_reason":"stop"}\n', path="/api/generate")


def user(text, *attached):
    return Message(0, 0, 1, Role.USER, text, attachments=attached)


def answer(text, **fields):
    return Message(0, 0, 2, Role.ASSISTANT, text, **fields)


async def sent(server, provider, request):
    answers(server)
    _, failure = await collect(provider.chat(request))
    assert failure is None, failure
    return server.requests[-1].json


async def refused(server, provider, request):
    answers(server)
    events, failure = await collect(provider.chat(request))
    assert not events and failure is not None
    return failure


async def test_images_and_files_for_ollama(server, connect):
    body = await sent(server, connect(), ChatRequest("m", (user("look", IMAGE, NOTE),)))
    (message,) = body["messages"]
    assert message["images"] == [base64.b64encode(PNG).decode()]
    assert message["content"] == "look\n\nnote.md:\n````md\n```\nhi\n```\n````"


@pytest.mark.parametrize("kind", ["vllm", "llamacpp", "openai"])
async def test_images_and_files_for_the_others(server, connect, kind):
    body = await sent(server, connect(kind), ChatRequest("m", (user("look", IMAGE), answer("a cat"), user("", IMAGE), user("x", NOTE))))
    first, second, third, fourth = body["messages"]
    url = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
    assert first["content"] == [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": url}}]
    assert second["content"] == "a cat" and [part["type"] for part in third["content"]] == ["image_url"]
    assert "note.md:" in fourth["content"]


@pytest.mark.parametrize("kind", ["ollama", "vllm"])
async def test_an_image_whose_bytes_are_gone_is_said(server, connect, kind):
    gone = Attachment("evil\x1b[31m.png", AttachmentKind.IMAGE, 5, media="image/png")
    failure = await refused(server, connect(kind), ChatRequest("m", (user("look", gone),)))
    assert failure.kind is FailureKind.NOT_FOUND and "\x1b" not in failure.what and not server.requests


async def test_tools_calls_and_results_for_ollama(server, connect):
    calls = ({"id": "c1", "function": {"name": "time", "arguments": {}}}, {"function": {"name": "calculator", "arguments": '{"a": 1}'}})
    history = (
        user("when?"),
        answer("", tool_calls=calls, thinking="hm"),
        Message(0, 0, 3, Role.TOOL, "noon", tool_name="time", tool_call_id="c1"),
        Message(0, 0, 4, Role.TOOL, "2", tool_name="calculator"),
    )
    body = await sent(server, connect(), ChatRequest("m", history, tools=TOOLS))
    assert body["tools"] == list(TOOLS)
    _, asked, first, second = body["messages"]
    assert asked["thinking"] == "hm"
    assert [(call["id"], call["function"]["arguments"]) for call in asked["tool_calls"]] == [("c1", {}), ("call_1", {"a": 1})]
    assert (first["role"], first["tool_name"], first["tool_call_id"]) == ("tool", "time", "c1")
    assert (second["tool_name"], second["tool_call_id"]) == ("calculator", "call_1")


async def test_tools_calls_and_results_for_the_others(server, connect):
    calls = ({"id": "", "name": "time", "arguments": {"zone": "Ä"}},) * 2
    history = (user("when?"), answer("", tool_calls=calls), *(Message(0, 0, 3, Role.TOOL, text, tool_name="time") for text in "ab"))
    body = await sent(server, connect("vllm"), ChatRequest("m", history, tools=TOOLS))
    _, asked, first, second = body["messages"]
    assert [call["id"] for call in asked["tool_calls"]] == ["call_0", "call_1"] == [first["tool_call_id"], second["tool_call_id"]]
    assert asked["tool_calls"][0] == {"id": "call_0", "type": "function", "function": {"name": "time", "arguments": '{"zone": "Ä"}'}}
    assert body["tools"] == list(TOOLS)


async def test_a_summary_joins_the_system_prompt(server, connect):
    mark = Message(0, 0, 1, Role.SYSTEM, "what was said before")
    for kind in ("ollama", "vllm"):
        body = await sent(server, connect(kind), ChatRequest("m", (mark, user("hi")), system="be brief"))
        assert [message["content"] for message in body["messages"]] == ["be brief\n\nwhat was said before", "hi"]


async def test_formats_for_ollama(server, connect):
    assert (await sent(server, connect(), ChatRequest("m", ASK.messages, format="json")))["format"] == "json"
    assert (await sent(server, connect(), ChatRequest("m", ASK.messages, format=SCHEMA)))["format"] == SCHEMA
    assert "format" not in await sent(server, connect(), ASK)
    assert (await refused(server, connect(), ChatRequest("m", ASK.messages, format="yaml"))).kind is FailureKind.CONFIG


@pytest.mark.parametrize("kind, json_body, schema_body", [
    ("vllm", AS_OBJECT, as_schema(SCHEMA)), ("llamacpp", AS_OBJECT, as_schema(SCHEMA)),
    ("lmstudio", as_schema({"type": "object"}), as_schema(SCHEMA)),
    ("llama_cpp_python", AS_OBJECT, {"response_format": {"type": "json_object", "schema": SCHEMA}}),
    ("tabbyapi", {"json_schema": {"type": "object"}}, {"json_schema": SCHEMA}),
])  # fmt: skip
async def test_formats_for_the_others(server, connect, kind, json_body, schema_body):
    for wanted, expected in (("json", json_body), (SCHEMA, schema_body)):
        body = await sent(server, connect(kind), ChatRequest("m", ASK.messages, format=wanted))
        assert {name: body[name] for name in expected} == expected


@pytest.mark.parametrize("kind", FAMILIES)
async def test_what_a_kind_cannot_do_is_said_and_never_left_out(server, connect, kind):
    spec = kinds()[kind].chat
    image = ChatRequest("m", (user("x", IMAGE),))
    cases = (
        (ChatRequest("m", ASK.messages, format="json"), spec.formats != "none", ("response_format", "json_schema")),
        (ChatRequest("m", ASK.messages, tools=TOOLS), spec.tools, ("tools",)),
        (image, spec.images, ("messages",)),
        (ChatRequest("m", (*ASK.messages, answer("half an"))), bool(spec.prefill), ("messages",)),
    )
    for request, can, fields in cases:
        if can:
            body = await sent(server, connect(kind), request)
            assert any(field in body for field in fields)
        else:
            failure = await refused(server, connect(kind), request)
            assert failure.kind is FailureKind.UNSUPPORTED and failure.what.startswith("lab cannot ") and failure.remedy
    if not all(can for _, can, _ in cases):
        assert len(server.requests) == sum(can for _, can, _ in cases)


async def test_going_on_with_an_answer(server, connect):
    history = (*ASK.messages, answer("half an", thinking="so"))
    body = await sent(server, connect(), ChatRequest("m", history))
    assert body["messages"][-1] == {"role": "assistant", "content": "half an", "thinking": "so"}
    body = await sent(server, connect("vllm"), ChatRequest("m", history))
    assert body["continue_final_message"] is True and body["add_generation_prompt"] is False
    body = await sent(server, connect("llamacpp"), ChatRequest("m", history, think="on"))
    assert body["chat_template_kwargs"] == {"enable_thinking": False} and "continue_final_message" not in body
    body = await sent(server, connect("textgen"), ChatRequest("m", history))
    assert body["continue_"] is True
    for kind in ("ollama", "vllm"):  # an answer that asks for a tool is not gone on with
        asked = answer("", tool_calls=({"id": "a", "function": {"name": "time", "arguments": {}}},))
        assert "continue_final_message" not in await sent(server, connect(kind), ChatRequest("m", (*ASK.messages, asked)))


@pytest.mark.parametrize("kind, think, fields", [
    ("vllm", "off", {"chat_template_kwargs": {"enable_thinking": False}}), ("vllm", "high", {"reasoning_effort": "high"}),
    ("mlx", "high", {"chat_template_kwargs": {"enable_thinking": True}}), ("textgen", "on", {"enable_thinking": True}),
    ("lmstudio", "low", {"reasoning_effort": "low"}), ("lmstudio", "on", {}), ("gpt4all", "on", {}), ("vllm", "auto", {}),
])  # fmt: skip
async def test_thinking_as_each_kind_takes_it(server, connect, kind, think, fields):
    body = await sent(server, connect(kind), ChatRequest("m", ASK.messages, think=think))
    got = {name: body[name] for name in ("chat_template_kwargs", "reasoning_effort", "enable_thinking") if name in body}
    assert got == fields
    assert ("think" in dropped_options(connect(kind), {}, think)) is (think != "auto" and not fields)


@pytest.mark.parametrize("text, kind", [
    ('think value \\"high\\" is not supported for this model', FailureKind.UNSUPPORTED),
    ("\\\"m\\\" does not support thinking", FailureKind.UNSUPPORTED),
    ("registry.ollama.ai/library/m:latest does not support tools", FailureKind.UNSUPPORTED),
    ("registry.ollama.ai/library/m:latest does not support insert", FailureKind.UNSUPPORTED),
    ('\\"m\\" does not support chat', FailureKind.UNSUPPORTED),
    ("something else", FailureKind.BAD_REQUEST),
])  # fmt: skip
async def test_what_a_model_cannot_do_in_our_words(server, connect, text, kind):
    server.routes["/api/chat"] = lambda exchange: exchange.reply(400, b'{"error":"%s"}' % text.encode())
    _, failure = await collect(connect().chat(ChatRequest("m", ASK.messages, think="high")))
    assert failure.kind is kind and failure.remedy and failure.status == 400
    if kind is FailureKind.UNSUPPORTED:
        assert failure.what.startswith("m ") and text.split('"')[-1][-10:] in failure.details


async def test_options_go_by_the_names_of_each_kind_and_the_rest_is_told(server, connect):
    options = {
        "temperature": 0.5,
        "repeat_penalty": 1.1,
        "repeat_last_n": 64,
        "mirostat": 2,
        "num_ctx": 8192,
        "num_predict": 9,
        "top_k": None,
    }
    body = await sent(server, connect("vllm"), ChatRequest("m", ASK.messages, options=options))
    assert body["repetition_penalty"] == 1.1 and body["max_tokens"] == 9 and body["temperature"] == 0.5
    assert not {"repeat_penalty", "repeat_last_n", "mirostat", "num_ctx", "top_k"} & set(body)
    assert dropped_options(connect("vllm"), options) == ("repeat_last_n", "mirostat", "num_ctx")
    body = await sent(server, connect("llamacpp"), ChatRequest("m", ASK.messages, options=options))
    assert body["mirostat"] == 2 and body["repeat_last_n"] == 64
    assert dropped_options(connect("llamacpp"), options) == ("num_ctx",)
    body = await sent(server, connect(), ChatRequest("m", ASK.messages, options=options))
    assert body["options"] == {"temperature": 0.5, "repeat_penalty": 1.1, "repeat_last_n": 64, "num_ctx": 8192, "num_predict": 9}
    assert dropped_options(connect(), options) == ("mirostat",)
    assert dropped_options(connect("gpt4all"), {"seed": 1, "stop": ["x"], "top_p": 0.5, "num_predict": -1}) == ("seed", "stop")
    assert dropped_options(connect("unheard_of"), {"top_k": 1, "mirostat": 1}) == ("mirostat",)
    assert dropped_options(connect("vllm"), {}, "auto", "10m") == ("keep_alive",) and not dropped_options(connect(), {}, "on", "10m")


def test_every_kind_names_options_that_exist():
    known = set(ChatOptions.model_fields) | {"typical_p"}
    for name, kind in kinds().items():
        assert set(kind.chat.options) <= known, name
        assert all(kind.chat.options.values()), name


async def test_a_field_that_was_refused_counts_as_dropped(server, connect):
    async def strict(exchange):
        if "top_k" in exchange.request.json:
            await exchange.json({"error": {"message": "Unknown field top_k"}}, 400)
        else:
            await exchange.stream(sse("a"), SSE_END, kind="text/event-stream")

    server.routes["*"] = strict
    provider = connect("openai")
    options = {"top_k": 4}
    assert dropped_options(provider, options) == ()
    events, failure = await collect(provider.chat(ChatRequest("m", ASK.messages, options=options)))
    assert failure is None and words(events) == "a" and dropped_options(provider, options) == ("top_k",)


async def test_a_refused_format_is_no_field_to_leave_out(server, connect):
    server.routes["*"] = lambda exchange: exchange.json({"error": {"message": "response_format is not supported"}}, 400)
    events, failure = await collect(connect("openai").chat(ChatRequest("m", ASK.messages, format="json")))
    assert not events and failure.kind is FailureKind.BAD_REQUEST and "response_format" in failure.what and len(server.requests) == 1


@pytest.mark.parametrize("size", [1, 3, 17])
@pytest.mark.parametrize("kind", ["ollama", "vllm"])
async def test_H14_tool_calls_arrive_whole_however_they_are_split(server, connect, kind, size):
    arguments = {"city": "Zürich \u2028 🙂", "days": [1, 2]}
    if kind == "ollama":
        call = {
            "message": {"role": "assistant", "content": "", "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": arguments}}]}
        }
        raw = json.dumps({**call, "done": False}, ensure_ascii=False).encode() + b"\n" + END
    else:
        text = json.dumps(arguments, ensure_ascii=False)
        deltas = [{"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": ""}}]}]
        deltas += [{"tool_calls": [{"index": 0, "function": {"arguments": char}}]} for char in text]
        frames = [json.dumps({"choices": [{"delta": delta}]}, ensure_ascii=False) for delta in deltas]
        raw = b"".join(f"data: {frame}\n\n".encode() for frame in frames) + SSE_END
    path = "/api/chat" if kind == "ollama" else "/v1/chat/completions"
    media = "application/x-ndjson" if kind == "ollama" else "text/event-stream"
    streams(server, *(raw[at : at + size] for at in range(0, len(raw), size)), path=path, kind=media)
    events, failure = await collect(connect(kind).chat(ASK))
    assert failure is None
    assert [event for event in events if isinstance(event, ToolCall)] == [ToolCall("c", "f", arguments)]
    assert isinstance(events[-1], Done) and events[-1].reason == "tool_calls"


@pytest.mark.parametrize("kind", ["ollama", "vllm"])
async def test_H07_tool_calls_of_a_stream_without_its_end_are_no_answer(server, connect, kind):
    if kind == "ollama":
        call = {"message": {"content": "", "tool_calls": [{"function": {"name": "f", "arguments": {}}}]}, "done": False}
        streams(server, json.dumps(call).encode() + b"\n")
    else:
        delta = {"choices": [{"delta": {"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": '{"half'}}]}}]}
        streams(server, b"data: " + json.dumps(delta).encode() + b"\n\n", path="/v1/chat/completions", kind="text/event-stream")
    events, failure = await collect(connect(kind).chat(ASK))
    assert failure.kind is FailureKind.INTERRUPTED
    assert not any(isinstance(event, Done) for event in events)


async def test_H34_a_request_with_images_out_of_size_is_refused_before_sending(server, connect, monkeypatch):
    monkeypatch.setattr("tui.providers.http.MAX_REQUEST", 10_000)
    big = Attachment("big.png", AttachmentKind.IMAGE, 20_000, data=bytes(20_000), media="image/png")
    for kind in ("ollama", "vllm"):
        failure = await refused(server, connect(kind), ChatRequest("m", (user("x", big),)))
        assert failure.kind is FailureKind.BAD_REQUEST
    assert server.connections == 0


async def test_completions_with_and_without_suffix(server, connect):
    answers(server)
    stops = ["a", "b", "c", "d", "e"]
    request = CompletionRequest("m", "def f(", ")", {"num_predict": 5, "stop": stops, "mirostat": 1}, "1m")
    await collect(connect().complete(request))
    assert server.requests[-1].json == {
        "model": "m", "stream": True, "options": {"num_predict": 5, "stop": stops}, "keep_alive": "1m", "prompt": "def f(", "suffix": ")",
    }  # fmt: skip
    await collect(connect().complete(CompletionRequest("m", "def f(", ")", raw=True)))
    assert server.requests[-1].json == {"model": "m", "stream": True, "prompt": "def f(", "raw": True}
    _, failure = await collect(connect("vllm").complete(request))
    assert failure.kind is FailureKind.UNSUPPORTED and "fill a gap" in failure.what
    await collect(connect("mistralrs").complete(request))
    assert server.requests[-1].json["suffix"] == ")" and server.requests[-1].json["stop"] == stops[:4]
    _, failure = await collect(connect("vllm").complete(CompletionRequest("m", "def f(")))
    assert failure is None and "suffix" not in server.requests[-1].json


ROUTES = {
    "ollama": ("/api/generate", "application/x-ndjson", b'{"response":"%s","done":false}\n'),
    "vllm": ("/v1/completions", "text/event-stream", b'data: {"choices":[{"text":"%s"}]}\n\n'),
    "llamacpp": ("/infill", "text/event-stream", b'data: {"content":"%s","stop":false}\n\n'),
}
ENDS = {
    "ollama": b'{"response":"","done":true,"done_reason":"stop","eval_count":2}\n',
    "vllm": b'data: {"choices":[{"text":"","finish_reason":"stop"}]}\n\ndata: [DONE]\n\n',
    "llamacpp": b'data: {"content":"","stop":true,"stop_type":"eos"}\n\n',
}
FILL = {kind: CompletionRequest("m", "a", "" if kind == "vllm" else "b") for kind in ROUTES}


@pytest.mark.parametrize("size", [1, 5])
@pytest.mark.parametrize("kind", ROUTES)
async def test_H14_H16_completions_arrive_whole_however_they_are_split(server, connect, kind, size):
    path, media, piece = ROUTES[kind]
    raw = piece % "é\u2028\t".replace("\t", "\\t").encode() + piece % "🙂".encode() + ENDS[kind]
    streams(server, *(raw[at : at + size] for at in range(0, len(raw), size)), path=path, kind=media)
    events, failure = await collect(connect(kind).complete(FILL[kind]))
    assert failure is None and words(events) == "é\u2028\t🙂" and isinstance(events[-1], Done)


@pytest.mark.parametrize("kind", ROUTES)
async def test_H05_H06_H07_a_completion_that_is_cut_is_interrupted_and_kept(server, connect, kind):
    path, media, piece = ROUTES[kind]
    streams(server, piece % b"half", path=path, kind=media)
    events, failure = await collect(connect(kind).complete(FILL[kind]))
    assert words(events) == "half" and failure.kind is FailureKind.INTERRUPTED

    async def reset(exchange):
        await exchange.head(200, {"content-type": media})
        await exchange.chunk(piece % b"half" + (piece % b"lost")[:12])
        exchange.reset()

    server.routes[path] = reset
    events, failure = await collect(connect(kind).complete(FILL[kind]))
    assert "lost" not in words(events) and failure.kind is FailureKind.INTERRUPTED


@pytest.mark.parametrize("kind", ROUTES)
async def test_H10_H11_errors_of_completions(server, connect, kind):
    path, media, piece = ROUTES[kind]
    error = b'{"error":"it died"}\n' if kind == "ollama" else b'data: {"error":{"message":"it died"}}\n\n'
    streams(server, piece % b"so", error, path=path, kind=media)
    events, failure = await collect(connect(kind).complete(FILL[kind]))
    assert words(events) == "so" and failure.kind is FailureKind.SERVER and "it died" in failure.what
    server.routes[path] = lambda exchange: exchange.json({"error": {"message": "no infill", "type": "not_supported_error"}}, 501)
    _, failure = await collect(connect(kind).complete(FILL[kind]))
    assert failure.kind is FailureKind.UNSUPPORTED and failure.status == 501


@pytest.mark.parametrize("kind", ROUTES)
async def test_H18_odd_lines_of_a_completion_are_skipped(server, connect, kind):
    path, media, piece = ROUTES[kind]
    frame = (lambda text: text + b"\n") if kind == "ollama" else (lambda text: b"data: " + text + b"\n\n")
    odd = [frame(text) for text in (b"42", b"[]", b"null", b"not json", b'{"a":1}', b'{"content":5,"response":[],"choices":null}')]
    streams(server, *odd, piece % b"yes", ENDS[kind], path=path, kind=media)
    events, failure = await collect(connect(kind).complete(FILL[kind]))
    assert failure is None and words(events) == "yes"
    streams(server, *odd * 4, path=path, kind=media)
    _, failure = await collect(connect(kind).complete(FILL[kind]))
    assert failure.kind is FailureKind.PROTOCOL


@pytest.mark.parametrize("props, abilities", [
    ({}, {"completion", "tools", "thinking"}),
    ({"chat_template": "{{ messages }}"}, {"completion"}),
    ({"chat_template": "{% if tools %}<think>"}, {"completion", "tools", "thinking"}),
    ({"chat_template": "{{ tools }}", "chat_template_caps": {"supports_tools": False}}, {"completion"}),
    ({"chat_template": "x", "modalities": {"vision": True},
      "chat_template_caps": {"supports_tools": True, "supports_reasoning_effort": True}}, {"completion", "tools", "thinking", "vision"}),
    ({"chat_template": 5, "chat_template_caps": [], "modalities": "x"}, {"completion", "tools", "thinking"}),
])  # fmt: skip
async def test_what_a_llama_cpp_model_can(server, connect, props, abilities):
    server.routes["/v1/models"] = lambda exchange: exchange.json({"data": [{"id": "m"}]})
    server.routes["/props"] = lambda exchange: exchange.json(props)
    provider = connect("llamacpp")
    assert {str(ability) for ability in (await provider.show("m")).abilities} == abilities
    assert "insert" in {str(ability) for ability in (await provider.show("starcoder2")).abilities}


async def test_what_the_models_of_lm_studio_can(server, connect):
    rows = [
        {"key": "a", "capabilities": {"vision": True, "trained_for_tool_use": False, "reasoning": {"allowed_options": ["on"]}}},
        {"key": "b", "capabilities": {"vision": False}}, {"key": "c"}, {"key": "d", "capabilities": "x"},
    ]  # fmt: skip
    server.routes["/api/v1/models"] = lambda exchange: exchange.json({"models": rows})
    found = {model.key: {str(ability) for ability in model.abilities} for model in await connect("lmstudio").models()}
    assert found == {"a": {"completion", "vision", "thinking"}, "b": {"completion"}, "c": set(), "d": set()}


@pytest.mark.parametrize("stage", ["header", "first", "half a line"])
@pytest.mark.parametrize("kind", ROUTES)
async def test_H32_a_completion_is_cancelled_at_any_stage_again_and_again(server, connect, kind, stage):
    path, media, piece = ROUTES[kind]

    async def slow(exchange):
        if stage != "header":
            await exchange.head(200, {"content-type": media})
            await exchange.chunk(piece % b"a" + ((piece % b"lost")[:9] if stage == "half a line" else b""))
        await exchange.gone()

    server.routes[path] = slow
    provider, tasks = connect(kind), len(asyncio.all_tasks())
    for number in range(30):
        stream = provider.complete(FILL[kind])
        reading = asyncio.ensure_future(anext(stream))
        await until(lambda number=number: len(server.requests) > number)
        if stage != "header":
            assert (await reading).text == "a"
            reading = asyncio.ensure_future(anext(stream))
            await asyncio.sleep(0)
        reading.cancel()
        await asyncio.wait({reading})
        await stream.aclose()
    await until(lambda: server.open == 0)
    await until(lambda: len(asyncio.all_tasks()) <= tasks)
    streams(server, piece % b"yes", ENDS[kind], path=path, kind=media)
    assert words((await collect(provider.complete(FILL[kind])))[0]) == "yes"


async def test_lists_that_were_withheld_are_asked_for_once_for_each_blob_of_weights(server, connect):
    asked = []

    async def show(exchange):
        body = json.loads(exchange.request.body)
        asked.append((body["model"], body.get("verbose", False)))
        lists = {"x.attention.head_count_kv": [0, 8], "x.attention.sliding_window_pattern": [True, False], "tokens": ["a"] * 5000}
        info = {"general.architecture": "x", "x.block_count": 2} | (lists if body.get("verbose") else dict.fromkeys(lists))
        blob = {"a": "1", "b": "1", "c": "2"}[body["model"]] * 64
        await exchange.json({"modelfile": f"FROM /x/blobs/sha256-{blob}\n", "model_info": info, "license": body["model"]})

    server.routes["/api/show"] = show
    provider = connect()
    for name in ("a", "b", "a", "c"):
        detail = await provider.show(name)
        assert detail.info["x.attention.head_count_kv"] == [0, 8]
        assert detail.info["x.attention.sliding_window_pattern"] == [True, False]
        assert (detail.licence, detail.info["tokens"]) == (name, None)
    assert asked == [("a", False), ("a", True), ("b", False), ("a", False), ("c", False), ("c", True)]


async def test_lists_that_are_never_given_cost_no_more_than_themselves(server, connect):
    async def show(exchange):
        verbose = json.loads(exchange.request.body).get("verbose")
        await (exchange.reply(500) if verbose else exchange.json({"model_info": {"x.attention.head_count_kv": None}}))

    server.routes["/api/show"] = show
    assert (await connect().show("a")).info == {"x.attention.head_count_kv": None}
