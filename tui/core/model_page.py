"""Everything `show` says of a model, in sections: the same for the page of the Library and for `paddock show`."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from math import prod
from typing import Any, Final

from tui.core.capabilities import ABILITY_WORDS
from tui.core.fit import TYPE_BITS
from tui.core.models import Model, ModelDetail
from tui.core.names import unusual
from tui.core.record import record
from tui.text import clean_block, clean_label, clean_name, count, size

UNUSUAL: Final = "the name holds characters that cannot be seen, or only look like those one types"
_VALUE: Final = 200
"""Characters of a value of the metadata that are shown."""
_DIMENSIONS: Final = 8
_MOST: Final = 1 << 60
"""Weights that a tensor may say it has."""
_NAMES: Final = {
    "block_count": "layers", "context_length": "context", "embedding_length": "embedding", "feed_forward_length": "feed forward",
    "attention.head_count": "heads", "attention.head_count_kv": "KV heads", "attention.key_length": "key length",
    "attention.value_length": "value length", "attention.sliding_window": "sliding window", "vocab_size": "vocabulary",
    "expert_count": "experts", "expert_used_count": "experts used", "rope.freq_base": "rope base",
    "rope.dimension_count": "rope dimensions",
}  # fmt: skip
"""Keys of an architecture in words, in the order shown."""


@record(frozen=True)
class Section:
    """A part of the page: either rows of names and values, or a text of many lines."""

    title: str
    rows: tuple[tuple[str, str], ...] = ()
    text: str = ""


def sections(model: Model, detail: ModelDetail | None, *, binary: bool = False) -> list[Section]:
    """What is known, without what is empty; cleaned. The texts are as they are: whoever draws them breaks their lines."""
    found = [Section("model", tuple(_model(model, detail, binary=binary)))]
    if detail is None:
        return found
    found += [
        Section("architecture", tuple(_architecture(detail.info))),
        Section("parameters", tuple((clean_name(name, 60), clean_label(value)) for name, value in detail.options)),
        Section("system", text=detail.system.strip("\n")),
        Section("template", text=detail.template.strip("\n")),
        Section("messages", tuple((clean_name(role, 40), clean_block(text)) for role, text in detail.messages)),
        Section("licence", text=detail.licence.strip("\n")),
        Section("projector", tuple(_values(detail.projector.items()))),
        Section("tensors", tuple(_tensors(detail.tensors, binary=binary))),
        Section("metadata", tuple(_metadata(detail.info))),
        Section("Modelfile", text=detail.modelfile.strip("\n")),
    ]
    return [section for section in found if section.rows or section.text]


def _model(model: Model, detail: ModelDetail | None, *, binary: bool) -> Iterator[tuple[str, str]]:
    known = detail or ModelDetail(model.provider, model.name)
    abilities = known.abilities or model.abilities
    context = model.context or known.context
    parameters, family = model.parameters or known.parameters, model.family or known.family
    changed = model.modified_at or known.modified_at
    rows = (
        ("model", model.name),
        ("unusual", UNUSUAL if unusual(model.key) else ""),
        ("provider", model.provider),
        ("runs at", f"{clean_name(known.remote_host) or 'a cloud'}: what you write leaves this machine" if model.remote else ""),
        ("size", f"{size(model.size, binary=binary)} ({count(model.size)} bytes)" if model.size is not None else ""),
        ("family", family),
        ("parameters", parameters),
        ("quantization", model.quantization or known.quantization),
        ("format", model.format or known.format),
        ("context", f"{count(context)} tokens" if context else ""),
        ("can", ", ".join(word for ability, word in ABILITY_WORDS.items() if ability in abilities)),
        ("made from", clean_name(known.parent)),
        ("digest", model.digest),
        ("weights", known.weights_digest),
        ("changed", time.strftime("%Y-%m-%d %H:%M", time.localtime(changed)) if changed else ""),
        ("requires", f"Ollama {known.requires} or newer" if known.requires else ""),
    )
    return ((name, value) for name, value in rows if value)


def _architecture(info: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    kind = info.get("general.architecture")
    if not isinstance(kind, str):
        return
    yield "architecture", clean_name(kind, 60)
    if isinstance(number := info.get("general.parameter_count"), int):
        yield "weights", count(number)
    for key, words in _NAMES.items():
        value = info.get(f"{kind}.{key}")
        if value is not None and not isinstance(value, bool):
            yield words, _heads(value) if isinstance(value, (list, tuple)) else value_text(value)


def _heads(values: list[Any] | tuple[Any, ...]) -> str:
    """`8` where all layers have as many, else `0 or 8 by layer`."""
    kinds = sorted({value for value in values if isinstance(value, (int, float))})
    return f"{' or '.join(value_text(kind) for kind in kinds[:6])}{' by layer' if len(kinds) > 1 else ''}"


def _metadata(info: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    kind = info.get("general.architecture")
    told = {f"{kind}.{key}" for key in _NAMES} | {"general.architecture", "general.parameter_count"}
    return _values((key, value) for key, value in sorted(info.items()) if key not in told)


def _values(pairs: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, str]]:
    return ((clean_name(str(key), 80), text) for key, value in pairs if (text := value_text(value)))


def value_text(value: Any) -> str:
    """A value of the metadata on one line; of a long list its beginning and its length."""
    if value is None or value == "" or value == [] or value == {}:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return count(value) if abs(value) >= 10_000 else str(value)
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, (list, tuple)):
        begin = ", ".join(value_text(part) for part in value[:8])
        return clean_label(f"{begin}{f' … ({count(len(value))} in all)' if len(value) > 8 else ''}", _VALUE)
    return clean_label(str(value), _VALUE)


def _tensors(tensors: Iterable[tuple[str, str, tuple[int, ...]]], *, binary: bool) -> Iterator[tuple[str, str]]:
    """By type, the largest first: how many, how many weights, how many bytes."""
    found: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for _name, kind, shape in tensors:
        entry = found[kind]
        entry[0] += 1
        entry[1] += min(_MOST, prod(shape[:_DIMENSIONS]))
    total_bytes, unknown = 0.0, False
    for kind, (number, weights) in sorted(found.items(), key=lambda entry: -entry[1][1]):
        bits = _bits(kind)
        total_bytes += weights * (bits or 0.0) / 8
        unknown = unknown or bits is None
        held = f", {size(weights * bits / 8, binary=binary)} ({bits:g} bits a weight)" if bits is not None else ""
        yield clean_name(kind, 20), f"{count(number)} {'tensor' if number == 1 else 'tensors'}, {count(weights)} weights{held}"
    if len(found) > 1:
        least = "at least " if unknown else ""
        number, weights = (sum(entry[at] for entry in found.values()) for at in (0, 1))
        yield "all", f"{count(number)} tensors, {count(weights)} weights, {least}{size(total_bytes, binary=binary)}"


def _bits(kind: str) -> float | None:
    """Bits a weight of a tensor type takes; `Q4_K_M` and the like count as `Q4_K`."""
    name = kind.upper()
    return TYPE_BITS.get(name) or TYPE_BITS.get(name.rpartition("_")[0])
