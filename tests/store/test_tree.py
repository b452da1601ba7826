"""Conversations as trees: any sequence of operations, on disk and in memory, and the index in step with all of it."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis.stateful import invariant, run_state_machine_as_test

from tests.store.in_step import check_index
from tests.store.tree_machine import Trees
from tui.services.chat.memory import ChatStore, Memory
from tui.store.conversations import Conversations
from tui.store.db import Database
from tui.store.tree import Tree, parents_first

BUDGET = settings(max_examples=25, stateful_step_count=40, suppress_health_check=list(HealthCheck))


class OnDisk(Trees):
    def open(self) -> ChatStore:
        self.folder = tempfile.TemporaryDirectory()
        self.database = Database(Path(self.folder.name) / "paddock.db")
        return Conversations(self.database, self.clock)

    @invariant()
    def the_index_is_in_step(self) -> None:
        check_index(self.database)

    def teardown(self) -> None:
        super().teardown()
        self.database.close()
        self.folder.cleanup()


class InMemory(Trees):
    def open(self) -> ChatStore:
        return Memory(self.clock)


def test_any_sequence_of_operations_on_disk() -> None:
    run_state_machine_as_test(OnDisk, settings=BUDGET)


def test_any_sequence_of_operations_in_memory() -> None:
    run_state_machine_as_test(InMemory, settings=BUDGET)


def test_what_followed_a_deleted_message_follows_the_one_before() -> None:
    #  1 ── 2 ── 3 ── 4
    #  └─── 5
    tree = Tree([(1, 0, True), (2, 1, False), (3, 2, True), (4, 3, True), (5, 1, True)])
    assert tree.path(4) == (1, 3, 4)
    assert tree.branches() == {3: (3, 5), 5: (3, 5)}
    assert tree.leaf(3) == 4
    assert tree.leaf(1) == 5
    assert tree.subtree(2) == (3, 4)
    assert tree.path(2) == (1,)
    assert tree.path(9) == () == tree.subtree(9)


def test_a_foreign_tree_is_put_in_order_and_circles_are_cut() -> None:
    assert parents_first([(5, 9), (9, 0), (1, 5)]) == [(9, 0), (5, 9), (1, 5)]
    assert parents_first([(1, 77)]) == [(1, 0)]
    assert parents_first([(1, 1), (2, 1)]) == [(1, 0), (2, 1)]
    assert parents_first([(1, 3), (2, 1), (3, 2)]) == [(2, 0), (3, 2), (1, 3)]
