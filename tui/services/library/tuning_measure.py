"""Measuring a model: load it anew with some options, ask it a few fixed prompts, and put everything back as it was.

The prompts are always the same and tell nothing of anybody. Chance is off (temperature 0, a fixed seed), answers are cut at
`LONGEST` tokens, and thinking is off where the model lets it. Every request carries a keep-alive of `STAYS`: where this process is
killed, the server forgets the trial by itself.
"""

from __future__ import annotations

import asyncio
import math
import statistics
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any, Final

from tui.core.capabilities import Ability, Capability
from tui.core.chat import ChatRequest, Message, Role
from tui.core.clock import Clock
from tui.core.errors import FailureKind, PaddockError
from tui.core.events import Delta, Done, Metrics, Thinking, prompt_rate
from tui.core.levels import Answer
from tui.core.models import Model, RunningModel
from tui.core.names import same
from tui.core.record import record
from tui.core.tuning import RUNNER, Measured
from tui.providers.base import Provider
from tui.text import clean_block, clean_name

STAYS: Final = "2m"
LONGEST: Final = 64
"""Tokens of an answer."""
UNLOADS: Final = 60.0
"""Seconds an unload may take; running requests end first."""
LOOK: Final = 0.1
_READING: Final = (
    "The lighthouse of Port Ellery was built in 1846 of grey granite and stands on a reef two miles before the harbour. Its first "
    "keeper, Thomas Arden, lived there with his wife and three children; supplies came once a fortnight, when the sea allowed it. In "
    "the winter of 1861 a storm kept the boat away for seven weeks. Arden wrote in his log that they ate limpets and burned the "
    "floor of the upper room to keep the lamp alight, for the lamp was never out. When the boat came at last, it carried a letter "
    "that praised him for his care of the oil. The lamp was changed to electric light in 1931 and the last keeper left in 1984. "
    "Today a small museum in the town shows the log, open at the page of the seventh week, and the old lens, which took twelve men to "
    "carry and turns again on Sundays. The reef itself is a reserve for grey seals, and nobody may land there between April and July."
)
PROMPTS: Final = (
    f"{_READING}\n\nIn one sentence: what did the keeper burn, and why?",
    "List the first eight prime numbers, separated by commas, and nothing else.",
    "Translate into French: The boat leaves at nine in the morning.",
    "Explain in two sentences why the sky is blue.",
)
"""What is asked, in this order; the first one is long, to measure how fast prompts are read."""


@record(frozen=True)
class Asked:
    """One prompt's answer: the text, seconds to its first piece, and the server's figures."""

    answer: Answer
    first_token: float | None
    metrics: Metrics


