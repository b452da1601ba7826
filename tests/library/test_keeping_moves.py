"""Models between names: the trash, renames and versions, interrupted at every step and raced by others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.library.shaky import Lab
from tui.core.clock import ManualClock
from tui.core.errors import FailureKind, PaddockError
from tui.core.kept import KeptKind, kept_name, kept_of
from tui.services.library.keep_now import keep_version
from tui.services.library.keeping_trash import HOLD, Steady, empty_due, interrupted, kept_models, own_trash, settle
from tui.store.model_moves import MoveKind

QWEN, PHI = "aa" * 32, "bb" * 32
AT = 1_700_000_000


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    one = await Lab(tmp_path).open()
    yield one
    await one.aclose()


def in_trash(lab: Lab, original: str = "qwen3:8b") -> list[str]:
    found = [(name, kept_of(name)) for name in lab.names]
    return [name for name, kept in found if kept is not None and kept.kind is KeptKind.TRASH and kept.original == original]


async def left(lab: Lab) -> list[str]:
    """What a next start says."""
    provider = lab.provider()
    return await settle(interrupted(lab.moves.list(), provider.endpoint), await provider.models(), lab.moves)


async def test_a_deleted_model_is_in_the_trash_and_comes_back(lab: Lab) -> None:
    moved = await lab.mover().to_trash("qwen3:8b")
    assert lab.unloaded == ["qwen3:8b"]
    assert lab.names == {"phi4:14b": PHI, moved.target: QWEN}
    assert moved.target == f"trash-{AT}.paddock/library/qwen3:8b"
    provider = lab.provider()
    (one,) = kept_models("lab", await provider.models(), own_trash(lab.moves.list(), provider.endpoint), 60.0)
    assert (one.original, one.digest, one.goes_at) == ("qwen3:8b", QWEN, AT + 60.0)
    back = await lab.mover().restore(moved.target)
    assert back.target == "qwen3:8b"
    assert lab.names == {"phi4:14b": PHI, "qwen3:8b": QWEN}
    assert lab.moves.list() == ()
    assert await left(lab) == []


@pytest.mark.parametrize("name", ["hf.co/bartowski/Qwen3-8B-GGUF:Q4_K_M", "me/mine:v1.2", "localhost:5000/team/m:latest"])
async def test_names_of_other_registries_come_back_as_they_were(lab: Lab, name: str) -> None:
    lab.names[name] = "dd" * 32
    moved = await lab.mover().to_trash(name)
    assert name not in lab.names
    assert (await lab.mover().restore(moved.target)).target == name
    assert lab.names[name] == "dd" * 32


async def test_versions_follow_a_model_that_comes_back_under_another_name(lab: Lab) -> None:
    version = await keep_version(lab.provider(), "qwen3:8b", lab.clock)
    moved = await lab.mover().to_trash("qwen3:8b")
    back = await lab.mover().restore(moved.target, "mine:1")
    assert (back.target, back.carried) == ("mine:1", 1)
    assert lab.names == {"phi4:14b": PHI, "mine:1": QWEN, f"version-{AT}.paddock/library/mine:1": QWEN}
    assert version not in lab.names


async def test_versions_stay_with_what_still_has_their_name(lab: Lab) -> None:
    version = await keep_version(lab.provider(), "qwen3:8b", lab.clock)
    moved = await lab.mover().to_trash("qwen3:8b")
    lab.names["qwen3:8b"] = "dd" * 32  # pulled anew
    back = await lab.mover().restore(moved.target, "mine:1")
    assert back.carried == 0 and version in lab.names
    first = await lab.mover().to_trash("mine:1")
    second = await lab.mover().to_trash("qwen3:8b")
    assert first.target != second.target
    lab.names[f"trash-{AT - 5}.paddock/library/qwen3:8b"] = QWEN
    assert (await lab.mover().restore(second.target, "mine:2")).carried == 0 and version in lab.names


async def test_delete_now_takes_the_versions_along(lab: Lab) -> None:
    kept = await keep_version(lab.provider(), "qwen3:8b", lab.clock)
    assert kept in lab.names
    assert await keep_version(lab.provider(), "qwen3:8b", lab.clock) == kept  # the same again is kept once
    moved = await lab.mover().delete_now("qwen3:8b")
    assert (moved.target, moved.carried) == ("", 1)
    assert lab.names == {"phi4:14b": PHI}


async def test_a_server_that_lies_about_a_copy_loses_nothing(lab: Lab) -> None:
    lab.server.lies.add("copy")
    with pytest.raises(PaddockError, match=r"not in its list: nothing was deleted"):
        await lab.mover().to_trash("qwen3:8b")
    assert lab.names["qwen3:8b"] == QWEN
    with pytest.raises(PaddockError, match=r"not in its list: nothing was deleted"):
        await lab.mover().rename("qwen3:8b", "mine")
    assert lab.names["qwen3:8b"] == QWEN


async def test_a_copy_that_is_another_model_deletes_nothing(lab: Lab) -> None:
    """An update finished between the copy and the list."""
    lab.server.before[("/api/tags", 2)] = lambda: lab.names.update({"qwen3:8b": "ee" * 32})
    with pytest.raises(PaddockError, match="are not the same: nothing was deleted"):
        await lab.mover().to_trash("qwen3:8b")
    assert lab.names["qwen3:8b"] == "ee" * 32
    assert lab.names[in_trash(lab)[0]] == QWEN


async def test_a_delete_that_did_not_happen_is_said(lab: Lab) -> None:
    lab.server.lies.add("delete")
    with pytest.raises(PaddockError, match="still listed"):
        await lab.mover().delete_now("qwen3:8b")
    with pytest.raises(PaddockError, match="is in the trash"):
        await lab.mover().to_trash("qwen3:8b")
    assert await left(lab) == ["Deleting qwen3:8b was interrupted: it is still here, and a copy of it is in the trash"]
    assert await left(lab) == []


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("step", range(1, 6))
async def test_Q20_a_delete_interrupted_at_every_step_loses_nothing(lab: Lab, step: int, after: bool) -> None:
    lab.server.arm(step, after=after)
    done = False
    try:
        await lab.mover().to_trash("qwen3:8b")
        done = True
    except PaddockError as error:
        assert error.failure.what and error.failure.remedy
    lab.server.repair()
    said = await left(lab)
    assert "qwen3:8b" in lab.names or in_trash(lab)
    if "qwen3:8b" in lab.names and in_trash(lab):
        assert said == ["Deleting qwen3:8b was interrupted: it is still here, and a copy of it is in the trash"]
    elif in_trash(lab) and not done:
        assert said == ["Deleting qwen3:8b was interrupted after its last step: it is in the trash"]
    else:
        assert said == []
    for key in in_trash(lab):  # and it comes back from there, whatever happened
        await lab.mover().restore(key)
    assert lab.names == {"phi4:14b": PHI, "qwen3:8b": QWEN}


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("step", range(1, 6))
async def test_Q20_a_rename_interrupted_at_every_step_keeps_the_source(lab: Lab, step: int, after: bool) -> None:
    lab.server.arm(step, after=after)
    with pytest.raises(PaddockError):
        await lab.mover().rename("qwen3:8b", "mine")
    lab.server.repair()
    there = {name for name, digest in lab.names.items() if digest == QWEN}
    assert there in ({"qwen3:8b"}, {"qwen3:8b", "mine:latest"}, {"mine:latest"})
    said = await left(lab)
    assert bool(said) == (len(there) == 2)
    if said:
        assert said == [
            "A rename was interrupted: qwen3:8b and mine:latest are the same model under two names; delete the one you do not want"
        ]
    assert lab.moves.list() == ()


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("step", range(1, 6))
async def test_Q20_bringing_back_interrupted_at_every_step_loses_nothing(lab: Lab, step: int, after: bool) -> None:
    key = (await lab.mover().to_trash("qwen3:8b")).target
    lab.server.arm(step, after=after)
    with pytest.raises(PaddockError):
        await lab.mover().restore(key)
    lab.server.repair()
    said = await left(lab)
    assert QWEN in lab.names.values()
    if "qwen3:8b" in lab.names and key in lab.names:
        assert said == ["Bringing back qwen3:8b was interrupted: it is here again, and its copy is still in the trash"]
    if key in lab.names:
        await lab.mover().restore(key)
    assert lab.names == {"phi4:14b": PHI, "qwen3:8b": QWEN}


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("step", range(1, 10))
async def test_Q20_going_back_to_a_version_interrupted_at_every_step_loses_neither(lab: Lab, step: int, after: bool) -> None:
    kept = await keep_version(lab.provider(), "qwen3:8b", lab.clock)
    lab.names["qwen3:8b"] = "ee" * 32
    lab.server.arm(step, after=after)
    try:
        await lab.mover().bring_back(kept)
    except PaddockError:
        pass
    lab.server.repair()
    assert {QWEN, "ee" * 32} <= set(lab.names.values())
    assert "qwen3:8b" in lab.names


@pytest.mark.parametrize("step", range(1, 6))
async def test_Q20_a_process_that_ends_at_every_step_of_a_rename(lab: Lab, step: int) -> None:
    """Cancelled in the middle of the n-th request, as by esc, or the end of the program."""
    reached, hold, count = asyncio.Event(), asyncio.Event(), 0
    server, answer = lab.server, lab.server._any

    async def held(exchange: object) -> None:
        nonlocal count
        count += 1
        if count == step:
            reached.set()
            await hold.wait()
        await answer(exchange)  # type: ignore[arg-type]

    server.routes = {"*": held}
    task = asyncio.create_task(lab.mover().rename("qwen3:8b", "mine"))
    async with asyncio.timeout(5):
        await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    server.routes = {"*": answer}
    server.repair()
    there = {name for name, digest in lab.names.items() if digest == QWEN}
    assert there and there <= {"qwen3:8b", "mine:latest"}
    assert bool(await left(lab)) == (len(there) == 2)
    hold.set()


async def test_P_a_move_that_somebody_works_at_is_not_called_interrupted(lab: Lab) -> None:
    endpoint = lab.provider().endpoint
    number = await lab.moves.begin("http://elsewhere:1", MoveKind.RENAME, "a", "b")
    assert interrupted(lab.moves.list(), endpoint) == ()
    await lab.moves.forget((number,))
    await lab.mover().to_trash("qwen3:8b")
    assert interrupted(lab.moves.list(), endpoint) == ()  # done


async def test_two_apps_deleting_at_once_one_wins(lab: Lab) -> None:
    one, two = lab.mover(), lab.mover()
    found = await asyncio.gather(one.to_trash("qwen3:8b"), two.to_trash("qwen3:8b"), return_exceptions=True)
    lost = [error for error in found if isinstance(error, PaddockError)]
    assert len(lost) <= 1
    for error in lost:
        assert error.failure.kind is FailureKind.NOT_FOUND
        assert "gone already" in error.failure.what
    assert "qwen3:8b" not in lab.names
    assert {lab.names[key] for key in in_trash(lab)} == {QWEN}


@pytest.mark.parametrize("seconds", [0, 5])
async def test_another_app_deletes_between_the_copy_and_the_delete(lab: Lab, seconds: int) -> None:
    """Of the other's copy and ours at least one stays; the newer one, where they are told apart."""
    theirs = f"trash-{AT + seconds}.paddock/library/qwen3:8b"

    def other() -> None:
        lab.names[theirs] = lab.names.pop("qwen3:8b")

    lab.server.before[("/api/delete", 1)] = other
    with pytest.raises(PaddockError, match="gone already: somebody else deleted it; it is in the trash"):
        await lab.mover().to_trash("qwen3:8b")
    assert in_trash(lab) == [theirs]
    assert await left(lab) == []


