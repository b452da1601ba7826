"""What is done to models and providers: verified, said truthfully, noted."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.chat.live import Bench, Loop, Ollama, provider, until
from tui.core.models import ProviderStatus
from tui.providers.discovery import Found
from tui.services import actions as actions_module
from tui.services.actions import _name_of

Make = Callable[..., Bench]


@pytest.fixture
def lab(lab: Bench) -> Bench:
    """Up, with its list."""
    until(lambda: len(lab.registry.models.value) == 2 and lab.state().status is ProviderStatus.UP)
    return lab


def _said(lab: Bench, word: str) -> str:
    return str(until(lambda: next((text for text in lab.said() if word in text), ""), f"{word!r} is not said: {lab.said()}"))


# --- models ------------------------------------------------------------------------------------------------------------


def test_load_and_unload_are_verified_said_and_noted(lab: Bench) -> None:
    lab.actions.load("lab", "qwen3:8b")
    _said(lab, "qwen3:8b is loaded on lab")
    until(lambda: [running.key for running in lab.registry.running.value] == ["qwen3:8b"])
    lab.actions.keep("lab", "qwen3:8b", "1h")
    lab.idle()
    lab.actions.unload("lab", "qwen3:8b")
    _said(lab, "qwen3:8b is unloaded")
    until(lambda: lab.registry.running.value == ())
    assert lab.audited() == [("load", "lab/qwen3:8b", "ok"), ("keep", "lab/qwen3:8b", "ok"), ("unload", "lab/qwen3:8b", "ok")]


def test_a_load_that_did_not_happen_is_not_called_one(lab: Bench, ollama: Ollama) -> None:
    ollama.lies.add("generate")
    lab.actions.load("lab", "qwen3:8b")
    _said(lab, "was loaded and is gone again")
    assert not any("is loaded" in text for text in lab.said())
    assert lab.audited() == [("load", "lab/qwen3:8b", "failed")]


def test_an_unload_waits_for_what_runs(lab: Bench, ollama: Ollama) -> None:
    ollama.loaded["qwen3:8b"] = 1
    ollama.stubborn = 4
    lab.actions.unload("lab", "qwen3:8b")
    _said(lab, "is unloaded")
    assert ollama.stubborn == 0


def test_P73_an_unload_that_never_happens_is_said(lab: Bench, ollama: Ollama) -> None:
    ollama.loaded["qwen3:8b"] = 1
    ollama.stubborn = 10**6
    lab.actions.unload("lab", "qwen3:8b")
    _said(lab, "still loaded")
    lab.idle()
    assert [running.key for running in lab.registry.running.value] == ["qwen3:8b"]
    assert not any("is unloaded" in text for text in lab.said())


def test_P46_what_a_server_refuses_is_said_in_its_words(lab: Bench, ollama: Ollama) -> None:
    ollama.status = 500
    lab.actions.load("lab", "qwen3:8b")
    _said(lab, "out of order")
    lab.idle()


def test_P23_a_wait_is_shown_and_ended_by_the_user(lab: Bench, ollama: Ollama, loop: Loop) -> None:
    hold = asyncio.Event()
    loop.call(lambda: setattr(ollama, "hold", hold))
    lab.actions.load("lab", "qwen3:8b")
    activity = until(lambda: lab.registry.activities.value)[0]
    assert (activity.text, activity.target) == ("loading qwen3:8b", "lab")
    until(lambda: ollama.asked("/api/generate"))
    lab.actions.cancel(activity.id)
    _said(lab, "loading qwen3:8b: stopped")
    lab.idle()
    assert lab.audited() == [("load", "lab/qwen3:8b", "not finished")]
    lab.actions.cancel(activity.id)  # too late, and harmless
    loop.call(hold.set)
    lab.do(lambda: None)


@pytest.mark.parametrize(("access", "refused"), [("look", 3), ("use", 0)])
def test_security_access_is_kept_where_verbs_enter(bench: Make, ollama: Ollama, access: str, refused: int) -> None:
    lab = bench(provider(ollama.url) + f'[security]\naccess = "{access}"\n')
    until(lambda: lab.registry.models.value)
    lab.actions.load("lab", "qwen3:8b")
    lab.idle()
    lab.actions.keep("lab", "qwen3:8b", "1h")
    lab.idle()
    lab.actions.unload("lab", "qwen3:8b")
    lab.idle()
    until(lambda: len([text for text in lab.said() if "security.access" in text]) == refused)
    assert "qwen3:8b" in ollama.names
    posts = [request.path for request in ollama.requests if request.method != "GET"]
    assert bool(posts) is (access == "use")


def test_look_is_kept_by_what_limits_and_room_do_too(bench: Make, ollama: Ollama) -> None:
    lab = bench(provider(ollama.url) + '[security]\naccess = "look"\n')
    until(lambda: lab.registry.models.value)
    for act in (lab.actions.load_now, lab.actions.unload_now):
        lab.registry.engine.post(act, "lab", "qwen3:8b")
        lab.idle()
    until(lambda: len([text for text in lab.said() if "security.access" in text]) == 2)
    assert not [request.path for request in ollama.requests if request.method != "GET"]


def test_look_changes_no_provider_either(bench: Make, ollama: Ollama) -> None:
    lab = bench(provider(ollama.url) + '[security]\naccess = "look"\n')
    before = lab.paths.config_file.read_text()
    lab.actions.add_provider("127.0.0.1:1")
    lab.actions.edit_provider("lab", {"timeout": 9})
    lab.actions.adopt("lab")
    lab.actions.remove_provider("lab")
    lab.actions.set_default("lab")
    lab.actions.start_server("lab")
    lab.actions.stop_server("lab")
    until(lambda: len([text for text in lab.said() if "security.access = look" in text]) == 7, str(lab.said()))
    assert lab.paths.config_file.read_text() == before
    assert lab.audited() == []


# --- providers ---------------------------------------------------------------------------------------------------------


def _finds(monkeypatch: pytest.MonkeyPatch, found: Any) -> list[str]:
    asked: list[str] = []

    async def find(address: str, _kinds: Any) -> Any:
        asked.append(address)
        return found

    monkeypatch.setattr(actions_module, "find", find)
    return asked


def test_a_provider_is_found_saved_and_noted_without_its_key(bench: Make, ollama: Ollama, monkeypatch: pytest.MonkeyPatch) -> None:
    _finds(monkeypatch, Found(ollama.url, "ollama", label="Ollama 0.24.0"))
    lab = bench()
    lab.actions.add_provider(ollama.url, "", "sk-literal-42")
    _said(lab, f"ollama: Ollama 0.24.0 at {ollama.url}")
    saved = lab.config.current.value.providers["ollama"]
    assert (saved.url, saved.kind, saved.api_key.literal) == (ollama.url, "ollama", True)
    assert lab.audited() == [("add provider", "ollama", "ok")]
    assert "sk-literal-42" not in (lab.paths.state / "audit.jsonl").read_text()
    lab.actions.add_provider(ollama.url)
    _said(lab, "is there already: ollama")
    lab.actions.add_provider(ollama.url, "ollama")
    _said(lab, "ollama-2: Ollama")
    assert set(lab.config.current.value.providers) == {"ollama", "ollama-2"}


def test_X10_a_key_goes_to_another_address_only_where_the_user_says_so(bench: Make, ollama: Ollama) -> None:
    text = provider(ollama.url, more='api_key = "env:KEY"')
    lab = bench(text)
    lab.actions.edit_provider("lab", {"timeout": 9, "url": ollama.url + "/v1"})
    until(lambda: lab.config.current.value.providers["lab"].timeout == 9)
    assert lab.notices.questions.value == ()  # the same origin
    lab.do(lambda: lab.registry.apply(lab.config.current.value))
    lab.actions.edit_provider("lab", {"url": "http://127.0.0.1:1"})
    question = until(lambda: lab.notices.questions.value)[0]
    assert question.choices[0][0] == "drop"
    lab.do(lambda: lab.notices.answer(question.id, "drop"))
    until(lambda: lab.config.current.value.providers["lab"].url == "http://127.0.0.1:1")
    assert "env:KEY" not in lab.paths.config_file.read_text()
    lab.rewrite(text)
    lab.actions.edit_provider("lab", {"url": "http://127.0.0.1:1"})
    question = until(lambda: lab.notices.questions.value)[0]
    lab.do(lambda: lab.notices.answer(question.id, "send"))
    until(lambda: lab.config.current.value.providers["lab"].url == "http://127.0.0.1:1")
    assert "env:KEY" in lab.paths.config_file.read_text()


def test_what_cannot_be_saved_is_said_and_not_noted(bench: Make, ollama: Ollama) -> None:
    lab = bench(provider(ollama.url))
    lab.actions.edit_provider("lab", {"timeout": "no number"})
    _said(lab, "timeout")
    lab.actions.edit_provider("nobody", {"timeout": 9})
    _said(lab, "no provider named 'nobody'")
    lab.actions.adopt("nobody")
    until(lambda: sum("nobody" in text for text in lab.said()) == 2)
    assert lab.audited() == []


def test_a_removed_provider_is_gone_and_noted(bench: Make, ollama: Ollama) -> None:
    lab = bench(provider(ollama.url))
    lab.actions.remove_provider("lab")
    until(lambda: lab.config.current.value.providers == {})
    until(lambda: lab.audited() == [("remove provider", "lab", "ok")])


def test_servers_cannot_be_started_or_stopped_without_a_worker(lab: Bench) -> None:
    lab.actions.start_server("lab")
    _said(lab, "The database is not open")
    lab.actions.stop_server("lab")
    _said(lab, "Paddock did not start lab")
    assert lab.actions.server_log("lab") == ""


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("http://127.0.0.1:11434", "ollama"),
        ("http://localhost:1", "ollama"),
        ("http://[::1]:1", "ollama"),
        ("http://192.0.2.7:1", "ollama"),
        ("http://gpu-box.lan:1/x", "gpu-box"),
        (f"http://{'a' * 80}:1", "a" * 36),
    ],
)
def test_names_for_new_providers(url: str, name: str) -> None:
    assert _name_of(url, "ollama") == name
