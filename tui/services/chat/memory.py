"""Where conversations are kept: the database, or memory where nothing may or can be saved."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from tui.core.chat import AnswerState, Attachment, ConversationHead, ConversationSettings, Found, Message, Votes
from tui.core.clock import Clock
from tui.store.conversations import LISTED, Conversations, clean_tags
from tui.store.drafts import same
from tui.store.identity import Identity
from tui.store.search import excerpt, parse, plain
from tui.store.tree import Tree, parents_first
from tui.store.votes import NOBODY, Tally


class Memory:
    """All of `Conversations` that makes sense until the program ends; its numbers are below zero, none is a stored one."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._heads: dict[int, ConversationHead] = {}
        self._deleted: set[int] = set()
        self._settings: dict[int, ConversationSettings] = {}
        self._messages: dict[int, dict[int, Message]] = {}
        self._homes: dict[int, int] = {}
        self._hidden: set[int] = set()
        self._tips: dict[int, int] = {}
        self._images: dict[int, bytes] = {}
        self._drafts: dict[str, str] = {}
        self._draft_attachments: dict[str, tuple[Attachment, ...]] = {}
        self._prompts: list[str] = []
        self._votes: dict[tuple[int, int], tuple[Message | None, tuple[Message, ...], bool]] = {}
        self._number = 0

    def _next(self) -> int:
        self._number -= 1
        return self._number

    # --- conversations

    def heads(self, *, limit: int = LISTED, offset: int = 0) -> tuple[ConversationHead, ...]:
        """Pinned ones first, then the latest."""
        shown = [self._shown(number) for number in self._heads if number not in self._deleted]
        return tuple(sorted(shown, key=lambda head: (not head.pinned, -head.updated_at, head.id))[offset : offset + limit])

    def _shown(self, number: int) -> ConversationHead:
        return replace(self._heads[number], messages=len(self._tree(number).living()))

    def head(self, conversation: int) -> ConversationHead | None:
        """One conversation."""
        return self._shown(conversation) if conversation in self._heads and conversation not in self._deleted else None

    async def search_async(self, text: str, limit: int = 100) -> tuple[Found, ...]:
        """Conversations that hold every word and have every `#tag`."""
        query = parse(text)
        wanted = [plain(word) for word in query.words]
        found = []
        for head in self.heads(limit=limit):
            said = {0: " ".join((head.title, *head.tags)), **{one.id: one.content for one in self.all_messages(head.id) if one.state.ended}}
            holding = {number: [word in plain(text) for word in wanted] for number, text in said.items()}
            if query.tagged(head.tags) and all(map(any, zip(*holding.values(), strict=True))):
                best = max(holding, key=lambda number: (sum(holding[number]), -number)) if wanted else 0
                found.append(Found(head, best, excerpt(said[best], query.words) if best else ""))
        return tuple(found)

    async def create(self, provider: str, model: str, *, title: str = "", settings: ConversationSettings | None = None) -> ConversationHead:
        """Begin one."""
        now, number = self._clock.time(), self._next()
        self._heads[number] = ConversationHead(number, title, provider, model, now, now, 0)
        self._settings[number] = settings or ConversationSettings()
        self._messages[number] = {}
        return self._heads[number]

    async def rename(self, conversation: int, title: str) -> None:
        """Give it a title."""
        self._heads[conversation] = replace(self._heads[conversation], title=title)

    async def set_tags(self, conversation: int, tags: Iterable[str]) -> None:
        """Replace its tags."""
        self._heads[conversation] = replace(self._heads[conversation], tags=clean_tags(tags))

    async def set_pinned(self, conversation: int, on: bool) -> None:
        """Keep it at the top, or no longer."""
        self._heads[conversation] = replace(self._heads[conversation], pinned=on)

    async def use(self, conversation: int, provider: str, model: str) -> None:
        """Go on with another model."""
        self._heads[conversation] = replace(self._heads[conversation], provider=provider, model=model)

    async def set_settings(self, conversation: int, settings: ConversationSettings) -> None:
        """Replace the settings."""
        self._settings[conversation] = settings

    def settings(self, conversation: int) -> ConversationSettings:
        """What is set."""
        return self._settings.get(conversation, ConversationSettings())

    async def delete(self, conversation: int) -> int:
        """Hide it."""
        self._deleted.add(conversation)
        return conversation

    async def undo_delete(self, token: int) -> None:
        """Show it again."""
        self._deleted.discard(token)

    async def import_conversation(
        self, head: ConversationHead, settings: ConversationSettings, messages: Sequence[Message], tip: int = 0
    ) -> ConversationHead:
        """Take in one that was read from a file; every number in it is made anew."""
        made = await self.create(head.provider, head.model, title=head.title, settings=settings)
        self._heads[made.id] = replace(
            made, created_at=head.created_at or made.created_at, updated_at=head.updated_at or made.updated_at, pinned=head.pinned,
            tags=clean_tags(head.tags),
        )  # fmt: skip
        by_number, numbers = {message.id: message for message in messages}, {0: 0}
        for number, parent in parents_first([(message.id, message.parent) for message in messages]):
            one = by_number[number]
            state = one.state if one.state.ended else AnswerState.INTERRUPTED
            files = tuple(replace(file, id=0) for file in one.attachments)
            kept = numbers.get(one.keep_from, 0)
            one = replace(one, conversation=made.id, parent=numbers[parent], keep_from=kept, state=state, attachments=files)
            numbers[number] = self._tips[made.id] = self._store(one).id
        self._tips[made.id] = numbers.get(tip) or self._tips.get(made.id, 0)
        return self._shown(made.id)

    async def take_lease(self, conversation: int) -> Identity | None:
        """Nobody else can see it."""
        return None

    async def release_lease(self, conversation: int) -> None:
        """Nobody else can see it."""

    def lease_holder(self, conversation: int) -> Identity | None:
        """Nobody else can see it."""
        return None

    # --- messages

    def _tree(self, conversation: int) -> Tree:
        rows = self._messages.get(conversation, {}).values()
        return Tree((message.id, message.parent, message.id not in self._hidden) for message in rows)

    def _load(self, conversation: int, tree: Tree, numbers: Iterable[int]) -> tuple[Message, ...]:
        rows = self._messages.get(conversation, {})
        return tuple(replace(rows[number], parent=tree.parent(number)) for number in numbers)

    def branch(self, conversation: int) -> tuple[Message, ...]:
        """The messages of the branch that is shown."""
        return self.branch_to(conversation, self.tip(conversation))

    def branch_to(self, conversation: int, message: int) -> tuple[Message, ...]:
        """The messages from the first one to this one."""
        tree = self._tree(conversation)
        return self._load(conversation, tree, tree.path(message))

    def branches(self, conversation: int) -> Mapping[int, tuple[int, ...]]:
        """Of each message that has siblings: their ids in order."""
        return self._tree(conversation).branches()

    def leaf(self, message: int) -> int:
        """Where one arrives who follows the newest one each time."""
        return self._tree(self._homes.get(message, 0)).leaf(message)

    def subtree(self, message: int) -> tuple[int, ...]:
        """A message and all that follows it."""
        return self._tree(self._homes.get(message, 0)).subtree(message)

    def all_messages(self, conversation: int) -> tuple[Message, ...]:
        """Every message of the tree."""
        tree = self._tree(conversation)
        return self._load(conversation, tree, tree.living())

    def message(self, number: int) -> Message | None:
        """One message."""
        home = self._homes.get(number, 0)
        return None if not home or number in self._hidden else self._load(home, self._tree(home), (number,))[0]

    def tip(self, conversation: int) -> int:
        """The last message of the branch that is shown."""
        return self._tips.get(conversation, 0)

    async def set_tip(self, conversation: int, message: int) -> None:
        """Show the branch that ends with this message."""
        self._tips[conversation] = message

    def compared(self, conversation: int, comparison: int) -> tuple[Message, ...]:
        """The answers of a comparison."""
        return tuple(one for one in self.all_messages(conversation) if comparison and one.comparison == comparison)

    def next_comparison(self, conversation: int) -> int:
        """A number that no comparison has."""
        return 1 + max((one.comparison for one in self._messages.get(conversation, {}).values()), default=0)

    def find_answer(self, request: str) -> Message | None:
        """The newest complete answer to a request with this digest."""
        found = [
            message
            for conversation in self._heads.keys() - self._deleted
            for message in self.all_messages(conversation)
            if request and message.request == request and message.state is AnswerState.COMPLETE
        ]
        return min(found, key=lambda message: message.id, default=None)

    def image(self, attachment: int) -> bytes:
        """The bytes of an image."""
        return self._images.get(attachment, b"")

    def _attach(self, attachments: Iterable[Attachment]) -> tuple[Attachment, ...]:
        stored = []
        for one in attachments:
            number = self._next()
            self._images[number] = one.data or self._images.get(one.id, b"")
            stored.append(replace(one, id=number, data=b""))
        return tuple(stored)

    def _store(self, message: Message) -> Message:
        rows, number = self._messages[message.conversation], self._next()
        files, at = self._attach(message.attachments), message.created_at or self._clock.time()
        rows[number] = replace(message, id=number, seq=len(rows) + 1, created_at=at, attachments=files)
        self._homes[number] = message.conversation
        return rows[number]

    async def add_message(self, message: Message, *, tip: bool = True) -> Message:
        """Append one after its parent."""
        return (await self.add_messages((message,), tip=tip))[0]

    async def add_messages(self, messages: Sequence[Message], *, chain: bool = False, tip: bool = True) -> tuple[Message, ...]:
        """Append several; with `chain` each follows the one before it here."""
        stored: list[Message] = []
        for message in messages:
            stored.append(self._store(replace(message, parent=stored[-1].id if chain and stored else message.parent)))
        if tip:
            self._tips[messages[0].conversation] = stored[-1].id
        self._touch(messages[0].conversation)
        return tuple(stored)

    def _touch(self, conversation: int) -> None:
        self._heads[conversation] = replace(self._heads[conversation], updated_at=self._clock.time())

    async def append_answer(self, number: int, content: str = "", thinking: str = "", state: AnswerState = AnswerState.WRITING) -> None:
        """The text is in memory anyway: `finish_answer` brings it."""

    async def update_answer(self, message: Message) -> None:
        """Replace everything of a message but its place, whether it is pinned, and what is attached."""
        rows = self._messages[message.conversation]
        old = rows[message.id]
        rows[message.id] = replace(message, parent=old.parent, pinned=old.pinned, attachments=old.attachments)

    async def finish_answer(self, message: Message) -> None:
        """Replace a message at its end."""
        await self.update_answer(message)
        self._touch(message.conversation)

    async def set_energy(self, message: int, joules: float) -> None:
        """Add the energy of an answer."""
        rows = self._messages[self._homes[message]]
        rows[message] = replace(rows[message], timeline=replace(rows[message].timeline, joules=joules))

    async def pin_message(self, message: int, on: bool) -> None:
        """Keep it in what is sent, or not."""
        rows = self._messages[self._homes[message]]
        rows[message] = replace(rows[message], pinned=on)

    async def delete_messages(self, numbers: Iterable[int]) -> tuple[int, ...]:
        """Hide messages."""
        token = tuple(number for number in numbers if number in self._homes and number not in self._hidden)
        self._hidden.update(token)
        return token

    async def undo_delete_messages(self, token: Iterable[int]) -> None:
        """Bring them back."""
        self._hidden.difference_update(token)

    # --- votes

    async def add_vote(
        self, conversation: int, prompt: int, comparison: int, winner: Message | None, others: Sequence[Message], blind: bool
    ) -> None:
        """Remember the vote on a comparison."""
        self._votes[conversation, comparison] = (winner, tuple(others), blind)

    def vote_of(self, conversation: int, comparison: int) -> int | None:
        """The id of the answer voted for, -1 for none of them, None before a vote."""
        vote = self._votes.get((conversation, comparison))
        return None if vote is None else NOBODY if vote[0] is None else vote[0].id

    def votes(self) -> tuple[Votes, ...]:
        """How each model fared in what is kept here."""
        tally = Tally()
        for winner, others, blind in self._votes.values():
            tally.vote(None if winner is None else (winner.provider, winner.model), [(one.provider, one.model) for one in others], blind)
        for conversation in self._heads:
            for one in self.all_messages(conversation):
                if one.comparison and one.state.ended:
                    tally.answer(one.provider, one.model, one.metrics, one.timeline)
        return tally.result()

    # --- drafts and prompts

    def draft(self, key: str) -> str:
        """What was typed."""
        return self._drafts.get(key, "")

    async def set_draft(self, key: str, text: str) -> None:
        """Keep what was typed."""
        self._drafts[key] = text

    def draft_attachments(self, key: str) -> tuple[Attachment, ...]:
        """What goes with the next prompt."""
        return self._draft_attachments.get(key, ())

    async def set_draft_attachments(self, key: str, attachments: Sequence[Attachment]) -> tuple[Attachment, ...]:
        """Keep what goes with the next prompt; returns it as stored."""
        before = {same(one): one for one in self.draft_attachments(key)}
        kept: list[Attachment] = []
        for one in attachments:
            known = before.pop(same(one), None)
            kept.append(known if known is not None else self._attach((one,))[0])
        for gone in before.values():
            self._images.pop(gone.id, None)
        self._draft_attachments[key] = tuple(kept)
        return self._draft_attachments[key]

    def prompts(self) -> tuple[str, ...]:
        """Latest first."""
        return tuple(reversed(self._prompts))

    async def add_prompt(self, text: str) -> None:
        """Remember one."""
        self._prompts = [*(other for other in self._prompts if other != text), text]


ChatStore = Conversations | Memory
