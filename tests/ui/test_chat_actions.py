"""Keys that act on the message under the cursor."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.widgets import Button, TextArea

from tests.support.fake_services import FakeServices, ScreenHost
from tests.support.screen import screen_text, until
from tests.ui.chat_data import answer, prompt, shown, view
from tui.core.chat import Timeline
from tui.core.models import Model
from tui.core.monitor import Profile
from tui.ui.screens import chat_actions
from tui.ui.screens.chat import ChatScreen
from tui.ui.widgets.confirm import ARMED_AFTER, ConfirmDialog

MESSAGES = (prompt("first question"), answer("first answer"), prompt("second question", 3), answer("second answer", number=4))


def host(fake: FakeServices) -> ScreenHost:
    return ScreenHost(ChatScreen(fake))


@pytest.fixture
def talk(fake: FakeServices) -> FakeServices:
    """Two questions, two answers; the first answer has a sibling."""
    fake.chat.view.set(view(*MESSAGES, branches={2: (2, 9), 9: (2, 9)}))
    return fake


@pytest.fixture
def ready(monkeypatch: pytest.MonkeyPatch) -> None:
    """Confirmations can be answered as soon as they are drawn."""
    monkeypatch.setattr(ConfirmDialog, "armed", property(lambda self: self._shown_at is not None))
    assert ARMED_AFTER > 0


@pytest.mark.parametrize(
    ("keys", "verb", "args"),
    [
        (("r",), "regenerate", (4,)),
        (("K", "K", "r"), "regenerate", (2,)),
        (("K", "K", "K", "r"), "regenerate", (2,)),
        (("B",), "branch", (4,)),
        (("K", "K", "B"), "branch", (2,)),
        (("K", "K", ">"), "switch", (2, 1)),
        (("K", "K", "<"), "switch", (2, -1)),
        (("p",), "pin_message", (4, True)),
        (("z",), "undo_delete", ()),
    ],
)
async def test_verbs_act_on_the_message_under_the_cursor(talk: FakeServices, keys: tuple[str, ...], verb: str, args: object) -> None:
    app = host(talk)
    async with app.run_test(size=(80, 30)) as pilot:
        await shown(app, "second answer")
        await pilot.press("tab", *keys)
        await until(lambda: talk.called(verb))
        assert talk.called(verb) == [args]


async def test_the_cursor_is_seen_while_the_transcript_has_the_focus(talk: FakeServices) -> None:
    app = host(talk)
    async with app.run_test(size=(80, 30)) as pilot:
        await shown(app, "second answer")
        assert not [line for line in screen_text(app).split("\n") if line.startswith("> ")]
        await pilot.press("tab")
        await shown(app, "> qwen3:8b ─")
        await pilot.press("K")
        await shown(app, "> you ─")
        await pilot.click("#chat-transcript", offset=(3, 4))
        await until(lambda: app.screen.transcript.cursor == 2)
        await shown(app, "> qwen3:8b ‹1/2› ─")
        await pilot.press("i")
        await until(lambda: "> " not in [line[:2] for line in screen_text(app).split("\n")])


async def test_the_cursor_goes_along_to_another_branch(talk: FakeServices) -> None:
    app = host(talk)
    async with app.run_test(size=(80, 30)) as pilot:
        await shown(app, "second answer")
        await pilot.press("tab", "K", "K", ">")
        talk.chat.view.set(view(MESSAGES[0], answer("another answer", number=9), branches={2: (2, 9), 9: (2, 9)}))
        await shown(app, "> qwen3:8b ‹2/2› ─")
        await pilot.press(">")
        assert talk.called("switch") == [(2, 1), (9, 1)]


async def test_a_message_without_branches_is_not_switched(talk: FakeServices) -> None:
    app = host(talk)
    async with app.run_test(size=(80, 30)) as pilot:
        await shown(app, "second answer")
        await pilot.press("tab", ">")
        assert not talk.called("switch")


async def test_editing_takes_several_lines_and_an_escape_asks_once(talk: FakeServices) -> None:
    app = host(talk)
    async with app.run_test(size=(80, 30)) as pilot:
        await shown(app, "second answer")
        await pilot.press("tab", "K", "e")
        await shown(app, "Edit the prompt; the old one stays as a branch")
        assert app.screen.query_one(TextArea).text == "second question"
        await pilot.press("enter", "x", "escape")
        await shown(app, "esc again gives up what you wrote")
        await pilot.press("ctrl+s")
        await until(lambda: talk.called("edit"))
        assert talk.called("edit") == [(3, "second question\nx")]
        await pilot.press("J", "e")
        await shown(app, "Edit the answer, as if the model had given it")
        await pilot.press("escape")
        await shown(app, "second answer")
        assert len(talk.called("edit")) == 1


@pytest.mark.parametrize(("choice", "following"), [("one", False), ("all", True)])
async def test_deleting_asks_which(talk: FakeServices, ready: None, choice: str, following: bool) -> None:
    app = host(talk)
    async with app.run_test(size=(80, 30)) as pilot:
        await shown(app, "second answer")
        await pilot.press("tab", "K", "K", "d")
        await shown(app, "Delete this message of qwen3:8b (first answer)? z brings it back.")
        await shown(app, "It and 2 below")
        await until(lambda: app.screen.armed)
        await pilot.press(*["right"] * (2 if following else 1), "enter")
        await until(lambda: talk.called("delete_message"))
        assert [call for call in talk.calls if call[0] == "delete_message"] == [("delete_message", (2,), {"following": following})]


async def test_answering_again_with_another_model_and_options(talk: FakeServices) -> None:
    talk.registry.models.set((Model("ollama", "qwen3:8b", "qwen3:8b"), Model("gpu2", "phi4:14b", "phi4:14b")))
    app = host(talk)
    async with app.run_test(size=(80, 30)) as pilot:
        await shown(app, "second answer")
        await pilot.press("tab", "R")
        await shown(app, "Answer again with")
        await pilot.press(*"phi5:14b", "enter")
        await shown(app, "phi5:14b is not installed. Did you mean phi4:14b?")
        await pilot.press("ctrl+u", *"phi4:14b", "tab", "ctrl+u", *"temperature=9", "enter")
        await until(lambda: "temperature" in screen_text(app) and not talk.called("regenerate"))
        await pilot.press("ctrl+u", *"seed=7", "enter")
        await until(lambda: talk.called("regenerate"))
        assert talk.called("regenerate") == [(4, "gpu2", "phi4:14b", {"seed": 7})]


async def test_saving_a_message_or_its_code_to_a_new_file(talk: FakeServices, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    talk.chat.view.set(view(prompt("q"), answer("see\n\n```python\nx = 1\n```\n")))
    (tmp_path / "message.md").write_text("mine", encoding="utf-8")
    app = host(talk)
    async with app.run_test(size=(80, 30)) as pilot:
        await shown(app, "x = 1")
        await pilot.press("tab", "s")
        await shown(app, "code block 1")
        await pilot.press("enter")
        await shown(app, "Save to")
        await pilot.press("enter")
        await until((tmp_path / "code.txt").exists)
        await until(lambda: (tmp_path / "code.txt").read_text(encoding="utf-8") == "x = 1\n")
        assert (tmp_path / "code.txt").stat().st_mode & 0o777 == 0o600
        await pilot.press("s", "up", "enter")
        await shown(app, "Save to")
        await pilot.press("enter")
        await shown(app, "exists: write another name")
        assert (tmp_path / "message.md").read_text(encoding="utf-8") == "mine"


async def test_w_shows_the_whole_timeline_beside_the_servers(talk: FakeServices) -> None:
    app = host(talk)
    async with app.run_test(size=(80, 30)) as pilot:
        await shown(app, "second answer")
        await pilot.press("tab", "w")
        await shown(app, "measured  · waited 0.0s  ▒ loaded 0.0s  ░ read 0.3s  ▓ wrote 4.4s")
        await shown(app, "server    read 31 tokens  wrote 212 tokens")
        await shown(app, "          ░░░▓▓▓")
        await pilot.press("w")
        await until(lambda: "measured" not in screen_text(app))


async def test_w_tells_the_energy_too_and_how_the_model_usually_does(fake: FakeServices) -> None:
    measured = Timeline(waited=0.0, read=0.3, wrote=4.4, joules=340.0)
    fake.chat.view.set(view(prompt("why"), answer("because", provider="ollama", timeline=measured)))
    fake.monitor.profiles.set({("ollama", "qwen3:8b"): Profile(11, rate=45.0, first_token=2.1, joules=210.0, joules_per_token=0.9)})
    app = host(fake)
    async with app.run_test(size=(80, 30)) as pilot:
        await shown(app, "because")
        assert "energy" not in screen_text(app)
        await pilot.press("tab", "w")
        await shown(app, "energy    340 J, 1.6 J a token, of the GPU")
        await shown(app, "usually   45 tok/s, first token 2.1s, 210 J, 0.90 J a token (11 answers)")


async def test_lines_are_selected_with_keys(talk: FakeServices) -> None:
    app = host(talk)
    async with app.run_test(size=(80, 30)) as pilot:
        await shown(app, "second answer")
        await pilot.press("tab", "K", "v")
        await shown(app, "1 line selected · y copies")
        await pilot.press("j", "j", "j")
        await shown(app, "4 lines selected")
        await pilot.press("y")
        await until(lambda: app.copied)
        assert app.copied[0].split("\n")[0] == "second question"
        assert app.copied[0].split("\n")[-1] == "second answer"
        await until(lambda: "selected" not in screen_text(app))
        await pilot.press("v", "escape")
        await until(lambda: "selected" not in screen_text(app))
        assert app.focused is app.screen.transcript


async def test_X06_a_link_shows_its_real_host_and_only_pages_are_opened(
    talk: FakeServices, ready: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    monkeypatch.setattr(chat_actions, "has_desktop", lambda: True)
    hostile = "[ollama.com](http://a@evil.example/x) <javascript:alert(1)> http://xn--e1awd7f.com and [safe](https://ollama.com)"
    talk.chat.view.set(view(prompt("q"), answer(hostile)))
    app = host(talk)
    async with app.run_test(size=(100, 30)) as pilot:
        await shown(app, "ollama.com (http://a@evil.example/x)")
        await pilot.press("tab", "x")
        await shown(app, "Links of this message")
        await pilot.press("enter")
        await shown(app, "leads to evil.example.")
        await until(lambda: app.screen.armed)
        await pilot.press("enter")
        assert opened == []
        await pilot.press("x", *"javascript", "enter")
        await shown(app, "Only http and https are opened.")
        assert [button.name for button in app.screen.query(Button)] == ["keep", "copy"]
        await pilot.press("escape", "x", *"https", "enter")
        await shown(app, "leads to ollama.com.")
        await until(lambda: app.screen.armed)
        await pilot.press("right", "right", "enter")
        await until(lambda: opened)
        assert opened == ["https://ollama.com"]


@pytest.mark.parametrize(
    ("environ", "expected"),
    [({"DISPLAY": ":0"}, True), ({"DISPLAY": ":0", "SSH_TTY": "/dev/pts/1"}, False), ({"WAYLAND_DISPLAY": "w"}, True)],
)
def test_P58_a_machine_without_a_desktop_opens_nothing(environ: dict[str, str], expected: bool) -> None:
    assert chat_actions.has_desktop(environ) is expected
