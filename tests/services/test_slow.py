"""Why a model is slow: each check with the number that proves it, in the issue's order, first true cause first."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui.core.fit import Shape
from tui.core.models import RunningModel
from tui.core.monitor import Check, Loaded, Profile
from tui.hardware.sample import Cpu, Gpu, GpuProcess, MachineProcess, Memory, Power, Sample
from tui.services.monitor.slow import CAUSE, FINE, ORDER, UNKNOWN, SlowFacts, checks, summary

GB = 10**9
SHAPE = Shape(32, (8,) * 32, 128, 128, 4096, 128_256, 131_072)
"""128 KiB of cache a token."""


def card(**changes: Any) -> Gpu:
    values: dict[str, Any] = {
        "percent": 97.0, "memory_total": 24 * GB, "memory_used": 23 * GB, "clock": 1900.0, "clock_max": 1980.0, "temperature": 66.0,
        "power": 300.0, "power_limit": 350.0, "pcie_generation": 4, "pcie_generation_max": 4, "pcie_width": 16, "pcie_width_max": 16,
        "processes": (GpuProcess(10, 6 * GB, 90.0, "ollama", "ollama"),), **changes,
    }  # fmt: skip
    return Gpu("GPU-0", 0, **values)


def machine(*gpus: Gpu, **changes: Any) -> Sample:
    values: dict[str, Any] = {
        "cpu": Cpu(30.0, physical=8, count=16, frequency=3600.0, frequency_max=4000.0, temperature=60.0),
        "memory": Memory(32 * GB, 9 * GB, swap_in=0.0, swap_out=0.0, pressure=0.0),
        "power": Power(False, None, "performance"), **changes,
    }  # fmt: skip
    return Sample(1.0, gpus=gpus or (card(),), **values)


def model(**changes: Any) -> Loaded:
    listed = {"size": 7 * GB, "vram": 7 * GB, "context": 8192, **{key: changes.pop(key) for key in list(changes) if key in RUNNING}}
    return Loaded(RunningModel("box", "qwen3:8b", "qwen3:8b", **listed), True, **{"running": 1, "waiting": 0, "cards": "GPU0", **changes})


RUNNING = ("size", "vram", "context", "slots", "busy_slots")
HALF: dict[str, Any] = {"loaded": model(vram=int(4.4 * GB))}
NOTHING = SlowFacts(here=False)


def facts(**changes: Any) -> SlowFacts:
    values: dict[str, Any] = {
        "loaded": model(), "sample": machine(), "cards": ("GPU-0",), "pids": frozenset({10}), "shape": SHAPE, "longest": 5000, **changes,
    }  # fmt: skip
    return SlowFacts(**values)


def one(key: str, given: SlowFacts) -> Check:
    (found,) = (check for check in checks(given) if check.key == key)
    return found


def other(name: str, size: float, vram: float, **changes: Any) -> Loaded:
    return Loaded(RunningModel("box", name, name, int(size * GB), int(vram * GB)), True, **changes)


CASES: tuple[tuple[str, SlowFacts, str, str, str], ...] = (
    # --- part of the model on the CPU
    ("offload", facts(), FINE, "all of it (7.0 GB) is on the GPU", ""),
    ("offload", facts(loaded=model(vram=int(6.99 * GB))), FINE, "all of it (7.0 GB)", ""),
    ("offload", facts(**HALF), CAUSE, "37 % of it (2.6 GB) is on the CPU", "Choose a smaller model or a smaller quantization: 2.6 GB do"),
    ("offload", facts(loaded=model(vram=0, context=4096), others=(other("b", 9, 8),)), CAUSE, "all of it (7.0 GB) is on the CPU",
     "Unload b: frees 8.0 GB, then all of it should fit"),
    ("offload", facts(loaded=model(vram=int(4.4 * GB), context=32768)), CAUSE, "37 %",
     "Choose a context of 8,192: frees about 3.2 GB, then all of it should fit"),
    ("offload", facts(loaded=model(vram=int(4.4 * GB), context=32768, kv_bytes=2 * GB)), CAUSE, "37 %",
     "Choose a context of 8,192: frees 1.5 GB of the 2.6 GB that do not fit"),
    ("offload", facts(loaded=model(vram=int(4.4 * GB), context=32768, kv_bytes=2 * GB), others=(other("b", 1.2, 1.2),)), CAUSE, "37 %",
     "Unload b and choose a context of 8,192: frees 2.7 GB together"),
    ("offload", facts(**HALF, sample=machine(card(memory_used=4 * GB))), CAUSE, "37 %",
     "GPU0 has 20 GB free now: unload it and load it again"),
    ("offload", facts(loaded=model(vram=0), sample=machine(card(memory_used=GB))), CAUSE, "all of it", "see the server's log for why"),
    ("offload", facts(**HALF, sample=machine(card(processes=(GpuProcess(7, 6 * GB, 0.0, "python", "alice"),)))), CAUSE, "37 %",
     "End alice's python (pid 7): it has 6.0 GB of GPU0"),
    ("offload", facts(loaded=model(vram=0), sample=replace(machine(), gpus=())), CAUSE, "there is no GPU", "Choose a smaller model"),
    ("offload", facts(loaded=None), UNKNOWN, "it is not loaded", ""),
    ("offload", facts(loaded=model(vram=None)), UNKNOWN, "does not tell", ""),
    # --- context
    ("context", facts(), FINE, "8,192 tokens, the longest lately had 5,000", ""),
    ("context", facts(loaded=model(context=32768)), FINE, "a smaller one frees about 3.2 GB, but nothing is short", ""),
    ("context", facts(loaded=model(context=32768, vram=GB)), CAUSE, "32,768 tokens, the longest lately had 5,000",
     "Choose a context of 8,192: frees about 3.2 GB"),
    ("context", facts(loaded=model(context=32768, vram=GB), longest=200, shape=None), CAUSE, "had 200", "Choose a context of 4,096"),
    ("context", facts(loaded=model(context=4096, vram=GB), longest=200), FINE, "4,096 tokens", ""),
    ("context", facts(loaded=model(context=32768), sample=machine(memory=Memory(swap_in=9e6))), FINE, "nothing is short", ""),
    ("context", facts(loaded=model(context=32768, vram=0), sample=replace(machine(memory=Memory(swap_in=9e6)), gpus=())), CAUSE,
     "32,768 tokens", "Choose a context of 8,192: frees about 3.2 GB"),
    ("context", facts(longest=None), UNKNOWN, "8,192 tokens; no answer was measured yet", ""),
    ("context", facts(loaded=model(context=None)), UNKNOWN, "does not tell its context", ""),
    # --- swap
    ("swap", facts(), FINE, "0 B/s to and from swap, something waits for memory 0 % of the time", ""),
    ("swap", facts(sample=machine(memory=Memory(swap_in=4e6, swap_out=8e6))), CAUSE, "12 MB/s", "Choose a smaller model"),
    ("swap", facts(sample=machine(memory=Memory(pressure=34.0))), CAUSE, "waits for memory 34 % of the time", "Choose a smaller model"),
    ("swap", facts(sample=machine(memory=Memory(swap_in=4e6), processes=(MachineProcess(5, "firefox", "me", 6 * GB),))), CAUSE, "4.0 MB/s",
     "Close firefox (pid 5): it has 6.0 GB"),
    ("swap", facts(sample=machine(memory=Memory(swap_in=4e6)), others=(other("c", 5, 1),)), CAUSE, "4.0 MB/s",
     "Unload c: frees 4.0 GB of memory"),
    ("swap", facts(sample=machine(memory=Memory())), UNKNOWN, "does not tell", ""),
    # --- others on the card
    ("other", facts(), FINE, "only our servers are there", ""),
    ("other", facts(sample=machine(card(processes=(GpuProcess(7, 6 * GB, 44.0, "python", "alice"),)))), CAUSE,
     "alice's python (pid 7) has 6.0 GB of GPU0, 44 % use", "End python, or wait until it is done"),
    ("other", facts(sample=machine(card(processes=(GpuProcess(7, 4 * GB, None, "X"),))), **HALF), CAUSE, "X (pid 7) has 4.0 GB", "End X"),
    ("other", facts(sample=machine(card(processes=(GpuProcess(7, GB // 10, 0.0, "X"),)))), FINE,
     "1 other program with 100 MB, doing nothing there", ""),
    ("other", facts(others=(other("b", 3, 3, running=2, cards="GPU0"),)), CAUSE, "b works on 2 requests on GPU0", "Wait for b"),
    ("other", facts(others=(other("b", 3, 3, own=1),)), CAUSE, "b works on 1 request", "Wait for b"),
    ("other", facts(sample=machine(card(processes=(), hidden=2))), UNKNOWN, "2 of the processes there cannot be seen", ""),
    ("other", facts(sample=machine(card(processes=()))), UNKNOWN, "does not tell whose", ""),
    ("other", facts(cards=()), UNKNOWN, "not known on which card", ""),
    # --- throttling
    ("throttle", facts(), FINE, "GPU0: 66 °C, 1900 of 1980 MHz, 300 of 350 W", ""),
    ("throttle", facts(sample=machine(card(throttle=("thermal",), temperature=91.0))), CAUSE, "GPU0: thermal limit, 91 °C", "Cool it"),
    ("throttle", facts(sample=machine(card(throttle=("hardware",)))), CAUSE, "hardware limit", "power supply"),
    ("throttle", facts(sample=machine(card(throttle=("power",), clock=1200.0, power=180.0, power_limit=180.0))), CAUSE,
     "GPU0: power limit, 66 °C, 1200 of 1980 MHz, 180 of 180 W", "Raise its power limit (180 W)"),
    ("throttle", facts(sample=machine(card(throttle=("power",)))), FINE, "power limit", ""),
    ("throttle", facts(sample=machine(card(percent=0.0))), UNKNOWN, "does nothing now", ""),
    ("throttle", facts(sample=replace(machine(cpu=Cpu(90.0, temperature=99.0, frequency=1200.0, frequency_max=4000.0)), gpus=()),
                       cards=(), loaded=model(vram=0)), CAUSE, "the processor has 99 °C at 1200 of 4000 MHz", "Cool it"),
    ("throttle", facts(sample=replace(machine(), gpus=()), cards=(), loaded=model(vram=0)), FINE, "the processor has 60 °C", ""),
    # --- PCIe
    ("pcie", facts(), FINE, "GPU0: Gen4 x16", ""),
    ("pcie", facts(sample=machine(card(pcie_width=4))), FINE, "Gen4 x4 of Gen4 x16; with all of it on one card", ""),
    ("pcie", facts(sample=machine(card(pcie_width=4)), **HALF), CAUSE, "Gen4 x4 of Gen4 x16, and a part of it is on the CPU", "slot"),
    ("pcie", facts(sample=machine(card(pcie_generation=1)), **HALF), CAUSE, "Gen1 x16 of Gen4 x16", "slot"),
    ("pcie", facts(sample=machine(card(pcie_generation=1), replace(card(), uuid="GPU-1", index=1)), cards=("GPU-0", "GPU-1")), CAUSE,
     "it is on 2 cards", "slot"),
    ("pcie", facts(sample=machine(card(pcie_generation=1, percent=2.0))), UNKNOWN, "Gen1 x16 of Gen4 x16; the card rests now", ""),
    ("pcie", facts(sample=machine(card(pcie_width=None))), UNKNOWN, "the driver does not tell", ""),
    ("pcie", facts(sample=replace(machine(), gpus=(), gpu_note="no driver"), cards=()), UNKNOWN, "no driver", ""),
    # --- power
    ("power", facts(), FINE, "on mains power, performance, 3600 of 4000 MHz", ""),
    ("power", facts(sample=machine(power=Power(True, 43.0, "balanced"))), CAUSE, "on battery (43 %), balanced", "Plug it in"),
    ("power", facts(sample=machine(power=Power(None, None, "power-saver"))), CAUSE, "power-saver", "powerprofilesctl set performance"),
    ("power", facts(sample=machine(power=Power(None, None, "powersave"))), FINE, "powersave", ""),
    ("power", facts(sample=machine(power=Power(None, None, "powersave"), cpu=Cpu(80.0, frequency=900.0, frequency_max=4000.0))), CAUSE,
     "powersave, 900 of 4000 MHz", "performance"),
    ("power", facts(sample=machine(power=None)), UNKNOWN, "does not tell", ""),
    # --- threads
    ("threads", facts(threads=2), FINE, "the processor has no part in it", ""),
    ("threads", facts(**HALF), FINE, "the server chooses; there are 8 cores", ""),
    ("threads", facts(**HALF, threads=16, threads_of="num_thread of the model"), CAUSE, "16 threads (num_thread of the model) for 8 cores",
     "Set num_thread to 8"),
    ("threads", facts(**HALF, threads=3, threads_of="its command line"), CAUSE, "3 threads", "Set --threads to 8"),
    ("threads", facts(**HALF, threads=6), FINE, "6 threads for 8 cores", ""),
    ("threads", facts(**HALF, sample=machine(cpu=Cpu(1.0))), UNKNOWN, "how many cores", ""),
    # --- queue
    ("queue", facts(), FINE, "works on 1 request, 0 wait", ""),
    ("queue", facts(loaded=model(running=2, waiting=3, slots=2)), CAUSE, "works on 2 of 2 requests, 3 wait", "more slots"),
    ("queue", facts(loaded=model(running=3, own=1), limit=4), CAUSE, "works on 3 of 4 requests, 0 wait, 2 not from here", "Wait until"),
    ("queue", facts(loaded=model(running=None, waiting=None, own=2)), CAUSE, "2 answers of ours are written at once", "Let one end"),
    ("queue", facts(loaded=model(running=None, waiting=None)), UNKNOWN, "does not tell how many", ""),
)  # fmt: skip


@pytest.mark.parametrize(("key", "given", "state", "figure", "remedy"), CASES)
def test_a_check_has_its_number_and_one_thing_to_do(key: str, given: SlowFacts, state: str, figure: str, remedy: str) -> None:
    found = one(key, given)
    assert (found.state, figure in found.figure, remedy in found.remedy) == (state, True, True), found
    assert bool(found.remedy) == (state == CAUSE)


def test_every_state_of_every_check_is_in_the_table() -> None:
    assert {(key, state) for key, _given, state, *_ in CASES} == {(key, state) for key in ORDER for state in (CAUSE, FINE, UNKNOWN)}


def test_first_true_causes_then_what_is_fine_then_what_is_not_known() -> None:
    given = facts(loaded=model(vram=4 * GB, waiting=2), sample=machine(card(throttle=("thermal",), processes=()), power=None), longest=None)
    assert [(check.key, check.state) for check in checks(given)] == [
        ("offload", CAUSE), ("throttle", CAUSE), ("queue", CAUSE),
        ("swap", FINE), ("pcie", FINE), ("threads", FINE),
        ("context", UNKNOWN), ("other", UNKNOWN), ("power", UNKNOWN),
    ]  # fmt: skip


def test_of_a_server_elsewhere_only_what_its_api_tells_is_said() -> None:
    given = SlowFacts(here=False, loaded=replace(model(vram=GB, waiting=1), here=False), longest=3000)
    states = {check.key: (check.state, check.figure) for check in checks(given)}
    elsewhere = (UNKNOWN, "runs on another machine")
    assert {key for key, told in states.items() if told == elsewhere} == {"swap", "other", "throttle", "pcie", "power", "threads"}
    assert (states["offload"][0], states["context"][0], states["queue"][0]) == (CAUSE, CAUSE, CAUSE)


flags = st.booleans()


@given(
    st.builds(
        SlowFacts,
        here=flags,
        loaded=st.sampled_from([None, model(), model(vram=0), model(vram=None, size=None, context=None), model(context=131072, vram=GB)]),
        sample=st.sampled_from([None, machine(), replace(machine(), gpus=()), Sample(0.0), Sample(0.0, gpus=(Gpu("GPU-0", 0),))]),
        cards=st.sampled_from([(), ("GPU-0",), ("gone",)]),
        others=st.sampled_from([(), (other("b", 3, 3),), (other("b", 0, 0, running=1),)]),
        shape=st.sampled_from([None, SHAPE]),
        longest=st.sampled_from([None, 1, 5000, 10**9]),
        threads=st.sampled_from([None, 1, 99]),
    )
)
def test_whatever_is_known_there_is_one_answer_of_each_and_causes_come_first(given: SlowFacts) -> None:
    found = checks(given)
    assert sorted(check.key for check in found) == sorted(ORDER)
    assert [check.state for check in found] == sorted((check.state for check in found), key=(CAUSE, FINE, UNKNOWN).index)
    assert all(check.figure and check.title and bool(check.remedy) == (check.state == CAUSE) for check in found)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, ""),
        ({"rate": 12.3, "writes": True}, "writes 12 tok/s"),
        ({"rate": 12.3, "profile": Profile(answers=9, rate=48.0)}, "wrote 12 tok/s, usually 48"),
        ({"rate": 1.26, "writes": True, "profile": Profile(answers=9, rate=4.0)}, "writes 1.3 tok/s, usually 4.0"),
        ({"profile": Profile(answers=9, rate=48.0)}, "usually writes 48 tok/s (9 answers)"),
        ({"profile": Profile(answers=9)}, ""),
    ],
)
def test_the_present_rate_beside_the_usual_one(given: dict[str, Any], said: str) -> None:
    assert summary(SlowFacts(**given)) == said
