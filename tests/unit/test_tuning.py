"""Proposals for a machine, and what counts as better."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tui.core.fit import Card, Lessons, Load, Machine, Served, Shape, Subject, Verdict
from tui.core.models import RunningModel
from tui.core.tuning import Facts, Measured, advise, automatic_context, compare, layers_that_fit, propose

GB = 10**9
SHAPE = Shape(layers=32, kv_heads=(8,) * 32, key_length=128, value_length=128, embedding=4096, vocabulary=128_256, trained_context=131_072)
"""An 8B Llama, as the reference's worked example."""


def machine(vram: float, ram: float = 32, gpus: int = 1) -> Machine:
    cards = (Card(int(vram * GB), int(vram * GB)),) if gpus else ()
    return Machine(int(ram * GB), int(ram * GB), int(vram * GB) * gpus, int(vram * GB) * gpus, gpus, cards=cards)


def facts(here: Machine, **more: Any) -> Facts:
    subject = Subject(4_920_738_944, more.pop("shape", SHAPE), more.pop("trained", 131_072))
    return Facts(**{"subject": subject, "machine": here, "cores": 8, **more})


def proposed(given: Facts) -> dict[str, tuple[int | None, int]]:
    found = propose(given)
    assert all(change.effect and change.diff for change in found)
    return {change.key: (change.old, change.new) for change in found}


def test_with_room_more_context_and_larger_batches() -> None:
    given = facts(machine(24))
    assert given.context == 4096
    assert proposed(given) == {"num_ctx": (None, 8192), "num_batch": (None, 1024)}
    assert proposed(facts(machine(24), options={"num_ctx": 8192, "num_batch": 1024})) == {}
    assert proposed(facts(machine(24), trained=4096)) == {"num_batch": (None, 1024)}


def test_where_it_does_not_fit_less_context_brings_all_of_it_onto_the_gpu() -> None:
    given = facts(machine(8.5), options={"num_ctx": 65_536})
    assert given.fit(65_536).verdict is Verdict.SLOW
    context = next(change for change in propose(given) if change.key == "num_ctx")
    assert context.old == 65_536 and context.new < 65_536
    assert given.fit(context.new).verdict in (Verdict.GOOD, Verdict.TIGHT)
    assert "fits on the GPU" in context.effect


def test_layers_that_were_left_on_the_processor() -> None:
    assert proposed(facts(machine(24), options={"num_ctx": 8192, "num_batch": 1024, "num_gpu": 10}))["num_gpu"] == (10, 33)
    half = RunningModel("box", "a", "a", 6 * GB, 3 * GB, 8192)
    assert proposed(facts(machine(24), running=half, options={"num_batch": 1024}))["num_gpu"] == (None, 33)
    whole = replace(half, vram=6 * GB)
    assert "num_gpu" not in proposed(facts(machine(24), running=whole))


def test_more_layers_than_fit_are_taken_back() -> None:
    given = facts(machine(4), options={"num_gpu": 33, "num_ctx": 2048})
    assert given.fit(2048).verdict is Verdict.SLOW
    best = layers_that_fit(given, 2048)
    assert 0 < best < 32
    assert proposed(given)["num_gpu"] == (33, best)


def test_threads_are_the_physical_cores_where_the_processor_works() -> None:
    assert proposed(facts(machine(0, gpus=0), options={"num_ctx": 8192, "num_thread": 16})) == {"num_thread": (16, 8)}
    assert proposed(facts(machine(0, gpus=0), options={"num_ctx": 8192}))["num_thread"] == (None, 8)
    assert "num_thread" not in proposed(facts(machine(0, gpus=0), options={"num_thread": 8}))
    assert "num_thread" not in proposed(facts(machine(24), options={"num_thread": 16}))
    assert "num_thread" not in proposed(facts(machine(0, gpus=0), cores=None))


def test_what_chat_options_set_for_all_models_is_left_alone() -> None:
    assert proposed(facts(machine(24), fixed=frozenset({"num_ctx", "num_batch"}))) == {}


