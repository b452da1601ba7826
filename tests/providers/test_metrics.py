"""Figures of servers: what is well told, and what is not."""

import asyncio
import gzip

import pytest

from tests.support.replay import Replay
from tui.core.capabilities import Capability
from tui.core.errors import FailureKind, PaddockError
from tui.providers.catalogue import Metrics, kinds
from tui.providers.metrics import LIMIT, Exporter, from_json, from_text, samples

VLLM = b"""# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="Qwen/Qwen3-8B"} 3.0
vllm:num_requests_waiting{engine="0",model_name="Qwen/Qwen3-8B"} 2.0
vllm:kv_cache_usage_perc{engine="0",model_name="Qwen/Qwen3-8B"} 0.25
vllm:prompt_tokens_total{engine="0",model_name="Qwen/Qwen3-8B"} 1.5e+03
vllm:generation_tokens_total{engine="0",model_name="Qwen/Qwen3-8B"} 420.0
vllm:time_to_first_token_seconds_bucket{engine="0",le="+Inf",model_name="Qwen/Qwen3-8B"} 7.0
process_resident_memory_bytes 1.2e+09
"""


def text(body: bytes) -> dict:
    return {name: value for name, _labels, value in samples(body)}


def plain(body: bytes, kind: str = "text/plain"):
    return lambda exchange: exchange.reply(200, body, {"content-type": kind})


def test_the_text_format():
    body = b'# HELP x y\nx{a="1"} 2\n x{a="q\\"\\\\\\n}, z=\\"", b = "2",} 3 1700000\r\n\ny NaN\nw +Inf\nv 1e30\nz:q 1e3\nlast 1'
    assert list(samples(body)) == [("x", {"a": "1"}, 2.0), ("x", {"a": 'q"\\\n}, z="', "b": "2"}, 3.0), ("z:q", {}, 1000.0)]


@pytest.mark.parametrize(
    "line",
    [
        b"x",
        b"x one",
        b"x 1_000",
        b"x 0x10",
        b"x 1 2 3",
        b'x{a="1" 2',
        b'x{a="1}',
        b"x{a=1} 2",
        b'x{a="1",a="2"} 3',
        b'x{a="1"b="2"} 3',
        b"x\xff 1",
        b"\x1b[31mx 1",
        b"<html>",
        b"x " + b"9" * 5000,
        b"x{" + b"a" * 9000 + b"} 1",
        b"x{" + b'b="",' * 1600 + b"} 1",
        b'{"x": 1}',
        b"x1",
    ],
)
def test_H18_lines_that_are_none(line):
    with pytest.raises(ValueError):
        list(samples(line + b"\n"))
    assert text(line + b"\ngood 1\n") == {"good": 1.0}


def test_H20_twenty_bad_lines_or_too_much_is_refused():
    with pytest.raises(ValueError):
        list(samples(b"good 1\n" + b"no\n" * 20))
    with pytest.raises(ValueError):
        list(samples(b"#" * (LIMIT + 1)))


def test_H19_no_line_takes_long():
    for body in (b'x{a="' + b"\\" * 8000, b"x{" + b'"' * 8001, b"a" * 8000, b" " * 8000, b"x" + b" " * 8000, b"x " + b"1" * 8000):
        list(samples(b"\n".join([body] * 15) + b"\ngood 1\n"))


def test_vllm_by_model():
    spec = kinds()["vllm"].metrics
    told = from_text(VLLM, spec, "/metrics")
    one = {"running": 3.0, "waiting": 2.0, "kv_used": 0.25, "prompt_tokens": 1500.0, "output_tokens": 420.0, "written": 420.0}
    assert told.values == one and told.models == {"Qwen/Qwen3-8B": one}
    two = from_text(VLLM + VLLM.replace(b"Qwen/Qwen3-8B", b"other"), spec, "/metrics")
    assert two.values == {"running": 6.0, "waiting": 4.0, "prompt_tokens": 3000.0, "output_tokens": 840.0, "written": 840.0}
    assert two.models["other"]["kv_used"] == 0.25


