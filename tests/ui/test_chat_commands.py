"""The `/` commands: each does what it says, and says what is wrong."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from textual.app import App, ComposeResult
from textual.widgets import Input

from tests.support.fake_services import FakeServices
from tests.support.screen import until
from tui.core.capabilities import Ability
from tui.core.chat import Attachment, ConversationHead, ConversationSettings, Message, Role
from tui.core.errors import Failure
from tui.core.models import Model, ModelDetail
from tui.services.chat.api import ConversationView
from tui.ui.screens import chat_command_files as files
from tui.ui.screens.chat_command_options import can_see
from tui.ui.screens.chat_commands import COMMANDS, ChatCommands
from tui.ui.widgets.confirm import ChoiceDialog, ConfirmDialog, InputDialog
from tui.ui.widgets.prompt import Composer, PromptArea

PROMPT = Message(1, 7, 1, Role.USER, "q")
TALK = ConversationView(7, "Title", "ollama", "qwen3:8b", messages=(PROMPT,), tags=("work",))


class Host(App[None]):
    """A screen that only remembers what it was asked."""

    def __init__(self, fake: FakeServices) -> None:
        super().__init__()
        self.services: Any = fake
        self.said: list[str] = []
        self.asked: list[tuple[object, ...]] = []
        self.commands = ChatCommands(self)

    def compose(self) -> ComposeResult:
        yield PromptArea()

    @property
    def composer(self) -> Composer:
        return self.screen_stack[0].query_one(Composer)

    def say(self, text: str, *, error: bool = False) -> None:
        self.said.append(text)

    def fail(self, failure: Failure) -> None:
        assert failure.what
        self.said.append(failure.sentence())

    def on_composer_trouble(self, event: Composer.Trouble) -> None:
        files.say_failures(self, event.failures)

    def choose_model(self) -> None:
        self.asked.append(("model",))

    def choose_options(self) -> None:
        self.asked.append(("options",))

    def open_compare(self, models: Sequence[tuple[str, str]] = (), *, blind: bool = False) -> None:
        self.asked.append(("compare", tuple(models), blind))

    def open_complete(self) -> None:
        self.asked.append(("complete",))

    def open_votes(self) -> None:
        self.asked.append(("votes",))

    def tool_names(self) -> Sequence[str]:
        return ("time", "calculator")


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeServices:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    services = FakeServices(tmp_path)
    services.registry.models.set(
        (Model("ollama", "qwen3:8b", "qwen3:8b"), Model("ollama", "phi4:14b", "phi4:14b"), Model("vllm", "qwen3:8b", "qwen3:8b"))
    )
    services.chat.view.set(TALK)
    return services


def obey(fake: FakeServices, text: str) -> Host:
    host = Host(fake)
    host.commands.run(text)
    return host


def configured(fake: FakeServices) -> ConversationSettings:
    found = fake.called("configure")[-1][0]
    assert isinstance(found, ConversationSettings)
    return found


@pytest.mark.parametrize(
    ("text", "verb", "args"),
    [
        ("/continue", "go_on", ()),
        ("/drop", "drop_oldest", ()),
        ("/summarise ", "summarise", ()),
        ("/export", "export", (7, "md")),
        ("/export html", "export", (7, "html")),
        ("/title A talk", "rename", (7, "A talk")),
        ("/title", "rename", (7, "")),
        ("/tag home  -work", "tag", (7, ["home"])),
        ("/tag #work home", "tag", (7, ["work", "home"])),
        ("/model phi4:14b", "use_model", ("ollama", "phi4:14b")),
        ("/model qwen3:8b", "use_model", ("ollama", "qwen3:8b")),
        ("/model vllm/qwen3:8b", "use_model", ("vllm", "qwen3:8b")),
        ("/new", "new", ("ollama", "qwen3:8b")),
        ("/incognito phi4:14b", "new", ("ollama", "phi4:14b")),
        ("/compare qwen3:8b phi4:14b", "compare", ("", [("ollama", "qwen3:8b"), ("ollama", "phi4:14b")])),
    ],
)
def test_verbs(fake, text, verb, args):
    host = obey(fake, text)
    assert fake.called(verb) == [args]
    assert not host.said


@pytest.mark.parametrize(
    ("text", "changes"),
    [
        ("/think high", {"think": "high"}),
        ("/preset precise", {"preset": "precise"}),
        ("/system be brief\nand kind", {"system": "be brief\nand kind"}),
        ("/system\nbe brief", {"system": "be brief"}),
        ("/system off", {"system": ""}),
        ("/set temperature 0.2", {"options": {"temperature": 0.2}}),
        ("/set temperature=0.2", {"options": {"temperature": 0.2}}),
        ("/set temperature = 0.2", {"options": {"temperature": 0.2}}),
        ("/keep 10m", {"keep_alive": "10m"}),
        ("/keep forever", {"keep_alive": "-1"}),
        ("/keep off", {"keep_alive": ""}),
        ("/format json", {"format": "json"}),
        ("/tools time, calculator", {"tools": ("time", "calculator")}),
        ("/tools off", {"tools": ()}),
    ],
)
def test_settings_of_a_conversation(fake, text, changes):
    obey(fake, text)
    assert configured(fake) == replace(ConversationSettings(), **changes)


def test_an_option_is_taken_back_by_its_name(fake):
    fake.chat.view.set(replace(TALK, settings=ConversationSettings(options={"temperature": 0.5, "top_k": 3})))
    assert obey(fake, "/set temperature").said == ["temperature is the model's own"]
    assert configured(fake).options == {"top_k": 3}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("/contineu", "There is no command /contineu. Did you mean /continue?"),
        ("/zzz\x1b[31m", "/ lists the commands"),
        ("/continue now", "/continue takes nothing behind it"),
        ("/think hard", "/think takes one of auto, on, off"),
        ("/preset preciss", "Did you mean precise?"),
        ("/set temprature 1", "There is no option temprature"),
        ("/set temprature", "There is no option temprature"),
        ("/set temperature 9", "temperature"),
        ("/set stop", "stop is the model's own"),
        ("/model qwen3:9b", "Did you mean qwen3:8b?"),
        ("/compare qwen3:8b nothing", "nothing is not installed. a on the Library screen pulls it"),
        ("/export pdf", "/export takes one of md, json, html"),
        ("/keep long", "/keep long"),
        ("/tools rm", "There is no tool rm"),
        ("/tag a#b", "cannot be a tag"),
        ("/import", "/import takes one file"),
        ("/attach", "Nothing is attached"),
        ("/format", "Answers come as text"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_happens(fake, text, words):
    host = obey(fake, text)
    assert words in host.said[0]
    assert "\x1b" not in host.said[0]
    assert not [call for call in fake.calls if call[0] != "configure"]
    if "own" not in words:
        assert not fake.calls


@pytest.mark.parametrize("text", ["/export", "/title x", "/tag x"])
def test_what_needs_a_stored_conversation_says_so(fake, text):
    fake.chat.view.set(ConversationView())
    assert obey(fake, text).said == ["Nothing was sent in this conversation yet"]
    assert not fake.calls


def test_dialogs_of_the_screen(fake):
    assert obey(fake, "/model").asked == [("model",)]
    assert obey(fake, "/set").asked == [("options",)]
    assert obey(fake, "/complete").asked == [("complete",)]
    assert obey(fake, "/votes").asked == [("votes",)]
    assert obey(fake, "/compare").asked == [("compare", (), False)]
    assert obey(fake, "/compare blind phi4:14b").asked == [("compare", (("ollama", "phi4:14b"),), True)]


def test_a_blind_comparison_is_not_in_the_order_that_was_typed(fake):
    typed = [("ollama", "qwen3:8b"), ("ollama", "phi4:14b")]
    orders = set()
    for _ in range(60):
        obey(fake, "/compare blind " + " ".join(key for _, key in typed))
        (_, models), _ = fake.calls[-1][1:]
        assert sorted(models) == sorted(typed)
        orders.add(tuple(models))
    assert len(orders) > 1


def test_every_command_is_listed_with_what_it_does(fake):
    names = [command.name for command in COMMANDS]
    assert names == sorted(names)
    wanted = "set compare complete think system edit attach export import continue new incognito model title tag preset format tools keep"
    assert set(names) >= {f"/{name}" for name in f"{wanted} template drop summarise votes".split()}
    assert all(command.help and len(command.help) < 60 for command in COMMANDS)


# --- completion -------------------------------------------------------------------------------------------------------


def choices(fake: FakeServices, line: str) -> list[str]:
    found = Host(fake).commands.complete(line)
    return [line[: found.start] + choice.text for choice in found.choices] if found is not None else []


def test_completion(fake):
    assert choices(fake, "/th") == ["/think"]
    assert "/set" in choices(fake, "/")
    assert choices(fake, "/think ") == [f"/think {level}" for level in ("auto", "on", "off", "low", "medium", "high")]
    assert choices(fake, "/think hi") == ["/think high"]
    assert choices(fake, "/think high") == []
    assert choices(fake, "/model ph") == ["/model phi4:14b"]
    assert choices(fake, "/model ") == ["/model qwen3:8b", "/model phi4:14b", "/model vllm/qwen3:8b"]
    assert choices(fake, "/model 14") == ["/model phi4:14b"], "anywhere in the name"
    assert choices(fake, "/set temp") == ["/set temperature"]
    assert choices(fake, "/preset cr") == ["/preset creative"]
    assert choices(fake, "/export j") == ["/export json"]
    assert choices(fake, "/tools time c") == ["/tools time calculator"]
    assert choices(fake, "/compare bl") == ["/compare blind"]
    assert choices(fake, "/nonsense x") == []
    assert choices(fake, "/continue ") == []
    fake.chat.heads.set((ConversationHead(1, "t", "o", "m", 0, 0, 1, tags=("home", "work")),))
    assert choices(fake, "/tag ") == ["/tag home"]
    assert choices(fake, "/tag -") == ["/tag -work"]


@pytest.mark.parametrize(("line", "start"), [("/attach src/ma", 8), ('/attach a.md "two wo', 13), ("/import ~/", 8), ("/format ./s", 8)])
def test_paths_are_completed_as_paths(fake, line, start):
    found = Host(fake).commands.complete(line)
    assert found is not None
    assert found.paths
    assert found.start == start


# --- files ------------------------------------------------------------------------------------------------------------


async def test_attach(fake, tmp_path):
    for number in range(25):
        (tmp_path / f"{number} n.txt").write_text("x")
    host = Host(fake)
    async with host.run_test(size=(80, 24)) as pilot:
        host.commands.run("/attach '1 n.txt' @2\\ n.txt gone.md")
        await until(lambda: fake.called("attach"))
        assert [Path(path).name for path in fake.called("attach")[0][0]] == ["1 n.txt", "2 n.txt"]
        assert host.said == [f"gone.md does not exist ({tmp_path}/gone.md)"]
        host.commands.run("/attach *.txt")
        await until(lambda: isinstance(host.screen, ConfirmDialog))
        assert len(fake.called("attach")) == 1
        await until(lambda: host.screen.armed)
        await pilot.press("right", "enter")
        await until(lambda: len(fake.called("attach")) == 2)
        assert len(fake.called("attach")[1][0]) == 25
        fake.chat.view.set(replace(TALK, attached=(Attachment("a.md"), Attachment("b.md"))))
        host.commands.run("/attach")
        await until(lambda: isinstance(host.screen, ChoiceDialog))
        await pilot.press("down", "enter")
        await until(lambda: fake.called("detach") == [(1,)])


def test_whether_the_model_sees_is_known_or_not(fake):
    assert can_see(Host(fake)) is None
    fake.registry.models.set((Model("ollama", "qwen3:8b", "qwen3:8b", abilities=frozenset({Ability.COMPLETION})),))
    assert can_see(Host(fake)) is False
    detail = ModelDetail("ollama", "qwen3:8b", abilities=frozenset({Ability.COMPLETION, Ability.VISION}))
    fake.registry.details.set({("ollama", "qwen3:8b"): detail})
    assert can_see(Host(fake)) is True
    fake.registry.details.set({("ollama", "qwen3:8b"): Failure("gone")})
    assert can_see(Host(fake)) is False


def test_the_question_about_files_names_the_figures(fake):
    from tui.services.chat.references import expand

    with tempfile.TemporaryDirectory(prefix="p") as short:  # names are cut where they are long
        home = Path(short, "home")
        home.mkdir()
        Path(short, "secret").write_text("x")
        (home / "blob").write_bytes(b"\0")
        (home / "a").write_text("x" * 2_000_000)
        assert files.files_question(expand(["../secret"], home, home=home)) == (
            f"Attach {home}/../secret, 1 B? {home}/../secret is outside your home folder and the one Paddock was started in."
        )
        assert files.files_question(expand(["*"], home, home=home)) == f"Attach {home}/a, 2.0 MB? 1 that is not text is left out."


@pytest.mark.parametrize(
    ("content", "words"),
    [("{", "The schema is no JSON"), ("[]", "A JSON schema is an object"), ("[" * 100_000, "The schema"), ("\0", "is not text")],
)
async def test_a_schema_that_is_none_is_refused(fake, tmp_path, content, words):
    (tmp_path / "s.json").write_text(content)
    host = Host(fake)
    async with host.run_test():
        host.commands.run("/format s.json")
        await until(lambda: host.said)
        assert words in host.said[0]
        assert not fake.called("configure")


async def test_a_schema_from_a_file(fake, tmp_path):
    (tmp_path / "s.json").write_text('{"type": "object"}')
    host = Host(fake)
    async with host.run_test():
        host.commands.run("/format s.json")
        await until(lambda: fake.called("configure"))
        assert configured(fake).format == {"type": "object"}


def test_import_finds_the_home_folder(fake, tmp_path):
    obey(fake, "/import ~/talk.json")
    assert fake.called("read_in") == [(str(tmp_path / "talk.json"),)]


async def test_a_template_asks_for_its_blanks_and_fills_the_composer(fake, tmp_path):
    folder = fake.config.paths.config_file.parent / "prompts"
    folder.mkdir(parents=True)
    (folder / "review.md").write_text("# Review\nReview as {{who:an expert}}: {{selection}} @notes.md")
    (folder / "broken.md").write_text("{{")
    host = Host(fake)
    async with host.run_test(size=(80, 24)) as pilot:
        host.commands.run("/template review x = 1")
        await until(lambda: isinstance(host.screen, InputDialog) and host.screen.query(Input))
        assert host.screen.query_one(Input).value == "an expert"
        await pilot.press("enter")
        await until(lambda: host.composer.text == "Review as an expert: x = 1 @notes.md")
        assert set(host.composer.marks) == {"p"}, "nothing of it counts as typed"
        assert "broken.md:1" in host.said[0]
        host.commands.run("/template reviw")
        await until(lambda: any("Did you mean review?" in said for said in host.said))
        host.commands.complete("/template re")
        await until(lambda: [choice.text for choice in host.commands.complete("/template re").choices] == ["review"])


async def test_edit_hands_the_text_over(fake, tmp_path, monkeypatch):
    monkeypatch.setenv("VISUAL", "")
    monkeypatch.setenv("EDITOR", "")
    host = Host(fake)
    async with host.run_test():
        host.composer.state_folder = tmp_path
        host.commands.run("/edit a draft")
        await until(lambda: host.said == ["No editor is set ($VISUAL, $EDITOR)"])
        assert host.composer.text == "a draft"


def test_X21_nothing_but_the_composer_runs_commands():
    """A model's answer and a paste never come here: only `Composer.Command` does (see tests/widgets)."""
    import tui.ui

    root = Path(tui.ui.__file__).parent
    found = [path.name for path in root.rglob("*.py") if "_commands.run(" in path.read_text() or "commands.run(event" in path.read_text()]
    assert found == ["chat.py"], os.linesep.join(found)
