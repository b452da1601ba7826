"""What must be allowed before something is pulled: said in the same words by app, command line and worker."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

from tui.core.jobs import Ask, Job
from tui.core.names import normal
from tui.text import clean_name, size

if TYPE_CHECKING:
    from tui.config.settings import Settings

OFFLINE: Final = "general.network is offline"
"""Why nothing leaves this machine; a pull waits until that changes."""
YES: Final = "waits for your yes: "
"""How the note of a job begins that needs one."""


def excluded(model: str, settings: Settings) -> bool:
    """Whether `models.excluded` hides a model."""
    return any(fnmatchcase(model.lower(), pattern.lower()) for pattern in settings.models.excluded)


def asks_before(settings: Settings, model: str, total: int | None) -> frozenset[Ask]:
    """What a pull of so many bytes (None where not known) needs a yes for."""
    found = set()
    if settings.models.max_size is not None and total is not None and total > settings.models.max_size:
        found.add(Ask.SIZE)
    if settings.models.excluded and excluded(normal(model), settings):
        found.add(Ask.EXCLUDED)
    if settings.general.network == "metered":
        found.add(Ask.METERED)
    return frozenset(found)


def reasons(settings: Settings, total: int | None, asks: frozenset[Ask]) -> str:
    """Why a yes is needed, in words."""
    binary = settings.appearance.units == "binary"
    words = []
    if Ask.SIZE in asks and settings.models.max_size is not None:
        words.append(f"{size(total, binary=binary)} is more than models.max_size ({size(settings.models.max_size, binary=binary)})")
    if Ask.EXCLUDED in asks:
        words.append("models.excluded names it")
    if Ask.METERED in asks:
        words.append("the network is metered")
    if Ask.LIMITS in asks:
        words.append("this machine is fuller than [limits] allow")
    return " and ".join(words)


def because(settings: Settings, job: Job) -> str:
    """Why a job of the queue needs a yes: of this machine's figures only its note tells, which the worker wrote."""
    words = reasons(settings, job.size, job.asks)
    return job.note.removeprefix(YES) if Ask.LIMITS in job.asks and job.note.startswith(YES) else words


def question(settings: Settings, model: str, total: int | None, asks: frozenset[Ask], words: str = "") -> str:
    """What to ask before a pull; `words` are the reasons where more is known than `reasons` has."""
    binary = settings.appearance.units == "binary"
    amount = f", {size(total, binary=binary)}" if total is not None and Ask.SIZE not in asks else ""
    words = words or reasons(settings, total, asks)
    return f"Pull {clean_name(model)}{amount}? {words[:1].upper()}{words[1:]}."
