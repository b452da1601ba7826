"""The demo server through the real Ollama client, over a real socket."""

from __future__ import annotations

import hashlib
import json
import os
import signal

import pytest

from tests.demo.serving import serving
from tests.support.settings import having
from tui.config.settings import ChatCommand, Settings
from tui.core.chat import Attachment, AttachmentKind, ChatRequest, CompletionRequest, Message, Role
from tui.core.errors import FailureKind, PaddockError
from tui.core.events import Delta, Done, Thinking, ToolCall
from tui.core.fim import FAMILIES
from tui.core.names import parse
from tui.demo import launch
from tui.demo.answers import Memory as PromptMemory
from tui.demo.answers import speed_of
from tui.demo.launch import RECORD, ensure_running
from tui.demo.models import FIRST, OUTDATED, SPECS, STATE, World, layers_of
from tui.demo.prompts import given
from tui.demo.server import Pace, seconds_of
from tui.demo.words import gap_of
from tui.providers.manifest import Registry
from tui.services.chat.formats import check_format
from tui.services.chat.tools import ToolContext, names, offered, run


def request(text: str, model: str = "qwen3:8b", **fields) -> ChatRequest:
    return ChatRequest(model, (Message(0, 0, 1, Role.USER, text),), **fields)


async def test_it_is_an_ollama_with_models(demo):
    health = await demo.check()
    assert health.version == "0.24.0"
    models = await demo.models()
    assert {model.name for model in models} == set(FIRST)
    assert all(model.size and model.digest for model in models)
    detail = await demo.show("qwen3:8b")
    assert detail.context == 40960
    assert detail.info["qwen3.block_count"] == 36


async def test_a_chat_thinks_streams_markdown_and_ends(demo):
    events = [event async for event in demo.chat(request("Which quantization?"))]
    assert any(isinstance(event, Thinking) for event in events)
    text = "".join(event.text for event in events if isinstance(event, Delta))
    assert "| Q4_K_M |" in text
    assert "Which quantization?" in text
    assert isinstance(events[-1], Done)
    assert events[-1].reason == "stop"
    assert events[-1].metrics.output_tokens


async def test_num_predict_cuts(demo):
    events = [event async for event in demo.chat(request("hi", options={"num_predict": 5}))]
    assert isinstance(events[-1], Done)
    assert events[-1].reason == "length"


def names_of(events) -> list[str]:
    return [event.name for event in events if isinstance(event, ToolCall)]


def text_of(events) -> str:
    return "".join(event.text for event in events if isinstance(event, Delta))


async def collect(stream):
    return [event async for event in stream]


async def fails(stream, kind=FailureKind.UNSUPPORTED):
    with pytest.raises(PaddockError) as caught:
        await collect(stream)
    assert caught.value.failure.kind is kind, caught.value.failure
    return caught.value.failure


async def test_a_tool_is_called(demo):
    tools = ({"type": "function", "function": {"name": "clock", "parameters": {}}},)
    assert names_of(await collect(demo.chat(request("time?", tools=tools, think="off")))) == ["clock"]


async def test_tools_are_asked_for_by_what_the_prompt_holds_and_their_results_are_used(demo):
    config = having(Settings(), chat={"commands": {"weather": ChatCommand(command=("w", "{city}"), parameters={"city": "A city"})}})
    tools = offered(config, names(config))
    prompt = "What time is it in New York, and what is (3 + 4) * 2?"
    asked = Message(0, 0, 1, Role.USER, prompt, attachments=(Attachment("note.md", text="hello"),))
    events = await collect(demo.chat(ChatRequest("llama3.2:3b", (asked,), tools=tools)))
    calls = {event.name: event.arguments for event in events if isinstance(event, ToolCall)}
    assert calls == {"time": {}, "calculator": {"expression": "(3 + 4) * 2"}, "read_file": {"name": "note.md"}}
    assert events[-1].reason == "tool_calls"
    context = ToolContext(config, names(config), asked.attachments)
    results = [(event, await run(event, context)) for event in events if isinstance(event, ToolCall)]
    stored = tuple({"id": call.id, "function": {"name": call.name, "arguments": dict(call.arguments)}} for call, _ in results)
    history = [asked, Message(0, 0, 2, Role.ASSISTANT, "", tool_calls=stored)]
    history += [Message(0, 0, 3, Role.TOOL, result.content, tool_name=call.name, tool_call_id=call.id) for call, result in results]
    text = text_of(await collect(demo.chat(ChatRequest("llama3.2:3b", tuple(history), tools=tools))))
    assert "**calculator** said: 14" in text and "hello" in text
    quiet = await collect(demo.chat(request("Hello", "llama3.2:3b", tools=offered(config, ("time", "calculator")))))
    assert not names_of(quiet) and text_of(quiet)
    own = await collect(demo.chat(request(prompt, tools=offered(config, ("weather",)))))
    assert [event.arguments for event in own if isinstance(event, ToolCall)] == [{"city": "New York"}]


