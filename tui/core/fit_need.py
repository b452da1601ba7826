"""How much memory a model needs: weights, cache, state and buffers, as the reference computes them (section 6.3)."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final

from tui.core.record import record
from tui.core.shape import KV_BYTES, Shape

MICRO_BATCH: Final = 512
MARGIN: Final = 1 << 30
"""Bytes that llama.cpp leaves free on each GPU."""
OLD_MARGIN: Final = 457 << 20
"""Bytes that Ollama before 0.30 leaves free on each GPU."""
CONTEXT_OVERHEAD: Final = 400_000_000
"""Bytes that the driver's own context takes, in no figure of a server."""
ROUGH_COMPUTE: Final = 350_000_000
"""Bytes of buffers where nothing is known of a model but its size."""
ROUGH_TOKEN: Final = 131_072
"""Bytes of 16-bit cache a token of a model with 8e9 weights, where nothing else is known."""
BITS_AT_FOUR: Final = 4.85
"""Bits a weight that a model of 4 bit has in all."""
HEADER: Final = 40_000_000
"""Bytes of a file beside its tensors that are no projector: vocabulary, texts."""
FEWEST: Final = 0.4
"""Share of the files that tensors must make up to be taken for all there are."""


class Era(StrEnum):
    """Which engine runs the models, as far as memory goes."""

    A = "Ollama before 0.12"
    B = "Ollama 0.12 to 0.24"
    C = "Ollama from 0.30"
    LLAMA_CPP = "llama.cpp"
    OTHER = "other"


class Basis(StrEnum):
    """Where a figure comes from."""

    MEASURED = "measured"  # this model was loaded just so
    FITTED = "fitted"  # computed, and corrected by loads of it or of its family
    FORMULA = "formula"


@record(frozen=True)
class Served:
    """How a server runs a model, as far as memory goes.

    Attributes:
        kv_type: Of the cache, as asked for; `cache_type` is what becomes of it.
        flash: Flash attention is on.
        slots: Requests worked at once; each has the whole context.
        batch: Tokens of a prompt worked at once.
        reserve: Bytes a person keeps free on each GPU (OLLAMA_GPU_OVERHEAD).
        told: The kind of cache was told by the server, or set; else it is assumed.
    """

    era: Era = Era.C
    kv_type: str = "f16"
    flash: bool = True
    slots: int = 1
    batch: int = MICRO_BATCH
    reserve: int = 0
    told: bool = False

    @property
    def cache_type(self) -> str:
        """The type the cache has: quantized ones need flash attention."""
        return self.kv_type if self.flash or KV_BYTES.get(self.kv_type, 2.0) >= 2.0 else "f16"

    @property
    def margin(self) -> int:
        """Bytes that stay free on each GPU in use."""
        if self.era in (Era.A, Era.B):
            return OLD_MARGIN + self.reserve
        return MARGIN + CONTEXT_OVERHEAD + self.reserve


SERVED: Final = Served()


def era_of(kind: str, version: str) -> Era:
    """The engine of a server, by its kind's id and version; an Ollama that does not say is taken for a new one."""
    if kind != "ollama":
        return (
            Era.LLAMA_CPP if kind in ("llamacpp", "llama.cpp", "llama-server", "llamafile", "llama-swap", "llama-cpp-python") else Era.OTHER
        )
    found = re.match(r"v?(\d{1,4})\.(\d{1,4})", version)
    if found is None:
        return Era.C
    number = int(found[1]), int(found[2])
    return Era.C if number >= (0, 25) else Era.B if number >= (0, 12) else Era.A


def served_by(
    kind: str,
    version: str,
    *,
    kv_type: str = "auto",
    flash: str = "auto",
    slots: int = 0,
    batch: int | None = None,
    seen: Served | None = None,
) -> Served:
    """How a server runs models: what is set wins over what was seen of it, and that over what its version does.

    Args:
        kind: Id of the provider's kind.
        version: As it told.
        kv_type: `optimise.kv_cache`; "auto": as seen, else f16.
        flash: `optimise.flash_attention`; "auto": as seen, else as the version does.
        slots: `optimise.parallel`; 0: as seen, else 1.
        batch: `num_batch`, where it is set.
        seen: What its process or its API told.
    """
    era = era_of(kind, version)
    on = flash == "on" or (flash == "auto" and (seen.flash if seen is not None else era is not Era.A))
    held = kv_type if kv_type != "auto" else seen.kv_type if seen is not None else "f16"
    many = slots or (seen.slots if seen is not None else 1)
    reserve = seen.reserve if seen is not None else 0
    wide = batch or (seen.batch if seen is not None else MICRO_BATCH)
    return Served(era, held, on, max(1, many), max(1, wide), reserve, kv_type != "auto" or (seen is not None and seen.told))


