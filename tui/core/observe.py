"""A value others can watch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Observable(Generic[T]):
    """A value with watchers: plain Python, usable and testable without an app.

    Values are immutable snapshots, so a watcher may keep one. `set` is called on the engine's thread only;
    `value` may be read from any thread. A watcher must not block: the interface's only marks and schedules.
    """

    def __init__(self, value: T) -> None:
        self._value = value
        self._watchers: tuple[Callable[[T], None], ...] = ()

    @property
    def value(self) -> T:
        """The newest snapshot."""
        return self._value

    def set(self, value: T) -> None:
        """Replace the value and tell the watchers; an equal value is no change.

        One that raises keeps no other from being told; what it raised comes after.
        """
        if value is self._value or value == self._value:
            return
        self._value = value
        trouble: Exception | None = None
        for watcher in self._watchers:
            try:
                watcher(value)
            except Exception as error:
                trouble = trouble or error
        if trouble is not None:
            raise trouble

    def watch(self, watcher: Callable[[T], None]) -> Callable[[], None]:
        """Call `watcher` after every change; the returned function ends that."""
        self._watchers = (*self._watchers, watcher)

        def stop() -> None:
            self._watchers = tuple(other for other in self._watchers if other is not watcher)

        return stop
