"""The commands of the Library and their arguments; one function an area."""

from __future__ import annotations

from typing import Any, Final

MODEL: Final = "as paddock ls shows it"


def library(add: Any) -> None:
    """Add them all."""
    _updates(add)
    _tuning(add)


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


def _tuning(add: Any) -> None:
    command = add("optimise", "propose options for a model on this machine", on=True)
    command.add_argument("model", help=MODEL)
    command.add_argument("--apply", action="store_true", help="measure with and without them, and keep them only where that is better")
    command.add_argument("--force", action="store_true", help="do it although a limit of [limits] is passed")
    command = add("quantize", "make a smaller model out of one with whole weights", on=True)
    command.add_argument("model", help=MODEL)
    command.add_argument("levels", nargs="*", metavar="LEVEL", help="q8_0, q4_K_M, q4_K_S; nothing: tell what each would be")
    command.add_argument("--name", default="", help="of the new model, where one level is given")
    command.add_argument("--wait", action="store_true", help="stay until it is done")
    command = add("levels", "compare levels of a model: size, memory, speed, and how far their answers agree", on=True)
    command.add_argument("model", help=MODEL)
    command.add_argument("others", nargs="*", metavar="MODEL", help="compared with it; nothing: those that seem to be the same model")
    command.add_argument("--run", action="store_true", help="measure them; else what was measured last is shown")
    command.add_argument("--force", action="store_true", help="do it although a limit of [limits] is passed")
