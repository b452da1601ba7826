"""The commands of the Library and their arguments; one function an area."""

from __future__ import annotations

from typing import Any, Final

MODEL: Final = "as paddock ls shows it"


def library(add: Any) -> None:
    """Add them all."""
    _updates(add)


def _updates(add: Any) -> None:
    command = add("outdated", "ask the registries what is newer than what is installed", on=True)
    command.add_argument("models", nargs="*", metavar="model", help=f"only these, {MODEL}")
    command.add_argument("--all", action="store_true", help="list what is current, too")
    command.add_argument("--yes", action="store_true", help="ask although general.network is metered")
    command = add("update", "fetch newer versions of installed models; pinned ones stay", on=True)
    command.add_argument("models", nargs="*", metavar="model", help=MODEL)
    command.add_argument("--all", action="store_true", help="all that their registry has newer")
    command.add_argument("--dry-run", action="store_true", help="show what would be fetched, and queue nothing")
    command.add_argument("--wait", action="store_true", help="stay until they are done")
    command.add_argument("--yes", action="store_true", help="allow what needs a yes")
