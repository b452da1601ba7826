"""A list of models as JSON: strict, bounded, cleaned."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tui.core.capabilities import Ability
from tui.core.errors import FailureKind, PaddockError
from tui.providers import library_json
from tui.providers.library import age, is_unusual, load_library
from tui.providers.library_json import read_json, write_json

NOW = 1_795_320_000.0  # 22 Nov 2026


def body(*models: Any, **changes: Any) -> bytes:
    value = {"format": "paddock-catalogue", "version": 1, "date": "2026-11-20", "models": list(models), **changes}
    return json.dumps(value).encode()


def read(*models: Any, **changes: Any) -> Any:
    return read_json(body(*models, **changes), "example.org", NOW)


def why(data: bytes) -> str:
    with pytest.raises(PaddockError) as caught:
        read_json(data, "example.org", NOW)
    failure = caught.value.failure
    assert failure.kind is FailureKind.PROTOCOL and failure.where == "example.org" and failure.remedy
    return failure.what


def test_a_list_is_read_with_all_it_says() -> None:
    found = read(
        {"name": "codellama", "licence": "llama2", "pulls": 5, "family": "llama", "parameters": "7B",
         "capabilities": ["tools", "telepathy"],
         "tags": [{"tag": "7b-code-q8_0", "size": 7, "context": 16384, "digest": "sha256:" + "ab" * 32, "quantization": "Q8_0",
                   "estimated": True, "date": "2026-03-22"},
                  {"tag": "latest", "size": 3, "date": "2026-11-20"}, {"tag": "x-cloud", "cloud": True}]},
        {"name": "me/Own", "capabilities": ["embedding"], "later": {"key": 1}},
        source="made nightly",
    )  # fmt: skip
    library = found.library
    assert (library.snapshot, library.source, found.left_out, len(library.models)) == ("2026-11-20", "made nightly", 0, 2)
    first = library.models[0]
    assert [tag.tag for tag in first.tags] == ["latest", "7b-code-q8_0", "x-cloud"]
    quant = first.tags[1]
    assert (quant.bytes, quant.context, quant.digest12, quant.quant, quant.estimated) == (7, 16384, "abababababab", "Q8_0", True)
    assert (quant.dated, first.tags[0].dated) == ("2026-03-22", "")
    assert {Ability.TOOLS, Ability.INSERT, Ability.COMPLETION} == first.capabilities
    assert library.model("me/own:x") is library.models[1]
    assert library.models[1].words == "embed"


def test_what_is_written_is_read_again_as_it_was() -> None:
    shipped = load_library()
    again = read_json(write_json(shipped), "file", NOW).library
    assert again.snapshot == shipped.snapshot
    assert again.models == shipped.models


def test_X13_X23_names_that_break_the_grammar_are_left_out_and_counted() -> None:
    names = ["--host=0.0.0.0", "../../x", "llаma3", "a b", "", "x" * 500, "a/b/c/d", "good:8b", "http://x/y/z", 5, None, "-rf", "a\x00b"]
    found = read(*({"name": name} for name in names), {"name": "good"}, {"name": "GOOD"}, "no object", 7)
    assert [model.name for model in found.library.models] == ["good"]
    assert found.left_out == len(names) + 3
    tags = [{"tag": tag} for tag in ("ok", "a/b", "c:d", "--x", "Ы", "", 3, "y" * 90, "OK")]
    found = read({"name": "m", "tags": [*tags, "text"]})
    assert [tag.tag for tag in found.library.models[0].tags] == ["ok"]
    assert found.left_out == 9
    assert is_unusual("llаma3") and is_unusual("a b") and not is_unusual("llama3")


def test_X01_texts_are_cleaned() -> None:
    found = read({"name": "m", "licence": "\x1b]0;x\x07mit\nmore", "family": "\x9bq\u202e", "parameters": "8B" * 90}, source="\x1b[2Jme")
    model = found.library.models[0]
    assert model.licence == "␛]0;x␇mit⏎more" and "\x9b" not in model.family and "\u202e" not in model.family
    assert len(model.parameters) <= 20 and found.library.source == "␛[2Jme"


def test_numbers_that_make_no_sense_are_not_known() -> None:
    wrong = [-1, 10**17, "9", True, None, [], float("1e300")]
    found = read({"name": "m", "pulls": -3, "tags": [{"tag": f"t{at}", "size": size, "context": size} for at, size in enumerate(wrong)]})
    model = found.library.models[0]
    assert model.pulls is None
    assert {(tag.bytes, tag.context) for tag in model.tags} == {(None, None)}
    assert read({"name": "m", "tags": [{"tag": "a", "digest": "zz"}, {"tag": "b", "cloud": "yes", "estimated": 1}]}).left_out == 0


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not JSON"),
        (b"<html>", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "no list of models"),
        (body({"name": "m"}, format="other"), "no list of models"),
        (body({"name": "m"}, models={}), "no list of models"),
        (body({"name": "m"}, version=2), "another version (2)"),
        (body({"name": "m"}, date="20 Nov 2026"), "of which day"),
        (body({"name": "m"}, date="2026-13-45"), "of which day"),
        (body({"name": "m"}, date=None), "of which day"),
        (body({"name": "m"}, date="2031-01-01"), "from the future"),
        (body(), "none that makes sense"),
        (body({"name": "a b"}, 5), "none that makes sense"),
    ],
)
def test_what_is_no_list_is_refused_as_a_whole(data: bytes, words: str) -> None:
    assert words in why(data)


def test_a_list_beyond_reason_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library_json, "MAX_BYTES", 1000)
    assert "more than the" in why(body({"name": "m" * 70, "licence": "x" * 2000}))
    monkeypatch.setattr(library_json, "MAX_BYTES", 10**6)
    monkeypatch.setattr(library_json, "MAX_MODELS", 2)
    assert "more than 2 models" in why(body(*({"name": f"m{number}"} for number in range(3))))
    monkeypatch.setattr(library_json, "MAX_TAGS", 3)
    assert "more than 3 tags" in why(body({"name": "m", "tags": [{"tag": f"t{number}"} for number in range(4)]}))


@pytest.mark.parametrize(
    ("date", "days"), [("2026-11-22", 0), ("2026-11-21", 1), ("2026-08-21", 93), ("2026-11-24", 0), ("", None), ("yesterday", None)]
)
def test_age_is_told_in_whole_days(date: str, days: int | None) -> None:
    assert age(date, NOW) == days
