"""Models and the processes they are in: fake /proc trees, hidden and hostile ones."""

import os
from pathlib import Path
from typing import Any

import pytest

from tui.core.models import RunningModel
from tui.hardware.sample import Gpu, GpuProcess, Sample
from tui.providers.ports import Holder
from tui.services.monitor.joining import Join, Seen, join, look
from tui.services.own_use import Held, command_line, held, processes

GB = 10**9
A, B = "a" * 64, "b" * 64
BLOBS = "/usr/share/ollama/.ollama/models/blobs/sha256-"


def tree(root: Path, *rows: tuple[int, int, str, list[str], int, int]) -> Path:
    """A /proc: pid, parent, name, words, private and mapped kilobytes."""
    for pid, parent, name, words, private, mapped in rows:
        folder = root / "proc" / str(pid)
        folder.mkdir(parents=True)
        (folder / "stat").write_text(f"{pid} ({name}) S {parent} " + " ".join(["0"] * 9) + " 100 50 " + " ".join(["0"] * 30))
        (folder / "cmdline").write_bytes(b"\0".join(word.encode("utf-8", "surrogateescape") for word in words) + b"\0")
        (folder / "status").write_text(f"Name:\t{name}\nRssAnon:\t{private} kB\nRssFile:\t{mapped} kB\nRssShmem:\t0 kB\n")
    return root / "proc"


def model(name: str, size: float = 5, vram: float | None = None, provider: str = "lab") -> RunningModel:
    return RunningModel(provider, name, name, size=int(size * GB), vram=None if vram is None else int(vram * GB))


def sample(*gpus: list[tuple[int, float]], used: float = 12) -> Sample:
    return Sample(
        1.0,
        gpus=tuple(
            Gpu(
                f"G{index}",
                index,
                memory_total=24 * GB,
                memory_used=int(used * GB),
                processes=tuple(GpuProcess(pid, int(size * GB)) for pid, size in rows),
            )
            for index, rows in enumerate(gpus)
        ),
    )


def ollama(tmp_path: Path) -> Seen:
    proc = tree(
        tmp_path,
        (1, 0, "systemd", ["/sbin/init"], 10, 0),
        (100, 1, "ollama", ["/usr/bin/ollama", "serve"], 90_000, 20_000),
        (101, 100, "llama-server", ["llama-server", "--model", BLOBS + A, "--port", "4001"], 400_000, 6_000_000),
        (102, 100, "llama-server", ["llama-server", "--model", BLOBS + B, "--port", "4002"], 300_000, 1_000_000),
        (103, 102, "helper", ["helper"], 1000, 0),
        (200, 1, "python", ["python", "train.py", "--model", BLOBS + A], 5_000_000, 0),
    )
    return look({"lab": Holder(100)}, proc)


def test_runners_are_found_by_the_blob_they_were_given(tmp_path: Path) -> None:
    found = join(
        [model("a", 6, 6), model("b", 5, 4)],
        ollama(tmp_path),
        sample([(101, 3.5), (102, 4.5), (200, 7)], [(101, 3)]),
        {("lab", "a"): A, ("lab", "b"): B},
    )
    assert found["lab", "a"] == Join(frozenset({101}), {"G0": int(3.5 * GB), "G1": 3 * GB}, 409_600_000, 6_144_000_000)
    assert found["lab", "b"].pids == {102, 103} and found["lab", "b"].gpus == {"G0": int(4.5 * GB)} and not found["lab", "b"].about


def test_one_unknown_beside_a_known_one_has_the_rest(tmp_path: Path) -> None:
    found = join([model("a", 6, 6), model("b", 5, 4)], ollama(tmp_path), sample([(101, 6), (102, 4)]), {("lab", "a"): A})
    assert found["lab", "b"].pids == {102, 103} and not found["lab", "b"].about