async def test_what_a_model_cannot_is_refused_as_ollama_does(demo):
    tools = offered(Settings(), ("time",))
    assert "cannot ask for tools" in (await fails(demo.chat(request("x", "gemma3:4b", tools=tools)))).what
    assert "does not think" in (await fails(demo.chat(request("x", "gemma3:4b", think="on")))).what
    assert "cannot fill a gap" in (await fails(demo.complete(CompletionRequest("qwen3:8b", "a", "b")))).what
    await fails(demo.complete(CompletionRequest("nomic-embed-text", "a")))


async def test_an_image_is_seen_by_models_that_see(demo):
    png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (640).to_bytes(4) + (480).to_bytes(4) + bytes(20)
    image = Attachment("a.png", AttachmentKind.IMAGE, len(png), data=png, media="image/png")
    asked = Message(0, 0, 1, Role.USER, "Look, in short", attachments=(image,))
    seen = await collect(demo.chat(ChatRequest("gemma3:4b", (asked,))))
    assert "a PNG image, 640 x 480 pixels" in text_of(seen) and seen[-1].metrics.prompt_tokens > 768
    blind = await collect(demo.chat(ChatRequest("llama3.2:3b", (asked,))))
    assert "PNG" not in text_of(blind) and blind[-1].metrics.prompt_tokens < 50


async def test_json_and_schemas_are_kept_to(demo):
    schema = {
        "type": "object", "required": ["name", "tags", "level"], "additionalProperties": False,
        "properties": {"name": {"type": "string"}, "tags": {"type": "array", "items": {"type": "string"}}, "level": {"enum": ["Q4", "Q8"]}},
    }  # fmt: skip
    for wanted in ("json", schema):
        text = text_of(await collect(demo.chat(request("quants", think="off", format=wanted))))
        assert check_format(text, wanted) == ""
    await fails(demo.complete(CompletionRequest("qwen3:8b", "a", "b")))


async def test_thinking_has_levels(demo):
    lengths = []
    for think in ("off", "low", "on", "high"):
        events = await collect(demo.chat(request("hi", think=think)))
        lengths.append(sum(isinstance(event, Thinking) for event in events))
    assert lengths[0] == 0 < lengths[1] < lengths[2] < lengths[3]


async def test_a_gap_is_filled_with_suffix_and_with_the_models_tokens(demo):
    prefix, suffix = "def add(a, b):\n", "\nprint(add(1, 2))\n"
    text = text_of(await collect(demo.complete(CompletionRequest("qwen2.5-coder:1.5b", prefix, suffix, {"seed": 1}))))
    assert text.startswith("    ") and "return a" in text and "b" in text
    raw = CompletionRequest("qwen2.5-coder:1.5b", f"<|fim_prefix|>{prefix}<|fim_suffix|>{suffix}<|fim_middle|>", "", {"seed": 1}, raw=True)
    assert text_of(await collect(demo.complete(raw))) == text
    found = {text_of(await collect(demo.complete(CompletionRequest("qwen2.5-coder:1.5b", prefix, suffix, {"seed": n})))) for n in range(9)}
    assert len(found) > 2
    for family in FAMILIES:
        assert gap_of(family.prompt("be{fore", "be.hind")) == ("be{fore", "be.hind")
    assert gap_of("plain text") is None


async def test_text_alone_is_gone_on_with_until_the_limit(demo):
    events = await collect(demo.complete(CompletionRequest("llama3.2:3b", "Once", "", {"num_predict": 12}, raw=True)))
    assert events[-1].reason == "length" and text_of(events).startswith(" the quick") and events[-1].metrics.output_tokens == 12
    events = await collect(demo.complete(CompletionRequest("llama3.2:3b", "Once ", "", raw=True)))
    assert events[-1].reason == "stop" and text_of(events).startswith("the quick")
    code = await collect(demo.complete(CompletionRequest("qwen2.5-coder:1.5b", "def add(a, b):\n", "", raw=True)))
    assert "return a" in text_of(code)


