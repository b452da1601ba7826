"""Done is what the server lists, not what it says: the model is there, and it is the one the registry announced."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from tui.core import names
from tui.core.errors import FailureKind, PaddockError
from tui.core.jobs import Changes, Job, Plan
from tui.core.models import Model, ModelDetail
from tui.providers.base import Provider

MISMATCH: Final = "digest mismatch"
"""What Ollama says, and we, where bytes are not those of the manifest."""
_LIST_TRIES: Final = 3
LIST_PAUSE: Final = 1.0
"""Seconds between two looks at a list that lags behind."""
_A_BLOB: Final = re.compile(r"@?sha256[:-][0-9a-fA-F]{64}\Z")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}\Z")


async def listed(provider: Provider, model: str) -> Model | None:
    """The model as the server lists it, however it is spelled; None where it does not."""
    return next((found for found in await provider.models() if names.same(found.key, model)), None)


async def based(provider: Provider, job: Job) -> None:
    """A model that another one is made of must be there: a server that lacks it would fetch it unasked, whatever its size.

    What is no name of a model (a path, a digest) is the server's to judge, and so is the model of another server.

    Raises:
        PaddockError: It is not listed, or the list cannot be had.
    """
    base = job.arguments.get("from")
    if not isinstance(base, str) or _A_BLOB.match(base.strip()) or job.arguments.get("remote_host"):
        return
    try:
        name = str(names.parse(base))
    except PaddockError:
        return
    if await listed(provider, base) is None:
        what = f"Nothing was made: {name}, which {job.model} is made from, is not installed any more"
        raise PaddockError.of(what, job.endpoint.url, f"Pull {name}, then retry", FailureKind.NOT_FOUND)


async def prove(provider: Provider, job: Job) -> Model:
    """The model of a job that succeeded, as listed; a list that lags behind is asked again.

    Raises:
        PaddockError: It is not listed, or the list cannot be had.
    """
    for attempt in range(_LIST_TRIES):
        if attempt:
            await asyncio.sleep(LIST_PAUSE)
        try:
            found = await listed(provider, job.model)
        except PaddockError:
            if attempt == _LIST_TRIES - 1:
                raise
            continue
        if found is not None:
            return found
    what = f"The server said success, and its list lacks {job.model}"
    raise PaddockError.of(what, job.endpoint.url, "Retry", FailureKind.PROTOCOL)


async def compare(provider: Provider, job: Job, digest: str, announced: Iterable[str]) -> str:
    """What is listed must be what was announced; returns a remark where only the weights were.

    The digest of the list is that of the manifest the registry gave (servers before 0.19 wrote it anew, so theirs is that of the rewritten
    one). Where it is another, the tag may have moved since, or the registry answers each client differently (Hugging Face does): then the
    weights decide.

    Raises:
        PaddockError: The server has other weights than the registry named.
    """
    plan = job.plan or Plan()
    if digest and digest in (plan.digest, plan.canonical):
        return ""
    other = "listed with another manifest than the registry showed here" if plan.digest and digest else ""
    said = {one.removeprefix("sha256:") for one in announced}
    named = plan.weights or {one for one in said if _DIGEST.match(one)}
    try:
        weights = (await provider.show(job.model)).weights_digest if named else ""
    except PaddockError:
        weights = ""  # it is listed; what cannot be asked cannot be compared
    if not weights:
        return f"{other}, and its weights cannot be compared" if other else ""
    if weights not in named | said:
        what = f"The server lists {job.model} with other weights ({weights[:12]}) than the registry named: {MISMATCH}"
        raise PaddockError.of(what, job.endpoint.url, "Delete the model, then retry", FailureKind.PROTOCOL)
    return f"{other}; the weights are the same" if other else ""


def changed(before: ModelDetail, after: ModelDetail) -> Changes | None:
    """What a model had and has no more; None where nothing."""
    names_now = {name: {value for other, value in after.options if other == name} for name, _ in after.options}
    was = {name: {value for other, value in before.options if other == name} for name, _ in before.options}
    options = tuple((name, value) for name, value in before.options if was[name] != names_now.get(name))
    found = Changes(
        options,
        before.system if before.system and before.system != after.system else None,
        before.template if before.template and before.template != after.template else None,
    )
    return found or None


def digest_of(path: Path) -> str:
    """SHA-256 of a file as `sha256:…`; reads all of it: call it in a thread.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
