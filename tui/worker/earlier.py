"""What an update replaces is kept as an earlier version: before the pull, and only where it changed anything after it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tui.core.capabilities import Capability
from tui.core.errors import FailureKind, PaddockError
from tui.services.library.keep_now import find, keep_version, versions_of
from tui.services.library.keeping_moves import Mover
from tui.services.pins import pinned

if TYPE_CHECKING:
    from tui.config.settings import Settings
    from tui.core.clock import Clock
    from tui.core.jobs import Job
    from tui.core.models import Model
    from tui.providers.base import Provider
    from tui.services.audit import Audit

_GO_ON: Final = frozenset({FailureKind.NOT_FOUND, FailureKind.BAD_REQUEST, FailureKind.UNSUPPORTED})
"""Why a version cannot be kept that is no reason not to pull."""


class Earlier:
    """The earlier versions around one pull.

    Args:
        settings: Read at the start of the pull and at its end: how many are kept, and which models are pinned.
    """

    def __init__(self, job: Job, settings: Settings, audit: Audit, clock: Clock) -> None:
        self._job = job
        self._settings = settings
        self._audit = audit
        self._clock = clock

    async def before(self, provider: Provider, found: Model) -> None:
        """Keep what is installed; a server whose list tells no digests cannot say whether anything changed, so nothing is kept there.

        Raises:
            PaddockError: It could not be kept, and perhaps can be later.
        """
        if not self._settings.models.versions or Capability.COPY not in provider.capabilities or not found.digest or found.remote:
            return
        try:
            await keep_version(provider, found.key, self._clock)
        except PaddockError as error:
            if error.failure.kind not in _GO_ON:
                raise

    async def after(self, provider: Provider) -> None:
        """Drop what is the same as now, and the oldest beyond `models.versions`; none of a model that is pinned.

        Raises:
            PaddockError: One could not be dropped; nothing depends on that.
        """
        if Capability.COPY not in provider.capabilities or Capability.DELETE not in provider.capabilities:
            return
        models = await provider.models()
        found = find(models, self._job.model)
        versions = versions_of(models, self._job.model)
        if found is None or not versions:
            return
        mover = Mover(provider, self._audit, self._clock, _nothing)
        for version, _kept in versions:
            if version.digest and version.digest == found.digest:
                await mover.drop(version.key, "drop version")
        if not pinned(self._settings, self._job.endpoint.name, found.key):
            await mover.prune(found.key, self._settings.models.versions)


async def _nothing(_model: str) -> None:
    """A version is in no memory."""
