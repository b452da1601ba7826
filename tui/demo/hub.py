"""The hub that the demo's server is too: some repositories with GGUF files, in the shapes of Hugging Face's API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qs, unquote

from tui.core.record import record
from tui.demo.http import Exchange, Request

PATH: Final = "/api/models"
GB: Final = 1_000_000_000


@record(frozen=True)
class Repo:
    """A repository: its files by quantization in GB (`parts`: how many files each is), and what the model is."""

    name: str
    parameters: str
    family: str
    shape: tuple[int, int, int, int]
    context: int
    abilities: tuple[str, ...]
    licence: str
    files: Mapping[str, float]
    downloads: int
    updated: str
    parts: int = 1
    gated: bool = False


REPOS: Final = (
    Repo(
        "bartowski/Llama-3.2-3B-Instruct-GGUF", "3.2B", "llama", (28, 3072, 24, 8), 131072, ("completion", "tools"), "llama3.2",
        {"Q3_K_L": 1.8155, "Q4_K_M": 2.0194, "Q5_K_M": 2.3222, "Q6_K": 2.6438, "Q8_0": 3.4219, "F16": 6.4335}, 214_822, "2026-06-12",
    ),
    Repo(
        "unsloth/Qwen3-14B-GGUF", "14.8B", "qwen3", (40, 5120, 40, 8), 40960, ("completion", "tools", "thinking"), "apache-2.0",
        {"Q3_K_M": 7.3207, "Q4_K_M": 9.0018, "Q5_K_M": 10.5147, "Q6_K": 12.1219, "Q8_0": 15.6985}, 96_410, "2026-08-02",
    ),
    Repo(
        "TheBloke/CodeLlama-7B-GGUF", "6.7B", "llama", (32, 4096, 32, 32), 16384, ("completion", "insert"), "llama2",
        {"Q4_K_M": 4.0816, "Q5_K_M": 4.7838, "Q8_0": 7.1610}, 41_077, "2023-09-27",
    ),
    Repo(
        "unsloth/Llama-3.3-70B-Instruct-GGUF", "70.6B", "llama", (80, 8192, 64, 8), 131072, ("completion", "tools"), "llama3.3",
        {"Q4_K_M": 42.5204, "Q8_0": 74.9757}, 88_193, "2026-05-30", parts=2,
    ),
    Repo(
        "demo-labs/Private-Coder-3B-GGUF", "3.1B", "qwen2", (36, 2048, 16, 2), 32768, ("completion", "insert"), "other",
        {"Q4_K_M": 1.9297}, 312, "2026-11-02", gated=True,
    ),
)  # fmt: skip


async def models(request: Request, answer: Exchange) -> None:
    """`GET /api/models` and `GET /api/models/ORG/NAME`."""
    if request.path == PATH:
        words = " ".join(parse_qs(request.query).get("search", [""])).lower().split()
        found = sorted(REPOS, key=lambda repo: -repo.downloads)
        await answer.json([_about(repo) for repo in found if all(word in repo.name.lower() for word in words)])
        return
    name = unquote(request.path[len(PATH) + 1 :]).lower()
    repo = next((repo for repo in REPOS if repo.name.lower() == name), None)
    if repo is None:
        await answer.error(404, "Repository not found")
        return
    await answer.json({**_about(repo), "siblings": [{"rfilename": "README.md", "size": 4096}, *_files(repo)]})


def _about(repo: Repo) -> dict[str, Any]:
    number = int(float(repo.parameters[:-1]) * 1e9)
    return {
        "id": repo.name,
        "downloads": repo.downloads,
        "likes": repo.downloads // 900,
        "lastModified": f"{repo.updated}T09:00:00.000Z",
        "gated": "manual" if repo.gated else False,
        "private": False,
        "tags": ["gguf", f"license:{repo.licence}"],
        "gguf": {"total": number, "architecture": repo.family, "context_length": repo.context},
    }


def _files(repo: Repo) -> list[dict[str, Any]]:
    stem, found = repo.name.rpartition("/")[2].removesuffix("-GGUF"), []
    for quant, size in repo.files.items():
        whole = int(size * GB)
        for part in range(repo.parts):
            end = f"-{part + 1:05}-of-{repo.parts:05}" if repo.parts > 1 else ""
            share = whole // repo.parts if part else whole - (repo.parts - 1) * (whole // repo.parts)
            found.append({"rfilename": f"{stem}-{quant}{end}.gguf", "size": share})
    return found
