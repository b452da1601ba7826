"""What models share and what deleting frees: pure functions over what a folder, or else the server, tells."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from tui.core.disk import DiskItem, DiskKind, DiskRow
from tui.core.errors import PaddockError
from tui.core.jobs import Job, JobKind, JobState, Wait
from tui.core.kept import KeptKind, kept_of
from tui.core.library import DiskShare
from tui.core.names import parse
from tui.core.record import record
from tui.text import clean_name

if TYPE_CHECKING:
    from tui.core.models import Model
    from tui.providers.ollama_folder import ModelsFolder

MOST_NAMES: Final = 20
"""Names of models that share something with one, told of each."""
_HEX: Final = 12


@record(frozen=True)
class Parts:
    """Of what the models of one server are made.

    Attributes:
        of: Parts of each model by its exact name.
        sizes: Bytes of each part.
        users: Exact names of the models that use a part.
        exact: Read from manifests; else estimated by digests.
    """

    of: Mapping[str, frozenset[str]]
    sizes: Mapping[str, int]
    users: Mapping[str, frozenset[str]]
    exact: bool

    def freed(self, names: Iterable[str]) -> int:
        """Bytes that only these models use."""
        gone = frozenset(names)
        parts = frozenset().union(*(self.of.get(name, frozenset()) for name in gone))
        return sum(self.sizes[part] for part in parts if self.users[part] <= gone)

    def size(self, names: Iterable[str]) -> int:
        """Bytes of these models, each part once."""
        return sum(self.sizes[part] for part in frozenset().union(*(self.of.get(name, frozenset()) for name in names)))


def plain(name: str) -> str:
    """What makes two spellings of a name one model."""
    try:
        return parse(name).key
    except PaddockError:
        return clean_name(name)


def parts_by_folder(models: Sequence[Model], folder: ModelsFolder) -> Parts:
    """By the manifests; models of the folder that the server does not list use their blobs too."""
    names = {plain(model.key): model.key for model in models}
    of: dict[str, frozenset[str]] = {}
    sizes: dict[str, int] = {}
    for found in folder.models:
        key = names.get(plain(found.name), found.name)
        of[key] = of.get(key, frozenset()) | {layer.digest for layer in found.layers}
        sizes |= {layer.digest: layer.size for layer in found.layers}
    return _parts(of, sizes, exact=True)


def parts_by_digest(models: Sequence[Model], weights: Mapping[str, str]) -> Parts:
    """By what the server lists: models with one digest are the same, those with the same weights share at least those.

    `weights` is the digest of the weights by exact name, as far as known (`show` tells it).
    """
    by_digest = {model.digest: weights[model.key] for model in models if model.digest and model.key in weights}
    known = {model.key: found for model in models if (found := weights.get(model.key) or by_digest.get(model.digest, ""))}
    least: dict[str, int] = {}
    for model in models:
        if model.key in known and model.size is not None:
            least[known[model.key]] = min(model.size, least.get(known[model.key], model.size))
    of: dict[str, frozenset[str]] = {}
    sizes: dict[str, int] = {}
    for model in models:
        if model.size is None:
            continue
        whole, shared = f"model {model.digest or model.key}", known.get(model.key, "")
        heavy = least[shared] if shared else 0
        of[model.key] = frozenset({whole, *([shared] if shared else [])})
        sizes[whole] = model.size - heavy
        if shared:
            sizes[shared] = heavy
    return _parts(of, sizes, exact=False)


def _parts(of: Mapping[str, frozenset[str]], sizes: Mapping[str, int], *, exact: bool) -> Parts:
    users: dict[str, set[str]] = {}
    for name, parts in of.items():
        for part in parts:
            users.setdefault(part, set()).add(name)
    return Parts(of, sizes, {part: frozenset(names) for part, names in users.items()}, exact)


def shares(models: Iterable[Model], parts: Parts) -> dict[str, DiskShare]:
    """Where the space of each model goes, by its exact name; none for what is not known."""
    found: dict[str, DiskShare] = {}
    names: dict[str, tuple[str, ...]] = {}
    for model in models:
        made = parts.of.get(model.key)
        if made is None or model.remote:
            continue
        total = sum(parts.sizes[part] for part in made)
        shared = sorted((part for part in made if len(parts.users[part]) > 1), key=lambda part: -parts.sizes[part])
        heavy = [part for part in shared if parts.sizes[part] * 100 >= total] or shared  # nobody asks who has the same licence
        others: dict[str, None] = {}
        for part in heavy:
            if part not in names:
                names[part] = _names(parts.users[part])
            others |= dict.fromkeys(name for name in names[part] if name != model.key)
        own = total - sum(parts.sizes[part] for part in shared)
        found[model.key] = DiskShare(total, own, total - own, tuple(clean_name(name) for name in list(others)[:MOST_NAMES]), parts.exact)
    return found


def _names(keys: Iterable[str]) -> tuple[str, ...]:
    """Some of them: those a person sees first, kept ones after them."""
    return tuple(sorted(keys, key=lambda key: (kept_of(key) is not None, key.casefold()))[: MOST_NAMES + 1])


# --- rows -------------------------------------------------------------------------------------------------------------


def model_rows(provider: str, models: Sequence[Model], parts: Parts, empties: Mapping[str, float | None]) -> tuple[DiskRow, ...]:
    """The rows of what has a name: models, earlier versions, the trash.

    `models` are all that the server lists, kept ones too; `empties` is when the trash is emptied of a kept model, by its exact name.
    """
    known = shares(models, parts)
    groups: dict[DiskKind, list[DiskItem]] = {DiskKind.MODELS: [], DiskKind.VERSIONS: [], DiskKind.TRASH: []}
    for model in models:
        if model.remote:
            continue
        kept, share = kept_of(model.key), known.get(model.key)
        kind = DiskKind.MODELS if kept is None else DiskKind.TRASH if kept.kind is KeptKind.TRASH else DiskKind.VERSIONS
        name = model.name if kept is None else clean_name(kept.original)
        at = model.modified_at if kept is None else empties.get(model.key) if kind is DiskKind.TRASH else float(kept.at)
        size, freed = (share.size, share.own) if share is not None else (model.size, None)
        groups[kind].append(DiskItem(provider, kind, model.key, name, size, freed, share.shared_with if share is not None else (), at))
    rows = []
    for kind, items in groups.items():
        if not items and kind is not DiskKind.MODELS:
            continue
        keys = [item.key for item in items]
        missing = [item for item in items if item.key not in parts.of]
        size = parts.size(keys) + sum(item.size or 0 for item in missing)
        used = frozenset().union(*(parts.of.get(key, frozenset()) for key in keys))
        shared = sum(parts.sizes[part] for part in used if len(parts.users[part]) > 1)
        items.sort(key=lambda item: -(item.size or 0))
        rows.append(DiskRow(provider, kind, tuple(items), size, parts.freed(keys) if not missing else None, shared))
    return tuple(rows)


def queued(jobs: Iterable[Job], provider: str) -> dict[str, Job]:
    """The pulls of the queue that are not done, by the digests they fetch; one that goes on wins over one that ended."""
    found: dict[str, Job] = {}
    for job in sorted(jobs, key=lambda job: not job.state.ended):
        if job.kind is JobKind.PULL and job.endpoint.name == provider and job.state is not JobState.DONE:
            digests = {layer.digest for layer in job.layers} | (set(job.plan.sizes()) if job.plan is not None else set())
            found |= dict.fromkeys((f"sha256:{digest.removeprefix('sha256:')}" for digest in digests), job)
    return found


def job_words(job: Job) -> str:
    """How a pull of the queue is."""
    return "waiting" if job.state is JobState.WAITING or job.wait is not Wait.NOTHING else str(job.state)


def partial_row(provider: str, folder: ModelsFolder | None, jobs: Sequence[Job]) -> DiskRow:
    """Unfinished downloads: by their files, else as far as the queue knows of them."""
    items: list[DiskItem] = []
    if folder is not None:
        waits = queued(jobs, provider)
        for partial in folder.partials:
            job = waits.get(partial.digest)
            name = job.model if job is not None else f"blob {partial.digest.removeprefix('sha256:')[:_HEX]}"
            words = job_words(job) if job is not None and job.state is not JobState.CANCELLED else ""
            items.append(
                DiskItem(
                    provider, DiskKind.PARTIALS, partial.digest, name, partial.allocated, partial.allocated, at=partial.modified_at,
                    queued=words, total=partial.total,
                )
            )  # fmt: skip
    else:
        for job in jobs:
            there = job.plan.there if job.plan is not None else 0
            if job.kind is JobKind.PULL and job.endpoint.name == provider and job.state is not JobState.DONE and job.done > there:
                brought = job.done - there
                words = job_words(job) if job.state is not JobState.CANCELLED else ""
                items.append(
                    DiskItem(
                        provider, DiskKind.PARTIALS, f"job {job.id}", job.model, brought, brought, at=job.ended_at, queued=words,
                        total=job.size,
                    )
                )  # fmt: skip
    items.sort(key=lambda item: -(item.size or 0))
    known = folder is not None or bool(items)
    total = sum(item.size or 0 for item in items) if known else None
    return DiskRow(provider, DiskKind.PARTIALS, tuple(items), total, total, known=known)


def missing(models: Iterable[Model], folder: ModelsFolder) -> str:
    """One of the models that a server lists and whose manifest is not in the folder, or empty."""
    there = {plain(model.name) for model in folder.models}
    return next((model.name for model in models if not model.remote and plain(model.key) not in there), "")


def unused_row(provider: str, models: Iterable[Model], folder: ModelsFolder | None) -> DiskRow:
    """Blobs no model uses, and uploads that were not finished; not known while a model may be missing in the folder."""
    if folder is None or not folder.whole or missing(models, folder):
        return DiskRow(provider, DiskKind.UNUSED, known=False)
    items = [
        DiskItem(
            provider, DiskKind.UNUSED, file.digest or file.path.name,
            f"blob {file.digest.removeprefix('sha256:')[:_HEX]}" if file.digest else f"file {clean_name(file.path.name, 40)}",
            file.size if file.link else file.allocated, file.allocated, at=file.modified_at,
        )
        for file in (*folder.unused(), *folder.others)
    ]  # fmt: skip
    total = sum(item.size or 0 for item in items)
    return DiskRow(provider, DiskKind.UNUSED, tuple(items), total, sum(item.freed or 0 for item in items))