def runner_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Of these options those that a model is loaded with."""
    return {name: options[name] for name in RUNNER if options.get(name) is not None}


async def measure(
    provider: Provider, model: Model, options: Mapping[str, Any], clock: Clock, told: Callable[[str], None] = lambda _step: None
) -> Measured:
    """Load a model anew and ask it the prompts.

    Args:
        provider: Where.
        model: It must be able to chat.
        options: What it is loaded with, by the names of the Ollama API.
        clock: For what no server tells.
        told: Called with each step in words.

    Raises:
        PaddockError: It did not load, or an answer failed.
    """
    told("unloading it, for a cold start")
    await unloaded(provider, model.key, clock)
    told("loading it")
    begun = clock.monotonic()
    loading = runner_options(options)
    await provider.load(model.key, keep_alive=STAYS, options=loading)
    load_seconds = clock.monotonic() - begun
    found = []
    for number, prompt in enumerate(PROMPTS, start=1):
        told(f"asking prompt {number} of {len(PROMPTS)}")
        found.append(await ask(provider, model, prompt, loading, clock))
    return measured(found, load_seconds, await loaded(provider, model.key))


async def ask_all(
    provider: Provider, model: Model, options: Mapping[str, Any], clock: Clock, told: Callable[[str], None]
) -> tuple[Answer, ...]:
    """The answers once more, of a model that is loaded."""
    told("asking again, to see whether it agrees with itself")
    return tuple([(await ask(provider, model, prompt, runner_options(options), clock)).answer for prompt in PROMPTS])


async def ask(provider: Provider, model: Model, prompt: str, loading: Mapping[str, Any], clock: Clock) -> Asked:
    """Ask one prompt.

    Raises:
        PaddockError: As the stream does; also where it ends without its end mark.
    """
    options = {**loading, "temperature": 0.0, "seed": 7, "num_predict": LONGEST}
    thinks = Ability.THINKING in model.abilities
    message = Message(0, 0, 0, Role.USER, prompt)
    request = ChatRequest(model.key, (message,), think="off" if thinks else "auto", options=options, keep_alive=STAYS)
    parts: list[str] = []
    first: float | None = None
    end: Done | None = None
    begun = clock.monotonic()
    stream = provider.chat(request)
    try:
        async for event in stream:
            if isinstance(event, (Delta, Thinking)) and event.text:
                first = clock.monotonic() - begun if first is None else first
                parts.append(event.text)
            elif isinstance(event, Done):
                end = event
    finally:
        if isinstance(stream, AsyncGenerator):
            await stream.aclose()
    if end is None:
        raise PaddockError.of("The answer ended without its end mark", provider.endpoint.name, "Try again", FailureKind.INTERRUPTED)
    return Asked(Answer(clean_block("".join(parts))[:8000], end.reason == "length"), first, end.metrics)


def measured(asked: list[Asked], load_seconds: float, running: RunningModel | None) -> Measured:
    """The figures of some answers."""
    firsts = [one.first_token for one in asked if one.first_token is not None]
    wrote = [(one.metrics.output_tokens, one.metrics.output_seconds) for one in asked]
    known = [(tokens, seconds) for tokens, seconds in wrote if tokens and seconds]
    seconds = sum(seconds for _tokens, seconds in known)
    long = asked[0].metrics
    return Measured(
        load_seconds=load_seconds,
        first_token=statistics.median(firsts) if firsts else None,
        rate=sum(tokens for tokens, _seconds in known) / seconds if seconds else None,
        prompt_rate=prompt_rate(long.prompt_tokens, long.cached_tokens or 0, long.prompt_seconds),
        memory=running.size if running is not None else None,
        vram=running.vram if running is not None else None,
        context=running.context if running is not None else None,
        cut=sum(1 for one in asked if one.answer.cut),
        noise=_noise([tokens / seconds for tokens, seconds in known]),
        answers=tuple(one.answer for one in asked),
    )


def _noise(rates: list[float]) -> float:
    """How far their mean may be off, as a share: twice its standard error."""
    if len(rates) < 2:
        return 0.0
    return float(2 * statistics.stdev(rates) / math.sqrt(len(rates)) / statistics.fmean(rates))


async def loaded(provider: Provider, model: str) -> RunningModel | None:
    """A model as it is in memory; None where it is not, or the server does not tell."""
    if Capability.RUNNING not in provider.capabilities:
        return None
    return next((one for one in await provider.running() if one.key == model or same(one.key, model)), None)


async def unloaded(provider: Provider, model: str, clock: Clock) -> None:
    """Unload a model and wait until it is gone.

    Raises:
        PaddockError: It stays: something else uses it.
    """
    if Capability.UNLOAD not in provider.capabilities or (
        Capability.RUNNING in provider.capabilities and await loaded(provider, model) is None
    ):
        return
    await provider.unload(model)
    until = clock.monotonic() + UNLOADS
    while await loaded(provider, model) is not None:
        if clock.monotonic() > until:
            what = f"{clean_name(model)} is still in use after {UNLOADS:.0f}s"
            raise PaddockError.of(what, provider.endpoint.name, "Wait until nobody uses it, then try again", FailureKind.BUSY)
        await asyncio.sleep(LOOK)


async def put_back(provider: Provider, model: str, was: RunningModel | None, options: Mapping[str, Any], clock: Clock, now: float) -> None:
    """Have a model loaded again as it was before, or unloaded as it was.

    Args:
        provider: Where.
        model: Its exact name.
        was: How it was in memory; None: it was not.
        options: In force for it, for what the server does not tell.
        clock: For the wait until it is gone.
        now: Epoch seconds.

    Raises:
        PaddockError: The server does not answer, or refuses.
    """
    await unloaded(provider, model, clock)
    if was is None:
        return
    asked = runner_options(options) | ({"num_ctx": was.context} if was.context else {})
    stays = "forever" if was.pinned else f"{max(30, int(was.expires_at - now))}" if was.expires_at is not None else ""
    await provider.load(model, keep_alive=stays, options=asked)