async def test_ollama_rm_in_the_middle_leaves_our_copy(lab: Lab) -> None:
    lab.server.before[("/api/delete", 1)] = lambda: lab.names.pop("qwen3:8b")
    with pytest.raises(PaddockError, match="in the trash"):
        await lab.mover().to_trash("qwen3:8b")
    (key,) = in_trash(lab)
    provider = lab.provider()
    assert key in own_trash(lab.moves.list(), provider.endpoint)


async def test_a_model_that_vanished_before_the_yes_is_gone_already(lab: Lab) -> None:
    del lab.names["qwen3:8b"]
    for work in (lab.mover().to_trash, lab.mover().delete_now):
        with pytest.raises(PaddockError, match="qwen3:8b is gone already"):
            await work("qwen3:8b")
    assert lab.names == {"phi4:14b": PHI}


async def test_a_rename_takes_the_versions_along_and_refuses_names_that_are_taken(lab: Lab) -> None:
    kept = await keep_version(lab.provider(), "qwen3:8b", lab.clock)
    lab.names["qwen3:8b"] = "ee" * 32
    for taken, words in (("PHI4:14b", "already"), ("qwen3:8B", "already"), (kept, "names what it keeps"), ("--x", "not a valid name")):
        with pytest.raises(PaddockError, match=words):
            await lab.mover().rename("qwen3:8b", taken)
    moved = await lab.mover().rename("qwen3:8b", "me/mine:1")
    assert moved.carried == 1
    assert lab.names == {"phi4:14b": PHI, "me/mine:1": "ee" * 32, kept_name(KeptKind.VERSION, "me/mine:1", AT): QWEN}


