"""status --line out of the last sample's file: where it is, who writes it, who may, and what it says."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.cli.conftest import HOSTILE, Run, Said, controls
from tests.cli.test_process import environment
from tests.support.fault_server import Exchange, FaultServer
from tui.__main__ import main
from tui.cli import line, quick
from tui.config.paths import find_paths
from tui.core import places
from tui.core.clock import ManualClock
from tui.core.jobs import JobState, QueueView
from tui.core.models import Endpoint, Origin, ProviderState, ProviderStatus, RunningModel
from tui.core.monitor import Alert, AlertsView
from tui.core.options import AppOptions
from tui.core.places import LAST_LIMIT, LAST_VERSION, folders, last_file
from tui.hardware.sample import Cpu, Gpu, Memory, Sample
from tui.providers.address import ollama_host
from tui.services.hub import Hub
from tui.services.monitor import last
from tui.text import size

LAST: dict[str, Any] = {
    "v": LAST_VERSION,
    "host": os.uname().nodename,
    "every": 1.0,
    "cpu": 34,
    "ram": 41,
    "gpus": [{"label": "GPU0", "name": "RTX 3090", "percent": 97, "used": 13_500_000_000, "total": 24_000_000_000}],
    "machine": "gpu-box",
    "server": {"name": "ollama", "up": True},
    "models": [{"name": "qwen3:8b", "size": 5_200_000_000, "provider": "ollama"}],
    "more": 0,
    "pulls": {"states": {"fetching": 2}, "running": 2, "rate": 38_000_000, "percent": 62},
    "alerts": {"count": 1, "newest": "GPU0 86 \u00b0C, over 85 \u00b0C for 31s"},
    "binary": False,
    "ascii": False,
}
WHOLE = "gpu-box  CPU 34%  RAM 41%  GPU0 97% 13.5/24G  qwen3:8b  \u21932 38M/s 62%  !1\n"
IDLE = {"models": [], "pulls": {"states": {}, "running": 0, "rate": None, "percent": None}, "alerts": {"count": 0, "newest": ""}}


def keep(path: str | Path, **changes: Any) -> Path:
    """Write the file as an app does, a moment ago."""
    path = Path(path)
    path.parent.mkdir(0o700, parents=True, exist_ok=True)
    path.write_text(json.dumps({"at": time.time(), **LAST, **changes}), "utf-8")
    path.chmod(0o600)
    return path


@pytest.fixture
def there(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the file of this home is; nobody but it is asked."""
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    for whole in ("tui.cli.main", "tui.cli.quick.answer"):
        monkeypatch.setattr(whole, lambda *_words, **_more: 99)
    return Path(last_file(os.environ))


