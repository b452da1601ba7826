"""What of a model's metadata decides its memory: layers, heads, windows, states, and the bytes of its tensors.

Keys and tables of the Ollama reference, sections 6.2 and 6.3; `show` gives them, with null for lists unless asked verbosely.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from tui.core.models import ModelDetail
from tui.core.record import record

KV_BYTES: Final = {"f32": 4.0, "f16": 2.0, "bf16": 2.0, "q8_0": 34 / 32, "q5_1": 0.75, "q5_0": 0.6875, "q4_1": 0.625, "q4_0": 18 / 32}
"""Bytes an element of the KV cache takes."""
TYPE_BITS: Final = {
    "F64": 64.0, "F32": 32.0, "I32": 32.0, "F16": 16.0, "BF16": 16.0, "Q8_0": 8.5, "Q6_K": 6.5625, "Q5_K": 5.5, "Q5_0": 5.5,
    "Q5_1": 6.0, "Q4_K": 4.5, "Q4_0": 4.5, "IQ4_NL": 4.5, "NVFP4": 4.5, "Q4_1": 5.0, "IQ4_XS": 4.25, "MXFP4": 4.25, "Q3_K": 3.4375,
    "IQ3_S": 3.4375, "IQ3_XXS": 3.0625, "Q2_K": 2.625, "IQ2_S": 2.5625, "IQ2_XS": 2.3125, "IQ2_XXS": 2.0625, "TQ2_0": 2.0625,
    "IQ1_M": 1.75, "TQ1_0": 1.6875, "IQ1_S": 1.5625,
}  # fmt: skip
"""Bits a weight takes, by tensor type."""
MOST_LAYERS: Final = 10_000
LARGEST: Final = 1 << 40
"""What no figure of a model is above; larger ones are as if they were not said."""
_GLOBAL_EVERY: Final = {"gemma2": 2, "gemma3": 6, "gemma3n": 5, "cohere2": 4, "gptoss": 2, "gpt-oss": 2, "exaone4": 4, "olmo2": 4}
"""Every n-th layer sees everything, the others a window; for families whose metadata leaves that out."""
_SEEN_APART: Final = ("v.", "mm.", "a.", "vision.", "audio.")
"""Beginnings of the names of tensors for pictures and sound."""
_EXPERTS: Final = 0.9
"""Share of the weights that experts have, where no tensors tell."""


@record(frozen=True)
class Shape:
    """What of a model's metadata decides its memory.

    Attributes:
        kv_heads: Per layer; 0 is a layer without an attention cache of its own.
        window: Sliding window in tokens; `windowed` says which layers have it.
        key_length: Elements of a key a head; `key_length_window` in layers with a window, where that differs (0: the same).
        latent: Elements a token and layer cached by latent attention, instead of heads.
        embedding: Length of an embedding.
        embedding_bytes: Size of the token embedding table where it stays in main memory, 0 where the output shares it.
        heads: Query heads of the widest layer.
        state: Bytes of recurrent state a slot, all layers together; independent of context.
        tensors: Bytes of all tensors but those for pictures and sound; 0 where they are not listed or of unknown type.
        output_bytes: Of the output head.
        sight: Bytes of tensors for pictures and sound within the same file.
        active: Share of the weights read for each token: less than 1 with experts.
        causal: False for models that read a text at once (BERT): they have no cache.
        parameters: Number of weights, None where not said.
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
    architecture: str = ""
    heads: int = 0
    key_length_window: int = 0
    value_length_window: int = 0
    state: int = 0
    tensors: int = 0
    output_bytes: int = 0
    sight: int = 0
    active: float = 1.0
    causal: bool = True
    parameters: int | None = None


Number = Callable[[str], int | None]


def shape_of(detail: ModelDetail) -> Shape | None:
    """Read a shape out of `show`; None where the metadata does not say enough."""
    info = detail.info
    architecture = info.get("general.architecture")
    if not isinstance(architecture, str):
        return None

    def number(key: str) -> int | None:
        value = _whole(info.get(f"{architecture}.{key}"))
        return value if value is not None and 0 <= value <= LARGEST else None

    layers, embedding = number("block_count"), number("embedding_length")
    if not layers or not embedding or not 0 < layers <= MOST_LAYERS or not 0 < embedding < 1 << 24:
        return None
    heads = _heads(info.get(f"{architecture}.attention.head_count"))
    head_length = embedding // heads if heads else 128
    kv_heads, recurrent = _kv_heads(info, architecture, layers, heads, number)
    lora = number("attention.kv_lora_rank")
    weighed = _weigh(detail.tensors)
    window, windowed = _windows(info, architecture, layers, number)
    vocabulary = weighed.vocabulary or number("vocab_size") or 128_000
    return Shape(
        layers=layers,
        kv_heads=kv_heads,
        key_length=number("attention.key_length") or head_length,
        value_length=number("attention.value_length") or head_length,
        embedding=embedding,
        vocabulary=vocabulary,
        trained_context=number("context_length") or None,
        window=window,
        windowed=windowed,
        latent=lora + (number("rope.dimension_count") or 64) if lora else None,
        embedding_bytes=weighed.embedding if weighed.output else 0,
        architecture=architecture,
        heads=heads,
        key_length_window=number("attention.key_length_swa") or 0,
        value_length_window=number("attention.value_length_swa") or 0,
        state=_state(architecture, embedding, recurrent, number),
        tensors=weighed.text,
        output_bytes=weighed.output or weighed.embedding,
        sight=weighed.sight,
        active=_active(weighed, number),
        causal="bert" not in architecture,
        parameters=_whole(info.get("general.parameter_count")),
    )


