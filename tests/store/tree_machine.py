"""Any sequence of operations on conversations, against a model of dictionaries that a child could check."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tui.core.chat import AnswerState, Message, Role
from tui.core.clock import ManualClock
from tui.services.chat.memory import ChatStore

T = TypeVar("T")

WORDS = ("alpha", "beta", "gamma-ray", "日本語", "Zoë", "100%")
ASKED = {"al": "alpha", "beta": "beta", "gamma": "gamma-ray", "日本": "日本語", "本語": "日本語", "zo": "Zoë", "100": "100%"}
ENDS = (AnswerState.COMPLETE, AnswerState.STOPPED, AnswerState.LENGTH, AnswerState.FAILED, AnswerState.INTERRUPTED)
texts = st.lists(st.sampled_from(WORDS), max_size=3).map(" ".join)
picks = st.integers(0, 1 << 20)


@dataclass
class Node:
    """What we believe of a message."""

    id: int
    parent: int
    content: str
    state: AnswerState
    deleted: bool = False
    pinned: bool = False


@dataclass
class Chat:
    """What we believe of a conversation."""

    id: int
    title: str
    tags: tuple[str, ...] = ()
    deleted: bool = False
    tip: int = 0
    nodes: dict[int, Node] = field(default_factory=dict)

    def parent(self, number: int) -> int:
        above = self.nodes[number].parent
        while above and self.nodes[above].deleted:
            above = self.nodes[above].parent
        return above

    def living(self) -> list[int]:
        return [number for number, node in self.nodes.items() if not node.deleted]

    def path(self, number: int) -> list[int]:
        if not number:
            return []
        here = [] if self.nodes[number].deleted else [number]
        return [*self.path(self.parent(number)), *here]

    def children(self, number: int) -> list[int]:
        return [one for one in self.living() if self.parent(one) == number]

    def leaf(self, number: int) -> int:
        below = self.children(number)
        return self.leaf(below[-1]) if below else number

    def follows(self, number: int, ancestor: int) -> bool:
        while number and number != ancestor:
            number = self.nodes[number].parent
        return bool(number)


class Trees(RuleBasedStateMachine):
    """The store under test is made by a subclass."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock()
        self.loop = asyncio.new_event_loop()
        self.store: ChatStore = self.open()
        self.chats: dict[int, Chat] = {}
        self.tokens: list[tuple[Chat, tuple[int, ...]]] = []

    def open(self) -> ChatStore:
        raise NotImplementedError

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    def chat(self, pick: int) -> Chat:
        known = list(self.chats.values())
        return known[pick % len(known)]

    def node(self, pick: int) -> tuple[Chat, Node]:
        found = [(chat, node) for chat in self.chats.values() for node in chat.nodes.values() if not node.deleted]
        return found[pick % len(found)]

    def any_node(self) -> bool:
        return any(chat.living() for chat in self.chats.values())

    # --- operations

    @precondition(lambda self: len(self.chats) < 3)
    @rule(title=texts)
    def create(self, title: str) -> None:
        head = self.do(self.store.create("box", "m", title=title))
        self.chats[head.id] = Chat(head.id, title)

    @precondition(lambda self: self.chats)
    @rule(pick=picks, above=picks, text=texts, tip=st.booleans())
    def ask(self, pick: int, above: int, text: str, tip: bool) -> None:
        chat = self.chat(pick)
        parents = [0, *chat.living()]
        prompt = Message(0, chat.id, 0, Role.USER, text, parent=parents[above % len(parents)])
        answer = Message(0, chat.id, 0, Role.ASSISTANT, "", state=AnswerState.WAITING)
        stored = self.do(self.store.add_messages((prompt, answer), chain=True, tip=tip))
        assert (stored[0].parent, stored[1].parent) == (prompt.parent, stored[0].id)
        for one in stored:
            chat.nodes[one.id] = Node(one.id, one.parent, one.content, one.state)
        chat.tip = stored[1].id if tip else chat.tip

    @precondition(any_node)
    @rule(pick=picks, text=texts)
    def again(self, pick: int, text: str) -> None:
        chat, node = self.node(pick)
        above = chat.parent(node.id)
        one = self.do(self.store.add_message(Message(0, chat.id, 0, Role.ASSISTANT, text, parent=above)))
        chat.nodes[one.id] = Node(one.id, above, text, AnswerState.COMPLETE)
        chat.tip = one.id

    @precondition(any_node)
    @rule(pick=picks, text=texts)
    def stream(self, pick: int, text: str) -> None:
        _, node = self.node(pick)
        stored = self.store.message(node.id)
        assert stored is not None
        node.content, node.state = f"{node.content} {text}", AnswerState.WRITING
        self.do(self.store.append_answer(node.id, f" {text}"))
        self.do(self.store.update_answer(replace(stored, content=node.content, state=node.state)))

    @precondition(any_node)
    @rule(pick=picks, state=st.sampled_from(ENDS))
    def finish(self, pick: int, state: AnswerState) -> None:
        _, node = self.node(pick)
        stored = self.store.message(node.id)
        assert stored is not None
        node.state = state
        self.do(self.store.finish_answer(replace(stored, state=state, parent=0, pinned=not stored.pinned)))

    @precondition(any_node)
    @rule(pick=picks, following=st.booleans())
    def delete(self, pick: int, following: bool) -> None:
        chat, node = self.node(pick)
        wanted = self.store.subtree(node.id) if following else (node.id,)
        token = self.do(self.store.delete_messages(wanted))
        for number in token:
            assert not chat.nodes[number].deleted
            chat.nodes[number].deleted = True
        self.tokens.append((chat, token))

    @precondition(lambda self: self.tokens)
    @rule()
    def undo(self) -> None:
        chat, token = self.tokens.pop()
        self.do(self.store.undo_delete_messages(token))
        for number in token:
            chat.nodes[number].deleted = False

    @precondition(any_node)
    @rule(pick=picks, on=st.booleans())
    def pin(self, pick: int, on: bool) -> None:
        _, node = self.node(pick)
        node.pinned = on
        self.do(self.store.pin_message(node.id, on))

    @precondition(any_node)
    @rule(pick=picks)
    def show(self, pick: int) -> None:
        chat, node = self.node(pick)
        chat.tip = node.id
        self.do(self.store.set_tip(chat.id, node.id))

    @precondition(lambda self: self.chats)
    @rule(pick=picks, title=texts, tag=st.sampled_from(WORDS))
    def name(self, pick: int, title: str, tag: str) -> None:
        chat = self.chat(pick)
        chat.title, chat.tags = title, (tag,)
        self.do(self.store.rename(chat.id, title))
        self.do(self.store.set_tags(chat.id, [tag]))

    @precondition(lambda self: self.chats)
    @rule(pick=picks)
    def hide(self, pick: int) -> None:
        chat = self.chat(pick)
        if chat.deleted:
            self.do(self.store.undo_delete(chat.id))
        else:
            assert self.do(self.store.delete(chat.id)) == chat.id
        chat.deleted = not chat.deleted

    # --- what must hold

    @invariant()
    def the_trees_are_the_same(self) -> None:
        for chat in self.chats.values():
            assert [one.id for one in self.store.branch(chat.id)] == chat.path(chat.tip)
            assert self.store.tip(chat.id) == chat.tip
            rows = self.store.all_messages(chat.id)
            assert [one.id for one in rows] == chat.living()
            for one in rows:
                node = chat.nodes[one.id]
                assert (one.parent, one.content, one.state, one.pinned) == (chat.parent(one.id), node.content, node.state, node.pinned)
            groups = [chat.children(number) for number in (0, *chat.living())]
            assert self.store.branches(chat.id) == {one: tuple(group) for group in groups if len(group) > 1 for one in group}
            head = self.store.head(chat.id)
            assert (head is None) == chat.deleted
            assert head is None or head.messages == len(chat.living())

    @precondition(any_node)
    @rule(pick=picks)
    def what_follows_is_the_same(self, pick: int) -> None:
        chat, node = self.node(pick)
        assert self.store.leaf(node.id) == chat.leaf(node.id)
        assert list(self.store.subtree(node.id)) == [number for number in chat.living() if chat.follows(number, node.id)]
        assert [one.id for one in self.store.branch_to(chat.id, node.id)] == chat.path(node.id)

    @rule(asked=st.lists(st.sampled_from(sorted(ASKED)), min_size=1, max_size=2, unique=True))
    def what_is_found_is_the_same(self, asked: list[str]) -> None:
        expected = set()
        for chat in self.chats.values():
            ended = [node.content for node in chat.nodes.values() if node.state.ended and not node.deleted]
            said = " ".join((chat.title, *chat.tags, *ended)).split()
            if not chat.deleted and all(ASKED[word] in said for word in asked):
                expected.add(chat.id)
        found = self.do(self.store.search_async(" ".join(asked)))
        assert {one.head.id for one in found} == expected
        for one in found:
            assert not one.message or not self.chats[one.head.id].nodes[one.message].deleted

    def teardown(self) -> None:
        self.loop.close()
