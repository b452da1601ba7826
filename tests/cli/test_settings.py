"""config and completions."""

from __future__ import annotations

import json
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from tests.cli.conftest import Run, provider
from tests.cli.test_changes import audit
from tui.cli.completions import words


def test_get_set_and_unset(run: Run, home: Path, configure) -> None:
    configure("# my own words\n[pulls]\nat_once = 4  # four\n")
    assert run("config", "get", "pulls.at_once").out == "4\n"
    said = run("config", "set", "pulls.at_once", "3")
    assert said.code == 0 and said.err == "pulls.at_once = 3.\n" and not said.out
    text = (home / "config.toml").read_text()
    assert "# my own words" in text and "at_once = 3  # four" in text
    said = run("config", "unset", "pulls.at_once")
    assert said.code == 0 and "2, its default" in said.err
    assert run("config", "get", "pulls.at_once", "--json").json == {"key": "pulls.at_once", "value": 2, "source": "default"}
    assert audit(home) == [("change setting", "pulls.at_once", "ok"), ("reset setting", "pulls.at_once", "ok")]


def test_text_is_printed_as_scripts_want_it(run: Run) -> None:
    assert run("config", "set", "chat.system", "be brief").code == 0
    assert run("config", "get", "chat.system").out == "be brief\n"
    assert run("config", "set", "pulls.keep_free", "20 GB", "--json").json["value"] == "20 GB"


@pytest.mark.parametrize(
    ("key", "value"), [("pulls.at_once", "99"), ("pulls.at", "3"), ("nonsense", "3"), ("pulls", "3"), ("general.network", "of")]
)
def test_what_cannot_be_set_is_2_and_changes_nothing(run: Run, home: Path, key: str, value: str) -> None:
    said = run("config", "set", key, value)
    assert said.code == 2 and said.err.count("\n") == 1
    assert run("config", "unset", key).code == (2 if key not in ("pulls.at_once", "general.network") else 0)
    assert run("config", "get", key).code == (2 if key not in ("pulls.at_once", "general.network") else 0)
    assert "99" not in ((home / "config.toml").read_text() if (home / "config.toml").exists() else "")


def test_the_environment_still_decides_and_that_is_said(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PADDOCK_PULLS__AT_ONCE", "5")
    said = run("config", "set", "pulls.at_once", "3")
    assert said.code == 0 and "PADDOCK_PULLS__AT_ONCE still decides" in said.err
    assert run("config", "get", "pulls.at_once", "--json").json["source"] == "environment"


def test_path_init_check_and_show(run: Run, home: Path, configure) -> None:
    assert run("config", "path").out == f"{home}/config.toml\n"
    assert "no configuration file" in run("config", "check").out
    assert run("config", "init").code == 0
    assert stat.S_IMODE((home / "config.toml").stat().st_mode) == 0o600
    said = run("config", "init")
    assert said.code == 1 and "left as it is" in said.err
    assert run("config", "check").out == "The configuration is right.\n"
    assert run("config", "check", "--json").json == {"ok": True, "problems": []}
    configure(provider("box", "http://127.0.0.1:9", api_key='"sk-literal-secret"') + "[pulls]\nat_once = 5\n")
    said = run("config", "show")
    assert "pulls.at_once = 5  # file" in said.out and "providers.box.timeout = " in said.out and "sk-literal" not in said.out
    assert "sk-literal" not in run("config", "get", "providers.box.api_key").out
    assert run("config", "get", "keys.app.quit").out == "\n"
    assert run("config", "set", "keys.app.quit", "ctrl+x").code == 0
    assert run("config", "get", "keys.app.quit").out == "ctrl+x\n" and "keys = " in run("config", "show").out
    shown = {one["key"]: one for one in run("config", "show", "--json").json["settings"]}
    assert shown["pulls.at_once"]["source"] == "file" and "sk-literal" not in json.dumps(shown)


def test_unknown_keys_are_named_with_the_nearest_and_stay(run: Run, home: Path, configure) -> None:
    configure("[pulls]\nat_onc = 3\n")
    said = run("config", "check")
    assert said.code == 0 and "at_onc" in said.err and "at_once" in said.err
    assert run("config", "set", "pulls.at_once", "3").code == 0
    assert "at_onc = 3" in (home / "config.toml").read_text()


def test_a_broken_file_is_named_by_line_and_not_overwritten(run: Run, home: Path, configure) -> None:
    configure("[pulls]\nat_once = = 3\n")
    said = run("config", "check")
    assert said.code == 2 and "config.toml:2" in said.err
    said = run("config", "set", "pulls.at_once", "3")
    assert said.code == 2 and said.err
    assert (home / "config.toml").read_text() == "[pulls]\nat_once = = 3\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completions_name_every_command(shell: str, run: Run) -> None:
    said = run("completions", shell)
    assert (said.code == 0 and "pulls" in said.out and "--wait" in said.out and "--demo" in said.out) or shell == "fish"
    assert all(name in said.out for name in words())


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash here")
@pytest.mark.parametrize(
    ("typed", "offered", "not_offered"),
    [
        ("paddock pu", {"pull", "pulls"}, {"ls"}),
        ("paddock pulls re", {"resume", "retry", "remove"}, {"pause"}),
        ("paddock --demo pull --w", {"--wait"}, {"--insecure"}),
        ("paddock --re", {"--readonly"}, {"--demo"}),
        ("paddock config ", {"set", "unset", "path"}, {"pull"}),
    ],
)
def test_bash_completes(run: Run, tmp_path: Path, typed: str, offered: set[str], not_offered: set[str]) -> None:
    script = tmp_path / "complete.bash"
    script.write_text(run("completions", "bash").out)
    given = typed.split(" ")
    line = (
        f"source {script}; COMP_WORDS=({' '.join(given[:-1])} '{given[-1]}'); COMP_CWORD={len(given) - 1}; _paddock; echo ${{COMPREPLY[@]}}"
    )
    found = set(subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=20, check=True).stdout.split())
    assert offered <= found and not (not_offered & found)
