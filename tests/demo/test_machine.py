"""The demo's machine: samples like a real sampler's, and a load that follows the demo server."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

from tui.core.chat import ChatRequest, Message, Role
from tui.core.models import Endpoint
from tui.demo.launch import RECORD
from tui.demo.machine import DemoMachine, Work, work_of
from tui.demo.models import World, memory_of
from tui.demo.server import GPU_ROOM, Pace, serve
from tui.hardware.sample_line import format_sample, parse_sample
from tui.providers.factory import make_provider


def test_every_sample_is_one_and_agrees_with_itself() -> None:
    machine = DemoMachine()
    for second in range(600):
        work = Work(812, vram=6_800_000_000, ram=2_000_000_000, writing=second % 90 < 40, pulling=38e6)
        sample = machine.sample(1_800_000_000.0 + second, work)
        assert parse_sample(format_sample(sample)) == sample
        gpu = sample.gpus[0]
        assert sum(process.memory or 0 for process in gpu.processes) <= (gpu.memory_used or 0) <= (gpu.memory_total or 0)
        assert (sample.memory.used or 0) + (sample.memory.available or 0) == sample.memory.total
        assert sum(process.memory for process in sample.processes) <= (sample.memory.used or 0)


def test_more_than_there_is_goes_to_swap() -> None:
    """A model of 20 GB on the processor."""
    machine = DemoMachine()
    for second in range(120):
        memory = machine.sample(1_800_000_000.0 + second, Work(7, 6 * 10**9, 21 * 10**9, 1)).memory
        assert memory.used and memory.total and memory.swap_used and memory.swap_total
        assert memory.used < memory.total and 0 < memory.swap_used <= memory.swap_total
        assert (memory.swap_in or 0) >= 4e6


def test_an_answer_heats_the_gpu_and_its_end_cools_it() -> None:
    machine = DemoMachine()
    cold = machine.sample(0.0, Work()).gpus[0]
    hot = [machine.sample(float(second), Work(1, 10**9, writing=1)).gpus[0] for second in range(1, 120)][-1]
    after = [machine.sample(120.0 + second, Work(1, 10**9)).gpus[0] for second in range(300)][-1]
    assert (cold.percent or 0) < 10 < 90 < (hot.percent or 0)
    assert (hot.temperature or 0) > (cold.temperature or 0) + 30 > (after.temperature or 0)
    assert (hot.power or 0) > 250 > (after.power or 0)


def test_only_an_answer_of_the_demo_server_counts() -> None:
    for answer in (None, [], {"vram": -1, "writing": True}, {"vram": "1"}, {"vram": 2**60}):
        assert work_of(answer, 0) == Work()
    assert work_of({"vram": 5, "ram": 6, "writing": 1, "pulling": 2.5}, 7) == Work(7, 5, 6, 1, 2.0)


async def test_models_lie_on_the_gpu_as_long_as_there_is_room(tmp_path: Path) -> None:
    stop, port = asyncio.Event(), asyncio.get_running_loop().create_future()
    world = World.open(tmp_path)
    for name in ("gemma3:12b", "mistral-small:24b"):
        world.put(name, name)
    task = asyncio.create_task(serve(world, Pace(tokens=5000, load=0.01), 0, port.set_result, stop))
    number = await port
    provider = make_provider(Endpoint("demo", "ollama", f"http://127.0.0.1:{number}"), lambda _reference: "")
    try:
        await provider.load("gemma3:12b")
        await provider.load("mistral-small:24b")
        running = {model.name: model for model in await provider.running()}
        assert running["gemma3:12b"].vram == running["gemma3:12b"].size == memory_of(world.spec("gemma3:12b"), 4096)
        assert 0 < (running["mistral-small:24b"].vram or 0) < (running["mistral-small:24b"].size or 0)
        assert sum(model.vram or 0 for model in running.values()) == GPU_ROOM
        stream = provider.chat(ChatRequest("gemma3:12b", (Message(1, 1, 0, Role.USER, "hello"),)))
        assert await anext(aiter(stream)) is not None
        (tmp_path / RECORD).write_text(json.dumps({"pid": os.getpid(), "port": number}))
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tui", "demo-sampler", "--home", str(tmp_path), "--interval", "0.5",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert process.stdout is not None and process.stdin is not None
        process.stdin.write(b'{"v":2,"want":["cores"]}\n')
        sample = parse_sample(await process.stdout.readline())
        assert sample is not None and (sample.gpus[0].memory_used or 0) > GPU_ROOM
        process._transport.get_pipe_transport(1).close()  # type: ignore[attr-defined]  # nobody reads any more
        assert await process.wait() == 0
        await stream.aclose()  # type: ignore[attr-defined]
    finally:
        await provider.aclose()
        stop.set()
        await task
