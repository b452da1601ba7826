"""Modelfiles: what is read, what is refused and in which line, and that writing and reading agree."""

from __future__ import annotations

import string
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui.core.errors import PaddockError
from tui.core.modelfile import Modelfile, decode, grouped, parse_modelfile, ungrouped, write_modelfile

WHOLE = '''# made by hand
FROM qwen3:8b
from ./projector.gguf
PARAMETER temperature 0.7
parameter\tnum_ctx  8192
PARAMETER stop "a\tb "
PARAMETER stop """<|end|>"""
PARAMETER use_mmap TRUE
SYSTEM """You are
  # no comment, and "quoted"
brief. """
TEMPLATE {{ .Prompt }} # no comment either
ADAPTER ./lora.gguf
LICENSE """MIT
and so on"""
LICENSE Apache
MESSAGE user Hello
MESSAGE assistant "  Hi "
REQUIRES 0.14.0
RENDERER qwen3
PARSER qwen3
DRAFT ./draft.gguf
PARAMETER mirostat 2
'''


def test_every_instruction_is_read() -> None:
    found = parse_modelfile(WHOLE)
    assert found.sources == ("qwen3:8b", "./projector.gguf") and found.adapters == ("./lora.gguf",)
    assert found.parameters == (("temperature", 0.7), ("num_ctx", 8192), ("stop", "a\tb "), ("stop", "<|end|>"), ("use_mmap", True))
    assert found.system == 'You are\n  # no comment, and "quoted"\nbrief. ' and found.template == "{{ .Prompt }} # no comment either"
    assert found.licences == ("MIT\nand so on", "Apache") and found.messages == (("user", "Hello"), ("assistant", "  Hi "))
    assert (found.requires, found.renderer, found.parser, found.draft) == ("0.14.0", "qwen3", "qwen3", "./draft.gguf")
    assert found.notes == ("mirostat (line 23) is left out: servers know it no more",)
    assert found.fields() == {
        "parameters": {"temperature": 0.7, "num_ctx": 8192, "stop": ["a\tb ", "<|end|>"], "use_mmap": True},
        "license": ["MIT\nand so on", "Apache"],
        "messages": [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "  Hi "}],
        "template": "{{ .Prompt }} # no comment either",
        "system": found.system,
        "requires": "0.14.0",
        "renderer": "qwen3",
        "parser": "qwen3",
    }
    assert grouped(ungrouped(found.fields()["parameters"])) == found.fields()["parameters"]


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("", 0, "no FROM"),
        ("FROM", 1, "FROM names nothing"),
        ("FROM a\n\nHELLO b", 3, "'HELLO' is no instruction"),
        ("FROM a\nFROMb c", 2, "no instruction"),
        ("FROM a\n{{ .Prompt }}", 2, "no instruction"),
        ("FROM a\nPARAMETER", 2, "PARAMETER names nothing"),
        ("FROM a\nPARAMETER temperature", 2, "temperature must be a number"),
        ("FROM a\nPARAMETER temperature nan", 2, "must be a number"),
        ("FROM a\nPARAMETER temperature 1e999", 2, "must be a number"),
        ("FROM a\nPARAMETER num_ctx 8k", 2, "num_ctx must be a whole number, not '8k'"),
        ("FROM a\nPARAMETER num_ctx 99999999999999999999", 2, "whole number"),
        ("FROM a\nPARAMETER use_mmap 1", 2, "true or false"),
        ("FROM a\nPARAMETER stop", 2, "needs a text"),
        ("FROM a\nPARAMETER heat 1", 2, "heat is no parameter"),
        ("FROM a\nPARAMETER top_k 1\n# x\nPARAMETER TOP_K 2", 4, "top_k is there twice: line 2"),
        ("FROM a\nSYSTEM x\nsystem y", 3, "SYSTEM is there twice: line 2"),
        ('FROM a\nSYSTEM """x\ny\nz', 2, "not closed"),
        ('FROM a\nSYSTEM "x', 2, "not closed"),
        ("FROM a\nMESSAGE tool x", 2, "'tool' is no role"),
        ("FROM a\nMESSAGE", 2, "MESSAGE names nothing"),
        ('FROM """a\nb"""', 1, "more than one line"),
        ('FROM a\nRENDERER "a\nb"', 2, "more than one line"),
        ("FROM a\nSYSTEM x\x1b]0;owned\x07", 2, r"U\+001B"),
        ("FROM a\nSYSTEM x\ny\u202e", 3, r"U\+202E"),
        ("FROM a\0", 1, r"U\+0000"),
        ("FROM \ud800", 1, r"U\+D800"),
    ],
)
def test_X01_what_breaks_the_grammar_is_refused_with_its_line(text: str, line: int, words: str) -> None:
    with pytest.raises(PaddockError, match=words) as caught:
        parse_modelfile(text, "My file")
    failure = caught.value.failure
    assert failure.where == (f"My file:{line}" if line else "My file") and failure.remedy
    assert "\x1b" not in failure.what + failure.where + failure.remedy