async def test_a_rename_is_done_where_a_version_cannot_follow(lab: Lab) -> None:
    """Else pins and options would stay at the old name."""
    kept = await keep_version(lab.provider(), "qwen3:8b", lab.clock)
    lab.server.before[("/api/copy", 3)] = lambda: setattr(lab.server, "down", True)
    moved = await lab.mover().rename("qwen3:8b", "mine")
    lab.server.repair()
    assert (moved.target, moved.carried) == ("mine:latest", 0) and "Not all earlier versions of qwen3:8b followed" in moved.note
    assert {"mine:latest", kept} <= set(lab.names) and "qwen3:8b" not in lab.names
    assert lab.moves.list() == ()


async def test_going_back_to_a_version_keeps_what_was_current(lab: Lab) -> None:
    first = await keep_version(lab.provider(), "qwen3:8b", lab.clock)
    lab.names["qwen3:8b"] = "ee" * 32
    lab.clock.advance(3600)
    moved = await lab.mover().bring_back(first)
    assert lab.names == {"phi4:14b": PHI, "qwen3:8b": QWEN, moved.target: "ee" * 32}
    again = await lab.mover().bring_back(moved.target)
    assert lab.names["qwen3:8b"] == "ee" * 32 and lab.names[again.target] == QWEN
    del lab.names["qwen3:8b"]
    alone = await lab.mover().bring_back(again.target)
    assert lab.names == {"phi4:14b": PHI, "qwen3:8b": QWEN} and alone.target == ""


