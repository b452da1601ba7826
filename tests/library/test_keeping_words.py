"""What is said about deleting, and what is different between versions."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable

from tui.core.kept import KeptKind, kept_name, kept_of
from tui.core.library import KeptModel
from tui.core.models import Model, ModelDetail
from tui.services.library.keeping_diff import MOST, differences, text_diff
from tui.services.library.keeping_trash import kept_models
from tui.services.library.keeping_words import Deleting, Freed, delete_question, dropped, freed, frees, kept_words, listed

GB = 1_000_000_000


def model(name: str, size: int | None = 5 * GB, digest: str = "", provider: str = "ollama") -> Model:
    return Model(provider, name, name, size=size, digest=digest or name)


def test_by_digests_what_stays_elsewhere_frees_nothing() -> None:
    one, twin, other = model("a:1", digest="x"), model("b:1", digest="x"), model("c:1", 2 * GB)
    assert freed([one], [one, twin, other]) == Freed(0)
    assert freed([one, twin], [one, twin, other]) == Freed(5 * GB, "up to")
    assert freed([one, other], [one, other]) == Freed(7 * GB, "up to")
    assert freed([one, model("d:1", None)], [one]) == Freed(5 * GB, "at least")
    assert freed([model("d:1", None)], []) == Freed(None)
    elsewhere = model("b:1", digest="x", provider="other")
    assert freed([one], [one, elsewhere]) == Freed(5 * GB, "up to")


def test_versions_and_copies_that_go_too_do_not_hold_the_blobs() -> None:
    one = model("a:1", digest="x")
    trashed = model(kept_name(KeptKind.TRASH, "b:1", 5), digest="x")
    version, foreign = model(kept_name(KeptKind.VERSION, "a:1", 5), digest="x"), model(kept_name(KeptKind.VERSION, "c:1", 5), digest="x")
    assert freed([one], [one, trashed, version]) == Freed(5 * GB, "up to")
    assert freed([one], [one, foreign]) == Freed(0)
    assert freed([trashed], [trashed, version]) == Freed(0)  # of what is kept only that itself goes
    assert freed([one], [one, trashed], at_once=True) == Freed(0)  # the trash stays as it is
    assert freed([], [one]) == Freed(None)


def test_what_the_disk_tells_counts_with_all_that_goes_too() -> None:
    one, version = model("a:1"), model(kept_name(KeptKind.VERSION, "a:1", 5))
    asked: list[set[tuple[str, str]]] = []

    def known(keys: Iterable[tuple[str, str]]) -> tuple[int, bool]:
        asked.append(set(keys))
        return 3 * GB, len(asked) == 1

    assert freed([one], [one, version, model("b:1")], known) == Freed(3 * GB)
    assert asked == [{("ollama", "a:1"), ("ollama", version.key)}]
    assert freed([one], [one], known) == Freed(3 * GB, "up to")


def test_questions_say_what_when_and_how_to_undo() -> None:
    many = [model(f"m{number}:1") for number in range(5)]
    what = Deleting(many, Freed(9 * GB, "up to"), hidden=many[:4], loaded=many[:1], pinned=many[:2], versions=1, trash=7 * 86_400.0)
    text = delete_question(what, 1_763_812_800.0)
    assert text.startswith("Move 5 models on ollama to the trash (4 of them hidden by the filter: m0:1, m1:1, m2:1 and 1 more)?")
    for part in ("Frees up to 9.0 GB on 29 Nov.", "m0:1 is loaded and will be unloaded first.", "models.pinned names m0:1 and m1:1."):
        assert part in text
    assert text.endswith("1 earlier version goes, too. z brings them back until then.")
    nothing = delete_question(Deleting([model("a:1")], Freed(0), trash=7 * 86_400.0), 1_794_000_000.0)
    assert re.search(r"Frees nothing: its layers are used by others. z brings it back until \d+ \w{3}\.\Z", nothing)
    stays = delete_question(Deleting([model("a:1")], Freed(5 * GB), trash=7 * 86_400.0, stays=True), 1_794_000_000.0)
    assert stays.endswith("Frees 5.0 GB once you empty it. z brings it back.")
    assert delete_question(Deleting(many[:1], Freed(0)), 0.0) == (
        "Delete m0:1 on ollama for good? Frees nothing: its layers are used by others. This cannot be undone."
    )
    assert frees(Freed(None), binary=False, when="on 5 Dec") == "What that frees is not known; it does so on 5 Dec."
    assert "at " in delete_question(Deleting(many[:1], Freed(GB), trash=600.0), 1_763_812_800.0)


def test_lists_of_names_and_ages() -> None:
    assert [listed(list("abcde")[:count]) for count in range(6)] == [
        "",
        "a",
        "a and b",
        "a, b and c",
        "a, b, c and 1 more",
        "a, b, c and 2 more",
    ]
    one = KeptModel("ollama", "k", KeptKind.TRASH, "a:1", 1000.0, 5 * GB, goes_at=2000.0)
    assert kept_words(one, 3000.0) == "deleted 33 min ago, 5.0 GB, goes now"
    foreign = KeptModel("ollama", "k", KeptKind.TRASH, "a:1", 1000.0)
    assert kept_words(foreign, 1030.0) == "deleted just now, stays until you empty the trash"


def test_X01_kept_names_survive_every_name_and_hostile_ones_stay_models() -> None:
    drawn = random.Random(7)
    alphabet = "abcXYZ019_-."
    for _ in range(300):
        part = "".join(drawn.choice("abcXYZ019_") + drawn.choice(alphabet) for _ in range(drawn.randint(1, 12)))
        original = drawn.choice([f"{part}:{part}", f"me/{part}:1", f"hf.co/org_x/{part}:Q4_K_M", f"localhost:5000/team/{part}:latest"])
        kept = kept_of(kept_name(KeptKind.TRASH, original, drawn.randint(0, 10**11)))
        assert kept is not None and kept.original == original
    hostile = ["trash-.paddock/library/x:1", "trash-1.paddock/x", "trash-1.paddock/library/\x1b[31mx:1", "xtrash-1.paddock/library/x:1"]
    assert [kept_of(name) for name in hostile] == [None] * 4
    assert kept_models("o", [model(name) for name in hostile], [], 60.0) == ()


def test_what_is_different_line_by_line() -> None:
    old = ModelDetail("o", "a", template="one\ntwo\nthree\nfour", options=(("num_ctx", "4096"),), weights_digest="aa" * 32, licence="MIT")
    new = ModelDetail("o", "b", template="one\ntwo\n3\nfour", options=(("num_ctx", "8192"),), weights_digest="bb" * 32, system="Be brief.")
    assert differences(old, new, 5 * GB, 6 * GB) == (
        "size:", "- 5.0 GB", "+ 6.0 GB", "weights:", "- aaaaaaaaaaaa", "+ bbbbbbbbbbbb", "options:", "- num_ctx 4096", "+ num_ctx 8192",
        "system:", "+ Be brief.", "template:", "  two", "- three", "+ 3", "  four", "licence:", "- MIT",
    )  # fmt: skip
    assert differences(old, old, 1, 1) == ()
    assert text_diff("a\n", "a") == ["  only white space at the end is different"]
    assert text_diff("\n".join("abcdefghij"), "\n".join("Abcdefghij".replace("i", "I"))) == [
        "- a",
        "+ A",
        "  b",
        "...",
        "  h",
        "- i",
        "+ I",
        "  j",
    ]
    assert len(text_diff("x\n" * (MOST + 1), "y\n")) == 2


def test_what_was_deleted_for_good_is_counted_where_not_all_went() -> None:
    assert dropped(["a", "b"], 2, (2 * 10**9, True), binary=False) == "a and b: deleted for good, 2.0 GB freed"
    assert dropped(["a"], 3, (10**9, False), binary=False) == "1 of 3 deleted for good: a, ~1.0 GB freed"
    assert dropped(["a"], 1, None, binary=False) == "a: deleted for good"
