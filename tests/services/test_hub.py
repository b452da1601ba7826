"""The hub: everything joined, started and ended, and what settings forbid."""

import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.chat.live import Ollama, provider, until
from tui.config.paths import find_paths
from tui.config.store import ConfigStore
from tui.core.chat import AnswerState
from tui.core.clock import SYSTEM
from tui.core.jobs import Ask, JobState, WorkerState
from tui.core.models import Location, ProviderStatus
from tui.core.monitor import Take
from tui.core.options import AppOptions
from tui.hardware.sample import Gpu, Memory, Sample
from tui.providers.ports import Holder
from tui.services import actions as actions_module
from tui.services import hub as hub_module
from tui.services import jobs as jobs_module
from tui.services import watch as watch_module
from tui.services.hub import Hub
from tui.store.jobs import JobTable
from tui.store.meta import Servers

Make = Callable[..., Hub]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ollama: Ollama) -> Iterator[Make]:
    """Makes and opens hubs in one home, each with its settings; no worker and no sampler is started."""
    monkeypatch.setattr(hub_module, "CONFIG_EVERY", 0.01)
    monkeypatch.setattr(hub_module, "DATABASE_EVERY", 0.01)
    monkeypatch.setattr(jobs_module, "spawn_worker", lambda *_more: None)
    monkeypatch.setattr(jobs_module, "logout_note", lambda: "")
    made: list[Hub] = []
    environ = {"PADDOCK_HOME": str(tmp_path / "home"), "HOME": str(tmp_path), "PATH": "/nonexistent"}

    def open_hub(config: str | None = None, general: str = "", options: AppOptions | None = None, **more: str) -> Hub:
        paths = find_paths(environ=environ)
        paths.config_file.parent.mkdir(parents=True, exist_ok=True)
        _write(paths.config_file, provider(ollama.url) if config is None else config, general)
        hub = Hub(paths, options or AppOptions(), {**environ, **more}, start_sampler=False)
        made.append(hub)
        hub.open()
        until(lambda: hub.ready.value)
        return hub

    yield open_hub
    for hub in made:
        hub.close(5.0)


def _write(file: Path, config: str, general: str = "") -> None:
    file.write_text(f"[general]\ndiscover = false\n{general}\n{config}", encoding="utf-8")


def _said(hub: Hub, word: str) -> str:
    texts = lambda: [notice.text for notice in hub.notices.value]  # noqa: E731
    return str(until(lambda: next((text for text in texts() if word in text), ""), f"{word!r} is not said"))


def _refused(hub: Hub, word: str) -> None:
    until(lambda: any(word in notice.text for notice in hub.notices.value), f"{word}: {[notice.text for notice in hub.notices.value]}")


def _model(hub: Hub) -> Any:
    return until(lambda: hub.chat.view.value.model and hub.chat.view.value, "no model for the chat")


# --- start and end -----------------------------------------------------------------------------------------------------


def test_it_opens_at_once_and_closes_within_its_time(make: Make) -> None:
    hub = make()
    until(lambda: hub.registry.models.value)
    began = time.monotonic()
    hub.close(2.0)
    assert time.monotonic() - began < 2.5  # P24
    hub.close(2.0)
    hub.jobs.pause([1])  # a late key after the end is nothing
    assert stat.S_IMODE((hub.paths.logs / "app.log").stat().st_mode) == 0o600


def test_P09_bad_settings_stand_as_a_banner_until_they_are_right(make: Make, ollama: Ollama) -> None:
    hub = make("this is no toml")
    assert "config.toml" in until(lambda: hub.banner.value)[0].where
    _write(hub.paths.config_file, provider(ollama.url))
    until(lambda: not hub.banner.value)
    until(lambda: hub.registry.models.value)


def test_D02_without_a_database_the_rest_works(make: Make, tmp_path: Path) -> None:
    (tmp_path / "home" / "data").parent.mkdir(parents=True)
    (tmp_path / "home" / "data").write_text("a file where the folder should be")
    hub = make()
    assert hub.database is None
    assert until(lambda: hub.banner.value)[0].what
    until(lambda: hub.registry.models.value)
    hub.jobs.add("qwen3:8b")
    _said(hub, "The queue is not available")
    _model(hub)


