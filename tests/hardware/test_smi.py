"""The makers' programs as the last resort: recorded answers, and programs that fail."""

from __future__ import annotations

import json
import stat
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.hardware import trees_gpu as trees
from tests.support.screen import FORBIDDEN
from tui.hardware import smi
from tui.hardware.sample import GPU_PROCESSES, Gpu, GpuProcess, Sample
from tui.hardware.sample_line import format_sample, parse_sample
from tui.hardware.smi import EVERY, Smi, parse_rocm
from tui.hardware.tools import run

LONG = (
    b"0, GPU-5a1e, NVIDIA GeForce RTX 3090, 97, 24576, 8192, 71, 40, 312.40, 350.00, 62, 1695, 2100, 9501, 3, 4, 8, 16,"
    b" [N/A], [N/A], 0x0000000000000024\n"
    b"1, GPU-77b0, NVIDIA T4, 0, 15360, 0, 45, 0, [Unknown Error], 70.00, [N/A], 300, 1590, 405, 1, 3, 16, 16, 0, 0, 0x0000000000000001\n"
)
ROCM = {
    "card0": {
        "Unique ID": "0xa1b2c3d4e5f60718",
        "Temperature (Sensor edge) (C)": "45.0",
        "Average Graphics Package Power (W)": "60.0",
        "Max Graphics Package Power (W)": "327.0",
        "GPU use (%)": "12",
        "GPU Memory Read/Write Activity (%)": "3",
        "VRAM Total Memory (B)": "25753026560",
        "VRAM Total Used Memory (B)": "1000000",
        "Fan speed (%)": "0",
        "Card Series": "Radeon RX 7900 XTX",
    },
    "card1": {"GPU use (%)": "N/A", "Card series": "N/A", "Card model": "0x74a1", "Temperature (Sensor junction) (C)": "50.0"},
    "system": {"Driver version": "6.7.0"},
}


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def source(answers: dict[str, bytes], makers: tuple[str, ...] = ("nvidia",)) -> tuple[Smi, list[str], Clock]:
    runs: list[str] = []
    clock = Clock()

    def ask(words: Sequence[str], _patience: float) -> bytes:
        runs.append(words[1])
        return next((answer for start, answer in answers.items() if words[1].startswith(start)), b"")

    return Smi(makers, ask, clock), runs, clock


def test_all_figures_of_nvidia_smi():
    tool, runs, clock = source({"--query-gpu=index,uuid": LONG, "--query-compute-apps": b"GPU-5a1e, 812, 6144\nGPU-5a1e, 900, [N/A]\n"})
    first, second = tool.read(frozenset({GPU_PROCESSES}))
    assert first == Gpu(
        "GPU-5a1e",
        0,
        "NVIDIA GeForce RTX 3090",
        source="nvidia-smi",
        percent=97.0,
        memory_total=24_576 * 2**20,
        memory_used=8192 * 2**20,
        temperature=71.0,
        memory_percent=40.0,
        power=312.4,
        power_limit=350.0,
        fan=62.0,
        clock=1695.0,
        clock_max=2100.0,
        memory_clock=9501.0,
        pcie_generation=3,
        pcie_generation_max=4,
        pcie_width=8,
        pcie_width_max=16,
        throttle=("thermal", "power"),
        processes=(GpuProcess(812, 6144 * 2**20), GpuProcess(900)),
    )
    assert (second.power, second.fan, second.throttle, second.ecc_corrected) == (None, None, (), 0)
    assert len(runs) == 2
    assert tool.read() == (first, second) and len(runs) == 2
    clock.now = EVERY
    tool.read()
    assert len(runs) == 3
    assert parse_sample(format_sample(Sample(time=1.0, gpus=(first, second)))) == Sample(time=1.0, gpus=(first, second))


def test_a_program_that_does_not_know_a_field_is_asked_for_less():
    short = b"0, GPU-5a1e, NVIDIA GeForce GTX 970, 97, 4096, 512, 71\n"
    runs: list[str] = []

    def ask(words: Sequence[str], _patience: float) -> bytes:
        runs.append(words[1])
        return short if words[1].endswith("temperature.gpu") else b""

    clock = Clock()
    tool = Smi(("nvidia",), ask, clock)
    assert tool.read()[0].percent == 97.0
    clock.now = EVERY
    assert tool.read()[0].memory_used == 512 * 2**20 and len(runs) == 3


def test_all_figures_of_rocm_smi():
    tool, _runs, _clock = source({"--showproductname": b"WARNING: low power state\n" + json.dumps(ROCM).encode()}, ("amd",))
    first, second = tool.read()
    assert (first.uuid, first.name, first.source) == ("AMD-a1b2c3d4e5f60718", "Radeon RX 7900 XTX", "rocm-smi")
    assert (first.percent, first.memory_percent, first.memory_total, first.memory_used) == (12.0, 3.0, 25_753_026_560, 1_000_000)
    assert (first.temperature, first.power, first.power_limit, first.fan) == (45.0, 60.0, 327.0, 0.0)
    assert (second.uuid, second.name, second.percent, second.temperature) == ("rocm-1", "0x74a1", None, 50.0)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"No devices were found\n",
        b"NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n",
        LONG[:60],
        b",".join([b"[N/A]"] * 21),
        b"\xff\xfe" * 4000,
        b"{" * 9000,
        b'{"card0": 5, "card\xc2\xb2": {}, "cardx": {}}',
    ],
)
def test_G06_odd_answers_are_no_gpu(answer: bytes):
    for makers in (("nvidia",), ("amd",)):
        tool, _runs, _clock = source({"": answer}, makers)
        assert tool.read() == () and tool.note.endswith("gives no figures")
    assert parse_rocm(answer) == []


def test_G06_X01_hostile_names_are_cleaned():
    named = LONG.replace(b"NVIDIA T4", b"\x1b[31m\xe2\x80\xae[b]T4").replace(b"GPU-77b0", b"GPU-\x07\x1b]0;x")
    told = json.dumps({"card0": {"Card Series": "Radeon \x1b[31m\u202e", "Unique ID": "\x1b"}}).encode()
    gpus = [*source({"": named})[0].read(), *parse_rocm(told)]
    assert len(gpus) == 3 and not any(FORBIDDEN & set(gpu.name + gpu.uuid) for gpu in gpus)


def program(folder: Path, name: str, body: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def test_only_where_a_card_and_its_program_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    trees.device(tmp_path, "0000:01:00.0", 0x10DE, 0x2204)
    assert smi.find(tmp_path) is None
    program(tmp_path, "nvidia-smi", "exit 0")
    program(tmp_path, "rocm-smi", "exit 0")
    found = smi.find(tmp_path)
    assert found is not None and (found.makers, found.name) == (("nvidia",), "nvidia-smi")
    assert smi.find(tmp_path, frozenset({"amd"})) is None and smi.find(tmp_path / "nothing") is None


def test_programs_speak_plain_english_and_have_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LANG", "de_DE.UTF-8")
    monkeypatch.setenv("LC_NUMERIC", "de_DE.UTF-8")
    program(tmp_path, "speak", 'printf "%s|%s|%s" "$LC_ALL" "$LANG" "$LC_NUMERIC"; echo warning >&2')
    assert run([str(tmp_path / "speak")], 5) == b"C||"
    program(tmp_path, "fail", "echo 97; exit 9")
    assert run([str(tmp_path / "fail")], 5) == b""
    program(tmp_path, "hang", "exec sleep 60")
    began = time.monotonic()
    assert run([str(tmp_path / "hang")], 0.05) == b"" and time.monotonic() - began < 10
    assert run([str(tmp_path / "missing")], 5) == b""
