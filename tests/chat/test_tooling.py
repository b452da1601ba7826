"""Tools during an answer: nothing runs that the user did not allow, and every result goes back to the model."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.chat.host import DONE, Bench, Scripted, until
from tui.config.settings import ChatCommand
from tui.core.chat import AnswerState, ConversationSettings, Role
from tui.core.events import Delta, Done, ToolCall

ASKS = [Delta("let me see"), ToolCall("c1", "calculator", {"expression": "6*7"}), Done("tool_calls")]


@pytest.fixture
async def one(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = await Bench(tmp_path, Scripted()).begin()
    bench.chat.configure(ConversationSettings(tools=("calculator", "greet")))
    await until(lambda: bench.chat.view.value.settings.tools)
    yield bench
    assert not bench.host.errors
    await bench.end()


def told(one: Bench) -> list[tuple[str, str]]:
    return [(message.role.value, message.content) for message in one.host.lab.requests[-1].messages]


async def test_a_call_is_asked_for_run_and_answered(one: Bench) -> None:
    one.host.lab.answers = [ASKS, [Delta("it is 42"), DONE]]
    one.host.choice = "run"
    answer = await one.say("6*7?")
    assert answer.content == "it is 42"
    assert one.host.asked == ['qwen3:8b wants to use a tool:\ncalculator: expression = "6*7"']
    assert told(one) == [("user", "6*7?"), ("assistant", "let me see"), ("tool", "42")]
    result = one.chat.view.value.messages[2]
    assert (result.role, result.tool_name, result.tool_call_id) == (Role.TOOL, "calculator", "c1")
    assert [schema["function"]["name"] for schema in one.host.lab.requests[0].tools] == ["calculator"]
    assert ("run tool", "calculator", "ok") in one.host.audited


async def test_a_refused_call_is_told_to_the_model(one: Bench) -> None:
    one.host.lab.answers = [ASKS, [Delta("a pity"), DONE]]
    answer = await one.say("6*7?")
    assert answer.content == "a pity" and told(one)[-1] == ("tool", "The user did not allow this call.")
    assert not one.host.audited


async def test_stop_here_ends_without_another_answer(one: Bench) -> None:
    one.host.lab.answers = [ASKS]
    one.host.choice = "stop"
    answer = await one.say("6*7?")
    assert (answer.content, answer.state, len(one.host.lab.requests)) == ("let me see", AnswerState.COMPLETE, 1)


async def test_X13_a_call_nobody_may_make_is_not_even_asked(one: Bench) -> None:
    one.host.lab.answers = [[ToolCall("c1", "rm", {"path": "/"}), Done("tool_calls")], [Delta("ok"), DONE]]
    one.host.choice = "run"
    await one.say("go")
    assert one.host.asked == [] and told(one)[-1][1].startswith("There is no tool rm here")


async def test_X12_a_command_of_the_user_runs_without_a_shell(one: Bench) -> None:
    command = ChatCommand(description="greets", command=("printf", "%s", "hello {name}"), parameters={"name": "whom"})
    chat = one.host.config.chat.model_copy(update={"commands": {"greet": command}})
    one.host.config = one.host.config.model_copy(update={"chat": chat})
    hostile = "$(touch /tmp/x); `id` * ~"
    one.host.lab.answers = [[ToolCall("c1", "greet", {"name": hostile}), Done("tool_calls")], [Delta("ok"), DONE]]
    one.host.choice = "run"
    await one.say("go")
    assert told(one)[-1] == ("tool", f"hello {hostile}")


async def test_without_tools_a_call_is_only_shown(one: Bench) -> None:
    one.chat.configure(ConversationSettings())
    await until(lambda: not one.chat.view.value.settings.tools)
    one.host.lab.answers = [ASKS]
    answer = await one.say("6*7?")
    assert answer.tool_calls and len(one.host.lab.requests) == 1 and not one.host.asked


async def test_a_model_that_never_stops_asking_is_ended(one: Bench) -> None:
    one.host.lab.answers = [ASKS] * 40
    one.host.choice = "run"
    await one.say("6*7?")
    assert len(one.host.lab.requests) == 13 and "has asked for tools 12 times" in one.host.notices[-1]


async def test_a_stop_while_a_command_runs_ends_it(one: Bench, tmp_path: Path) -> None:
    marker = tmp_path / "began"
    line = ("sh", "-c", f"echo $$ > {marker}; exec sleep 600")
    command = ChatCommand(description="waits", command=line, timeout=600.0)
    chat = one.host.config.chat.model_copy(update={"commands": {"greet": command}})
    one.host.config = one.host.config.model_copy(update={"chat": chat})
    one.host.lab.answers = [[ToolCall("c1", "greet", {}), Done("tool_calls")]]
    one.host.choice = "run"
    one.chat.send("go")
    await until(lambda: marker.exists() and marker.read_text().strip())
    pid = int(marker.read_text())
    one.chat.stop()
    await one.idle()
    await until(lambda: not Path(f"/proc/{pid}").exists() or "zombie" in Path(f"/proc/{pid}/status").read_text())
