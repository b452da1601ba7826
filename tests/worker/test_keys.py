"""Where the key of a job goes: to the address it belongs to, and to nobody who merely sits there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.worker.fakes import Bench
from tui.config.settings import Settings, build
from tui.core.clock import ManualClock
from tui.core.errors import FailureKind, PaddockError
from tui.core.jobs import JobState
from tui.core.models import Endpoint
from tui.providers import ports
from tui.providers.ports import Holder
from tui.services.audit import Audit
from tui.services.ports import Ports
from tui.store.db import Database
from tui.store.meta import Meta
from tui.worker.keys import Keys

HERE = "http://127.0.0.1:11434"
EVE = Holder(4711, "nc", uid=4242, user="eve", other_person=True)


def settings(url: str) -> Settings:
    return build({"providers": {"box": {"url": url, "kind": "ollama", "api_key": "sk-of-the-box"}}})


@pytest.fixture
def meta(tmp_path: Path) -> Iterator[Meta]:
    database = Database(tmp_path / "paddock.db")
    yield Meta(database)
    database.close()


@pytest.fixture
def audit(tmp_path: Path) -> Audit:
    return Audit(tmp_path, ManualClock())


@pytest.mark.parametrize(
    ("now", "goes"),
    [
        ("http://gpu-box:11434", True),
        ("http://gpu-box:11434/", True),
        ("http://gpu-box:8080", False),
        ("https://gpu-box:11434", False),
        ("http://evil.example:11434", False),
    ],
)
async def test_P53_X10_a_key_of_the_settings_stays_with_its_address(meta: Meta, audit: Audit, now: str, goes: bool) -> None:
    """The provider was edited after the job was queued: its new key is not for the old address."""
    keys = Keys(lambda: settings(now), meta, audit)
    queued = Endpoint("box", "ollama", "http://gpu-box:11434", key="config:box")
    if goes:
        assert keys.key(queued) == "sk-of-the-box"
        return
    with pytest.raises(PaddockError) as caught:
        keys.key(queued)
    assert "sk-of" not in str(caught.value.failure)
    assert caught.value.failure.remedy == "Cancel this, and queue it for the new address"
    with pytest.raises(PaddockError):
        await keys.check(queued)


async def test_P59_X17_no_key_goes_to_a_port_of_another_person_until_that_was_allowed(
    meta: Meta, audit: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, str]] = []

    def holder(port: int, *, host: str = "") -> Holder:
        asked.append((port, host))
        return EVE

    monkeypatch.setattr(ports, "holder", holder)
    keys = Keys(lambda: settings(HERE), meta, audit)
    with_key, without = Endpoint("box", "ollama", HERE, key="config:box"), Endpoint("box", "ollama", HERE)
    await keys.check(without)
    await keys.check(Endpoint("box", "ollama", "http://gpu-box:11434"))
    assert asked == []
    with pytest.raises(PaddockError) as caught:
        await keys.check(with_key)
    assert asked == [(11434, "127.0.0.1")]
    assert caught.value.failure.kind is FailureKind.REFUSED
    assert "user eve" in caught.value.failure.what

    async def send(_text: str, _choices: object) -> str:
        return "send"

    app = Ports(send, audit)
    app.open(meta)
    assert await app.ask_trust(HERE, EVE, "your key")
    await keys.check(with_key)
    monkeypatch.setattr(ports, "holder", lambda port, host="": Holder(1, "sh", uid=4243, user="mallory", other_person=True))
    with pytest.raises(PaddockError):
        await keys.check(with_key)  # the answer was about eve


async def test_P53_the_queue_waits_and_says_why(bench: Bench) -> None:
    def refuse(reference: str) -> str:
        raise PaddockError.of("nothing was sent: the port is held by eve", HERE, "Allow it", FailureKind.REFUSED)

    bench.key = refuse
    number = await bench.add(endpoint=Endpoint("box", "ollama", "http://192.0.2.7:11434", key="env:BOX_KEY"))
    await bench.settle()
    job = bench.job(number)
    assert job.state is JobState.WAITING
    assert job.note == "waits: nothing was sent: the port is held by eve"
    assert bench.fake.pulls == []
