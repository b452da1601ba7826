"""Imports: what fills the server's disk, and adapters beside a model that is there."""

from __future__ import annotations

from pathlib import Path

from tests.support.fault_server import Exchange
from tests.worker.fakes import MB
from tests.worker.test_uploads import Bay, digest_of, lab, weights
from tui.core.errors import FailureKind
from tui.core.jobs import JobKind, JobState, Wait

__all__ = ["lab", "weights"]


async def full(exchange: Exchange) -> None:
    length = 3 * MB + 4
    await exchange.reader.readexactly(length)
    await exchange.json({"error": "write /m/blobs/sha256-1-partial: no space left on device"}, 500)


async def test_D03_an_import_that_fills_the_servers_disk_waits_and_goes_on(lab: Bay, weights: Path) -> None:
    lab.box.takers = [full]
    number = await lab.upload(weights)
    job = await lab.at_rest(number)
    assert (job.state, job.wait, job.attempts) == (JobState.WAITING, Wait.SPACE, 1)
    assert job.failure is not None and job.failure.kind is FailureKind.DISK and "disk is full" in job.failure.what
    assert not lab.box.blobs and not lab.box.asked("/api/create"), "nothing half done is made of it"
    await lab.pass_(lab.due_in(number))
    job = await lab.ended(number)
    assert (job.state, job.attempts, lab.box.asked("/api/create")) == (JobState.DONE, 2, 1)


async def test_adapters_are_sent_beside_a_model_that_is_there(lab: Bay, weights: Path) -> None:
    adapters = {"lora.gguf": str(weights)}
    number = await lab.add(JobKind.UPLOAD, "mine:latest", **{"from": "qwen3:8b", "adapters": adapters})
    job = await lab.ended(number)
    assert job.state is JobState.DONE
    assert lab.box.requests[-2].json == {
        "model": "mine:latest",
        "stream": True,
        "from": "qwen3:8b",
        "adapters": {"lora.gguf": digest_of(weights)},
    }
