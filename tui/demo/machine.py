"""The demo's machine: a simulated box with one GPU, printed as the sampler prints a real one; its load follows the demo server."""

from __future__ import annotations

import argparse
import http.client
import json
import math
import os
import select
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tui.core.record import record
from tui.demo.launch import RECORD
from tui.hardware.sample import Cpu, Disk, Gpu, GpuProcess, MachineProcess, Memory, Network, Power, Sample, Source
from tui.hardware.sample_line import format_sample

GB: Final = 10**9
CORES: Final = 8
_RAM: Final = 31_200_000_000
_VRAM: Final = 24_000_000_000
_DRIVER: Final = 500_000_000
"""Bytes of GPU memory that no process names."""
_ALICE: Final = MachineProcess(4_200_812, "python", "alice", 3_100_000_000, 62.0)
"""Someone else at work on the machine; the process number is above what Linux gives."""
_ALICE_VRAM: Final = 5_900_000_000
_SERVER: Final = "ollama"


@record(frozen=True)
class Work:
    """What the demo server does: bytes of its models on the GPU and in main memory, answers it writes, bytes a second it pulls."""

    pid: int = 0
    vram: int = 0
    ram: int = 0
    writing: int = 0
    pulling: float = 0.0


def _wave(at: float, seconds: float, low: float, high: float) -> float:
    """A figure that wanders between two values, the same at the same time."""
    share = 0.5 + 0.3 * math.sin(2 * math.pi * at / seconds) + 0.2 * math.sin(2 * math.pi * at / (seconds / 3.7))
    return low + (high - low) * min(1.0, max(0.0, share))


