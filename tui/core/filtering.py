"""The language of the Library's filters: `qw 8b !vision >5g tools fits`.

Parts stand apart by blanks, and all of them must be true:

- a word: some text of the item holds it (name, provider, quantization), upper and lower case alike;
- `vision tools thinking embed complete chat audio images`: the model can do that, or its text holds the word;
- `fits loaded pinned update`: it does, is, is, has one;
- `>5g <=500m =1t`: bytes (a bare number means GB); `>7b`: parameters, in billions; `>=32k`: tokens of context;
- `on:gpu2 quant:q4 licence:mit can:tools`: begins so there;
- `!` before any of them: not so.

What is not yet finished (`!`, `>`, `on:`) holds everything, so that no row vanishes while somebody types.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Final, Generic, TypeVar

from tui.core.capabilities import ABILITY_WORDS, Ability
from tui.core.record import record

T = TypeVar("T")
Predicate = Callable[[T], bool]

ABILITIES: Final = {word: ability for ability, word in ABILITY_WORDS.items()}
"""Words for what a model can do."""
STATES: Final = ("fits", "loaded", "pinned", "update")
"""Words for how a model is here."""
KEYS: Final = {"on": "on", "quant": "quant", "licence": "licence", "license": "licence", "can": "can"}
"""What stands before a colon."""
_COMPARED: Final = re.compile(r"(>=|<=|>|<|=)([0-9]*[.,]?[0-9]*)(tib|gib|mib|tb|gb|mb|[tgmbk]?)\Z")
_UNITS: Final = {
    "": ("size", 1e9), "t": ("size", 1e12), "tb": ("size", 1e12), "g": ("size", 1e9), "gb": ("size", 1e9), "m": ("size", 1e6),
    "mb": ("size", 1e6), "tib": ("size", 2.0**40), "gib": ("size", 2.0**30), "mib": ("size", 2.0**20), "b": ("parameters", 1e9),
    "k": ("context", 1024.0),
}  # fmt: skip
_PARAMETERS: Final = re.compile(r"\s*(?:([0-9]+)\s*[xX]\s*)?([0-9]+(?:\.[0-9]+)?)\s*([kKmMbBtT])")
_SCALES: Final = {"k": 1e3, "m": 1e6, "b": 1e9, "t": 1e12}


@record(frozen=True)
class Term:
    """One part that is no plain word.

    Attributes:
        kind: "word" (excluded), "ability", "state", "size", "parameters", "context", or a value of `KEYS`.
        text: The word, case-folded.
        sign: Of a comparison.
        value: What is compared with: bytes, parameters, tokens.
        wanted: False after `!`.
    """

    kind: str
    text: str = ""
    sign: str = ""
    value: float = 0.0
    wanted: bool = True


@record(frozen=True)
class Filter:
    """What a typed filter says: all of `words` are held by the text, and all `terms` are true."""

    text: str = ""
    words: tuple[str, ...] = ()
    terms: tuple[Term, ...] = ()

    @property
    def plain(self) -> str:
        """The words alone, for what looks for them by itself."""
        return " ".join(self.words)


def _nothing(_item: object) -> tuple[()]:
    return ()


def _no(_item: object) -> bool:
    return False


def _empty(_item: object) -> str:
    return ""


@record(frozen=True)
class Look(Generic[T]):
    """How to see an item; what an item has several of (the tags of a model that can be pulled) is true where one of them is.

    Attributes:
        text: What words are looked for in.
        sizes: Bytes; none where not known, which no comparison holds.
        parameters: How many, see `parameter_count`.
        contexts: Tokens.
        abilities: What it can do.
        on: The provider's name.
        quants: Quantizations.
        licence: Its licence.
    """

    text: Callable[[T], str]
    sizes: Callable[[T], Iterable[float]] = _nothing
    parameters: Callable[[T], Iterable[float]] = _nothing
    contexts: Callable[[T], Iterable[float]] = _nothing
    abilities: Callable[[T], Iterable[Ability]] = _nothing
    on: Callable[[T], str] = _empty
    quants: Callable[[T], Iterable[str]] = _nothing
    licence: Callable[[T], str] = _empty
    fits: Callable[[T], bool] = _no
    loaded: Callable[[T], bool] = _no
    pinned: Callable[[T], bool] = _no
    update: Callable[[T], bool] = _no


@lru_cache(4096)
def parameter_count(text: str) -> float | None:
    """`8.2B` as a number, `8x7b` as all of them; None where it says none."""
    found = _PARAMETERS.match(text)
    return int(found[1] or 1) * float(found[2]) * _SCALES[found[3].lower()] if found is not None else None


def parse(text: str) -> Filter:
    """Read what was typed; never raises, and what is no part of the language is a plain word."""
    words: list[str] = []
    terms: list[Term] = []
    for part in text.casefold().split():
        wanted = not part.startswith("!")
        term = _term(part.lstrip("!"), wanted)
        if term is None:
            continue
        if term.kind == "word" and wanted:
            words.append(term.text)
        else:
            terms.append(term)
    return Filter(text, tuple(words), tuple(terms))


def _term(part: str, wanted: bool) -> Term | None:
    """What one part says; None while it is not finished."""
    if not part:
        return None
    compared = _COMPARED.match(part)
    if compared is not None:
        digits = compared[2].replace(",", ".")
        if not digits.strip("."):
            return None
        kind, scale = _UNITS[compared[3]]
        return Term(kind, part, compared[1], float(digits) * scale, wanted)
    if part in ABILITIES:
        return Term("ability", part, wanted=wanted)
    if part in STATES:
        return Term("state", part, wanted=wanted)
    key, colon, value = part.partition(":")
    if colon and key in KEYS:
        return Term(KEYS[key], value, wanted=wanted) if value else None
    return Term("word", part, wanted=wanted)


def predicate(found: Filter, look: Look[T]) -> Predicate[T] | None:
    """What tells whether the terms hold for an item; None where there are none. Words are left to what looks for them."""
    tests = [_test(term, look) for term in sorted(found.terms, key=lambda term: term.kind == "state")]  # the dearest last
    if len(tests) < 2:
        return tests[0] if tests else None
    if len(tests) == 2:
        first, second = tests
        return lambda item: first(item) and second(item)
    return lambda item: all(test(item) for test in tests)


def accepts(text: str | Filter, look: Look[T]) -> Predicate[T]:
    """What tells whether a whole filter holds, words included."""
    found = parse(text) if isinstance(text, str) else text
    terms, words, text_of = predicate(found, look), found.words, look.text
    if not words:
        return terms or (lambda _item: True)

    def holds(item: T) -> bool:
        shown = text_of(item).casefold()
        return all(word in shown for word in words) and (terms is None or terms(item))

    return holds


def _test(term: Term, look: Look[T]) -> Predicate[T]:
    positive = _positive(term, look)
    return positive if term.wanted else lambda item: not positive(item)


def _positive(term: Term, look: Look[T]) -> Predicate[T]:
    word, text_of = term.text, look.text
    if term.kind == "word":
        return lambda item: word in text_of(item).casefold()
    if term.kind == "ability":
        ability, abilities = ABILITIES[word], look.abilities
        return lambda item: ability in abilities(item) or word in text_of(item).casefold()
    if term.kind == "state":
        state: Predicate[T] = {"fits": look.fits, "loaded": look.loaded, "pinned": look.pinned, "update": look.update}[word]
        return state
    if term.kind == "on":
        return lambda item: look.on(item).casefold().startswith(word)
    if term.kind == "licence":
        return lambda item: word in look.licence(item).casefold()
    if term.kind == "quant":
        return lambda item: any(quant.casefold().startswith(word) for quant in look.quants(item))
    if term.kind == "can":
        wanted = {ability for name, ability in ABILITIES.items() if name.startswith(word)}
        return lambda item: any(ability in wanted for ability in look.abilities(item))
    return _compare(term, {"size": look.sizes, "parameters": look.parameters, "context": look.contexts}[term.kind])


def _compare(term: Term, values: Callable[[T], Iterable[float]]) -> Predicate[T]:
    limit, compare = term.value, _SIGNS[term.sign]

    def holds(item: T) -> bool:
        for value in values(item):  # noqa: SIM110  (a generator takes three times as long)
            if compare(value, limit):
                return True
        return False

    return holds


def _about(value: float, limit: float) -> bool:
    """8.2B is an 8b model."""
    return abs(value - limit) <= limit * 0.06


_SIGNS: Final[dict[str, Callable[[float, float], bool]]] = {
    ">": operator.gt, "<": operator.lt, ">=": operator.ge, "<=": operator.le, "=": _about,
}  # fmt: skip
