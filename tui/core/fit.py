"""Whether a model fits: what it needs in memory, and what that means for a machine.

Formulas of the Ollama reference, section 6.3 and 6.4. Everything here is an estimate and says so; a measured
value of an earlier load is better and replaces it (`Need.measured`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Final

from tui.core.models import ModelDetail
from tui.core.record import record

KV_BYTES: Final = {"f32": 4.0, "f16": 2.0, "bf16": 2.0, "q8_0": 34 / 32, "q5_1": 0.75, "q5_0": 0.6875, "q4_1": 0.625, "q4_0": 18 / 32}
"""Bytes an element of the KV cache takes."""
TYPE_BITS: Final = {
    "F32": 32.0, "F16": 16.0, "BF16": 16.0, "Q8_0": 8.5, "Q6_K": 6.5625, "Q5_K": 5.5, "Q5_0": 5.5, "Q5_1": 6.0, "Q4_K": 4.5, "Q4_0": 4.5,
    "IQ4_NL": 4.5, "NVFP4": 4.5, "Q4_1": 5.0, "IQ4_XS": 4.25, "MXFP4": 4.25, "Q3_K": 3.4375, "IQ3_S": 3.4375, "IQ3_XXS": 3.0625,
    "Q2_K": 2.625, "IQ2_S": 2.5625, "IQ2_XS": 2.3125, "IQ2_XXS": 2.0625, "IQ1_M": 1.75, "IQ1_S": 1.5625,
}  # fmt: skip
"""Bits a weight takes, by tensor type."""
MARGIN: Final = 1 << 30
"""Bytes llama.cpp leaves free on each GPU."""
CONTEXT_OVERHEAD: Final = 400_000_000
"""Bytes the driver's own context takes, in no figure of the server."""
MICRO_BATCH: Final = 512
RAM_SHARE: Final = 0.9


@record(frozen=True)
class Shape:
    """What of a model's metadata decides its memory.

    Attributes:
        kv_heads: Per layer; 0 is a layer without an attention cache.
        window: Sliding window in tokens; `windowed` says which layers have it.
        latent: Elements a token and layer cached by latent attention, instead of heads.
        embedding_bytes: Size of the token embedding table, which stays in RAM.
    """

    layers: int
    kv_heads: tuple[int, ...]
    key_length: int
    value_length: int
    embedding: int
    vocabulary: int
    trained_context: int | None
    window: int | None = None
    windowed: tuple[bool, ...] = ()
    latent: int | None = None
    embedding_bytes: int = 0


@record(frozen=True)
class Need:
    """Bytes a loaded model needs, part by part; `ram` stays in RAM even when all layers are on the GPU."""

    weights: int
    kv_cache: int
    compute: int
    ram: int = 0
    measured: bool = False

    @property
    def total(self) -> int:
        """GPU bytes for the whole model on GPUs, as the server would report them."""
        return self.weights + self.kv_cache + self.compute


class Verdict(StrEnum):
    """What fits, in one word."""

    LOADED = "loaded"
    GOOD = "good"
    TIGHT = "tight"
    AFTER_UNLOAD = "after unload"
    SLOW = "slow"
    NO = "no"
    UNKNOWN = "unknown"


@record(frozen=True)
class Machine:
    """Memory of this machine in bytes.

    Attributes:
        gpu_total: Of all GPUs together; 0 where there is none.
        gpu_ours: Part of the used GPU memory that models of ours hold and an unload would free.
    """

    ram_total: int
    ram_free: int
    gpu_total: int = 0
    gpu_free: int = 0
    gpus: int = 0
    gpu_ours: int = 0


@record(frozen=True)
class Fit:
    """The verdict and the bytes behind it; `over` is what is missing where it does not fit."""

    verdict: Verdict
    need: Need | None = None
    over: int = 0
    cpu_share: float = 0.0


