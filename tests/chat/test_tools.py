"""Tools: what is offered, what the question says, and what a hostile model cannot do with them."""

import asyncio
import contextlib
import json
import random
import sys
import time
from pathlib import Path

import pytest

from tests.support.screen import until
from tests.support.settings import having
from tui.config.settings import ChatCommand, Settings
from tui.core.chat import Attachment, AttachmentKind
from tui.core.events import ToolCall
from tui.services.chat import commands
from tui.services.chat.tools import BUILT_IN, MAX_VALUE, ToolContext, call_of, command_line, describe, names, offered, refusal, run
from tui.services.engine import Engine

ECHO = [sys.executable, "-c", "import json, sys; print(json.dumps(sys.argv[1:]))"]


def settings(**declared: ChatCommand) -> Settings:
    return having(Settings(), chat={"commands": declared})


def command(*line: str, timeout: float = 30.0, **parameters: str) -> ChatCommand:
    return ChatCommand(description="does it", command=line, parameters=parameters, timeout=timeout)


def context(*enabled: str, attachments: tuple[Attachment, ...] = (), **declared: ChatCommand) -> ToolContext:
    return ToolContext(settings(**declared), enabled, attachments)


def call(tool: str, /, **arguments: object) -> ToolCall:
    return ToolCall("c1", tool, arguments)


class Noon:
    def time(self) -> float:
        return 1_800_000_000.0

    def monotonic(self) -> float:
        return 0.0


# --- what is offered


def test_what_is_offered_and_what_could_be():
    config = settings(weather=command("weather", "--city={city}", city="A city"), time=command("x"), empty=ChatCommand())
    assert names(config) == ("time", "calculator", "read_file", "weather")
    first, second = offered(config, ["weather", "time", "weather", "nonsense", "empty"])
    assert first["function"]["name"] == "weather" and first["function"]["description"] == "does it"
    assert first["function"]["parameters"] == {
        "type": "object", "properties": {"city": {"type": "string", "description": "A city"}}, "required": ["city"],
    }  # fmt: skip
    assert second == BUILT_IN["time"] and json.dumps(offered(config, names(config)))


def test_a_stored_call_is_read():
    stored = {"id": "c", "function": {"name": "calculator", "arguments": '{"expression": "1+1"}'}}
    assert call_of(stored) == ToolCall("c", "calculator", {"expression": "1+1"})
    assert call_of({"function": {"name": "x", "arguments": "no json"}}) == ToolCall("", "x", {})


@pytest.mark.parametrize("name", ["rm", "", "../time", "evil\x1b[31m\nname" + "x" * 500, "weather"])
async def test_X05_a_tool_that_is_unknown_or_switched_off_is_told_to_the_model(name):
    result = await run(call(name), context("time", "calculator"))
    assert result.failed and "There is no tool" in result.content and "time, calculator" in result.content
    assert "\x1b" not in result.content and "\n" not in result.content
    assert (await run(call("time"), context())).content.endswith("There are none.")


# --- the built-in ones


async def test_the_time_here_and_elsewhere():
    where = ToolContext(Settings(), ("time",), (), Noon())
    assert "2027-01-15 09:00:00 Europe/Oslo (UTC+01:00)" in (await run(call("time", zone="Europe/Oslo"), where)).content
    assert "2027-01-15 08:00:00 UTC" in (await run(call("time"), where)).content


@pytest.mark.parametrize("zone", ["../../etc/passwd", "/etc/localtime", "Mars/Base", "a" * 500, 5, ["x"], "Europe", "\x00", "America/"])
async def test_X13_a_time_zone_is_a_name_and_no_path(zone):
    result = await run(call("time", zone=zone), context("time"))
    assert result.failed and "no time zone" in result.content


async def test_sums():
    assert (await run(call("calculator", expression="2+2"), context("calculator"))).content == "4"
    for bad in ("2+", "9^9^9", "x" * (MAX_VALUE - 1), "__import__('os').system('x')"):
        result = await run(call("calculator", expression=bad), context("calculator"))
        assert result.failed and result.content
    for arguments in ({}, {"expression": ""}, {"expression": None}):
        assert (await run(call("calculator", **arguments), context("calculator"))).content == "calculator needs expression."
    assert (await run(call("calculator", expression="1" * 5000), context("calculator"))).failed