@pytest.fixture
def say(there: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def one(*argv: str, **_options: Any) -> Said:
        capsys.readouterr()
        code = main([*argv])
        said = capsys.readouterr()
        return Said(code, said.out, said.err)

    return one


# --- where it is ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("demo", [False, True])
@pytest.mark.parametrize(
    "environ",
    [
        {"HOME": "/home/me"},
        {},
        {"HOME": "relative"},
        {"HOME": "/home/me", "XDG_STATE_HOME": "/s", "XDG_CONFIG_HOME": "/c", "XDG_DATA_HOME": "/d"},
        {"HOME": "/home/me", "XDG_STATE_HOME": "s", "XDG_CONFIG_HOME": "", "PADDOCK_CONFIG": "/x/../y/c.toml"},
        {"HOME": "/home/me", "PADDOCK_HOME": "/p/../q", "PADDOCK_CONFIG": "~/c.toml"},
        {"PADDOCK_HOME": "/tmp/\udcff"},
    ],
)
def test_both_processes_find_the_same_folders(environ: dict[str, str], demo: bool) -> None:
    for given in ("", "/etc/p.toml"):
        paths = find_paths(config=Path(given) if given else None, demo=demo, environ=environ)
        found = folders(environ, demo=demo, config=given)
        assert found == (str(paths.data), str(paths.state), str(paths.config_file))
        # the app passes the file it uses, the line what was typed
        assert last_file(environ, demo=demo, config=given) == last_file(environ, demo=demo, config=str(paths.config_file))


def test_it_is_in_memory_where_the_account_has_a_folder_there(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path)}
    folder = tmp_path / str(os.getuid())
    run = str(tmp_path)
    assert last_file(environ, run=run).startswith(f"{tmp_path}/.local/state/paddock/last-")
    folder.mkdir(0o700)
    found = last_file(environ, run=run)
    assert Path(found).parent == folder / "paddock"
    assert last_file({**environ, "PADDOCK_CONFIG": "/c.toml"}, run=run) != found, "another configuration has another server"
    assert last_file({"HOME": "/other"}, run=run) != found
    assert last_file(environ, run=run, demo=True).startswith(f"{tmp_path}/.local/share/paddock/demo/state/")
    assert last_file({**environ, "PADDOCK_HOME": str(tmp_path)}, run=run).startswith(f"{tmp_path}/state/")
    folder.chmod(0o777)
    assert not last_file(environ, run=run).startswith(str(folder)), "anybody could write there"
    folder.rmdir()
    folder.symlink_to(tmp_path)
    assert not last_file(environ, run=run).startswith(str(folder))


def test_a_folder_of_another_account_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "4242").mkdir(0o700)
    monkeypatch.setattr(places.os, "getuid", lambda: 4242)
    assert "/4242/" not in last_file({"HOME": str(tmp_path)}, run=str(tmp_path))


# --- who writes it ----------------------------------------------------------------------------------------------------


def sample(cpu: float = 34.4, **changes: Any) -> Sample:
    gpu = Gpu("GPU-1", 0, "RTX 3090", percent=97, memory_used=13_500_000_000, memory_total=24_000_000_000)
    return Sample(1_000.0, 1.0, Cpu(cpu), Memory(100, 41), gpus=(gpu,), **changes)


class Writer:
    """A last file with its hands on a clock."""

    def __init__(self, place: Path) -> None:
        self.place, self.clock, self.told = place, ManualClock(), 0
        self.file = last.LastFile(lambda: str(place), self._tell, self.clock)

    def _tell(self) -> dict[str, Any]:
        self.told += 1
        return {"machine": "box"}

    def take(self, seconds: float, cpu: float) -> bool:
        """Give it a sample; whether it wrote."""
        before = self.place.stat().st_ino if self.place.exists() else 0
        kept = self.place.read_bytes() if before else b""
        self.clock.advance(seconds)
        self.file.take(replace(sample(cpu), time=1000 + self.clock.monotonic()), 1.0)
        return self.place.exists() and self.place.read_bytes() != kept


def test_it_is_written_every_two_seconds_at_most_and_when_something_changed(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "paddock" / "last.json")
    assert writer.take(0, 10)
    assert not writer.take(1, 20) and writer.told == 1, "not even asked"
    assert writer.take(1, 20)
    assert not writer.take(2, 20.3), "the line would say the same"
    assert not writer.take(2, 20.4)
    assert writer.take(1, 20.4), "or it would look as if nobody measured"
    found = json.loads(writer.place.read_text())
    assert (found["cpu"], found["ram"], found["gpus"][0]["label"], found["every"]) == (20, 41, "GPU0", 1.0)
    assert writer.place.stat().st_mode & 0o777 == 0o600 and writer.place.parent.stat().st_mode & 0o777 == 0o700
    assert [one.name for one in writer.place.parent.iterdir()] == ["last.json"]


