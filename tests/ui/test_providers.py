"""The Providers screen: words, keys, hostile names, refusals that say why."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.fake_services import FakeServices, ScreenHost
from tests.support.screen import CANARIES, FORBIDDEN, screen_lines, screen_text, until
from tests.ui.library_data import fill, provider, providers, renamed
from tui.core.errors import Failure, FailureKind
from tui.core.models import Location, Origin, ProviderStatus, RunningModel
from tui.services.api import DiscoveryView
from tui.text import clean_label, clean_name
from tui.ui.dialogs.form import FormDialog
from tui.ui.screens.provider_detail import checks_text, latency_text, left_words, short_failure, sparkline, where_words
from tui.ui.screens.providers import ProvidersScreen, ProviderTable, log_tail
from tui.ui.widgets.confirm import ConfirmDialog
from tui.ui.widgets.detail import DetailPane, wrap_cells


def host(fake: FakeServices, **changes: bool) -> ScreenHost:
    return ScreenHost(ProvidersScreen(fake), **changes)


def toasts(app: ScreenHost) -> Iterator[str]:
    return (notice.message for notice in app._notifications)


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (60, 16)])
async def test_the_screen_as_drawn(fake: FakeServices, size: tuple[int, int]) -> None:
    app = host(fill(fake))
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        lines = screen_lines(app)
        text = "\n".join(lines)
        assert all(len(line) <= size[0] for line in lines)
        row = next(line for line in lines if "ollama *" in line)
        assert row.startswith(" ● ollama *")
        assert "127.0.0.1:11434" in row
        assert "up, 3 ms" in row
        assert re.search(r"loading model, 1\ds", text)
        assert "http://127.0.0.1:11434   * default" in text
        if size[0] >= 80:
            assert row.endswith("4 models, 2 loaded")
            assert "Ollama 0.24.0" in row
            assert " ✕ tabby " in text
            assert "needs a key (401), e adds it" in text
            assert "nothing is listening" in text
            assert " + koboldcpp" in text
            assert "found, a adds it" in text
            assert "can      chat complete embed pull create copy delete load unload" in text
            assert "qwen3:8b          6.8 GB  all on GPU  4k served of 40k  4m1" in text
            assert "median 3 ms, p95 9 ms, 1 failure in 20 checks" in text
            assert lines[-1].endswith("l log  * default  d drop")


async def test_a_remote_one_is_said_to_be_elsewhere(fake: FakeServices) -> None:
    app = host(fill(fake))
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("j")
        await until(lambda: "runs     on another machine" in screen_text(app))
        assert "key from env:VLLM_KEY" in screen_text(app)
        assert "loopback" not in screen_text(app)


async def test_failure_stands_in_the_detail_with_its_remedy_and_the_age_of_the_data(fake: FakeServices) -> None:
    states = list(providers())
    states[4] = replace(states[4], stale_since=1.0)
    fake.registry.providers.set(tuple(states))
    app = host(fake)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("j", "j", "j", "j")
        await until(lambda: "Start the server, or check the address" in screen_text(app))
        assert "Cannot reach 127.0.0.1:1234: nothing is listening" in screen_text(app)
        assert "as of" in screen_text(app)


@pytest.mark.parametrize(("size", "words"), [((80, 24), "! lan open"), ((120, 40), "! lan reachable from outside")])
async def test_P51_a_server_reachable_from_outside_is_marked_all_the_time(fake: FakeServices, size: tuple[int, int], words: str) -> None:
    fake.registry.providers.set((provider("lan", "ollama", "http://127.0.0.1:1", ProviderStatus.UP, listens_wide=True),))
    app = host(fake)
    async with app.run_test(size=size):
        await until(lambda: words in screen_text(app).splitlines()[-2])
        fake.registry.providers.set((provider("lan", "ollama", "http://127.0.0.1:1", ProviderStatus.UP, listens_wide=False),))
        await until(lambda: "! lan" not in screen_text(app).splitlines()[-2])


async def test_nothing_there_says_what_to_do(fake: FakeServices) -> None:
    app = host(fake)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        assert "No server yet. a adds one by its address, r looks around." in screen_text(app)
        fake.registry.discovery.set(DiscoveryView(running=True))
        await until(lambda: "Looking around on this machine" in screen_text(app))
        await pilot.press("e", "d", "S", "l", "y")
        assert fake.calls == []
        assert any("There is no provider here yet" in text for text in toasts(app))


async def test_the_clock_runs_only_while_something_counts(fake: FakeServices) -> None:
    quiet = provider("one", "ollama", "http://127.0.0.1:1", ProviderStatus.UP)
    fake.registry.providers.set((quiet,))
    app = host(fake)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = app.first
        assert screen._timer is None
        fake.registry.running.set((RunningModel("one", "m", "m", 1, 1, expires_at=9e9),))
        await until(lambda: screen._timer is not None)
        fake.registry.running.set(())
        await until(lambda: screen._timer is None)
        await pilot.pause()


async def test_keys_reach_the_registry(fake: FakeServices) -> None:
    app = host(fill(fake))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("r", "j", "asterisk", "y", "enter")
        assert fake.called("refresh") == [("ollama",)]
        assert fake.called("set_default") == [("vllm-a",)]
        assert app.copied == ["http://gpu2:8000"]
        assert app.went == ["library"]
        assert app._library_only == "vllm-a"
        await pilot.press("G", "a")
        assert fake.called("adopt") == [("koboldcpp",)]


async def test_add_asks_for_the_address_and_says_what_is_wrong_with_it(fake: FakeServices) -> None:
    app = host(fill(fake))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("a")
        assert isinstance(app.screen, FormDialog)
        await pilot.press("enter")
        await pilot.pause()
        assert "The address is empty" in screen_text(app)
        await pilot.press(*"gpu2:8000", "tab", *"box", "enter")
        await until(lambda: fake.called("add_provider") == [("gpu2:8000", "box", "")])


async def test_edit_sends_only_what_changed(fake: FakeServices) -> None:
    app = host(fill(fake))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("e", "tab", "tab", *["backspace"] * 3, "x", "enter")
        await pilot.pause()
        assert isinstance(app.screen, FormDialog)
        assert "timeout:" in screen_text(app)
        await pilot.press("backspace", *"9s", "enter")
        await until(lambda: fake.called("edit_provider") == [("ollama", {"timeout": "9s"})])


async def test_drop_asks_and_esc_keeps(fake: FakeServices) -> None:
    app = host(fill(fake))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("d")
        dialog = app.screen
        assert isinstance(dialog, ConfirmDialog)
        assert "Drop ollama from the configuration?" in screen_text(app)
        await pilot.press("escape", "d")
        dialog = app.screen
        assert isinstance(dialog, ConfirmDialog)
        await until(lambda: dialog.armed)
        await pilot.press("right", "enter")
        await until(lambda: fake.called("remove_provider") == [("ollama",)])


async def test_start_asks_with_the_program_and_only_where_it_is_down(fake: FakeServices) -> None:
    fake.registry.providers.set((provider("ollama", "ollama", "http://127.0.0.1:11434", ProviderStatus.DOWN),))
    fake.registry.discovery.set(DiscoveryView(done=True, ollama_program="/usr/bin/ollama"))
    app = host(fake)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("S")
        dialog = app.screen
        assert isinstance(dialog, ConfirmDialog)
        assert "/usr/bin/ollama" in screen_text(app)
        await until(lambda: dialog.armed)
        await pilot.press("right", "enter")
        await until(lambda: fake.called("start_server") == [("ollama",)])


async def test_a_greyed_key_says_why(fake: FakeServices) -> None:
    app = host(fill(fake))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("S", "l", "G", "d")
        await pilot.pause()
        said = list(toasts(app))
        assert any("Paddock did not start ollama: systemd, pid 812, user ollama" in text for text in said)
        assert any("its log is with whoever did" in text for text in said)
        assert any("koboldcpp is not in the configuration" in text for text in said)
        assert fake.calls == []
        assert app.screen is app.first


async def test_the_log_of_a_started_server(fake: FakeServices, tmp_path: Path) -> None:
    log = tmp_path / "ollama.log"
    log.write_bytes(b"first\n" + b"x" * 20_000 + b"\nlast \x1b[31mline\n")
    fake.registry.server_log = lambda name: str(log)  # type: ignore[method-assign]
    app = host(fill(fake))
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("l")
        await until(lambda: "last ␛[31mline" in screen_text(app))
        assert not FORBIDDEN & set(screen_text(app).replace("\n", ""))
        await pilot.press("escape")
        assert app.screen is app.first
    assert "first" not in log_tail(str(log))
    assert "cannot be read" in log_tail(str(tmp_path / "none"))


async def test_X01_hostile_names_stay_literal(fake: FakeServices) -> None:
    states = []
    for port, text in enumerate(CANARIES, 1):
        label, name = clean_label(text), clean_name(text)
        state = provider(
            "x", "ollama", f"http://127.0.0.1:{port}", ProviderStatus.FAILED, label=label, owner=label, note=label, traps=(label,)
        )
        states.append(replace(renamed(state, name), is_default=True, failure=Failure(label, name, label)))
    fake.registry.providers.set(tuple(states))
    fake.registry.running.set(tuple(RunningModel(state.name, state.name, state.name, 1, 1) for state in states))
    app = host(fake)
    async with app.run_test(size=(80, 24)) as pilot:
        for _ in states:
            await pilot.pause()
            assert not FORBIDDEN & set(screen_text(app).replace("\n", ""))
            await pilot.press("j")
        app.first.query_one(ProviderTable).move_to(4)
        await until(lambda: "── [@click=app.quit]x[/]" in screen_text(app))


async def test_ascii_draws_no_unicode_graphics(fake: FakeServices) -> None:
    app = host(fill(fake), ascii_only=True)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        assert not [char for char in "\n".join(screen_lines(app)[1:-2]) if ord(char) > 126]


async def test_the_detail_scrolls_once_it_has_the_focus(fake: FakeServices) -> None:
    states = list(providers())
    states[0] = replace(states[0], traps=tuple(f"trap {number}" for number in range(40)))
    fake.registry.providers.set(tuple(states))
    app = host(fake)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("tab", "G")
        await until(lambda: "trap 39" in screen_text(app))
        assert app.first.query_one(DetailPane).has_focus
        await pilot.press("escape")
        assert app.first.query_one(ProviderTable).has_focus


def test_words() -> None:
    assert latency_text(0.0004) == "1 ms"
    assert latency_text(1.2) == "1.2s"
    assert short_failure(Failure("Cannot reach a:1: no way to that address", kind=FailureKind.UNREACHABLE)) == "no way to that address"
    assert sparkline((0.1, None, 0.8), 3) == "▁✕█"
    assert sparkline((0.1, None, 0.8), 3, ascii=True) == ".x#"
    assert checks_text((None,)).endswith("1 failure in 1 check")
    assert where_words(RunningModel("a", "m", "m", 100, 62), Location.HERE) == "62 % on GPU"
    assert where_words(RunningModel("a", "m", "m", None, None), Location.HERE) == ""
    assert left_words(RunningModel("a", "m", "m", pinned=True), 0.0) == "stays"
    assert Origin.FOUND.value == "found"


def test_wrapping_counts_cells_not_characters() -> None:
    assert list(wrap_cells("one two three", 8)) == ["one two", "three"]
    assert list(wrap_cells("模型名称", 4)) == ["模型", "名称"]
    assert list(wrap_cells("a\n\nb", 4)) == ["a", "", "b"]


def test_wrapping_keeps_the_indentation_of_a_line() -> None:
    assert list(wrap_cells("if x:\n    one  two three", 12)) == ["if x:", "    one  two", "three"]
    assert list(wrap_cells("      abcdef", 8)) == ["      ab", "cdef"]
    assert list(wrap_cells("   ", 8)) == [""]
    assert list(wrap_cells(f"{' ' * 20}x", 8)) == [" " * 8, " " * 8, "    x"]
