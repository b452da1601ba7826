"""The data files: every one is valid, complete and free of contradictions."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from tui.providers.catalogue import Kind, default_ports, kinds

FOLDER = Path(__file__).parents[2] / "tui" / "catalogue"
FILES = sorted(FOLDER.glob("*.toml"))
WIDE = {"vllm", "localai", "koboldcpp", "mistralrs", "llamaswap", "tgi"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_each_file_is_valid(file: Path) -> None:
    kind = TypeAdapter(Kind).validate_python(tomllib.loads(file.read_text("utf-8")))
    assert kind.id == file.stem
    assert kind.health is not None
    assert all(0 < port < 65536 for port in kind.ports)
    for pattern in kind.process:
        re.compile(pattern)
    for wanted in (*kind.fingerprint.probes, *kind.fingerprint.needs):
        assert wanted.path.startswith("/")
    assert all(trap.endswith(".") for trap in kind.traps)


def test_every_kind_of_the_brief_is_there_in_order_of_rank() -> None:
    assert set(kinds()) == {
        *("ollama", "llamacpp", "llama_cpp_python", "vllm", "localai", "fastchat", "textgen", "lmstudio", "jan", "koboldcpp"),
        *("gpt4all", "tabbyapi", "mlx", "mistralrs", "sglang", "llamaswap", "lemonade", "tgi", "llamafile", "openai"),
    }
    ranks = [kind.rank for kind in kinds().values()]
    assert ranks == sorted(set(ranks))
    assert kinds() is kinds()


def test_no_two_rows_of_a_table_have_one_number() -> None:
    tables = [kind.fingerprint for kind in kinds().values()]
    for rows in ([row.row for table in tables for row in table.models], [row.row for table in tables for row in table.refusals]):
        assert len(rows) == len(set(rows))


def test_kinds_that_listen_everywhere_say_so_and_warn() -> None:
    assert {name for name, kind in kinds().items() if kind.all_interfaces_by_default} == WIDE
    for name in WIDE:
        assert kinds()[name].host == "0.0.0.0"
        assert any("every interface" in trap for trap in kinds()[name].traps)


def test_names_that_refer_to_kinds_exist() -> None:
    for kind in kinds().values():
        assert set(kind.fingerprint.unless) <= set(kinds())
        for name in kind.fingerprint.unless:
            assert kinds()[name].fingerprint.probes


def test_the_ports_to_look_at() -> None:
    ports = default_ports(kinds())
    assert ports[:4] == (11434, 8080, 1234, 8000)
    assert len(ports) == len(set(ports)) == 13
    assert 7860 not in ports


def test_traps_that_code_must_heed() -> None:
    known = kinds()
    assert not known["gpt4all"].chat.stream
    assert "stream_options" in known["gpt4all"].chat.forbidden_fields
    assert known["mlx"].chat.default_max_tokens == 512
    assert known["mlx"].models.downloads
    assert known["tabbyapi"].auth.required == "default_on"
    assert known["vllm"].health is not None
    assert known["vllm"].health.refused_while_loading
    assert known["sglang"].health is not None
    assert known["sglang"].health.path == "/ready"


@pytest.mark.parametrize(
    "change",
    [
        {"surprise": 1},
        {"family": "unheard"},
        {"ports": ["x"]},
        {"id": "Bad Id"},
        {"chat": {"usage": "maybe"}},
        {"health": {"path": "/", "ok": []}},
    ],
)
def test_a_wrong_file_is_refused(change: dict[str, object]) -> None:
    data = {"id": "x", "name": "X", "family": "openai", "rank": 1}
    TypeAdapter(Kind).validate_python(data)
    with pytest.raises(ValidationError):
        TypeAdapter(Kind).validate_python({**data, **change})
