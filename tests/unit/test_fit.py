"""The worked example of the Ollama reference (section 6.5), the formulas, and verdicts."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.support.llama import INFO
from tui.core.fit import (
    KV_BYTES,
    Card,
    Era,
    Fit,
    Machine,
    Need,
    Pace,
    Served,
    Shape,
    Subject,
    Verdict,
    era_of,
    estimate,
    judge,
    kv_cache,
    largest_parameters,
    load_of,
    need_of,
    place,
    served_by,
    shape_of,
)
from tui.core.fit_learn import Lessons
from tui.core.models import ModelDetail

GB = 1_000_000_000
TENSORS = (("token_embd.weight", "Q4_K", (4096, 128256)), ("output.weight", "Q6_K", (4096, 128256)))
LLAMA = ModelDetail("ollama", "llama3.1:8b", info=INFO, tensors=TENSORS)
WEIGHTS = 4_920_738_944


def shape(detail: ModelDetail = LLAMA) -> Shape:
    made = shape_of(detail)
    assert made is not None
    return made


def of(architecture: str, layers: int = 12, **keys: Any) -> Shape:
    """The shape of a model of an architecture; `attention.x` is written `attention_x`."""
    info = {f"{architecture}.{re.sub('^attention_', 'attention.', name)}": value for name, value in keys.items()}
    base = {
        "general.architecture": architecture,
        f"{architecture}.block_count": layers,
        f"{architecture}.embedding_length": 1024,
        f"{architecture}.attention.head_count": 8,
    }
    return shape(ModelDetail("p", "m", info={**base, **info}))


# --- the worked example ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("context", "kind", "expected"),
    [(1, "f16", 131_072), (8192, "f16", 1_073_741_824), (8192, "q8_0", 570_425_344), (8192, "q4_0", 301_989_888),
     (32768, "f16", 4_294_967_296), (32768, "q8_0", 2_281_701_376)],
)  # fmt: skip
def test_kv_cache_of_the_worked_example(context: int, kind: str, expected: int) -> None:
    assert kv_cache(shape(), context, kind=kind) == expected


def test_need_of_the_worked_example() -> None:
    need = estimate(WEIGHTS, shape(), 8192)
    assert need.ram == 295_501_824
    assert need.weights == 4_625_237_120
    assert need.compute == 312_999_936
    assert need.total == pytest.approx(6.01e9, rel=0.01)


@pytest.mark.parametrize(
    ("context", "kind", "told"),
    [(8192, "f16", 6.01e9), (32768, "f16", 9.23e9), (32768, "q8_0", 7.22e9)],
)
@pytest.mark.parametrize("tensors", [TENSORS, ()])
def test_the_formula_stays_within_15_percent_of_the_reference(context: int, kind: str, told: float, tensors: Any) -> None:
    known = dataclasses.replace(LLAMA, tensors=tensors)
    assert estimate(WEIGHTS, shape(known), context, Served(kv_type=kind)).total == pytest.approx(told, rel=0.15 if not tensors else 0.01)


def test_the_rule_of_thumb_is_near_the_worked_example_too() -> None:
    assert estimate(WEIGHTS, None, 8192).total == pytest.approx(6.01e9, rel=0.15)


@pytest.mark.parametrize(("era", "told"), [(Era.B, 6.5e9), (Era.C, 7.5e9)])
def test_what_must_be_free_for_the_worked_example(era: Era, told: float) -> None:
    served = Served(era)
    need = estimate(WEIGHTS, shape(), 8192, served)
    assert need.total + served.margin == pytest.approx(told, rel=0.01)
    enough = Machine(32 * GB, 20 * GB, 8 * GB, int(told * 1.01), 1)
    assert judge(need, enough, served).verdict is Verdict.TIGHT
    assert judge(need, dataclasses.replace(enough, gpu_free=int(told * 0.98)), served).verdict is Verdict.SLOW


def recorded(model: str) -> dict[int, int]:
    """Bytes that a recorded server told of a load, by its context."""
    found = {}
    for line in (Path(__file__).parents[1] / "recordings/ollama-0.24/chat.jsonl").read_text("utf-8").splitlines():
        data = json.loads(line).get("data", "")
        if '"size_vram"' in data:
            found |= {one["context_length"]: one["size"] for one in json.loads(data)["models"] if one["name"] == model}
    return found


TINY = ModelDetail(
    "p",
    "lab-f32",
    info={
        "general.architecture": "llama",
        "llama.block_count": 2,
        "llama.embedding_length": 1024,
        "llama.attention.head_count": 4,
        "llama.attention.head_count_kv": 2,
        "llama.vocab_size": 298,
        "llama.context_length": 2048,
    },
)


def test_what_a_recorded_server_told_of_two_contexts_is_the_cache_between_them() -> None:
    told = recorded("lab-f32:latest")
    assert told[1024] - told[256] == kv_cache(shape(TINY), 1024) - kv_cache(shape(TINY), 256)


def test_one_recorded_load_tells_the_other_to_the_byte() -> None:
    told = recorded("lab-f32:latest")
    subject = Subject(77_967_776, shape(TINY), 2048, family="llama", provider="p", digest="1ece", name="lab-f32")
    served = Served(Era.B)
    seen = load_of(subject, 1024, served, size=told[1024], vram=0)
    need = need_of(subject, 256, served, Lessons([seen]))
    assert (need.total + need.ram, need.basis) == (told[256], "fitted")


# --- shapes ------------------------------------------------------------------------------------------------------------


def test_context_is_cut_to_the_trained_length() -> None:
    assert estimate(WEIGHTS, shape(), 10_000_000).kv_cache == kv_cache(shape(), 131_072)


def test_slots_multiply_the_cache() -> None:
    assert kv_cache(shape(), 4096, slots=4) == kv_cache(shape(), 16384)
    assert estimate(WEIGHTS, shape(), 4096, Served(slots=4)).kv_cache == estimate(WEIGHTS, shape(), 16384).kv_cache


def test_sliding_window_layers_hold_their_window_only() -> None:
    made = of("gemma3", attention_head_count_kv=4, attention_sliding_window=512)
    per_token = 4 * 256 * KV_BYTES["f16"]
    assert kv_cache(made, 32768) == int(2 * 32768 * per_token + 10 * 1024 * per_token)


def test_a_pattern_of_windows_counts_as_number_or_layer_by_layer() -> None:
    every = of("strange", attention_head_count_kv=4, attention_sliding_window=512, attention_sliding_window_pattern=4)
    each = of(
        "strange", attention_head_count_kv=4, attention_sliding_window=512, attention_sliding_window_pattern=[True, True, True, False] * 3
    )
    assert every.windowed == each.windowed
    assert every.windowed.count(False) == 3
    assert kv_cache(every, 100_000) < kv_cache(of("strange", attention_head_count_kv=4), 100_000) / 3


def test_even_layers_of_gpt_oss_have_the_window() -> None:
    made = of("gptoss", attention_head_count_kv=8, attention_sliding_window=128)
    assert made.windowed[:4] == (True, False, True, False)


def test_latent_attention_caches_ranks_not_heads() -> None:
    made = of("deepseek2", 10, attention_kv_lora_rank=512, **{"rope.dimension_count": 64})
    assert kv_cache(made, 1000) == 1000 * 10 * 576 * 2


def test_heads_layer_by_layer_leave_layers_without_a_cache() -> None:
    made = of("nemotron_h", 4, attention_head_count_kv=[0, 8, 0, 8])
    assert kv_cache(made, 1000) == 2 * 1000 * 8 * 256 * 2


def test_recurrent_layers_cost_the_same_at_any_context() -> None:
    keys: dict[str, Any] = {"ssm.conv_kernel": 4, "ssm.inner_size": 2048, "ssm.state_size": 128, "ssm.group_count": 1}
    made = of("qwen3next", 4, attention_head_count_kv=2, full_attention_interval=4, **keys)
    assert made.kv_heads == (0, 0, 0, 2)
    assert made.state == 3 * (3 * (2048 + 2 * 128) + 128 * 2048) * 4
    assert kv_cache(made, 2000) - kv_cache(made, 1000) == 1000 * 2 * 256 * 2
    assert kv_cache(made, 1000, slots=2) == 2000 * 2 * 256 * 2 + 2 * made.state


def test_layers_that_share_a_cache_have_none_of_their_own() -> None:
    made = of("gemma3n", 12, attention_head_count_kv=2, attention_shared_kv_layers=4)
    assert made.kv_heads == (2,) * 8 + (0,) * 4


def test_models_that_read_a_text_at_once_have_no_cache() -> None:
    assert kv_cache(of("nomic-bert"), 2048) == 0


def test_all_experts_are_in_memory_and_few_are_read() -> None:
    made = of("qwen3moe", expert_count=128, expert_used_count=8)
    assert 0.1 < made.active < 0.2
    need = estimate(20 * GB, made, 4096)
    assert need.weights == 20 * GB
    assert need.active == made.active


def test_weights_are_those_of_the_tensors_and_the_rest_is_the_projector() -> None:
    tensors = (*TENSORS, ("blk.0.ffn_down.weight", "Q4_K", (4096, 1_000_000)))
    made = shape(dataclasses.replace(LLAMA, tensors=tensors))
    text = int(4096 * 128256 * (4.5 + 6.5625) / 8 + 4096 * 1_000_000 * 4.5 / 8)
    assert made.tensors == text
    need = estimate(text + 850_000_000, made, 4096)
    assert need.projector == 850_000_000
    assert need.weights + need.ram == text


def test_an_unknown_type_of_tensor_leaves_the_size_of_the_file() -> None:
    made = shape(dataclasses.replace(LLAMA, tensors=(*TENSORS, ("blk.0.x", "Q9_X", (4096, 1_000_000)))))
    assert made.tensors == 0
    assert estimate(WEIGHTS, made, 4096).projector == 0


def test_pictures_in_the_same_file_are_counted_apart() -> None:
    made = shape(dataclasses.replace(LLAMA, tensors=(*TENSORS, ("v.blk.0.weight", "F16", (1000, 100_000)))))
    need = estimate(WEIGHTS, made, 4096)
    assert need.projector == 200_000_000
    assert need.weights + need.ram + need.projector == WEIGHTS


def test_a_tied_embedding_is_on_the_gpu_too() -> None:
    made = shape(dataclasses.replace(LLAMA, tensors=TENSORS[:1]))
    assert estimate(WEIGHTS, made, 4096).ram == 0


@pytest.mark.parametrize(
    "info",
    [{}, {"general.architecture": 3}, {"general.architecture": "x", "x.block_count": "many"}, {**INFO, "llama.block_count": 10**9},
     {**INFO, "llama.block_count": -4}, {**INFO, "llama.embedding_length": 1e300}, {**INFO, "llama.block_count": float("nan")}],
)  # fmt: skip
def test_metadata_that_does_not_say_enough_has_no_shape(info: dict[str, Any]) -> None:
    assert shape_of(ModelDetail("p", "m", info=info)) is None


@pytest.mark.parametrize(
    "strange",
    [{"llama.attention.head_count_kv": None}, {"llama.attention.head_count_kv": ["a"] * 32}, {"llama.attention.head_count_kv": [8] * 31},
     {"llama.attention.head_count_kv": [-3] * 32}, {"llama.attention.head_count": [32] * 32}, {"llama.context_length": -1},
     {"llama.attention.sliding_window": -7}, {"llama.vocab_size": "x"}, {"llama.attention.head_count_kv": -8}],
)  # fmt: skip
def test_X01_strange_metadata_never_gives_less_than_nothing(strange: dict[str, Any]) -> None:
    need = estimate(WEIGHTS, shape(ModelDetail("p", "m", info={**INFO, **strange})), 8192)
    assert min(need.weights, need.kv_cache, need.compute, need.total) >= 0


# --- servers -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "version", "era"),
    [("ollama", "0.11.4", Era.A), ("ollama", "0.12.0", Era.B), ("ollama", "0.24.0", Era.B), ("ollama", "0.33.0-rc1", Era.C),
     ("ollama", "", Era.C), ("ollama", "1.0", Era.C), ("llamacpp", "b9000", Era.LLAMA_CPP), ("vllm", "", Era.OTHER)],
)  # fmt: skip
def test_the_era_of_a_server(kind: str, version: str, era: Era) -> None:
    assert era_of(kind, version) is era


def test_what_is_set_wins_over_what_was_seen_and_that_over_the_version() -> None:
    seen = Served(Era.C, "q8_0", True, 4, told=True)
    assert served_by("ollama", "0.33.0", seen=seen).kv_type == "q8_0"
    assert served_by("ollama", "0.33.0", seen=seen).slots == 4
    made = served_by("ollama", "0.33.0", kv_type="q4_0", flash="off", slots=2, seen=seen)
    assert (made.kv_type, made.flash, made.slots) == ("q4_0", False, 2)
    assert served_by("ollama", "0.11.0").flash is False
    assert not served_by("ollama", "0.33.0").told


def test_a_quantized_cache_without_flash_attention_is_none() -> None:
    assert Served(kv_type="q8_0", flash=False).cache_type == "f16"
    without = estimate(WEIGHTS, shape(), 32768, Served(kv_type="q8_0", flash=False))
    assert without.kv_cache == kv_cache(shape(), 32768)
    assert without.compute > estimate(WEIGHTS, shape(), 32768).compute + 4 * 512 * 32768 * 32


# --- verdicts ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("machine", "verdict"),
    [
        (Machine(32 * GB, 20 * GB, 24 * GB, 23 * GB, 1), Verdict.GOOD),
        (Machine(32 * GB, 20 * GB, 8 * GB, int(7.6 * GB), 1), Verdict.TIGHT),
        (Machine(32 * GB, 20 * GB, 8 * GB, 2 * GB, 1, gpu_ours=6 * GB), Verdict.AFTER_UNLOAD),
        (Machine(32 * GB, 20 * GB, 4 * GB, 4 * GB, 1), Verdict.SLOW),
        (Machine(4 * GB, 2 * GB, 4 * GB, 4 * GB, 1), Verdict.NO),
        (Machine(32 * GB, 20 * GB), Verdict.GOOD),
        (Machine(8 * GB, 4 * GB), Verdict.NO),
        (Machine(32 * GB, 20 * GB, 16 * GB, 15 * GB, 2), Verdict.GOOD),
        (Machine(32 * GB, 20 * GB, 12 * GB, 11 * GB, 2), Verdict.GOOD),
        (Machine(32 * GB, 20 * GB, 12 * GB, 11 * GB, 2, cards=(Card(11 * GB, 10 * GB), Card(GB, GB))), Verdict.GOOD),
        (Machine(16 * GB, 9 * GB, 12 * GB, 9 * GB, 1, unified=True), Verdict.GOOD),
        (Machine(8 * GB, 6 * GB, 6 * GB, 6 * GB, 1, unified=True), Verdict.NO),
    ],
)
def test_verdicts(machine: Machine, verdict: Verdict) -> None:
    assert judge(estimate(WEIGHTS, shape(), 8192), machine).verdict is verdict


def test_what_is_missing_is_named() -> None:
    fit = judge(estimate(WEIGHTS, shape(), 8192), Machine(8 * GB, 4 * GB))
    assert fit.over > 2 * GB


def test_a_model_is_put_on_one_gpu_or_split_or_spilled() -> None:
    need = estimate(20 * GB, shape(), 8192)
    alone = place(need, [2 * GB, 40 * GB])
    assert (alone.gpu, alone.whole, alone.layers) == ((0, need.total), True, 32)
    split = place(need, [15 * GB, 15 * GB])
    assert split.whole and all(split.gpu)
    assert sum(split.gpu) == pytest.approx(need.total + need.compute, rel=0.01)
    spilled = place(need, [12 * GB])
    assert not spilled.whole and spilled.layers is not None and 10 < spilled.layers < 20
    assert spilled.gpu[0] <= 12 * GB - Served().margin
    assert sum(spilled.gpu) + spilled.ram == pytest.approx(need.whole, rel=0.01)
    assert place(need, [GB]).layers == 0
    assert place(need, [40 * GB], cap=8).layers == 8


def test_what_is_put_on_gpus_is_never_more_than_they_have() -> None:
    for gigabytes in range(1, 60, 3):
        need = estimate(gigabytes * GB, shape(), 16384)
        free = [7 * GB, 11 * GB, 3 * GB]
        placed = place(need, free)
        assert all(size <= room for size, room in zip(placed.gpu, free, strict=True))
        assert placed.whole == (placed.layers == 32 and placed.ram == need.ram)


def test_layers_that_fill_no_gpu_are_not_lost_by_rounding() -> None:
    fit = judge(Need(9 * GB, 0, 0, layers=32), Machine(64 * GB, 60 * GB, 20 * GB, 14 * GB, 2))
    assert fit.verdict in (Verdict.GOOD, Verdict.TIGHT)


def test_a_loaded_model_is_loaded() -> None:
    assert judge(Need(1, 1, 1), Machine(GB, 0), loaded=True) == Fit(Verdict.LOADED, Need(1, 1, 1))


def test_a_slow_model_says_how_slow() -> None:
    need = estimate(20 * GB, shape(), 8192)
    fit = judge(need, Machine(64 * GB, 50 * GB, 12 * GB, 11 * GB, 1), pace=Pace(500e9, 40e9))
    assert fit.verdict is Verdict.SLOW
    assert fit.rate is not None and 2 < fit.rate < 6
    assert judge(need, Machine(64 * GB, 50 * GB, 12 * GB, 11 * GB, 1)).rate is None


def test_what_fits_well_grows_with_the_card() -> None:
    small = largest_parameters(Machine(32 * GB, 22 * GB, 8 * GB, 8 * GB, 1))
    large = largest_parameters(Machine(32 * GB, 22 * GB, 24 * GB, 24 * GB, 1))
    assert 5 <= small <= 12
    assert 30 <= large <= 40


def test_H19_a_tensor_of_impossible_size_is_no_exception() -> None:
    info = {"general.architecture": "llama", "llama.block_count": 32, "llama.embedding_length": 4096}
    shape = shape_of(ModelDetail("box", "a", info=info, tensors=(("blk.0.attn_q.weight", "F16", (2**62,) * 20),)))
    assert shape is not None and 0 < shape.tensors < 1 << 60
