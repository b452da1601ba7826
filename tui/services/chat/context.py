"""What of a conversation is sent, how full the context is, and the alarm when the model saw less.

Reported figures are used where there are some, estimates (`tokens`) else, each marked as what it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from tui.core.chat import AnswerState, Message, Role
from tui.core.fit import Machine, Served, shape_of_cached
from tui.core.fit import estimate as estimate_need
from tui.core.models import Model, ModelDetail, RunningModel
from tui.core.names import same
from tui.core.record import record
from tui.services.chat.api import ContextCheck
from tui.services.chat.tokens import (
    IMAGE_TOKENS,
    PER_MESSAGE,
    UNMEASURED,
    Calibration,
    estimate,
    images,
    message_weight,
    weight,
)
from tui.text import count, size

ANSWER_SHARE: Final = 1 / 8
"""Of the context that is kept for the answer, where no `num_predict` says how long it may be."""
LEAST_ROOM: Final = 256
"""Tokens kept for an answer at least, in a context that has them."""
DROP_TO: Final = 3 / 4
"""Share of the context that what is left fills at most after the oldest were dropped: some turns follow before the next time."""
CLOSE: Final = 0.97
"""Share of the window from which a count ends at it."""
_TEMPLATE: Final = 64
"""Tokens that a template may put into every prompt, where that was not learned."""
FEWER: Final = 0.75
"""Share of what an earlier answer's prompt had, below which a later, longer prompt was cut."""


# --- what is sent ----------------------------------------------------------------------------------------------------


@record(frozen=True)
class Sent:
    """What of a branch is sent, and the summary of what is not, which belongs to the system prompt."""

    messages: tuple[Message, ...]
    summary: str = ""

    def system(self, system: str) -> str:
        """The system prompt with the summary."""
        return "\n\n".join(
            part for part in (system, f"Summary of the conversation so far:\n{self.summary}" if self.summary else "") if part
        )


def is_mark(message: Message) -> bool:
    """Whether this is a context mark: what stands before its `keep_from` is not sent any more."""
    return message.role is Role.SYSTEM and message.keep_from != 0


def sent(branch: Sequence[Message]) -> Sent:
    """What of a branch is sent: from the last context mark's `keep_from` on, and what is pinned before.

    Empty answers are left out; of two answers in a row the last counts; calls of tools go with all their results or not at all.
    """
    mark = next((message for message in reversed(branch) if is_mark(message)), None)
    plain = [message for message in branch if not is_mark(message)]
    start = _index_of(plain, mark.keep_from) if mark is not None else 0
    pinned = [message for message in plain[:start] if message.pinned]
    chosen = _one_answer(_paired([*pinned, *plain[start:]]), len(pinned))
    return Sent(tuple(chosen), mark.content.strip() if mark is not None else "")


def _index_of(messages: Sequence[Message], keep_from: int) -> int:
    """Where the first message stands that is still sent; if it was deleted, the next one stored after it."""
    for index, message in enumerate(messages):
        if message.id == keep_from:
            return index
    return next((index for index, message in enumerate(messages) if message.id > keep_from), len(messages))


def _paired(messages: Sequence[Message]) -> list[Message]:
    """Calls without all their results are not sent, nor results without their call; nor answers without anything."""
    found: list[Message] = []
    index = 0
    while index < len(messages):
        message = messages[index]
        index += 1
        if message.role is Role.TOOL:
            continue  # its call is not sent
        if message.role is not Role.ASSISTANT:
            found.append(message)
            continue
        results = []
        while message.tool_calls and index < len(messages) and messages[index].role is Role.TOOL:
            results.append(messages[index])
            index += 1
        if message.tool_calls and _answers_all(message.tool_calls, results):
            found += [message, *results]
        elif message.content.strip():
            found.append(replace(message, tool_calls=()) if message.tool_calls else message)
    return found


def _answers_all(calls: Sequence[Mapping[str, Any]], results: Sequence[Message]) -> bool:
    """By their ids, or where a server gives none by their number."""
    wanted = [str(call.get("id") or "") for call in calls]
    if len(results) < len(wanted):
        return False
    return not all(wanted) or set(wanted) <= {result.tool_call_id for result in results}


def _one_answer(messages: Sequence[Message], pinned: int) -> list[Message]:
    """Of two answers in a row the last one; pinned ones all stay."""
    found: list[Message] = []
    for message in messages:
        before = found[-1] if found else None
        if message.role is Role.ASSISTANT and before is not None and before.role is Role.ASSISTANT and not before.tool_calls:
            if pinned and before.pinned:
                message = replace(message, content=f"{before.content}\n\n{message.content}")
            found.pop()
        found.append(message)
    return found


