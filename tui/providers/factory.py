"""The right provider class for an endpoint; only that of its family is imported."""

from __future__ import annotations

from collections.abc import Callable

from tui.core.clock import SYSTEM, Clock
from tui.core.models import Endpoint
from tui.providers.base import Provider
from tui.providers.catalogue import kind_named


def make_provider(endpoint: Endpoint, resolve: Callable[[str], str], clock: Clock = SYSTEM) -> Provider:
    """A provider for an endpoint, by the protocol family of its kind; kinds nobody knows speak the OpenAI dialect.

    Nothing is connected or resolved yet.

    Args:
        endpoint: Where, and of which kind.
        resolve: Gives the key for a reference when a request is sent.
        clock: For latencies.

    Raises:
        PaddockError: The address cannot be used (kind CONFIG).
    """
    kind = kind_named(endpoint.kind)
    if kind is not None and kind.family == "ollama":
        from tui.providers.ollama import Ollama

        return Ollama(endpoint, resolve, clock)
    if kind is not None and kind.family == "llamacpp":
        from tui.providers.llamacpp import LlamaCpp

        return LlamaCpp(endpoint, resolve, clock, kind)
    from tui.providers.openai_compat import PLAIN, OpenAI

    return OpenAI(endpoint, resolve, clock, kind or PLAIN)