NOTE = Attachment("note.md", text="".join(f"{number:04d}\n" for number in range(5000)))


async def test_a_file_is_read_in_parts():
    here = context("read_file", attachments=(NOTE, Attachment("a.png", AttachmentKind.IMAGE)))
    first = await run(call("read_file", name="note.md"), here)
    assert first.content.startswith("[note.md, characters 0 to 8000 of 25000; go on with offset 8000]\n0000\n")
    second = await run(call("read_file", name="NOTE.md", offset="8000", limit=10), here)
    assert second.content == "[note.md, characters 8000 to 8010 of 25000; go on with offset 8010]\n1600\n1601\n"
    last = await run(call("read_file", name="note.md", offset=24_995, limit=10**9), here)
    assert last.content == "[note.md, characters 24995 to 25000 of 25000]\n4999\n"
    assert len((await run(call("read_file", name="note.md", limit=10**9), here)).content) < 21_000


@pytest.mark.parametrize("arguments", [
    {"name": "/etc/passwd"}, {"name": "../note.md"}, {"name": "a.png"}, {"name": "note.md", "offset": -1},
    {"name": "note.md", "limit": "x"},
    {"name": "note.md", "offset": 10**9}, {"name": ["note.md"]}, {"name": "note.md", "offset": "9" * 500}, {},
])  # fmt: skip
async def test_X13_only_what_is_attached_can_be_read(arguments):
    here = context("read_file", attachments=(NOTE, Attachment("a.png", AttachmentKind.IMAGE)))
    result = await run(call("read_file", **arguments), here)
    assert result.failed and "root:" not in result.content


# --- commands: what becomes of their arguments

HOSTILE = [
    "; rm -rf /",
    "$(x)",
    "`x`",
    "a b",
    "'",
    '"',
    "~",
    "*",
    "{env}",
    "{city}",
    "{other}",
    "%s",
    "\n",
    "\t",
    "\x1b[31m",
    "\u202e",
    "é🙂",
    "",
    "a=b",
    "&&",
]


@pytest.mark.parametrize("value", HOSTILE)
async def test_X12_every_value_is_one_argument_as_it_is(value):
    here = context("echo", echo=command(*ECHO, "--city={city}", "{city}", "x {city} {env} y", city="A city"))
    result = await run(call("echo", city=value), here)
    assert not result.failed
    assert json.loads(result.content) == [f"--city={value}", value, f"x {value} {{env}} y"]


@pytest.mark.parametrize("value", ["-rf", "--host=0.0.0.0", "-", "--"])
async def test_X13_no_value_becomes_an_option(value):
    bare = command(*ECHO, "{city}", city="A city")
    result = await run(call("echo", city=value), context("echo", echo=bare))
    assert result.failed and result.content == "The argument city must not begin with -."
    assert "refused" in describe(call("echo", city=value), context("echo", echo=bare))
    for line in ((*ECHO, "--city={city}"), (*ECHO, "--", "{city}"), (*ECHO, "in {city}")):
        assert not (await run(call("echo", city=value), context("echo", echo=command(*line, city="A city")))).failed
    assert command_line(command("x", "{city}.txt", city=""), {"city": "-a"}) == "The argument city must not begin with -."


@pytest.mark.parametrize("arguments, why", [
    ({}, "city is missing"), ({"city": None}, "city is missing"), ({"city": ["a"]}, "must be text"), ({"city": {"a": 1}}, "must be text"),
    ({"city": "a\0b"}, "no program takes"), ({"city": "\ud800"}, "no program takes"), ({"city": "x" * (MAX_VALUE + 1)}, "is longer than"),
    ({"city": "a", "more\x1b": 1}, "It has no argument more"),
])  # fmt: skip
async def test_X12_X13_arguments_are_checked_against_what_was_declared(arguments, why):
    here = context("echo", echo=command(*ECHO, "{city}", city="A city"))
    assert why in refusal(call("echo", **arguments), here)
    result = await run(call("echo", **arguments), here)
    assert result.failed and why in result.content and "\x1b" not in result.content


