"""Before Textual is imported: no motion, no developer's own settings."""

from __future__ import annotations

import os
from pathlib import Path

os.environ["TEXTUAL_ANIMATIONS"] = "none"
for _name in [
    name for name in os.environ if name.startswith(("PADDOCK_", "OLLAMA_", "NO_COLOR", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"))
]:
    del os.environ[_name]

import pytest  # noqa: E402

from tests.support.fake_services import FakeServices  # noqa: E402


@pytest.fixture
def fake(tmp_path: Path) -> FakeServices:
    """Services a UI test sets and reads."""
    return FakeServices(tmp_path / "home")
