"""P40, P46: every refusal in the code says what, where and one thing to do; found by reading the code itself."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import tui

SOURCE = Path(tui.__file__).parent
FIELDS = ("what", "where", "remedy")
NAMES_PLACES = tuple(f"tui/{package}/" for package in ("config", "core", "providers", "store", "worker"))
ERROR_NAME = re.compile(r"\b[A-Z]\w+(?:Error|Exception)\b")


def refusals() -> Iterator[tuple[str, dict[str, ast.expr]]]:
    """Each place that builds a `Failure` or `PaddockError.of`, with its three sentences."""
    for file in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = ast.unparse(node.func)
            if name not in ("Failure", "PaddockError.of") or any(isinstance(argument, ast.Starred) for argument in node.args):
                continue
            given = dict(zip(FIELDS, node.args, strict=False))
            given |= {keyword.arg: keyword.value for keyword in node.keywords if keyword.arg in FIELDS}
            if not any(keyword.arg is None for keyword in node.keywords):
                yield f"{file.relative_to(SOURCE.parent)}:{node.lineno}", given


def text(node: ast.expr) -> str | None:
    """The fixed part of a text in the code; None where it is only known when it runs."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
    return None


def test_P40_every_refusal_says_what_where_and_one_thing_to_do() -> None:
    found = list(refusals())
    assert len(found) > 150
    for place, given in found:
        # Of an answer that was cut the place is the message itself; files, fields and servers are always named.
        needed = FIELDS if place.startswith(NAMES_PLACES) else ("what", "remedy")
        assert [name for name in needed if name not in given or text(given[name]) == ""] == [], place


def test_P46_no_sentence_is_an_exception_or_ends_in_the_air() -> None:
    for place, given in refusals():
        for name in ("what", "remedy"):
            words = text(given[name]) if name in given else None
            if words is None:
                continue
            assert len(words) > 3, place
            assert not ERROR_NAME.search(words), f"{place}: {words}"
            assert not words.endswith((".", ":", " ")), f"{place}: {words}"
