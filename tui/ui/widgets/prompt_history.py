"""Prompts sent before: through them with up and down, and the search of `ctrl+r`. Plain values, nothing drawn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from tui.text import clean_label

LIMIT: Final = 1000
"""Prompts kept at hand."""
MARKED_LIMIT: Final = 100
"""Of them, those of this run that keep what was typed in them."""
SEARCHED: Final = 4000
"""Characters of a prompt that are searched."""
SHOWN: Final = 400

Entry = tuple[str, str]
"""A prompt and the marks of its characters (see `prompt_text`); none: nothing of it counts as typed."""


class PromptHistory:
    """The prompts, newest first, and the place among them; below the newest stands the draft."""

    def __init__(self) -> None:
        self._own: list[Entry] = []
        self._stored: list[str] = []
        self._entries: list[Entry] = []
        self._place = -1
        self._draft: Entry = ("", "")

    def __len__(self) -> int:
        return len(self._entries)

    def set_stored(self, prompts: Sequence[str]) -> None:
        """What was sent before, newest first; the place among them is kept where they are the same."""
        stored = list(prompts[:LIMIT])
        if stored != self._stored:
            self._stored = stored
            self._mix()

    def add(self, text: str, marks: str) -> None:
        """Sent just now."""
        self._own = [(text, marks), *(entry for entry in self._own if entry[0] != text)][:MARKED_LIMIT]
        self._mix()
        self.leave()

    def _mix(self) -> None:
        now = self._entries[self._place][0] if self._place >= 0 else None
        seen: dict[str, str] = dict(self._own)
        for text in self._stored:
            seen.setdefault(text, "")
        self._entries = list(seen.items())[:LIMIT]
        if now is not None:
            self._place = next((place for place, entry in enumerate(self._entries) if entry[0] == now), -1)

    def leave(self) -> None:
        """Back to the draft; it is another one from now on."""
        self._place, self._draft = -1, ("", "")

    def older(self, now: Entry) -> Entry | None:
        """The prompt before, None at the oldest; `now` is what stands in the field."""
        if self._place + 1 >= len(self._entries):
            return None
        if self._place == -1:
            self._draft = now
        self._place += 1
        return self._entries[self._place]

    def newer(self) -> Entry | None:
        """The prompt after, at last the draft; None where that stands there already."""
        if self._place < 0:
            return None
        self._place -= 1
        return self._entries[self._place] if self._place >= 0 else self._draft

    def entries(self) -> Sequence[Entry]:
        """All, newest first."""
        return self._entries


class Search:
    """Looking back through prompts for one that holds what is typed, as a shell's `ctrl+r`."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._entries = [entry for entry in entries if entry[0].strip()]
        self._folded = [text[:SEARCHED].casefold() for text, _marks in self._entries]
        self.text = ""
        self.at = 0 if self._entries else -1
        self.missing = False

    def _matches(self, start: int, step: int) -> Iterator[int]:
        needle = self.text.casefold()
        stop = len(self._folded) if step > 0 else -1
        return (place for place in range(start, stop, step) if needle in self._folded[place])

    def type(self, text: str) -> None:
        """Search for something else; the match stays where it still is one."""
        narrower = text.startswith(self.text)
        self.text = text
        found = next(self._matches(max(0, self.at) if narrower else 0, 1), None)
        self.missing = found is None
        self.at = self.at if found is None else found

    def step(self, older: bool) -> None:
        """The next match, older or newer."""
        found = next(self._matches(self.at + 1, 1) if older else self._matches(self.at - 1, -1), None)
        self.missing = found is None and older
        self.at = self.at if found is None else found

    @property
    def match(self) -> Entry | None:
        """What was found."""
        return self._entries[self.at] if self.at >= 0 and not (self.missing and self.text.casefold() not in self._folded[self.at]) else None

    def shown(self) -> tuple[str, str, str]:
        """The match on one line, round what is searched: before it, it, and behind it."""
        match = self.match
        if match is None:
            return "", "", ""
        text = match[0][:SEARCHED]
        at = max(0, text.casefold().find(self.text.casefold()))
        end = at + len(self.text)
        first = max(0, at - SHOWN // 8)
        before = ("…" if first else "") + text[first:at]
        return clean_label(before, SHOWN), clean_label(text[at:end], SHOWN), clean_label(text[end : end + SHOWN], SHOWN + 1)
