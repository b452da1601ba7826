"""Which processes and GPUs of this machine a loaded model is on.

A model's processes are those that come from the holder of its server's port and name its weights, its name or stand alone; the GPU
memory of these is the model's. Where the holder is hidden or only passes on (another account, a container), a GPU process that names
its weights, or a hidden or server's process of a fitting size, is taken: `about`. Everything here is pure but `look`, which reads
`/proc` and is called off the loop.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import Final

from tui.core.fit import CONTEXT_OVERHEAD
from tui.core.models import ModelKey, RunningModel
from tui.core.record import record
from tui.hardware.sample import Gpu, Sample
from tui.providers.ports import Holder
from tui.services.own_use import PROC, Held, Process, children_of, command_line, descendants, families, held, processes

NEAR: Final = 0.15
"""Share of a model's size by which a process may differ to be taken for it."""
NEAR_BYTES: Final = 700_000_000
"""Bytes by which it may always differ: the driver's context and buffers are in no figure of a server."""
MOST: Final = 512
"""Processes of servers whose command lines and memory are read."""
_BLOB: Final = re.compile(r"sha256[-:]([0-9a-f]{64})(?:\Z|[^0-9a-f])")
_SERVERS: Final = re.compile(r"(?i)ollama|llama|vllm|sglang|koboldcpp|local-ai|localai|lm-?studio|text-generation|mistralrs")
"""Names of programs that serve models."""
_NAMES: Final = frozenset({"--alias", "-a", "--model", "-m", "--served-model-name", "--model-path", "--model-id"})


@record(frozen=True)
class Seen:
    """What was seen of this machine's processes.

    Attributes:
        known: All that this account may see.
        families: By provider: the holder of its port and what comes from it.
        roots: By provider: the holder.
        commands: Words of the command lines of these and of the processes on GPUs, cleaned.
        held: Main memory of these.
    """

    known: Mapping[int, Process] = field(default_factory=dict)
    families: Mapping[str, frozenset[int]] = field(default_factory=dict)
    roots: Mapping[str, int] = field(default_factory=dict)
    commands: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    held: Mapping[int, Held] = field(default_factory=dict)


@record(frozen=True)
class Join:
    """Where a model is.

    Attributes:
        pids: Its processes, where they are known.
        gpus: Bytes by GPU uuid.
        ram: Bytes of main memory that are in use for it.
        mapped: Bytes of its files that are mapped into main memory; these are cache, and given back when needed.
        about: Whose the GPU memory is, or how much, is concluded.
        about_ram: The same of `ram`.
        guessed: GPU processes that were taken for its own by their size.
    """

    pids: frozenset[int] = frozenset()
    gpus: Mapping[str, int] = field(default_factory=dict)
    ram: int = 0
    mapped: int = 0
    about: bool = False
    about_ram: bool = False
    guessed: frozenset[int] = frozenset()


def look(holders: Mapping[str, Holder], proc: Path = PROC, on_gpus: Iterable[int] = ()) -> Seen:
    """Read what is needed of the servers' processes. Takes some milliseconds.

    Args:
        holders: Of the ports of the providers on this machine.
        proc: Where the kernel's files are.
        on_gpus: Processes on GPUs.
    """
    known = processes(proc)
    found = {name: families((holder,), known) for name, holder in holders.items()}
    pids = sorted({pid for family in found.values() for pid in family})[:MOST]
    roots = {name: holder.pid for name, holder in holders.items() if holder.pid is not None and holder.pid in known}
    named = sorted({*pids, *(pid for pid in on_gpus if pid in known)})[: 2 * MOST]
    return Seen(known, found, roots, {pid: command_line(pid, proc) for pid in named}, {pid: held(pid, proc) for pid in pids})


def look_at_sample(holders: Mapping[str, Holder], sample: Sample) -> Seen:
    """The same of a simulated machine, whose processes are in no `/proc`."""
    held_by = {one.pid: Held(one.memory) for one in sample.processes}
    roots = {name: holder.pid for name, holder in holders.items() if holder.pid is not None}
    known = {pid: Process(pid, 0, 0, "", 0.0) for pid in roots.values()}
    return Seen(known, {name: frozenset({pid}) for name, pid in roots.items()}, roots, {}, held_by)


