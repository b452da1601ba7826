"""The shipped catalogue of models."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

from tui.core.capabilities import Ability
from tui.providers.library import load_library, read_library

ROOT = Path(__file__).parents[2]


def test_the_shipped_table_is_whole() -> None:
    library = load_library()
    assert len(library.models) == 235
    assert library.snapshot == "2026-08-21"
    assert all(model.name and model.pulls for model in library.models)
    assert sum(len(model.tags) for model in library.models) == 710


def test_sizes_are_those_of_the_tag() -> None:
    library = load_library()
    eight = library.size_of("qwen3:8b")
    assert eight is not None
    assert 5.1e9 < eight < 5.3e9
    assert library.size_of("qwen3") == library.size_of("library/QWEN3:latest") == eight
    assert library.size_of("qwen3:nosuch") is None
    assert library.size_of("ann/qwen3:8b") is None
    assert library.size_of("hf.co/org/qwen3:8b") is None
    assert library.size_of("not a name!") is None
    assert library.size_of("gemma4:cloud") is None


def test_search_needs_every_word_and_puts_names_first() -> None:
    library = load_library()
    names = [model.name for model in library.search("qwen vision")]
    assert names
    assert all("vision" in model.words for model in library.search("qwen vision"))
    assert library.search("embed")[0].name.startswith("embed")
    assert library.search("nosuchword") == ()
    assert library.search("  ") == library.models


def test_completion_offers_models_then_tags() -> None:
    library = load_library()
    assert library.complete("qwen3", 3)[0].startswith("qwen3")
    assert len(library.complete("q", 5)) == 5
    assert library.complete("qwen3:8") == ("qwen3:8b",)
    assert "qwen2.5-coder" in library.complete("coder", 20)
    assert library.complete("nosuch:") == ()
    assert len(library.complete("", 4)) == 4


def test_abilities_and_ranges() -> None:
    library = load_library()
    embed = library.model("nomic-embed-text")
    assert embed is not None
    assert Ability.EMBEDDING in embed.capabilities
    assert Ability.COMPLETION not in embed.capabilities
    assert embed.tag("latest") is embed.default
    coder = library.model("qwen2.5-coder:7b")
    assert coder is not None
    assert coder.size_range == "0.5b to 32b"
    assert coder.licence == "apache-2.0"


def test_code_models_are_there_at_four_and_eight_bits() -> None:
    library = load_library()
    wanted = {
        "codellama:7b-code-q4_K_M": ("Q4_K_M", 4_100_000_000), "codellama:7b-code-q8_0": ("Q8_0", 7_200_000_000),
        "codellama:13b-instruct-q4_K_M": ("Q4_K_M", 7_900_000_000), "codellama:34b-code-q8_0": ("Q8_0", 36_000_000_000),
        "tinyllama:1.1b-chat-v1-q4_K_M": ("Q4_K_M", 669_000_000), "tinyllama:1.1b-chat-v1-q8_0": ("Q8_0", 1_200_000_000),
    }  # fmt: skip
    for name, facts in wanted.items():
        tag = library.tag_of(name)
        assert tag is not None
        assert (tag.quant, tag.bytes) == facts
        assert tag.dated == "2026-03-22" and len(tag.digest12) == 12 and not tag.estimated
    codellama = library.model("codellama")
    assert codellama is not None
    assert codellama.code and Ability.INSERT in codellama.capabilities and codellama.size_range == "7b to 70b"
    assert "codellama:7b-code-q8_0" in library.complete("codellama:7b-code-q8")
    same = library.tag_of("codellama:13b")
    assert same is not None and same.quant == "Q4_0"  # one digest with 13b-instruct-q4_0


def test_tags_have_sizes_and_models_have_what_they_can() -> None:
    library = load_library()
    sized = [tag for model in library.models for tag in model.tags if not tag.cloud]
    assert all(tag.bytes for tag in sized)
    assert all(model.capabilities for model in library.models)
    assert sum(1 for model in library.models if model.licence) == 101
    for ability in (Ability.VISION, Ability.TOOLS, Ability.THINKING, Ability.EMBEDDING, Ability.INSERT):
        assert any(ability in model.capabilities for model in library.models)
    assert not any(model.unusual for model in library.models)


def test_lines_that_make_no_sense_are_left_out_and_text_is_cleaned() -> None:
    lines = [
        "model,tag,bytes,context,licence,snapshot",
        "a\x1b[2J,latest,12,x,l\x1b]0;t\x07,2026-01-02",
        ",latest,1,1,,",
        "b,7b,-5,99999999999999999999,,",
        "short",
    ]
    library = read_library(lines)
    assert [model.name for model in library.models] == ["a␛[2J", "b", "short"]
    assert library.models[0].licence == "l␛]0;t␇"
    assert (library.models[1].tags[0].bytes, library.models[1].tags[0].context) == (None, None)
    assert read_library([]).models == ()


def test_the_script_makes_the_table(tmp_path: Path) -> None:
    wanted = "name,default_digest12,default_bytes_exact,vision,tools,thinking,embedding,audio,licence,pulls_approx,"
    wanted += "default_family,default_params,default_quant,snapshot"
    (tmp_path / "library.csv").write_text(
        f"{wanted}\nm,aa,123,yes,no,yes,no,no,mit,5,f,8B,Q4,2026-08-21\nn,,,no,no,no,no,no,,6,,,,2026-08-21\n"
    )
    tags = "name,tag,digest12,download_bytes_approx,context_tokens,cloud"
    (tmp_path / "tags.csv").write_text(f"{tags}\nm,latest,aa,100,2048,no\nm,8b,aa,100,2048,no\nm,cloud,bb,,,yes\n")
    (tmp_path / "more.csv").write_text(
        f"{tags},snapshot\nm,8b,zz,1,1,no,2026-03-22\nm,8b-chat-q8_0,cc,200,2048,no,2026-03-22\nm,8b-q4_1,aa,100,2048,no,2026-08-21\n"
    )
    tables = [str(tmp_path / name) for name in ("library.csv", "tags.csv", "more.csv")]
    script = [sys.executable, str(ROOT / "scripts" / "make_catalogue.py"), *tables]
    made = subprocess.run(script, capture_output=True, text=True, check=True).stdout
    rows = list(csv.DictReader(made.splitlines()))
    assert [(row["model"], row["tag"], row["bytes"], row["cloud"]) for row in rows] == [
        ("m", "latest", "123", ""),
        ("m", "8b", "123", ""),
        ("m", "cloud", "", "yes"),
        ("m", "8b-chat-q8_0", "200", ""),
        ("m", "8b-q4_1", "123", ""),
        ("n", "", "", ""),
    ]
    assert [(row["tag"], row["tag_quant"], row["dated"]) for row in rows if row["tag_quant"]] == [
        ("latest", "Q4", ""),
        ("8b", "Q4", ""),
        ("8b-chat-q8_0", "Q8_0", "2026-03-22"),
        ("8b-q4_1", "Q4", ""),
    ]
    library = read_library(made.splitlines())
    first = library.models[0]
    assert first.default is not None
    assert (first.default.tag, first.words, first.sizes) == ("latest", "chat vision thinking", ("8b",))
    assert library.models[1].default is None
