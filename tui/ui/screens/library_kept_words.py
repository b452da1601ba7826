"""What the pane tells of what is kept of a model."""

from __future__ import annotations

import time
from collections.abc import Sequence

from tui.core.library import KeptModel
from tui.core.models import Model
from tui.services.library.keeping_words import kept_words, versions_in
from tui.ui.widgets.detail import Fact


def facts(item: Model, kept: Sequence[KeptModel], *, binary: bool = False) -> list[Fact]:
    """The earlier versions of a model."""
    now = time.time()
    versions = versions_in([one for one in kept if one.provider == item.provider], item.key)
    if not versions:
        return []
    newest, more = versions[0], f", and {len(versions) - 1} older" if len(versions) > 1 else ""
    return [Fact("version", f"an earlier one is kept ({kept_words(newest, now, binary=binary)}){more}; H goes back", "$text-muted")]
