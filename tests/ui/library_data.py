"""Servers, models and a machine as the wireframes of screens.md show them."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from tests.support.fake_services import FakeServices
from tui.core.capabilities import Ability, Capability
from tui.core.errors import Failure, FailureKind
from tui.core.models import Endpoint, Location, Model, ModelDetail, Origin, ProviderState, ProviderStatus, RunningModel
from tui.hardware.sample import Cpu, Gpu, Memory, Sample
from tui.services.api import MonitorView

GB = 10**9
OLLAMA_CAN = frozenset(
    {Capability.CHAT, Capability.COMPLETE, Capability.EMBED, Capability.PULL, Capability.CREATE, Capability.COPY, Capability.DELETE}
    | {Capability.LOAD, Capability.UNLOAD, Capability.KEEP_ALIVE, Capability.SHOW, Capability.RUNNING}
)
CHAT_ONLY = frozenset({Capability.CHAT, Capability.COMPLETE, Capability.METRICS})


def provider(name: str, kind: str, url: str, status: ProviderStatus, **changes: Any) -> ProviderState:
    values: dict[str, Any] = {"origin": Origin.CONFIG, "capabilities": CHAT_ONLY, "listens_wide": False, **changes}
    return ProviderState(Endpoint(name, kind, url), status=status, **values)


def providers() -> tuple[ProviderState, ...]:
    return (
        provider("ollama", "ollama", "http://127.0.0.1:11434", ProviderStatus.UP, label="Ollama 0.24.0", latency=0.003, models=4,
                 loaded=2, is_default=True, capabilities=OLLAMA_CAN, owner="systemd, pid 812, user ollama",
                 checks=(*(0.003,) * 17, 0.009, None, 0.003),
                 traps=("An unfinished pull is thrown away when the server restarts.",)),
        provider("vllm-a", "vllm", "http://gpu2:8000", ProviderStatus.UP, label="vLLM 0.19.0", latency=0.011, models=1, loaded=1,
                 location=Location.ELSEWHERE, auth="key from env:VLLM_KEY"),
        provider("lcpp", "llamacpp", "http://127.0.0.1:8080", ProviderStatus.BUSY, label="llama.cpp", note="loading model",
                 busy_since=time.monotonic() - 14),
        provider("tabby", "tabbyapi", "http://127.0.0.1:5000", ProviderStatus.FAILED, label="TabbyAPI",
                 failure=Failure("The server wants a key", "127.0.0.1:5000", "Add one with e", FailureKind.AUTH, status=401)),
        provider("lmstudio", "lmstudio", "http://127.0.0.1:1234", ProviderStatus.DOWN, label="LM Studio",
                 failure=Failure("Cannot reach 127.0.0.1:1234: nothing is listening", "127.0.0.1:1234",
                                 "Start the server, or check the address", FailureKind.UNREACHABLE)),
        provider("koboldcpp", "koboldcpp", "http://127.0.0.1:5001", ProviderStatus.FOUND, label="KoboldCpp 1.9", origin=Origin.FOUND),
    )  # fmt: skip


def model(name: str, on: str = "ollama", size: float | None = 5.2, **changes: Any) -> Model:
    values: dict[str, Any] = {"quantization": "Q4_K_M", "modified_at": time.time() - 3 * 86400, "context": 40960, **changes}
    return Model(on, name, name, None if size is None else int(size * GB), **values)


def models() -> tuple[Model, ...]:
    chat = frozenset({Ability.COMPLETION, Ability.TOOLS})
    return (
        model("qwen3:8b", abilities=chat, parameters="8.2B", digest="500a1f067a9f" + "0" * 52, family="qwen3", format="gguf"),
        model("qwen2.5-coder:32b", size=19.9, abilities=chat | {Ability.INSERT}, parameters="32.8B"),
        model("qwen2.5:72b", size=47.4, abilities=chat),
        model("nomic-embed-text", size=0.274, quantization="F16", abilities=frozenset({Ability.EMBEDDING}), context=2048),
        model("big/served-model", "vllm-a", None, quantization="", loaded=True),
    )


def running() -> tuple[RunningModel, ...]:
    now = time.time()
    return (
        RunningModel("ollama", "qwen3:8b", "qwen3:8b", 6_800_000_000, 6_800_000_000, 4096, 40960, now + 252),
        RunningModel("ollama", "nomic-embed-text", "nomic-embed-text", 300_000_000, 300_000_000, expires_at=now + 65),
    )


def sample(gpu_used: float = 7.6) -> MonitorView:
    gpus = (Gpu("GPU-1", 0, "RTX 3090", 97.0, 24 * GB, int(gpu_used * GB)),)
    memory = Memory(int(31.2 * GB), int(8.4 * GB), 0, 0)
    return MonitorView(Sample(time.time(), 1.0, cpu=Cpu(34.0), memory=memory, gpus=gpus), time.monotonic(), tick=1)


def detail(name: str = "qwen3:8b", **changes: Any) -> ModelDetail:
    values: dict[str, Any] = {
        "licence": "Apache License\nVersion 2.0", "system": "You are helpful.", "template": "{{ .Prompt }}", "context": 40960,
        "options": (("temperature", "0.6"),), **changes,
    }  # fmt: skip
    return ModelDetail("ollama", name, **values)


def fill(fake: FakeServices) -> FakeServices:
    """The wireframes' world."""
    fake.registry.providers.set(providers())
    fake.registry.models.set(models())
    fake.registry.running.set(running())
    fake.monitor.latest.set(sample())
    fake.monitor.values = {"cpu": [10.0, 30.0, 34.0, 50.0, 20.0, 34.0], "gpu:GPU-1": [97.0] * 6}
    return fake


def renamed(state: ProviderState, name: str) -> ProviderState:
    """The same server under another name."""
    return replace(state, endpoint=replace(state.endpoint, name=name))
