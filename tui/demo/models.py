"""The demo's world: models that can be pulled, what is installed, what is loaded; kept in one JSON file."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, Final

from tui.core.errors import PaddockError
from tui.core.names import normal, parse
from tui.core.record import record
from tui.demo.hub import GB, REPOS, Repo

STATE: Final = "demo-models.json"
DISK: Final = "demo-disk.json"
"""What would lie in the models folder, for who shows that."""


@record(frozen=True)
class Spec:
    """A model of the demo's registry; sizes and shapes follow the real ones.

    Attributes:
        weights: Bare hex digest of weights that were made here or uploaded; empty for the registry's.
        edition: What makes this model another than the registry's: its template of before, or what was made of it here.
    """

    name: str
    size: int
    parameters: str
    quantization: str
    family: str
    layers: int
    embedding: int
    heads: int
    kv_heads: int
    context: int
    abilities: tuple[str, ...] = ("completion",)
    licence: str = "Apache License 2.0"
    weights: str = ""
    edition: str = ""


def _spec(name: str, gb: float, parameters: str, family: str, shape: tuple[int, int, int, int], context: int, *abilities: str) -> Spec:
    quantization = "Q8_0" if "q8_0" in name else "F16" if "embed" in name or "fp16" in name else "MXFP4" if "oss" in name else "Q4_K_M"
    return Spec(name, int(gb * GB), parameters, quantization, family, *shape, context, abilities or ("completion",))


SPECS: dict[str, Spec] = {
    spec.name: spec
    for spec in (
        _spec("qwen3:8b", 5.2254, "8.2B", "qwen3", (36, 4096, 32, 8), 40960, "completion", "tools", "thinking"),
        _spec("qwen3:0.6b", 0.5229, "751.63M", "qwen3", (28, 1024, 16, 8), 40960, "completion", "tools", "thinking"),
        _spec("qwen3:4b", 2.4969, "4.0B", "qwen3", (36, 2560, 32, 8), 262144, "completion", "tools", "thinking"),
        _spec("qwen3:14b", 9.2764, "14.8B", "qwen3", (40, 5120, 40, 8), 40960, "completion", "tools", "thinking"),
        _spec("qwen3:32b", 20.2012, "32.8B", "qwen3", (64, 5120, 64, 8), 40960, "completion", "tools", "thinking"),
        _spec("gemma3:4b", 3.3387, "4.3B", "gemma3", (34, 2560, 8, 4), 131072, "completion", "vision"),
        _spec("gemma3:12b", 8.1491, "12.2B", "gemma3", (48, 3840, 16, 8), 131072, "completion", "vision"),
        _spec("gemma3:27b", 17.3964, "27.4B", "gemma3", (62, 5376, 32, 16), 131072, "completion", "vision"),
        _spec("llama3.2:3b", 2.0194, "3.2B", "llama", (28, 3072, 24, 8), 131072, "completion", "tools"),
        _spec("llama3.2:1b", 1.3211, "1.2B", "llama", (16, 2048, 32, 8), 131072, "completion", "tools"),
        _spec("llama3.2:1b-instruct-fp16", 2.4794, "1.2B", "llama", (16, 2048, 32, 8), 131072, "completion", "tools"),
        _spec("llama3.1:8b", 4.9207, "8.0B", "llama", (32, 4096, 32, 8), 131072, "completion", "tools"),
        _spec("llama3.1:70b", 42.5201, "70.6B", "llama", (80, 8192, 64, 8), 131072, "completion", "tools"),
        _spec("mistral:7b", 4.3724, "7.2B", "llama", (32, 4096, 32, 8), 32768, "completion", "tools"),
        _spec("mistral-small:24b", 14.3336, "23.6B", "llama", (40, 5120, 32, 8), 32768, "completion", "tools"),
        _spec("mixtral:8x7b", 26.4424, "46.7B", "llama", (32, 4096, 32, 8), 32768, "completion", "tools"),
        _spec("phi4:14b", 9.0533, "14.7B", "phi3", (40, 5120, 40, 10), 16384),
        _spec("phi4-mini:3.8b", 2.4917, "3.8B", "phi3", (32, 3072, 24, 8), 131072, "completion", "tools"),
        _spec("qwen2.5-coder:7b", 4.6830, "7.6B", "qwen2", (28, 3584, 28, 4), 32768, "completion", "tools", "insert"),
        _spec("qwen2.5-coder:1.5b", 0.9861, "1.5B", "qwen2", (28, 1536, 12, 2), 32768, "completion", "tools", "insert"),
        _spec("qwen2.5-coder:32b", 19.8512, "32.8B", "qwen2", (64, 5120, 40, 8), 32768, "completion", "tools", "insert"),
        _spec("deepseek-r1:8b", 5.2253, "8.2B", "qwen3", (36, 4096, 32, 8), 131072, "completion", "thinking"),
        _spec("deepseek-r1:14b", 8.9881, "14.8B", "qwen2", (48, 5120, 40, 8), 131072, "completion", "thinking"),
        _spec("gpt-oss:20b", 13.7934, "20.9B", "gptoss", (24, 2880, 64, 8), 131072, "completion", "tools", "thinking"),
        _spec("codellama:7b", 3.8259, "6.7B", "llama", (32, 4096, 32, 32), 16384, "completion", "insert"),
        _spec("codellama:7b-code", 3.8257, "6.7B", "llama", (32, 4096, 32, 32), 16384, "completion", "insert"),
        _spec("codellama:7b-code-q4_K_M", 4.0812, "6.7B", "llama", (32, 4096, 32, 32), 16384, "completion", "insert"),
        _spec("codellama:7b-code-q8_0", 7.1608, "6.7B", "llama", (32, 4096, 32, 32), 16384, "completion", "insert"),
        _spec("tinyllama:1.1b", 0.6377, "1.1B", "llama", (22, 2048, 32, 4), 2048),
        _spec("tinyllama:1.1b-chat-v1-q4_K_M", 0.6688, "1.1B", "llama", (22, 2048, 32, 4), 2048),
        _spec("tinyllama:1.1b-chat-v1-q8_0", 1.1705, "1.1B", "llama", (22, 2048, 32, 4), 2048),
        _spec("starcoder2:3b", 1.7101, "3.0B", "starcoder2", (30, 3072, 24, 2), 16384),
        _spec("nomic-embed-text:latest", 0.2743, "137M", "nomic-bert", (12, 768, 12, 12), 2048, "embedding"),
        _spec("mxbai-embed-large:latest", 0.6696, "334M", "bert", (24, 1024, 16, 16), 512, "embedding"),
    )
}


def _of_hub(repo: Repo, quant: str, gb: float) -> Spec:
    name = f"hf.co/{repo.name}:{quant}"
    return Spec(name, int(gb * GB), repo.parameters, quant, repo.family, *repo.shape, repo.context, repo.abilities, repo.licence)


SPECS |= {spec.name: spec for repo in REPOS if not repo.gated for spec in (_of_hub(repo, quant, gb) for quant, gb in repo.files.items())}
FIRST: Final = ("qwen3:8b", "gemma3:4b", "llama3.2:3b", "qwen2.5-coder:1.5b", "nomic-embed-text:latest")
"""Installed when the demo starts for the first time."""
OUTDATED: Final = "llama3.2:3b"
"""The one of them that the registry has a newer template for."""
BEGUN: Final = "mixtral:8x7b"
"""One whose download ended early, before anybody looked."""
BEFORE: Final = "before"
"""The edition of a template that the registry has replaced."""
PUSHED: Final = 12 * 86_400
"""Seconds since the registry got its newest."""
TEMPLATE_BEFORE: Final = (
    "{{ if .System }}<|system|>{{ .System }}{{ end }}\n{{ range .Messages }}<|{{ .Role }}|>{{ .Content }}\n{{ end }}<|assistant|>"
)
TEMPLATE: Final = (
    "{{ if .System }}<|system|>{{ .System }}{{ end }}\n{{ if .Tools }}<|tools|>{{ json .Tools }}{{ end }}\n"
    "{{ range .Messages }}<|{{ .Role }}|>{{ .Content }}\n{{ end }}<|assistant|>"
)
PARAMETERS: Final = {"stop": "<|im_end|>", "temperature": 0.6}
_MADE: Final = frozenset({"size", "quantization", "weights", "edition"})


def spec_of(name: str) -> Spec | None:
    """A model of the registry by any spelling of its name."""
    return SPECS.get(normal(name))


def digest_of(text: str) -> str:
    """Bare hex that stays the same for the same text."""
    return hashlib.sha256(text.encode()).hexdigest()


@cache
def config_of(spec: Spec) -> bytes:
    """The config blob."""
    config = {
        "model_format": "gguf",
        "model_family": spec.family,
        "model_families": [spec.family],
        "model_type": spec.parameters,
        "file_type": spec.quantization,
        "context_length": spec.context,
        "architecture": "amd64",
        "os": "linux",
        **({"edition": spec.edition} if spec.edition not in ("", BEFORE) else {}),
    }
    return json.dumps(config, separators=(",", ":")).encode()


def template_of(spec: Spec) -> str:
    """The template, as `show` gives it and the layer holds it."""
    return f"{{{{/* {spec.family} */}}}}{TEMPLATE_BEFORE if spec.edition == BEFORE else TEMPLATE}"


def licence_of(spec: Spec) -> str:
    """The licence, as `show` gives it and the layer holds it."""
    return f"{spec.licence}\nThe demo carries the name of the licence only."


@cache
def texts_of(spec: Spec) -> tuple[tuple[str, bytes], ...]:
    """Media type and bytes of the small layers."""
    return (
        ("template", template_of(spec).encode()),
        ("license", licence_of(spec).encode()),
        ("params", json.dumps(PARAMETERS, separators=(",", ":")).encode()),
    )


@cache
def parts_of(spec: Spec) -> tuple[tuple[str, str, int], ...]:
    """Media type, digest and size of each layer, weights first, the config last."""
    small, config = texts_of(spec), config_of(spec)
    weights = spec.weights or digest_of(f"weights {spec.name}")
    rest = max(0, spec.size - sum(len(text) for _name, text in small) - len(config))
    return (
        ("model", weights, rest),
        *((name, hashlib.sha256(text).hexdigest(), len(text)) for name, text in small),
        ("config", hashlib.sha256(config).hexdigest(), len(config)),
    )


def layers_of(spec: Spec) -> tuple[tuple[str, int], ...]:
    """Digest and size of each layer, weights first."""
    return tuple((digest, size) for _name, digest, size in parts_of(spec))


@cache
def manifest_of(spec: Spec) -> bytes:
    """The manifest's exact bytes, whose SHA-256 is the model's digest."""
    *parts, config = [
        {"mediaType": f"application/vnd.ollama.image.{name}", "digest": f"sha256:{digest}", "size": size}
        for name, digest, size in parts_of(spec)
    ]
    config["mediaType"] = "application/vnd.docker.container.image.v1+json"
    kind = "application/vnd.docker.distribution.manifest.v2+json"
    return json.dumps({"schemaVersion": 2, "mediaType": kind, "config": config, "layers": parts}, separators=(",", ":")).encode()


def sizes_of_registry() -> dict[str, int]:
    """Bytes of every blob of the registry."""
    return {digest: size for spec in SPECS.values() for digest, size in layers_of(spec)}


@dataclass(slots=True)
class Loaded:
    """A model in memory: until when (epoch, None: for ever), with which context and which other options of its load."""

    expires_at: float | None
    context: int
    options: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class World:
    """What the server has; `installed` maps a name to the registry name it came from.

    Attributes:
        partial: Bytes of each blob on the disk.
        made: What makes an installed model another than the registry's: fields of its `Spec`, and `system`, `template`, `parameters`.
        uploads: Bytes of each blob that was sent here.
    """

    home: Path
    installed: dict[str, str] = field(default_factory=dict)
    changed_at: dict[str, float] = field(default_factory=dict)
    partial: dict[str, int] = field(default_factory=dict)
    made: dict[str, dict[str, Any]] = field(default_factory=dict)
    uploads: dict[str, int] = field(default_factory=dict)
    loaded: dict[str, Loaded] = field(default_factory=dict)

    @classmethod
    def open(cls, home: Path) -> World:
        """Read the state, or begin with the first models, one of them older than the registry's."""
        try:
            raw = json.loads((home / STATE).read_text(encoding="utf-8"))
            more = dict(raw.get("made", {})), dict(raw.get("uploads", {}))
            world = cls(home, dict(raw["installed"]), dict(raw["changed_at"]), dict(raw["partial"]), *more)
            for name in world.installed:
                world.spec(name)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            now = time.time()
            world = cls(home, {name: name for name in FIRST}, {name: now - 86_400 * (3 + 9 * rank) for rank, name in enumerate(FIRST)})
            world.made[OUTDATED] = {"edition": BEFORE}
            world.partial[layers_of(SPECS[BEGUN])[0][0]] = 4 * GB + 123_456_789
            world.uploads[digest_of("an import that was not finished")] = 734_003_200
        world.save()
        return world

    def save(self) -> None:
        """Write the state and what lies on the disk; each replaced whole."""
        kept = ("installed", "changed_at", "partial", "made", "uploads")
        for name, value in ((STATE, {name: getattr(self, name) for name in kept}), (DISK, self.disk())):
            path = self.home / name
            temporary = path.with_suffix(f".{os.getpid()}")
            temporary.write_text(json.dumps(value), encoding="utf-8")
            temporary.replace(path)

    def disk(self) -> dict[str, Any]:
        """What a models folder would hold: models with their layers (kind, digest, size), whole blobs, unfinished ones (done, size)."""
        known = sizes_of_registry()
        sizes = {**known, **self.uploads}
        models = {}
        for name in self.installed:
            spec = self.spec(name)
            digest = hashlib.sha256(manifest_of(spec)).hexdigest()
            models[name] = {"digest": digest, "at": self.changed_at.get(name, 0.0), "layers": parts_of(spec)}
            sizes |= dict(layers_of(spec))
        whole = self.blobs()
        begun = {digest: (done, known[digest]) for digest, done in self.partial.items() if digest in known and digest not in whole}
        return {"at": time.time(), "models": models, "blobs": {digest: sizes[digest] for digest in sorted(whole)}, "partials": begun}

    def spec(self, name: str) -> Spec:
        """An installed model as it is here."""
        made = {key: value for key, value in self.made.get(name, {}).items() if key in _MADE}
        return replace(SPECS[self.installed[name]], **made)

    def find(self, name: str) -> tuple[str, Spec] | None:
        """An installed model by any spelling."""
        try:
            key = parse(name).key
        except PaddockError:
            return None
        for installed in self.installed:
            if parse(installed).key == key:
                return installed, self.spec(installed)
        return None

    def put(self, name: str, source: str, made: Mapping[str, Any] | None = None) -> None:
        """Install a model under a name, made out of one of the registry."""
        found = self.find(name)
        full = found[0] if found else normal(name)
        self.installed[full] = source
        self.changed_at[full] = time.time()
        self.made.pop(full, None)
        if made:
            self.made[full] = dict(made)
        self.save()

    def blobs(self) -> set[str]:
        """Digests of all that is whole on the disk."""
        used = {digest for name in self.installed for digest, _size in layers_of(self.spec(name))}
        known = sizes_of_registry()
        return used | set(self.uploads) | {digest for digest, done in self.partial.items() if done >= known.get(digest, done + 1)}

    def expire(self) -> None:
        """Forget what has outlived its keep-alive."""
        now = time.time()
        for name, loaded in list(self.loaded.items()):
            if loaded.expires_at is not None and loaded.expires_at <= now:
                del self.loaded[name]


