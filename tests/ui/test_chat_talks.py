"""Keys, lines and dialogs of the Chat screen that are about the whole conversation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from textual.widgets import Input, TextArea

from tests.support.fake_services import FakeServices, ScreenHost
from tests.support.screen import CANARIES, FORBIDDEN, screen_lines, screen_text, until
from tests.ui.chat_data import answer, prompt, shown, view
from tui.core.chat import Attachment, AttachmentKind, ConversationHead, ConversationSettings, Found, Message, Role, Timeline
from tui.core.events import Metrics
from tui.core.models import Model
from tui.services.chat.api import CompareColumn, CompareView, ContextCheck
from tui.ui.screens.chat import ChatScreen
from tui.ui.widgets.confirm import ConfirmDialog
from tui.ui.widgets.prompt import Composer


def host(fake: FakeServices, **fields: Any) -> ScreenHost:
    return ScreenHost(ChatScreen(fake), **fields)


@pytest.fixture
def ready(monkeypatch: pytest.MonkeyPatch) -> None:
    """Confirmations can be answered as soon as they are drawn."""
    monkeypatch.setattr(ConfirmDialog, "armed", property(lambda self: self._shown_at is not None))


HEADS = (
    ConversationHead(7, "Which quantization?", "ollama", "qwen3:8b", 0.0, 0.0, 2),
    ConversationHead(3, "Older talk", "ollama", "phi4:14b", 0.0, 0.0, 41, pinned=True, tags=("work",)),
)


# --- lines -------------------------------------------------------------------------------------------------------------

OVER = ContextCheck(7900, 4096, over=True, larger=16384, costs="+1.2 GB, 7.9 of 24 GB free after it")


TWO = (prompt("q"), answer("a"), prompt("r"), answer("b"))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (
            {"alarm": "the model saw 4,096 of about 7,900 tokens; oldest dropped"},
            "! the model saw 4,096 of about 7,900 tokens; oldest dropped",
        ),
        ({"waits": "qwen3:8b is being pulled, 43 %"}, "qwen3:8b is being pulled, 43 %"),
        ({"check": OVER}, "! about 7,900 of 4,096 tokens would be sent; the oldest would be lost"),
        ({"check": replace(OVER, tokens=3900)}, "! about 3,900 of 4,096 tokens would be sent; little room is left for an answer"),
        ({"queued": ("and for 16 GB?", "why\nso?")}, '2 queued: "and for 16 GB?" · "why so?"   Q changes'),
        ({"incognito": True}, "incognito, not stored: Which quantization?"),
        ({"tags": ("work", "sql")}, "Which quantization? #work #sql"),
        ({"read_only": "another window writes here"}, "another window writes here"),
        ({"settings": ConversationSettings(preset="precise", think="high")}, "qwen3:8b on ollama · precise · think high"),
        ({"check": ContextCheck(600, 4096)}, "~600 of 4k"),
        ({"attached": (Attachment("report.md", size=12_000),)}, "report.md 12 kB"),
    ],
)
async def test_lines_that_appear_where_they_are_true(fake: FakeServices, fields: dict[str, Any], words: str) -> None:
    fake.chat.view.set(view(prompt("q"), answer("a")))
    app = host(fake)
    async with app.run_test(size=(100, 30)):
        await shown(app, "q")
        assert words not in screen_text(app)
        fake.chat.view.set(view(prompt("q"), answer("a"), **fields))
        await shown(app, words)


async def test_what_belongs_to_a_message_stands_with_it(fake: FakeServices) -> None:
    files = (Attachment("report.md", size=12_000), Attachment("cat.png", AttachmentKind.IMAGE, 1_200_000))
    call = {"id": "1", "function": {"name": "calculator", "arguments": {"expression": "2 + 2"}}}
    messages = (
        prompt("old", 1),
        answer("older", number=2, thinking="so it is", timeline=Timeline(thought=2.1), pinned=True),
        Message(3, 7, 3, Role.SYSTEM, "They spoke of old things.", keep_from=4),
        prompt("sum it", 4, attachments=files),
        answer("", number=5, tool_calls=(call,), note="answered by lcpp instead of ollama"),
        Message(6, 7, 6, Role.TOOL, "4\nexactly", tool_name="calculator", tool_call_id="1"),
        answer("It is 4.", number=7),
    )
    fake.chat.view.set(view(*messages, branches={2: (2, 8), 8: (2, 8)}, settling=0))
    app = host(fake)
    async with app.run_test(size=(90, 50)) as pilot:
        await shown(app, "It is 4.")
        lines = screen_lines(app)
        for words in (
            "─ qwen3:8b ‹1/2› · pinned ─",
            "▸ thought for 2.1s (~130 tokens)",
            "─ summary of 1 message, sent in place of them ─",
            "▸ the summary, 25 characters",
            "attached report.md 12 kB · cat.png 1.2 MB",
            "answered by lcpp instead of ollama",
            '▸ calls calculator { "expression": "2 + 2" }',
            "─ result of calculator ─",
            "▸ 4 (9 characters)",
        ):
            assert any(line.startswith(words) for line in lines), (words, "\n".join(lines))
        assert lines.index(next(line for line in lines if "summary of" in line)) < lines.index(
            next(line for line in lines if "sum it" in line)
        )
        await pilot.press("tab", "K", "enter")
        await shown(app, "\n   exactly")
        await pilot.press("K", "enter")
        await shown(app, '\n     "expression": "2 + 2"')
        await pilot.press("K", "K", "enter")
        await shown(app, "\n   They spoke of old things.")


@pytest.mark.parametrize("ascii", [False, True])
async def test_dropped_messages_are_marked_where_they_end(fake: FakeServices, ascii: bool) -> None:
    messages = (
        *(prompt(f"old {number}", number) for number in range(1, 13)),
        prompt("new", 13),
        Message(14, 7, 14, Role.SYSTEM, "", keep_from=13),
    )
    fake.chat.view.set(view(*messages, branches={13: (13, 15)}))
    app = host(fake, ascii_only=ascii)
    async with app.run_test(size=(90, 60)):
        await shown(app, "12 messages above are not sent")
        lines = screen_lines(app)
        mark = next(at for at, line in enumerate(lines) if "not sent" in line)
        assert "old 12" in "".join(lines[:mark])
        assert "new" in "".join(lines[mark:])
        assert ("<1/2>" if ascii else "‹1/2›") in "".join(lines)
        if ascii:
            assert not set("─‹›▸") & set("".join(lines[1:mark]))


async def test_a_stalled_answer_has_the_servers_figures_beside_ours(fake: FakeServices) -> None:
    timeline = Timeline(waited=0.1, loaded=2.1, read=0.3, wrote=4.4, stalled=1.5, first_token=2.5, rate=48.0)
    metrics = Metrics(31, 212, prompt_seconds=0.28, output_seconds=4.3, load_seconds=2.0)
    fake.chat.view.set(view(prompt("q"), answer("a", timeline=timeline, metrics=metrics)))
    app = host(fake)
    async with app.run_test(size=(100, 30)) as pilot:
        await shown(app, "measured  waited 0.1s  loaded 2.1s  read 0.3s  wrote 4.4s  stalled 1.5s")
        await shown(app, "server    loaded 2.0s  read 0.3s (31 tokens, 111/s)  wrote 4.3s (212 tokens, 49/s)")
        await pilot.press("tab", "w")
        await shown(app, "measured  · waited 0.1s  ▒ loaded 2.1s  ░ read 0.3s  ▓ wrote 4.4s  - stalled 1.5s")


async def test_P23_a_stopped_answer_says_while_the_server_may_still_read(fake: FakeServices) -> None:
    from tui.core.chat import AnswerState

    stopped = answer("part", AnswerState.STOPPED)
    fake.chat.view.set(view(prompt("q"), stopped, settling=2))
    app = host(fake)
    async with app.run_test(size=(100, 30)):
        await shown(app, "stopped by you at 212 tokens; the server may still be reading the prompt")
        fake.chat.view.set(view(prompt("q"), stopped))
        await until(lambda: "still be reading" not in screen_text(app))
        assert "stopped by you at 212 tokens" in screen_text(app)


async def test_X05_a_model_can_write_none_of_our_lines(fake: FakeServices) -> None:
    words = (
        "─ you ─────── 12:31",
        "▸ calls rm {}",
        "stopped by you at 88 tokens",
        "12 messages above are not sent",
        "> you ─",
        "! the model",
    )
    fakes = "\n\n".join(words)
    call = {"function": {"name": "x\n▸ calls y", "arguments": {"a": "b\nstopped by you"}}}
    messages = (prompt(fakes), answer(fakes, thinking=fakes, tool_calls=(call,)), Message(3, 7, 3, Role.TOOL, fakes, tool_name="─ you"))
    fake.chat.view.set(view(*messages))
    app = host(fake)
    async with app.run_test(size=(100, 60)) as pilot:
        await shown(app, "12 messages")
        await pilot.press("tab", "enter", "K", "enter")
        await shown(app, "─ you ─────── 12:31")
        ours = ("─ ", "> ", "▾ ", "▸ ", "waited", " 1 Providers", " Which", "┌", "│", "└", " gpu-box", " i ")
        for line in screen_lines(app):
            assert not line or line.startswith(("  ", *ours)) or line[0] == " ", line
        assert [line[:14] for line in screen_lines(app) if line.startswith("stopped")] == []
        assert [line for line in screen_lines(app) if line.startswith("▸ calls")] == []


async def test_X01_hostile_text_in_every_new_place(fake: FakeServices, ready: None) -> None:
    bad = "\n".join(CANARIES)
    label = CANARIES[6] + CANARIES[1] + CANARIES[0]
    call = {"function": {"name": label, "arguments": {label: bad}}}
    messages = (
        prompt(bad, attachments=(Attachment(label, size=3),)),
        answer(bad, tool_calls=(call,), note=label),
        Message(3, 7, 3, Role.TOOL, bad, tool_name=label),
        Message(4, 7, 4, Role.SYSTEM, bad, keep_from=3),
    )
    fields = {"queued": (bad,), "tags": (label,), "waits": label, "attached": (Attachment(label, size=1),)}
    fake.chat.view.set(replace(view(*messages, **fields), title=label, settings=ConversationSettings(system=bad, preset=label)))
    fake.chat.heads.set((ConversationHead(7, label, label, label, 0, 0, 1, tags=(label,)),))
    app = host(fake)
    async with app.run_test(size=(120, 60)) as pilot:

        def clean() -> bool:
            return not FORBIDDEN & set(screen_text(app).replace("\n", ""))

        await shown(app, "calls")
        await pilot.press("tab", "enter", "K", "enter", "K", "enter", "J", "w")
        assert clean()
        for keys in (("ctrl+o",), ("o",), ("e",), ("d",), ("R",), ("Q",), ("x",), ("c",), ("s",)):
            await pilot.press(*keys)
            await until(lambda: app.screen is not app.first or True)
            await pilot.pause()
            assert clean(), keys
            await pilot.press("escape", "escape") if len(app.screen_stack) > 1 else None
            while len(app.screen_stack) > 1:
                app.pop_screen()
            await pilot.pause()
            app.screen.transcript.focus()
        assert app.is_running


# --- context -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("downs", "verbs"),
    [
        (0, [("send", ("long",))]),
        (1, [("configure", (ConversationSettings(options={"num_ctx": 16384}),)), ("send", ("long",))]),
        (2, [("drop_oldest", ()), ("send", ("long",))]),
        (3, [("summarise", ()), ("send", ("long",))]),
    ],
)
async def test_too_much_for_the_context_is_asked_once(fake: FakeServices, downs: int, verbs: list[Any]) -> None:
    fake.chat.view.set(view(*TWO, check=OVER))
    app = host(fake)
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press(*"long", "enter")
        await shown(app, "About 7,900 tokens would be sent, the context holds 4,096")
        await shown(app, "+1.2 GB, 7.9 of 24 GB")
        assert not fake.called("send")
        await pilot.press("escape")
        await until(lambda: app.screen.query_one(Composer).text == "long")
        fake.chat.view.set(view(*TWO, check=replace(OVER, tokens=7901)))
        await shown(app, "about 7,901")
        await pilot.press("enter")
        await shown(app, "About 7,901 tokens")
        await pilot.press(*["down"] * downs, "enter")
        await until(lambda: fake.called("send"))
        names = {verb for verb, _args in verbs}
        assert [(name, args) for name, args, _kwargs in fake.calls if name in names] == verbs
        await pilot.press("i", *"again", "enter")
        await until(lambda: len(fake.called("send")) == 2)


async def test_c_offers_the_same_without_a_prompt(fake: FakeServices) -> None:
    fake.chat.view.set(view(*TWO, alarm="the model saw less"))
    app = host(fake)
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("tab", "c")
        await shown(app, "drop the oldest messages")
        assert "send anyway" not in screen_text(app)
        await pilot.press("enter")
        await until(lambda: fake.called("drop_oldest"))
        assert not fake.called("send")


async def test_files_of_the_prompt_are_weighed_before_it_is_asked(fake: FakeServices, tmp_path: Path) -> None:
    (tmp_path / "long.txt").write_text("word " * 20_000)
    fake.chat.view.set(view(*TWO, check=ContextCheck(600, 4096)))
    app = host(fake)
    async with app.run_test(size=(100, 30)) as pilot:
        app.screen.post_message(Composer.Sent(app.screen.query_one(Composer), "look", [str(tmp_path / "long.txt")]))
        await until(lambda: fake.called("attach"))
        assert not fake.called("send")
        fake.chat.view.set(view(*TWO, check=OVER))
        await shown(app, "About 7,900 tokens would be sent")
        await pilot.press("enter")
        await until(lambda: fake.called("send") == [("look",)])


async def test_what_is_not_too_much_in_the_end_is_sent(fake: FakeServices, tmp_path: Path) -> None:
    (tmp_path / "long.txt").write_text("word " * 20_000)
    fake.chat.view.set(view(*TWO, check=ContextCheck(600, 4096)))
    app = host(fake)
    async with app.run_test(size=(100, 30)):
        app.screen.post_message(Composer.Sent(app.screen.query_one(Composer), "look", [str(tmp_path / "long.txt")]))
        await until(lambda: fake.called("send") == [("look",)])


async def test_what_is_said_covers_neither_what_is_typed_nor_the_gauge(fake: FakeServices) -> None:
    fake.chat.view.set(view(*TWO, check=ContextCheck(600, 4096)))
    app = host(fake)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await pilot.press(*"typed")
        app.notify("a remark")
        await shown(app, "a remark")
        await shown(app, "~600 of 4k")
        assert any(line.startswith("│typed") and line.endswith("│") for line in screen_lines(app))


async def test_offers_are_told_in_full_on_eighty_columns(fake: FakeServices) -> None:
    fake.chat.view.set(view(*TWO, check=OVER))
    app = host(fake)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("tab", "c")
        await shown(app, "a mark says so; the history keeps them")
        await shown(app, "the model writes it, it is sent instead")
        await shown(app, "+1.2 GB, 7.9 of 24 GB free after it")


async def test_nothing_is_offered_that_cannot_be_done(fake: FakeServices) -> None:
    fake.chat.view.set(view(prompt("q"), answer("a"), check=replace(OVER, larger=None)))
    app = host(fake)
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("tab", "c")
        await until(lambda: any("There is nothing older to drop" in note.message for note in app._notifications))
        assert "drop the oldest" not in screen_text(app)


# --- queue -------------------------------------------------------------------------------------------------------------


async def test_a_queued_prompt_is_changed_or_taken_back(fake: FakeServices) -> None:
    fake.chat.view.set(view(prompt("q"), answer("a"), queued=("one", "two")))
    app = host(fake)
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("tab", "Q")
        await shown(app, "Prompts that wait")
        await pilot.press("down", "enter")
        await shown(app, "A prompt that waits for the answer before it")
        assert app.screen.query_one(TextArea).text == "two"
        await pilot.press("x", "ctrl+s")
        await until(lambda: fake.called("unqueue"))
        assert fake.called("unqueue") == [(1, "twox")]
        fake.chat.view.set(view(prompt("q"), answer("a"), queued=("one",)))
        await shown(app, "1 queued")
        await pilot.press("Q")
        await shown(app, "A prompt that waits")
        await pilot.press("ctrl+u", "ctrl+s")
        await until(lambda: fake.called("unqueue")[1:] == [(0,)])


# --- history -----------------------------------------------------------------------------------------------------------


def searching(fake: FakeServices, *found: Found) -> None:
    def search(text: str, then: Callable[[Sequence[Found]], None]) -> None:
        fake.calls.append(("search", (text,), {}))
        then(found)

    fake.chat.search = search


async def test_conversations_are_searched_and_opened_at_the_match(fake: FakeServices) -> None:
    fake.chat.heads.set(HEADS)
    fake.chat.view.set(view(prompt("q"), answer("a")))
    searching(fake, Found(HEADS[1], 12, "… about the cache of keys …"))
    app = host(fake)
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("ctrl+o")
        await shown(app, "* Older talk #work")
        assert screen_text(app).index("Older talk") < screen_text(app).rindex("Which quantization?")
        await pilot.press(*"cache")
        await shown(app, "… about the cache of keys …")
        await shown(app, "phi4:14b · 41 messages · pinned · #work")
        await until(lambda: fake.called("search")[-1] == ("cache",))
        await pilot.press("enter")
        await until(lambda: fake.called("open"))
        assert fake.called("open") == [(3, 12)]
        old = [prompt(f"line {number}", number) for number in range(1, 60)]
        fake.chat.view.set(replace(view(*old), id=3))
        await shown(app, "> you ─")
        await until(lambda: app.screen.transcript.cursor == 12)
        assert "line 12" in screen_text(app)


async def test_enter_waits_for_the_search_that_is_under_way(fake: FakeServices) -> None:
    fake.chat.heads.set(HEADS)
    later: list[Callable[[Sequence[Found]], None]] = []
    fake.chat.search = lambda text, then: later.append(then)
    app = host(fake)
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("ctrl+o")
        await shown(app, "Older talk")
        await pilot.press(*"cache", "enter")
        await until(lambda: later)
        assert not fake.called("open")
        later[-1]((Found(HEADS[0], 2, "the cache"),))
        await until(lambda: fake.called("open") == [(7, 2)])


async def test_the_list_names_tags_pins_deletes_and_imports(fake: FakeServices, ready: None) -> None:
    fake.chat.heads.set(HEADS)
    app = host(fake)
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("ctrl+o")
        await shown(app, "Older talk")
        await pilot.press("d", "c")
        assert app.screen.query_one(Input).value == "dc"
        await pilot.press("escape", "tab")
        await shown(app, "c rename  p pin  t tags  d delete  z undo  a import")
        await pilot.press("g", "p", "z")
        assert fake.called("pin") == [(3, False)]
        assert fake.called("undo_delete") == [()]
        await pilot.press("c")
        await shown(app, "empty: the model finds one")
        await pilot.press("end", "!", "enter")
        await until(lambda: fake.called("rename") == [(3, "Older talk!")])
        await pilot.press("t")
        await shown(app, "separated by spaces")
        await pilot.press("end", *" #sql,work", "enter")
        await until(lambda: fake.called("tag") == [(3, ("work", "sql"))])
        await pilot.press("d")
        await shown(app, "Delete the conversation 'Older talk' with 41 messages?")
        await until(lambda: app.screen.armed)
        await pilot.press("right", "enter")
        await until(lambda: fake.called("delete") == [(3,)])
        await pilot.press("a")
        await shown(app, "that Paddock exported")
        await pilot.press(*"/tmp/x.md", "enter")
        await until(lambda: fake.called("read_in") == [("/tmp/x.md",)])
        await until(lambda: len(app.screen_stack) == 1)


async def test_export_asks_for_the_form(fake: FakeServices) -> None:
    fake.chat.view.set(view(prompt("q"), answer("a")))
    app = host(fake)
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("tab", "E")
        await shown(app, "Export this conversation as")
        await pilot.press("down", "enter")
        await until(lambda: fake.called("export") == [(7, "json")])


# --- options -----------------------------------------------------------------------------------------------------------


async def test_options_show_whose_each_value_is_and_change_it(fake: FakeServices) -> None:
    fake.config.set("chat.options.top_k", 30)
    settings = ConversationSettings(options={"temperature": 0.2}, preset="precise", think="high")
    fake.chat.view.set(view(prompt("q"), answer("a"), settings=settings))
    app = host(fake)
    async with app.run_test(size=(100, 40)) as pilot:
        await pilot.press("tab", "o")
        await shown(app, "This conversation: only what is set is sent")
        lines = screen_lines(app)

        def line(name: str) -> list[str]:
            return next(line for line in lines if line.strip(" │").startswith(f"{name} ")).split()

        assert line("temperature")[-4:] == ["0.2", "this", "chat", "│"]
        assert line("top_k")[-3:] == ["30", "settings", "│"]
        assert line("top_p")[-4:] == ["0.5", "preset", "precise", "│"]
        assert line("seed")[-4:] == ["–", "model's", "own", "│"]
        while "How random" not in screen_text(app) and app.screen.query_one("Rows").highlighted.key != "option temperature":
            await pilot.press("j")
        await shown(app, "0 to 2")
        await pilot.press("enter")
        await shown(app, "empty takes it back")
        await pilot.press("ctrl+u", "9", "enter")
        await until(lambda: "temperature" in app.screen.query_one(".problem").render().plain)
        await pilot.press("ctrl+u", *"0.5", "enter")
        await until(lambda: fake.called("configure"))
        assert fake.called("configure") == [(replace(settings, options={"temperature": 0.5}),)]
        await pilot.press("d")
        await until(lambda: len(fake.called("configure")) == 2)
        assert fake.called("configure")[1] == (replace(settings, options={}),)
        await pilot.press("g", "enter")
        await shown(app, "System prompt of this conversation")
        await pilot.press(*"be", "enter", *"brief", "ctrl+s")
        await until(lambda: len(fake.called("configure")) == 3)
        assert fake.called("configure")[2] == (replace(settings, system="be\nbrief"),)


# --- comparing and completing ------------------------------------------------------------------------------------------


async def test_a_comparison_stands_in_place_of_the_conversation(fake: FakeServices) -> None:
    fake.registry.models.set((Model("ollama", "qwen3:8b", "qwen3:8b"), Model("ollama", "phi4:14b", "phi4:14b")))
    fake.chat.view.set(view(prompt("Which one?"), answer("a")))
    app = host(fake)
    async with app.run_test(size=(120, 40)) as pilot:
        await shown(app, "Which one?")
        await pilot.press("tab", "equals_sign")
        await shown(app, "Compare: one prompt to two, three or four models")
        await pilot.press("escape")
        columns = (CompareColumn("ollama", "qwen3:8b", 2, name="qwen3:8b"), CompareColumn("ollama", "phi4:14b", 3, name="phi4:14b"))
        answers = {2: answer("left words"), 3: answer("right words", number=3, model="phi4:14b")}
        compared = CompareView(1, 1, columns, how="in parallel: together they need 12 of 24 GB")
        fake.chat.view.set(view(prompt("Which one?"), answers=answers, compare=compared))
        await shown(app, "left words")
        await shown(app, "right words")
        assert not app.screen.transcript.display
        await pilot.press("d", "e", "p")
        assert not fake.called("pin_message")
        assert len(app.screen_stack) == 1
        fake.chat.view.set(view(prompt("Which one?"), answers[3]))
        await until(lambda: "left words" not in screen_text(app) and app.screen.transcript.display)
        await shown(app, "right words")


async def test_completing_takes_the_place_of_the_conversation(fake: FakeServices) -> None:
    fake.chat.view.set(view(prompt("Which one?"), answer("a")))
    app = host(fake)
    async with app.run_test(size=(120, 40)) as pilot:
        await shown(app, "Which one?")
        await pilot.press(*"/complete", "enter")
        await until(lambda: app.focused is not None and app.focused.id == "gap-before", what=screen_text(app))
        assert not app.screen.transcript.region
        await pilot.press("escape")
        await until(lambda: app.focused is app.screen.composer)
        await shown(app, "Which one?")
        await pilot.press(*"/complete", "enter")
        await until(lambda: app.focused is not None and app.focused.id == "gap-before")
        fake.chat.view.set(replace(view(prompt("Another one")), id=9))
        await shown(app, "Another one")


async def test_what_goes_along_reaches_the_engine(fake: FakeServices) -> None:
    app = host(fake)
    async with app.run_test(size=(100, 30)):
        composer = app.screen.query_one(Composer)
        composer.post_message(Composer.Sent(composer, "see @a.md", ["/tmp/a.md"], "note"))
        await until(lambda: fake.called("send"))
        assert fake.called("attach") == [(("/tmp/a.md",),)]
        composer.post_message(Composer.Pasted(composer, "long text"))
        composer.post_message(Composer.Dropped(composer, ["/tmp/cat.png"]))
        composer.post_message(Composer.Detached(1))
        await until(lambda: fake.called("detach"))
        assert fake.called("attach_text") == [("paste.txt", "long text")]
        assert fake.called("attach")[1:] == [(("/tmp/cat.png",),)]
        assert fake.called("detach") == [(1,)]


async def test_a_comparison_is_shown_again_from_one_of_its_answers(fake):
    fake.chat.view.set(view(prompt("which?"), replace(answer("this one"), comparison=3)))
    app = host(fake)
    async with app.run_test(size=(120, 40)) as pilot:
        await until(lambda: "this one" in screen_text(app))
        await pilot.press("tab", "=")
        await until(lambda: fake.called("show_comparison"))
        number = fake.chat.view.value.messages[-1].id
        assert fake.called("show_comparison") == [(number,)]