def test_mistral_rs_divides_and_sglang_rates_count_only_while_it_works():
    spec = kinds()["mistralrs"].metrics
    told = from_text(b"mistralrs_kv_cache_blocks_used 25\nmistralrs_kv_cache_blocks_total 100\n", spec, "/metrics")
    assert told.values == {"kv_used": 0.25}
    assert from_text(b"mistralrs_kv_cache_blocks_used 25\nmistralrs_kv_cache_blocks_total 0\n", spec, "/metrics").values == {}
    spec = kinds()["sglang"].metrics
    busy = b"sglang:num_running_reqs 1\nsglang:gen_throughput 80.5\n"
    assert from_text(busy, spec, "/metrics").values["rate"] == 80.5
    assert from_text(busy.replace(b"reqs 1", b"reqs 0"), spec, "/metrics").values["rate"] == 0.0


def test_json_figures():
    spec = Metrics(kind="json", path="/x", map={"running": "!idle", "kv_used": "cache.percent", "memory": "m"}, scale={"kv_used": 0.01})
    assert from_json({"idle": 0, "cache": {"percent": 40}, "m": 5}, spec, "/x").values == {"running": 1.0, "kv_used": 0.4, "memory": 5.0}
    for value in ({}, [], None, 5, {"idle": "no", "cache": 5, "m": [1]}, {"cache": {"percent": 250}, "m": -5}, {"m": 10**400}):
        assert from_json(value, spec, "/x").values == {}
    assert from_json({"m": float("nan"), "idle": True}, spec, "/x").values == {"running": 0.0}


@pytest.mark.parametrize("name", [name for name, kind in kinds().items() if kind.metrics.map])
def test_every_kind_with_figures_says_how(name):
    spec = kinds()[name].metrics
    assert spec.kind in ("prometheus", "json") and spec.path.startswith("/")
    assert set(spec.map) <= {"running", "waiting", "kv_used", "kv_total", "prompt_tokens", "output_tokens", "rate", "memory"}


# --- servers ------------------------------------------------------------------------------------------------------------


async def test_a_server_tells(server, connect):
    server.routes["/metrics"] = plain(VLLM)
    provider = connect("vllm")
    assert Capability.METRICS in provider.capabilities
    assert (await provider.figures()).values["running"] == 3.0
    server.routes["/api/extra/perf"] = lambda exchange: exchange.json({"queue": 2, "idle": 0, "last_eval_speed": 30.5})
    assert (await connect("koboldcpp").figures()).values == {"running": 1.0, "waiting": 2.0}


async def test_llama_server_without_metrics_has_its_slots(server, connect):
    asked = []

    def slots(exchange):
        asked.append(exchange)
        entries = [
            {
                "id": 0,
                "n_ctx": 100,
                "is_processing": True,
                "id_task": 7,
                "n_prompt_tokens": 20,
                "next_token": [{"n_decoded": 5 * len(asked)}],
            }
        ]
        return exchange.json(entries)

    server.routes["/slots"] = slots
    server.routes["/metrics"] = lambda exchange: exchange.json({"error": {"message": "off", "type": "not_supported_error"}}, 501)
    provider = connect("llamacpp")
    first, second = await provider.figures(), await provider.figures()
    assert (first.source, first.note) == ("/slots", "started without --metrics")
    assert first.values == {"running": 1.0, "written": 0.0, "kv_used": 0.25}
    assert second.values == {"running": 1.0, "written": 5.0, "kv_used": 0.3}


async def test_broken_slots_cost_no_other_figure(server, connect):
    server.routes["/slots"] = plain(b"garbage")
    server.routes["/metrics"] = plain(b"llamacpp:requests_processing 2\n")
    assert (await connect("llamacpp").figures()).values == {"running": 2.0}
    server.routes["/metrics"] = lambda exchange: exchange.json({"error": {"message": "Loading model", "type": "unavailable_error"}}, 503)
    with pytest.raises(PaddockError) as caught:
        await connect("llamacpp").figures()
    assert caught.value.failure.kind is FailureKind.LOADING


