"""The shape of a conversation: which message follows which, with the deleted ones left out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


class Tree:
    """All messages of one conversation by their numbers.

    A deleted message is passed over: what followed it follows the nearest living message before it, until it is brought back.

    Args:
        rows: Id, parent, and whether it lives, in the order of storing (a parent stands before its children).
    """

    def __init__(self, rows: Iterable[tuple[int, int, bool]]) -> None:
        self._stored: dict[int, int] = {}
        self._parents: dict[int, int] = {0: 0}
        self._living: dict[int, bool] = {0: True}
        self._children: dict[int, list[int]] = {}
        for number, stored, living in rows:
            parent = stored if stored in self._stored else 0
            self._stored[number] = parent
            shown = self._parents[number] = parent if self._living[parent] else self._parents[parent]
            self._living[number] = living
            if living:
                self._children.setdefault(shown, []).append(number)

    def __contains__(self, message: int) -> bool:
        return message in self._stored

    def parent(self, message: int) -> int:
        """The living message it follows, 0 for a first one."""
        return self._parents.get(message, 0)

    def path(self, message: int) -> tuple[int, ...]:
        """The living messages from the first one to this one."""
        found = []
        if message not in self._stored:
            return ()
        while message:
            if self._living[message]:
                found.append(message)
            message = self._parents[message]
        return tuple(reversed(found))

    def branches(self) -> dict[int, tuple[int, ...]]:
        """Of each living message that has living siblings: all of them in order, itself included."""
        found = {}
        for siblings in self._children.values():
            if len(siblings) > 1:
                found.update(dict.fromkeys(siblings, tuple(siblings)))
        return found

    def leaf(self, message: int) -> int:
        """Where one arrives who follows the newest message each time; the message itself where nothing follows."""
        while children := self._children.get(message):
            message = children[-1]
        return message

    def subtree(self, message: int) -> tuple[int, ...]:
        """This message and all that follows it, as far as they live."""
        if message not in self._stored:
            return ()
        inside = {message}
        for number, parent in self._stored.items():
            if parent in inside:
                inside.add(number)
        return tuple(number for number in self._stored if number in inside and self._living[number])

    def living(self) -> tuple[int, ...]:
        """All that live, in the order of storing."""
        return tuple(number for number in self._stored if self._living[number])


def parents_first(links: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ids and parents of a foreign tree, in their order but each parent before its children.

    What follows nothing known, or itself in a circle, becomes a first one.
    """
    parents = dict(links)
    placed: dict[int, int] = {}
    for number in parents:
        above: dict[int, None] = {}
        while number in parents and number not in placed and number not in above:
            above[number] = None
            number = parents[number]
        for one in reversed(above):
            placed[one] = parents[one] if parents[one] in placed else 0
    return list(placed.items())
