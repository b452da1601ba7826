"""The pull dialog: names as pasted, where to, what it means, and what is refused right there."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest

from tests.support.fake_services import FakeServices, ScreenHost
from tests.support.screen import CANARIES, FORBIDDEN, screen_lines, screen_text, until
from tests.ui import library_data
from tests.ui.test_pulls import plan
from tui.core.errors import Failure, FailureKind
from tui.core.jobs import Ask, Plan
from tui.core.models import Location
from tui.services.api import Preview
from tui.text import clean_name
from tui.ui.dialogs.pull import PullDialog
from tui.ui.screens.pulls import PullsScreen
from tui.ui.widgets.confirm import ConfirmDialog, InputDialog, MarkDialog

GB = 10**9
UNKNOWN = Failure(
    "registry.ollama.ai has no model or tag nope:latest", "registry.ollama.ai", "Check the name and the tag", FailureKind.NOT_FOUND
)
FITS = Preview(plan(5_200_000_000, 4_900_000_000, context=40960), free=43 * GB, needed=10 * GB)


class Opened:
    """The dialog over the Pulls screen, with as many servers as wished."""

    def __init__(self, fake: FakeServices, servers: int = 1) -> None:
        library_data.fill(fake)
        states = list(library_data.providers())
        for number in range(2, servers + 1):
            states.append(replace(library_data.renamed(states[0], f"gpu{number}"), is_default=False, location=Location.ELSEWHERE))
        fake.registry.providers.set(tuple(states))
        fake.registry.models.set(())
        self.fake, self.app = fake, ScreenHost(PullsScreen(fake))

    def open(self, names: str = "") -> PullDialog:
        dialog = PullDialog(self.fake, names)  # type: ignore[arg-type]
        self.app.push_screen(dialog)
        return dialog

    @property
    def words(self) -> str:
        return " ".join(screen_text(self.app).replace("│", " ").split())

    @property
    def added(self) -> list[tuple[tuple[Any, ...], dict[str, Any]]]:
        return [(args, kwargs) for name, args, kwargs in self.fake.calls if name == "add"]


async def test_what_it_means_stands_there_as_it_becomes_known(fake: FakeServices) -> None:
    at = Opened(fake)
    async with at.app.run_test(size=(80, 24)) as pilot:
        at.open("hf.co/org/repo:Q4_K_M")
        await until(lambda: fake.called("preview") == [("hf.co/org/repo:Q4_K_M", "ollama")])
        await until(lambda: "asking the registry" in at.words)
        fake.jobs.previews.set({("ollama", "hf.co/org/repo:Q4_K_M"): FITS})
        await until(lambda: "5.2 GB, of which 4.9 GB is already there" in at.words)
        await until(lambda: "fits: good disk: 43 GB free after" in at.words)
        await pilot.press("enter")
        assert at.added == [(("hf.co/org/repo:Q4_K_M", "ollama"), {"asked_by": "pulls screen"})]


async def test_a_pull_without_room_is_said_to_wait(fake: FakeServices) -> None:
    at = Opened(fake)
    fake.jobs.previews.set({("ollama", "llama3.1:70b"): Preview(plan(42_500_000_000), free=39 * GB, needed=51 * GB)})
    async with at.app.run_test(size=(80, 24)):
        at.open("llama3.1:70b")
        await until(lambda: "lacks 12 GB: it will wait" in at.words)


async def test_Q08_what_the_registry_refuses_is_not_queued(fake: FakeServices) -> None:
    at = Opened(fake)
    fake.jobs.previews.set({("ollama", "nope:latest"): Preview(failure=UNKNOWN), ("ollama", "qwen3:8b"): FITS})
    async with at.app.run_test(size=(80, 24)) as pilot:
        dialog = at.open("qwen3:8b\nnope")
        await until(lambda: "registry.ollama.ai has no model or tag nope:latest" in at.words)
        await pilot.press("enter")
        await until(lambda: "nope:latest cannot be pulled on ollama" in at.words)
        assert at.app.screen is dialog
        assert at.added == []
        assert "esc back" in at.words
        await pilot.press(*["backspace"] * 5, "enter")
        assert [args for args, _more in at.added] == [("qwen3:8b", "ollama")]


async def test_a_registry_out_of_reach_is_said_and_does_not_stop_it(fake: FakeServices) -> None:
    at = Opened(fake)
    note = "registry.ollama.ai cannot be reached from here; sizes come while it runs"
    fake.jobs.previews.set({("ollama", "phi4:14b"): Preview(Plan(note=note))})
    async with at.app.run_test(size=(80, 24)) as pilot:
        at.open("phi4:14b")
        await until(lambda: note in at.words)
        await pilot.press("enter")
        assert len(at.added) == 1


async def test_a_pasted_list_with_comments(fake: FakeServices) -> None:
    at = Opened(fake)
    async with at.app.run_test(size=(80, 24)) as pilot:
        dialog = at.open(
            "# for the night\nqwen3:8b  # the small one\n\nlibrary/QWEN3:8b\nhttp://registry.lan:5000/team/model:7b\nphi4:14b\n"
        )
        await pilot.pause()
        assert dialog.names == ["qwen3:8b", "library/QWEN3:8b", "http://registry.lan:5000/team/model:7b", "phi4:14b"]
        await until(lambda: "without TLS" in at.words)
        await pilot.press("enter")
        assert [args[0] for args, _more in at.added] == ["qwen3:8b", "registry.lan:5000/team/model:7b", "phi4:14b"]
        assert [more.get("insecure") for _args, more in at.added] == [None, True, None]


async def test_one_model_on_two_servers(fake: FakeServices) -> None:
    at = Opened(fake, servers=2)
    fake.jobs.previews.set({("ollama", "qwen3:8b"): FITS, ("gpu2", "qwen3:8b"): Preview(plan(5_200_000_000))})
    async with at.app.run_test(size=(80, 24)) as pilot:
        at.open("qwen3:8b")
        await pilot.press("ctrl+o")
        await until(lambda: "Pull on gpu2 ctrl+o: both" in at.words)
        await pilot.press("ctrl+o")
        await until(lambda: "Pull on ollama, gpu2" in at.words)
        assert "ollama 5.2 GB, 4.9 GB there" in at.words
        assert "gpu2 5.2 GB to fetch" in at.words
        assert "2 pulls on 2 servers: 5.5 GB to fetch" in at.words
        assert ("qwen3:8b", "gpu2") in fake.called("preview")
        await pilot.press("enter")
        assert [args for args, _more in at.added] == [("qwen3:8b", "ollama"), ("qwen3:8b", "gpu2")]


async def test_servers_are_marked_in_a_list_where_there_are_more(fake: FakeServices) -> None:
    at = Opened(fake, servers=4)
    async with at.app.run_test(size=(80, 24)) as pilot:
        at.open("qwen3:8b")
        await pilot.press("ctrl+o")
        await until(lambda: isinstance(at.app.screen, MarkDialog))
        await pilot.press("j", "j", "space", "enter")
        await until(lambda: "Pull on ollama, gpu3" in at.words)


async def test_what_needs_a_yes_is_asked_once(fake: FakeServices) -> None:
    at = Opened(fake)
    fake.config.set("general.network", "metered")
    asking = replace(FITS, asks=frozenset({Ask.METERED}))
    fake.jobs.previews.set({("ollama", "qwen3:8b"): asking, ("ollama", "phi4:14b"): asking})
    async with at.app.run_test(size=(80, 24)) as pilot:
        at.open("qwen3:8b\nphi4:14b")
        await until(lambda: "asks first: the network is metered" in at.words)
        await pilot.press("enter")
        dialog = at.app.screen
        assert isinstance(dialog, ConfirmDialog)
        await until(lambda: "Pull phi4:14b, 5.2 GB? The network is metered." in at.words)
        await until(lambda: dialog.armed)
        await pilot.press("enter")
        assert at.added == []
        await pilot.press("enter")
        again = at.app.screen
        assert isinstance(again, ConfirmDialog)
        await until(lambda: again.armed)
        await pilot.press("right", "enter")
        assert [more["allowed"] for _args, more in at.added] == [frozenset({Ask.METERED})] * 2


async def test_started_at_a_time_and_loaded_afterwards(fake: FakeServices) -> None:
    at = Opened(fake)
    async with at.app.run_test(size=(80, 24)) as pilot:
        at.open("qwen3:8b")
        await pilot.press("ctrl+r", "ctrl+t", *"soon", "enter")
        assert isinstance(at.app.screen, InputDialog)
        assert "soon is no time (start). Write it like 23:00" in at.words
        await pilot.press(*["backspace"] * 4, *"in 2h", "enter")
        await until(lambda: "load it afterwards: yes" in at.words)
        before = time.time()
        await pilot.press("enter")
        ((_args, more),) = at.added
        assert more["warm_up"] is True
        assert before + 7100 < more["not_before"] < before + 7300


@pytest.mark.parametrize("size", [(80, 24), (60, 16), (120, 40)])
async def test_the_keys_stay_in_sight_however_much_there_is_to_say(fake: FakeServices, size: tuple[int, int]) -> None:
    at = Opened(fake, servers=2)
    names = [f"model{number}:7b" for number in range(40)]
    fake.jobs.previews.set({("ollama", name): Preview(failure=UNKNOWN) for name in names})
    async with at.app.run_test(size=size) as pilot:
        dialog = at.open("\n".join(names))
        await pilot.press("ctrl+o", "ctrl+o", "enter")
        await pilot.pause()
        assert at.app.screen is dialog
        assert "enter pulls" in at.words
        assert "more lines" in at.words
        assert len(set(fake.called("preview"))) <= 24
        assert all(len(line) <= size[0] for line in screen_lines(at.app))


async def test_X01_hostile_names_stay_literal(fake: FakeServices) -> None:
    at = Opened(fake)
    texts = [clean_name(text) for text in CANARIES]
    fake.jobs.previews.set(
        {
            ("ollama", "qwen3:8b"): Preview(failure=Failure(texts[4], texts[6], texts[5])),
            ("ollama", "phi4:14b"): Preview(Plan(note=texts[4])),
        }
    )
    async with at.app.run_test(size=(120, 40)) as pilot:
        for text in CANARIES:
            dialog = at.open(f"{clean_name(text)}\nqwen3:8b")
            await pilot.press("enter")
            await pilot.pause()
            assert not FORBIDDEN & set(screen_text(at.app).replace("\n", ""))
            dialog.dismiss(None)
            await pilot.pause()
        at.open("phi4:14b")
        await until(lambda: "[@click=app.quit]x[/]" in at.words)
    assert at.added == []
