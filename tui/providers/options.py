"""What is set and will not be sent, so that it can be said."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tui.providers.base import Provider


def dropped_options(provider: Provider, options: Mapping[str, Any], think: str = "auto", keep_alive: str = "") -> tuple[str, ...]:
    """Names of options (and `think`, `keep_alive`) that are set and that this server is not sent, because its kind does not know them.

    What a server refused by name before counts too: ask again after an answer. For Ollama those are options that it gave up.
    """
    from tui.providers.catalogue import kind_named
    from tui.providers.ollama_requests import GONE
    from tui.providers.openai_compat import PLAIN
    from tui.providers.openai_requests import dropped

    kind = kind_named(provider.endpoint.kind) or PLAIN
    if kind.family == "ollama":
        return tuple(name for name, value in options.items() if value is not None and name in GONE)
    refused: frozenset[str] = getattr(provider, "refused", frozenset())
    return (*dropped(options, think, kind.chat, refused), *(("keep_alive",) if keep_alive else ()))