def details_of(spec: Spec) -> dict[str, Any]:
    """The `details` object of tags, show and ps."""
    return {
        "parent_model": "",
        "format": "gguf",
        "family": spec.family,
        "families": [spec.family],
        "parameter_size": spec.parameters,
        "quantization_level": spec.quantization,
    }


def info_of(spec: Spec) -> Mapping[str, Any]:
    """The GGUF keys of show."""
    prefix = spec.family
    number = float(spec.parameters[:-1]) * {"B": 1e9, "M": 1e6}[spec.parameters[-1]]
    info: dict[str, Any] = {
        "general.architecture": prefix,
        "general.parameter_count": round(number),
        "general.quantization_version": 2,
        f"{prefix}.block_count": spec.layers,
        f"{prefix}.context_length": spec.context,
        f"{prefix}.embedding_length": spec.embedding,
        f"{prefix}.attention.head_count": spec.heads,
        f"{prefix}.attention.head_count_kv": spec.kv_heads,
        f"{prefix}.vocab_size": 151_936,
    }
    if "embedding" in spec.abilities:
        info[f"{prefix}.pooling_type"] = 1
    return info


def memory_of(spec: Spec, context: int, batch: int = 512) -> int:
    """Bytes a loaded model takes: weights, KV cache at 16 bit, and buffers."""
    head = spec.embedding // spec.heads
    return spec.size + context * spec.layers * spec.kv_heads * head * 2 * 2 + 310_000_000 * batch // 512
