"""Completions of the interface: the way of each kind of server, candidates, stops, refusals and figures, on real sockets."""

import asyncio
import json

import pytest

from tests.support.screen import until
from tests.support.settings import having
from tui.config.settings import ChatOptions, Settings
from tui.core.capabilities import Ability
from tui.core.chat import AnswerState, CompletionRequest
from tui.core.clock import SYSTEM
from tui.core.errors import Failure, FailureKind
from tui.core.models import Endpoint, Model, ModelDetail, RunningModel
from tui.services.completion import Completion
from tui.services.filling import LONGEST, ways
from tui.services.monitor.energy import Nothing
from tui.store.db import Database
from tui.store.measurements import Measurements


class Host:
    """What a completion needs of its surroundings."""

    def __init__(self, provider):
        self.lab = provider
        self.database = None
        self.config = Settings()
        self.listed = ()
        self.known = None
        self.allowed = True
        self.limited = None
        self.metering = Nothing()
        self.loaded = ()
        self.tasks = set()
        self.errors = []

    def post(self, made, *args):
        task = asyncio.get_running_loop().create_task(made(*args))
        self.tasks.add(task)

        def ended(task):
            self.tasks.discard(task)
            if not task.cancelled() and task.exception() is not None:
                self.errors.append(task.exception())

        task.add_done_callback(ended)

    def settings(self):
        return self.config

    def provider(self, name):
        return self.lab if name == "lab" else None

    def provider_state(self, name):
        return None

    def running(self):
        return self.loaded

    def models(self):
        return self.listed

    def detail(self, provider, model):
        return self.known

    def meter(self, provider, model):
        return self.metering

    async def may_send(self, provider):
        return self.allowed

    async def within_limits(self, provider, model):
        return self.limited


def line(text, **more):
    return json.dumps({"response": text, "done": False, **more}).encode() + b"\n"


END = line("", done=True, done_reason="stop", prompt_eval_count=9, eval_count=3, eval_duration=10**9).replace(b'"done": false, ', b"")


@pytest.fixture
async def bench(server, connect):
    host = Host(connect())
    found = Completion(host=host, clock=SYSTEM, tick=0.01)
    found.host = host
    yield found
    await found.aclose()
    assert not host.errors


async def done(bench):
    await until(lambda: not bench.host.tasks)
    return bench.view.value


async def filled(bench, *args, **options):
    bench.ask("lab", *args, **options)
    return await done(bench)


def generates(server, *answers):
    """Answers of /api/generate, one a request; the last one stays."""
    left = list(answers)

    async def route(exchange):
        await exchange.stream(*(left.pop(0) if len(left) > 1 else left[0]))

    server.routes["/api/generate"] = route


async def test_a_gap_is_filled_by_the_server(server, bench):
    generates(server, (line("retu"), line("rn a<E"), line("OT>"), END))
    bench.host.known = ModelDetail("lab", "codellama", abilities=frozenset({Ability.COMPLETION, Ability.INSERT}))
    view = await filled(bench, "codellama:7b-code", "def f(a):\n\t", "\n")
    assert (view.candidates, view.shown, view.state) == (("return a",), 0, AnswerState.COMPLETE)
    assert view.filled and not view.note and view.metrics.output_tokens == 3 and view.timeline.first_token is not None
    (request,) = [request for request in server.requests if request.path == "/api/generate"]
    assert request.json["prompt"] == "def f(a):\n\t" and request.json["suffix"] == "\n"
    assert request.json["options"] == {"num_predict": LONGEST} and "raw" not in request.json


async def test_a_model_without_the_ability_is_asked_in_its_own_tokens(server, bench):
    generates(server, (line("x"), END))
    bench.host.known = ModelDetail("lab", "qwen2.5-coder", abilities=frozenset({Ability.COMPLETION}))
    view = await filled(bench, "qwen2.5-coder:7b", "a", "b")
    body = server.requests[-1].json
    assert body["prompt"] == "<|fim_prefix|>a<|fim_suffix|>b<|fim_middle|>" and body["raw"] is True and "suffix" not in body
    assert "<|endoftext|>" in body["options"]["stop"] and view.filled and view.candidates == ("x",)


async def test_a_model_that_fills_nothing_goes_on_and_says_so(server, bench):
    async def refuse(exchange):
        if "suffix" in exchange.request.json:
            await exchange.json({"error": '"qwen3:8b" does not support insert'}, 400)
        else:
            await exchange.stream(line("more"), END)

    server.routes["/api/generate"] = refuse
    view = await filled(bench, "qwen3:8b", "once upon", "the end")
    assert view.candidates == ("more",) and not view.filled and "goes on from the text before" in view.note
    assert server.requests[-1].json["raw"] is True and "the end" not in server.requests[-1].json["prompt"]


