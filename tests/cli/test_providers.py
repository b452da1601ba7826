"""providers, status and doctor."""

from __future__ import annotations

import json
import stat
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Run, Typed, provider
from tests.cli.test_changes import audit
from tests.support.fault_server import Exchange, FaultServer
from tui.cli import machine, quick
from tui.cli import providers as command
from tui.config.paths import find_paths
from tui.core.models import Endpoint
from tui.providers.ports import Holder
from tui.services.jobs import Jobs
from tui.store.meta import Servers


async def _v1(exchange: Exchange) -> None:
    await exchange.json({"object": "list", "data": [{"id": "tiny:latest", "object": "model", "created": 1, "owned_by": "library"}]})


async def _root(exchange: Exchange) -> None:
    await exchange.reply(200, b"Ollama is running", {"content-type": "text/plain"})


def identified(server: FaultServer) -> None:
    """Answer as Ollama does when it is asked who it is."""
    server.routes |= {"/v1/models": _v1, "/": _root}


def test_the_list_tells_who_answers_and_who_is_off(server: FaultServer, run: Run, configure) -> None:
    configure(
        '[general]\ndefault_provider = "box"\n'
        + provider("box", server.url)
        + provider("shut", "http://127.0.0.1:9")
        + provider("rest", "http://127.0.0.1:9", enabled="false")
    )
    said = run("providers")
    assert said.code == 0
    assert said.lines[0].split() == ["NAME", "KIND", "ADDRESS", "VERSION", "ANSWERS"]
    assert "box (default)" in said.lines[1] and "0.24.0" in said.lines[1] and " ms" in said.lines[1]
    assert "nothing is listening" in said.lines[2] and "switched off" in said.lines[3]
    found = run("providers", "--json").json["providers"]
    assert [one["ok"] for one in found] == [True, False, None]
    assert not any("key" in one for one in found)
    assert run("ls", "--on", "rest").code == 3


def test_nobody_is_4(run: Run, configure) -> None:
    assert run("providers").code == 4
    configure(provider("shut", "http://127.0.0.1:9"))
    assert run("providers").code == 4


