"""Estimates that learn: what loads took corrects what the formulas say, for the same model, then for its family."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from tui.core.fit_need import SERVED, Basis, Need, Served, estimate
from tui.core.models import Model, ModelDetail
from tui.core.record import record
from tui.core.shape import Shape, shape_of

PRIOR: Final = 0.02
"""How much the formulas weigh against loads: as so much of one load."""
LEAST, MOST = 0.5, 2.0
"""Bounds of a correction's factors."""
PARTIAL: Final = 0.99
"""Share on GPUs below which a load was not all there."""


@record(frozen=True)
class Load:
    """A load that was seen: how a model was loaded, what the formulas say to that, and what its server said it takes.

    Attributes:
        digest: Of the model, or its name where the server tells none.
        kv_type: Of the cache, as far as known.
        formula: Bytes that the formulas give for `size`.
        cache: Bytes of that which are cache.
        size: As the server tells, of all memory; `vram` of it on GPUs.
        version: Of the server.
        at: Epoch seconds.
    """

    provider: str
    model: str
    digest: str
    context: int
    kv_type: str
    slots: int
    family: str
    weights: int
    formula: int
    cache: int
    size: int
    vram: int
    version: str = ""
    at: float = 0.0

    @property
    def partial(self) -> bool:
        """Some of it was in main memory."""
        return self.vram < PARTIAL * self.size


@record(frozen=True)
class Subject:
    """A model whose memory is asked for: installed or not.

    Attributes:
        weights: Bytes of its files.
        shape: Where `show` told it, or a relative's.
        context: Tokens it was trained for.
        parameters: Number of weights.
        digest: As in `Load`; empty for what is not installed.
        active: Share of the weights that a token reads, where no shape tells.
    """

    weights: int
    shape: Shape | None = None
    context: int | None = None
    parameters: float | None = None
    family: str = ""
    provider: str = ""
    digest: str = ""
    name: str = ""
    quantization: str = ""
    active: float = 1.0


@record(frozen=True)
class Factors:
    """A family's correction: what its loads had of the formulas' cache, and of all else; of how many loads."""

    rest: float = 1.0
    cache: float = 1.0
    loads: int = 0


class Lessons:
    """What loads taught; never changed once made."""

    def __init__(self, loads: Iterable[Load] = ()) -> None:
        self.loads: tuple[Load, ...] = tuple(loads)
        self._of: dict[tuple[str, str], list[Load]] = {}
        families: dict[str, list[Load]] = {}
        for load in self.loads:
            self._of.setdefault((load.provider, load.digest), []).append(load)
            if load.family:
                families.setdefault(load.family, []).append(load)
        self.families: Mapping[str, Factors] = {family: factors_of(own) for family, own in families.items()}

    def of(self, subject: Subject) -> Sequence[Load]:
        """The loads of this very model."""
        return self._of.get((subject.provider, subject.digest), ()) if subject.digest else ()

    def correct(self, need: Need, subject: Subject, served: Served) -> Need:
        """The need with what loads taught; the basis says how."""
        if not self.loads:
            return need
        alike = [load for load in self.of(subject) if load.kv_type == served.cache_type and load.slots == served.slots]
        exact = next((load for load in alike if load.context == need.context), None)
        if exact is not None:
            return _with_total(need, exact.size - (need.ram if exact.partial else 0), Basis.MEASURED)
        if alike:
            return replace(need, correction=int(_between(alike, need.context)), basis=Basis.FITTED)
        known = self.families.get(subject.family)
        if known is None:
            return need
        rest = need.total - need.kv_cache
        return _with_total(need, int(known.rest * rest + known.cache * need.kv_cache), Basis.FITTED)


NOTHING: Final = Lessons()


def _with_total(need: Need, total: int, basis: Basis) -> Need:
    return replace(need, correction=total - (need.total - need.correction), basis=basis)


def _between(loads: Sequence[Load], context: int) -> float:
    """What the formulas were off by at this context: on the line between the nearest loads, or as at the only one."""
    off = {load.context: float(load.size - load.formula) for load in loads}
    below = max((at for at in off if at <= context), default=None)
    above = min((at for at in off if at >= context), default=None)
    if below is None or above is None:
        return off[min(off, key=lambda at: abs(at - context))]
    part = (context - below) / (above - below)
    return off[below] * (1 - part) + off[above] * part


