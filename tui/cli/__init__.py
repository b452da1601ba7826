"""Everything the screens do, without one."""

from __future__ import annotations

TYPE_CHECKING = False  # importing `typing` for it would cost as much as the rest
if TYPE_CHECKING:
    from tui.core.options import AppOptions

__all__ = ["main"]


def main(argv: list[str], options: AppOptions, demo_url: str = "") -> int:
    """Run one command; see `tui.cli.program.run`. A status line is answered before anything heavy is imported."""
    if argv[:1] == ["status"]:
        from tui.cli.quick import status_line

        code = status_line(argv[1:], options, demo_url)
        if code is not None:
            return code
    from tui.cli.program import run

    return run(argv, options, demo_url)