def test_bytes_are_decoded_or_refused() -> None:
    assert decode("\ufeffFROM ä".encode(), "f") == "FROM ä" == decode("FROM ä".encode("utf-16"), "f")
    for data in (b"FROM \xff", b"\xff\xfeF"):
        with pytest.raises(PaddockError, match="no text"):
            decode(data, "f")


def test_X01_long_and_unclosed_texts_cost_no_more_than_their_length() -> None:
    begun = time.process_time()
    for hostile in ('FROM a\nSYSTEM """' + '""\n' * 300_000, "FROM a\n" + "\n" * 1_000_000, "FROM a\nSYSTEM " + "x" * 4_000_000):
        try:
            parse_modelfile(hostile)
        except PaddockError:
            continue
    with pytest.raises(PaddockError, match="too long"):
        parse_modelfile("x" * 8_000_001)
    assert time.process_time() - begun < 5.0


def test_what_cannot_be_quoted_is_refused_rather_than_changed() -> None:
    with pytest.raises(PaddockError, match="SYSTEM cannot be written"):
        write_modelfile(Modelfile(("a",), system='one """\ntwo'))
    assert parse_modelfile(write_modelfile(Modelfile(("a",), system='"""'))).system == '"""'


_SIGNS = [*(sign for sign in string.printable if sign not in "\r\x0b\x0c"), "ä", "😀", "\u3000"]
_TEXT = st.lists(st.sampled_from(_SIGNS) | st.sampled_from(['"""', '"', "\n", '"""\n'])).map("".join)
_WORD = st.text(string.ascii_letters + string.digits + ":/._- #é", min_size=1).map(str.strip).filter(bool)
_PARAMETER: Any = st.one_of(
    st.tuples(st.just("num_ctx"), st.integers(-(2**63), 2**63 - 1)),
    st.tuples(st.just("temperature"), st.floats(allow_nan=False, allow_infinity=False)),
    st.tuples(st.just("use_mmap"), st.booleans()),
)
_STOPS = st.lists(st.tuples(st.just("stop"), _TEXT.filter(bool)), max_size=3)


@given(
    st.builds(
        Modelfile,
        st.lists(_WORD, min_size=1, max_size=2).map(tuple),
        st.tuples(st.lists(_PARAMETER, unique_by=lambda pair: pair[0]), _STOPS).map(lambda both: tuple(both[0] + both[1])),
        st.none() | _TEXT,
        st.none() | _TEXT,
        st.lists(_WORD, max_size=1).map(tuple),
        st.lists(_TEXT, max_size=2).map(tuple),
        st.lists(st.tuples(st.sampled_from(["system", "user", "assistant"]), _TEXT), max_size=2).map(tuple),
        st.none() | _WORD,
        st.none() | _WORD,
        st.none() | _WORD,
        st.none() | _WORD,
    )
)
def test_reading_what_was_written_gives_the_same(found: Modelfile) -> None:
    try:
        text = write_modelfile(found, "a comment")
    except PaddockError as error:
        assert "cannot be written" in error.failure.what
        return
    assert parse_modelfile(text) == found


@given(st.text())
def test_X01_any_text_is_read_or_refused(text: str) -> None:
    for hostile in (text, f"FROM a\n{text}", f'FROM a\nSYSTEM """{text}'):
        try:
            parse_modelfile(hostile)
        except PaddockError as error:
            assert error.failure.what and error.failure.where and error.failure.remedy
