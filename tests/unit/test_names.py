"""The name grammar of Ollama's types/model/name.go."""

from __future__ import annotations

import pytest

from tui.core import names
from tui.core.errors import FailureKind, PaddockError


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("qwen3", "qwen3:latest"),
        ("qwen3:8b", "qwen3:8b"),
        ("library/qwen3", "qwen3:latest"),
        ("registry.ollama.ai/library/qwen3:8b", "qwen3:8b"),
        ("user/m:tag", "user/m:tag"),
        ("hf.co/org/repo:Q4_K_M", "hf.co/org/repo:Q4_K_M"),
        ("localhost:5000/ns/m:tag", "localhost:5000/ns/m:tag"),
        ("https://hf.co/org/repo", "hf.co/org/repo:latest"),
    ],
)
def test_shortest_form(text, shown):
    assert str(names.parse(text)) == shown


@pytest.mark.parametrize("text", ["a", "a:latest", "library/a", "A", "registry.ollama.ai/library/a:LATEST"])
def test_Q14_spellings_of_one_model(text):
    assert names.same("a:latest", text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "m:",
        "/m",
        "a/b/c/d",
        "--host=0.0.0.0",
        "-rf",
        "../../x",
        "x" * 4096,
        "a b",
        "a\0b",
        "a\nb",
        "a:b:c",
        "n.s/m",
        "a/b@sha256:00",
    ],
)
def test_X13_P45_names_that_break_the_grammar_are_refused(text):
    with pytest.raises(PaddockError) as caught:
        names.parse(text)
    failure = caught.value.failure
    assert failure.kind is FailureKind.BAD_REQUEST
    assert failure.what
    assert failure.remedy


def test_a_name_of_another_kind_of_server_stays_as_it_is():
    assert names.normal("Llama 3 8B Instruct") == "Llama 3 8B Instruct"
    assert not names.same("Llama 3 8B Instruct", "llama 3 8b instruct")
