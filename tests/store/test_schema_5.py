"""From a database of schema 4 to one that knows what happened to models."""

from __future__ import annotations

from pathlib import Path

from tui.core.library import EventKind
from tui.store.db import Database
from tui.store.model_events import ModelEvents
from tui.store.schema import MIGRATIONS


async def test_events_of_a_model_newest_first(tmp_path: Path) -> None:
    path = tmp_path / "paddock.db"
    await Database(path, migrations=MIGRATIONS[:4]).aclose()
    database = Database(path)
    assert database.opened.migrated_from == 4
    events = ModelEvents(database)
    await events.add("ollama", "qwen3", EventKind.PULLED, "from \x1b[31mregistry.ollama.ai", "ab" * 32)
    await events.add("ollama", "qwen3:latest", EventKind.COPIED, "as mine:1")
    await events.add("other", "qwen3:latest", EventKind.DELETED)
    found = events.of("ollama", "library/qwen3")
    assert [event.kind for event in found] == [EventKind.COPIED, EventKind.PULLED]
    assert "\x1b" not in found[1].text and found[1].text.endswith("registry.ollama.ai") and found[1].digest == "ab" * 32
    await database.aclose()
