"""ls with filters and orders, show in full, compare, pin and unpin."""

from __future__ import annotations

import pytest

from tests.cli.conftest import HOSTILE, Run
from tests.support.fault_server import Exchange, FaultServer
from tests.support.screen import FORBIDDEN


def names(said: object) -> list[str]:
    return [line.split()[0] for line in said.lines[1:]]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("qwen", lambda model: "qwen" in model["name"]),
        (">4g", lambda model: model["size"] > 4e9),
        ("!qwen <5g", lambda model: "qwen" not in model["name"] and model["size"] < 5e9),
        ("quant:f16", lambda model: model["quantization"].lower().startswith("f16")),
        ("<4b", lambda model: model["parameters"] and (float(model["parameters"][:-1]) < 4 or model["parameters"][-1] == "M")),
    ],
)
def test_ls_filters(ollama: str, run: Run, text: str, holds: object) -> None:
    every = run("ls", "--json").json["models"]
    wanted = [model["name"] for model in every if holds(model)]  # type: ignore[operator]
    said = run("ls", "--filter", text)
    assert (names(said) if said.out else []) == wanted
    assert 0 < len(wanted) < len(every)


def test_ls_asks_for_what_the_filter_needs(ollama: str, run: Run) -> None:
    every = {model["name"] for model in run("ls", "--json").json["models"]}
    assert run("load", "qwen3:8b").code == 0
    assert names(run("ls", "--filter", "loaded")) == ["qwen3:8b"]
    seeing = {model["name"] for model in run("ls", "--filter", "can:vision", "--json").json["models"]}
    assert seeing < every
    assert all("vision" in run("show", name, "--json").json["abilities"] for name in seeing)
    assert run("ls", "--filter", "update").code == 1
    said = run("ls", "--filter", "nothing holds this")
    assert said.code == 1 and "None of" in said.err and not said.out


def test_ls_filters_by_what_fits_here(ollama: str, run: Run) -> None:
    every = [model["name"] for model in run("ls", "--json").json["models"]]
    fits, not_ = (run("ls", "--filter", text, "--json").json["models"] for text in ("fits", "!fits"))
    assert sorted(model["name"] for model in (*fits, *not_)) == sorted(every)


def test_a_saved_filter_by_its_name(ollama: str, run: Run, configure) -> None:
    configure('[appearance]\nfilters = { "the small" = "<1g" }\n')
    assert names(run("ls", "--filter", "the small")) == names(run("ls", "--filter", "<1g"))


def test_ls_sorts(ollama: str, run: Run) -> None:
    sizes = [model["size"] for model in run("ls", "--sort", "size", "--json").json["models"]]
    assert sizes == sorted(sizes, reverse=True)
    assert [model["size"] for model in run("ls", "--sort", "si", "--reverse", "--json").json["models"]] == sorted(sizes)
    assert names(run("ls", "--sort", "name")) == sorted(names(run("ls")), key=str.casefold)
    assert "CONTEXT" in run("ls", "--sort", "context").lines[0]
    wrong = run("ls", "--sort", "colour")
    assert wrong.code == 2 and "There is no order colour" in wrong.err


def test_show_tells_everything(ollama: str, run: Run) -> None:
    said = run("show", "qwen3:8b")
    for title in ("architecture:", "parameters:", "template:", "licence:", "tensors:"):
        assert title in said.lines or title == "tensors:", title
    assert any(line.startswith("layers") for line in said.lines)
    told = run("show", "qwen3:8b", "--json").json
    assert told["info"]["general.architecture"] == "qwen3"
    assert told["history"] == [] and told["update"] is None


def test_X01_show_and_compare_of_hostile_models_are_clean(server: FaultServer, run: Run) -> None:
    async def tell(exchange: Exchange) -> None:
        bad = "\x1b[31mX\x9b2J\u202e[b]"
        info = {"general.architecture": bad, f"{bad}.block_count": bad, bad: [bad] * 3}
        tensors = [{"name": bad, "type": bad, "shape": [1, 2]}]
        await exchange.json({
            "license": bad, "template": bad, "system": bad, "parameters": f"stop {bad}", "modelfile": bad, "model_info": info,
            "projector_info": {bad: bad}, "tensors": tensors, "messages": [{"role": bad, "content": bad}], "details": {"family": bad},
        })  # fmt: skip

    server.routes["/api/show"] = tell
    for said in (run("show", HOSTILE), run("compare", HOSTILE, "tiny:latest"), run("ls", "--filter", "tiny")):
        assert said.code == 0 and said.out
        assert not FORBIDDEN & set(said.out.replace("\n", "") + said.err.replace("\n", ""))


def test_compare_says_what_differs(ollama: str, run: Run) -> None:
    first, second = (model["name"] for model in run("ls", "--json").json["models"][:2])
    said = run("compare", first, second)
    assert said.lines[0].split()[:2] == [first, second]
    lines = {line.split()[0]: line for line in said.lines[1:]}
    assert lines["size"].endswith("differs") and not lines["provider"].endswith("differs")
    assert lines["fits"].split()[3] in ("loaded", "good", "tight", "after", "slow", "no")
    found = run("compare", first, second, "--json").json
    assert [one["model"]["name"] for one in found] == [first, second] and all(one["fits"] for one in found)
    assert run("compare", first).code == 2


def test_pin_and_unpin(ollama: str, run: Run, home) -> None:
    assert run("pin", "qwen3:8b").code == 0
    assert 'pinned = ["qwen3:8b"]' in (home / "config.toml").read_text("utf-8")
    assert names(run("ls", "--filter", "pinned")) == ["qwen3:8b"]
    assert run("pin", "qwen3:8b").code == 0
    assert "never updated" in run("show", "qwen3:8b").out
    assert run("unpin", "nobody").code == 1
    assert run("unpin", "library/qwen3:8b").code == 0
    assert run("ls", "--filter", "pinned").code == 1
    assert run("pin", "qwen3:8b", readonly=True).code == 3