# --- how full --------------------------------------------------------------------------------------------------------


@record(frozen=True)
class Usage:
    """Tokens of context used, and whether that is a guess; None where there is nothing to count."""

    used: int | None
    estimated: bool


def usage(
    branch: Sequence[Message], system: str = "", calibration: Calibration = UNMEASURED, tools: Sequence[Mapping[str, Any]] = ()
) -> Usage:
    """What the last answer's figures say, with an estimate of what was added since."""
    what = sent(branch)
    if not what.messages:
        return Usage(None, True)
    last = _last_counted(branch, what.messages)
    if last is None:
        return Usage(estimate(what.messages, what.system(system), calibration, tools), True)
    metrics, later = what.messages[last].metrics, what.messages[last + 1 :]
    told = (metrics.prompt_tokens or 0) + (metrics.output_tokens or 0)
    return Usage(told + _added(later, calibration), bool(later))


def upcoming(
    branch: Sequence[Message],
    system: str = "",
    calibration: Calibration = UNMEASURED,
    tools: Sequence[Mapping[str, Any]] = (),
    *,
    model: str = "",
) -> int:
    """About how many tokens the next request has: what the server counted of its beginning, and an estimate of the rest.

    Thoughts of an answer are not sent again, so its text is weighed anew. Without a count of this model all is estimated.
    """
    what = sent(branch)
    last = _last_counted(branch, what.messages)
    answer = what.messages[last] if last is not None else None
    if last is not None and answer is not None and not (model and not _of_model(answer, model)):
        counted = answer.metrics.prompt_tokens or 0
        if not answer.prompt_estimate or counted >= answer.prompt_estimate * FEWER:  # else it may have been cut
            return counted + _added(what.messages[last:], calibration)
    return estimate(what.messages, what.system(system), calibration, tools)


def _added(messages: Iterable[Message], calibration: Calibration) -> int:
    return round(sum(_cost(message, calibration) for message in messages))


def _cost(message: Message, calibration: Calibration) -> float:
    return message_weight(message) / calibration.ratio + PER_MESSAGE + IMAGE_TOKENS * images((message,))


def _last_counted(branch: Sequence[Message], chosen: Sequence[Message]) -> int | None:
    """Index of the last answer whose prompt the server counted, unless what is sent before it was changed since by a mark."""
    marked = max((index for index, message in enumerate(branch) if is_mark(message)), default=-1)
    fresh = {id(message) for message in branch[marked + 1 :]}
    for index in range(len(chosen) - 1, -1, -1):
        message = chosen[index]
        if message.role is Role.ASSISTANT and message.metrics.prompt_tokens is not None:
            return index if id(message) in fresh else None
    return None


def _of_model(answer: Message, model: str) -> bool:
    return answer.model == model or same(answer.model, model)


def window(provider: str, model: str, running: Sequence[RunningModel], options: Mapping[str, Any]) -> int | None:
    """The served context length: of the loaded model, else the one asked for."""
    loaded = loaded_as(provider, model, running)
    if loaded is not None and loaded.context:
        return loaded.context
    asked = options.get("num_ctx")
    return asked if isinstance(asked, int) and asked > 0 else None


def loaded_as(provider: str, model: str, running: Iterable[RunningModel]) -> RunningModel | None:
    """A model as it is in memory."""
    return next((one for one in running if one.provider == provider and (one.key == model or same(one.name, model))), None)


