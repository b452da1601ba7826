"""What can be completed: plain values that the composer asks for and its popup draws."""

from __future__ import annotations

from collections.abc import Callable

from tui.core.record import record


@record(frozen=True)
class Choice:
    """One way to go on.

    Attributes:
        text: What takes the place of what was typed.
        label: What the list shows, cleaned; empty: the text.
        note: A remark at the right, cleaned.
        more: Something is typed behind it (a folder, a command's argument): no space is added where there is none.
    """

    text: str
    label: str = ""
    note: str = ""
    more: bool = False


@record(frozen=True)
class Completion:
    """The choices at the cursor.

    Attributes:
        start: Column of the cursor's line from which a choice replaces the text.
        choices: The likeliest first.
        taken_by_enter: Enter takes the first one; else only what the arrows or tab choose.
        paths: The text from `start` is a path: the choices are the files that go on with it.
    """

    start: int
    choices: tuple[Choice, ...] = ()
    taken_by_enter: bool = False
    paths: bool = False


Completer = Callable[[str], Completion | None]
"""Asked with the first line up to the cursor where it begins with a typed slash; None: nothing to complete."""