@record(frozen=True)
class Need:
    """Bytes a loaded model needs, part by part.

    Attributes:
        weights: Those that go to the GPU where all layers do.
        kv_cache: With the states of recurrent layers.
        compute: Buffers, of each GPU in use.
        ram: What stays in main memory even when all layers are on the GPU.
        projector: For pictures and sound, on the GPU.
        correction: What loads taught: added to the parts.
        basis: Where the total comes from.
        layers: How many parts the weights can be split into; 0 where not known.
        output: Bytes of the weights that are no layer.
        active: Share of the weights that a token reads.
        context: Tokens it was computed for.
    """

    weights: int
    kv_cache: int
    compute: int
    ram: int = 0
    projector: int = 0
    correction: int = 0
    basis: Basis = Basis.FORMULA
    layers: int = 0
    output: int = 0
    active: float = 1.0
    context: int = 0

    @property
    def total(self) -> int:
        """GPU bytes for the whole model on one GPU, as the server would report them."""
        return max(0, self.weights + self.kv_cache + self.compute + self.projector + self.correction)

    @property
    def whole(self) -> int:
        """Bytes of all memory together."""
        return self.total + self.ram

    @property
    def measured(self) -> bool:
        """Whether this very load was measured."""
        return self.basis is Basis.MEASURED


def kv_cache(shape: Shape, context: int, *, slots: int = 1, kind: str = "f16", batch: int = MICRO_BATCH) -> int:
    """Bytes of the KV cache for `context` tokens a slot, and of the states of recurrent layers."""
    element = KV_BYTES.get(kind, 2.0)
    tokens = context * slots
    if not shape.causal:
        return 0
    if shape.latent is not None:
        return int(tokens * shape.layers * shape.latent * element) + shape.state * slots
    held = tokens
    if shape.window:
        held = min(tokens, -(-(shape.window * slots + batch) // 256) * 256)
    apart = (shape.key_length_window or shape.key_length) + (shape.value_length_window or shape.value_length)
    total = 0.0
    for layer, heads in enumerate(shape.kv_heads):
        windowed = shape.window and layer < len(shape.windowed) and shape.windowed[layer]
        total += (held * apart if windowed else tokens * (shape.key_length + shape.value_length)) * heads * element
    return int(total) + shape.state * slots


def compute_buffer(shape: Shape, context: int, served: Served) -> int:
    """Bytes of the buffers a GPU needs beside weights and cache."""
    width, vocabulary, batch = shape.embedding, shape.vocabulary if shape.causal else 0, served.batch
    tokens = context * served.slots
    if served.era is Era.A and shape.architecture in ("llama", "qwen2"):
        return max(4 * batch * (1 + 4 * width + tokens * (1 + shape.heads)), 4 * batch * (width + vocabulary))
    buffers = 4 * batch * (vocabulary + 6 * width)
    return buffers if served.flash else buffers + 4 * batch * tokens * (shape.heads + 1)


def rough_cache(weights: int, context: int, served: Served, parameters: float | None = None) -> int:
    """Bytes of cache where only the size is known: it grows more slowly than the weights, as layers and heads do."""
    billions = (parameters or weights * 8 / BITS_AT_FOUR) / 1e9
    token = ROUGH_TOKEN * max(0.25, (max(0.01, billions) / 8) ** 0.45)
    return int(context * served.slots * token * KV_BYTES.get(served.cache_type, 2.0) / 2)


def estimate(weights: int, shape: Shape | None, context: int, served: Served = SERVED, *, parameters: float | None = None) -> Need:
    """What a model needs at a context, by the formulas alone; without a shape a rule of thumb stands in.

    Args:
        weights: Bytes of its files: what the list or the manifest says; the sum of its tensors wins over it.
        shape: Of its metadata.
        context: Tokens a slot; cut to what it was trained for.
        served: How the server runs it.
        parameters: Number of weights, for the rule of thumb.
    """
    if shape is None:
        return Need(weights, rough_cache(weights, context, served, parameters), ROUGH_COMPUTE, context=context)
    context = min(context, shape.trained_context or context)
    body, projector = _split(weights, shape)
    return Need(
        weights=max(0, body - shape.embedding_bytes),
        kv_cache=kv_cache(shape, context, slots=served.slots, kind=served.cache_type, batch=served.batch),
        compute=compute_buffer(shape, context, served),
        ram=shape.embedding_bytes,
        projector=projector,
        layers=shape.layers,
        output=shape.output_bytes,
        active=shape.active,
        context=context,
    )


def _split(weights: int, shape: Shape) -> tuple[int, int]:
    """Text and pictures: by the tensors where those make up the files, else all of the files are text but for what is named so."""
    apart = shape.sight if 0 < shape.sight < weights else 0
    if not FEWEST * weights <= shape.tensors <= weights:
        return weights - apart, apart
    rest = weights - shape.tensors
    if rest <= max(apart + HEADER, 0.01 * weights):
        return weights - apart, apart  # headers and texts only
    return shape.tensors, rest
