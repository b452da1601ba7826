"""The first-run panel."""

from __future__ import annotations

import pytest

from tests.support.fake_services import FakeServices, ScreenHost
from tests.support.screen import CANARIES, FORBIDDEN, screen_lines, screen_text, until
from tests.ui.library_data import sample
from tui.core.errors import Failure
from tui.services.api import DiscoveryView
from tui.text import clean_label, clean_name
from tui.ui.screens.welcome import WelcomeScreen
from tui.ui.widgets.confirm import InputDialog

LOOKED = "127.0.0.1:11434 (Ollama), :8080 (llama.cpp), :1234, :8000 and 9 more ports"
FOUND = DiscoveryView(
    done=True,
    looked_at=LOOKED,
    seconds=0.4,
    environment=Failure("OLLAMA_HOST=gpu2:11434 refused the connection", "gpu2:11434", "Start Ollama there"),
    ollama_program="/usr/local/bin/ollama",
    ollama_unit=True,
)


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (60, 16)])
async def test_as_drawn(fake: FakeServices, size: tuple[int, int]) -> None:
    fake.registry.discovery.set(FOUND)
    fake.monitor.latest.set(sample(0.4))
    app = ScreenHost(WelcomeScreen(fake))
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        text = screen_text(app)
        assert all(len(line) <= size[0] for line in screen_lines(app))
        assert "  No model server was found." in text
        assert "OLLAMA_HOST=gpu2:11434 refused the connection" in text
        assert " ".join(text.split()).count("more ports in 0.4 s") == 1
        assert "  > Try the demo server" in text
        assert "    Start Ollama  " in text
        assert "  /usr/local/bin/ollama, as" in text
        assert "    Connect to a server" in text
        if size[1] >= 24:
            assert "This machine: 8 cores, 31.2 GB RAM (22.8 free), RTX 3090 24.0 GB" in text
            assert "Fits well: models up to about 35B at 4 bit" in text


async def test_while_looking_it_says_so(fake: FakeServices) -> None:
    fake.registry.discovery.set(DiscoveryView(running=True))
    app = ScreenHost(WelcomeScreen(fake))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        assert "Looking for model servers on this machine" in screen_text(app)
        assert "Start Ollama" not in screen_text(app)
        fake.registry.discovery.set(FOUND)
        await until(lambda: "Start Ollama" in screen_text(app))


async def test_the_three_ways_on(fake: FakeServices) -> None:
    fake.registry.discovery.set(FOUND)
    app = ScreenHost(WelcomeScreen(fake))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("enter")
        await until(lambda: app.demo_restarts == 1)
        await pilot.press("down", "enter")
        await until(lambda: fake.called("start_server") == [("ollama",)])
        await pilot.press("j", "enter")
        await until(lambda: isinstance(app.screen, InputDialog))
        await pilot.press(*"a b", "enter")
        await pilot.pause()
        assert "holds a space" in screen_text(app)
        await pilot.press("backspace", "backspace", *"b:1", "enter")
        await until(lambda: fake.called("add_provider") == [("ab:1",)])
        await pilot.press("r")
        assert fake.called("discover") == [()]


async def test_X01_hostile_words_stay_literal(fake: FakeServices) -> None:
    app = ScreenHost(WelcomeScreen(fake))
    async with app.run_test(size=(80, 24)) as pilot:
        for text in CANARIES:
            view = DiscoveryView(
                done=True, looked_at=clean_label(text), environment=Failure(clean_label(text)), ollama_program=clean_name(text)
            )
            fake.registry.discovery.set(view)
            await until(lambda: app.first.query_one("#menu")._choices[1].note.startswith(view.ollama_program))  # noqa: B023
            await pilot.pause()
            assert not FORBIDDEN & set(screen_text(app).replace("\n", ""))
            if text == "[bold red]big[/]":
                assert screen_text(app).count(text) == 3