def test_a_part_that_fails_to_start_does_not_stop_the_others(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(_self: Any) -> None:
        raise KeyError("odd")

    monkeypatch.setattr("tui.services.registry.Registry.open", broken)
    hub = make()
    _said(hub, "inside Paddock")
    assert hub.database is not None
    until(lambda: hub.registry.models.value)  # the settings are applied once more at the end


def test_C16_on_a_network_filesystem_each_machine_has_its_own_database_and_that_is_said_once(
    make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tui.config.netfs.is_network", lambda _folder: True)
    hub = make()
    _said(hub, "network filesystem")
    assert hub.database is not None
    place = hub.database.path
    assert place.parent.parent == tmp_path / "home" / "data" / "hosts"
    assert hub.paths.locks.parent == place.parent
    assert hub.database.read(lambda connection: connection.execute("PRAGMA journal_mode").fetchone()[0]) in ("truncate", "delete")
    assert not place.with_name("paddock.db-wal").exists()
    hub.close(5.0)
    again = make()
    assert not any("network filesystem" in notice.text for notice in again.notices.value)


# --- the chat follows --------------------------------------------------------------------------------------------------


def test_an_empty_chat_gets_a_model_once_a_server_has_one(make: Make, ollama: Ollama) -> None:
    hub = make("")
    assert hub.chat.view.value.model == ""
    _write(hub.paths.config_file, provider(ollama.url))
    view = _model(hub)
    assert (view.provider, view.model) == ("lab", "qwen3:8b")
    hub.chat.use_model("lab", "phi4:14b")
    until(lambda: hub.chat.view.value.model == "phi4:14b")
    hub.registry.refresh()
    hub.engine.submit(hub._chat_follows).result(5)
    assert hub.chat.view.value.model == "phi4:14b"  # a choice stays


def test_the_window_of_the_chat_follows_what_is_loaded_and_the_settings(make: Make, ollama: Ollama) -> None:
    hub = make()
    _model(hub)
    assert hub.chat.view.value.window is None
    hub.registry.load("lab", "qwen3:8b")
    until(lambda: hub.chat.view.value.window == 4096, "the window did not follow the load")
    hub.registry.unload("lab", "qwen3:8b")
    until(lambda: hub.chat.view.value.window is None)
    hub.config.set("chat.options.num_ctx", 2048)
    until(lambda: hub.chat.view.value.window == 2048, "the window did not follow the setting")


# --- what settings forbid ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["setting", "flag"])
def test_look_changes_nothing(make: Make, ollama: Ollama, how: str) -> None:
    text = provider(ollama.url) + ('[security]\naccess = "look"\n' if how == "setting" else "")
    hub = make(text, options=AppOptions(readonly=how == "flag"))
    _model(hub)
    hub.chat.send("hello")
    _refused(hub, "Sending is refused")
    hub.chat.regenerate()
    _refused(hub, "Asking again is refused")
    hub.chat.go_on()
    _refused(hub, "Going on is refused")
    hub.chat.rename(1, "x")
    _refused(hub, "Renaming is refused")
    hub.chat.delete(1)
    _refused(hub, "Deleting is refused")
    hub.chat.undo_delete()
    _refused(hub, "Bringing back is refused")
    hub.jobs.add("phi4:14b")
    _refused(hub, "Pulling is refused")
    before = len(hub.notices.value)
    for verb in (hub.jobs.pause, hub.jobs.resume, hub.jobs.cancel, hub.jobs.retry, hub.jobs.remove):
        verb([1])
    hub.jobs.move([1], "up")
    until(lambda: len(hub.notices.value) == before + 6)
    assert {notice.text for notice in hub.notices.value[before:]} == {"Changing the queue is refused (security.access = look)"}
    hub.chat.use_model("lab", "phi4:14b")  # nothing is stored yet
    until(lambda: hub.chat.view.value.model == "phi4:14b")
    assert hub.chat.view.value.messages == ()
    assert all(request.method == "GET" for request in ollama.requests)
    assert not (hub.paths.state / "audit.jsonl").exists()


def test_use_allows_chats_and_loads_but_no_pulls(make: Make, ollama: Ollama) -> None:
    hub = make(provider(ollama.url) + '[security]\naccess = "use"\n')
    _model(hub)
    hub.jobs.add("phi4:14b")
    _refused(hub, "Pulling is refused")
    hub.library.keeping.delete([("lab", "phi4:14b")])
    _refused(hub, "security.access")
    hub.registry.load("lab", "qwen3:8b")
    _said(hub, "is loaded on lab")
    hub.chat.send("hello")
    until(lambda: hub.chat.view.value.messages)


def test_offline_a_pull_waits_and_a_cloud_model_gets_no_prompt(make: Make, ollama: Ollama) -> None:
    ollama.names["glm:cloud"] = "cc" * 32
    ollama.remote.add("glm:cloud")
    hub = make(general='network = "offline"')
    _model(hub)
    hub.jobs.add("phi4:14b")
    _said(hub, "phi4:14b is queued on lab; it waits: general.network is offline")
    hub.chat.use_model("lab", "glm:cloud")
    until(lambda: hub.chat.view.value.model == "glm:cloud")
    hub.chat.send("secret")
    _refused(hub, "runs in a cloud")
    assert all(request.method == "GET" for request in ollama.requests)


def test_a_model_that_was_pulled_is_in_the_library_at_once(make: Make, ollama: Ollama) -> None:
    """The list is otherwise looked at every 30 seconds."""
    hub = make()
    until(lambda: hub.ready.value and hub.registry.models.value)
    hub.jobs.add("phi4-mini:3.8b")
    job = until(lambda: hub.jobs.view.value.jobs)[0]
    ollama.names["phi4-mini:3.8b"] = "ab" * 32
    assert hub.database is not None
    table = JobTable(hub.database)

    async def done() -> None:
        await table.record([replace(job, state=JobState.DONE, ended_at=1.0)])

    hub.post(done)
    until(lambda: any(model.name == "phi4-mini:3.8b" for model in hub.registry.models.value), "the library did not follow the pull")


def test_a_passed_limit_refuses_a_chat_a_load_and_a_pull(make: Make, ollama: Ollama, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = make(provider(ollama.url) + '[limits]\naction = "refuse"\ncount = "all"\n')
    _model(hub)
    full = Sample(1.0, memory=Memory(32 * 10**9, 30 * 10**9))
    monkeypatch.setattr(hub.monitor, "samples", lambda: ((SYSTEM.monotonic(), full),))
    hub.jobs.add("phi4:14b")
    _refused(hub, "Not queued: Memory 94 %, limit 80 %")
    hub.registry.load("lab", "qwen3:8b")
    _refused(hub, "Not loaded: Memory 94 %, limit 80 %")
    hub.chat.send("hello")
    answer = until(lambda: next((one for one in hub.chat.view.value.messages if one.state is AnswerState.FAILED), None))
    assert answer.failure.what == "Not sent: Memory 94 %, limit 80 %"
    done = [(one.what, one.target, one.why) for one in hub.monitor.enforced.value]
    assert done == [("refused", f"lab/{model}", "Memory 94 %, limit 80 %") for model in ("qwen3:8b", "qwen3:8b", "phi4:14b")]
    trail = (hub.paths.state / "audit.jsonl").read_text("utf-8")
    assert trail.count('"limit refused"') == 3
    assert all(request.method == "GET" or request.path == "/api/show" for request in ollama.requests)


def test_a_yes_to_a_limit_holds_for_the_worker_too(make: Make, ollama: Ollama, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = make(provider(ollama.url) + '[limits]\naction = "ask"\ncount = "all"\n')
    until(lambda: hub.registry.models.value)
    full = Sample(1.0, memory=Memory(32 * 10**9, 30 * 10**9))
    monkeypatch.setattr(hub.monitor, "samples", lambda: ((SYSTEM.monotonic(), full),))
    hub.jobs.add("phi4:14b")
    question = until(lambda: hub.questions.value)[0]
    assert question.text == "This machine is full: Memory 94 %, limit 80 %. Shall it be queued all the same?"
    hub.answer(question.id, "yes")
    (job,) = until(lambda: hub.jobs.view.value.jobs)
    assert Ask.LIMITS in job.allowed


def test_room_is_made_through_the_whole_engine(make: Make, ollama: Ollama, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = make()
    _model(hub)
    hub.registry.load("lab", "phi4:14b")
    until(lambda: [model.name for model in hub.registry.running.value] == ["phi4:14b"])
    freeing = until(lambda: hub.monitor._freeing, str([notice.text for notice in hub.notices.value]))

    def samples() -> Any:
        gpu = Gpu("GPU-0", 0, memory_total=100, memory_used=100 - 5 * ("phi4:14b" not in ollama.loaded))
        return ((SYSTEM.monotonic(), Sample(1.0, memory=Memory(1000, 100), gpus=(gpu,))),)

    monkeypatch.setattr(freeing, "_samples", samples)
    monkeypatch.setattr(freeing, "_would_take", lambda provider, model: Take((("GPU-0", 5),)))
    monkeypatch.setattr(hub.monitor, "samples", lambda: ())
    hub.monitor.make_room("lab", "qwen3:8b")
    question = until(lambda: hub.questions.value)[0]
    assert question.text.startswith("Unload phi4:14b (5 B")
    assert [key for key, _label in question.choices] == ["keep", "unload"]
    hub.answer(question.id, "unload")
    until(lambda: [model.name for model in hub.registry.running.value] == ["qwen3:8b"])
    (done,) = hub.monitor.enforced.value
    assert (done.what, done.target, done.why) == ("unloaded", "lab/phi4:14b", "to make room for qwen3:8b")


def test_E03_a_log_that_cannot_be_written_is_said_once_and_the_rest_works(
    make: Make, tmp_path: Path, ollama: Ollama, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "home" / "state").mkdir(parents=True)
    (tmp_path / "home" / "state" / "logs").write_text("a file where the folder should be")
    hub = make()
    until(lambda: hub.registry.models.value)
    for theme in ("paddock-light", "paddock"):  # the settings are applied again, and the log is tried again
        hub.config.set("appearance.theme", theme)
        assert hub.config.current.value.appearance.theme == theme
    hub.jobs.add("phi4:14b")
    until(lambda: hub.jobs.view.value.jobs)
    assert len([notice for notice in hub.notices.value if "No log is written" in notice.text]) == 1
    assert capfd.readouterr() == ("", "")


def test_E04_after_eight_hours_of_sleep_a_server_is_asked_once(make: Make, ollama: Ollama, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = make()
    until(lambda: hub.registry.models.value)
    until(lambda: ollama.asked("/api/ps"))
    before, real = len(ollama.requests), time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: real() + 8 * 3600)
    asked = ollama.asked("/api/version") + ollama.asked("/api/ps")
    until(lambda: ollama.asked("/api/version") + ollama.asked("/api/ps") > asked)
    assert len(ollama.requests) - before <= 8  # what is due, each once
    assert not hub.banner.value
    (state,) = hub.registry.providers.value
    assert state.status is ProviderStatus.UP
    assert not [notice for notice in hub.notices.value if notice.failure is not None]


def test_metered_asks_before_a_pull_and_the_queue_is_noted(make: Make) -> None:
    hub = make(general='network = "metered"')
    until(lambda: hub.registry.models.value)
    hub.jobs.add("phi4:14b")
    question = until(lambda: hub.questions.value)[0]
    hub.answer(question.id, "keep")
    until(lambda: not hub.questions.value)
    assert hub.jobs.view.value.jobs == ()
    hub.jobs.add("phi4:14b")
    question = until(lambda: hub.questions.value)[0]
    hub.answer(question.id, "pull")
    _said(hub, "phi4:14b is queued on lab")
    job = until(lambda: hub.jobs.view.value.jobs)[0]
    hub.jobs.pause([job.id])
    trail = hub.paths.state / "audit.jsonl"
    until(lambda: '"pause pull"' in trail.read_text())
    assert '"queue pull"' in trail.read_text()
    hub.jobs.add("--host=0.0.0.0")
    _said(hub, "not a valid name")


# --- who is asked ------------------------------------------------------------------------------------------------------


def test_X17_a_prompt_to_another_persons_port_is_asked_once_ever(make: Make, ollama: Ollama, monkeypatch: pytest.MonkeyPatch) -> None:
    async def held_by(_url: str) -> Holder:
        return Holder(pid=812, uid=1234, user="bob", other_person=True)

    monkeypatch.setattr(watch_module, "held_by", held_by)
    hub = make()
    _model(hub)
    until(lambda: (state := hub.registry.state("lab")) is not None and state.other_person)
    hub.chat.send("hello")
    question = until(lambda: hub.questions.value)[0]
    assert "bob" in question.text
    assert not ollama.asked("/api/chat")
    hub.answer(question.id, "no")
    until(lambda: (messages := hub.chat.view.value.messages) and messages[-1].state is AnswerState.FAILED)
    assert not ollama.asked("/api/chat")
    hub.chat.regenerate()
    question = until(lambda: hub.questions.value)[0]
    hub.answer(question.id, "send")
    until(lambda: ollama.asked("/api/chat") == 1)
    hub.close(5.0)
    again = make()
    _model(again)
    until(lambda: (state := again.registry.state("lab")) is not None and state.other_person)
    again.chat.send("hello")
    until(lambda: ollama.asked("/api/chat") == 2)
    assert again.questions.value == ()


def test_where_a_tunnel_leads_survives_the_program(make: Make, ollama: Ollama, monkeypatch: pytest.MonkeyPatch) -> None:
    async def held_by(_url: str) -> Holder:
        return Holder(pid=9, process_name="ssh", is_ssh_tunnel=True)

    monkeypatch.setattr(watch_module, "held_by", held_by)
    for asked in (True, False):
        hub = make("", OLLAMA_HOST=ollama.url)
        if asked:
            hub.answer(until(lambda: hub.questions.value)[0].id, "elsewhere")  # noqa: B023
        until(lambda: (state := hub.registry.state("ollama")) is not None and state.location is Location.ELSEWHERE)  # noqa: B023
        assert hub.questions.value == ()
        hub.close(5.0)


# --- what is said ------------------------------------------------------------------------------------------------------


def test_S32_logging_out_that_would_end_the_worker_is_one_notice(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs_module, "logout_note", lambda: "this machine ends downloads; `loginctl enable-linger` keeps them")
    monkeypatch.setattr(jobs_module.Jobs, "worker", lambda _self: WorkerState(True, 4711, "0.1"))
    hub = make()
    assert _said(hub, "enable-linger").startswith("This machine")
    until(lambda: hub.registry.models.value)
    hub.jobs.add("phi4:14b")
    _said(hub, "is queued")
    assert sum("enable-linger" in notice.text for notice in hub.notices.value) == 1


def test_X08_a_key_is_in_no_file_of_ours_but_its_own(make: Make, ollama: Ollama) -> None:
    text = provider(ollama.url, more='api_key = "env:LAB_KEY"')
    hub = make(text, LAB_KEY="zq7-very-secret", general='log_level = "debug"')
    _model(hub)
    ollama.status = 500
    hub.registry.load("lab", "qwen3:8b")
    _said(hub, "out of order")
    hub.engine.post(_raise_with, "header zq7-very-secret")
    _said(hub, "inside Paddock")
    hub.close(5.0)
    assert ollama.requests[-1].headers["authorization"] == "Bearer zq7-very-secret"
    files = [file for file in hub.paths.config_file.parent.rglob("*") if file.is_file()]
    assert {"app.log", "audit.jsonl", "paddock.db"} <= {file.name for file in files}
    assert "header ***" in (hub.paths.logs / "app.log").read_text()
    assert [file for file in files if b"zq7-very-secret" in file.read_bytes()] == []
    assert not any("zq7" in notice.text for notice in hub.notices.value)


async def _raise_with(text: str) -> None:
    raise RuntimeError(text)


def test_the_log_level_follows_the_settings(make: Make) -> None:
    import logging

    hub = make()
    hub.config.set("general.log_level", "debug")
    until(lambda: logging.getLogger("paddock").level == logging.DEBUG)
    assert isinstance(hub.config, ConfigStore)


def test_a_start_is_followed_and_an_earlier_failure_is_not_taken_for_this_one(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actions_module, "POLL", 0.01)
    monkeypatch.setattr("tui.services.registry.ollama_program", lambda _environ: Path("/opt/ollama"))
    hub = make("")
    until(lambda: hub.registry.discovery.value.ollama_program)
    assert hub.database is not None
    table = Servers(hub.database)

    def worked(state: str, note: str) -> None:
        row = table.list()[0]
        hub.engine.submit(lambda: table.record(replace(row, seen=row.asked, state=state, note=note, record={"log": "/x/o.log"}))).result(5)

    hub.registry.start_server()
    _said(hub, "starting /opt/ollama at 127.0.0.1:11434")
    worked("failed", "the port is used")
    _said(hub, "the port is used")
    hub.registry.start_server()
    until(lambda: table.list()[0].asked == 2)
    until(lambda: sum("starting" in notice.text for notice in hub.notices.value) == 2)
    worked("running", "")
    until(lambda: hub.registry.server_log("ollama") == "/x/o.log")
    hub.registry.stop_server("ollama")
    until(lambda: table.list()[0].wish == "stopped")
    assert sum("the port is used" in notice.text for notice in hub.notices.value) == 1
