"""Screens and dialogs that follow values while they are there."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, cast

from textual.message_pump import MessagePump
from textual.screen import ModalScreen, ScreenResultType

from tui.core.observe import Observable
from tui.ui.follow import Follower

if TYPE_CHECKING:
    from textual.dom import DOMNode

T = TypeVar("T")


class Following(MessagePump):
    """A part of a screen: it follows values until the screen is unmounted.

    No `Screen` itself, as Textual takes styles and bindings from the first node among the bases only.
    """

    def __init__(self) -> None:
        super().__init__()
        self._followers: list[Follower[Any]] = []

    def follow(self, source: Observable[T], draw: Callable[[T], None], fps: float = 10, *, now: bool = True) -> None:
        """Draw the newest value after changes, at most `fps` times a second, and with `now` also the one of now."""
        follower = Follower(self, source, draw, 1 / fps)
        self._followers.append(follower)
        if now:
            follower.flush()

    def can_draw(self) -> bool:
        """See `follow.Host`; of a screen that goes its parts go first."""
        return self.is_attached and cast("DOMNode", self).display

    def draw_failed(self, error: Exception) -> None:
        """See `follow.Host`."""
        self.app._handle_exception(error)

    def on_unmount(self) -> None:
        """End following."""
        for follower in self._followers:
            follower.stop()
        self._followers.clear()


class FollowingDialog(Following, ModalScreen[ScreenResultType]):
    """A dialog that follows values."""
