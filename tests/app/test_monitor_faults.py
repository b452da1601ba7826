"""The monitor while the terminal misbehaves."""

from tests.app.conftest import Home, leave, wait


def test_P25_a_terminal_that_is_not_read_keeps_no_alert_away(home: Home) -> None:
    quiet = '[monitor]\ninterval = "500ms"\n[limits]\ncount = "all"\n[alerts]\ncpu = 0\ndisk = 0\nafter = "1s"\nmemory = '
    home.configure(quiet + "0\n")
    terminal = home.start()
    terminal.wait_for("Chat")
    wait(lambda: home.paths.locks.joinpath("rules.lock").exists(), "somebody who watches the rules")
    terminal.stall()
    assert home.read("SELECT count(*) FROM alert") == [(0,)]
    home.configure(quiet + "1\n")
    wait(lambda: home.read("SELECT rule, ended_at FROM alert") == [("memory", None)], "an alert while nobody reads the terminal")
    terminal.resume()
    leave(terminal)