def join(models: Sequence[RunningModel], seen: Seen, sample: Sample, digests: Mapping[ModelKey, str]) -> dict[ModelKey, Join]:
    """Where each model is.

    Args:
        models: What is loaded on the providers of this machine, and on no other.
        seen: Of `look`.
        sample: The newest one, with the processes of its GPUs.
        digests: Hex of the weights' blob of models, where known.
    """
    told: dict[ModelKey, tuple[frozenset[int], bool]] = {}
    for provider in dict.fromkeys(model.provider for model in models):
        told |= _of_server([model for model in models if model.provider == provider], seen, digests)
    by_pid = _by_pid(sample.gpus)
    owned = {pid for pids, _about in told.values() for pid in pids}
    found: dict[ModelKey, Join] = {}
    shared = _sharing(models, told)
    for model in models:
        key = (model.provider, model.key)
        pids, about = told[key]
        on_gpu, in_ram, others = shared.get(key, (1.0, 1.0, False))
        gpus = _added(by_pid.get(pid, {}) for pid in pids)
        gpus = {uuid: int(memory * on_gpu) for uuid, memory in gpus.items() if on_gpu}
        ram, mapped = _ram(pids, seen, in_ram)
        about = about or others
        about_ram = about
        guessed: frozenset[int] = frozenset()
        if not gpus and model.vram:
            gpus, guessed = _by_blob(digests.get(key, ""), by_pid, owned, seen)
            if not gpus:
                gpus, guessed = _by_size(model.vram, by_pid, owned, seen, sample.gpus)
            about = about or bool(gpus)
        if not pids and model.size is not None:
            ram, about_ram = max(0, model.size - (model.vram or 0)), True
        found[key] = Join(pids, gpus, ram, mapped, about, about_ram, guessed)
    return found


# --- processes of models -----------------------------------------------------------------------------------------------


def _of_server(models: Sequence[RunningModel], seen: Seen, digests: Mapping[ModelKey, str]) -> dict[ModelKey, tuple[frozenset[int], bool]]:
    """The processes of one server's models, and whether that is concluded."""
    provider = models[0].provider
    family = seen.families.get(provider, frozenset())
    root = seen.roots.get(provider)
    children = children_of({pid: seen.known[pid] for pid in family if pid in seen.known})
    said = {pid: _named(seen.commands.get(pid, ())) for pid in sorted(family)}
    wanted = {(model.provider, model.key): _words_of(model, digests) for model in models}
    found: dict[ModelKey, tuple[frozenset[int], bool]] = {}
    taken: set[int] = set()
    for key, words in wanted.items():
        pids = [pid for pid, names in said.items() if names & words and pid not in taken]
        below = {pid for one in pids for pid in descendants((one,), children) if pid != one}
        pids = [pid for pid in pids if pid not in below]
        alike = sum(bool(words & others) for others in wanted.values()) > 1
        mine = descendants(pids[:1] if alike else pids, children)  # tags of the same weights: one process each, in some order
        if mine and not (root in mine and len(models) > 1):  # one that names all of its models is everybody's
            taken |= mine
            found[key] = (mine, alike and len(pids) > 1)
    rest = frozenset(family - taken - ({root} if found else set()))
    return {key: found.get(key, (rest, False)) for key in wanted}


def _named(words: Sequence[str]) -> frozenset[str]:
    """What a command line says about models: digests of blobs, and values of options that name one."""
    said: set[str] = set()
    for index, word in enumerate(words):
        option, equals, value = word.partition("=")
        if option in _NAMES:
            value = value if equals else words[index + 1] if index + 1 < len(words) else ""
            said |= {value, value.rpartition("/")[2].removesuffix(".gguf")}
        said |= set(_BLOB.findall(word))
    return frozenset(said - {""})


def _words_of(model: RunningModel, digests: Mapping[ModelKey, str]) -> frozenset[str]:
    """What a command line would say of a model."""
    words = {model.key, model.name, model.key.rpartition("/")[2].removesuffix(".gguf"), digests.get((model.provider, model.key), "")}
    return frozenset(words - {""})


