"""The store: order of sources, bad keys, live edits, saving."""

from __future__ import annotations

import errno
import os
import random
import resource
import signal
import stat
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from tui.config import files
from tui.config.paths import Paths
from tui.config.store import ConfigStore
from tui.core.errors import FailureKind, PaddockError

Write = Callable[[str | bytes], Path]
ROOT = Path(__file__).parents[2]


def opened(paths: Paths, environ: dict[str, str] | None = None, **overrides: object) -> ConfigStore:
    return ConfigStore(paths, environ or {}, {key.replace("__", "."): value for key, value in overrides.items()})


def live(paths: Paths) -> dict[str, object]:
    return {name: table for name, table in tomllib.loads(paths.config_file.read_text()).items() if table}


# --- sources -----------------------------------------------------------------------------------------------------------


def test_the_last_source_wins_and_is_named(paths: Paths, write: Write):
    write("[pulls]\nat_once = 3\nretries = 4\n[security]\naccess = 'use'\n")
    store = opened(paths, {"PADDOCK_PULLS__RETRIES": "6", "PADDOCK_SECURITY__ACCESS": "use"}, security__access="look")
    settings = store.current.value
    assert (settings.pulls.at_once, settings.pulls.retries, settings.pulls.verify, settings.security.access) == (3, 6, True, "look")
    assert [store.source(key) for key in ("pulls.at_once", "pulls.retries", "pulls.verify", "security.access")] == [
        "file",
        "environment",
        "default",
        "flag",
    ]


def test_the_environment_reaches_providers_with_odd_names_and_lists(paths: Paths, write: Write):
    write("[providers.gpu-box]\nurl = 'http://a:1'\n")
    environ = {
        "PADDOCK_PROVIDERS__GPU_BOX__TIMEOUT": "9s",
        "PADDOCK_PROVIDERS__NEW__URL": "http://b:2",
        "PADDOCK_MODELS__EXCLUDED": "a*, b",
    }
    settings = opened(paths, environ).current.value
    assert settings.providers["gpu-box"].timeout == 9.0
    assert settings.providers["new"].url == "http://b:2"
    assert settings.models.excluded == ("a*", "b")


def test_without_a_file_everything_is_default_and_nothing_is_created(paths: Paths):
    store = opened(paths)
    assert store.problems.value == ()
    assert not paths.config_file.exists()


# --- bad files and keys ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[pulls]\nat_once = \n", "line 2"), (b"[pulls]\n\nx = '\xff'\n", "line 3"), (b"a = " + b"[" * 100_000, "line 1"),
        (b"n = " + b"9" * 5000, "line 1"), (b"# " + b"x" * 1_100_000, "1 MB"), (b"a = \x00", "line 1"), (b"[a]\nb = 1\nb = 2", "line 3"),
    ],
    ids=["syntax", "not utf-8", "deep", "number", "too large", "nul", "duplicate"],
)  # fmt: skip
def test_C05_P09_a_broken_file_means_defaults_and_is_never_overwritten(paths: Paths, write: Write, content: bytes, said: str):
    write(content)
    store = opened(paths)
    assert store.current.value.pulls.at_once == 2
    assert said in store.problems.value[0].sentence()
    assert store.problems.value[0].remedy
    assert store.read_only is not None
    with pytest.raises(PaddockError, match="Not saved"):
        store.set("pulls.at_once", 3)
    assert paths.config_file.read_bytes() == content


def test_C05_bom_and_crlf_are_read_and_kept(paths: Paths, write: Write):
    write(b"\xef\xbb\xbf[pulls]\r\nat_once = 3\r\n")
    store = opened(paths)
    assert store.current.value.pulls.at_once == 3
    store.set("pulls.retries", 7)
    data = paths.config_file.read_bytes()
    assert data.startswith(b"\xef\xbb\xbf[pulls]\r\n")
    assert data.count(b"\n") == data.count(b"\r\n") == 3
    assert store.current.value.pulls.retries == 7


