"""The composer with its popup and its attachments: completion, files, history search, the editor."""

from __future__ import annotations

import asyncio
import random
import shutil
import signal
import stat
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from textual import events
from textual.app import App, ComposeResult
from textual.widgets import Static

from tests.support.screen import CANARIES, FORBIDDEN, screen_lines, screen_text, until
from tui.core.chat import Attachment
from tui.core.errors import PaddockError
from tui.services.chat import references
from tui.ui.widgets import external_editor, prompt
from tui.ui.widgets.completion import Choice, Completion
from tui.ui.widgets.prompt import Composer, PromptArea

COMMANDS = {"/set": "[NAME VALUE]", "/system": "[TEXT]", "/think": "LEVEL", "/new": ""}


def complete(line: str) -> Completion | None:
    if " " not in line:
        found = [Choice(name, note=hint, more=False) for name, hint in COMMANDS.items() if name.startswith(line) and name != line]
        return Completion(0, tuple(found), taken_by_enter=line not in COMMANDS)
    return Completion(7, tuple(Choice(word) for word in ("high", "low") if word.startswith(line[7:]) and word != line[7:]))


class Host(App[None]):
    CSS = "#above { height: 1fr; }"

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[object, ...]] = []
        self.last: Composer.ManyFiles | None = None

    def compose(self) -> ComposeResult:
        yield Static("\n".join(f"line {number}" for number in range(60)), id="above")
        yield PromptArea(composer_id="box")

    def on_mount(self) -> None:
        self.box.completer = complete
        self.box.focus()

    @property
    def area(self) -> PromptArea:
        return self.query_one(PromptArea)

    @property
    def box(self) -> Composer:
        return self.query_one(Composer)

    def on_composer_sent(self, event: Composer.Sent) -> None:
        self.seen.append(("sent", event.text, *(Path(path).name for path in event.files), *([event.note] if event.note else [])))

    def on_composer_command(self, event: Composer.Command) -> None:
        self.seen.append(("command", event.text))

    def on_composer_pasted(self, event: Composer.Pasted) -> None:
        self.seen.append(("pasted", len(event.text)))

    def on_composer_dropped(self, event: Composer.Dropped) -> None:
        self.seen.append(("dropped", *(Path(path).name for path in event.paths)))

    def on_composer_many_files(self, event: Composer.ManyFiles) -> None:
        self.last = event
        self.seen.append(("many", len(event.found.paths)))

    def on_composer_trouble(self, event: Composer.Trouble) -> None:
        self.seen.append(("trouble", *(failure.what for failure in event.failures)))

    def on_composer_detached(self, event: Composer.Detached) -> None:
        self.seen.append(("detached", event.index))

    def on_composer_left(self, event: Composer.Left) -> None:
        self.seen.append(("left", event.key))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder Paddock was started in."""
    home = tmp_path / "home"
    for name in ("readme.md", "report.md", "src/main.py", "src/util.py", "two words.md"):
        path = home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("text\n")
    (home / "blob").write_bytes(b"\0\0")
    monkeypatch.chdir(home)
    monkeypatch.setenv("HOME", str(home))
    return home


def write(app: Host, text: str) -> None:
    """Type, without the time that a test's keys take."""
    for char in text:
        app.box.replace_typed(char, *app.box.selection)


# --- typed and pasted ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
async def test_X21_what_was_typed_is_known_through_any_edits(seed: int) -> None:
    """Small letters are typed, capitals pasted: each keeps its mark through deletions, undoing and doing again."""
    chance = random.Random(seed)
    app = Host()
    async with app.run_test(size=(40, 16)):
        box = app.box

        def anywhere() -> tuple[int, int]:
            row = chance.randrange(box.document.line_count)
            return row, chance.randint(0, len(box.document.get_line(row)))

        for _step in range(150):
            box.selection = type(box.selection)(anywhere(), anywhere() if chance.random() < 0.3 else box.selection.end)
            what = chance.randrange(7)
            if what == 0:
                box.insert_pasted("".join(chance.choice("ABC\n\r\t\x1b") for _ in range(chance.randint(1, 9))))
            elif what == 1:
                box.action_delete_word_left()
            elif what == 2:
                box.undo()
            elif what == 3:
                box.redo()
            elif what == 4:
                box.action_delete_to_end_of_line()
            else:
                box.replace_typed(chance.choice("abc\n"), *box.selection)
            text, marks = box.text, box.marks
            assert len(text) == len(marks)
            for char, mark in zip(text, marks, strict=True):
                assert mark == ("\n" if char == "\n" else "t" if char.islower() else "p")


