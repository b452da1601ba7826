"""What holds for all tests of screens on services that a test sets."""

import pytest

from tui.core.clock import ManualClock
from tui.ui.widgets.transcript_lines import Lines


@pytest.fixture(autouse=True)
def nothing_is_put_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time stands still for conversations: they are drawn whole at once, however busy the machine is."""
    monkeypatch.setitem(Lines.__init__.__kwdefaults__, "clock", ManualClock())