def test_C06_P41_a_bad_key_costs_only_itself(paths: Paths, write: Write):
    write(
        "[pulls]\nat_once = 99\nretries = 7\n[providers.a]\nurl = 'http://h:70000'\n"
        "[providers.b]\nurl = 'http://h:1'\ntimeout = -1\n[chat]\nthink = ''\n"
    )
    store = opened(paths)
    settings = store.current.value
    assert (settings.pulls.at_once, settings.pulls.retries, settings.chat.think) == (2, 7, "auto")
    assert list(settings.providers) == ["b"] and settings.providers["b"].timeout == 30.0
    assert {(problem.key, problem.line) for problem in store.problems.value} == {
        ("pulls.at_once", 2), ("providers.a.url", 5), ("providers.b.timeout", 8), ("chat.think", 10),
    }  # fmt: skip
    assert all("as in" in problem.what for problem in store.problems.value)


def test_C06_a_bad_variable_does_not_hide_the_good_line(paths: Paths, write: Write):
    write("[pulls]\nat_once = 4\n")
    store = opened(paths, {"PADDOCK_PULLS__AT_ONCE": "many", "PADDOCK_PULL__AT_ONCE": "3"})
    assert store.current.value.pulls.at_once == 4
    assert [problem.file for problem in store.problems.value] == ["environment", "environment"]


def test_C07_P41_unknown_keys_are_kept_and_the_nearest_is_named(paths: Paths, write: Write):
    write("future = 1\n[pulls]\nat_onec = 3\n[providers.x]\nurll = 'u'\n")
    store = opened(paths)
    found = {problem.key: problem for problem in store.problems.value}
    assert "pulls.at_once" in found["pulls.at_onec"].remedy and found["pulls.at_onec"].line == 3
    assert "providers.x.url" in found["providers.x.urll"].remedy
    assert found["future"].warning
    store.set("pulls.at_once", 5)
    assert live(paths)["future"] == 1
    assert live(paths)["pulls"] == {"at_once": 5, "at_onec": 3}


def test_X_hostile_text_of_the_file_is_cleaned(paths: Paths, write: Write):
    write('"\\u001b[31mx" = 1\n[providers."\\u202eevil"]\nurl = "http://h:1"\n')
    for problem in opened(paths).problems.value:
        assert problem.sentence().isprintable() and problem.key.isprintable()
        assert "\x1b" not in problem.sentence() and "\u202e" not in problem.sentence()


@pytest.mark.parametrize("what", ["fifo", "directory", "device", "dangling", "circle"])
def test_C10_what_is_no_regular_file_is_said_and_never_waited_for(paths: Paths, what: str):
    file = paths.config_file
    if what == "fifo":
        os.mkfifo(file)
    elif what == "directory":
        file.mkdir()
    else:
        file.symlink_to({"device": "/dev/zero", "dangling": "nowhere", "circle": file.name}[what])
    store = opened(paths)
    assert store.current.value.pulls.at_once == 2
    assert store.problems.value[0].what
    with pytest.raises(PaddockError):
        store.set("pulls.at_once", 3)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_C10_an_unreadable_file_is_said(paths: Paths, write: Write):
    write("[pulls]\n").chmod(0)
    assert "permission" in opened(paths).problems.value[0].what


# --- following ---------------------------------------------------------------------------------------------------------


def test_a_change_in_an_editor_is_applied_and_a_wrong_one_keeps_what_runs(paths: Paths, write: Write):
    write("[pulls]\nat_once = 3\n")
    store = opened(paths)
    seen: list[int] = []
    store.current.watch(lambda settings: seen.append(settings.pulls.at_once))
    assert not store.poll()
    write("[pulls]\nat_once = 4\n")
    assert store.poll()
    write("[pulls]\nat_once = 44\nretries = 1\n")
    assert store.poll()
    assert (store.current.value.pulls.at_once, store.current.value.pulls.retries) == (4, 1)
    assert store.problems.value[0].line == 2
    write("[pulls\n")
    assert store.poll()
    assert (store.current.value.pulls.at_once, store.problems.value[0].line) == (4, 1)
    write("[pulls]\nat_once = 5\n")
    assert store.poll()
    assert store.problems.value == ()
    assert seen[0] == 4 and seen[-1] == 5


def test_a_deleted_file_means_defaults(paths: Paths, write: Write):
    write("[pulls]\nat_once = 3\n")
    store = opened(paths)
    paths.config_file.unlink()
    assert store.poll()
    assert store.current.value.pulls.at_once == 2


def test_touching_the_file_is_no_change(paths: Paths, write: Write):
    file = write("[pulls]\nat_once = 3\n")
    store = opened(paths)
    os.utime(file, (1, 1))
    assert not store.poll()


