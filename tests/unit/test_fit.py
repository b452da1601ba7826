"""The worked example of the Ollama reference, and verdicts."""

from __future__ import annotations

import pytest

from tui.core.fit import KV_BYTES, Machine, Verdict, estimate, judge, kv_cache, largest_parameters, shape_of
from tui.core.models import ModelDetail

LLAMA = ModelDetail(
    "ollama",
    "llama3.1:8b",
    info={
        "general.architecture": "llama",
        "llama.block_count": 32,
        "llama.embedding_length": 4096,
        "llama.attention.head_count": 32,
        "llama.attention.head_count_kv": 8,
        "llama.context_length": 131072,
        "llama.vocab_size": 128256,
    },
    tensors=(("token_embd.weight", "Q4_K", (4096, 128256)), ("output.weight", "Q6_K", (4096, 128256))),
)
WEIGHTS = 4_920_738_944


def shape():
    made = shape_of(LLAMA)
    assert made is not None
    return made


@pytest.mark.parametrize(
    ("context", "kind", "expected"),
    [(8192, "f16", 1_073_741_824), (8192, "q8_0", 570_425_344), (8192, "q4_0", 301_989_888), (32768, "f16", 4_294_967_296)],
)
def test_kv_cache_of_the_worked_example(context, kind, expected):
    assert kv_cache(shape(), context, kind=kind) == expected


def test_need_of_the_worked_example():
    need = estimate(WEIGHTS, shape(), 8192)
    assert need.ram == 295_501_824
    assert need.weights == 4_625_237_120
    assert need.compute == 312_999_936
    assert need.total == pytest.approx(6.01e9, rel=0.01)


def test_context_is_cut_to_the_trained_length():
    assert estimate(WEIGHTS, shape(), 10_000_000).kv_cache == kv_cache(shape(), 131_072)


def test_slots_multiply_the_cache():
    assert kv_cache(shape(), 4096, slots=4) == kv_cache(shape(), 16384)


def test_sliding_window_layers_hold_their_window_only():
    info = {
        "general.architecture": "gemma3",
        "gemma3.block_count": 12,
        "gemma3.embedding_length": 1024,
        "gemma3.attention.head_count": 8,
        "gemma3.attention.head_count_kv": 4,
        "gemma3.attention.sliding_window": 512,
    }
    made = shape_of(ModelDetail("p", "m", info=info))
    assert made is not None
    per_token = 4 * 256 * KV_BYTES["f16"]
    assert kv_cache(made, 32768) == int(2 * 32768 * per_token + 10 * 1024 * per_token)


def test_latent_attention_caches_ranks_not_heads():
    info = {
        "general.architecture": "deepseek2",
        "deepseek2.block_count": 10,
        "deepseek2.embedding_length": 2048,
        "deepseek2.attention.head_count": 16,
        "deepseek2.attention.kv_lora_rank": 512,
        "deepseek2.rope.dimension_count": 64,
    }
    made = shape_of(ModelDetail("p", "m", info=info))
    assert made is not None
    assert kv_cache(made, 1000) == 1000 * 10 * 576 * 2


@pytest.mark.parametrize("info", [{}, {"general.architecture": 3}, {"general.architecture": "x", "x.block_count": "many"}])
def test_metadata_that_does_not_say_enough_has_no_shape(info):
    assert shape_of(ModelDetail("p", "m", info=info)) is None


GB = 1_000_000_000


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
    ],
)
def test_verdicts(machine, verdict):
    assert judge(estimate(WEIGHTS, shape(), 8192), machine).verdict is verdict


def test_what_is_missing_is_named():
    fit = judge(estimate(WEIGHTS, shape(), 8192), Machine(8 * GB, 4 * GB))
    assert fit.over > 2 * GB


def test_what_fits_well_grows_with_the_card():
    small = largest_parameters(Machine(32 * GB, 22 * GB, 8 * GB, 8 * GB, 1))
    large = largest_parameters(Machine(32 * GB, 22 * GB, 24 * GB, 24 * GB, 1))
    assert 5 <= small <= 12
    assert 30 <= large <= 40
