"""Prompts sent before, and the search through them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tui.ui.widgets.prompt_history import LIMIT, SEARCHED, PromptHistory, Search


def test_what_was_sent_in_this_run_keeps_its_marks_and_each_prompt_stands_once() -> None:
    history = PromptHistory()
    history.set_stored(["b", "a"])
    history.add("a", "t")
    history.add("c", "p")
    assert list(history.entries()) == [("c", "p"), ("a", "t"), ("b", "")]
    history.set_stored(["c", "a", "b", "z"])
    assert [text for text, _marks in history.entries()] == ["c", "a", "b", "z"]
    history.set_stored([str(number) for number in range(5000)])
    assert len(history) == LIMIT


def test_walking_goes_on_where_the_list_grows_meanwhile() -> None:
    history = PromptHistory()
    history.set_stored(["b", "a"])
    assert history.older(("draft", "ttttt")) == ("b", "")
    assert history.older(("b", "")) == ("a", "")
    assert history.older(("a", "")) is None
    history.set_stored(["c", "b", "a"])
    assert history.newer() == ("b", "")
    assert history.newer() == ("c", "")
    assert history.newer() == ("draft", "ttttt")
    assert history.newer() is None


def test_the_search_narrows_steps_and_comes_back() -> None:
    search = Search([("Zebra", ""), ("apple pie", ""), ("", ""), ("an APPLE", "p")])
    search.type("ap")
    assert search.match == ("apple pie", "")
    search.step(older=True)
    assert search.match == ("an APPLE", "p")
    assert search.shown() == ("an ", "AP", "PLE")
    search.step(older=True)
    assert search.match == ("an APPLE", "p")
    search.step(older=False)
    assert search.match == ("apple pie", "")
    search.type("apq")
    assert search.match is None
    assert search.shown() == ("", "", "")
    search.type("")
    assert search.match == ("Zebra", "")
    assert Search([]).match is None


def test_of_long_prompts_only_the_beginning_is_searched() -> None:
    entries = [(f"{number} " + "x" * 200_000, "") for number in range(20)] + [("y" * 10_000, "")] * 980
    search = Search(entries)
    for text in ("n", "no", "non", "none"):
        search.type(text)
    assert search.match is None
    assert all(len(folded) <= SEARCHED for folded in search._folded)


@given(st.lists(st.text("abß \n\x1b", max_size=30), max_size=6), st.text("abß", max_size=4))
def test_what_is_shown_is_on_one_line(prompts: list[str], needle: str) -> None:
    search = Search([(text, "") for text in prompts])
    search.type(needle)
    assert not set("".join(search.shown())) & set("\n\x1b")
