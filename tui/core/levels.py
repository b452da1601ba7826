"""Levels of quantization: what they cost and lose, how they are named, and how much their answers agree.

Bits come from `fit.TYPE_BITS`: a level is a mix of tensor types, and the output head is kept finer than the rest (llama.cpp).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from tui.core.errors import PaddockError
from tui.core.fit import TYPE_BITS
from tui.core.models import ModelDetail
from tui.core.names import DEFAULT_TAG, ModelName, parse
from tui.core.record import record

FULL: Final = frozenset({"F16", "BF16", "F32"})
"""What a server can quantize (Ollama reference, section 2.8)."""
_QUANT: Final = re.compile(r"(?:^|[-_.])(?:i?q\d+[0-9a-z_]*|fp?16|bf16|fp?32|mxfp4|nvfp4)$", re.IGNORECASE)


@record(frozen=True)
class Level:
    """A level that a server makes.

    Attributes:
        name: As `quantize` takes it.
        mix: Share of each tensor type in the layers.
        head: Tensor type of the output head.
        loss: What it costs in quality, in words.
    """

    name: str
    mix: Mapping[str, float]
    head: str
    loss: str

    def bits(self, head_share: float = 0.0) -> float:
        """Mean bits a weight, where so much of the weights is the output head."""
        layers = sum(TYPE_BITS[kind] * share for kind, share in self.mix.items())
        return layers * (1 - head_share) + TYPE_BITS[self.head] * head_share


LEVELS: Final = (
    Level("q8_0", {"Q8_0": 1.0}, "Q8_0", "none to speak of: answers as the full weights do"),
    Level("q4_K_M", {"Q4_K": 0.84, "Q6_K": 0.16}, "Q6_K", "small: some words turn out otherwise, seldom the sense"),
    Level("q4_K_S", {"Q4_K": 0.93, "Q5_K": 0.07}, "Q6_K", "small, a little more than q4_K_M"),
)
"""What Ollama makes since 0.7, the finest first (reference, section 2.8)."""


def level_named(name: str) -> Level | None:
    """A level by its name, in whatever case; `q4_K` is `q4_K_M`."""
    wanted = {"q4_k": "q4_k_m"}.get(name.strip().lower(), name.strip().lower())
    return next((level for level in LEVELS if level.name.lower() == wanted), None)


def is_full(quantization: str) -> bool:
    """Whether weights are whole, so that they can be quantized."""
    return quantization.strip().upper() in FULL


def head_share(detail: ModelDetail | None) -> float:
    """Share of the weights that is the output head; 0 where it is not known."""
    if detail is None:
        return 0.0
    info = detail.info
    architecture = info.get("general.architecture")
    names = ("general.parameter_count", f"{architecture}.vocab_size", f"{architecture}.embedding_length")
    numbers = [info.get(name) for name in names]
    for name, _type, dimensions in detail.tensors:
        if name == "token_embd.weight" and len(dimensions) == 2:
            numbers[1:] = dimensions
    known = [float(number) for number in numbers if isinstance(number, (int, float)) and not isinstance(number, bool) and number > 0]
    return min(0.5, known[1] * known[2] / known[0]) if len(known) == len(numbers) else 0.0


def expected_size(size: int, quantization: str, level: Level, share: float = 0.0) -> int:
    """Bytes of a model of `size` bytes at a level; an estimate.

    Args:
        size: Bytes of the whole weights.
        quantization: What they are now, of `FULL`.
        level: The level.
        share: See `head_share`.
    """
    return int(size * level.bits(share) / TYPE_BITS.get(quantization.strip().upper(), 16.0))


def stem(name: str) -> str:
    """What levels of one model have in common: its name without the part of the tag that names a quantization, lower case."""
    try:
        parsed = parse(name)
    except PaddockError:
        return name.lower()
    tag = _QUANT.sub("", parsed.tag)
    return str(ModelName(parsed.host, parsed.namespace, parsed.model, tag or DEFAULT_TAG)).lower()


def level_name(base: str, level: str) -> str:
    """The name proposed for a level: `llama3.2:1b-instruct-fp16` at q8_0 is `llama3.2:1b-instruct-q8_0`.

    Raises:
        PaddockError: `base` is no model name.
    """
    parsed = parse(base)
    tag = _QUANT.sub("", parsed.tag)
    tag = level if not tag or tag.lower() == DEFAULT_TAG else f"{tag[: 79 - len(level)]}-{level}"
    return str(ModelName(parsed.host, parsed.namespace, parsed.model, tag))


# --- agreement -------------------------------------------------------------------------------------------------------


@record(frozen=True)
class Answer:
    """What a model answered to a fixed prompt; `cut` where it had more to say and was not let."""

    text: str
    cut: bool = False


def words_of(answer: Answer) -> list[str]:
    """Its words; of a cut answer without the last one, which may be half."""
    found = answer.text.split()
    return found[:-1] if answer.cut and len(found) > 1 else found


def agreement(reference: Answer, other: Answer) -> float | None:
    """Share of words that are equal before the first that differs, 0 to 1; None where neither said anything.

    Whole answers are measured against the longer of the two, cut ones against what both have: what comes after is not known.
    """
    one, two = words_of(reference), words_of(other)
    whole = min(len(one), len(two)) if reference.cut or other.cut else max(len(one), len(two))
    if not one and not two:
        return None
    same = next((at for at, (left, right) in enumerate(zip(one, two, strict=False)) if left != right), min(len(one), len(two)))
    return same / whole if whole else 0.0


def agree(reference: Sequence[Answer], others: Sequence[Answer]) -> tuple[float | None, int]:
    """Mean agreement over a set of answers, and how many are equal."""
    found = [share for one, two in zip(reference, others, strict=False) if (share := agreement(one, two)) is not None]
    return (sum(found) / len(found) if found else None), sum(1 for share in found if share == 1.0)


@record(frozen=True)
class LevelFigures:
    """How one level of a model did, all measured here.

    Attributes:
        provider: Where.
        base: The model whose answers the others are compared with: the largest.
        model: Its exact name.
        level: Its quantization, as the server says.
        at: Epoch seconds.
        digest: Of the model that was measured.
        size: Bytes on the server's disk.
        memory: Bytes in memory, `vram` of them on GPUs.
        rate: Tokens a second written, `prompt_rate` read.
        agreement: See `agree`; of the base itself: with its own answers when asked again.
        same: Answers that are equal, of `asked`.
        cut: Answers that were cut at the set length.
        problem: Why there are no figures, in words.
    """

    provider: str
    base: str
    model: str
    level: str
    at: float
    digest: str = ""
    size: int | None = None
    memory: int | None = None
    vram: int | None = None
    load_seconds: float | None = None
    first_token: float | None = None
    rate: float | None = None
    prompt_rate: float | None = None
    agreement: float | None = None
    same: int = 0
    asked: int = 0
    cut: int = 0
    problem: str = ""