def test_what_cannot_be_written_is_of_no_matter(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert not Writer(tmp_path / "file" / "last.json").take(0, 1)
    assert not Writer(tmp_path / "no" / "such" / "last.json").take(0, 1)
    last.write(str(tmp_path / "large"), b"x" * (LAST_LIMIT + 1))
    assert not (tmp_path / "large").exists()


def test_a_link_in_its_place_is_replaced_and_not_followed(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.write_text("kept")
    place = tmp_path / "last.json"
    place.symlink_to(mine)
    (tmp_path / f"last.json.{os.getpid()}").symlink_to(mine)
    last.write(str(place), b"{}")
    assert mine.read_text() == "kept" and not place.is_symlink() and place.read_text() == "{}"


def test_an_app_tells_everything_the_line_needs(home: Path, say: Run, there: Path) -> None:
    endpoint = Endpoint("ollama", "ollama", "http://127.0.0.1:1")
    models = tuple(RunningModel("ollama", f"m{number}:1b", f"m{number}:1b", size=1_000_000_000) for number in range(12))
    alert = Alert(1, "gpu_temperature", "GPU0", 91.0, 85.0, time.time() - 5)
    seen = Alert(2, "vram", "GPU0", 99.0, 95.0, time.time() - 4, acknowledged=True)
    hub: Any = SimpleNamespace(
        paths=find_paths(),
        settings=lambda: SimpleNamespace(
            appearance=SimpleNamespace(units="binary", ascii="auto"), monitor=SimpleNamespace(temperature_unit="F")
        ),
        monitor=SimpleNamespace(machine=lambda: "box", alerts=SimpleNamespace(value=AlertsView(active=(seen, alert)))),
        watching=SimpleNamespace(
            default=lambda: ProviderState(endpoint, Origin.CONFIG, ProviderStatus.BUSY), running=SimpleNamespace(value=models)
        ),
        jobs=SimpleNamespace(view=SimpleNamespace(value=QueueView())),
        environ=os.environ,
        is_demo=False,
        clock=ManualClock(time.time()),
    )
    there.parent.mkdir(exist_ok=True)
    last.last_of(hub).take(replace(sample(), time=time.time()), 1.0)
    said = say("status", "--line")
    assert said.out == "box  CPU 34%  RAM 41%  GPU0 97% 12.6/22G  m0:1b  m1:1b  m2:1b  +9  !1\n" and said.code == 0
    tip = say("status", "--line", "--for", "waybar").json["tooltip"]
    assert "m7:1b 954 MiB ollama" in tip and "! GPU0 196 \u00b0F, over 185 \u00b0F" in tip


def test_the_hub_writes_it_when_a_sample_comes(home: Path, there: Path) -> None:
    hub = Hub(find_paths(), AppOptions(), dict(os.environ), start_sampler=False)
    there.parent.mkdir(exist_ok=True)
    assert hub._tell_last in hub.monitor.sampling.taken and not there.exists()
    hub._tell_last(replace(sample(), time=time.time()), 1.0)
    hub.close()
    found = line.read(str(there))
    assert found is not None and found["cpu"] == 34 and found["models"] == [] and found["alerts"]["count"] == 0


# --- what it says -----------------------------------------------------------------------------------------------------


def test_the_line_and_its_forms(say: Run, there: Path) -> None:
    keep(there)
    assert (say("status", "--line").out, say("status", "--line").code) == (WHOLE, 0)
    keep(there, machine="a#b")
    assert say("status", "--line", "--for", "tmux").out == WHOLE.replace("gpu-box", "a##b")
    assert say("status", "--for=tmux", "--line").code == 99, "the whole program reads what is not usual"
    assert say("status", "--line", "--for=starship").out == WHOLE.removeprefix("gpu-box  ")
    found = say("status", "--line", "--for", "waybar").json
    assert found["class"] == "alert" and found["text"] == WHOLE.replace("gpu-box", "a#b").strip()
    assert "GPU0 97% 13.5/24G  RTX 3090" in found["tooltip"] and "qwen3:8b 5.2 GB ollama" in found["tooltip"]


def test_a_prompt_shows_nothing_while_nothing_goes_on(say: Run, there: Path) -> None:
    keep(there, **IDLE)
    assert say("status", "--line", "--for", "starship").out == ""
    assert say("status", "--line").out == "gpu-box  CPU 34%  RAM 41%  GPU0 97% 13.5/24G\n"
    assert say("status", "--line", "--for", "waybar").json["class"] == "idle"


def test_a_server_that_is_down_is_said(say: Run, there: Path) -> None:
    keep(there, **IDLE, server={"name": "ollama", "up": False})
    said = say("status", "--line")
    assert said.code == 4 and said.out.endswith("  ollama down\n")
    assert say("status", "--line", "--for", "tmux").code == 0, "a bar would hide it"
    assert say("status", "--line", "--for", "waybar").json["class"] == "down"


def test_what_is_not_known_is_left_out(say: Run, there: Path) -> None:
    gpus = [{"label": f"GPU{number}", "name": "", "percent": None, "used": None, "total": None} for number in range(9)]
    keep(there, **IDLE, cpu=None, ram=None, gpus=gpus, server=None)
    assert say("status", "--line").out == "gpu-box  GPU0  GPU1  GPU2  GPU3  +5\n"


def test_T_ascii_by_locale_and_option(say: Run, there: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(there, machine="k\u00e4fer")
    assert say("--ascii", "status", "--line").out.startswith("k?fer") and "  v2 38M/s" in say("--ascii", "status", "--line").out
    monkeypatch.setenv("LC_ALL", "C")
    assert say("status", "--line").out.isascii()
    monkeypatch.setenv("LC_ALL", "de_DE.utf8")
    assert not say("status", "--line").out.isascii()
    keep(there, ascii=True)
    assert say("status", "--line").out.isascii(), "appearance.ascii of the app"


@pytest.mark.parametrize("form", ["", "tmux", "starship", "waybar"])
def test_X02_hostile_names_reach_no_terminal_and_no_markup(say: Run, there: Path, form: str) -> None:
    evil = f"{HOSTILE}<b>&'\"#[fg=red]\n{'x' * 300}"
    models = [{"name": evil, "size": 1, "provider": evil}]
    keep(there, machine=evil, models=models, alerts={"count": 1, "newest": evil}, server={"name": evil, "up": False})
    said = say("status", "--line", *(["--for", form] if form else []))
    assert not controls(said.out) and len(said.lines) == 1 and len(said.out) < 2000
    if form == "waybar":
        found = said.json
        assert "<b>" not in found["text"] + found["tooltip"] and "&lt;b&gt;&amp;&#39;" in found["text"]
        assert not controls(found["text"] + found["tooltip"])
    if form == "tmux":
        assert "##[fg=red]" in said.out and not said.out.replace("##", "").count("#")


def test_sizes_are_those_of_all_other_places() -> None:
    for count in (0, 1, 999, 1000, 1023, 1024, 9_949, 9_950, 99_949, 999_499, 999_500, 5.2e9, 999e9, 1e12, 3e14):
        for binary in (False, True):
            assert line.size(count, 1024.0 if binary else 1000.0) == size(count, binary=binary), count


# --- what is not believed ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [{"at": 0.0}, {"at": "soon"}, {"v": 99}, {"host": "elsewhere"}, {"cpu": "34"}, {"gpus": None}, {"models": [1]}, {"every": None},
     {"pulls": {}}, {"server": {"name": 7, "up": False}}, {"at": 1e300}, {"machine": None}, {"alerts": []}, {"cpu": 3.5}],
)  # fmt: skip
def test_what_is_odd_old_or_of_another_machine_is_not_shown(say: Run, there: Path, changes: dict[str, Any]) -> None:
    keep(there, **changes)
    assert say("status", "--line").code == 99


def test_how_old_it_may_be(there: Path) -> None:
    keep(there, at=1000.0, every=1.0)
    assert line.read(str(there), 1010.0) and not line.read(str(there), 1010.1)
    assert line.read(str(there), 995.0) and not line.read(str(there), 980.0), "the clock was set back: how old it is, nobody knows"
    keep(there, at=1000.0, every=30.0)
    assert line.read(str(there), 1090.0) and not line.read(str(there), 1091.0)


def test_half_of_a_file_too_much_of_one_and_what_is_no_file(there: Path, tmp_path: Path) -> None:
    text = keep(there).read_text()
    assert line.read(str(there))
    for bad in (text[: len(text) // 2], "", "[]", "null", "[" * 60_000, text + " " * LAST_LIMIT):
        there.write_text(bad)
        assert line.read(str(there)) is None, bad[:20]
    there.unlink()
    other = keep(tmp_path / "other.json")
    there.symlink_to(other)
    assert line.read(str(there)) is None, "a link may lead anywhere"
    there.unlink()
    os.mkfifo(there)
    assert line.read(str(there)) is None
    there.unlink()
    there.mkdir()
    assert line.read(str(there)) is None
    assert line.read(str(there / "no" / "such")) is None and line.read("\0") is None


def test_a_file_that_another_account_wrote_or_could_write_is_refused(there: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(there)
    there.chmod(0o660)
    assert line.read(str(there)) is None
    there.chmod(0o600)
    assert line.read(str(there))
    monkeypatch.setattr(line.os, "geteuid", lambda: 4242)
    assert line.read(str(there)) is None


def test_other_words_are_left_to_the_whole_program(say: Run, there: Path) -> None:
    keep(there)
    for words in (["status"], ["status", "--json"], ["status", "--line", "--json"], ["status", "--line", "--for", "zsh"]):
        assert say(*words).code == 99, words
    assert say("--provider", "http://127.0.0.1:1", "status", "--line").code == 99
    assert say("--config", "/other.toml", "status", "--line").code == 99


# --- the process ------------------------------------------------------------------------------------------------------


def test_the_line_imports_next_to_nothing(home: Path) -> None:
    keep(last_file({"PADDOCK_HOME": str(home)}))
    script = (
        "import json, sys\nfrom tui.__main__ import main\ncode = main(['status', '--line'])\n"
        "names = ('asyncio', 'pathlib', 'tomllib', 'argparse', 'dataclasses', 'typing', 'socket', 'sqlite3', 'inspect', 'tui.text')\n"
        "print(json.dumps([code, [name for name in names if name in sys.modules]]))"
    )
    command = [sys.executable, "-S", "-c", script]  # without what a site's .pth files import
    root = str(Path(line.__file__).parents[2])
    done = subprocess.run(command, env=environment(home, PYTHONPATH=root), capture_output=True, text=True, timeout=60, check=True)
    said, found = done.stdout.splitlines()
    assert f"{said}\n" == WHOLE and json.loads(found) == [0, []]


def test_the_line_without_a_home_and_without_anybody_who_reads(tmp_path: Path) -> None:
    home = str(tmp_path)
    keep(last_file({"PADDOCK_HOME": home}))
    for shell in ('exec "$0" -m tui status --line >&-', '"$0" -m tui status --line | true', 'exec "$0" -m tui status --line'):
        done = subprocess.run(
            ["sh", "-c", shell, sys.executable], env={"PADDOCK_HOME": home, "PATH": os.environ["PATH"]}, capture_output=True, text=True,
            timeout=60, check=False, cwd=Path(line.__file__).parents[2],
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, ""), shell


# --- where nobody measures --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "expected"),
    [("http://127.0.0.1:11434", ("127.0.0.1", 11434)), ("http://[::1]:8000/", ("::1", 8000)), ("http://box", ("box", 80)),
     ("http://0.0.0.0:1", ("127.0.0.1", 1)), ("http://box:0", None), ("http://box:70000", None), ("https://box:1", None),
     ("http://a@box:1", None), ("http://box/prefix", None), ("http://b ox", None), ("unix:///s", None), ("http://box:1\r\nX: y", None)],
)  # fmt: skip
def test_only_plain_addresses_are_asked_the_short_way(url: str, expected: tuple[str, int] | None) -> None:
    assert quick.target(url) == expected


@pytest.mark.parametrize(
    "named", ["127.0.0.1", "box:8000", "0.0.0.0", "[::1]", "[::1]:8000", "http://box", "http://box:8000", " box ", "x/y"]
)
def test_OLLAMA_HOST_means_what_it_means_everywhere(named: str) -> None:
    environ = {"OLLAMA_HOST": named}
    plan, url = quick.make_plan("/nowhere/config.toml", environ), ollama_host(environ)
    assert url is not None and quick.target(url) == (quick.target(plan.url) if plan else None)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n{\"models\":[]}", {"models": []}),
        (b"HTTP/1.0 200 OK\r\n\r\n{\"models\":[]}", {"models": []}),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4;x=y\r\n{\"mo\r\n9\r\ndels\":[]}\r\n0\r\n\r\n", {"models": []}),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{\"models\":[]}", None),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n{\"mo", None),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}", None),
        (b"SSH-2.0-OpenSSH_9\r\n", None),
        (b"", None),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"[" * 100_000, None),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b" " * (quick.LIMIT + 9), None),
    ],
)  # fmt: skip
def test_answers_whole_cut_and_odd(answer: bytes, expected: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            line, _ = server.accept()
            with line, contextlib.suppress(OSError):
                line.recv(4096)
                line.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        if expected is None:
            with pytest.raises((ValueError, OSError, RecursionError)):
                quick.get(url, "/api/ps")
        else:
            assert quick.get(url, "/api/ps") == expected
        thread.join(10)


def test_pulls_are_counted_without_the_store(home: Path) -> None:
    assert set(quick.STATES) == {state.value for state in JobState}
    data = home / "a?b#c%25"
    assert quick.pulls(str(data)) == {}
    data.mkdir()
    database = sqlite3.connect(data / "paddock.db")
    database.execute("CREATE TABLE job (state TEXT)")
    database.executemany("INSERT INTO job VALUES (?)", [("fetching",), ("waiting",), ("waiting",), ("of tomorrow",)])
    database.commit()
    database.close()
    assert list(quick.pulls(str(data)).items()) == [("waiting", 2), ("fetching", 1)]
    (data / "paddock.db").write_bytes(b"no database at all" * 100)
    with pytest.raises(OSError):
        quick.pulls(str(data))
    (data / "hosts").mkdir()
    with pytest.raises(OSError):
        quick.pulls(str(data))


def test_the_forms_where_the_server_is_asked(server: FaultServer, run: Run, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def ps(exchange: Exchange) -> None:
        await exchange.json({"models": [{"name": "a#b<c>", "size": 5_200_000_000}]})

    server.routes["/api/ps"] = ps
    for short in (True, False):  # the second way is the whole program's
        if short:
            monkeypatch.delenv("PADDOCK_GENERAL__DISCOVER")
            monkeypatch.setattr("tui.cli.program.run", lambda *_: pytest.fail("the whole program was needed"))
            monkeypatch.setattr("tui.cli.quick.PATIENCE", 30.0)
        else:
            monkeypatch.undo()
            monkeypatch.setenv("PADDOCK_HOME", str(home))
            monkeypatch.setenv("OLLAMA_HOST", server.url)
            monkeypatch.setenv("PADDOCK_GENERAL__DISCOVER", "false")
            monkeypatch.setattr("tui.cli.machine.PATIENCE", 30.0)
        assert run("status", "--line", "--for", "tmux").out == "ollama up  a##b<c> 5.2 GB\n"
        assert run("status", "--line", "--for", "starship").out == "a#b<c> 5.2 GB\n"
        found = run("status", "--line", "--for", "waybar").json
        assert (found["text"], found["class"]) == ("ollama up  a#b&lt;c&gt; 5.2 GB", "loaded")
    monkeypatch.setenv("OLLAMA_HOST", "http://127.0.0.1:9")
    said = run("status", "--line", "--for", "starship")
    assert (said.code, said.out) == (0, "")
    assert run("status", "--line").code == 4