async def test_an_answer_is_gone_on_with(demo):
    whole = text_of(await collect(demo.chat(request("hi", think="off", options={"seed": 3}))))
    begun = Message(0, 0, 2, Role.ASSISTANT, whole[:200])
    rest = await collect(demo.chat(ChatRequest("qwen3:8b", (*request("hi").messages, begun), options={"seed": 5})))
    assert whole[:200] + text_of(rest) == whole and not any(isinstance(event, Thinking) for event in rest)


async def test_11_what_does_not_fit_the_context_is_cut_without_a_word(demo):
    """Recordings, points 11: the oldest messages go whole, and the count tells."""
    long = " ".join(["word"] * 400)
    history = [Message(0, 0, n, Role.USER if n % 2 else Role.ASSISTANT, long) for n in range(1, 6)]
    every = (await collect(demo.chat(ChatRequest("llama3.2:3b", tuple(history), options={"num_ctx": 8192}))))[-1]
    assert every.metrics.prompt_tokens > 2500
    few = (await collect(demo.chat(ChatRequest("llama3.2:3b", tuple(history), options={"num_ctx": 1200}))))[-1]
    assert few.metrics.prompt_tokens in range(900, 1200) and few.reason in ("stop", "length")
    one = (await collect(demo.chat(ChatRequest("llama3.2:3b", tuple(history), options={"num_ctx": 128}))))[-1]
    assert one.metrics.prompt_tokens == 128
    running = await demo.running()
    assert running[0].context == 128


async def test_a_long_answer_ends_where_the_context_ends(demo):
    events = await collect(demo.chat(request("write 5000 words", "llama3.2:3b", options={"num_ctx": 256})))
    assert events[-1].reason == "length" and events[-1].metrics.output_tokens < 256
    whole = await collect(demo.chat(request("write 300 words", "llama3.2:3b", options={"num_ctx": 4096})))
    assert len(text_of(whole).split()) == 300 and whole[-1].reason == "stop"


def test_reading_takes_its_time_and_what_was_read_is_not_read_again():
    memory, long = PromptMemory(), {"role": "user", "content": "x" * 40_000}
    first, second = given([long], 99_999), given([long, {"role": "assistant", "content": "a"}, {"role": "user", "content": "b"}], 99_999)
    assert memory.seconds("m", first, 1000) > 10
    assert memory.seconds("m", second, 1000) < 0.1
    assert memory.seconds("other", second, 1000) > 10
    assert speed_of(SPECS["llama3.2:1b"]) > speed_of(SPECS["qwen3:8b"]) > speed_of(SPECS["llama3.1:70b"])


async def test_titles_and_summaries_are_short(demo):
    title = await collect(demo.chat(request("Give this conversation a title of at most six words.", "llama3.2:3b")))
    assert len(text_of(title).split()) < 8
    assert text_of(await collect(demo.chat(request("Summarise the conversation so far.", "llama3.2:3b")))).count(" ") < 30


async def test_loading_pinning_and_unloading(demo):
    await demo.load("llama3.2:3b", keep_alive="-1")
    (running,) = await demo.running()
    assert running.pinned
    await demo.unload("llama3.2:3b")
    assert await demo.running() == ()


async def test_a_pull_runs_to_success_and_is_listed(demo):
    steps = [step async for step in demo.pull("phi4:14b")]
    assert steps[0].status == "pulling manifest"
    assert steps[-1].status == "success"
    assert any(step.completed and step.total for step in steps)
    assert "phi4:14b" in {model.name for model in await demo.models()}


async def test_a_pull_goes_on_where_its_client_left(tmp_path):
    async with serving(tmp_path, Pace(pull=200e6, tokens=1000, load=0.01)) as provider:
        reached = 0
        stream = provider.pull("mistral:7b")
        async for step in stream:
            if step.completed and step.completed > 20_000_000:
                reached = step.completed
                break
        await stream.aclose()
        again = provider.pull("mistral:7b")
        async for step in again:
            if step.completed:
                assert step.completed >= reached
                break
        await again.aclose()


async def test_an_unknown_name_is_said_to_be_unknown(demo):
    with pytest.raises(PaddockError) as caught:
        async for _step in demo.pull("no-such-model:1b"):
            pass
    assert caught.value.failure.kind is FailureKind.NOT_FOUND


