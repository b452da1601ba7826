"""What to run on this machine: of each model the largest tag that fits, the wished ones first, then what many use."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

from tui.core.capabilities import Ability
from tui.core.fit import NOTHING, SERVED, Fit, Lessons, Machine, Pace, Served, Subject, Verdict, judge, need_of, parameters_of
from tui.core.names import same
from tui.core.record import record

if TYPE_CHECKING:
    from tui.providers.library import CatalogueModel, CatalogueTag, Library

CONTEXT: Final = 8192
"""Tokens of context that a recommended model must have room for where none are asked, or as many as it was trained for."""
READABLE: Final = 6.0
"""Tokens a second from which on an answer can be read as it is written."""
ALIKE: Final = 0.7
"""Share of an older model's size that a newer one must have to stand in for it."""
_SERIES: Final = re.compile(r"([a-z-]*[a-z])(\d{1,2}(?:\.\d)?)?((?:-[a-z-]+)?):")
_EXPERTS: Final = re.compile(r"(\d{1,4}(?:\.\d)?)b-a(\d{1,3}(?:\.\d)?)b")
FITTING: Final = (Verdict.GOOD, Verdict.TIGHT, Verdict.AFTER_UNLOAD)
_RANK: Final = {Verdict.GOOD: 0.0, Verdict.TIGHT: 0.6, Verdict.AFTER_UNLOAD: 0.3}


@record(frozen=True)
class Recommendation:
    """A model to run here.

    Attributes:
        name: What would be pulled, or is installed: "qwen3:14b".
        weights: Bytes to fetch.
        why: In words, for people.
        installed: It is there already.
        preferred: `models.preferred` names it.
    """

    name: str
    weights: int
    fit: Fit
    abilities: frozenset[Ability] = frozenset()
    why: str = ""
    installed: bool = False
    preferred: bool = False


def subject_of_tag(model: CatalogueModel, tag: CatalogueTag) -> Subject | None:
    """A tag of the catalogue, as the estimates take it; None where its size is not known, or it has no weights."""
    if tag.cloud or not tag.bytes:
        return None
    default = model.default
    alike = default is not None and default.bytes == tag.bytes
    parameters = parameters_of(model.parameters) if alike else parameters_of(tag.tag.split("-")[0])
    return Subject(tag.bytes, None, tag.context, parameters, model.family, name=f"{model.name}:{tag.tag}", active=_active(model, tag))


def _active(model: CatalogueModel, tag: CatalogueTag) -> float:
    """The share of the weights that a token reads, by the names of tags with the same weights: `30b-a3b`."""
    for other in model.tags:
        named = _EXPERTS.match(other.tag) if other.bytes == tag.bytes else None
        if named is not None and float(named[1]) > float(named[2]):
            return float(named[2]) / float(named[1])
    return 1.0


def recommended(
    library: Library,
    machine: Machine,
    *,
    preferred: Sequence[str] = (),
    excluded: Sequence[str] = (),
    max_size: int | None = None,
    wanted: Iterable[Ability] = (),
    installed: Iterable[str] = (),
    served: Served = SERVED,
    lessons: Lessons = NOTHING,
    pace: Pace | None = None,
    context: int | None = None,
    limit: int = 8,
) -> tuple[Recommendation, ...]:
    """What to run on a machine, best first; nothing that does not fit on its GPUs (or in its main memory where there is none).

    Args:
        library: The catalogue.
        machine: This one.
        preferred: `models.preferred`, which come first in their order.
        excluded: `models.excluded`: patterns of names that are never recommended.
        max_size: `models.max_size`: bytes that are not pulled without asking.
        wanted: What it must be able to do; without, what can chat.
        installed: Names of installed models.
        served: How the server runs models.
        lessons: What loads taught.
        pace: How fast this machine reads memory.
        context: Tokens it must have room for; what was trained for fewer is left out.
        limit: At most so many.
    """
    needed = frozenset(wanted) or frozenset({Ability.COMPLETION})
    there = list(installed)
    found: list[tuple[tuple[float, float], Recommendation]] = []
    for model in library.models:
        if not needed <= model.capabilities or _hidden(model.name, excluded):
            continue
        best = None
        for tag in _offered(model):
            name = f"{model.name}:{tag.tag}"
            subject = subject_of_tag(model, tag)
            if subject is None or _hidden(name, excluded) or (max_size is not None and subject.weights > max_size):
                continue
            if context is not None and (subject.context or context) < context:
                continue
            need = need_of(subject, context or CONTEXT, served, lessons)
            fit = judge(need, machine, served, pace=pace)
            if fit.verdict in FITTING and (best is None or _better(subject, fit, best[0], best[1])):
                best = subject, fit, name
        if best is not None:
            found.append(_weighed(model, *best, preferred=preferred, installed=there, named=frozenset(wanted)))
    found = [one for one in found if not _superseded(one[1], [other for _rank, other in found])]
    found.sort(key=lambda one: one[0])
    return tuple(one for _rank, one in found[:limit])


def _offered(model: CatalogueModel) -> Sequence[CatalogueTag]:
    """The tags that are sizes; others (other levels, `latest`) only where there are none."""
    return [tag for tag in model.tags if tag.tag in model.sizes] or model.tags


def _superseded(one: Recommendation, others: Iterable[Recommendation]) -> bool:
    """Whether a newer model of the same series that does as well is there too: qwen3 beside qwen2.5."""
    mine = _SERIES.match(one.name)
    if mine is None or one.preferred or one.installed:
        return False
    rank = _RANK[one.fit.verdict]
    return any(
        (series[1], series[3]) == (mine[1], mine[3])
        and float(series[2] or 0) > float(mine[2] or 0)
        and other.weights >= ALIKE * one.weights
        and _RANK[other.fit.verdict] <= rank
        for other in others
        if (series := _SERIES.match(other.name))
    )


def _hidden(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name.lower(), pattern.lower()) for pattern in patterns)


def _readable(fit: Fit) -> bool:
    return fit.rate is None or fit.rate >= READABLE


def _better(subject: Subject, fit: Fit, other: Subject, than: Fit) -> bool:
    """The larger of two, but one that writes fast enough to be read wins over one that does not."""
    if _readable(fit) != _readable(than):
        return _readable(fit)
    return subject.weights > other.weights if _readable(fit) else subject.weights < other.weights


def _weighed(
    model: CatalogueModel,
    subject: Subject,
    fit: Fit,
    name: str,
    *,
    preferred: Sequence[str],
    installed: Sequence[str],
    named: frozenset[Ability],
) -> tuple[tuple[float, float], Recommendation]:
    rank = next((at for at, wish in enumerate(preferred) if same(wish, name) or wish.partition(":")[0] == model.name), None)
    have = any(same(one, name) for one in installed)
    billions = max(0.1, (subject.parameters or subject.weights / 0.6) / 1e9)
    popular = math.log10(max(1, model.pulls or 1))
    score = math.log2(billions) + 1.5 * popular - 3 * _RANK[fit.verdict] - (0.0 if _readable(fit) else 5.0)
    words = [f"the largest {model.name} that fits" if len(model.sizes) > 1 else "fits"]
    if have:
        words = ["installed"]
    if rank is not None:
        words.insert(0, "you prefer it")
    if model.pulls:
        words.append(f"pulled {model.pulls / 1e6:.1f} M times" if model.pulls >= 1e6 else f"pulled {model.pulls:,} times")
    made = Recommendation(name, subject.weights, fit, model.capabilities, ", ".join(words), have, rank is not None)
    return (float("inf") if rank is None else float(rank), -score), made
