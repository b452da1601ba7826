"""What a table shows, without a screen."""

from __future__ import annotations

import random

import pytest

from tui.ui.widgets.rows_set import RowSet


def rows(count: int = 20) -> RowSet[str]:
    made: RowSet[str] = RowSet(lambda item: item.split()[0], lambda item: item)
    made.fill(f"m{nr:02d} Note{nr % 5}" for nr in range(count))
    return made


def test_all_words_in_any_order_and_case() -> None:
    some = rows()
    some.narrow("note3 M1")
    assert [some.items[index] for index in some.view] == ["m13 Note3", "m18 Note3"]
    some.narrow("", lambda item: item.endswith("4"))
    assert len(some.view) == 4
    some.narrow("zebra")
    assert some.highlighted is None
    assert some.cursor_key is None


def test_an_item_replaced_is_found_by_its_new_text() -> None:
    some = rows()
    some.narrow("zebra")
    assert some.replace("m04 zebra")
    assert not some.replace("m99 zebra")
    some.narrow("zebra")
    assert some.highlighted == "m04 zebra"


def test_items_without_a_value_come_last_in_both_directions() -> None:
    some = rows(4)
    values = {"m00": 3, "m01": None, "m02": 9, "m03": 1}
    some.order(lambda item: values[item.split()[0]], False)
    assert list(some.view) == [3, 0, 2, 1]
    some.order(lambda item: values[item.split()[0]], True)
    assert list(some.view) == [2, 0, 3, 1]
    some.order(None, False)
    assert list(some.view) == [0, 1, 2, 3]


@pytest.mark.parametrize("seed", range(8))
def test_cursor_and_marks_stay_on_their_items_whatever_happens(seed: int) -> None:
    source = random.Random(seed)
    some = rows()
    for _ in range(200):
        held, shown = some.cursor_key, [some.key_of(row) for row in range(len(some.view))]
        act = source.randrange(5)
        if act == 0:
            some.fill(f"m{nr:02d} Note{nr % 5}" for nr in source.sample(range(25), source.randrange(0, 25)))
        elif act == 1:
            some.narrow(source.choice(["", "note1", "m1", "note2 m0"]))
        elif act == 2:
            some.order(source.choice([None, lambda item: item.split()[1]]), source.random() < 0.5)
        elif act == 3 and shown:
            some.row = source.randrange(len(shown))
            some.mark_range()
            continue
        elif shown:
            some.row = source.randrange(len(shown))
            was = some.is_marked(some.row)
            if some.anchor is None:
                some.mark()
                assert some.is_marked(some.row) is not was
            continue
        now = [some.key_of(row) for row in range(len(some.view))]
        assert some.cursor_key == held if held in now else some.row == max(0, min(some.row, len(now) - 1))
        known = {item.split()[0] for item in some.items}
        assert some.marks <= known
        assert {some.key_of(row) for row in range(len(now)) if some.is_marked(row)} == some.marks & set(now)
        assert some.marked_hidden == len(some.marks - set(now))
        assert [item.split()[0] for item in some.marked_items] == [item.split()[0] for item in some.items if item.split()[0] in some.marks]


def test_what_is_marked_is_told_anew_after_each_change() -> None:
    """The list is kept between changes: none may leave an old one behind."""
    made = rows(6)

    def told() -> tuple[list[str], int]:
        return [item.split()[0] for item in made.marked_items], made.marked_hidden

    made.mark()
    first = told()
    assert len(first[0]) == 1
    made.row = 2
    made.mark_range()
    made.row = 4
    assert len(told()[0]) == 4  # an open range counts
    made.anchor = None
    assert told() == first  # and goes as it came
    made.mark_all()
    assert len(told()[0]) == 6
    made.narrow("nothing holds this")
    assert told()[1] == 6
    made.narrow("")
    assert told()[1] == 0
    made.fill(made.items[2:])
    assert len(told()[0]) == 4
    assert made.replace(made.items[0])
    assert len(told()[0]) == 4
    made.clear_marks()
    assert told() == ([], 0)


def test_cursor_marks_and_range_follow_a_key_that_is_another_now() -> None:
    some = rows(4)
    some.row = 2
    some.mark()
    some.mark_range()
    assert not some.fill(["z9 Note2", "m00", "m01", "m03"], {"m02": "z9"})
    assert some.cursor_key == "z9" and some.marks == {"z9"} and some.anchor == "z9"
    assert some.fill(["m00"], {"m05": "m00"})
    assert some.cursor_key == "m00" and not some.marks