async def test_copy_and_delete(demo):
    await demo.copy("gemma3:4b", "mine")
    assert "mine:latest" in {model.name for model in await demo.models()}
    await demo.delete("mine:latest")
    assert "mine:latest" not in {model.name for model in await demo.models()}


async def test_embeddings_have_the_models_length(demo):
    (vector,) = await demo.embed("nomic-embed-text", ["hello"])
    assert len(vector) == 768
    assert sum(value * value for value in vector) == pytest.approx(1.0, abs=1e-3)


# --- its registry, uploads, pushes and creates -----------------------------------------------------------------------


async def manifest(demo, name: str):
    registry = Registry(demo.endpoint.url, version="0.24.0")
    try:
        return await registry.manifest(parse(name))
    finally:
        await registry.aclose()


async def listed(demo, name: str):
    return next((model for model in await demo.models() if model.name == name), None)


async def test_what_the_registry_announces_is_what_is_listed_after_a_pull(demo):
    for name in SPECS:
        found = await manifest(demo, name)
        assert sum(layer.size for layer in found.layers) == SPECS[name].size
        assert found.canonical == found.digest
        assert (found.family, found.parameters) == (SPECS[name].family, SPECS[name].parameters)
        assert [layer.kind for layer in found.layers] == ["weights", "template", "licence", "parameters", "config"]
    announced = await manifest(demo, "qwen3:0.6b")
    assert [await demo.has_blob(layer.digest) for layer in announced.layers] == [False, True, True, True, False]
    seen = {step.digest: step.total async for step in demo.pull("qwen3:0.6b") if step.digest}
    assert seen == {layer.digest: layer.size for layer in announced.layers}
    assert (await listed(demo, "qwen3:0.6b")).digest == announced.digest
    assert all([await demo.has_blob(layer.digest) for layer in announced.layers])


async def test_one_of_the_first_models_has_an_update_of_a_few_bytes(demo):
    digests = {name: ((await manifest(demo, name)).digest, (await listed(demo, name)).digest) for name in FIRST}
    assert [name for name, (there, here) in digests.items() if there != here] == [OUTDATED]
    announced = await manifest(demo, OUTDATED)
    missing = [layer.kind for layer in announced.layers if not await demo.has_blob(layer.digest)]
    assert missing == ["template"]
    async for _step in demo.pull(OUTDATED):
        pass
    assert (await listed(demo, OUTDATED)).digest == announced.digest


async def test_an_unfinished_blob_is_not_there_and_a_finished_one_is(tmp_path):
    async with serving(tmp_path, Pace(pull=200e6)) as provider:
        weights, *_rest, config = [f"sha256:{digest}" for digest, _size in layers_of(SPECS["nomic-embed-text:latest"])]
        await provider.delete("nomic-embed-text")
        assert not await provider.has_blob(weights)
        stream, halfway = provider.pull("nomic-embed-text"), False
        async for step in stream:
            if step.digest == weights and step.completed and not halfway:
                halfway = True
                assert not await provider.has_blob(weights)
            if step.digest not in ("", weights):
                break
        await stream.aclose()
        assert halfway
        assert await provider.has_blob(weights)
        assert not await provider.has_blob(config)
        assert await listed(provider, "nomic-embed-text:latest") is None


async def test_a_file_is_sent_and_made_into_a_smaller_model(demo, tmp_path):
    file = tmp_path / "tiny.gguf"
    file.write_bytes(b"GGUF" + os.urandom(3_000_000))
    digest = f"sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}"
    told = []
    await demo.upload_blob(digest, file, told.append)
    assert told[-1] == 3_000_004
    assert await demo.has_blob(digest)
    with pytest.raises(PaddockError):
        await demo.upload_blob("sha256:" + "0" * 64, file)
    assert not await demo.has_blob("sha256:" + "0" * 64)
    steps = [step async for step in demo.create("me/tiny", {"files": {"tiny.gguf": digest}, "quantize": "q4_k_m"})]
    working = [step for step in steps if step.status == "quantizing F16 model to Q4_K_M"]
    assert working[-1].completed == working[-1].total == 3_000_004
    assert steps[-1].status == "success"
    made = await listed(demo, "me/tiny:latest")
    assert made.quantization == "Q4_K_M"
    assert made.size < 1_000_000
    with pytest.raises(PaddockError):
        async for _step in demo.create("other", {"files": {"x.gguf": "sha256:" + "1" * 64}}):
            pass


