"""What a server and what a model can do."""

from __future__ import annotations

from enum import StrEnum


class Capability(StrEnum):
    """One thing a provider can be asked for; actions without it are greyed with the reason."""

    CHAT = "chat"
    COMPLETE = "complete"
    INFILL = "infill"
    EMBED = "embed"
    PULL = "pull"
    PUSH = "push"
    CREATE = "create"
    COPY = "copy"
    DELETE = "delete"
    LOAD = "load"
    UNLOAD = "unload"
    KEEP_ALIVE = "keep_alive"
    SHOW = "show"
    RUNNING = "running"
    METRICS = "metrics"
    SLOTS = "slots"


class Ability(StrEnum):
    """One thing a model can do, in the words of the Ollama API; unknown words of newer servers are dropped."""

    COMPLETION = "completion"
    EMBEDDING = "embedding"
    VISION = "vision"
    AUDIO = "audio"
    TOOLS = "tools"
    INSERT = "insert"
    THINKING = "thinking"
    IMAGE = "image"


ABILITY_WORDS: dict[Ability, str] = {
    Ability.COMPLETION: "chat",
    Ability.EMBEDDING: "embed",
    Ability.VISION: "vision",
    Ability.AUDIO: "audio",
    Ability.TOOLS: "tools",
    Ability.INSERT: "complete",
    Ability.THINKING: "thinking",
    Ability.IMAGE: "images",
}
"""The words the screens use."""
