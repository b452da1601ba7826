"""What a model would take, and where it would be put."""

from typing import Any

import pytest

from tests.support.llama import INFO
from tests.support.monitor_host import GB, FakeHost, running, sample
from tui.config.settings import Settings
from tui.core.fit import CONTEXT_OVERHEAD, MARGIN
from tui.core.models import Location, Model, ModelDetail
from tui.core.monitor import Profile, Take
from tui.services.monitor.takes import place, would_take

KV = 131_072
"""Bytes a token."""


class Lab(FakeHost):
    def __init__(self, settings: Settings | None = None, *, known: bool = True) -> None:
        super().__init__(settings)
        self.asked_for: list[str] = []
        self.known = known
        self.watching.models.set((Model("lab", "m", "m", size=5 * GB, context=131_072),))

    def detail(self, provider: str, model: str) -> Any:
        self.asked_for.append(model)
        return ModelDetail(provider, model, info=INFO) if self.known else None


def take(host: Lab, found: Any, context: int | None = None, profile: Profile | None = None) -> Take:
    taken = would_take(host, found, "lab", "m", context, profile)
    assert taken is not None
    return taken


def away(vram: int) -> Settings:
    return Settings(layers=[{"providers": {"lab": {"kind": "ollama", "url": "http://10.0.0.2:1", "vram": vram * GB}}}])


def test_one_gpu_with_room_gets_all_of_it() -> None:
    found = take(Lab(), sample(20, [(20, 24), (1, 24)]), 8192)
    ((uuid, size),) = found.gpu
    assert uuid == "GPU-1" and 5 * GB + 8192 * KV < size < 5 * GB + 8192 * KV + GB
    assert (found.ram, found.context, found.measured, found.missing, found.verdict) == (0, 8192, False, 0, "good")
    assert take(Lab(), sample(20, [(1, 24)]), 32_768).gpu[0][1] - size == (32_768 - 8192) * KV


def test_what_is_too_large_for_one_is_split_and_the_rest_is_in_ram() -> None:
    split = take(Lab(), sample(20, [(18, 24), (18, 24)]), 8192)
    assert len(split.gpu) == 2 and split.ram == 0 and split.verdict in ("good", "tight")
    spilt = take(Lab(), sample(20, [(20, 24)]), 8192)
    assert spilt.gpu[0][1] <= 4 * GB - MARGIN - CONTEXT_OVERHEAD and spilt.ram > 3 * GB
    assert spilt.verdict == "slow" and spilt.missing > 0
    none = take(Lab(), sample(1, [(23, 24)]), 8192)
    assert none.gpu == () and none.verdict == "no" and none.missing > 0


def test_without_a_gpu_it_is_in_ram() -> None:
    found = take(Lab(), sample(20), 8192)
    assert found.gpu == () and found.ram > 5 * GB and found.missing == 0 and found.verdict == "good"
    assert take(Lab(), sample(4), 8192).missing > GB


def test_unified_memory_is_ram() -> None:
    found = take(Lab(), sample(20, [(2, 24)], unified=True), 8192)
    assert found.gpu == () and found.ram > 5 * GB


def test_an_earlier_load_was_measured() -> None:
    profile = Profile(memory=7 * GB, vram=7 * GB, context=8192)
    found = take(Lab(), sample(20, [(1, 24)]), 8192, profile)
    assert found.gpu == (("GPU-0", 7 * GB),) and found.measured
    other = take(Lab(), sample(20, [(1, 24)]), 16_384, profile)
    assert other.gpu == (("GPU-0", 7 * GB + 8192 * KV),) and not other.measured
    assert take(Lab(), sample(20, [(1, 24)]), None, profile).context == 8192


def test_what_is_loaded_takes_nothing_and_more_context_the_difference() -> None:
    host = Lab()
    host.load_models(running("m", 6, context=8192))
    assert take(host, sample(20, [(7, 24)])) == Take(context=8192, measured=True, verdict="loaded")
    more = take(host, sample(20, [(7, 24)]), 16_384)
    assert sum(size for _uuid, size in more.gpu) == 8192 * KV and more.verdict == "good"


def test_the_context_that_would_be_asked_for() -> None:
    assert take(Lab(), sample(20, [(1, 24)])).context == 8192
    settings = Settings(layers=[{"chat": {"options": {"num_ctx": 2048}}}])
    assert take(Lab(settings), sample(20, [(1, 24)])).context == 2048


def test_what_is_not_known_is_asked_for() -> None:
    host = Lab(known=False)
    assert would_take(host, sample(20), "lab", "m", None, None) is None and host.asked_for == ["m"]
    assert would_take(host, sample(20), "lab", "other", None, None) is None
    assert would_take(host, sample(20), "nowhere", "m", None, None) is None
    assert would_take(Lab(), None, "lab", "m", None, None) is None


def test_rule_10_elsewhere_only_the_settings_tell() -> None:
    host = Lab()
    host.watching.providers.set((host.watching.of("lab", Location.ELSEWHERE),))
    assert would_take(host, sample(20, [(1, 24)]), "lab", "m", 8192, None) is None
    host.now = away(24)
    assert take(host, sample(20, [(1, 24)]), 8192) == Take(context=8192, verdict="good")
    host.now = away(4)
    assert take(host, sample(20, [(1, 24)]), 8192).verdict == "no"


@pytest.mark.parametrize(
    ("total", "free", "placed"),
    [
        (5, {}, {}),
        (0, {"a": 10 * GB}, {}),
        (8 * GB, {"a": 10 * GB, "b": 9 * GB}, {"a": 8 * GB}),
        (8 * GB + 1, {"a": 10 * GB, "b": 0}, {"a": 8_000_000_001}),
        (50 * GB, {"a": GB, "b": GB}, {}),
    ],
)
def test_places(total: int, free: dict[str, int], placed: dict[str, int]) -> None:
    found = place(total, free)
    assert found == placed
    assert sum(found.values()) <= total and all(0 < size <= free[uuid] for uuid, size in found.items())
