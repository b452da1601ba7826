"""Records behave as the dataclasses they become."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Mapping
from dataclasses import field
from typing import Generic, TypeVar

import pytest

from tui.core.record import record

T = TypeVar("T")


def test_a_record_is_a_frozen_dataclass_once_it_is_used() -> None:
    @record(frozen=True)
    class Place:
        """Somewhere."""

        x: int
        y: int = 0
        names: Mapping[str, str] = field(default_factory=dict, compare=False)

        @property
        def both(self) -> int:
            return self.x + self.y

    assert "__dataclass_fields__" not in vars(Place)
    place = Place(3, names={"a": "b"})
    assert (place.x, place.y, place.both) == (3, 0, 3)
    assert place == Place(3)
    assert len({place, Place(3), Place(4)}) == 2
    assert repr(place) == "Place(x=3, y=0, names={'a': 'b'})"
    assert dataclasses.replace(place, y=4).both == 7
    assert dataclasses.asdict(place) == {"x": 3, "y": 0, "names": {"a": "b"}}
    with pytest.raises(dataclasses.FrozenInstanceError):
        place.x = 1  # type: ignore[misc]
    with pytest.raises(TypeError):
        Place()  # type: ignore[call-arg]


def test_the_fields_of_a_record_are_known_before_the_first_object() -> None:
    @record(frozen=True)
    class Place:
        """Somewhere."""

        x: int

    assert dataclasses.is_dataclass(Place)
    assert [one.name for one in dataclasses.fields(Place)] == ["x"]


def test_fields_may_have_any_name_and_nothing_to_compare() -> None:
    @record(frozen=True)
    class Odd:
        """With the names that its constructor might use."""

        values: int
        missing: int = 1
        _values: list[int] = field(default_factory=list, compare=False)
        known: list[int] = field(default_factory=list)

    @record(frozen=True)
    class Nothing:
        """Without fields."""

    odd = Odd(3)
    assert (odd.values, odd.missing, odd._values, odd.known) == (3, 1, [], [])
    assert Odd(3).known is not odd.known
    assert Odd(3, 1, [4]) == odd
    assert Nothing() == Nothing()
    assert repr(Nothing()) == "Nothing()"


def test_records_inherit_and_are_generic() -> None:
    @record(frozen=True)
    class Base:
        """Below."""

        x: int

    @record(frozen=True)
    class Above(Base):
        """Above."""

        y: int = 2

    @record(frozen=True)
    class Box(Generic[T]):
        """Of anything."""

        value: T

    assert Above(1) == Above(1, 2)
    assert Base(1) != Above(1)
    assert Box[int](5).value == 5
    assert hash(Box("a")) == hash(Box("a"))


def test_many_threads_may_make_the_first_object() -> None:
    for _round in range(20):

        @record(frozen=True)
        class Place:
            """Somewhere."""

            x: int
            y: int = 1

        start = threading.Barrier(8)
        made: list[Place] = []

        def make(start: threading.Barrier = start, made: list[Place] = made, kind: type[Place] = Place) -> None:
            start.wait()
            made.append(kind(7))

        threads = [threading.Thread(target=make) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert made == [Place(7)] * 8
