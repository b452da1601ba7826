"""Whose memory it is: the parts always add up, and none is negative."""

from hypothesis import given, settings
from hypothesis import strategies as st

from tui.core.models import RunningModel
from tui.core.monitor import RAM, MemoryMap, MemoryPart
from tui.hardware.sample import Gpu, GpuProcess, MachineProcess, Memory, Sample
from tui.services.monitor.joining import Join
from tui.services.monitor.shares import memory_maps

GB = 10**9


def model(name: str, size: int | None = 6 * GB, vram: int | None = 6 * GB) -> RunningModel:
    return RunningModel("lab", name, name, size=size, vram=vram)


def parts(found: MemoryMap) -> list[tuple[str, str, str, float, bool]]:
    return [(part.kind, part.name, part.who, part.size / GB, part.about) for part in found.parts]


def test_a_gpu_and_the_machine() -> None:
    processes = (
        GpuProcess(101, 6 * GB, name="llama-server", user="ollama"),
        GpuProcess(200, 5 * GB, name="python", user="alice"),
        GpuProcess(201, 1 * GB, name="Xorg", user="root"),
        GpuProcess(900, 2 * GB),
    )
    sample = Sample(
        1.0,
        memory=Memory(64 * GB, 20 * GB, cache=10 * GB),
        gpus=(Gpu("G", 0, memory_total=24 * GB, memory_used=15 * GB, processes=processes, hidden=1),),
        processes=(MachineProcess(200, "python", "alice", 9 * GB), MachineProcess(101, "llama-server", "ollama", GB)),
        hidden_processes=3,
    )
    joins = {("lab", "a"): Join(frozenset({101}), {"G": 6 * GB}, GB, 6 * GB)}
    gpu, ram = memory_maps(sample, joins, [model("a")])
    assert parts(gpu) == [
        ("model", "a", "lab", 6, False),
        ("process", "python", "alice", 5, False),
        ("process", "Xorg", "root", 1, False),
        ("hidden", "", "", 2, False),
        ("rest", "", "", 1, False),
    ]
    assert (gpu.where, gpu.label, gpu.total, gpu.used) == ("G", "GPU0", 24 * GB, 15 * GB)
    assert parts(ram) == [
        ("model", "a", "lab", 1, False),
        ("process", "python", "alice", 9, False),
        ("hidden", "", "", 0, False),
        ("rest", "", "", 10, False),
    ]
    assert ram.where == RAM and ram.parts[2].count == 3


def test_a_model_on_the_processor_counts_with_its_mapped_file() -> None:
    sample = Sample(1.0, memory=Memory(64 * GB, 20 * GB, cache=10 * GB))
    (ram,) = memory_maps(sample, {("lab", "a"): Join(frozenset({1}), ram=GB, mapped=6 * GB)}, [model("a", vram=0)])
    assert parts(ram) == [("model", "a", "lab", 7, True), ("rest", "", "", 19, False)]
    assert ram.used == 26 * GB


def test_unified_memory_has_one_map() -> None:
    sample = Sample(1.0, memory=Memory(64 * GB, 20 * GB), gpus=(Gpu("G", 0, memory_total=64 * GB, memory_used=20 * GB, unified=True),))
    (ram,) = memory_maps(sample, {("lab", "a"): Join(frozenset({1}), ram=GB)}, [model("a")])
    assert ram.where == RAM and parts(ram) == [("model", "a", "lab", 6, True), ("rest", "", "", 14, False)]


def test_a_hidden_process_taken_for_a_model_is_not_counted_twice() -> None:
    gpu = Gpu("G", 0, memory_total=24 * GB, memory_used=9 * GB, processes=(GpuProcess(900, 7 * GB), GpuProcess(901, GB)), hidden=2)
    (found,) = memory_maps(
        Sample(1.0, gpus=(gpu,)), {("lab", "a"): Join(gpus={"G": 7 * GB}, about=True, guessed=frozenset({900}))}, [model("a")]
    )
    assert parts(found) == [("model", "a", "lab", 7, True), ("hidden", "", "", 1, False), ("rest", "", "", 1, False)]
    assert found.parts[1].count == 1


def test_more_than_is_used_is_cut_where_it_is_concluded() -> None:
    gpu = Gpu("G", 0, memory_total=24 * GB, memory_used=8 * GB, processes=(GpuProcess(5, 6 * GB, name="x", user="me"),))
    (found,) = memory_maps(Sample(1.0, gpus=(gpu,)), {("lab", "a"): Join(gpus={"G": 7 * GB}, about=True)}, [model("a")])
    assert parts(found) == [("model", "a", "lab", 2, True), ("process", "x", "me", 6, False)]


def test_lost_and_unknown_gpus_have_none() -> None:
    assert memory_maps(Sample(1.0, gpus=(Gpu("G", 0, memory_total=5, memory_used=1, lost=True), Gpu("H", 1))), {}, []) == ()


amounts = st.integers(min_value=-(2**40), max_value=2**70)
some = st.none() | amounts
gpus = st.builds(
    Gpu,
    uuid=st.sampled_from("GHI"),
    index=st.integers(0, 3),
    memory_total=some,
    memory_used=some,
    processes=st.lists(st.builds(GpuProcess, st.integers(1, 6), some, name=st.sampled_from(["", "x", "y"])), max_size=6).map(tuple),
    unified=st.booleans(),
    lost=st.booleans(),
)
joined = st.builds(
    Join,
    pids=st.frozensets(st.integers(1, 6)),
    gpus=st.dictionaries(st.sampled_from("GHI"), st.integers(0, 2**70)),
    ram=st.integers(0, 2**70),
    mapped=st.integers(0, 2**70),
    about=st.booleans(),
    about_ram=st.booleans(),
)


@settings(max_examples=150)
@given(
    st.lists(gpus, max_size=3, unique_by=lambda gpu: gpu.uuid),
    st.builds(Memory, total=some, used=some, cache=some),
    st.lists(st.builds(MachineProcess, st.integers(1, 6), st.just("p"), st.just("u"), amounts), max_size=20),
    st.dictionaries(st.sampled_from("abc"), joined),
    st.integers(0, 50),
    some,
)
def test_parts_add_up_and_are_never_negative(cards, memory, processes, joins, hidden, size) -> None:  # type: ignore[no-untyped-def]
    sample = Sample(1.0, memory=memory, gpus=tuple(cards), processes=tuple(processes), hidden_processes=hidden)
    for found in memory_maps(sample, {("lab", name): join for name, join in joins.items()}, [model(name, size, size) for name in "abc"]):
        assert sum(part.size for part in found.parts) == found.used <= max(0, found.total)
        assert all(part.size > 0 or (part.kind == "hidden" and part.count > 0 and part.size == 0) for part in found.parts)
        assert [part.kind for part in found.parts] == sorted(
            (part.kind for part in found.parts), key=["model", "process", "hidden", "rest"].index
        )
        assert isinstance(found.parts, tuple) and all(isinstance(part, MemoryPart) for part in found.parts)