def test_X12_X13_whatever_is_given_the_program_and_its_options_stay_those_of_the_user():
    chance, signs = random.Random(5), "-={}$`;|&\n\t \0'\"\\*~a1é\u202e\ud800"
    own = command("prog", "-v", "{a}", "--b={b}", "x{a}{b}", "{c}", "--", "{a}", "{d}", a="", b="", c="")
    ran = 0
    for _ in range(3000):
        values = {name: "".join(chance.choice(signs) for _ in range(chance.randrange(6))) for name in "abc"}
        line = command_line(own, values)
        if isinstance(line, str):
            assert line
            continue
        ran += 1
        a, b, c = (values[name] for name in "abc")
        assert line == ("prog", "-v", a, f"--b={b}", f"x{a}{b}", c, "--", a, "{d}")
        assert not a.startswith("-") and not c.startswith("-") and not any("\0" in part for part in line)
        shown = describe(ToolCall("", "own", values), context("own", own=own))
        assert "\n" not in shown and "\u202e" not in shown
    assert ran > 500


async def test_it_works_on_the_engines_thread():
    """Where asyncio's watching of children is another one than on the main thread."""
    engine = Engine(lambda error: None)
    engine.start()
    try:
        here = context("echo", echo=command(*ECHO, "{a}", a=""))
        result = await asyncio.wrap_future(engine.submit(run, call("echo", a="x"), here))
        assert json.loads(result.content) == ["x"]
    finally:

        async def nothing() -> None:
            return None

        await asyncio.to_thread(engine.close, nothing, 5.0)


def test_numbers_and_truth_become_text():
    assert command_line(command("x", "{a}", a=""), {"a": 5}) == ("x", "5")
    assert command_line(command("x", "{a}", a=""), {"a": True}) == ("x", "true")
    assert command_line(command("x", "{a}", a=""), {"a": 1.5}) == ("x", "1.5")


# --- the question


def test_X01_X05_the_question_shows_all_of_it_on_one_clean_line():
    here = context("weather", "time", "calculator", weather=command("weather", "--city={city}", "x", city=""))
    assert describe(call("weather", city="New York"), here) == "weather runs: weather '--city=New York' x"
    hostile = "Oslo' x\nDelete all? [y/N]\x1b[2J\u202e\u200b" + "z" * 1900
    shown = describe(call("weather", city=hostile), here)
    assert "\n" not in shown and "\x1b" not in shown and "\u202e" not in shown and "\u200b" not in shown
    assert shown.count("z") == 1900 and "\u2026" not in shown and "Delete all?" in shown
    assert describe(call("time"), here) == "time"
    assert describe(call("calculator", expression='1"\n'), here) == 'calculator: expression = "1"\u23ce"'
    assert "\x1b" not in describe(call("evil\x1b[31m", **{"a\x1b": ["\x1b"]}), here)


# --- running


