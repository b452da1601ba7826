"""The registry: who is watched, how they are, what they have."""

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.chat.live import Bench, Loop, Ollama, provider, started, until
from tui.core.capabilities import Capability
from tui.core.errors import Failure, FailureKind, PaddockError
from tui.core.models import Location, ModelDetail, Origin, ProviderStatus
from tui.providers.discovery import Discovery, Found
from tui.providers.ports import Holder
from tui.services import registry as registry_module
from tui.services import watch as watch_module
from tui.services.asks import OFFLINE
from tui.services.registry import excluded
from tui.store.db import Database
from tui.store.meta import Meta

Make = Callable[..., Bench]


def _is(bench: Bench, status: ProviderStatus, name: str = "lab") -> Any:
    return until(lambda: (state := bench.state(name)) is not None and state.status is status and state, f"{name} is not {status}")


# --- states ------------------------------------------------------------------------------------------------------------


def test_a_server_that_is_up_with_its_models_and_what_is_loaded(bench: Make, ollama: Ollama) -> None:
    ollama.loaded["qwen3:8b"] = 8192
    lab = bench(provider(ollama.url))
    state = until(lambda: _is(lab, ProviderStatus.UP).location is not Location.ASK and lab.state("lab"))
    assert (state.label, state.version, state.is_default, state.location) == ("Ollama 0.24.0", "0.24.0", True, Location.HERE)
    assert state.latency > 0
    until(lambda: len(lab.registry.models.value) == 2 and lab.registry.running.value)
    assert [model.key for model in lab.registry.models.value] == ["qwen3:8b", "phi4:14b"]
    assert (lab.registry.running.value[0].key, lab.registry.running.value[0].context) == ("qwen3:8b", 8192)
    until(lambda: lab.state().models == 2 and lab.state().loaded == 1)
    assert lab.registry.can("lab", Capability.PULL) == ""


def test_H01_a_server_that_goes_and_comes_back(bench: Make, loop: Loop) -> None:
    server = Ollama()
    with started(loop, server):
        port = server.port
        lab = bench(provider(server.url))
        _is(lab, ProviderStatus.UP)
        until(lambda: lab.registry.models.value)
        server.loaded["qwen3:8b"] = 1
        lab.actions.refresh("lab")
        until(lambda: lab.registry.running.value)
    lab.actions.refresh("lab")
    down = _is(lab, ProviderStatus.DOWN)
    assert "nothing is listening" in down.failure.what
    assert down.failure.where == f"127.0.0.1:{port}"
    assert down.stale_since is not None
    assert lab.registry.models.value  # the last good list stays
    assert lab.registry.running.value == ()  # but nothing is loaded in a server that is not there
    again = Ollama()
    again.version = "0.33.1"
    again.names["new:1b"] = "dd"
    with started(loop, again, port):  # nobody presses r
        back = _is(lab, ProviderStatus.UP)
        assert back.version == "0.33.1"
        assert back.failure is None
        assert back.stale_since is None
        until(lambda: len(lab.registry.models.value) == 3)
        lab.close()