def shape_of(detail: ModelDetail) -> Shape | None:
    """Read a shape out of `show`; None where the metadata does not say enough."""
    info = detail.info
    architecture = info.get("general.architecture")
    if not isinstance(architecture, str):
        return None

    def number(key: str) -> int | None:
        value = info.get(f"{architecture}.{key}")
        return int(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None

    layers, embedding = number("block_count"), number("embedding_length")
    heads = number("attention.head_count")
    if not layers or not embedding or layers > 10_000:
        return None
    head_length = embedding // heads if heads else 128
    raw = info.get(f"{architecture}.attention.head_count_kv")
    if isinstance(raw, Sequence) and not isinstance(raw, str) and len(raw) == layers and all(isinstance(value, int) for value in raw):
        kv_heads = tuple(int(value) for value in raw)
    else:
        kv_heads = (number("attention.head_count_kv") or heads or 1,) * layers
    lora = number("attention.kv_lora_rank")
    embedding_bytes, vocabulary = _embedding_table(detail, info, architecture)
    window, windowed = _windows(info, architecture, layers, number)
    return Shape(
        layers=layers,
        kv_heads=kv_heads,
        key_length=number("attention.key_length") or head_length,
        value_length=number("attention.value_length") or head_length,
        embedding=embedding,
        vocabulary=vocabulary,
        trained_context=number("context_length"),
        window=window,
        windowed=windowed,
        latent=lora + (number("rope.dimension_count") or 64) if lora else None,
        embedding_bytes=embedding_bytes,
    )


def _windows(info: Mapping[str, Any], architecture: str, layers: int, number: Any) -> tuple[int | None, tuple[bool, ...]]:
    window = number("attention.sliding_window")
    if not window:
        return None, ()
    pattern = info.get(f"{architecture}.attention.sliding_window_pattern")
    if isinstance(pattern, Sequence) and not isinstance(pattern, str) and len(pattern) == layers:
        return window, tuple(bool(flag) for flag in pattern)
    if architecture.startswith("gptoss") or architecture.startswith("gpt-oss"):
        return window, tuple(layer % 2 == 0 for layer in range(layers))
    every = pattern if isinstance(pattern, int) and pattern > 0 else 6 if architecture == "gemma3" else 0
    if not every:
        return None, ()
    return window, tuple((layer + 1) % every != 0 for layer in range(layers))


def _embedding_table(detail: ModelDetail, info: Mapping[str, Any], architecture: str) -> tuple[int, int]:
    tied = not any(name == "output.weight" for name, _type, _shape in detail.tensors)
    for name, type_name, dimensions in detail.tensors:
        if name == "token_embd.weight" and len(dimensions) == 2:
            elements = dimensions[0] * dimensions[1]
            size = int(elements * TYPE_BITS.get(type_name.upper(), 4.5) / 8)
            return (0 if tied else size), max(dimensions)
    vocabulary = info.get(f"{architecture}.vocab_size")
    return 0, int(vocabulary) if isinstance(vocabulary, (int, float)) else 128_000


def kv_cache(shape: Shape, context: int, *, slots: int = 1, kind: str = "f16") -> int:
    """Bytes of the KV cache for `context` tokens a slot."""
    element = KV_BYTES.get(kind, 2.0)
    tokens = context * slots
    if shape.latent is not None:
        return int(tokens * shape.layers * shape.latent * element)
    total = 0.0
    for layer, heads in enumerate(shape.kv_heads):
        held = tokens
        if shape.window and layer < len(shape.windowed) and shape.windowed[layer]:
            held = min(tokens, -(-(shape.window * slots + MICRO_BATCH) // 256) * 256)
        total += held * heads * (shape.key_length + shape.value_length) * element
    return int(total)


def estimate(weights: int, shape: Shape | None, context: int, *, slots: int = 1, kind: str = "f16") -> Need:
    """What a model of `weights` bytes needs at a context; without a shape a rule of thumb stands in.

    The rule: 128 KiB of cache a token for every 5 GB of weights, which is an 8B model with grouped heads.
    """
    if shape is None:
        cache = int(context * slots * 131_072 * max(0.25, weights / 5e9) * (KV_BYTES.get(kind, 2.0) / 2))
        return Need(weights, cache, 350_000_000)
    context = min(context, shape.trained_context or context)
    compute = 4 * MICRO_BATCH * (shape.vocabulary + 6 * shape.embedding)
    return Need(
        max(0, weights - shape.embedding_bytes), kv_cache(shape, context, slots=slots, kind=kind), compute, ram=shape.embedding_bytes
    )


def judge(need: Need, machine: Machine, *, loaded: bool = False) -> Fit:
    """What the need means on a machine."""
    if loaded:
        return Fit(Verdict.LOADED, need)
    ram = int(machine.ram_free * RAM_SHARE)
    if machine.gpus:
        margin = MARGIN * machine.gpus + CONTEXT_OVERHEAD
        wanted = need.total + margin
        if wanted <= machine.gpu_free:
            return Fit(Verdict.GOOD if wanted <= 0.95 * machine.gpu_free else Verdict.TIGHT, need)
        if wanted <= machine.gpu_free + machine.gpu_ours:
            return Fit(Verdict.AFTER_UNLOAD, need)
        on_gpu = max(0, machine.gpu_free + machine.gpu_ours - margin)
        rest = need.total + need.ram - on_gpu
        if rest <= ram:
            return Fit(Verdict.SLOW, need, cpu_share=min(1.0, rest / max(1, need.total + need.ram)))
        return Fit(Verdict.NO, need, over=rest - ram)
    wanted = need.total + need.ram
    if wanted <= ram:
        return Fit(Verdict.GOOD if wanted <= 0.9 * ram else Verdict.TIGHT, need, cpu_share=1.0)
    return Fit(Verdict.NO, need, over=wanted - ram)


def largest_parameters(machine: Machine) -> int:
    """About how many parameters (in billions) at 4 bit fit well: 0.6 GB a billion, and room for 8k of context."""
    room = machine.gpu_total - MARGIN * machine.gpus - CONTEXT_OVERHEAD if machine.gpus else int(machine.ram_total * 0.7)
    return max(0, int((room - 1_500_000_000) / 600_000_000))