async def test_X21_a_command_is_only_what_was_typed() -> None:
    app = Host()
    async with app.run_test(size=(60, 16)) as pilot:
        box = app.box
        box.insert_pasted("/set a")
        await pilot.press("enter")
        await pilot.press("/")
        box.insert_pasted("set a")
        await pilot.press("enter")
        write(app, "/system ")
        box.insert_pasted("be brief")
        await pilot.press("enter")
        await until(lambda: len(app.seen) == 3)
        assert app.seen == [("sent", "/set a"), ("sent", "/set a"), ("command", "/system be brief")]
        await pilot.press("up", "up", "up")
        assert box.text == "/set a"
        await pilot.press("enter")
        await pilot.press("up", "up", "enter")
        await until(lambda: len(app.seen) == 5)
        assert app.seen[3:] == [("sent", "/set a"), ("command", "/system be brief")]
        box.fill("/new")
        await pilot.press("enter")
        await until(lambda: app.seen[-1] == ("sent", "/new"))
        box.fill("/new", typed=True)
        await pilot.press("enter")
        await until(lambda: app.seen[-1] == ("command", "/new"))


async def test_T14_large_pastes_are_attached_and_small_ones_inserted() -> None:
    app = Host()
    async with app.run_test(size=(60, 16)) as pilot:
        app.post_message(events.Paste("x" * 4000))
        await until(lambda: len(app.box.text) == 4000)
        app.box.load_text("")
        app.post_message(events.Paste("x" * 4001))
        app.post_message(events.Paste("x\n" * 41))
        app.post_message(events.Paste("y" * 5_000_000))
        await until(lambda: len(app.seen) == 3)
        assert app.seen == [("pasted", 4001), ("pasted", 82), ("pasted", 5_000_000)]
        assert app.box.text == ""
        app.box.read_only = True
        app.post_message(events.Paste("x"))
        await pilot.pause()
        assert app.box.text == ""


async def test_enter_and_alt_enter_change_places() -> None:
    app = Host()
    async with app.run_test(size=(60, 16)) as pilot:
        app.box.enter_sends = False
        await pilot.press("a", "enter", "b", "ctrl+j", "c", "alt+enter")
        await until(lambda: app.seen == [("sent", "a\nb\nc")])
        await pilot.press("d", "shift+enter")
        await until(lambda: app.seen[1:] == [("sent", "d")])


# --- files --------------------------------------------------------------------------------------------------------------


async def test_typed_references_are_attached_and_the_text_stays(place: Path) -> None:
    app = Host()
    async with app.run_test(size=(60, 16)) as pilot:
        write(app, "sum up @readme.md, please")
        await pilot.press("enter")
        await until(lambda: app.seen == [("sent", "sum up @readme.md, please", "readme.md")])
        write(app, "@src/*.py")
        await pilot.press("enter")
        await until(lambda: app.seen[1:] == [("sent", "@src/*.py", "main.py", "util.py")])
        app.box.insert_pasted("read @readme.md")
        await pilot.press("enter")
        await until(lambda: app.seen[2:] == [("sent", "read @readme.md")])
        write(app, "@nothing.md")
        await pilot.press("enter")
        await until(lambda: app.seen[3:] == [("sent", "@nothing.md", "@nothing.md names no file: it was sent as text")])
        await pilot.press("up", "up", "up", "up", "enter")
        await until(lambda: app.seen[4:] == [("sent", "sum up @readme.md, please", "readme.md")])


async def test_a_file_that_cannot_be_attached_holds_the_prompt_back(place: Path) -> None:
    app = Host()
    async with app.run_test(size=(60, 16)) as pilot:
        write(app, "see @blob")
        await pilot.press("enter")
        await until(lambda: app.seen == [("trouble", "blob is not text")])
        assert app.box.text == "see @blob"
        (place / "cat.gif").write_bytes(b"GIF89a\x01\0\x01\0\0\0\0")
        app.box.can_see = False
        app.box.fill("see @cat.gif", typed=True)
        await pilot.press("enter")
        await until(lambda: app.seen[1:] == [("trouble", "cat.gif is an image, and the model cannot see")])
        app.box.can_see = None
        await pilot.press("enter")
        await until(lambda: app.seen[2:] == [("sent", "see @cat.gif", "cat.gif")])