def _whole(value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1 << 62:
        return None
    return int(value)


def _row(value: Any, layers: int) -> tuple[int, ...] | None:
    """A list with one number for each layer."""
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != layers:
        return None
    numbers = tuple(_whole(item) for item in value)
    return tuple(max(0, item) for item in numbers if item is not None) if None not in numbers else None


def _heads(value: Any) -> int:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return max((_whole(item) or 0 for item in value), default=0)
    return max(0, _whole(value) or 0)


def _kv_heads(info: Mapping[str, Any], architecture: str, layers: int, heads: int, number: Number) -> tuple[tuple[int, ...], int]:
    """The heads that are cached, layer by layer, and how many layers keep a recurrent state instead (or beside)."""
    raw = info.get(f"{architecture}.attention.head_count_kv")
    recurs = any(number(key) for key in ("ssm.state_size", "shortconv.l_cache", "wkv.head_size"))
    found = _row(raw, layers)
    if found is None:
        single = _whole(raw)
        each = single if single is not None and single >= 0 else heads or (0 if recurs else 1)
        every = number("full_attention_interval")
        found = tuple(0 if every and (layer + 1) % every else each for layer in range(layers))
    without = found.count(0)
    shared = min(layers, max(0, number("attention.shared_kv_layers") or 0))
    if shared:
        found = (*found[: layers - shared], *(0,) * shared)
    return found, (without or layers) if recurs else 0


def _state(architecture: str, embedding: int, recurrent: int, number: Number) -> int:
    """Bytes of recurrent state a slot."""
    if not recurrent:
        return 0
    if (wide := number("shortconv.l_cache")) is not None:
        return recurrent * max(0, wide - 1) * embedding * 4
    if (head := number("wkv.head_size")) is not None:
        return recurrent * embedding * (head + 2) * 4
    conv, inner = number("ssm.conv_kernel") or 4, number("ssm.inner_size") or 2 * embedding
    size, groups = number("ssm.state_size") or 16, number("ssm.group_count") or 0
    return recurrent * ((conv - 1) * (inner + 2 * groups * size) + size * inner) * 4


def _windows(info: Mapping[str, Any], architecture: str, layers: int, number: Number) -> tuple[int | None, tuple[bool, ...]]:
    window = number("attention.sliding_window")
    if not window or window < 0:
        return None, ()
    pattern = info.get(f"{architecture}.attention.sliding_window_pattern")
    if isinstance(pattern, Sequence) and not isinstance(pattern, str) and len(pattern) == layers:
        return window, tuple(bool(flag) for flag in pattern)
    every = _whole(pattern) or 0
    if every <= 0:
        every = next((step for family, step in _GLOBAL_EVERY.items() if architecture == family), 0)
    return (window, tuple((layer + 1) % every != 0 for layer in range(layers))) if every else (None, ())


@record(frozen=True)
class _Weighed:
    """Bytes by what they are for; `text` is 0 where a type is not known."""

    text: int = 0
    sight: int = 0
    embedding: int = 0
    output: int = 0
    experts: int = 0
    vocabulary: int = 0


def _weigh(tensors: Sequence[tuple[str, str, tuple[int, ...]]]) -> _Weighed:
    text = sight = embedding = output = experts = vocabulary = 0
    known = True
    for name, kind, dimensions in tensors:
        elements = 1
        for length in dimensions:
            elements = min(LARGEST, elements * max(0, length))
        bits = TYPE_BITS.get(kind.upper())
        known = known and bits is not None
        size = int(elements * (bits or 4.5) / 8)
        if name.startswith(_SEEN_APART):
            sight += size
            continue
        text += size
        if name == "token_embd.weight":
            embedding = size
            vocabulary = max(dimensions) if len(dimensions) == 2 else 0
        elif name == "output.weight":
            output = size
        elif "_exps" in name:
            experts += size
    return _Weighed(text if known else 0, sight if known else 0, embedding, output, experts, vocabulary)


def _active(weighed: _Weighed, number: Number) -> float:
    """The share of the weights that one token reads."""
    count, used = number("expert_count"), number("expert_used_count")
    if not count or not used or used >= count:
        return 1.0
    share = weighed.experts / weighed.text if weighed.text and weighed.experts else _EXPERTS
    return 1.0 - share * (1.0 - used / count)
