"""Notices, banners and questions."""

import asyncio
import errno

import pytest

from tests.chat.host import until
from tui.core.errors import Failure, PaddockError, limit_of
from tui.core.models import Severity
from tui.services.notices import KEEP, Notices


def test_notices_are_numbered_kept_in_order_and_bounded() -> None:
    said = Notices()
    seen: list[int] = []
    said.notices.watch(lambda notices: seen.append(notices[-1].number))
    for _ in range(KEEP + 20):
        said.say("the same words")
    assert seen == list(range(1, KEEP + 21))  # every one was published, equal words too
    assert [notice.number for notice in said.notices.value] == list(range(21, KEEP + 21))


def test_P46_what_a_task_met_is_said_in_words() -> None:
    said = Notices()
    said.report(PaddockError(Failure("The disk is full", "/data", "Make room")))
    said.report(ZeroDivisionError())
    first, second = said.notices.value
    assert first.text == "The disk is full (/data)"
    assert first.severity is Severity.ERROR
    assert first.failure is not None
    assert first.failure.remedy == "Make room"
    assert second.text.startswith("Something went wrong inside Paddock")
    assert second.failure is not None
    assert "log" in second.failure.remedy


@pytest.mark.parametrize(
    ("error", "what"),
    [
        (MemoryError(), "There is not enough memory for this"),
        (OSError(errno.EMFILE, "x"), "Too many files are open"),
        (OSError(errno.ENFILE, "x"), "Too many files are open on this machine"),
        (OSError(errno.ENOSPC, "x"), "The disk is full"),
    ],
)
def test_E01_E02_what_a_limit_of_this_machine_ends_is_a_sentence(error: Exception, what: str) -> None:
    said = Notices()
    said.report(error)
    (notice,) = said.notices.value
    assert notice.failure is not None
    assert notice.failure.what == what
    assert notice.failure.remedy
    assert type(error).__name__ not in notice.text
    assert limit_of(ValueError()) is limit_of(OSError(errno.ENOENT, "x")) is None


def test_a_standing_problem_is_replaced_and_taken_away_by_its_key() -> None:
    said = Notices()
    said.stand("disk", Failure("full"))
    said.stand("config", Failure("line 3"))
    said.stand("disk", Failure("fuller"))
    assert [failure.what for failure in said.banner.value] == ["fuller", "line 3"]
    said.stand("disk", None)
    said.stand("disk", None)
    assert [failure.what for failure in said.banner.value] == ["line 3"]


async def test_questions_wait_for_their_own_answer() -> None:
    said = Notices()
    one = asyncio.ensure_future(said.ask("One?", (("no", "No"), ("yes", "Yes"))))
    two = asyncio.ensure_future(said.ask("Two?", (("no", "No"), ("yes", "Yes"))))
    first, second = await until(lambda: len(said.questions.value) == 2 and said.questions.value)
    said.answer(second.id, "yes")
    said.answer(999, "yes")
    assert await two == "yes"
    assert not one.done()
    said.answer(first.id, "something else")
    said.answer(first.id, "yes")  # too late
    assert await one == "no"  # an unknown choice is the safe one
    assert said.questions.value == ()


async def test_a_question_goes_away_with_the_one_who_asked() -> None:
    said = Notices()
    asking = asyncio.ensure_future(said.ask("One?", (("no", "No"),)))
    await until(lambda: said.questions.value)
    asking.cancel()
    await until(lambda: not said.questions.value)