def test_a_model_alone_has_all_of_its_server(tmp_path: Path) -> None:
    proc = tree(tmp_path, (7, 1, "vllm", ["vllm", "serve", "x"], 1000, 0), (8, 7, "core", ["core"], 2000, 0))
    found = join([model("x", 5)], look({"lab": Holder(7)}, proc), sample([(8, 20)]), {})
    assert found["lab", "x"].pids == {7, 8} and found["lab", "x"].gpus == {"G0": 20 * GB} and not found["lab", "x"].about


def test_several_models_in_one_process_share_it_by_size(tmp_path: Path) -> None:
    proc = tree(tmp_path, (7, 1, "lms", ["lmstudio"], 1000, 0))
    found = join([model("x", 6), model("y", 2)], look({"lab": Holder(7)}, proc), sample([(7, 12)]), {})
    assert found["lab", "x"].gpus == {"G0": 9 * GB} and found["lab", "y"].gpus == {"G0": 3 * GB}
    assert found["lab", "x"].about and found["lab", "y"].about


def test_of_models_in_one_process_the_one_on_the_processor_has_nothing_of_the_card() -> None:
    seen = Seen(families={"lab": frozenset({7})}, roots={"lab": 7}, held={7: Held(10 * GB)})
    found = join([model("big", 20, 16), model("late", 6, 0)], seen, sample([(7, 16)]), {})
    assert found["lab", "big"] == Join(frozenset({7}), {"G0": 16 * GB}, 4 * GB, 0, True, True)
    assert found["lab", "late"] == Join(frozenset({7}), {}, 6 * GB, 0, True, True)


def test_two_tags_of_the_same_weights_have_a_process_each(tmp_path: Path) -> None:
    proc = tree(
        tmp_path,
        (7, 1, "ollama", ["ollama"], 1, 0),
        *((pid, 7, "runner", ["ollama", "runner", "--model=" + BLOBS + A], 1, 0) for pid in (8, 9)),
    )
    found = join(
        [model("x", 5), model("y", 5)], look({"lab": Holder(7)}, proc), sample([(8, 5), (9, 5)]), {("lab", "x"): A, ("lab", "y"): A}
    )
    assert found["lab", "x"].pids == {8} and found["lab", "y"].pids == {9} and found["lab", "x"].about


def test_a_routers_children_are_known_by_name(tmp_path: Path) -> None:
    proc = tree(
        tmp_path,
        (7, 1, "llama-server", ["llama-server", "--models-dir", "/m"], 1, 0),
        (8, 7, "llama-server", ["llama-server", "-m", "/m/tiny.gguf", "--port", "9001"], 1, 0),
        (9, 7, "llama-server", ["llama-server", "--alias", "user/big:Q4", "--port", "9002"], 1, 0),
    )
    found = join([model("tiny", 1), model("user/big:Q4", 9)], look({"lab": Holder(7)}, proc), sample([(9, 9)]), {})
    assert found["lab", "tiny"].pids == {8} and found["lab", "user/big:Q4"].pids == {9}


def test_G09_hidden_processes_are_joined_by_size(tmp_path: Path) -> None:
    proc = tree(tmp_path, (1, 0, "systemd", ["init"], 1, 0), (50, 1, "game", ["game"], 1, 0))
    seen = look({"lab": Holder(None, uid=0)}, proc)
    found = join([model("a", 6, 6), model("b", 2, 2), model("c", 9, 9)], seen, sample([(900, 6.4), (901, 2.3), (902, 6.9), (50, 9)]), {})
    assert found["lab", "a"].gpus == {"G0": int(6.4 * GB)} and found["lab", "a"].about and not found["lab", "a"].pids
    assert found["lab", "b"].gpus == {"G0": int(2.3 * GB)}
    assert found["lab", "c"].gpus == {}  # the one that fits is somebody's that can be seen
    assert (found["lab", "b"].ram, found["lab", "b"].about_ram) == (0, True)


