"""The history: gaps, scales, figures by name."""

from dataclasses import replace

import pytest

from tests.services.test_sampling import sample
from tui.services.monitor.history import History


def test_a_gap_is_a_gap_in_the_graph_too() -> None:
    history = History()
    for at in (10.0, 11.0, 12.02, 17.0, 18.0):
        history.add(replace(sample(at), time=at), 1.0)
    assert list(history.points("cpu", 9).values) == [10.0, 11.0, 12.02, None, None, None, None, 17.0, 18.0]
    assert history.points("cpu", 3).values == (None, 17.0, 18.0)


def test_samples_of_another_interval_are_drawn_on_this_ones_scale() -> None:
    history = History()
    history.add(replace(sample(1.0), time=10.0), 1.0)
    history.add(replace(sample(2.0), time=11.0), 1.0)
    history.add(replace(sample(3.0), time=16.0), 5.0)
    points = history.points("cpu", 10)
    assert (points.values, points.step) == ((2.0, 3.0), 5.0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("memory", 40.0), ("swap", 50.0), ("disk_read", 4.0), ("disk_write", 4.0), ("net_in", 7.0), ("net_out", 8.0),
        ("gpu:GPU-1", 50.0), ("gpu:GPU-1:memory", 25.0), ("gpu:GPU-1:temperature", 60.0), ("gpu:GPU-1:power", 200.0), ("gpu:x", None),
    ],
)  # fmt: skip
def test_figures_by_name(name: str, value: float | None) -> None:
    history = History()
    history.add(sample(), 1.0)
    assert history.points(name, 1).values == (value,)