async def test_what_slots_wrote_counts_over_requests(server, connect):
    looks = iter([[(1, 10), (0, 0)], [(1, 14), (2, 3)], [(3, 2), (2, 6)], [(3, 2), (0, 0)]])

    def slots(exchange):
        return exchange.json(
            [{"id_task": task, "is_processing": task > 0, "n_ctx": 8, "next_token": {"n_decoded": n}} for task, n in next(looks)]
        )

    server.routes["/slots"] = slots
    provider = connect("llamacpp")
    assert [(await provider.figures()).values["written"] for _look in range(4)] == [0.0, 7.0, 12.0, 12.0]


async def test_a_router_is_asked_for_one_model(server, connect):
    server.routes["*"] = Replay("llama-server/single")
    await connect("llamacpp").figures("user/model:Q4 &x")
    assert {request.path for request in server.requests} == {
        "/metrics?model=user%2Fmodel%3AQ4%20%26x",
        "/slots?model=user%2Fmodel%3AQ4%20%26x",
    }


@pytest.mark.parametrize(
    ("status", "note"), [(401, "its figures need a key"), (403, "its figures need a key"), (404, "it gives no figures")]
)
async def test_H11_a_refusal_is_a_note(server, connect, status, note):
    server.routes["/metrics"] = lambda exchange: exchange.reply(status, b"<h1>no</h1>")
    assert (await connect("vllm").figures()).note == note


async def test_ollama_and_lm_studio_tell_nothing(connect):
    for kind in ("ollama", "lmstudio"):
        provider = connect(kind)
        assert Capability.METRICS not in provider.capabilities
        with pytest.raises(PaddockError) as caught:
            await provider.figures()
        assert caught.value.failure.kind is FailureKind.UNSUPPORTED


async def _endless(exchange):
    await exchange.head(200, {"content-type": "text/plain"})
    while True:
        await exchange.chunk(b"vllm:num_requests_running 1\n" * 4000)


async def _half(exchange):
    await exchange.head(200, {"content-type": "text/plain", "content-length": "5000"}, chunked=False)
    await exchange.raw(b"vllm:num_requests_running 1\n")


@pytest.mark.parametrize(
    "route",
    [
        plain(b"\x00\xff\xfe garbage\n" * 30),
        plain(b"<!doctype html><html>\n<body>Login</body>\n</html>\n", "text/html"),
        _endless,
        _half,
        lambda exchange: exchange.reply(200, gzip.compress(bytes(3_000_000)), {"content-encoding": "gzip"}),
        plain(VLLM * 4000),
    ],
    ids=["garbage", "page", "endless", "half", "gzip bomb", "huge"],
)
async def test_H21_answers_that_are_no_figures(server, connect, route):
    server.routes["/metrics"] = route
    with pytest.raises(PaddockError) as caught:
        await connect("vllm").figures()
    assert caught.value.failure.what and caught.value.failure.remedy


async def test_H02_a_server_that_says_nothing_is_given_up(server, connect, monkeypatch):
    monkeypatch.setattr("tui.providers.metrics.PATIENCE", 0.05)
    server.routes["/metrics"] = lambda exchange: exchange.gone()
    async with asyncio.timeout(2):
        with pytest.raises(PaddockError):
            await connect("vllm").figures()


async def test_an_exporter_gets_no_key_and_its_own_path(server):
    server.routes["/metrics"] = plain(b'paddock_cpu_percent 50\npaddock_other{x="1"} 2\n')
    exporter = Exporter("box", server.url)
    assert await exporter.read(lambda name: name == "paddock_cpu_percent") == [("paddock_cpu_percent", {}, 50.0)]
    await exporter.aclose()
    server.routes["/box/figures"] = plain(b"<html>\n")
    exporter = Exporter("box", server.url + "/box/figures")
    with pytest.raises(PaddockError) as caught:
        await exporter.read(lambda name: True)
    assert "cannot be read" in caught.value.failure.what
    await exporter.aclose()
    assert "authorization" not in server.requests[0].headers