def test_a_server_in_a_container_is_known_by_its_weights_or_by_name_and_size(tmp_path: Path) -> None:
    proc = tree(
        tmp_path,
        (40, 1, "docker-proxy", ["docker-proxy"], 1, 0),
        (50, 1, "llama-server", ["llama-server", "--model", BLOBS + A], 1, 0),
        (51, 1, "ollama", ["ollama", "runner"], 1, 0),
        (52, 1, "python", ["python", "train.py"], 1, 0),
    )
    seen = look({"lab": Holder(40)}, proc, on_gpus=(50, 51, 52, 99))
    models = [model("a", 6, 6), model("b", 3, 3), model("c", 9, 9)]
    found = join(models, seen, sample([(50, 4), (51, 3.4), (52, 9.4)]), {("lab", "a"): A})
    assert found["lab", "a"].gpus == {"G0": 4 * GB} and found["lab", "a"].guessed == {50} and found["lab", "a"].about
    assert found["lab", "b"].guessed == {51}
    assert found["lab", "c"].gpus == {}  # somebody's training is no model of ours


def test_a_driver_without_processes_says_where_it_is_if_there_is_one_gpu() -> None:
    assert join([model("a", 6, 6)], Seen(), sample([]), {})["lab", "a"].gpus == {"G0": 6 * GB}
    assert join([model("a", 6, 6)], Seen(), sample([], []), {})["lab", "a"].gpus == {}
    assert join([model("a", 6, 6)], Seen(), sample([], used=2), {})["lab", "a"].gpus == {}


def test_a_model_on_the_processor(tmp_path: Path) -> None:
    found = join([model("a", 6, 0)], ollama(tmp_path), sample([(200, 6)]), {("lab", "a"): A})["lab", "a"]
    assert found.gpus == {} and found.ram == 409_600_000 and found.mapped == 6_144_000_000
    assert join([model("a", 6, 2)], Seen(), Sample(1.0), {})["lab", "a"] == Join(ram=4 * GB, about_ram=True)


def test_G10_hostile_command_lines_are_cleaned_and_bounded(tmp_path: Path) -> None:
    words = ["python", "\x1b]0;x\x07[bold red]", "\udcff\udcfe", "--model=" + "x" * 9000, *["y"] * 5000]
    proc = tree(tmp_path, (7, 1, "ev\x1bil) S 1 (", words, 1, 1))
    found = command_line(7, proc)
    assert len(found) <= 512 and all("\x1b" not in word and len(word) <= 4096 for word in found)
    assert "\x1b" not in processes(proc)[7].name and processes(proc)[7].parent == 1


@pytest.mark.parametrize("content", [b"", b"7", b"7 (x", b"7 (x) S", b"\xff" * 50, b"7 (x) S a b c d e f g h i j k l m n"])
def test_G09_broken_and_vanishing_processes_are_left_out(tmp_path: Path, content: bytes) -> None:
    proc = tree(tmp_path, (7, 1, "good", ["good"], 1, 1), (8, 7, "bad", ["bad"], 1, 1))
    (proc / "8" / "stat").write_bytes(content)
    (proc / "9").mkdir()
    assert set(processes(proc)) == {7}
    assert command_line(9, proc) == () and held(9, proc) == Held()
    assert look({"lab": Holder(8), "other": Holder(12345)}, proc).families == {"lab": frozenset(), "other": frozenset()}


def test_G09_nothing_can_be_read(tmp_path: Path) -> None:
    proc = tree(tmp_path, (7, 1, "x", ["x"], 1, 1))
    for name in ("stat", "cmdline", "status"):
        (proc / "7" / name).unlink()
        os.mkfifo(proc / "7" / name)  # an answer that never comes
    assert processes(proc) == {} and command_line(7, proc) == () and held(7, proc) == Held()
    assert processes(tmp_path / "nowhere") == {}


def test_this_process_is_found() -> None:
    me: Any = processes()[os.getpid()]
    assert me.uid == os.getuid() and command_line(os.getpid()) and held(os.getpid()).private > 1_000_000