def factors_of(loads: Sequence[Load]) -> Factors:
    """Least squares over a family's loads of `size = a * (formula - cache) + b * cache`, held near 1 by `PRIOR`."""
    rests = [max(0, load.formula - load.cache) / 1e9 for load in loads]
    caches = [max(0, load.cache) / 1e9 for load in loads]
    off = [load.size / 1e9 - rest - cache for load, rest, cache in zip(loads, rests, caches, strict=True)]
    hold = PRIOR * sum(rest * rest + cache * cache for rest, cache in zip(rests, caches, strict=True)) / max(1, len(loads))
    if hold <= 0:
        return Factors(loads=len(loads))
    rr = sum(rest * rest for rest in rests) + hold
    cc = sum(cache * cache for cache in caches) + hold
    rc = sum(rest * cache for rest, cache in zip(rests, caches, strict=True))
    ro = sum(rest * one for rest, one in zip(rests, off, strict=True))
    co = sum(cache * one for cache, one in zip(caches, off, strict=True))
    whole = rr * cc - rc * rc
    a, b = 1 + (ro * cc - co * rc) / whole, 1 + (co * rr - ro * rc) / whole
    return Factors(min(MOST, max(LEAST, a)), min(MOST, max(LEAST, b)), len(loads))


def need_of(subject: Subject, context: int, served: Served = SERVED, lessons: Lessons = NOTHING) -> Need:
    """What a model needs at a context, as far as formulas and loads tell; cut to the context it was trained for."""
    context = min(context, subject.context or context)
    need = estimate(subject.weights, subject.shape, context, served, parameters=subject.parameters)
    if subject.shape is None and subject.active < 1:
        need = replace(need, active=subject.active)
    return lessons.correct(need, subject, served)


def load_of(subject: Subject, context: int, served: Served, *, size: int, vram: int, version: str = "", at: float = 0.0) -> Load:
    """A load that was seen now, beside what the formulas say to it."""
    need = estimate(subject.weights, subject.shape, context, served, parameters=subject.parameters)
    partial = vram < PARTIAL * size
    return Load(
        subject.provider, subject.name, subject.digest, need.context, served.cache_type, served.slots, subject.family, subject.weights,
        need.whole if partial else need.total, need.kv_cache, size, vram, version, at,
    )  # fmt: skip


def parameters_of(text: str) -> float | None:
    """`8.2B`, `751.63M`, `8x7b` in numbers; None for what is none."""
    text = text.strip().lower().removeprefix("e")
    times, _x, number = text.rpartition("x")
    unit = {"k": 1e3, "m": 1e6, "b": 1e9, "t": 1e12}.get(number[-1:])
    try:
        value = float(number[:-1] if unit else number) * (unit or 1.0) * (float(times) if times else 1.0)
    except ValueError:
        return None
    return value if 0 < value < 1e15 else None


def subject_of(model: Model, detail: ModelDetail | None = None) -> Subject | None:
    """An installed model; None where its size is not known."""
    if not model.size:
        return None
    shape = shape_of_cached(detail) if detail is not None else None
    family = (shape.architecture if shape is not None else "") or (detail.family if detail is not None else "") or model.family
    counted = shape.parameters if shape is not None else None
    return Subject(
        weights=model.size,
        shape=shape,
        context=(shape.trained_context if shape is not None else None) or model.context,
        parameters=counted or parameters_of(model.parameters or (detail.parameters if detail is not None else "")),
        family=family,
        provider=model.provider,
        digest=model.digest or model.key,
        name=model.key,
        quantization=model.quantization or (detail.quantization if detail is not None else ""),
    )


_SHAPES: dict[int, tuple[ModelDetail, Shape | None]] = {}
_LOCK = threading.Lock()
_KEPT: Final = 256


def shape_of_cached(detail: ModelDetail) -> Shape | None:
    """`shape_of`, which is read once for each `show`: hundreds of tensors are weighed."""
    with _LOCK:
        found = _SHAPES.get(id(detail))
        if found is not None and found[0] is detail:
            return found[1]
    shape = shape_of(detail)
    with _LOCK:
        while len(_SHAPES) >= _KEPT:
            del _SHAPES[next(iter(_SHAPES))]
        _SHAPES[id(detail)] = detail, shape
    return shape