def test_add_looks_names_and_saves(server: FaultServer, run: Run, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OLLAMA_HOST")
    identified(server)
    said = run("providers", "add", f"127.0.0.1:{server.port}")
    assert said.code == 0 and said.err == f"ollama is added: Ollama at {server.url}.\n"
    assert run("config", "get", "providers.ollama.url").out == f"{server.url}\n"
    said = run("providers", "add", f"127.0.0.1:{server.port}")
    assert said.code == 1 and "already" in said.err
    assert run("providers", "add", f"127.0.0.1:{server.port}", "--name", "again", "--json").json["name"] == "again"
    assert run("providers", "add", f"127.0.0.1:{server.port}", "--name", "bad name!").code == 2
    assert audit(home)[:2] == [("add provider", "ollama", "ok"), ("add provider", "again", "ok")]
    assert stat.S_IMODE((home / "config.toml").stat().st_mode) == 0o600


def test_add_without_an_answer_needs_the_kind(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOX_KEY", "sk-1")
    said = run("providers", "add", "127.0.0.1:9")
    assert said.code == 4 and "127.0.0.1:9" in said.err
    assert run("providers", "add", "127.0.0.1:9", "--kind", "nonsense").code == 2
    said = run("providers", "add", "127.0.0.1:9", "--kind", "vllm", "--name", "gpu", "--key", "sk-literal")
    assert said.code == 2 and "sk-literal" not in said.err
    assert run("providers", "add", "127.0.0.1:9", "--kind", "vllm", "--name", "gpu", "--key", "env:BOX_KEY").code == 0
    assert run("config", "get", "providers.gpu.api_key").out == "env:BOX_KEY\n"
    assert run("providers", "test", "gpu").code == 4


def test_default_and_remove(server: FaultServer, run: Run, configure, home: Path) -> None:
    configure("# mine\n" + provider("box", server.url) + provider("other", server.url + "/x"))
    assert run("providers", "default", "other").code == 0
    assert run("config", "get", "general.default_provider").out == "other\n"
    said = run("providers", "remove", "other")
    assert said.code == 0 and "was the default" in said.err
    assert run("config", "get", "general.default_provider").out == "\n"
    said = run("providers", "remove", "other")
    assert said.code == 2 and "config.toml" in said.err
    assert run("providers", "default", "nobody").code == 2
    assert "# mine" in (home / "config.toml").read_text()


def test_the_default_of_the_environment_is_saved_under_its_name(server: FaultServer, run: Run) -> None:
    assert run("providers", "default", "ollama").code == 0
    assert run("config", "get", "providers.ollama.url").out == f"{server.url}\n"


def test_test_says_how_it_answers(server: FaultServer, run: Run, configure) -> None:
    said = run("providers", "test", "ollama")
    assert said.code == 0 and said.out.startswith("ollama answers in ") and "version 0.24.0" in said.out
    assert run("providers", "test", "ollama", "--json").json["ok"] is True
    said = run("providers", "test", "olama")
    assert said.code == 2 and "nearest name is ollama" in said.err


def test_a_key_or_prompt_needs_trust_where_another_person_holds_the_port(
    server: FaultServer, run: Run, configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def held(_url: str) -> Holder:
        return Holder(pid=77, uid=4242, user="mallory", other_person=True)

    monkeypatch.setattr("tui.cli.context.held_by", held)
    said = run("chat", "tiny", "secret plan")
    assert said.code == 3 and "mallory" in said.err
    assert not [request for request in server.requests if request.method == "POST"]
    monkeypatch.setenv("BOX_KEY", "sk-box")
    configure(provider("box", server.url, api_key='"env:BOX_KEY"'))
    before = len(server.requests)
    assert run("ls").code == 3 and len(server.requests) == before


def test_trust_is_asked_once_ever(server: FaultServer, run: Run, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def held(_url: str) -> Holder:
        return Holder(pid=77, uid=4242, user="mallory", other_person=True)

    monkeypatch.setattr("tui.cli.context.held_by", held)
    with monkeypatch.context() as typing:
        typing.setattr(sys, "stdin", Typed("y\n"))
        typing.setattr(sys, "stderr", shown := Typed())
        assert run("chat", "tiny", "a", "--json").code == 0
        assert "mallory" in shown.getvalue() and "your prompt" in shown.getvalue()
    assert run("chat", "tiny", "b").code == 0
    assert audit(home)[0][:2] == ("trust", server.url)


# --- servers of our own ---


@pytest.fixture
def supervisor(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Plays the worker: each wish is done at the next look; the list says how starts end."""
    ends = ["running"]

    async def ensure(jobs: Jobs) -> None:
        table: Servers = jobs._servers
        for row in table.list():
            state = ends[0] if row.wish == "running" else "stopped"
            await table._db.run(
                lambda connection, row=row, state=state: connection.execute(
                    "UPDATE server SET seen = ?, state = ?, note = ?, record = ? WHERE name = ?",
                    (row.asked, state, "it ended with code 1" if state == "failed" else "", json.dumps({"log": "/tmp/none"}), row.name),
                ),
                ("servers",),
            )

    monkeypatch.setattr(Jobs, "ensure_worker", ensure)
    monkeypatch.setattr(command, "ollama_program", lambda environ: Path("/usr/bin/ollama"))
    monkeypatch.setattr(command, "START", 5.0)
    monkeypatch.setenv("OLLAMA_HOST", "http://127.0.0.1:9")
    return ends


def test_start_and_stop_end_when_the_server_did(run: Run, supervisor: list[str], home: Path) -> None:
    said = run("providers", "start", "ollama")
    assert said.code == 0 and "ollama runs at http://127.0.0.1:9" in said.err
    said = run("providers", "stop", "ollama")
    assert said.code == 0 and "is stopped" in said.err
    assert audit(home) == [("start server", "ollama", "ok"), ("stop server", "ollama", "ok")]
    supervisor[0] = "failed"
    said = run("providers", "start", "ollama")
    assert said.code == 1 and "ended with code 1" in said.err and "providers logs" in said.err


def test_start_refuses_what_it_cannot(server: FaultServer, run: Run, configure, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "ollama_program", lambda environ: Path("/usr/bin/ollama"))
    assert "runs already" in run("providers", "start", "ollama").err
    configure(provider("far", "http://10.255.255.1:11434") + provider("gpu", server.url, "vllm"))
    for name in ("far", "gpu"):
        said = run("providers", "start", name)
        assert said.code == 1 and "not an Ollama server of this machine" in said.err
    monkeypatch.setattr(command, "ollama_program", lambda environ: None)
    said = run("providers", "start", "ollama")
    assert said.code == 1 and "not installed" in said.err
    said = run("providers", "stop", "ollama")
    assert said.code == 1 and "did not start" in said.err
    assert run("providers", "logs", "ollama").code == 1


# --- status, doctor ---


@pytest.fixture
def plain_environment(monkeypatch: pytest.MonkeyPatch, home: Path) -> Path:
    """Nothing of ours in the environment but the home, as most people have it."""
    monkeypatch.delenv("PADDOCK_GENERAL__DISCOVER")
    monkeypatch.delenv("OLLAMA_HOST", raising=False)
    return home


def test_a_status_line_is_quick_and_true(
    server: FaultServer, run: Run, plain_environment: Path, monkeypatch: pytest.MonkeyPatch, configure
) -> None:
    async def ps(exchange: Exchange) -> None:
        await exchange.json({"models": [{"name": "qwen3:8b\x1b[2J", "size": 5_200_000_000}, {"size": 3}, 7]})

    monkeypatch.setattr("tui.cli.program.run", lambda *_: pytest.fail("the whole program was needed"))
    server.routes["/api/ps"] = ps
    monkeypatch.setattr(quick, "OLLAMA", server.url)
    said = run("status", "--line")
    assert (said.code, said.out, said.err) == (0, "ollama up  qwen3:8b\u241b[2J 5.2 GB\n", "")
    configure('[appearance]\nunits = "binary"\n' + provider("box", server.url))
    assert run("status", "--line").out.startswith("box up  qwen3:8b\u241b[2J 4.8 GiB")
    configure('[general]\ndefault_provider = "b"\n' + provider("a", "http://127.0.0.1:9") + provider("b", server.url))
    assert run("status", "--line").out.startswith("b up")
    monkeypatch.setenv("OLLAMA_HOST", server.url)
    configure("")
    assert run("status", "--line").out.startswith("ollama up")


def test_a_status_line_counts_pulls(ollama: str, run: Run, plain_environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_HOST", ollama)
    run("pull", "qwen3:8b", "gemma3:4b")
    assert run("status", "--line").out == "ollama up  2 waiting\n"
    said = run("status")
    assert "2 waiting" in said.out and "worker" in said.out
    assert run("status", "--json").json == {"provider": "ollama", "up": True, "running": [], "pulls": {"waiting": 2}, "worker": False}


def test_a_status_line_of_a_silent_server_does_not_hang(
    server: FaultServer, run: Run, plain_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(exchange: Exchange) -> None:
        await exchange.gone()

    server.routes["/api/ps"] = hang
    monkeypatch.setattr(quick, "PATIENCE", 0.1)
    monkeypatch.setattr(machine, "PATIENCE", 0.2)
    monkeypatch.setenv("OLLAMA_HOST", server.url)
    said = run("status", "--line")
    assert said.code == 4 and said.out == "ollama down\n"
    said = run("status")
    assert said.code == 4 and "does not answer" in said.out


def test_a_status_line_without_any_server(run: Run, plain_environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quick, "OLLAMA", "http://127.0.0.1:9")
    monkeypatch.setattr(quick, "_somebody_else", lambda: False)
    said = run("status", "--line")
    assert said.code == 4 and said.out == "no server\n"


@pytest.mark.parametrize(
    "text",
    ["[general\n", '[general]\nnetwork = "offline"\n', '[providers.a]\nkind = "vllm"\nurl = "http://h:1"\n', "[providers]\na = 1\n",
     '[providers.a]\nkind = "ollama"\nurl = "https://h"\n', '[providers.a]\nkind = "ollama"\nurl = "http://h"\napi_key = "env:X"\n',
     '[general]\ndefault_provider = "x"\n', '[providers.a]\nkind = "ollama"\nurl = "http://h"\nenabled = false\n'],
)  # fmt: skip
def test_what_is_not_simple_is_left_to_the_whole_program(plain_environment: Path, configure, text: str) -> None:
    configure(text)
    file = str(find_paths(environ={"PADDOCK_HOME": str(plain_environment)}).config_file)
    assert quick.make_plan(file, {}) is None
    configure("")
    assert quick.make_plan(file, {"PADDOCK_GENERAL__DISCOVER": "false"}) is None
    plan = quick.make_plan(file, {})
    assert plan is not None and (plan.name, plan.url, plan.guessed, plan.binary) == ("ollama", quick.OLLAMA, True, False)


def test_status_of_a_kind_that_tells_no_sizes(server: FaultServer, run: Run, configure, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OLLAMA_HOST")
    server.routes |= {"/v1/models": _v1, "/health": _root}
    configure(provider("gpu", server.url, "vllm"))
    assert run("status", "--line").out == "gpu up  tiny:latest\n"
    assert run("status", "--json").json["up"] is True


def test_the_port_table_matches_the_catalogue() -> None:
    from tui.providers.catalogue import default_ports, kinds

    assert quick.known_ports() == set(default_ports(kinds()))


def test_doctor_names_each_problem_with_a_remedy(server: FaultServer, run: Run, monkeypatch: pytest.MonkeyPatch, configure) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setattr("tui.cli.doctor.logout_note", lambda: "")
    said = run("doctor")
    assert said.code == (0 if sys.stdout.encoding.lower() == "utf-8" else 1), said.out
    assert any("provider" in line and line.startswith("ok") and server.url in line for line in said.lines)
    monkeypatch.setenv("TERM", "dumb")
    configure("[pulls]\nat_once = 99\n" + provider("shut", "http://127.0.0.1:9"))
    said = run("doctor")
    assert said.code == 1
    problems = [line for line in said.lines if line.startswith("problem")]
    assert len(problems) >= 3 and all(line.endswith(".") for line in problems)
    assert any("config.toml line 2" in line for line in problems)
    found = run("doctor", "--json")
    assert found.code == 1 and found.json["ok"] is False


def test_logs_show_the_end_cleaned(run: Run, supervisor: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "server.log"
    log.write_bytes(b"x" * 70_000 + b"\nlistening \x1b[31mnow\x1b[0m\n")
    run("providers", "start", "ollama")
    monkeypatch.setattr("tui.services.servers.ServerJobs.log", lambda _self, _name: str(log))
    said = run("providers", "logs", "ollama")
    assert said.code == 0 and said.out == "listening \u241b[31mnow\u241b[0m\n"
    assert run("providers", "logs", "ollama", "--json").json["log"].startswith("listening \x1b")
    log.unlink()
    said = run("providers", "logs", "ollama")
    assert said.code == 1 and "server.log" in said.err


def test_offline_servers_elsewhere_are_not_asked(run: Run, configure, monkeypatch: pytest.MonkeyPatch) -> None:
    configure('[general]\nnetwork = "offline"\n' + provider("far", "http://10.255.255.1:11434"))
    monkeypatch.setenv("OLLAMA_HOST", "http://10.255.255.1:11434")
    for words in (["ls"], ["chat", "x", "hi"], ["ls", "--on", "far"], ["providers", "add", "10.255.255.1:1"]):
        said = run(*words)
        assert said.code == 3 and "offline" in said.err, words
    assert run("ls", provider="http://10.255.255.1:1").code == 3
    assert "general.network is offline" in run("providers").out


def test_status_finds_another_kind_by_looking_around(
    server: FaultServer, run: Run, plain_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def found(_context: object, _known: object) -> list[Endpoint]:
        return [Endpoint("ollama-2", "ollama", server.url)]

    monkeypatch.setattr("tui.cli.context.Context.discovered", found)
    monkeypatch.setattr(quick, "OLLAMA", "http://127.0.0.1:9")
    monkeypatch.setattr(quick, "known_ports", lambda: {server.port})
    said = run("status", "--line")
    assert said.code == 0 and said.out == "ollama-2 up\n"
