"""Searching the list of models: the language of the filters over its tags, what fits, how old it is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final

from tui.core.filtering import Filter, Look, Term, parameter_count, predicate
from tui.core.filtering import parse as parse_filter
from tui.providers.library import CatalogueModel, CatalogueTag, Library, age, library_of

Pair = tuple[CatalogueModel, CatalogueTag | None]
Fitting = Callable[[CatalogueModel, CatalogueTag], bool]
ALIKE: Final = 0.05
"""Share by which the bytes of the same weights may differ in the list."""


def day_of(date: str) -> str:
    """`21 Aug 2026` for `2026-08-21`."""
    try:
        day = time.strptime(date, "%Y-%m-%d")
    except ValueError:
        return date
    return f"{day.tm_mday} {time.strftime('%b %Y', day)}"


def age_words(date: str, now: float) -> str:
    """`93 days old`, `of today`; empty where no day is known."""
    days = age(date, now)
    if days is None:
        return ""
    return "of today" if days == 0 else f"{days} day{'s' if days > 1 else ''} old"


def of_words(date: str, now: float) -> str:
    """`of 21 Aug 2026, 93 days old`."""
    return ", ".join(part for part in (f"of {day_of(date)}", age_words(date, now)) if part)


def offered(library: Library, hidden: Callable[[str], bool] | None) -> Library:
    """The list without what `models.excluded` hides: models by their name, or tags of them; with all its tags a model goes."""
    if hidden is None:
        return library
    kept = []
    for model in library.models:
        tags = tuple(tag for tag in model.tags if not hidden(f"{model.name}:{tag.tag}"))
        if not hidden(model.name) and (tags or not model.tags):
            kept.append(model if len(tags) == len(model.tags) else replace(model, tags=tags))
    return library_of(kept, library.snapshot, library.source)


def weighty(model: CatalogueModel) -> list[CatalogueTag]:
    """The tags with weights of a known size, smallest first: those that are sizes, where there are any, and a default that is none of them.

    `wizardcoder` is of 7b, and the list has a tag for its 33b only.
    """
    names = frozenset(model.sizes)
    weights = [tag for tag in model.tags if tag.bytes and not tag.cloud]
    sized = [tag for tag in weights if tag.tag in names]
    default = model.default
    if sized and default in weights and not any(_alike(default, tag) for tag in sized):
        sized.append(default)
    return sorted(sized or weights, key=lambda tag: tag.bytes or 0)


def _alike(one: CatalogueTag, other: CatalogueTag) -> bool:
    """Whether two tags seem to be the same weights; the sizes of many are rounded."""
    same = bool(one.digest12) and one.digest12 == other.digest12
    return same or abs((one.bytes or 0) - (other.bytes or 0)) <= ALIKE * (other.bytes or 0)


def largest(model: CatalogueModel, fits: Fitting) -> CatalogueTag | None:
    """The largest tag that fits: of the sizes, else of what is left (levels of one); None where none does or nothing is known."""
    found = next((tag for tag in reversed(weighty(model)) if fits(model, tag)), None)
    if found is not None:
        return found
    rest = (tag for tag in model.tags if tag.bytes and not tag.cloud and fits(model, tag))
    return max(rest, key=lambda tag: tag.bytes or 0, default=None)


def look(fits: Fitting, installed: frozenset[str]) -> Look[Pair]:
    """How the filter sees a tag of a model; `loaded` is what is installed."""

    def quants(pair: Pair) -> Iterable[str]:
        return () if pair[1] is None or not pair[1].quant else (pair[1].quant,)

    return Look(
        text=lambda pair: pair[0].told,
        sizes=_sizes,
        parameters=_parameters,
        contexts=lambda pair: () if pair[1] is None or not pair[1].context else (float(pair[1].context),),
        abilities=lambda pair: pair[0].capabilities,
        quants=quants,
        licence=lambda pair: pair[0].licence,
        fits=lambda pair: pair[1] is not None and fits(pair[0], pair[1]),
        loaded=lambda pair: pair[1] is not None and f"{pair[0].name}:{pair[1].tag}" in installed,
    )


def _sizes(pair: Pair) -> Iterable[float]:
    tag = pair[1]
    return () if tag is None or not tag.bytes else (float(tag.bytes),)


def _parameters(pair: Pair) -> Iterable[float]:
    model, tag = pair
    found = parameter_count(tag.tag) if tag is not None else None
    if found is None and (tag is None or tag is model.default):
        found = parameter_count(model.parameters)
    return () if found is None else (found,)


def accepts(text: str, fits: Fitting, installed: frozenset[str]) -> tuple[str, Callable[[CatalogueModel], bool] | None]:
    """The plain words of a filter, and what tells whether the rest holds for a model.

    What is asked for must hold for one and the same tag (`fits >5g` is a tag of more than 5 GB that fits); what is excluded, for none.
    """
    found = parse_filter(text)
    wanted = tuple(term for term in found.terms if term.wanted)
    seen = look(fits, installed)
    some = predicate(Filter(terms=wanted), seen)
    none = [test for term in found.terms if not term.wanted and (test := predicate(Filter(terms=(_positive(term),)), seen)) is not None]
    if some is None and not none:
        return found.plain, None

    def holds(model: CatalogueModel) -> bool:
        pairs: list[Pair] = [(model, tag) for tag in model.tags] or [(model, None)]
        if some is not None and not any(some(pair) for pair in pairs):
            return False
        return not any(test(pair) for test in none for pair in pairs)

    return found.plain, holds


def _positive(term: Term) -> Term:
    return Term(term.kind, term.text, term.sign, term.value)


def meets(text: str, fits: Fitting, installed: frozenset[str]) -> Fitting:
    """What tells whether a filter, but for its plain words, holds for a tag."""
    test = predicate(Filter(terms=parse_filter(text).terms), look(fits, installed))
    return lambda model, tag: test is None or test((model, tag))
