"""Loaded models, with what is told of them."""

from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.monitor_host import running
from tui.core.models import Endpoint
from tui.core.monitor import Loaded, ServerFigures
from tui.services.monitor.joining import Join
from tui.services.monitor.loaded import Used, loaded_models, stay_of, words_of_cards


def answer(model: str = "a", rate: float | None = None, phase: str = "writing", provider: str = "lab") -> Any:
    return SimpleNamespace(provider=provider, model=model, phase=phase, timeline=SimpleNamespace(rate=rate))


def one(figures: ServerFigures | None = None, live: Any = (), **more: Any) -> Loaded:
    models = (running("a", 5, **more),)
    servers = {"lab": figures} if figures is not None else {}
    return loaded_models(models, frozenset({"lab"}), {}, servers, {}, live, {}, {})[0]


def test_all_that_is_known() -> None:
    join = Join(frozenset({8, 7}), {"G1": 3, "G0": 2}, about=True)
    figures = ServerFigures("lab", running=2, waiting=1, kv_used=0.5, rate=40.0)
    (found,) = loaded_models(
        (running("a", 5),), frozenset({"lab"}), {("lab", "a"): join}, {"lab": figures}, {}, (), {"G0": 0, "G1": 1}, {("lab", "a"): 9.0}
    )
    assert (found.here, found.cards, found.about, found.pids) == (True, "GPU0+1", True, (7, 8))
    assert (found.kv_used, found.kv_bytes, found.rate, found.running, found.waiting, found.own, found.last_used) == (
        0.5,
        None,
        40.0,
        2,
        1,
        0,
        9.0,
    )


def test_rule_10_a_model_elsewhere_is_on_no_card_of_ours() -> None:
    (found,) = loaded_models((running("a", 5),), frozenset(), {("lab", "a"): Join(frozenset({7}), {"G0": 2})}, {}, {}, (), {"G0": 0}, {})
    assert (found.here, found.cards, found.pids) == (False, "", ())


def test_figures_of_a_server_are_those_of_its_only_model() -> None:
    servers = {"lab": ServerFigures("lab", running=3, rate=9.0)}
    both = loaded_models(
        (running("a"), running("b")), frozenset(), {}, servers, {("lab", "b"): ServerFigures("lab", running=1)}, (), {}, {}
    )
    assert [found.running for found in both] == [None, 1] and both[0].rate is None


def test_slots_stand_in_where_no_figures_are() -> None:
    found = one(slots=4, busy_slots=2, waiting=1)
    assert (found.running, found.waiting) == (2, 1)


def test_rate_is_ours_while_we_are_alone() -> None:
    ours = [answer(rate=50.0)]
    assert one(live=ours).rate == 50.0
    assert one(ServerFigures("lab", running=1, rate=30.0), ours).rate == 50.0
    assert one(ServerFigures("lab", running=2, rate=80.0), ours).rate == 80.0
    assert one(ServerFigures("lab", running=0, rate=0.0)).rate is None
    assert one(live=[answer(rate=50.0, phase="loading")]).rate is None
    found = one(live=[answer("A:latest", 5.0), answer("other", 7.0), answer("a", 3.0, provider="x")])
    assert found.own == 1 and found.rate == 5.0


def test_words_of_cards() -> None:
    assert words_of_cards({}, {"G": 0}) == words_of_cards({"X": 5}, {"G": 0}) == words_of_cards({"G": 0}, {"G": 0}) == ""
    assert words_of_cards({"G": 1}, {"G": 10}) == "GPU10"


# --- last used ----------------------------------------------------------------------------------------------------------


def test_used_while_it_works_and_when_its_time_is_set_anew() -> None:
    used = Used()
    key = ("lab", "a")
    assert used.look([(running("a", expires_at=400.0), False)], {}, 100.0) == {}
    assert used.look([(running("a", expires_at=400.5), False)], {}, 102.0) == {}
    assert used.look([(running("a", expires_at=500.0), False)], {}, 104.0) == {key: 104.0}
    assert used.look([(running("a", expires_at=500.0), True)], {}, 106.0) == {key: 106.0}
    assert used.look([(running("a", expires_at=500.0), False)], {}, 108.0) == {key: 106.0}
    assert used.look([], {}, 110.0) == {}
    assert used.look([(running("a", expires_at=900.0), False)], {}, 112.0) == {}


def test_used_by_the_stay_that_the_user_set() -> None:
    def look(keep_alive: str, expires: float | None = 400.0) -> Any:
        return Used().look(
            [(running("a", expires_at=expires), False)], {"lab": Endpoint("lab", "ollama", "http://x", keep_alive=keep_alive)}, 350.0
        )

    assert look("5m") == {("lab", "a"): 100.0}
    assert look("") == look("forever") == look("-1") == look("10s") == look("5m", None) == {}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("10m", 600.0),
        ("1h30m", 5400.0),
        ("300", 300.0),
        ("1.5h", 5400.0),
        ("500ms", 0.5),
        ("-1", None),
        ("", None),
        ("x", None),
        ("1d", None),
    ],
)
def test_stays(text: str, seconds: float | None) -> None:
    assert stay_of(text) == seconds