async def test_the_environment_is_small_and_holds_no_keys(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    monkeypatch.setenv("LD_PRELOAD", "")
    show = command(sys.executable, "-c", "import os, json; print(json.dumps(dict(os.environ))); print(os.getcwd())")
    result = await run(call("show"), context("show", show=show))
    first, folder = result.content.splitlines()
    assert set(json.loads(first)) <= {*commands.KEPT, "TERM", commands.MARK, "LC_CTYPE"} and "sk-secret" not in result.content
    assert folder == str(Path.home().resolve())


async def test_nothing_is_waited_for_on_standard_input():
    result = await run(call("cat"), context("cat", cat=command("cat")))
    assert result.content == "[it wrote nothing]" and not result.failed


@pytest.mark.parametrize("line, said", [
    (("/nonexistent/program",), "was not run: no such file"), (("/etc/passwd",), "was not run: permission denied"),
    ((sys.executable, "-c", "import sys; print('a'); print('b', file=sys.stderr); sys.exit(3)"), "[it failed with exit code 3]"),
    ((sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"), "[it failed with signal 9]"),
])  # fmt: skip
async def test_what_goes_wrong_is_said_to_the_model(line, said):
    result = await run(call("x"), context("x", x=command(*line)))
    assert result.failed and said in result.content
    if "exit" in said:
        assert "b" in result.content


async def test_long_output_is_cut_and_says_so():
    result = await run(call("x"), context("x", x=command(sys.executable, "-c", "print('y' * 100_000)")))
    assert not result.failed and result.content.endswith(f"[cut: these are the first {commands.MAX_OUTPUT} of 100001 bytes]")
    assert len(result.content) < commands.MAX_OUTPUT + 100


async def test_a_flood_is_ended():
    result = await run(call("x"), context("x", x=command("yes")))
    assert result.failed and "it wrote too much" in result.content and len(result.content) < commands.MAX_OUTPUT + 200


async def test_bytes_that_are_no_text_become_text():
    line = (sys.executable, "-c", r"import sys; sys.stdout.buffer.write(b'\xff\x00a\xe2\x82')")
    result = await run(call("x"), context("x", x=command(*line)))
    assert "a" in result.content and "\0" not in result.content
    result.content.encode()


FAMILY = """
import os, subprocess, sys, time, pathlib
place = pathlib.Path({place!r})
quiet = dict(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) if {quiet} else {{}}
sleeper = [sys.executable, "-c", "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"]
one = subprocess.Popen(sleeper, **quiet)
two = subprocess.Popen(sleeper, start_new_session=True, **quiet)
place.with_suffix(".part").write_text(f"{{os.getpid()}} {{one.pid}} {{two.pid}}")
place.with_suffix(".part").rename(place)
print("started", flush=True)
{then}
"""


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in ("Z", "X")
    except OSError:
        return False


def family(tmp_path: Path, then: str, *, quiet: bool = False, timeout: float = 600.0) -> tuple[ToolContext, Path]:
    place = tmp_path / "pids"
    text = FAMILY.format(place=str(place), then=then, quiet=quiet)
    return context("x", x=command(sys.executable, "-c", text, timeout=timeout)), place


def pids(place: Path) -> list[int]:
    return [int(pid) for pid in place.read_text().split()]


async def test_too_long_ends_the_whole_family(tmp_path):
    here, place = family(tmp_path, "time.sleep(600)", timeout=1.0)
    result = await run(call("x"), here)
    assert result.failed and "started" in result.content and "it took too long" in result.content
    await until(lambda: not any(map(alive, pids(place))))


async def test_stopping_ends_the_whole_family(tmp_path):
    here, place = family(tmp_path, "time.sleep(600)")
    task = asyncio.create_task(run(call("x"), here))
    await until(place.exists)
    begun = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - begun < 3
    await until(lambda: not any(map(alive, pids(place))))


@pytest.mark.parametrize("turns", range(12))
async def test_stopping_at_any_moment_leaves_nothing_running(tmp_path, turns):
    """Also between the start of the program and our looking at it."""
    mark = f"paddock-test-{tmp_path.name}-{turns}"
    task = asyncio.create_task(run(call("x"), context("x", x=command("sh", "-c", f": {mark}; sleep 600 & sleep 600"))))
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    def running() -> bool:
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if mark.encode() in (folder / "cmdline").read_bytes():
                    return True
        return False

    await until(lambda: not running())


@pytest.mark.parametrize("quiet", [True, False])
async def test_what_a_program_leaves_behind_is_ended_with_it(tmp_path, quiet):
    here, place = family(tmp_path, "sys.exit(0)", quiet=quiet)
    result = await run(call("x"), here)
    assert result.content == "started\n" and not result.failed
    await until(lambda: not any(map(alive, pids(place))))


async def test_many_at_once_leave_nothing_open():
    before = len(list(Path("/proc/self/fd").iterdir()))
    here = context("x", x=command(*ECHO, "{a}", a=""))
    results = await asyncio.gather(*(run(call("x", a=str(number)), here) for number in range(6)))
    assert [json.loads(result.content) for result in results] == [[str(number)] for number in range(6)]
    await until(lambda: len(list(Path("/proc/self/fd").iterdir())) <= before)