async def test_a_name_that_was_taken_meanwhile_needs_another(lab: Lab) -> None:
    key = (await lab.mover().to_trash("qwen3:8b")).target
    lab.names["qwen3:8b"] = "ee" * 32
    with pytest.raises(PaddockError, match="There is another qwen3:8b now"):
        await lab.mover().restore(key)
    await lab.mover().restore(key, "qwen3:old")
    assert lab.names == {"phi4:14b": PHI, "qwen3:8b": "ee" * 32, "qwen3:old": QWEN}


async def test_two_of_one_name_in_one_second_are_two(lab: Lab) -> None:
    first = (await lab.mover().to_trash("qwen3:8b")).target
    lab.names["qwen3:8b"] = "ee" * 32
    second = (await lab.mover().to_trash("qwen3:8b")).target
    assert first != second and lab.names[first] == QWEN and lab.names[second] == "ee" * 32


async def test_the_trash_empties_itself_of_what_is_ours_and_due(lab: Lab) -> None:
    mine = (await lab.mover().to_trash("qwen3:8b")).target
    version = kept_name(KeptKind.VERSION, "qwen3:8b", AT - 50)
    foreign, kept = kept_name(KeptKind.TRASH, "other:1", 10), kept_name(KeptKind.VERSION, "phi4:14b", 10)
    lab.names.update({version: "e1" * 32, foreign: "e2" * 32, kept: "e3" * 32})
    provider = lab.provider()
    assert await empty_due(provider, lab.mover(), lab.moves, 60.0, AT + 59.0) == []
    gone = await empty_due(provider, lab.mover(), lab.moves, 60.0, AT + 61.0)
    assert {one.key for one in gone} == {mine, version}
    assert set(lab.names) == {"phi4:14b", foreign, kept}
    assert lab.moves.list() == ()


