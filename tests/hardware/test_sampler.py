"""The sampler as a process: its lines, its end, a driver that crashes or hangs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tui.hardware.sample import MACHINE_SOURCES, Sample
from tui.hardware.sample_line import parse_sample
from tui.hardware.wants_line import format_wants

ROOT = Path(__file__).parents[2]
RUN = "import sys; from tui.sampler import main; sys.exit(main(sys.argv[1:]))"


def environ(extra: str = "") -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [extra, str(ROOT)]))}


def sampler(*arguments: str, extra: str = "", talk: bool = False) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", RUN, "--interval", "0.5", *arguments]
    told = subprocess.PIPE if talk else subprocess.DEVNULL
    return subprocess.Popen(command, env=environ(extra), stdin=told, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def fake_library(folder: Path, body: str) -> str:
    folder.joinpath("pynvml.py").write_text(body)
    return str(folder)


def nvidia_here(folder: Path) -> str:
    """A root that looks as if the driver were there, and has this machine's own figures."""
    root = folder / "root"
    (root / "dev").mkdir(parents=True)
    (root / "dev/nvidiactl").touch()
    (root / "proc").symlink_to("/proc")
    (root / "sys").symlink_to("/sys")
    return str(root)


def test_it_prints_valid_lines():
    process = sampler("--no-gpu", "--count", "2", "--disk", str(ROOT))
    out, _ = process.communicate(timeout=20)
    first, second = map(parse_sample, out.splitlines())
    assert first is not None and second is not None
    assert first.seconds is None and second.seconds is not None and second.seconds >= 0.4
    assert second.cpu.percent is not None and second.disks[0].total
    assert second.gpu_note == ""


def read(process: subprocess.Popen[bytes]) -> Sample:
    assert process.stdout is not None
    found = parse_sample(process.stdout.readline())
    assert found is not None
    return found


def test_what_is_wanted_is_told_while_it_runs():
    process = sampler("--no-gpu", "--want", "processes", talk=True)
    assert process.stdin is not None
    first = read(process)
    assert first.processes and not first.cpu.cores
    process.stdin.write(b"nonsense\n" + format_wants({"cores"}))
    process.stdin.flush()
    while not (found := read(process)).cpu.cores:
        pass
    assert not found.processes and "processes" not in {source.name for source in found.sources}
    process.stdin.close()  # whoever told it is silent; it goes on
    assert read(process).cpu.percent is not None and len(read(process).cpu.cores) == len(found.cpu.cores)
    process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


def test_G04_P31_while_the_driver_hangs_all_else_is_measured(tmp_path: Path):
    folder = fake_library(tmp_path, "import time\ndef nvmlInit(): time.sleep(600)\n")
    process = sampler("--root", nvidia_here(tmp_path), "--count", "4", extra=folder)
    samples = [read(process) for _ in range(4)]
    assert process.wait(timeout=10) == 0  # a thread that hangs does not keep it
    process.communicate()
    assert [bool(sample.cpu.percent is not None and sample.memory.total) for sample in samples] == [False, True, True, True]
    assert {sample.gpu_note for sample in samples} == {"waiting for the GPU driver"}
    assert samples[-1].seconds is not None and samples[-1].seconds < 2
    assert [source.seconds for source in samples[-1].sources if source.name not in MACHINE_SOURCES] == [0.0]


def test_it_ends_when_nobody_reads():
    process = sampler("--no-gpu")
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=10) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's help is Linux's")
def test_P72_it_ends_with_its_parent_even_while_the_driver_hangs(tmp_path: Path):
    folder = fake_library(tmp_path, "import time\ndef nvmlInit(): time.sleep(600)\n")
    parent = (
        "import subprocess, sys, os\n"
        f"child = subprocess.Popen([sys.executable, '-c', {RUN!r}, '--root', {nvidia_here(tmp_path)!r}], stdout=subprocess.PIPE)\n"
        "print(child.pid, flush=True)\n"
        "sys.stdin.read()\n"
    )
    process = subprocess.Popen([sys.executable, "-c", parent], env=environ(folder), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdin is not None
    child = int(process.stdout.readline())
    command = Path(f"/proc/{child}/maps")
    deadline = time.monotonic() + 30
    while "_ctypes" not in command.read_text() and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    deadline = time.monotonic() + 30
    while Path(f"/proc/{child}").exists() and Path(f"/proc/{child}/stat").read_text().split()[2] != "Z":
        assert time.monotonic() < deadline, "the sampler stayed"
        time.sleep(0.02)


def test_G05_P31_a_crash_of_the_library_takes_only_this_process(tmp_path: Path):
    folder = fake_library(tmp_path, "import os, signal\ndef nvmlInit(): os.kill(os.getpid(), signal.SIGSEGV)\n")
    process = sampler("--root", nvidia_here(tmp_path), extra=folder)
    assert process.wait(timeout=20) == -signal.SIGSEGV
    process.communicate()


@pytest.mark.parametrize("body", ["raise RuntimeError('broken')", "", "nvmlInit = 5"])
def test_G01_a_broken_library_leaves_the_other_figures(tmp_path: Path, body: str):
    process = sampler("--count", "1", "--root", nvidia_here(tmp_path), extra=fake_library(tmp_path, body))
    out, _ = process.communicate(timeout=20)
    found = parse_sample(out)
    assert found is not None
    assert found.gpu_note and found.memory.total


@pytest.mark.parametrize("arguments", [["--interval", "0.1"], ["--interval", "x"], ["--nonsense"], ["--want", "all"]])
def test_P43_wrong_usage_ends_with_2(arguments: list[str]):
    process = sampler(*arguments)
    process.communicate(timeout=20)
    assert process.returncode == 2


@pytest.mark.skipif(sys.platform != "linux", reason="read from /proc")
def test_it_stays_light():
    code = "import sys\nfrom tui.sampler import main\nmain(['--count', '1'])\n"
    code += "heavy = [name for name in ('asyncio', 'pydantic', 'psutil', 'httpx', 'textual', 'tomllib') if name in sys.modules]\n"
    code += "peak = [line for line in open('/proc/self/status') if line.startswith('VmHWM')][0].split()[1]\n"
    code += "print(peak, heavy, file=sys.stderr)"
    made = subprocess.run([sys.executable, "-c", code], env=environ(), capture_output=True, text=True, check=True)
    used, heavy = made.stderr.split(" ", 1)
    assert heavy.strip() == "[]"
    assert int(used) < 30 * 1024