def test_H02_a_server_that_does_not_answer_keeps_its_old_list(
    bench: Make, loop: Loop, ollama: Ollama, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = bench(provider(ollama.url))
    until(lambda: lab.registry.models.value)
    _is(lab, ProviderStatus.UP)
    connection = lab.registry.provider("lab")

    async def late() -> Any:
        raise PaddockError.of("no answer for 5 s", "127.0.0.1", "Wait", FailureKind.TIMEOUT)

    monkeypatch.setattr(connection, "check", late)
    monkeypatch.setattr(connection, "models", late)
    lab.actions.refresh("lab")
    state = _is(lab, ProviderStatus.FAILED)
    assert state.note == "no answer for 5 s"
    assert state.latency is None
    assert state.checks[-1] is None
    until(lambda: "lab" in lab.registry.model_failures.value)
    assert len(lab.registry.models.value) == 2
    monkeypatch.undo()
    _is(lab, ProviderStatus.UP)
    until(lambda: not lab.registry.model_failures.value)


def test_P38_one_bad_server_does_not_disturb_the_others(bench: Make, ollama: Ollama) -> None:
    text = (
        provider(ollama.url) + '[providers.odd]\nkind = "nonesuch"\nurl = "http://127.0.0.1:1"\n' + provider("http://127.0.0.1:1", "gone")
    )
    lab = bench(text)
    _is(lab, ProviderStatus.UP)
    failure = _is(lab, ProviderStatus.FAILED, "odd").failure
    _is(lab, ProviderStatus.DOWN, "gone")
    assert "nonesuch" in failure.what
    assert failure.remedy
    assert [state.name for state in lab.registry.providers.value] == ["lab", "odd", "gone"]
    with pytest.raises(PaddockError, match="nonesuch"):
        lab.registry.require("odd")
    with pytest.raises(PaddockError, match="no provider named 'nobody'"):
        lab.registry.require("nobody")


def test_P30_a_fault_of_ours_in_a_check_is_said_and_the_watch_goes_on(bench: Make, ollama: Ollama, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = bench("")
    monkeypatch.setattr(type(lab.engine).keep_going, "__defaults__", (0.01,))
    calls: list[int] = []
    original = registry_module.make_provider

    def broken(*args: Any) -> Any:
        made = original(*args)
        check = made.check

        async def odd() -> Any:
            calls.append(1)
            if len(calls) < 3:
                raise KeyError("version")
            return await check()

        made.check = odd  # type: ignore[method-assign]
        return made

    monkeypatch.setattr(registry_module, "make_provider", broken)
    lab.rewrite(provider(ollama.url))
    _is(lab, ProviderStatus.UP)
    assert [text for text in lab.said() if "inside Paddock" in text] == lab.said()[:1]


def test_a_changed_version_is_shown_and_everything_asked_anew(lab: Bench, ollama: Ollama) -> None:
    until(lambda: lab.registry.models.value)
    _is(lab, ProviderStatus.UP)
    ollama.version = "0.33.1"
    ollama.names = {"qwen3:8b": "ee" * 32}
    lab.do(lambda: lab.registry.watch("lab")._wake.set())  # the next health check, nothing else
    until(lambda: lab.state().label == "Ollama 0.33.1")
    until(lambda: [model.digest for model in lab.registry.models.value] == ["ee" * 32])


# --- what the settings say ---------------------------------------------------------------------------------------------


def test_a_disabled_provider_is_listed_and_never_contacted(bench: Make, ollama: Ollama) -> None:
    lab = bench(provider(ollama.url, more="enabled = false"))
    state = _is(lab, ProviderStatus.OFF)
    assert state.note == "switched off"
    lab.actions.refresh()
    lab.actions.show("lab", "qwen3:8b")
    lab.actions.load("lab", "qwen3:8b")
    lab.actions.unload("lab", "qwen3:8b")
    lab.actions.keep("lab", "qwen3:8b", "1h")
    until(lambda: len(lab.said()) == 3)
    assert all("switched off" in text for text in lab.said())
    assert isinstance(until(lambda: lab.registry.details.value.get(("lab", "qwen3:8b"))), Failure)
    assert ollama.connections == 0
    lab.rewrite(provider(ollama.url))
    _is(lab, ProviderStatus.UP)
    lab.rewrite(provider(ollama.url, more="enabled = false"))
    _is(lab, ProviderStatus.OFF)
    assert lab.registry.models.value == ()


def test_offline_asks_nothing_that_is_elsewhere(bench: Make, ollama: Ollama) -> None:
    text = provider(ollama.url, more='location = "elsewhere"') + provider("http://gpu-box.invalid:11434", "box")
    lab = bench()
    lab.rewrite(text + provider(ollama.url.replace("127.0.0.1", "localhost"), "near"), 'network = "offline"')
    for name in ("lab", "box"):
        assert _is(lab, ProviderStatus.OFF, name).note == OFFLINE
        assert lab.registry.can(name, Capability.CHAT) == OFFLINE
    _is(lab, ProviderStatus.UP, "near")
    assert lab.registry.can("near", Capability.PULL) == OFFLINE
    assert lab.registry.can("near", Capability.CHAT) == ""
    before = ollama.connections
    lab.actions.add_provider("gpu-box.invalid")
    until(lambda: any(OFFLINE in text for text in lab.said()))
    assert ollama.connections >= before
    lab.rewrite(text, 'network = "normal"')
    _is(lab, ProviderStatus.UP)


def test_security_access_is_said_as_a_reason(bench: Make, ollama: Ollama) -> None:
    lab = bench(provider(ollama.url) + '[security]\naccess = "use"\n')
    _is(lab, ProviderStatus.UP)
    assert "security.access" in lab.registry.can("lab", Capability.DELETE)
    assert lab.registry.can("lab", Capability.LOAD) == ""
    lab.rewrite(provider(ollama.url) + '[security]\naccess = "look"\n')
    assert "security.access" in lab.registry.can("lab", Capability.LOAD)
    assert lab.registry.can("lab", Capability.SHOW) == ""
    assert lab.registry.can("nobody", Capability.SHOW) == "no provider is chosen"


def test_a_change_that_needs_no_new_connection_keeps_the_old_one(bench: Make, ollama: Ollama) -> None:
    lab = bench(provider(ollama.url))
    _is(lab, ProviderStatus.UP)
    connection, watch = lab.registry.provider("lab"), lab.registry.watch("lab")
    lab.rewrite(provider(ollama.url, more='health_interval = "7s"\nlocation = "elsewhere"'))
    assert lab.registry.provider("lab") is connection
    assert until(lambda: lab.state().location is Location.ELSEWHERE)
    assert watch is not None
    assert watch._intervals()[0] == 7.0
    lab.rewrite(provider(ollama.url, more='timeout = "9s"'))
    assert lab.registry.provider("lab") is not connection


def test_the_default_is_the_configured_one_else_the_first_that_is_up(bench: Make, ollama: Ollama) -> None:
    gone = provider("http://127.0.0.1:1", "gone")
    lab = bench(gone + provider(ollama.url))
    _is(lab, ProviderStatus.UP)
    assert lab.registry.default().name == "lab"
    lab.rewrite(gone + provider(ollama.url), 'default_provider = "gone"')
    assert lab.registry.default().name == "gone"
    assert until(lambda: lab.state("gone").is_default)
    assert bench().registry.default() is None


def test_preferred_models_first_and_excluded_ones_hidden(bench: Make, ollama: Ollama) -> None:
    ollama.names = dict.fromkeys(("a:1b", "b:1b", "secret-x:1b", "c:1b"), "ab" * 32)
    lab = bench(provider(ollama.url) + '[models]\npreferred = ["c:1b", "b:1b"]\nexcluded = ["SECRET*"]\n')
    until(lambda: lab.registry.models.value)
    assert [model.name for model in lab.registry.models.value] == ["c:1b", "b:1b", "a:1b"]
    lab.rewrite(provider(ollama.url))
    until(lambda: len(lab.registry.models.value) == 4)
    assert excluded("Secret-x:1b", lab.config.current.value) is False


def test_reading_states_while_providers_come_and_go(bench: Make) -> None:
    lab = bench()
    errors: list[BaseException] = []
    stop = threading.Event()

    def reader() -> None:
        while not stop.is_set():
            try:
                lab.registry.default()
                lab.registry.state("p3")
                lab.registry.can("p1", Capability.CHAT)
            except BaseException as error:
                errors.append(error)
                return

    thread = threading.Thread(target=reader)
    thread.start()
    for count in (6, 0, 6, 1, 6):
        lab.rewrite("".join(provider(f"http://127.0.0.1:{n + 1}", f"p{n}") for n in range(count)))
    stop.set()
    thread.join()
    assert errors == []


# --- details -----------------------------------------------------------------------------------------------------------


def test_two_simultaneous_shows_are_one_request(lab: Bench, ollama: Ollama, loop: Loop) -> None:
    until(lambda: len(lab.registry.models.value) == 2)
    hold = asyncio.Event()
    loop.call(lambda: setattr(ollama, "hold", hold))
    for _ in range(5):
        lab.actions.show("lab", "qwen3:8b")
    until(lambda: ollama.asked("/api/show") == 1)
    lab.do(lambda: None)
    loop.call(hold.set)
    assert isinstance(until(lambda: lab.registry.details.value.get(("lab", "qwen3:8b"))), ModelDetail)
    lab.actions.show("lab", "qwen3:8b")
    lab.do(lambda: None)
    assert ollama.asked("/api/show") == 1


def test_details_hold_until_the_model_changes(lab: Bench, ollama: Ollama) -> None:
    until(lambda: len(lab.registry.models.value) == 2)
    for name in ("qwen3:8b", "phi4:14b"):
        lab.actions.show("lab", name)
    until(lambda: len(lab.registry.details.value) == 2)
    ollama.names["qwen3:8b"] = "ff" * 32
    lab.do(lambda: lab.registry.watch("lab").refresh())
    until(lambda: list(lab.registry.details.value) == [("lab", "phi4:14b")])
    lab.actions.refresh("lab")
    until(lambda: not lab.registry.details.value)


def test_a_show_that_failed_is_tried_again(lab: Bench, ollama: Ollama) -> None:
    until(lambda: len(lab.registry.models.value) == 2)
    ollama.status = 500
    lab.actions.show("lab", "qwen3:8b")
    failure = until(lambda: lab.registry.details.value.get(("lab", "qwen3:8b")))
    assert isinstance(failure, Failure)
    assert "out of order" in failure.what
    ollama.status = 200
    lab.actions.show("lab", "qwen3:8b")
    until(lambda: isinstance(lab.registry.details.value[("lab", "qwen3:8b")], ModelDetail))


# --- found servers -----------------------------------------------------------------------------------------------------


def _found(url: str, kind: str = "ollama", child_of: str = "") -> Found:
    return Found(url, kind, label=kind, child_of=child_of)


def _discovers(monkeypatch: pytest.MonkeyPatch, *looks: tuple[Found, ...]) -> None:
    left = list(looks)

    async def discover(_kinds: Any, *, on_found: Callable[[Found], None], **_more: Any) -> Discovery:
        found = left.pop(0) if len(left) > 1 else left[0]
        for one in found:
            on_found(one)
        return Discovery((11434,), "127.0.0.1:11434", found, (), 0.1)

    monkeypatch.setattr(registry_module, "discover", discover)


def test_found_servers_keep_their_names_in_whatever_order_they_are_found(bench: Make, loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = Ollama(), Ollama()
    with started(loop, one), started(loop, two):
        a, b = _found(one.url), _found(two.url)
        _discovers(monkeypatch, (a, b), (b, a, _found("http://127.0.0.1:1", "llamacpp", child_of="Ollama")))
        lab = bench()
        lab.write("", "discover = true")
        lab.config.poll()
        lab.actions.discover()
        assert _is(lab, ProviderStatus.FOUND, "ollama").endpoint.url == one.url
        assert _is(lab, ProviderStatus.FOUND, "ollama-2").endpoint.url == two.url
        watch = lab.registry.watch("ollama")
        lab.actions.discover()
        until(lambda: lab.registry.discovery.value.done and not lab.registry.discovery.value.running)
        lab.do(lambda: None)
        assert [state.name for state in lab.registry.providers.value] == ["ollama", "ollama-2"]  # an Ollama's own runner is not a server
        assert lab.registry.watch("ollama") is watch
        lab.actions.set_default("ollama-2")  # is saved first, so that the name stays its own
        until(lambda: lab.config.current.value.general.default_provider == "ollama-2")
        assert lab.config.current.value.providers["ollama-2"].url == two.url
        connection = lab.registry.provider("ollama-2")
        lab.do(lambda: lab.registry.apply(lab.config.current.value))
        assert until(lambda: lab.state("ollama-2").origin is Origin.CONFIG)
        assert lab.registry.provider("ollama-2") is connection
        lab.close()


def test_a_found_server_that_is_gone_is_forgotten_at_the_next_look(bench: Make, loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    server = Ollama()
    with started(loop, server):
        _discovers(monkeypatch, (_found(server.url),), ())
        lab = bench()
        lab.write("", "discover = true")
        lab.config.poll()
        lab.actions.discover()
        until(lambda: (state := lab.state("ollama")) is not None and state.version)
        lab.actions.discover()  # too slow to be named this time, but well
        until(lambda: not lab.registry.discovery.value.running)
        lab.do(lambda: None)
        assert lab.state("ollama") is not None
    lab.actions.refresh("ollama")
    _is(lab, ProviderStatus.DOWN, "ollama")
    lab.actions.discover()
    until(lambda: lab.state("ollama") is None)


def test_a_look_around_that_breaks_is_over(bench: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_args: Any, **_more: Any) -> Discovery:
        raise PaddockError.of("no")

    monkeypatch.setattr(registry_module, "discover", broken)
    lab = bench()
    lab.write("", "discover = true")
    lab.config.poll()
    lab.actions.discover()
    until(lambda: lab.said() == ["no"])
    assert lab.registry.discovery.value.running is False


def test_the_environment_names_a_server_and_a_configured_one_wins(bench: Make, ollama: Ollama) -> None:
    lab = bench("", environ={"OLLAMA_HOST": ollama.url.removeprefix("http://")})
    assert _is(lab, ProviderStatus.UP, "ollama").origin is Origin.ENVIRONMENT
    lab.rewrite(provider(ollama.url))
    _is(lab, ProviderStatus.UP)
    assert lab.state("ollama") is None


def test_what_the_command_line_names_is_waited_for(bench: Make, ollama: Ollama, monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[Any] = [Failure("Nothing is listening", "gpu-box"), Failure("Nothing is listening", "gpu-box")]

    async def find(_text: str, _kinds: Any) -> Any:
        return answers.pop(0) if answers else _found(ollama.url)

    monkeypatch.setattr(registry_module, "find", find)
    lab = bench(provider(ollama.url), extra="gpu-box")
    given = _is(lab, ProviderStatus.UP, "given")
    assert (given.origin, given.endpoint.url) == (Origin.FLAG, ollama.url)
    assert lab.said() == ["Nothing is listening (gpu-box)"]  # once
    watch = lab.registry.watch("given")
    lab.rewrite(provider(ollama.url, more='timeout = "9s"'))
    assert lab.registry.watch("given") is watch


# --- who holds the port ------------------------------------------------------------------------------------------------


def _held(monkeypatch: pytest.MonkeyPatch, holder: Holder) -> None:
    async def held_by(_url: str) -> Holder:
        return holder

    monkeypatch.setattr(watch_module, "held_by", held_by)


def test_where_a_server_runs_is_open_until_its_port_was_looked_at(bench: Make, ollama: Ollama, monkeypatch: pytest.MonkeyPatch) -> None:
    known = asyncio.Event()

    async def held_by(_url: str) -> Holder:
        await known.wait()
        return Holder(pid=10, process_name="ollama", user="me", uid=0)

    monkeypatch.setattr(watch_module, "held_by", held_by)
    lab = bench(provider(ollama.url))
    until(lambda: lab.registry.models.value)
    state = _is(lab, ProviderStatus.UP)
    assert (state.location, state.owner) == (Location.ASK, "")
    assert lab.notices.questions.value == ()
    lab.do(known.set)
    until(lambda: lab.state("lab").location is Location.HERE)


def test_a_tunnel_that_drops_before_the_answer_does_not_become_this_machine(
    bench: Make, ollama: Ollama, monkeypatch: pytest.MonkeyPatch
) -> None:
    holders: list[Holder | None] = [Holder(pid=9, process_name="ssh", is_ssh_tunnel=True)]
    asked: list[Holder | None] = []

    async def held_by(_url: str) -> Holder | None:
        asked.append(holders[-1])
        return holders[-1]

    monkeypatch.setattr(watch_module, "held_by", held_by)
    lab = bench(provider(ollama.url))
    until(lambda: lab.notices.questions.value)
    holders.append(None)
    ollama.version = "0.25.0"  # it was started again: its port is looked at anew
    lab.do(lambda: lab.registry.refresh())
    until(lambda: None in asked and not lab.state("lab").owner)
    assert lab.state("lab").location is Location.ASK


def test_X17_no_key_goes_to_another_persons_port_unless_allowed_and_that_is_asked_once_ever(
    bench: Make, ollama: Ollama, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _held(monkeypatch, Holder(pid=812, uid=1234, user="bob", other_person=True))
    database = Database(tmp_path / "paddock.db")
    text = provider(ollama.url, more='api_key = "env:KEY"')
    lab = bench(text, meta=Meta(database))
    question = until(lambda: lab.notices.questions.value)[0]
    assert "bob" in question.text
    assert question.choices[0][0] == "no"
    assert "Nothing was sent" in _is(lab, ProviderStatus.FAILED).failure.what
    assert ollama.requests == []
    lab.do(lambda: lab.notices.answer(question.id, "no"))
    until(lambda: not lab.notices.questions.value)
    assert ollama.requests == []
    lab.actions.refresh("lab")
    question = until(lambda: lab.notices.questions.value)[0]
    lab.do(lambda: lab.notices.answer(question.id, "send"))
    _is(lab, ProviderStatus.UP)
    assert ollama.requests[0].headers["authorization"] == "Bearer sk-key-1"
    assert ("trust", ollama.url, "ok") in lab.audited()
    lab.close()

    other = bench(text, meta=Meta(database))
    _is(other, ProviderStatus.UP)
    assert other.notices.questions.value == ()
    assert other.wait(lambda: other.ports.ask_trust(ollama.url, Holder(uid=1234, other_person=True), "your prompt"))
    other.close()
    database.close()


def test_X17_without_a_key_listing_never_asks(bench: Make, ollama: Ollama, monkeypatch: pytest.MonkeyPatch) -> None:
    _held(monkeypatch, Holder(pid=812, uid=1234, user="bob", other_person=True))
    lab = bench(provider(ollama.url))
    state = until(lambda: _is(lab, ProviderStatus.UP).owner and lab.state("lab"))
    assert state.other_person
    assert state.owner == "pid 812, user bob"
    until(lambda: lab.registry.models.value)
    assert lab.notices.questions.value == ()


@pytest.mark.parametrize("configured", [True, False])
def test_where_a_tunnel_leads_is_asked_once_ever(
    bench: Make, ollama: Ollama, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, configured: bool
) -> None:
    _held(monkeypatch, Holder(pid=9, process_name="ssh", is_ssh_tunnel=True))
    database = Database(tmp_path / "paddock.db")
    text = provider(ollama.url) if configured else ""
    environ = {} if configured else {"OLLAMA_HOST": ollama.url}
    name = "lab" if configured else "ollama"
    lab = bench(text, environ=environ, meta=Meta(database))
    until(lambda: (state := lab.state(name)) is not None and state.location is Location.ASK)
    question = until(lambda: lab.notices.questions.value)[0]
    assert question.choices[0][0] == "elsewhere"
    lab.do(lambda: lab.notices.answer(question.id, "elsewhere"))
    until(lambda: lab.state(name).location is Location.ELSEWHERE)
    if configured:
        until(lambda: 'location = "elsewhere"' in lab.paths.config_file.read_text())
    else:
        assert lab.config.current.value.providers == {}  # an answer saves no server that was never added
    lab.close()

    other = bench(text, environ=environ, meta=Meta(database))
    until(lambda: (state := other.state(name)) is not None and state.location is Location.ELSEWHERE)
    other.do(lambda: None)
    assert other.notices.questions.value == ()
    _held(monkeypatch, Holder(pid=10, process_name="ollama"))  # the tunnel is gone, a server of this machine took the port
    other.rewrite("")
    other.rewrite(provider(ollama.url, "fresh"))
    until(lambda: _is(other, ProviderStatus.UP, "fresh").location is Location.HERE)
    other.close()
    database.close()
