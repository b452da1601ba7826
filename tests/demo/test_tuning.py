"""The demo's server where models are tuned: options of a load, and what its levels answer."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tui.core.clock import SYSTEM
from tui.core.levels import agree
from tui.core.models import RunningModel
from tui.demo.measured import measured_answer
from tui.providers.base import Provider
from tui.services.library.tuning_measure import PROMPTS, measure


async def loaded(demo: Provider) -> RunningModel:
    (one,) = await demo.running()
    return one


async def test_layers_batch_and_context_decide_where_it_is_and_what_it_takes(demo: Provider) -> None:
    await demo.load("qwen3:8b")
    plain = await loaded(demo)
    assert plain.vram == plain.size
    await demo.load("qwen3:8b", options={"num_gpu": 10})
    split = await loaded(demo)
    assert split.size == plain.size
    assert split.vram == pytest.approx((plain.size or 0) * 10 / 37, rel=0.01)
    await demo.load("qwen3:8b", options={"num_gpu": 99, "num_batch": 1024, "num_ctx": 8192})
    larger = await loaded(demo)
    assert (larger.vram, larger.context) == (larger.size, 8192)
    assert (larger.size or 0) > (plain.size or 0) + 310_000_000


async def test_its_answers_are_the_coarser_the_earlier_another(demo: Provider) -> None:
    for prompt in PROMPTS:
        assert measured_answer(prompt, "F16"), prompt
    assert measured_answer("Which quantization?", "F16") == ""
    model = next(model for model in await demo.models() if model.key == "llama3.2:3b")
    whole = await measure(demo, model, {}, SYSTEM)
    assert [answer.text for answer in whole.answers][1] == "2, 3, 5, 7, 11, 13, 17, 19"
    shares = []
    for level in ("F16", "Q8_0", "Q4_K_M", "Q4_K_S", "Q2_K"):
        answers = [
            replace(answer, text=measured_answer(prompt, level), cut=False) for prompt, answer in zip(PROMPTS, whole.answers, strict=True)
        ]
        full = [replace(answer, text=measured_answer(prompt, "F16")) for prompt, answer in zip(PROMPTS, answers, strict=True)]
        shares.append(agree(full, answers)[0])
    assert shares[0] == 1.0
    assert shares == sorted(shares, key=lambda share: -(share or 0))
    assert len(set(shares)) == 5
