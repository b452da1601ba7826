"""What the command line said, for the processes that need it."""

from __future__ import annotations

from pathlib import Path

from tui.core.record import record


@record(frozen=True)
class AppOptions:
    """Global options of `paddock`; each concerns only the process that got it.

    Attributes:
        demo: Use the demo home and its simulated server.
        provider: A server's URL for this run, never saved.
        config: Another configuration file.
        readonly: Same as `security.access = "look"`.
        ascii: Draw without Unicode graphics.
        mouse: Take the mouse.
        alone: The one screen there is ("monitor"); empty for all of them.
        log_level: Of the application log; empty means the setting's.
    """

    demo: bool = False
    provider: str = ""
    config: Path | None = None
    readonly: bool = False
    ascii: bool = False
    mouse: bool = True
    log_level: str = ""
    alone: str = ""
