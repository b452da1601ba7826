"""What Hugging Face's hub tells of repositories and their files: frozen, cleaned, without behaviour.

Times are UTC epoch seconds, sizes bytes.
"""

from __future__ import annotations

from tui.core.record import record


@record(frozen=True)
class HubRepo:
    """A repository; texts are cleaned.

    Attributes:
        name: `org/repo` as it is shown.
        key: As it is asked for.
        updated_at: Epoch seconds.
        gated: Its files are only for those who were granted access.
        parameters: How many weights, `context` tokens; None where the hub does not say.
        unusual: The name holds what only looks like a letter of ours (X23).
    """

    name: str
    key: str
    downloads: int | None = None
    likes: int | None = None
    updated_at: float | None = None
    gated: bool = False
    private: bool = False
    licence: str = ""
    architecture: str = ""
    parameters: int | None = None
    context: int | None = None
    unusual: bool = False


@record(frozen=True)
class HubFile:
    """What can be pulled as one: a GGUF file, or all parts of one.

    Attributes:
        name: Its path; of a split one without the number of the part.
        size: Bytes of all parts, None where the hub does not say.
        parts: How many files; `missing` are those of them that are not there.
        pull: The name to pull, empty where there is none: `why` says why.
        projector: It is the eyes of a model, and comes with it.
    """

    name: str
    quant: str = ""
    size: int | None = None
    parts: int = 1
    missing: int = 0
    pull: str = ""
    why: str = ""
    projector: bool = False
    unusual: bool = False


@record(frozen=True)
class HubPage:
    """Repositories that were found; `next` is for `Hub.search`, empty at the end."""

    repos: tuple[HubRepo, ...]
    next: str = ""


@record(frozen=True)
class HubFiles:
    """A repository and what of it can be pulled, smallest first."""

    repo: HubRepo
    files: tuple[HubFile, ...]
