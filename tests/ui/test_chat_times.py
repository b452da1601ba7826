"""Where an answer's time and energy went, in words."""

from __future__ import annotations

import pytest

from tui.core.chat import Timeline
from tui.core.events import Metrics
from tui.ui.screens.chat_times import footer, used

METRICS = Metrics(prompt_tokens=31, output_tokens=200, prompt_seconds=0.3, output_seconds=4.3)


@pytest.mark.parametrize(
    ("joules", "metrics", "words"),
    [
        (None, METRICS, ""),
        (340.0, METRICS, "energy    340 J, 1.7 J a token, of the GPU"),
        (34.0, METRICS, "energy    34 J, 0.17 J a token, of the GPU"),
        (3405.0, Metrics(), "energy    3.4 kJ, of the GPU"),
    ],
)
def test_the_energy_of_an_answer(joules: float | None, metrics: Metrics, words: str) -> None:
    assert used(Timeline(joules=joules), metrics) == words


def test_it_stands_below_the_times_where_all_is_asked_for() -> None:
    timeline = Timeline(waited=0.1, read=0.3, wrote=4.4, joules=340.0)
    assert [line for line, _ in footer(timeline, METRICS, full=False)] == ["waited 0.1s  read 0.3s (31 tokens)  wrote 4.4s"]
    assert footer(timeline, METRICS, full=True)[-1][0] == "energy    340 J, 1.7 J a token, of the GPU"
    usual = footer(timeline, METRICS, full=True, usual="45 tok/s, first token 2.1s (11 answers)")
    assert usual[-1][0] == "usually   45 tok/s, first token 2.1s (11 answers)"
    assert len(footer(Timeline(wrote=4.4), METRICS, full=True)) == 3