async def test_quantizing_is_for_wide_models(demo):
    with pytest.raises(PaddockError) as caught:
        async for _step in demo.create("small", {"from": "qwen3:8b", "quantize": "q4_K_M"}):
            pass
    assert "only supported for F16" in caught.value.failure.details
    steps = [step.status async for step in demo.create("small", {"from": "llama3.2:1b-instruct-fp16", "quantize": "q8_0"})]
    assert steps[0] == "pulling manifest"  # it was not there
    assert "verifying conversion" in steps
    assert (await listed(demo, "small:latest")).quantization == "Q8_0"
    with pytest.raises(PaddockError) as caught:
        async for _step in demo.create("other", {"from": "llama3.2:1b-instruct-fp16", "quantize": "q9_9"}):
            pass
    assert "unsupported quantization type q9_9" in caught.value.failure.details


async def test_what_a_create_changes_is_shown_until_the_next_pull(demo):
    plain, before = await listed(demo, "qwen3:8b"), await demo.show("qwen3:8b")
    async for _step in demo.create("qwen3:8b", {"from": "qwen3:8b", "system": "Be brief", "parameters": {"temperature": 0.1, "top_k": 7}}):
        pass
    changed, detail = await listed(demo, "qwen3:8b"), await demo.show("qwen3:8b")
    assert changed.digest != plain.digest
    assert detail.system == "Be brief"
    assert detail.template == before.template
    assert dict(detail.options) == {"stop": "<|im_end|>", "temperature": "0.1", "top_k": "7"}
    async for _step in demo.pull("qwen3:8b"):
        pass
    assert (await listed(demo, "qwen3:8b")).digest == plain.digest
    assert not (await demo.show("qwen3:8b")).system


async def test_a_push_goes_to_a_namespace_of_ones_own(demo):
    with pytest.raises(PaddockError) as caught:
        async for _step in demo.push("qwen3:8b"):
            pass
    assert caught.value.failure.kind is FailureKind.AUTH
    with pytest.raises(PaddockError):
        async for _step in demo.push("me/nothing"):
            pass
    await demo.copy("nomic-embed-text", "me/embed:v1")
    steps = [step async for step in demo.push("me/embed:v1")]
    assert steps[0].status == "retrieving manifest"
    assert [step.status for step in steps[-2:]] == ["pushing manifest", "success"]
    moved = [step for step in steps if step.digest]
    assert {step.digest for step in moved} == {f"sha256:{digest}" for digest, _size in layers_of(SPECS["nomic-embed-text:latest"])}
    assert all(step.status == f"pushing {step.digest[7:19]}" for step in moved)
    again = [step for step in [step async for step in demo.push("me/embed:v1")] if step.digest]
    assert len(again) == 5
    assert all(step.completed == step.total for step in again)


@pytest.mark.parametrize("state", [{}, {"installed": {"qwen3:8b": "gone"}, "changed_at": {}, "partial": {}}, {"made": 5}, []])
def test_a_state_that_cannot_be_used_begins_anew(tmp_path, state):
    (tmp_path / STATE).write_text(json.dumps(state))
    assert set(World.open(tmp_path).installed) == set(FIRST)


def test_what_was_made_is_there_after_a_restart(tmp_path):
    world = World.open(tmp_path)
    world.put("me/x", "qwen3:8b", {"quantization": "Q8_0", "system": "Be brief"})
    again = World.open(tmp_path)
    assert again.made["me/x:latest"]["system"] == "Be brief"
    assert again.spec("me/x:latest").quantization == "Q8_0"


@pytest.mark.parametrize(
    ("given", "seconds"), [("10m", 600), ("1h30m", 5400), (-1, None), ("-1", None), (0, 0), ("0", 0), (None, 300), (90, 90)]
)
def test_keep_alive_forms(given, seconds):
    assert seconds_of(given) == seconds


def test_one_server_a_home_started_once(tmp_path):
    url = ensure_running(tmp_path)
    record = json.loads((tmp_path / RECORD).read_text())
    try:
        assert ensure_running(tmp_path) == url
        assert (tmp_path / RECORD).stat().st_mode & 0o777 == 0o600
    finally:
        os.kill(record["pid"], signal.SIGTERM)


def test_P05_a_server_that_is_started_again_has_its_old_address(tmp_path):
    """Pulls that are still queued are for that address."""
    url = ensure_running(tmp_path)
    launch._started[-1].kill()
    launch._started[-1].wait(5)
    try:
        assert ensure_running(tmp_path) == url
    finally:
        os.kill(json.loads((tmp_path / RECORD).read_text())["pid"], signal.SIGTERM)
