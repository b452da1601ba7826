"""The right provider class for an endpoint."""

from __future__ import annotations

from collections.abc import Callable

from tui.core.clock import SYSTEM, Clock
from tui.core.models import Endpoint
from tui.providers.base import Provider
from tui.providers.catalogue import kinds
from tui.providers.llamacpp import LlamaCpp
from tui.providers.ollama import Ollama
from tui.providers.openai_compat import PLAIN, OpenAI


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
    kind = kinds().get(endpoint.kind, PLAIN)
    if kind.family == "ollama":
        return Ollama(endpoint, resolve, clock)
    if kind.family == "llamacpp":
        return LlamaCpp(endpoint, resolve, clock, kind)
    return OpenAI(endpoint, resolve, clock, kind)
