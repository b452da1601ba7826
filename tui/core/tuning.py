"""Optimising a model for this machine: what is proposed and why, and whether a measurement is better than another.

Options are those of the Ollama API (reference, section 7.1). What is proposed is an estimate; only what was measured is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, replace
from typing import Final

from tui.core.errors import Failure
from tui.core.fit import (
    NOTHING,
    SERVED,
    Card,
    Fit,
    Lessons,
    Machine,
    Need,
    Served,
    Shape,
    Subject,
    Verdict,
    estimate,
    judge,
    need_of,
    place,
)
from tui.core.levels import Answer
from tui.core.models import RunningModel
from tui.core.record import record
from tui.text import count, size, tokens

RUNNER: Final = ("num_ctx", "num_batch", "num_gpu", "main_gpu", "num_thread")
"""Options that a model is loaded with: a change loads it again (reference, section 5.4)."""
BATCH: Final = 512
_WANTED: Final = 8192
"""Tokens of context worth having where the memory is there."""
WORTH: Final = 200_000_000
"""Bytes from which a smaller cache is worth saying."""
_LOWER: Final = (131_072, 65_536, 32_768, 16_384, 8192, 4096, 2048)
_NOISE: Final = 0.03
"""Differences below this are none: two measurements of the same differ by as much."""
_NOISIEST: Final = 0.25
"""A difference above this is one, however the speed of single answers varied."""


@record(frozen=True)
class Change:
    """One option, from what is in force to what is proposed; `old` is None where the server chooses."""

    key: str
    old: int | None
    new: int
    effect: str

    @property
    def diff(self) -> str:
        """`num_ctx 4096 -> 8192`."""
        return f"{self.key} {'the server chooses' if self.old is None else self.old} -> {self.new}"


@record(frozen=True)
class Smaller:
    """A smaller quantization that would fit.

    Attributes:
        name: The level it can be quantized to here, or the model to pull.
        pull: It is to be pulled; else made here.
        size: Bytes; of a level expected ones.
        words: What it is, in a sentence.
    """

    name: str
    pull: bool
    size: int
    words: str


@record(frozen=True)
class Proposal:
    """What could be better.

    Attributes:
        fits: The verdict as it is now, in words.
        changes: Options, applied where the measurement is better.
        advice: What Paddock cannot set itself, a sentence each.
        smaller: Smaller quantizations that would fit.
        held: Why some options are left alone.
        options: The options in force, as a chat sends them.
    """

    provider: str
    model: str
    fits: str
    changes: tuple[Change, ...] = ()
    advice: tuple[str, ...] = ()
    smaller: tuple[Smaller, ...] = ()
    held: tuple[str, ...] = ()
    options: Mapping[str, object] = field(default_factory=dict)


@record(frozen=True)
class Facts:
    """What a proposal is made of.

    Attributes:
        subject: The model, as estimates know it.
        machine: This machine's memory as it is now.
        cores: Physical ones, None where not known.
        options: In force for the model: of the settings, else of the model itself.
        fixed: Options that `[chat.options]` sets for all models: they win, so nothing is proposed for them.
        running: The model where it is loaded.
        lessons: What loads taught.
        served: How the server runs it.
        binary: Sizes in GiB.
    """

    subject: Subject
    machine: Machine
    cores: int | None = None
    options: Mapping[str, int] = field(default_factory=dict)
    fixed: frozenset[str] = frozenset()
    running: RunningModel | None = None
    lessons: Lessons = NOTHING
    served: Served = SERVED
    binary: bool = False

    @property
    def shape(self) -> Shape | None:
        """Where it is known."""
        return self.subject.shape

    @property
    def trained(self) -> int | None:
        """Context length in tokens, None where not known."""
        return self.subject.context or (self.subject.shape.trained_context if self.subject.shape is not None else None)

    @property
    def room(self) -> Machine:
        """The machine without this model in it."""
        if self.running is None or self.running.size is None:
            return self.machine
        left, machine = self.running.vram or 0, self.machine
        ram = max(0, self.running.size - left)
        cards: list[Card] = []
        for card in sorted(machine.each(), key=lambda card: -card.ours):
            part = min(left, card.total - card.free)
            left -= part
            cards.append(replace(card, free=card.free + part, ours=max(0, card.ours - part)))
        return replace(
            machine,
            cards=tuple(cards),
            gpu_free=sum(card.free for card in cards),
            gpu_ours=sum(card.ours for card in cards),
            ram_free=min(machine.ram_total, machine.ram_free + ram),
        )

    @property
    def context(self) -> int:
        """Tokens it is loaded with, as things are."""
        asked = self.options.get("num_ctx")
        if asked is None and self.running is not None and self.running.context:
            return self.running.context
        return min(asked or automatic_context(self.machine), self.trained or 1 << 62)

    def need(self, context: int, batch: int = BATCH) -> Need:
        """Bytes at a context, corrected by what loads taught."""
        need = need_of(self.subject, context, replace(self.served, batch=BATCH), self.lessons)
        return (
            need if batch == BATCH else replace(need, compute=need.compute + self._buffers(context, batch) - self._buffers(context, BATCH))
        )

    def _buffers(self, context: int, batch: int) -> int:
        return estimate(self.subject.weights, self.shape, context, replace(self.served, batch=batch)).compute

    def fit(self, context: int, batch: int = BATCH) -> Fit:
        """The verdict at a context, without this model as it is loaded now."""
        return judge(self.need(context, batch), self.room, self.served)


def automatic_context(machine: Machine) -> int:
    """What Ollama gives a model by itself, by the memory of all GPUs (reference, section 5.5)."""
    gib = machine.gpu_total / (1 << 30)
    return 4096 if gib < 23 else 32_768 if gib < 47 else 262_144


# --- what is proposed ------------------------------------------------------------------------------------------------


def propose(facts: Facts) -> tuple[Change, ...]:
    """What could be better, in the order in which one thing decides the next."""
    found: list[Change] = []
    context = _context(facts)
    if context is not None:
        found.append(context)
    at = context.new if context is not None else facts.context
    for change in (_layers(facts, at), _batch(facts, at), _threads(facts, at)):
        if change is not None:
            found.append(change)
    return tuple(change for change in found if change.key not in facts.fixed and change.old != change.new)


def _context(facts: Facts) -> Change | None:
    if "num_ctx" in facts.fixed:
        return None
    now, old = facts.context, facts.options.get("num_ctx")
    fit = facts.fit(now)
    if fit.verdict in (Verdict.SLOW, Verdict.NO):
        for lower in _LOWER:
            if lower < now and facts.fit(lower).verdict in (Verdict.GOOD, Verdict.TIGHT):
                saved = size(facts.need(now).kv_cache - facts.need(lower).kv_cache, binary=facts.binary)
                where = "fits on the GPU" if facts.machine.gpus else "fits into memory"
                return Change(
                    "num_ctx", old, lower, f"{saved} less cache, and all of it {where}; long conversations lose their start sooner"
                )
    elif fit.verdict is Verdict.GOOD and now < _WANTED and (facts.trained or 0) > now:
        wanted = min(_WANTED, facts.trained or _WANTED)
        if facts.fit(wanted).verdict is Verdict.GOOD:
            more = size(facts.need(wanted).kv_cache - facts.need(now).kv_cache, binary=facts.binary)
            return Change("num_ctx", old, wanted, f"room for {tokens(wanted)} tokens instead of {tokens(now)}, for {more} more memory")
    return None


def _layers(facts: Facts, context: int) -> Change | None:
    if not facts.machine.gpus or facts.shape is None:
        return None
    every, old, running = facts.shape.layers + 1, facts.options.get("num_gpu"), facts.running
    asked = None if old is None or old < 0 else min(old, every)
    placed = None
    if running is not None and running.size and running.vram is not None:
        placed = int(every * running.vram / running.size + 0.5)
    verdict = facts.fit(context).verdict
    if verdict in (Verdict.GOOD, Verdict.TIGHT):
        if (asked is not None and asked < every) or (asked is None and placed is not None and placed < every):
            have = asked if asked is not None else placed
            return Change("num_gpu", old, every, f"all {every} layers on the GPU instead of {have}: writes faster, the processor is free")
        return None
    if verdict is not Verdict.SLOW:
        return None
    best = layers_that_fit(facts, context)
    have = asked if asked is not None else placed
    if have is not None and best > have + 1:
        return Change("num_gpu", old, best, f"about {best} of {every} layers fit on the GPU instead of {have}: a little faster")
    if asked is not None and asked > best + 1:
        return Change("num_gpu", old, best, f"only about {best} of {every} layers fit on the GPU: more cannot be loaded, or spill over")
    return None


def layers_that_fit(facts: Facts, context: int) -> int:
    """How many layers the GPUs have room for (reference, section 6.4)."""
    placed = place(facts.need(context), [card.free + card.ours for card in facts.room.each()], facts.served)
    return placed.layers or 0


def _batch(facts: Facts, context: int) -> Change | None:
    old = facts.options.get("num_batch")
    now = old or BATCH
    if not facts.machine.gpus:
        return None
    verdict = facts.fit(context).verdict
    if verdict is Verdict.GOOD and now < 1024 and facts.fit(context, 1024).verdict is Verdict.GOOD:
        more = size(facts.need(context, 1024).compute - facts.need(context, now).compute, binary=facts.binary)
        return Change("num_batch", old, 1024, f"long prompts are read in larger pieces, so faster; about {more} more memory")
    if verdict in (Verdict.SLOW, Verdict.TIGHT) and now > BATCH:
        less = size(facts.need(context, now).compute - facts.need(context).compute, binary=facts.binary)
        return Change("num_batch", old, BATCH, f"about {less} of GPU memory is free for layers; long prompts are read more slowly")
    return None


def _threads(facts: Facts, context: int) -> Change | None:
    running, old = facts.running, facts.options.get("num_thread")
    split = running is not None and bool(running.size) and (running.vram or 0) < 0.98 * (running.size or 0)
    on_cpu = not facts.machine.gpus or split or facts.fit(context).verdict is Verdict.SLOW
    if not facts.cores or not on_cpu:
        return None
    effect = f"one thread for each of the {count(facts.cores)} physical cores: more wait for each other, fewer leave cores idle"
    return Change("num_thread", old or None, facts.cores, effect)


def advise(facts: Facts) -> tuple[str, ...]:
    """What is a setting of the whole server, and so not ours: the type of its KV cache."""
    if facts.served.cache_type not in ("f16", "bf16", "f32") or facts.shape is None:
        return ()
    context = facts.context
    need, served = facts.need(context), replace(facts.served, kv_type="q8_0", flash=True)
    saved = need.kv_cache - estimate(facts.subject.weights, facts.shape, context, served).kv_cache
    if saved < WORTH:
        return ()
    before = facts.fit(context).verdict
    after = judge(replace(need, kv_cache=need.kv_cache - saved), facts.room, served).verdict
    then = ", and then all of it fits" if before in (Verdict.SLOW, Verdict.NO) and after in (Verdict.GOOD, Verdict.TIGHT) else ""
    words = f"would save ~{size(saved, binary=facts.binary)} of cache at {tokens(context)} tokens{then}, at hardly any loss"
    return (
        f"OLLAMA_KV_CACHE_TYPE=q8_0 with OLLAMA_FLASH_ATTENTION=1 {words}. Both are the environment of the server, for all its models:"
        " they are set where it is started, so Paddock only advises it.",
    )


# --- what was measured -----------------------------------------------------------------------------------------------


@record(frozen=True)
class Measured:
    """A model loaded with some options and asked the fixed prompts; seconds, bytes, tokens a second.

    Attributes:
        load_seconds: From asking for the load to being ready.
        first_token: Median over the prompts.
        rate: Written, over all answers.
        prompt_rate: Read, of the long prompt.
        memory: In all, `vram` of it on GPUs; `context` as it was loaded.
        cut: Answers cut at the set length.
        noise: How far `rate` may be off by chance: twice its standard error, as a share.
        answers: Their texts.
    """

    load_seconds: float | None = None
    first_token: float | None = None
    rate: float | None = None
    prompt_rate: float | None = None
    memory: int | None = None
    vram: int | None = None
    context: int | None = None
    cut: int = 0
    noise: float = 0.0
    answers: tuple[Answer, ...] = ()


@record(frozen=True)
class Judgement:
    """Whether it is better; what was won, lost, and is different, in words."""

    better: bool
    words: tuple[str, ...]


def compare(before: Measured, after: Measured, *, binary: bool = False) -> Judgement:
    """Whether a change is worth keeping: something was won, and no speed was lost."""
    if not before.rate or not after.rate:
        return Judgement(False, ("the speeds could not be compared",))
    won: list[str] = []
    lost: list[str] = []
    also: list[str] = []
    noise = max(_NOISE, min(_NOISIEST, max(before.noise, after.noise)))
    _moved(before.rate, after.rate, noise, "writes", won, lost)
    _moved(before.prompt_rate, after.prompt_rate, 2 * noise, "reads prompts", won, lost)
    if before.context and after.context and before.context != after.context:
        (won if after.context > before.context else also).append(
            f"{tokens(after.context)} tokens of context instead of {tokens(before.context)}"
        )
    if before.memory and after.memory:
        less = before.memory - after.memory
        if less > _NOISE * before.memory:
            won.append(f"takes {size(less, binary=binary)} less memory")
        elif -less > _NOISE * before.memory:
            also.append(f"takes {size(-less, binary=binary)} more memory")
    return Judgement(bool(won) and not lost, (*won, *lost, *also) or ("no difference beyond what two measurements differ by",))


def _moved(before: float | None, after: float | None, noise: float, what: str, won: list[str], lost: list[str]) -> None:
    if not before or not after:
        return
    change = after / before - 1
    if change > noise:
        won.append(f"{what} {100 * change:.0f} % faster")
    elif change < -noise:
        lost.append(f"{what} {-100 * change:.0f} % slower")


class OptimiseState:
    """How an optimisation ended."""

    RUNNING = "running"
    KEPT = "kept"
    NOT_BETTER = "not better"
    FAILED = "failed"
    STOPPED = "stopped"
    INTERRUPTED = "interrupted"  # the process that ran it is gone


@record(frozen=True)
class Optimised:
    """An optimisation as it is kept.

    Attributes:
        at: Epoch seconds of its begin.
        state: Of `OptimiseState`.
        words: What was won and lost.
        failure: Why it failed.
    """

    id: int
    provider: str
    model: str
    at: float
    state: str
    changes: tuple[Change, ...] = ()
    before: Measured | None = None
    after: Measured | None = None
    words: tuple[str, ...] = ()
    failure: Failure | None = None


@record(frozen=True)
class TuneRun:
    """A measurement that goes on: which model, what it does now, and what was found so far."""

    kind: str  # "optimise" or "levels"
    provider: str
    model: str
    step: str
    since: float
    stopping: bool = False
    before: Measured | None = None