# --- saving ------------------------------------------------------------------------------------------------------------


def test_the_first_save_writes_the_commented_file_with_only_the_change_live(paths: Paths):
    store = opened(paths)
    assert store.set("pulls.keep_free", "20 GB") == ""
    assert store.current.value.pulls.keep_free == 20 * 10**9
    assert live(paths) == {"pulls": {"keep_free": "20 GB"}, "chat": {"options": {}}}
    assert '#keep_free = "10 GB"\nkeep_free = "20 GB"\n' in paths.config_file.read_text()
    store.unset("pulls.keep_free")
    assert live(paths) == {"chat": {"options": {}}}
    assert store.source("pulls.keep_free") == "default"


def test_a_wrong_value_changes_nothing_and_a_wrong_key_names_the_nearest(paths: Paths):
    store = opened(paths)
    with pytest.raises(PaddockError, match="1 to 5"):
        store.set("pulls.at_once", "9")
    with pytest.raises(PaddockError) as caught:
        store.set("pulls.at_onec", "3")
    assert "pulls.at_once" in caught.value.failure.remedy
    assert not paths.config_file.exists()


def test_a_saved_value_that_a_variable_hides_is_said(paths: Paths):
    store = opened(paths, {"PADDOCK_PULLS__AT_ONCE": "5"})
    assert "PADDOCK_PULLS__AT_ONCE" in store.set("pulls.at_once", 3)
    assert store.current.value.pulls.at_once == 5


def test_providers_are_added_changed_and_removed(paths: Paths):
    store = opened(paths)
    with pytest.raises(PaddockError, match="address"):
        store.set_provider("box", {"kind": "openai"})
    store.set_provider("gpu-box.lan", {"kind": "openai", "url": "http://10.0.0.2:8000", "headers": {"X-Team": "a"}})
    store.set_provider("gpu-box.lan", {"timeout": "10s", "headers": None})
    found = store.current.value.providers["gpu-box.lan"]
    assert (found.kind, found.timeout, dict(found.headers)) == ("openai", 10.0, {})
    assert store.value("providers.gpu-box.lan.timeout") == 10.0
    store.remove_provider("gpu-box.lan")
    assert store.current.value.providers == {}
    assert "providers" not in live(paths)


def test_C02_P07_a_full_disk_leaves_the_old_file_and_the_change_active(paths: Paths, write: Write):
    before = "# mine\n[pulls]\nat_once = 3\n" + "# filler\n" * 2000
    write(before)
    store = opened(paths)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(PaddockError) as caught:
            store.set("pulls.at_once", 4)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.failure.what == "Not saved: no space"
    assert caught.value.failure.kind is FailureKind.DISK
    assert paths.config_file.read_text() == before
    assert store.current.value.pulls.at_once == 4
    assert (store.unsaved, store.source("pulls.at_once")) == (("pulls.at_once",), "unsaved")
    assert [item.name for item in paths.config_file.parent.iterdir() if item.name.startswith(".config")] == []
    store.retry()
    assert store.unsaved == ()
    assert live(paths)["pulls"] == {"at_once": 4}