class DemoMachine:
    """Makes samples; heat and power follow the work slowly, as they do."""

    def __init__(self) -> None:
        self._heat = 39.0
        self._before: float | None = None

    def sample(self, now: float, work: Work) -> Sample:
        """The machine at this time (epoch seconds)."""
        passed = None if self._before is None else max(0.0, now - self._before)
        self._before = now
        busy = _wave(now, 9, 91, 99) if work.writing else _wave(now, 47, 1, 6)
        goal = 36 + busy * 0.41
        self._heat += (goal - self._heat) * min(1.0, (passed or 1.0) / 25)
        cores = tuple(round(_wave(now + 3 * core, 13 + core, 4, 34 + 30 * (core < 2) * bool(work.writing)), 1) for core in range(CORES))
        held = 8 * GB + _ALICE.memory + work.ram + int(_wave(now, 71, 0, GB))
        used = min(held, _RAM - GB // 2)
        swapped = min(held - used, 8 * GB)
        swaps = round(_wave(now, 5, 4e6, 3e7)) if swapped and work.writing else 0
        written = work.pulling + _wave(now, 29, 0, 2e6)
        disk = Disk("/var/lib", 980 * GB, 696 * GB, 284 * GB, round(_wave(now, 23, 0, 3e6)), round(written))
        return Sample(
            time=round(now, 3),
            seconds=None if passed is None else round(passed, 3),
            cpu=Cpu(
                percent=round(sum(cores) / CORES, 1),
                cores=cores,
                load=(round(sum(cores) / 100, 2), 2.1, 1.8),
                frequency=round(_wave(now, 17, 2900, 4100)),
                temperature=round(_wave(now, 31, 48, 61)),
                count=CORES,
                physical=CORES // 2,
                frequency_max=4400.0,
                pressure=0.0,
            ),
            memory=Memory(
                _RAM,
                used,
                8 * GB,
                swapped,
                available=_RAM - used,
                cache=min(6 * GB, _RAM - used),
                swap_in=float(swaps),
                swap_out=swaps / 3,
                pressure=swaps / 1e6,
                pressure_full=swaps / 2e6,
            ),
            disks=(disk,),
            network=Network(round(work.pulling * 1.03 + _wave(now, 11, 1e3, 4e4)), round(_wave(now, 19, 1e3, 2e4))),
            gpus=(self._gpu(now, busy, work),),
            power=Power(False, None, "performance"),
            processes=(
                _ALICE,
                *((MachineProcess(work.pid, _SERVER, _SERVER, work.ram, 110.0 if work.writing else 0.3),) if work.pid and work.ram else ()),
                MachineProcess(4_200_300, "postgres", "postgres", 1_900_000_000, 4.0),
                MachineProcess(4_200_044, "firefox", "alice", 1_200_000_000, 2.5),
            ),
            sources=(Source("demo", 0.001, 1.0),),
        )

    def _gpu(self, now: float, busy: float, work: Work) -> Gpu:
        processes = [GpuProcess(_ALICE.pid, _ALICE_VRAM, round(_wave(now, 37, 0, 3), 1), _ALICE.name, _ALICE.user)]
        if work.vram and work.pid:
            processes.insert(0, GpuProcess(work.pid, work.vram, round(busy, 1), _SERVER, _SERVER))
        clock = 1400 + busy * 4.6
        return Gpu(
            "GPU-de300000-0000-0000-0000-000000003090",
            0,
            "NVIDIA GeForce RTX 3090",
            round(busy, 1),
            _VRAM,
            min(_VRAM, _DRIVER + _ALICE_VRAM + work.vram),
            round(self._heat, 1),
            round(24 + busy * 2.95, 1),
            350.0,
            round(clock),
            9501.0,
            tuple(processes),
            source="demo",
            memory_percent=round(busy * 0.7, 1),
            fan=round(max(0.0, (self._heat - 45) * 2), 0),
            clock_max=2100.0,
            pcie_generation=4 if work.writing else 1,
            pcie_generation_max=4,
            pcie_width=16,
            pcie_width_max=16,
            pcie_received=round(_wave(now, 7, 1e6, 8e7) if work.writing else 0.0),
            pcie_sent=round(_wave(now, 5, 1e5, 9e6) if work.writing else 0.0),
            ecc_corrected=None,
        )


def work_of(answer: Any, pid: int) -> Work:
    """What the demo server said at `/demo/work`; nothing where that is none of its answers."""
    if not isinstance(answer, Mapping):
        return Work()

    def figure(name: str) -> int:
        value = answer.get(name)
        return int(value) if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 2**50 else 0

    return Work(pid, figure("vram"), figure("ram"), figure("writing"), float(figure("pulling")))


def _ask(home: Path) -> Work:
    try:
        found = json.loads((home / RECORD).read_text(encoding="utf-8"))
        connection = http.client.HTTPConnection("127.0.0.1", int(found["port"]), timeout=0.5)
        try:
            connection.request("GET", "/demo/work")
            return work_of(json.loads(connection.getresponse().read(65_536)), int(found["pid"]))
        finally:
            connection.close()
    except (OSError, ValueError, KeyError, TypeError, http.client.HTTPException):
        return Work()


def run(argv: Sequence[str]) -> int:
    """Print samples until nobody reads; `--home` is the demo home's folder."""
    parser = argparse.ArgumentParser(prog="paddock demo-sampler")
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--interval", type=float, default=1.0)
    given = parser.parse_args(argv)
    machine, parent = DemoMachine(), os.getppid()
    due = time.monotonic()
    while os.getppid() == parent:
        try:
            os.write(1, format_sample(machine.sample(time.time(), _ask(given.home))))
        except OSError:
            return 0
        due = max(due + given.interval, time.monotonic())
        if not _wait(due):
            return 0
    return 0


def _wait(until: float) -> bool:
    """Sleep, reading away what is wanted: all of it is there; False as soon as nobody can read what is written."""
    poller = select.poll()
    poller.register(1, 0)
    poller.register(0, select.POLLIN)
    while (left := until - time.monotonic()) > 0:
        for handle, event in poller.poll(left * 1000):
            if handle == 1:
                return False
            if not event & select.POLLIN or not os.read(sys.stdin.fileno(), 65_536):
                poller.unregister(0)
    return True