async def test_many_files_are_asked_about_first(place: Path) -> None:
    for number in range(25):
        (place / f"n{number}.txt").write_text("x")
    app = Host()
    async with app.run_test(size=(60, 16)) as pilot:
        write(app, "@n*.txt")
        await pilot.press("enter")
        await until(lambda: app.seen == [("many", 25)])
        assert app.box.text == "@n*.txt"
        assert app.last is not None
        app.last.accept()
        await until(lambda: len(app.seen) == 2)
        assert app.seen[1][:2] == ("sent", "@n*.txt")
        assert len(app.seen[1]) == 2 + 25
        assert app.box.text == ""
        app.last.accept()
        await pilot.pause()
        assert len(app.seen) == 2, "an old answer sends nothing"


async def test_P20_a_disk_that_hangs_holds_nothing_up(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go = threading.Event()
    real = references.expand

    def hang(*args: object, **kwargs: object) -> references.Expanded:
        go.wait(30)
        return real(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(prompt.references, "expand", hang)
    monkeypatch.setattr(prompt, "PATIENCE", 0.01)
    app = Host()
    async with app.run_test(size=(60, 16)) as pilot:
        write(app, "@readme.md")
        await pilot.press("enter")
        await until(lambda: "looking at the files" in screen_text(app))
        await pilot.press("escape")
        await until(lambda: "looking at the files" not in screen_text(app))
        assert app.seen == []
        await pilot.press("enter")
        await pilot.press("x")
        assert app.box.text == "@readme.mdx"
        go.set()
        await pilot.pause()
        assert app.seen == [], "who goes on writing does not send"
        await pilot.press("backspace", "enter")
        await until(lambda: app.seen == [("sent", "@readme.md", "readme.md")])


async def test_dropped_files_are_told_and_other_pastes_are_text(place: Path) -> None:
    app = Host()
    async with app.run_test(size=(60, 16)):
        app.post_message(events.Paste(f"'{place}/two words.md' "))
        await until(lambda: app.seen == [("dropped", "two words.md")])
        app.post_message(events.Paste(f"{place}/readme.md is a file"))
        await until(lambda: app.box.text.endswith("readme.md is a file"))
        assert len(app.seen) == 1


async def test_attachments_are_chips_that_can_be_taken_off() -> None:
    app = Host()
    async with app.run_test(size=(60, 16)) as pilot:
        attached = [Attachment("report.md", size=12_000), Attachment("cat.png", size=1_200_000)]
        app.area.show_attached(attached)
        await until(lambda: "[report.md 12 kB ✕] [cat.png 1.2 MB ✕]" in screen_text(app))
        await pilot.press("backspace")
        await until(lambda: app.seen == [("detached", 1)])
        await pilot.press("a", "backspace")
        assert len(app.seen) == 1, "the letter went first"
        await pilot.click(app.area.chips, offset=(3, 0))
        await until(lambda: app.seen[1:] == [("detached", 0)])
        app.area.show_attached([Attachment(f"{name}.md" * 3, size=1) for name in CANARIES])
        await until(lambda: "more" in screen_text(app))
        assert not FORBIDDEN & set(screen_text(app).replace("\n", ""))
        app.area.show_attached([])
        await until(lambda: not app.area.chips.display)
        await pilot.press("backspace")
        assert len(app.seen) == 2


# --- completion -----------------------------------------------------------------------------------------------------------


def overlaps(app: Host) -> bool:
    return bool(app.area.popup.region.intersection(app.box.region))


@pytest.mark.parametrize("size", [(60, 16), (80, 24), (120, 40)])
async def test_paths_are_completed_above_the_composer(place: Path, size: tuple[int, int]) -> None:
    app = Host()
    async with app.run_test(size=size) as pilot:
        write(app, "see @re")
        await until(lambda: app.box.popup_open)
        await pilot.pause()
        lines = screen_lines(app)
        top = app.box.region.y
        assert [line.strip() for line in lines[top - 2 : top]] == ["readme.md", "report.md"]
        assert not overlaps(app)
        await pilot.press("tab")
        assert app.box.text == "see @readme.md "
        await until(lambda: not app.box.popup_open)
        write(app, "@sr")
        await pilot.press("tab")
        await until(lambda: app.box.text == "see @readme.md @src/")
        await until(lambda: [choice.label for choice in app.area.popup.choices] == ["main.py", "util.py"])
        await pilot.press("down", "down", "enter")
        assert app.box.text == "see @readme.md @src/util.py "
        write(app, "@two")
        await pilot.press("tab")
        await until(lambda: app.box.text.endswith('@"two words.md" '))
        await pilot.press("enter")
        await until(lambda: app.seen[-1][2:] == ("readme.md", "util.py", "two words.md"))


async def test_esc_closes_the_popup_before_anything_else(place: Path) -> None:
    app = Host()
    async with app.run_test(size=(60, 16)) as pilot:
        write(app, "@re")
        await until(lambda: app.box.popup_open)
        await pilot.press("escape")
        assert not app.box.popup_open
        assert app.seen == []
        await pilot.press("escape")
        await until(lambda: app.seen == [("left", "escape")])


async def test_enter_sends_what_stands_there_unless_a_file_was_chosen(place: Path) -> None:
    app = Host()
    async with app.run_test(size=(60, 16)) as pilot:
        write(app, "@readme.m")
        await until(lambda: app.box.popup_open)
        await pilot.press("enter")
        await until(lambda: bool(app.seen))
        assert app.seen[0][:2] == ("sent", "@readme.m")


async def test_X21_pasted_text_completes_nothing(place: Path) -> None:
    app = Host()
    async with app.run_test(size=(60, 16)) as pilot:
        app.post_message(events.Paste("see @re"))
        await until(lambda: app.box.text == "see @re")
        await pilot.press("a")
        await pilot.pause()
        assert not app.box.popup_open
        app.box.load_text("")
        app.post_message(events.Paste("/s"))
        await until(lambda: app.box.text == "/s")
        await pilot.press("e")
        assert not app.box.popup_open


async def test_commands_are_completed_with_keys_and_mouse() -> None:
    app = Host()
    async with app.run_test(size=(60, 16)) as pilot:
        await pilot.press("/")
        await until(lambda: app.box.popup_open)
        assert [choice.text for choice in app.area.popup.choices] == list(COMMANDS)
        assert app.area.popup.chosen == app.area.popup.choices[0]
        await pilot.press("up")
        assert app.area.popup.chosen == app.area.popup.choices[-1]
        await pilot.press(*"th")
        await pilot.press("enter")
        assert app.box.text == "/think "
        await until(lambda: [choice.text for choice in app.area.popup.choices] == ["high", "low"])
        assert app.area.popup.chosen is None
        await pilot.press("down", "down", "tab")
        assert app.box.text == "/think low "
        await pilot.press("enter")
        await until(lambda: app.seen == [("command", "/think low ")])
        write(app, "/sy")
        await until(lambda: app.box.popup_open)
        await pilot.pause()
        await pilot.click(app.area.popup, offset=(2, 0))
        await until(lambda: app.box.text == "/system ")
        assert app.box.has_focus


async def test_a_command_in_full_is_run_by_enter() -> None:
    app = Host()
    async with app.run_test(size=(60, 16)) as pilot:
        write(app, "/new")
        await pilot.press("enter")
        await until(lambda: app.seen == [("command", "/new")])


async def test_a_long_list_scrolls_in_eight_rows(place: Path) -> None:
    for number in range(300):
        (place / f"file{number:03}").write_text("x")
    app = Host()
    async with app.run_test(size=(60, 16)) as pilot:
        write(app, "@file")
        await until(lambda: app.box.popup_open)
        await pilot.pause()
        assert app.area.popup.region.height == 8
        assert not overlaps(app)
        assert "292 more below" in screen_text(app)
        for _step in range(12):
            await pilot.press("down")
        await pilot.pause()
        assert "file011" in screen_text(app)
        assert "file000" not in screen_text(app)
        await pilot.press("enter")
        assert app.box.text == "@file011 "


async def test_P20_a_folder_that_hangs_is_waited_for_beside_the_loop(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go, asked = threading.Event(), []

    class Slow(references.Folder):
        def __init__(self, path: Path) -> None:
            asked.append(path)
            go.wait(30)
            super().__init__(path)

    monkeypatch.setattr("tui.ui.widgets.path_choices.Folder", Slow)
    monkeypatch.setattr(prompt, "PATIENCE", 0.01)
    app = Host()
    async with app.run_test(size=(60, 16)):
        write(app, "@rep")
        await until(lambda: asked)
        assert app.box.text == "@rep"
        assert not app.box.popup_open
        go.set()
        await until(lambda: [choice.text for choice in app.area.popup.choices] == ["@report.md"])
        assert len(asked) == 1, "one look at a time"


async def test_X01_hostile_names_are_drawn_harmless(place: Path) -> None:
    for name in ("a[b]x", "a\x1b[31m", "a\u202eb", "a模型", "a" * 200):
        (place / name).write_text("x")
    app = Host()
    async with app.run_test(size=(60, 16)) as pilot:
        await pilot.press(*"@a")
        await until(lambda: app.box.popup_open)
        await pilot.pause()
        assert "a[b]x" in screen_text(app)
        assert not FORBIDDEN & set(screen_text(app).replace("\n", ""))


# --- the history ----------------------------------------------------------------------------------------------------------


async def test_the_history_is_searched_in_place() -> None:
    app = Host()
    async with app.run_test(size=(60, 16)) as pilot:
        app.box.set_history(["newest plum", "an Apple\npie", "pear", "apple tart", "x" * 300_000])
        write(app, "draft")
        await pilot.press("ctrl+r")
        await until(lambda: "(search) : newest plum" in screen_text(app))
        await pilot.press(*"apple")
        await until(lambda: "(search) apple: an Apple⏎pie" in screen_text(app))
        await pilot.press("ctrl+r")
        await until(lambda: "(search) apple: apple tart" in screen_text(app))
        await pilot.press("ctrl+r", "z")
        await until(lambda: "(search) applez: nothing" in screen_text(app))
        assert app.box.text == "draft"
        await pilot.press("escape")
        await until(lambda: "(search)" not in screen_text(app))
        assert app.box.text == "draft"
        assert app.seen == []
        await pilot.press("ctrl+r", *"an A", "enter")
        assert app.box.text == "an Apple\npie"
        assert not app.box.searching
        await pilot.press("ctrl+r", *"xxx")
        await until(lambda: "(search) xxx" in screen_text(app))
        app.post_message(events.Paste("\x1b[31m\nq"))
        await pilot.pause()
        assert app.box.searching
        await pilot.press("tab")


async def test_up_and_down_keep_what_is_being_typed() -> None:
    app = Host()
    async with app.run_test(size=(60, 16)) as pilot:
        app.box.set_history(["two\nlines", "one"])
        await pilot.press("d", "up")
        assert app.box.text == "two\nlines"
        await pilot.press("up", "up")
        assert app.box.text == "one"
        await pilot.press("down", "down")
        assert app.box.text == "d"
        await pilot.press("down")
        assert app.box.text == "d"


# --- the editor -----------------------------------------------------------------------------------------------------------


def editor(tmp_path: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "my editor"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o700)
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", f"'{path}' --wait")


@contextmanager
def edits(app: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    @contextmanager
    def suspend() -> Iterator[None]:
        yield

    monkeypatch.setattr(app, "suspend", suspend)
    yield


async def test_the_editor_gets_the_text_in_a_private_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    editor(tmp_path, f'ls -ln "$2" > {tmp_path}/seen; cp "$2" {tmp_path}/given; printf "new\\033[31m\\n@a.md\\n" > "$2"', monkeypatch)
    app = Host()
    async with app.run_test(size=(60, 16)) as pilot:
        app.box.state_folder = tmp_path / "state"
        with edits(app, tmp_path, monkeypatch):
            write(app, "draft")
            await pilot.press("ctrl+x")
            await until(lambda: app.box.text == "new␛[31m\n@a.md")
        assert (tmp_path / "seen").read_text().startswith("-rw-------")
        assert (tmp_path / "given").read_text() == "draft\n"
        assert list((tmp_path / "state" / external_editor.FOLDER).iterdir()) == []
        assert stat.S_IMODE((tmp_path / "state" / external_editor.FOLDER).stat().st_mode) == 0o700
        assert set(app.box.marks) == {"p", "\n"}
        assert app.seen == []


async def test_an_editor_that_refuses_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    editor(tmp_path, f'echo other > "$2"; touch {tmp_path}/ran; exit 1', monkeypatch)
    app = Host()
    async with app.run_test(size=(60, 16)) as pilot:
        app.box.state_folder = tmp_path / "state"
        with edits(app, tmp_path, monkeypatch):
            write(app, "draft")
            await pilot.press("ctrl+x")
            await until(lambda: (tmp_path / "ran").exists() and not app.workers._workers)
        assert app.box.text == "draft"
        assert app.seen == []


@pytest.mark.parametrize(
    ("value", "words"), [("", "No editor is set"), ("/no/such/editor", "The editor is not there"), ("'open", "a quote is open")]
)
async def test_a_missing_editor_says_what_to_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str, words: str) -> None:
    monkeypatch.setenv("VISUAL", value)
    monkeypatch.setenv("EDITOR", "")
    app = Host()
    async with app.run_test(size=(60, 16)) as pilot:
        app.box.state_folder = tmp_path
        write(app, "draft")
        await pilot.press("ctrl+x")
        await until(lambda: bool(app.seen))
        assert words in str(app.seen[0])
        assert app.box.text == "draft"


@pytest.fixture
def hangs_up() -> Iterator[None]:
    """A worker that ran in this process ignores SIGHUP, and so would all that this process starts."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("hangs_up")
async def test_P72_the_editor_ends_with_paddock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    editor(tmp_path, f'trap "touch {tmp_path}/told; exit" HUP\necho $$ > {tmp_path}/pid\nwhile :; do sleep 0.02; done', monkeypatch)
    app = Host()
    async with app.run_test(size=(60, 16)) as pilot:
        app.box.state_folder = tmp_path / "state"
        with edits(app, tmp_path, monkeypatch):
            await pilot.press("ctrl+x")
            await until(lambda: (tmp_path / "pid").exists())
    await until(lambda: (tmp_path / "told").exists())
    assert list((tmp_path / "state" / external_editor.FOLDER).iterdir()) == []


async def test_P75_what_a_killed_editor_left_goes_at_the_next_start(tmp_path: Path) -> None:
    left = external_editor._new_folder(tmp_path)
    (left / "prompt.md").write_text("x")
    kept = external_editor._new_folder(tmp_path)
    with external_editor._locked(kept):
        external_editor.sweep(tmp_path)
        assert not left.exists()
        assert kept.exists()
    external_editor.sweep(tmp_path)
    assert not kept.exists()
    shutil.rmtree(tmp_path / external_editor.FOLDER)
    external_editor.sweep(tmp_path)


async def test_a_state_folder_that_cannot_be_written_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    editor(tmp_path, "true", monkeypatch)
    (tmp_path / "file").write_text("")
    with pytest.raises(PaddockError) as caught:
        await external_editor.edit_text(None, "x", tmp_path / "file")
    assert "Not a directory" in caught.value.failure.what or "File exists" in caught.value.failure.what


@pytest.mark.usefixtures("hangs_up")
async def test_P72_an_editor_that_begins_as_paddock_ends_is_told_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cancelled between the start of the process and the news of it."""
    script = tmp_path / "slow"
    script.write_text(f'#!/bin/sh\ntrap "touch {tmp_path}/told; exit" HUP\necho $$ > {tmp_path}/pid\nwhile :; do sleep 0.02; done\n')
    script.chmod(0o700)
    begun, go = threading.Event(), threading.Event()
    popen = subprocess.Popen

    def slowly(command: list[str]) -> subprocess.Popen[bytes]:
        process = popen(command)
        begun.set()
        go.wait(10)
        return process

    monkeypatch.setattr(external_editor.subprocess, "Popen", slowly)
    running = asyncio.ensure_future(external_editor._run([str(script)]))
    await until(lambda: begun.is_set() and (tmp_path / "pid").exists())
    running.cancel()
    await asyncio.sleep(0)
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await running
    await until(lambda: (tmp_path / "told").exists())
