"""What a `Rows` table shows: items, the filter, the order, the cursor and the marks. No widget, no drawing."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, Generic, TypeVar

T = TypeVar("T")
SAME: Final[Mapping[Hashable, Hashable]] = MappingProxyType({})
"""No item has another key than before."""


class RowSet(Generic[T]):
    """Items of which some are shown; cursor and marks stand on items, not on numbers.

    Args:
        key: The identity of an item.
        text: What filter and search look at.
    """

    def __init__(self, key: Callable[[T], Hashable], text: Callable[[T], str]) -> None:
        self._key, self._text = key, text
        self.items: list[T] = []
        self.view: Sequence[int] = ()
        """Numbers of the items shown, in the order shown."""
        self.row = 0
        """The cursor among those shown."""
        self.filter = ""
        self.predicate: Callable[[T], bool] | None = None
        self.anchor: Hashable | None = None
        """Where a range begins."""
        self._words: tuple[str, ...] = ()
        self._order: tuple[Callable[[T], Any], bool] | None = None
        self._at: dict[Hashable, int] = {}
        self._texts: list[str] | None = None
        self._marks: set[Hashable] = set()
        self._marked: list[T] | None = None
        self._hidden: int | None = None

    # --- items, filter, order

    def fill(self, items: Iterable[T], renamed: Mapping[Hashable, Hashable] = SAME) -> bool:
        """Take these items; cursor and marks follow theirs, `renamed` ones by their new key. Returns whether marks were lost."""
        held = self.cursor_key
        if renamed:
            held, self.anchor = renamed.get(held, held), renamed.get(self.anchor, self.anchor)
            self._marks = {renamed.get(key, key) for key in self._marks}
        self.items = list(items)
        self._at = {self._key(item): index for index, item in enumerate(self.items)}
        self._texts = None
        had = len(self._marks)
        self._marks &= self._at.keys()
        self._arrange(held)
        return len(self._marks) != had

    def replace(self, item: T) -> bool:
        """Replace the item of the same key, in its place; False where there is none."""
        index = self._at.get(self._key(item))
        if index is None:
            return False
        self.items[index] = item
        self._marked = None
        if self._texts is not None:
            self._texts[index] = self._text(item).casefold()
        return True

    def forget_texts(self) -> None:
        """What filter and search look at is another text now."""
        self._texts = None

    def narrow(self, text: str, predicate: Callable[[T], bool] | None = None) -> None:
        """Show the items that hold all words (upper and lower case alike) and that the predicate accepts."""
        held = self.cursor_key
        self.filter, self._words, self.predicate = text, tuple(text.casefold().split()), predicate
        self._arrange(held)

    def order(self, by: Callable[[T], Any] | None, descending: bool) -> None:
        """Order by a value, items without one (None) last; None is the order given."""
        held = self.cursor_key
        self._order = None if by is None else (by, descending)
        self._arrange(held)

    def arrange_again(self) -> None:
        """What filter and order go by is different now."""
        self._arrange(self.cursor_key)

    def seek(self, text: str, start: int, step: int) -> int | None:
        """The next row that holds all words (case-folded), going round from `start` on."""
        count, words, texts = len(self.view), text.split(), self._folded()
        for distance in range(count):
            row = (start + step * distance) % count
            if all(word in texts[self.view[row]] for word in words):
                return row
        return None

    def _folded(self) -> list[str]:
        if self._texts is None:
            self._texts = [self._text(item).casefold() for item in self.items]
        return self._texts

    def _arrange(self, held: Hashable | None) -> None:
        """Work out which items are shown in what order, and put the cursor back on what it stood on."""
        self._marked = self._hidden = None
        view: Sequence[int] = range(len(self.items))
        if self._words:
            texts = self._folded()
            for word in self._words:
                view = [index for index in view if word in texts[index]]
        if self.predicate is not None:
            view = [index for index in view if self.predicate(self.items[index])]
        if self._order is not None:
            view = self._sorted(view, *self._order)
        self.view = view
        row = self.row_of(held) if held is not None else None
        self.row = max(0, min(self.row, len(view) - 1)) if row is None else row

    def _sorted(self, view: Sequence[int], by: Callable[[T], Any], descending: bool) -> Sequence[int]:
        values = {index: by(self.items[index]) for index in view}
        known = sorted((index for index in view if values[index] is not None), key=values.__getitem__, reverse=descending)
        return known + [index for index in view if values[index] is None]

    # --- cursor

    def key_of(self, row: int) -> Hashable:
        """The key of a row shown."""
        return self._key(self.items[self.view[row]])

    def row_of(self, key: Hashable) -> int | None:
        """The row of an item; None where it is not shown."""
        index = self._at.get(key)
        if index is None:
            return None
        try:
            return self.view.index(index)
        except ValueError:
            return None

    @property
    def highlighted(self) -> T | None:
        """The item under the cursor."""
        return self.items[self.view[self.row]] if self.row < len(self.view) else None

    @property
    def cursor_key(self) -> Hashable | None:
        """The key of the item under the cursor."""
        return self.key_of(self.row) if self.row < len(self.view) else None

    # --- marks

    @property
    def marks(self) -> frozenset[Hashable]:
        """Keys of the marked items, those hidden by the filter and those of an open range included."""
        return frozenset(self._marks | self._range())

    def is_marked(self, row: int) -> bool:
        """Whether a row shown is marked."""
        if self.key_of(row) in self._marks:
            return True
        start = self.row_of(self.anchor) if self.anchor is not None else None
        return start is not None and min(start, self.row) <= row <= max(start, self.row)

    @property
    def marked_items(self) -> list[T]:
        """The marked items in the order given, those hidden by the filter included; kept, as every key may ask for it."""
        if self._marked is not None and self.anchor is None:
            return self._marked
        marks = self.marks
        found = [item for item in self.items if self._key(item) in marks] if marks else []
        if self.anchor is None:  # an open range moves with the cursor
            self._marked = found
        return found

    @property
    def marked_hidden(self) -> int:
        """How many marked items the filter hides."""
        if self._hidden is not None and self.anchor is None:
            return self._hidden
        marks = self.marks
        hidden = len(marks) - sum(1 for index in self.view if self._key(self.items[index]) in marks) if marks else 0
        if self.anchor is None:
            self._hidden = hidden
        return hidden

    def mark(self) -> None:
        """Mark the item under the cursor, or unmark it."""
        if self.highlighted is not None:
            self._marks ^= {self.key_of(self.row)}
            self._marked = self._hidden = None

    def mark_range(self) -> None:
        """Begin a range at the cursor, or mark what lies between."""
        if self.anchor is None:
            self.anchor = self.cursor_key
        else:
            self._marks |= self._range()
            self.anchor = None
        self._marked = self._hidden = None

    def mark_all(self) -> None:
        """Mark all rows shown, or unmark them where all are marked."""
        keys = {self._key(self.items[index]) for index in self.view}
        self.anchor = None
        self._marked = self._hidden = None
        self._marks = self._marks - keys if keys <= self._marks else self._marks | keys

    def clear_marks(self) -> bool:
        """Unmark everything; False where nothing was marked."""
        had = bool(self._marks) or self.anchor is not None
        self._marks.clear()
        self.anchor = None
        self._marked = self._hidden = None
        return had

    def _range(self) -> set[Hashable]:
        start = self.row_of(self.anchor) if self.anchor is not None else None
        if start is None:
            return set()
        first, last = sorted((start, self.row))
        return {self.key_of(row) for row in range(first, last + 1)}
