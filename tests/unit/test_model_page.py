"""Everything `show` says, in sections."""

from __future__ import annotations

from tui.core.model_page import UNUSUAL, Section, sections, value_text
from tui.core.models import Model, ModelDetail

MODEL = Model("ollama", "qwen3:8b", "qwen3:8b", 5_200_000_000, "ab" * 32, parameters="8.2B")


def told(detail: ModelDetail | None, model: Model = MODEL) -> dict[str, Section]:
    return {section.title: section for section in sections(model, detail)}


def test_what_is_empty_is_left_out() -> None:
    assert list(told(None)) == ["model"]
    assert list(told(ModelDetail("ollama", "qwen3:8b"))) == ["model"]


def test_values_on_one_line() -> None:
    assert value_text(list(range(9))) == "0, 1, 2, 3, 4, 5, 6, 7 … (9 in all)"
    assert [value_text(value) for value in (True, 12_345, 7, 1e6, 0.5, None, [], "a\nb")] == [
        "yes", "12,345", "7", "1e+06", "0.5", "", "", "a\u23ceb",
    ]  # fmt: skip
    assert len(value_text("x" * 9000)) <= 201


def test_tensors_by_type_the_largest_first() -> None:
    tensors = (("a", "Q4_K", (1000, 1000)), ("b", "F32", (10,)), ("c", "Q4_K", (1000, 1000)), ("d", "ODD", (5,)))
    rows = dict(told(ModelDetail("ollama", "x", tensors=tensors))["tensors"].rows)
    assert list(rows) == ["Q4_K", "F32", "ODD", "all"]
    assert rows["Q4_K"] == "2 tensors, 2,000,000 weights, 1.1 MB (4.5 bits a weight)"
    assert rows["ODD"] == "1 tensor, 5 weights"
    assert rows["all"] == "4 tensors, 2,000,015 weights, at least 1.1 MB"


def test_architecture_in_words_and_the_rest_as_it_is() -> None:
    info = {
        "general.architecture": "gemma3", "gemma3.block_count": 4, "gemma3.attention.head_count_kv": [0, 8, 0, 8], "gemma3.odd": 1,
        "general.license": "x",
    }  # fmt: skip
    found = told(ModelDetail("ollama", "x", info=info))
    assert dict(found["architecture"].rows) == {"architecture": "gemma3", "layers": "4", "KV heads": "0 or 8 by layer"}
    assert dict(found["metadata"].rows) == {"gemma3.odd": "1", "general.license": "x"}
    assert "architecture" not in told(ModelDetail("ollama", "x", info={"general.architecture": ["odd"]}))


def test_X23_an_unusual_name_says_so() -> None:
    odd = Model("ollama", "l\u2039U+0430\u203ama", "l\u0430ma")
    assert dict(told(None, odd)["model"].rows)["unusual"] == UNUSUAL
    assert "unusual" not in dict(told(None)["model"].rows)


def test_H19_a_tensor_of_impossible_size_is_no_exception() -> None:
    tensors = (("blk.0.attn_q.weight", "F16", (2**62,) * 20), ("blk.1.attn_q.weight", "F16", (4, 4)))
    found = sections(Model("box", "a:1", "a:1"), ModelDetail("box", "a:1", tensors=tensors))
    assert any("2 tensors" in text for section in found for _name, text in section.rows)