def _sharing(
    models: Sequence[RunningModel], told: Mapping[ModelKey, tuple[frozenset[int], bool]]
) -> dict[ModelKey, tuple[float, float, bool]]:
    """Of models in the same processes: each one's share of their GPU memory and main memory, by the sizes their server tells."""
    groups: dict[frozenset[int], list[RunningModel]] = {}
    for model in models:
        pids = told[(model.provider, model.key)][0]
        if pids:
            groups.setdefault(pids, []).append(model)
    found: dict[ModelKey, tuple[float, float, bool]] = {}
    for group in groups.values():
        if len(group) < 2:
            continue
        sizes = [model.size or model.vram or 0 for model in group]
        whole = sizes if all(sizes) else [1] * len(group)
        gpu, ram = whole, whole
        if all(model.vram is not None for model in group):
            gpu = [model.vram or 0 for model in group]
            if all(model.size for model in group):
                ram = [max(0, size - held) for size, held in zip(sizes, gpu, strict=True)]
        for model, on_gpu, in_ram in zip(group, _parts(gpu, whole), _parts(ram, whole), strict=True):
            found[(model.provider, model.key)] = (on_gpu, in_ram, True)
    return found


def _parts(amounts: Sequence[int], otherwise: Sequence[int]) -> list[float]:
    """Each one's share of the whole; of `otherwise` where nothing is told."""
    amounts = amounts if sum(amounts) else otherwise
    return [amount / sum(amounts) for amount in amounts]


# --- their memory ------------------------------------------------------------------------------------------------------


def _by_pid(gpus: Iterable[Gpu]) -> dict[int, dict[str, int]]:
    found: dict[int, dict[str, int]] = {}
    for gpu in gpus:
        for process in gpu.processes:
            if process.memory:
                mine = found.setdefault(process.pid, {})
                mine[gpu.uuid] = mine.get(gpu.uuid, 0) + process.memory
    return found


def _added(parts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    found: dict[str, int] = {}
    for part in parts:
        for uuid, memory in part.items():
            found[uuid] = found.get(uuid, 0) + memory
    return found


def _ram(pids: Iterable[int], seen: Seen, part: float) -> tuple[int, int]:
    mine = [seen.held[pid] for pid in pids if pid in seen.held]
    return int(sum(one.private for one in mine) * part), int(max((one.mapped for one in mine), default=0) * part)


def _by_blob(digest: str, by_pid: Mapping[int, dict[str, int]], owned: set[int], seen: Seen) -> tuple[dict[str, int], frozenset[int]]:
    """The GPU memory of a process elsewhere that was given these weights; in a container the holder of the port is another."""
    pids = [pid for pid in by_pid if digest and pid not in owned and digest in _named(seen.commands.get(pid, ()))]
    if not pids:
        return {}, frozenset()
    owned.add(pids[0])
    return by_pid[pids[0]], frozenset(pids[:1])


def _by_size(
    vram: int, by_pid: Mapping[int, dict[str, int]], owned: set[int], seen: Seen, gpus: Sequence[Gpu]
) -> tuple[dict[str, int], frozenset[int]]:
    """The GPU memory of a process that fits and cannot be seen, and that process; where the driver tells none, the only GPU's."""
    fitting = []
    for pid, parts in by_pid.items():
        if pid in owned or (pid in seen.known and not _SERVERS.match(seen.known[pid].name)):
            continue
        off = sum(parts.values()) - vram
        if -NEAR * vram <= off <= max(NEAR * vram, NEAR_BYTES):
            fitting.append((abs(off - CONTEXT_OVERHEAD), pid))
    if fitting:
        pid = min(fitting)[1]
        owned.add(pid)
        return by_pid[pid], frozenset({pid})
    real = [gpu for gpu in gpus if gpu.memory_total and not gpu.lost]
    if len(real) == 1 and not real[0].processes and (real[0].memory_used or 0) >= vram * (1 - NEAR):
        return {real[0].uuid: vram}, frozenset()
    return {}, frozenset()