def test_C02_a_folder_that_cannot_be_written_is_said(paths: Paths, write: Write, monkeypatch: pytest.MonkeyPatch):
    write("[pulls]\nat_once = 3\n")
    store = opened(paths)
    real = os.open

    def refuse(path: object, flags: int, *rest: int, **more: object) -> int:
        if flags & os.O_EXCL:
            raise OSError(errno.EROFS, "Read-only file system")
        return real(path, flags, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(files.os, "open", refuse)
    with pytest.raises(PaddockError, match="read-only file system"):
        store.set("pulls.at_once", 4)
    assert "at_once = 3" in paths.config_file.read_text()


def test_C03_P08_a_link_stays_a_link(paths: Paths, tmp_path: Path):
    target = tmp_path / "dotfiles" / "paddock.toml"
    target.parent.mkdir()
    target.write_text("# mine\n[pulls]\nat_once = 3\n")
    paths.config_file.symlink_to(target)
    opened(paths).set("pulls.at_once", 4)
    assert paths.config_file.is_symlink()
    assert target.read_text() == "# mine\n[pulls]\nat_once = 4\n"


def test_C04_a_file_with_a_key_that_others_may_read_is_closed_with_the_next_save(paths: Paths, write: Write):
    write("[providers.x]\nurl = 'http://h:1'\napi_key = 'sk-hunter2'\n").chmod(0o644)
    store = opened(paths)
    said = " ".join(f"{problem.what} {problem.remedy}" for problem in store.problems.value)
    assert "other users may read it" in said and "env:NAME" in said and "hunter2" not in said
    store.set("pulls.at_once", 4)
    assert stat.S_IMODE(paths.config_file.stat().st_mode) == 0o600
    assert "hunter2" not in repr(store.current.value) + store.shown("providers.x.api_key")


def test_C04_without_a_key_the_mode_stays(paths: Paths, write: Write):
    write("[pulls]\nat_once = 3\n").chmod(0o640)
    opened(paths).set("pulls.at_once", 4)
    assert stat.S_IMODE(paths.config_file.stat().st_mode) == 0o640


def test_C04_a_folder_others_may_write_is_said(paths: Paths, write: Write):
    write("[pulls]\n").parent.chmod(0o777)
    assert any("folder is writable" in problem.what for problem in opened(paths).problems.value)


def test_C04_a_file_of_another_user_is_not_changed(paths: Paths, write: Write, monkeypatch: pytest.MonkeyPatch):
    write("[pulls]\nat_once = 3\n")
    monkeypatch.setattr(files.os, "geteuid", lambda: os.getuid() + 1)
    store = opened(paths)
    assert store.current.value.pulls.at_once == 3
    assert store.read_only is not None
    with pytest.raises(PaddockError, match="another user"):
        store.set("pulls.at_once", 4)


@pytest.mark.parametrize("mask", [0o000, 0o077])
def test_C13_P54_new_files_are_private(paths: Paths, mask: int):
    before = os.umask(mask)
    try:
        opened(paths).set("pulls.at_once", 4)
    finally:
        os.umask(before)
    assert stat.S_IMODE(paths.config_file.stat().st_mode) == 0o600
    assert stat.S_IMODE((paths.locks / "config.lock").stat().st_mode) == 0o600


def test_C14_P56_a_planted_link_at_the_lock_is_not_followed(paths: Paths, tmp_path: Path):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    paths.locks.mkdir(parents=True)
    (paths.locks / "config.lock").symlink_to(victim)
    with pytest.raises(PaddockError, match="Not saved"):
        opened(paths).set("pulls.at_once", 4)
    assert victim.read_text() == "mine"


def test_C08_an_edit_of_another_key_is_kept_and_one_of_the_same_key_is_not_overwritten(paths: Paths, write: Write):
    write("[pulls]\nat_once = 3\n")
    store = opened(paths)
    write("# edited\n[pulls]\nat_once = 3\nretries = 9\n")
    store.set("pulls.at_once", 4)
    assert paths.config_file.read_text() == "# edited\n[pulls]\nat_once = 4\nretries = 9\n"
    assert store.current.value.pulls.retries == 9
    write("[pulls]\nat_once = 1\n")
    with pytest.raises(PaddockError, match="meanwhile"):
        store.set("pulls.at_once", 5)
    assert paths.config_file.read_text() == "[pulls]\nat_once = 1\n"
    assert store.current.value.pulls.at_once == 1


def test_the_last_good_file_is_kept_beside(paths: Paths, write: Write):
    write("[pulls]\nat_once = 3\n")
    opened(paths).set("pulls.at_once", 4)
    assert paths.config_file.with_name("config.toml.bak").read_text() == "[pulls]\nat_once = 3\n"


# --- several processes -------------------------------------------------------------------------------------------------

SAVER = """
import sys
from tui.config.paths import find_paths
from tui.config.store import ConfigStore
who, rounds = sys.argv[1], int(sys.argv[2])
store = ConfigStore(find_paths())
print("ready", flush=True)
sys.stdin.readline()
for number in range(rounds):
    store.set(f"chat.presets.{who}{number}.top_k", number)
"""


def saver(paths: Paths, who: str, rounds: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", SAVER, who, str(rounds)]
    environ = {**os.environ, "PADDOCK_HOME": str(paths.home), "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, env=environ, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def start_together(*processes: subprocess.Popen[bytes]) -> None:
    for process in processes:
        assert process.stdout is not None and process.stdout.readline() == b"ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(b"\n")
        process.stdin.flush()


def test_C09_P13_two_copies_saving_at_the_same_time_lose_nothing(paths: Paths):
    both = saver(paths, "a", 20), saver(paths, "b", 20)
    start_together(*both)
    assert [process.communicate(timeout=60)[0] for process in both] == [b"", b""]
    assert [process.returncode for process in both] == [0, 0]
    found = opened(paths).current.value.chat.presets
    assert set(found) == {f"{who}{number}" for who in "ab" for number in range(20)}


def killed_while_saving(paths: Paths, rounds: int) -> None:
    chance = random.Random(7)
    for _ in range(rounds):
        process = saver(paths, "k", 100_000)
        start_together(process)
        deadline = time.monotonic() + chance.uniform(0.02, 0.3)
        while time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        text = paths.config_file.read_text() if paths.config_file.exists() else ""
        found = tomllib.loads(text).get("chat", {}).get("presets", {})
        assert all(table == {"top_k": int(name[1:])} for name, table in found.items())
        opened(paths).set("pulls.at_once", 4)
        paths.config_file.unlink()


def test_C01_P07_a_kill_while_saving_leaves_a_whole_file(paths: Paths):
    killed_while_saving(paths, 3)


def test_P75_what_a_killed_save_left_is_removed_by_a_later_one_and_nothing_else(
    paths: Paths, write: Write, monkeypatch: pytest.MonkeyPatch
):
    file = write("[pulls]\nat_once = 3\n")
    left = file.with_name(".config.toml.0123456789abcdef")
    others = [
        file.with_name(name)
        for name in (".config.toml.swp", ".config.toml.0123", "config.toml.0123456789abcdef", ".other.0123456789abcdef")
    ]
    for path in (left, *others):
        path.write_text("x")
    opened(paths).set("pulls.at_once", 4)
    assert left.exists()  # it may be the one of a save that goes on
    later = time.time() + 120
    monkeypatch.setattr(files.time, "time", lambda: later)
    opened(paths).set("pulls.at_once", 5)
    assert not left.exists()
    assert all(path.exists() for path in others)


@pytest.mark.sweep
def test_C01_a_hundred_kills(paths: Paths):
    killed_while_saving(paths, 100)


def test_P20_a_lock_that_is_never_given_up_is_said_and_the_change_stays_active(paths: Paths, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(files, "_LOCK_WAIT", 0.05)
    store = opened(paths)
    with files.lock(paths.locks), pytest.raises(PaddockError) as caught:
        store.set("pulls.at_once", 4)
    assert caught.value.failure.kind is FailureKind.BUSY
    assert store.current.value.pulls.at_once == 4
    store.retry()
    assert live(paths)["pulls"] == {"at_once": 4}


def test_a_provider_that_could_not_be_saved_can_be_removed(paths: Paths, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(files, "_LOCK_WAIT", 0.05)
    store = opened(paths)
    with files.lock(paths.locks), pytest.raises(PaddockError):
        store.set_provider("x", {"url": "http://h:1"})
    assert list(store.current.value.providers) == ["x"]
    store.remove_provider("x")
    assert (store.unsaved, dict(store.current.value.providers)) == ((), {})


# --- tables that the user names ------------------------------------------------------------------------------------------


def test_options_of_one_model_are_found_by_any_spelling_and_hold_only_what_is_set(paths: Paths, write: Write):
    write("""
        [models.options."qwen3:8b"]
        num_ctx = 16384
        keep_alive = "1h"
        [models.options.llama3]
        stop = ["END"]
        main_gpu = 1
        """)
    store = opened(paths)
    models = store.current.value.models
    assert store.problems.value == ()
    assert models.options_of("qwen3:8b") == models.options_of("library/QWEN3:8b") == {"num_ctx": 16384}
    assert models.keep_alive_of("qwen3:8b") == "1h"
    assert models.options_of("llama3:latest") == {"stop": ["END"], "main_gpu": 1}
    assert models.options_of("llama3:8b") == {}
    assert models.keep_alive_of("llama3:8b") == ""


def test_options_of_a_model_are_set_and_taken_away_by_a_dotted_key(paths: Paths):
    store = opened(paths)
    store.set("models.options.hf.co/org/repo:Q4_K_M.num_ctx", "8192")
    assert store.current.value.models.options_of("hf.co/org/repo:Q4_K_M") == {"num_ctx": 8192}
    assert store.shown("models.options.hf.co/org/repo:Q4_K_M.top_k") == ""
    assert store.shown("models.options.hf.co/org/repo:Q4_K_M.num_ctx") == "8192"
    store.unset("models.options.hf.co/org/repo:Q4_K_M.num_ctx")
    assert store.current.value.models.options_of("hf.co/org/repo:Q4_K_M") == {}


COMMAND = """
[chat]
tools = ["weather"]
[chat.commands.weather]
description = "The weather in a city"
command = ["weather", "--city={city}"]
parameters = { city = "Its name" }
"""


def test_a_command_of_the_users_own_file_is_a_tool(paths: Paths, write: Write):
    write(COMMAND)
    store = opened(paths)
    command = store.current.value.chat.commands["weather"]
    assert store.problems.value == ()
    assert store.current.value.chat.tools == ("weather",)
    assert (command.command, command.parameters, command.timeout) == (("weather", "--city={city}"), {"city": "Its name"}, 30.0)


def test_X14_commands_that_others_could_have_written_are_left_out(paths: Paths, write: Write):
    write(COMMAND).chmod(0o620)
    store = opened(paths)
    assert store.current.value.chat.commands == {}
    assert [(problem.key, problem.what) for problem in store.problems.value if "tool" in problem.what] == [
        ("chat.commands.weather", "the tool weather is left out: other users could have written it")
    ]


def test_X14_commands_never_come_from_the_environment(paths: Paths):
    store = opened(paths, {"PADDOCK_CHAT__COMMANDS__WEATHER__COMMAND": '["rm", "-rf"]'})
    assert store.current.value.chat.commands == {}
    assert "only taken from the file" in store.problems.value[0].what


def test_a_command_without_a_program_is_left_out_and_named_with_its_line(paths: Paths, write: Write):
    write("[chat.commands.weather]\ndescription = 'x'\n[chat.commands.other]\ncommand = ['{city}']\n[chat.commands.3x]\ncommand = ['x']\n")
    store = opened(paths)
    assert store.current.value.chat.commands == {}
    assert [problem.line for problem in store.problems.value] == [4, 5, 1, 3]


def test_limits_and_fallback_are_read(paths: Paths, write: Write):
    write("[limits]\ngpu = 0\nkeep_free_vram = '2 GB'\naction = 'refuse'\n[providers.a]\nurl = 'http://a:1'\nfallback = ['b', 'c']\n")
    settings = opened(paths).current.value
    limits = settings.limits
    assert (limits.count, limits.cpu, limits.memory, limits.gpu, limits.disk) == ("others", 80, 80, 0, 90)
    assert (limits.keep_free_vram, limits.action) == (2 * 10**9, "refuse")
    assert settings.providers["a"].fallback == ("b", "c")


def test_what_is_set_in_tables_of_the_users_own_is_listed_and_can_be_changed_there(paths: Paths, write: Write):
    write('[models.options."qwen3:8b"]\nnum_ctx = 16384\n[chat.presets.short]\nnum_predict = 50\n')
    store = opened(paths)
    own = {field.dotted: field for field in store.fields() if field.section.startswith(("models.options.", "chat.presets."))}
    assert list(own) == ["models.options.qwen3:8b.num_ctx", "chat.presets.short.num_predict"]
    assert all(field.doc for field in own.values())
    assert [store.shown(dotted) for dotted in own] == ["16384", "50"]
    assert [store.source(dotted) for dotted in own] == ["file", "file"]
    store.set("models.options.qwen3:8b.num_ctx", "8192")
    assert "num_ctx = 8192" in paths.config_file.read_text()


def test_several_values_are_saved_at_once_all_or_none(paths: Paths, write: Write):
    file = write('[models.options."qwen3:8b"]\nnum_gpu = 4\n')
    store = opened(paths)
    before = file.read_text()
    with pytest.raises(PaddockError):
        store.set_all({"models.options.qwen3:8b.num_ctx": 8192, "models.options.qwen3:8b.num_batch": -5})
    assert file.read_text() == before
    store.set_all({"models.options.qwen3:8b.num_ctx": 8192, "models.options.qwen3:8b.num_gpu": None})
    assert store.current.value.models.options_of("qwen3:8b") == {"num_ctx": 8192}