async def test_what_is_installed_again_keeps_its_versions(lab: Lab) -> None:
    await lab.mover().to_trash("qwen3:8b")
    version = kept_name(KeptKind.VERSION, "qwen3:8b", AT - 50)
    lab.names.update({version: "e1" * 32, "qwen3:8b": "e4" * 32})
    await empty_due(lab.provider(), lab.mover(), lab.moves, 60.0, AT + 61.0)
    assert set(lab.names) == {"phi4:14b", "qwen3:8b", version}


async def test_only_kept_models_are_dropped(lab: Lab) -> None:
    with pytest.raises(PaddockError, match="not kept by Paddock"):
        await lab.mover().drop("qwen3:8b")
    odd = "trash-x.paddock/library/qwen3:8b"  # not a name of ours: a model like any other
    lab.names[odd] = "e1" * 32
    with pytest.raises(PaddockError, match="not kept by Paddock"):
        await lab.mover().drop(odd)
    await lab.mover().to_trash(odd)
    assert odd not in lab.names


async def test_without_a_database_it_works_all_the_same(lab: Lab) -> None:
    key = (await lab.mover(moves=False).to_trash("qwen3:8b")).target
    assert key in lab.names
    provider = lab.provider()
    (one,) = kept_models("lab", await provider.models(), own_trash(lab.moves.list(), provider.endpoint), 60.0)
    assert one.goes_at is None  # nobody remembers it as ours: a person empties it
    await lab.mover(moves=False).restore(key)
    assert lab.names["qwen3:8b"] == QWEN


async def test_D15_a_version_kept_after_the_clock_went_back_is_the_newest(lab: Lab) -> None:
    early = await keep_version(lab.provider(), "qwen3:8b", lab.clock)
    lab.names["qwen3:8b"] = "ee" * 32
    lab.clock.offset = -86_400.0
    late = await keep_version(lab.provider(), "qwen3:8b", lab.clock)
    assert await lab.mover().prune("qwen3:8b", 1) == 1
    assert late in lab.names and early not in lab.names


async def test_Q17_what_was_deleted_while_the_clock_was_not_set_does_not_go_by_itself(lab: Lab) -> None:
    lab.clock.offset = -float(AT)  # 1970, until the network tells the time
    key = (await lab.mover().to_trash("qwen3:8b")).target
    assert await empty_due(lab.provider(), lab.mover(), lab.moves, 60.0, AT + 60.0) == []
    assert key in lab.names


def test_Q17_a_clock_that_is_set_forward_is_not_trusted_for_a_while() -> None:
    clock = ManualClock()
    steady = Steady(clock)
    clock.advance(86_400)
    assert steady.hold() == 0
    clock.offset = 365 * 86_400.0
    assert steady.hold() == HOLD
    clock.advance(HOLD - 1)
    assert steady.hold() == 1
    clock.advance(1)
    assert steady.hold() == 0
    clock.offset = 0.0
    assert steady.hold() == 0


async def test_versions_are_pruned_from_the_oldest(lab: Lab) -> None:
    for at in (10, 20, 30):
        lab.names[kept_name(KeptKind.VERSION, "qwen3:8b", at)] = f"{at:064d}"
    assert await lab.mover().prune("qwen3:8b", 2) == 1
    assert kept_name(KeptKind.VERSION, "qwen3:8b", 10) not in lab.names
    assert await lab.mover().prune("qwen3:8b", 0) == 2
    assert set(lab.names) == {"qwen3:8b", "phi4:14b"}