def test_the_cache_of_the_server_is_only_advised() -> None:
    (words,) = advise(facts(machine(8.5), options={"num_ctx": 32_768}))
    assert "OLLAMA_KV_CACHE_TYPE=q8_0" in words and "only advises" in words and "for all its models" in words
    assert advise(facts(machine(24), options={"num_ctx": 4096})) == advise(facts(machine(24)))
    assert advise(facts(machine(24), options={"num_ctx": 512})) == ()
    assert advise(facts(machine(8.5), options={"num_ctx": 32_768}, served=Served(kv_type="q8_0"))) == ()
    assert advise(facts(machine(8.5), shape=None)) == ()


def test_a_loaded_model_does_not_stand_in_its_own_way() -> None:
    here = replace(machine(8), cards=(Card(8 * GB, 2 * GB, 6 * GB),), gpu_free=2 * GB, gpu_ours=6 * GB)
    running = RunningModel("box", "a", "a", 6 * GB, 6 * GB, 4096)
    assert facts(here).room == here
    room = facts(here, running=running).room
    assert (room.gpu_free, room.gpu_ours, room.cards) == (8 * GB, 0, (Card(8 * GB, 8 * GB, 0),))


def test_nothing_is_known_of_the_shape() -> None:
    assert proposed(facts(machine(24), shape=None))
    assert "num_gpu" not in proposed(facts(machine(4), shape=None, options={"num_gpu": 5}))


def test_what_loads_taught_decides() -> None:
    here, context = machine(9), {"num_ctx": 16_384}
    assert facts(here, options=context).fit(16_384).verdict is Verdict.TIGHT
    weights = 4_920_738_944
    load = Load("box", "a", "d", 16_384, "f16", 1, "llama", weights, 7 * GB, 2 * GB, 8 * GB, 8 * GB)
    taught = facts(here, options=context, lessons=Lessons([load]))
    known = replace(taught, subject=replace(taught.subject, provider="box", digest="d"))
    assert known.need(16_384).total == 8 * GB
    assert known.fit(16_384).verdict is Verdict.SLOW
    assert known.need(16_384, 1024).total > 8 * GB


def test_the_context_the_server_gives_by_itself() -> None:
    assert automatic_context(machine(24)) == 4096
    assert automatic_context(machine(40)) == 32_768
    assert automatic_context(machine(80)) == 262_144


# --- better or not ---------------------------------------------------------------------------------------------------

BEFORE = Measured(load_seconds=2.0, first_token=0.5, rate=50.0, prompt_rate=800.0, memory=6 * GB, vram=6 * GB, context=4096)


@pytest.mark.parametrize(
    ("changes", "better", "word"),
    [
        ({"rate": 60.0}, True, "writes 20 % faster"),
        ({"rate": 51.0}, False, "no difference"),
        ({"rate": 60.0, "prompt_rate": 600.0}, False, "reads prompts 25 % slower"),
        ({"prompt_rate": 1000.0, "memory": 7 * GB}, True, "takes 1.0 GB more memory"),
        ({"context": 8192, "memory": 7 * GB}, True, "8k tokens of context instead of 4k"),
        ({"context": 8192, "rate": 40.0}, False, "writes 20 % slower"),
        ({"context": 2048}, False, "2k tokens of context instead of 4k"),
        ({"memory": 5 * GB}, True, "takes 1.0 GB less memory"),
        ({"rate": None}, False, "could not be compared"),
        ({"rate": 55.0, "noise": 0.12}, False, "no difference"),
        ({"rate": 80.0, "noise": 0.9}, True, "writes 60 % faster"),
    ],
)
def test_better_is_a_gain_without_a_loss_of_speed(changes: dict[str, Any], better: bool, word: str) -> None:
    found = compare(BEFORE, replace(BEFORE, **changes))
    assert found.better is better
    assert any(word in words for words in found.words), found.words
