"""What a model is made from: where that is gone when its turn comes, nothing is made, and nothing fetched."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.settings import having
from tests.worker.lab import first
from tests.worker.test_uploads import BASE, MAKING, Bay, failed, lab, weights
from tui.core.errors import FailureKind
from tui.core.jobs import JobKind, JobState, Wait

__all__ = ["lab", "weights"]

SPELLED = ["QWEN3:8B", "library/qwen3:8b", "/m/blobs/sha256-1", f"@sha256:{'a' * 64}", f"sha256-{'a' * 64}", "./w.gguf"]


@pytest.mark.parametrize("kind", MAKING)
async def test_a_base_that_is_gone_is_not_fetched_unasked(lab: Bay, kind: JobKind, weights: Path) -> None:
    """Ollama pulls what a create names and it lacks, whatever its size."""
    lab.box.listed.clear()
    files = {"adapters": {"lora.gguf": str(weights)}} if kind is JobKind.UPLOAD else {"quantize": "q8_0"}
    job = await lab.ended(await lab.add(kind, "mine:latest", **{"from": "qwen3", **files}))
    failed(job, "Nothing was made: qwen3:latest, which mine:latest is made from, is not installed any more", FailureKind.NOT_FOUND)
    assert job.failure is not None
    assert (job.failure.where, job.failure.remedy) == (lab.box.url, "Pull qwen3:latest, then retry")
    assert (lab.box.asked("/api/create"), lab.box.asked("/api/pull")) == (0, 0)


async def test_a_base_that_goes_while_the_job_waits_is_looked_for_at_its_turn(lab: Bay) -> None:
    lab.bench.settings = having(lab.bench.settings, pulls={"at_once": 1})  # the pull beside has the place
    number = await lab.add(JobKind.QUANTIZE, "mine:latest", **{"from": BASE, "quantize": "q8_0"})
    await lab.until(lambda job: job.wait is Wait.PLACE, number)
    lab.box.listed.remove(BASE)
    lab.bench.settings = having(lab.bench.settings, pulls={"at_once": 2})
    job = await lab.ended(number)
    assert (job.state, lab.box.asked("/api/create")) == (JobState.FAILED, 0)
    lab.box.listed.append(BASE)
    await lab.bench.table.retry([number])
    await lab.until(lambda job: job.state is JobState.DONE, number)
    assert lab.box.asked("/api/create") == 1


@pytest.mark.parametrize("base", SPELLED)
async def test_other_spellings_and_what_is_no_name_are_asked_for(lab: Bay, base: str) -> None:
    job = await lab.ended(await lab.add(JobKind.CREATE, "mine:latest", **{"from": base, "system": "Hi"}))
    assert (job.state, lab.box.asked("/api/create")) == (JobState.DONE, 1)


async def test_a_list_that_cannot_be_had_is_no_list_without_the_base(lab: Bay) -> None:
    first(lab, lambda exchange: exchange.json({"error": "busy"}, 500), "/api/tags")
    job = await lab.at_rest(await lab.add(JobKind.QUANTIZE, "mine:latest", **{"from": BASE, "quantize": "q8_0"}))
    assert (job.state, job.wait, lab.box.asked("/api/create")) == (JobState.WAITING, Wait.RETRY, 0)
    await lab.pass_(lab.due_in(job.id))
    assert (await lab.ended(job.id)).state is JobState.DONE
