"""Alerts beyond the Monitor: the status bar of every screen, what another machine's server tells, toasts, bell and desktop notices."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.support.fake_services import FakeServices, ScreenHost
from tests.support.screen import CANARIES, FORBIDDEN, screen_lines, screen_text, until
from tests.ui.monitor_data import AT, FAR, alerts, fill, provider
from tui.core.models import Location
from tui.core.monitor import Alert, AlertsView
from tui.services.chat.api import ConversationView
from tui.text import clean_label
from tui.ui.outside import Alarms
from tui.ui.screens.library import LibraryScreen
from tui.ui.status import far_text
from tui.ui.wire_marks import WindowMarks


class Clock:
    now = AT

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now


def bar_of(app: ScreenHost) -> str:
    return screen_lines(app)[-2]


async def test_every_screen_shows_the_newest_alert_and_the_mark(fake: FakeServices) -> None:
    fill(fake)
    app = ScreenHost(LibraryScreen(fake))
    async with app.run_test(size=(80, 24)):
        await until(lambda: "! GPU0 86 °C" in bar_of(app))
        await until(lambda: "5 Monitor !1" in screen_text(app))
        fake.monitor.alerts.set(AlertsView((), alerts().log))
        await until(lambda: "!" not in bar_of(app) and "!1" not in screen_text(app))
        fake.monitor.alerts.set(AlertsView((Alert(9, "provider_down", clean_label(CANARIES[5]), 31.0, 30.0, AT),)))
        await until(lambda: "! [bold red]big[/] does not answer" in bar_of(app))
        assert not FORBIDDEN & set(bar_of(app))


async def test_a_server_elsewhere_stands_under_its_own_name(fake: FakeServices) -> None:
    fill(fake)
    fake.monitor.alerts.set(AlertsView())
    fake.registry.providers.set((provider("ollama"), provider("vllm-a", Location.ELSEWHERE, "http://gpu2:8000")))
    fake.monitor.servers.set({"vllm-a": FAR, "ollama": replace(FAR, provider="ollama")})
    app = ScreenHost(LibraryScreen(fake))
    async with app.run_test(size=(120, 40)):
        await until(lambda: "RAM 41%" in bar_of(app))
        assert "212 tok/s" not in bar_of(app)
        fake.chat.view.set(ConversationView(provider="vllm-a", model="llama3.1:70b"))
        await until(lambda: "vllm-a 2 run 1 waits 212 tok/s" in bar_of(app))
        fake.chat.view.set(ConversationView(provider="ollama", model="qwen3:8b"))
        await until(lambda: "212 tok/s" not in bar_of(app))


def test_figures_of_a_server_here_are_not_told_as_anothers() -> None:
    assert far_text(provider("ollama"), FAR) == ""
    assert far_text(provider("vllm-a", Location.ELSEWHERE), replace(FAR, running=None, waiting=None, rate=None)) == ""


def alarms(said: list[str], sent: list[str], *, notify: bool = True, bell: bool = False, opened_at: float = AT) -> tuple[Alarms, Clock]:
    marks, clock = WindowMarks(sent.append, {"TERM_PROGRAM": "iTerm.app"}), Clock()
    marks.start()
    made = Alarms(
        opened_at,
        lambda text, _bad: said.append(text),
        lambda: marks,
        notify=lambda: notify,
        bell=lambda: bell,
        words=lambda alert, _now: f"{alert.subject} {'ended' if alert.ended_at else 'began'}",
        clock=clock,  # type: ignore[arg-type]
    )
    return made, clock


def view_of(*active: Alert, log: tuple[Alert, ...] = (), **changes: Any) -> AlertsView:
    return AlertsView(active, log, **changes)


def test_an_alert_is_told_when_it_begins_and_when_it_ends() -> None:
    said: list[str] = []
    sent: list[str] = []
    made, _clock = alarms(said, sent)
    one = Alert(1, "gpu", "GPU0", 99.0, 90.0, AT + 1)
    made.take(view_of(one))
    made.take(view_of(replace(one, figure=100.0)))
    assert said == ["GPU0 began"]
    made.take(view_of(log=(replace(one, ended_at=AT + 60),)))
    made.take(view_of(log=(replace(one, ended_at=AT + 60),)))
    assert said == ["GPU0 began", "GPU0 ended"]
    assert sent == ["\x1b]9;Paddock: GPU0 began\x07", "\x1b]9;Paddock: GPU0 ended\x07"]


@pytest.mark.parametrize(("notify", "bell", "expected"), [(False, True, ["\x07"]), (False, False, [])])
def test_bell_and_notice_follow_their_settings(notify: bool, bell: bool, expected: list[str]) -> None:
    said: list[str] = []
    sent: list[str] = []
    alarms(said, sent, notify=notify, bell=bell)[0].take(view_of(Alert(1, "gpu", "GPU0", 99.0, 90.0, AT + 1)))
    assert sent == expected


def test_what_began_before_the_window_opened_or_while_muted_is_not_told() -> None:
    said: list[str] = []
    sent: list[str] = []
    made, clock = alarms(said, sent)
    old, new = Alert(1, "gpu", "GPU0", 99.0, 90.0, AT - 60), Alert(2, "disk", "/var", 99.0, 90.0, AT + 5)
    made.take(view_of(old))
    made.take(view_of(old, new, muted_until=AT + 100))
    made.take(view_of(log=(replace(old, ended_at=AT + 6), replace(new, ended_at=AT + 7)), muted_until=AT + 100))
    assert (said, sent) == ([], [])
    clock.now = AT + 200
    made.take(view_of(Alert(3, "disk", "/srv", 99.0, 90.0, AT + 150), muted_until=AT + 100))
    assert said == ["/srv began"]


def test_X03_a_notice_holds_no_control_characters() -> None:
    said: list[str] = []
    sent: list[str] = []
    made, _clock = alarms(said, sent)
    made.take(view_of(*(Alert(number, "disk", name, 99.0, 90.0, AT + 1) for number, name in enumerate(CANARIES))))
    for text in sent:
        assert not FORBIDDEN & set(text.removeprefix("\x1b]9;").removesuffix("\x07"))