@pytest.mark.parametrize("kind, model, paths", [
    ("llamacpp", "m", ["/infill"]), ("llamacpp", "starcoder2", ["/infill"]), ("mistralrs", "m", ["/v1/completions"]),
    ("vllm", "starcoder2", ["/v1/completions"]), ("vllm", "m", ["/v1/completions"]), ("openai", "codegemma", ["/v1/completions"]),
])  # fmt: skip
async def test_the_way_of_each_kind(server, connect, bench, kind, model, paths):
    bench.host.lab = connect(kind)
    server.routes["/infill"] = lambda exchange: exchange.stream(b'data: {"content":"x","stop":true}\n\n', kind="text/event-stream")
    server.routes["/v1/completions"] = lambda exchange: exchange.stream(
        b'data: {"choices":[{"text":"x","finish_reason":"stop"}]}\n\n', kind="text/event-stream"
    )
    view = await filled(bench, model, "a", "b")
    assert view.candidates == ("x",) and view.failure is None
    assert [request.path for request in server.requests if request.method == "POST"] == paths
    body = server.requests[-1].json
    assert view.filled is (not (kind == "vllm" and model == "m"))
    if kind == "vllm" and model == "starcoder2":
        assert body["prompt"] == "<fim_prefix>a<fim_suffix>b<fim_middle>"


async def test_a_server_without_infill_for_this_model_is_asked_otherwise(server, connect, bench):
    bench.host.lab = connect("llamacpp")
    server.routes["/infill"] = lambda exchange: exchange.json({"error": {"message": "not supported", "type": "not_supported_error"}}, 501)
    server.routes["/v1/completions"] = lambda exchange: exchange.stream(
        b'data: {"choices":[{"text":"x<fim_p"}]}\n\n',
        b'data: {"choices":[{"text":"ad>y","finish_reason":"stop"}]}\n\n',
        kind="text/event-stream",
    )
    view = await filled(bench, "starcoder2:3b", "a", "b")
    assert view.candidates == ("x",) and view.filled


async def test_an_empty_beginning_is_no_load(server, bench):
    """Ollama takes an empty prompt as a load, whatever the suffix is."""
    generates(server, (line("x"), END))
    view = await filled(bench, "codellama", "", "b")
    assert server.requests[-1].json["prompt"] == "<PRE>  <SUF>b <MID>" and view.candidates == ("x",)
    before = len(server.requests)
    view = await filled(bench, "qwen3:8b", "", "b")
    assert view.failure.kind is FailureKind.UNSUPPORTED and "text before the gap" in view.failure.what
    assert not any(request.path == "/api/generate" for request in server.requests[before:])


async def test_raw_forbids_the_servers_template(server, bench):
    generates(server, (line("x"), END))
    await filled(bench, "codellama", "a", "b", raw=True)
    assert server.requests[-1].json["prompt"] == "<PRE> a <SUF>b <MID>" and "suffix" not in server.requests[-1].json
    view = await filled(bench, "codellama", "a", raw=True)
    assert server.requests[-1].json["prompt"] == "a" and view.filled and view.raw


async def test_again_adds_a_candidate_with_another_seed(server, bench):
    generates(server, (line("one"), END), (line("two"), END), (line("three"), END))
    await filled(bench, "m", "a")
    bench.ask("lab", "m", "a", again=True)
    view = await done(bench)
    assert view.candidates == ("one", "two") and view.shown == 1
    seeds = [request.json["options"].get("seed") for request in server.requests]
    assert seeds[0] is None and isinstance(seeds[1], int)
    bench.show(1)
    assert (await done(bench)).shown == 0
    bench.show(-1)
    assert (await done(bench)).shown == 1
    bench.ask("lab", "m", "b", again=True)  # another text: the old candidates are none for it
    assert (await done(bench)).candidates == ("three",)
    bench.clear()
    assert (await done(bench)).candidates == () and bench.view.value.shown == -1


async def test_a_seed_that_is_set_is_counted_on_and_a_cold_model_is_told_of(server, bench):
    bench.host.config = having(Settings(), chat={"options": ChatOptions(seed=7, temperature=0.0)})
    generates(server, (line("one"), END))
    await filled(bench, "m", "a")
    bench.ask("lab", "m", "a", again=True)
    view = await done(bench)
    assert [request.json["options"]["seed"] for request in server.requests] == [7, 8]
    assert "temperature is 0" in view.note


async def test_H32_stop_keeps_what_came_and_closes_the_connection(server, bench):
    async def slow(exchange):
        await exchange.head()
        await exchange.chunk(line("half"))
        await exchange.gone()

    server.routes["/api/generate"] = slow
    bench.ask("lab", "m", "a")
    await until(lambda: bench.view.value.candidates == ("half",))
    assert bench.view.value.state is AnswerState.WRITING
    server.closed.clear()
    bench.stop()
    view = await done(bench)
    assert view.state is AnswerState.STOPPED and view.candidates == ("half",) and view.failure is None
    await asyncio.wait_for(server.closed.wait(), 2)