def answer_room(served: int, options: Mapping[str, Any]) -> int:
    """Tokens to keep for an answer: its longest, at most half of the context, or `ANSWER_SHARE`."""
    longest = options.get("num_predict")
    if isinstance(longest, int) and longest > 0:
        return min(longest, served // 2)
    return min(max(LEAST_ROOM, round(served * ANSWER_SHARE)), served // 2)


# --- before it is sent -----------------------------------------------------------------------------------------------


@record(frozen=True)
class Place:
    """The model that will be asked, and its server.

    Attributes:
        settable: The server takes a context length with a request (`num_ctx`).
        machine: Memory of this machine; None where the server does not run on it or nothing was measured yet.
    """

    provider: str
    model: str
    running: Sequence[RunningModel] = ()
    listed: Model | None = None
    detail: ModelDetail | None = None
    settable: bool = True
    machine: Machine | None = None
    binary: bool = False


def check(
    branch: Sequence[Message],
    place: Place,
    *,
    system: str = "",
    tools: Sequence[Mapping[str, Any]] = (),
    options: Mapping[str, Any] | None = None,
    calibration: Calibration = UNMEASURED,
) -> ContextCheck:
    """What sending this branch would mean; it ends with what is typed and attached."""
    options = options or {}
    tokens = upcoming(branch, system, calibration, tools, model=place.model)
    served = _to_be_served(place, options)
    if served is None:
        return ContextCheck(tokens)
    over = tokens + answer_room(served, options) > served
    larger = _larger(tokens, served, place, options) if over else None
    return ContextCheck(tokens, served, over, larger, _costs(served, larger, place) if larger else "")


def _to_be_served(place: Place, options: Mapping[str, Any]) -> int | None:
    """The context that the next request will have: the one asked for, of the loaded model, or of the model's own parameters."""
    asked, trained = options.get("num_ctx"), _trained(place)
    if place.settable and isinstance(asked, int) and asked > 0:
        return min(asked, trained) if trained else asked
    own = dict(place.detail.options).get("num_ctx", "") if place.detail is not None and place.settable else ""
    return window(place.provider, place.model, place.running, {}) or (int(own) if own.isdecimal() else None)


def _larger(tokens: int, served: int, place: Place, options: Mapping[str, Any]) -> int | None:
    """The next power of two that holds the prompt and an answer, or the trained length where that does."""
    if not place.settable:
        return None
    trained = _trained(place)
    if trained is None or trained <= served:
        return None
    length = 1 << served.bit_length()
    while length < trained and tokens + answer_room(length, options) > length:
        length *= 2
    length = min(length, trained)
    return length if tokens + answer_room(length, options) <= length else None


def _trained(place: Place) -> int | None:
    loaded = loaded_as(place.provider, place.model, place.running)
    known = (
        loaded.trained_context if loaded else None,
        place.detail.context if place.detail else None,
        place.listed.context if place.listed else None,
    )
    return next((length for length in known if length), None)


def _costs(served: int, larger: int, place: Place) -> str:
    """`+1.2 GB, 7.9 of 24 GB free after it`: the larger cache, and what is left of the memory it is in."""
    shape = shape_of_cached(place.detail) if place.detail is not None else None
    weights = place.listed.size if place.listed is not None else None
    loaded = loaded_as(place.provider, place.model, place.running)
    slots = max(1, loaded.slots or 1) if loaded is not None else 1
    if shape is None and not weights:
        return ""
    now, then = (estimate_need(weights or 0, shape, length, Served(slots=slots)) for length in (served, larger))
    more = then.kv_cache - now.kv_cache
    said = f"about +{size(more, binary=place.binary)}"
    if place.machine is None:
        return said
    on_gpu = place.machine.gpus > 0 and (loaded is None or bool(loaded.vram))
    free, total = (place.machine.gpu_free, place.machine.gpu_total) if on_gpu else (place.machine.ram_free, place.machine.ram_total)
    taken = more if loaded is not None else more + now.total
    if taken > free:
        return f"{said}, only {size(free, binary=place.binary)} of {size(total, binary=place.binary)} is free"
    return f"{said}, {size(free - taken, binary=place.binary)} of {size(total, binary=place.binary)} free after it"


def oldest_to_drop(
    branch: Sequence[Message],
    served: int,
    *,
    system: str = "",
    tools: Sequence[Mapping[str, Any]] = (),
    options: Mapping[str, Any] | None = None,
    calibration: Calibration = UNMEASURED,
) -> int:
    """Id of the first message that is still sent when the oldest are dropped; 0 where nothing can be dropped.

    It is always a prompt, and the last prompt always stays. What is left fills at most `DROP_TO` of the context, and leaves
    the answer its room; where even the last exchange is more, only that is left.
    """
    room = min(round(served * DROP_TO), served - answer_room(served, options or {}))
    plain = [message for message in branch if not is_mark(message)]
    now = sent(branch).messages
    first = now[0].id if now else 0
    prompts = [message.id for message in plain if message.role is Role.USER and message.id]
    later = prompts[prompts.index(first) + 1 :] if first in prompts else [prompt for prompt in prompts if prompt > first]
    if not later:
        return 0
    fixed = estimate((), system, calibration, tools)
    costs = [_cost(message, calibration) for message in plain]
    before, kept = 0.0, sum(costs)  # what is pinned before a place, and what stands from it on
    keepers = set(later)
    for message, cost in zip(plain, costs, strict=True):
        if message.id in keepers and fixed + before + kept <= room:
            return message.id
        before += cost if message.pinned else 0
        kept -= cost
    return later[-1]


# --- after it was sent -----------------------------------------------------------------------------------------------


def alarm(
    answer: Message,
    earlier: Sequence[Message],
    served: int | None,
    *,
    system: str = "",
    calibration: Calibration = UNMEASURED,
) -> str:
    """The sentence for an answer whose prompt was cut without a word, else empty.

    Servers cut a prompt that is too long at the window, or drop whole messages from its beginning, and say nothing
    (recordings, chat 11). So the count tells only beside what was sent: it ends exactly at the window; or it is less than
    was surely sent, is what the newest messages come to, and all of them did not fit; or it is less than an earlier, shorter
    prompt of this branch had. Counts include what came from a cache (ollama-api 2.5). Images, tools and thoughts are left
    out of what was surely sent: models without them leave them out as well.

    Args:
        answer: With the server's count and our estimate of all that was sent.
        earlier: The branch before it.
        served: The context length it was served with, None while unknown.
        system: The system prompt that was sent.
        calibration: As it was before this answer.
    """
    seen, told = answer.metrics.prompt_tokens, answer.prompt_estimate
    if seen is None and told and served is not None and told > served and _got_nothing(answer):
        return f"about {count(_rounded(told))} tokens were sent; the context holds {count(served)}"
    if seen is None or not told or (served is not None and seen > served):
        return ""
    what = sent(earlier)
    weights = [weight(what.system(system)), *(_sure_weight(message) for message in what.messages)]
    template = calibration.tokens(0, len(what.messages)) if calibration.measured else 0
    low = (sum(weights) / calibration.ratio + template) / (1 + calibration.margin)
    may_be_over = served is None or told * (1 + calibration.margin) > served
    cut = served is not None and (seen == served or (seen >= served * CLOSE and seen < low))
    dropped = served is not None and may_be_over and seen < low and _is_an_end(seen, weights, served, calibration)
    shrunk = may_be_over and _shrunk(answer, earlier, what.messages, seen)
    if not (cut or dropped or shrunk):
        return ""
    if told <= seen * 1.02:
        return f"the model saw {count(seen)} tokens, all that its context holds; the oldest are cut off"
    return f"the model saw {count(seen)} of about {count(_rounded(told))} tokens; oldest dropped"


def _got_nothing(answer: Message) -> bool:
    return answer.state in (AnswerState.FAILED, AnswerState.INTERRUPTED) and not answer.content and not answer.thinking


def _sure_weight(message: Message) -> float:
    return message_weight(replace(message, tool_calls=()) if message.tool_calls else message)


def _is_an_end(seen: int, weights: Sequence[float], served: int, calibration: Calibration) -> bool:
    """Whether some of the newest messages, with the system prompt, come to this count, and one more would not have fitted."""
    margin, template = 1 + calibration.margin, 0 if calibration.base else _TEMPLATE
    for first in range(2, len(weights)):
        pieces = len(weights) - first + bool(weights[0])
        newest = calibration.tokens(weights[0] + sum(weights[first:]), pieces)
        one_more = calibration.tokens(weights[0] + sum(weights[first - 1 :]), pieces + 1)
        if (
            newest / margin - calibration.base <= seen <= newest * margin + PER_MESSAGE * pieces + template
            and one_more * margin + template > served
        ):
            return True
    return False


def _shrunk(answer: Message, earlier: Sequence[Message], now: Sequence[Message], seen: int) -> bool:
    """Whether the same model saw clearly more in an earlier answer of this branch, whose whole prompt was sent again."""
    for index in range(len(earlier) - 1, -1, -1):
        before = earlier[index]
        counted = before.metrics.prompt_tokens
        if before.role is not Role.ASSISTANT or not counted or before.model != answer.model or before.provider != answer.provider:
            continue
        then = sent(earlier[:index]).messages
        again = len(then) <= len(now) and all(
            one is other or (one.id and one.id == other.id) for one, other in zip(then, now, strict=False)
        )
        return again and seen < counted * FEWER and (answer.prompt_estimate or 0) > (before.prompt_estimate or 0)
    return False


def _rounded(number: int) -> int:
    return number if number < 1000 else round(number, -2)


def can_continue(message: Message) -> bool:
    """Whether there is a part of an answer to go on from."""
    ends = (AnswerState.STOPPED, AnswerState.INTERRUPTED, AnswerState.LENGTH, AnswerState.FAILED)
    return message.role is Role.ASSISTANT and message.state in ends and bool(message.content)
