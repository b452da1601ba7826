"""The language of the Library's filters."""

from __future__ import annotations

import string
from dataclasses import dataclass

import pytest

from tui.core.capabilities import Ability
from tui.core.filtering import Filter, Look, Term, accepts, parameter_count, parse, predicate


@dataclass
class Item:
    name: str
    size: float | None = None
    parameters: str = ""
    abilities: frozenset[Ability] = frozenset()
    on: str = "ollama"
    quant: str = "Q4_K_M"
    context: int | None = None
    state: str = ""


LOOK: Look[Item] = Look(
    text=lambda item: f"{item.name} {item.on} {item.quant}",
    sizes=lambda item: () if item.size is None else (item.size,),
    parameters=lambda item: () if (count := parameter_count(item.parameters)) is None else (count,),
    contexts=lambda item: () if item.context is None else (item.context,),
    abilities=lambda item: item.abilities,
    on=lambda item: item.on,
    quants=lambda item: (item.quant,),
    fits=lambda item: item.state == "fits",
    loaded=lambda item: item.state == "loaded",
    pinned=lambda item: item.state == "pinned",
    update=lambda item: item.state == "update",
)
ITEMS = (
    Item("qwen3:8b", 5.2e9, "8.2B", frozenset({Ability.COMPLETION, Ability.TOOLS, Ability.THINKING}), context=40960, state="fits"),
    Item("qwen2.5-coder:32b", 19.9e9, "32.8B", frozenset({Ability.COMPLETION, Ability.TOOLS, Ability.INSERT}), context=32768),
    Item("qwen2.5vl:7b", 6e9, "8.3B", frozenset({Ability.COMPLETION, Ability.VISION}), state="loaded"),
    Item("nomic-embed-text", 274e6, "137M", frozenset({Ability.EMBEDDING}), quant="F16", context=2048, state="pinned"),
    Item("big/served", None, "", on="vllm-a", quant="", state="update"),
    Item("mixtral:8x7b", 26e9, "8x7B", frozenset({Ability.COMPLETION}), on="gpu2"),
)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", "qwen3 coder vl nomic served mixtral"),
        ("QW 8b", "qwen3"),
        ("qw 8b !vision >5g tools fits", "qwen3"),
        ("!qwen", "nomic served mixtral"),
        (">5g", "qwen3 coder vl mixtral"),
        (">5", "qwen3 coder vl mixtral"),
        (">5g <8b", ""),
        (">5g <9b", "qwen3 vl"),
        ("=8b", "qwen3 vl"),
        ("<500m", "nomic"),
        ("<=0,3gb", "nomic"),
        (">32b", "coder mixtral"),
        (">=32k", "qwen3 coder"),
        ("!>5g", "nomic served"),
        ("vision", "vl"),
        ("embed", "nomic"),
        ("complete", "coder"),
        ("thinking", "qwen3"),
        ("chat !tools", "vl mixtral"),
        ("can:t", "qwen3 coder"),
        ("loaded", "vl"),
        ("!loaded pinned", "nomic"),
        ("update", "served"),
        ("on:gp", "mixtral"),
        ("!on:ollama", "served mixtral"),
        ("quant:q4", "qwen3 coder vl mixtral"),
        ("quant:f", "nomic"),
        ("gpu2", "mixtral"),
        ("[bold] >", ""),
        ("8:x on:", ""),
    ],
)
def test_what_a_filter_shows(text: str, names: str) -> None:
    found = [item.name for item in ITEMS if accepts(text, LOOK)(item)]
    assert len(found) == len(names.split())
    assert all(part in name for part, name in zip(names.split(), found, strict=True))


@pytest.mark.parametrize("text", ["!", ">", "<", ">=", "!>", "on:", "quant:", "!can:", "!!", ">.", "  "])
def test_what_is_not_finished_hides_nothing(text: str) -> None:
    assert all(accepts(text, LOOK)(item) for item in ITEMS)
    assert predicate(parse(text), LOOK) is None


def test_nothing_raises_while_typing() -> None:
    for text in ("qw 8b !vision >5g tools fits on:a quant:q4 <=9,5tb =7b", ">1.2.3g", ">" + "9" * 400 + "g", "\0 \u202e[/x]:!", "<1kb"):
        for end in range(len(text) + 1):
            list(map(accepts(text[:end], LOOK), ITEMS))
    for first in string.printable:
        for second in string.printable:
            parse(first + second)


def test_words_are_left_to_who_looks_for_them() -> None:
    found = parse("Qwen !old tools >5g")
    assert found == Filter("Qwen !old tools >5g", ("qwen",), found.terms)
    assert found.plain == "qwen"
    assert [(term.kind, term.text, term.wanted) for term in found.terms] == [
        ("word", "old", False),
        ("ability", "tools", True),
        ("size", ">5g", True),
    ]
    assert found.terms[-1] == Term("size", ">5g", ">", 5e9)


COUNTS = [("8.2B", 8.2e9), ("137M", 137e6), ("8x7b", 56e9), ("1T", 1e12), ("", None), ("large", None), ("30.5B (A3B)", 30.5e9)]


@pytest.mark.parametrize(("text", "count"), COUNTS)
def test_parameters_as_a_number(text: str, count: float | None) -> None:
    assert parameter_count(text) == (count if count is None else pytest.approx(count))