async def test_asking_anew_ends_what_is_being_written(server, bench):
    async def answer(exchange):
        if exchange.request.json["prompt"] == "slow":
            await exchange.head()
            await exchange.chunk(line("half"))
            await exchange.gone()
        else:
            await exchange.stream(line("new"), END)

    server.routes["/api/generate"] = answer
    bench.ask("lab", "m", "slow")
    await until(lambda: bench.view.value.candidates)
    for _ in range(3):
        bench.ask("lab", "m", "quick")
    view = await done(bench)
    assert view.candidates == ("new",) and view.state is AnswerState.COMPLETE


async def test_H07_H10_H05_a_completion_that_breaks_is_said_and_kept(server, bench):
    generates(server, (line("half"),), (line("so"), b'{"error":"it died"}\n'), (END,))
    view = await filled(bench, "m", "a")
    assert view.candidates == ("half",) and view.state is AnswerState.INTERRUPTED and view.failure is not None
    view = await filled(bench, "m", "a")
    assert view.candidates == ("so",) and view.state is AnswerState.FAILED and "it died" in view.failure.what
    view = await filled(bench, "m", "a")
    assert view.candidates == () and view.state is AnswerState.COMPLETE and view.note and view.failure is None


async def test_a_model_that_is_not_there_is_a_failure_in_the_view(server, bench):
    server.routes["/api/generate"] = lambda exchange: exchange.json({"error": "model 'm' not found"}, 404)
    view = await filled(bench, "m", "a", "b")
    assert view.state is AnswerState.FAILED and view.failure.kind is FailureKind.NOT_FOUND
    assert sum(request.path == "/api/generate" for request in server.requests) == 1


async def test_nothing_is_sent_where_that_is_not_allowed(server, bench):
    cases = []
    bench.host.config = having(Settings(), security={"access": "look"})
    cases.append((await filled(bench, "m", "a")).failure)
    bench.host.config = having(Settings(), general={"network": "offline"})
    bench.host.listed = (Model("lab", "big:cloud", "big:cloud", remote=True),)
    cases.append((await filled(bench, "big:cloud", "a")).failure)
    bench.host.config, bench.host.allowed = Settings(), False
    cases.append((await filled(bench, "m", "a")).failure)
    bench.host.allowed, bench.host.limited = True, Failure("Not sent: memory 93 %", kind=FailureKind.REFUSED)
    cases.append((await filled(bench, "m", "a")).failure)
    assert [failure.kind for failure in cases] == [FailureKind.REFUSED] * 4
    bench.ask("gone", "m", "a")
    assert (await done(bench)).failure.kind is FailureKind.NOT_FOUND
    assert not server.requests


async def test_only_the_figures_are_kept(server, bench, tmp_path):
    database = bench.host.database = Database(tmp_path / "paddock.db")
    generates(server, (line("secret"), END), (line("half"),))
    await filled(bench, "m", "a")
    await filled(bench, "m", "a")
    rows = database.read(lambda connection: connection.execute("SELECT kind, provider, model, output_tokens FROM measurement").fetchall())
    assert [tuple(row) for row in rows] == [("complete", "lab", "m", 3)]
    assert b"secret" not in (tmp_path / "paddock.db").read_bytes()
    await database.aclose()


async def test_a_complete_one_is_measured_like_an_answer(server, bench, tmp_path):
    class Meter:
        ended = []

        def end(self, seconds):
            self.ended.append(seconds)

        async def joules(self):
            return 12.0

    database = bench.host.database = Database(tmp_path / "paddock.db")
    bench.host.metering = Meter()
    bench.host.loaded = (RunningModel("lab", "m", "m", 100, 60, 4096),)
    generates(server, (line("secret"), END), (line("half"),))
    await filled(bench, "m", "a")
    await filled(bench, "m", "a")
    await done(bench)
    profile = Measurements(database).profile("lab", "m")
    assert (profile.answers, profile.memory, profile.vram, profile.context) == (1, 100, 60, 4096)
    assert (profile.joules, profile.joules_per_token) == (12.0, 4.0)
    assert profile.first_token > 0
    assert len(Meter.ended) == 2 and min(Meter.ended) > 0
    await database.aclose()


def test_the_users_stops_stay_and_the_limit_too():
    class Nothing:
        endpoint = None

    provider = Nothing()
    provider.endpoint, provider.capabilities = Endpoint("lab", "vllm", "http://x"), frozenset()
    first, last = ways(provider, CompletionRequest("starcoder2", "a", "b", {"stop": "X", "num_predict": 9}))
    assert first.request.options["stop"][:2] == ["X", "<|endoftext|>"] and first.request.options["num_predict"] == 9
    assert last.request.options["stop"] == "X" and not last.filled
