"""Alerts: rules by name, how long they hold, how they end, who is to blame, and their words."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.services.test_sampling import sample
from tui.config.settings import Settings, build
from tui.core.alert_words import NOBODY_LOOKED, NOT_WATCHED, alert_figure, alert_name, alert_sentence
from tui.core.errors import Failure, FailureKind
from tui.core.models import Endpoint, Origin, ProviderState, ProviderStatus, RunningModel
from tui.core.monitor import Alert
from tui.hardware.sample import Cpu, Disk, Gpu, MachineProcess, Memory, Sample
from tui.services.monitor.alerts import FORGET, AlertBook, Reading
from tui.services.monitor.readings import asks_own, at_work, machine_readings, provider_readings
from tui.services.own_use import OwnUse

EPOCH = 1_700_000_000.0
CPU = ("cpu",)


class Time:
    """A book, and figures that last for some seconds each."""

    def __init__(self, rule: str = "cpu", limit: float = 70, hold: float = 60, subject: str = "") -> None:
        self.book = AlertBook()
        self.now = 0.0
        self.offset = 0.0
        self.reading = Reading((rule, subject), subject, 0.0, limit, hold)
        self.ended: list[Alert] = []

    def pass_(self, figure: float | None, seconds: int, culprit: str = "") -> "Time":
        for _second in range(seconds):
            self.now += 1.0
            found = () if figure is None else (replace(self.reading, figure=figure, culprit=culprit),)
            changed = self.book.update(found, (self.reading.key[0],), self.now, self.time, gone=self.gone)
            self.ended += [alert for alert in changed if alert.ended_at is not None]
        return self

    gone: Any = staticmethod(lambda _key: False)

    @property
    def time(self) -> float:
        return EPOCH + self.now + self.offset

    @property
    def alert(self) -> Alert | None:
        return self.book.active[0] if self.book.active else None


# --- how long --------------------------------------------------------------------------------------------------------


def test_a_figure_must_be_over_for_as_long_as_the_rule_says() -> None:
    time = Time().pass_(90, 60)
    assert time.alert is None
    alert = time.pass_(80, 1).alert
    assert alert is not None
    assert (alert.rule, alert.figure, alert.limit, alert.started_at, alert.ended_at) == ("cpu", 90.0, 70, EPOCH + 1, None)


def test_a_mean_over_the_limit_is_not_enough() -> None:
    time = Time()
    for _round in range(10):
        time.pass_(100, 30).pass_(69, 1)
    assert time.alert is None


def test_at_the_limit_is_not_over_it() -> None:
    assert Time().pass_(70, 200).alert is None


def test_time_without_measurements_counts_neither_way() -> None:
    time = Time().pass_(90, 40).pass_(None, 60)
    assert time.alert is None
    assert time.pass_(90, 18).alert is None, "the minute without counts for nothing"
    assert time.pass_(90, 10).alert is not None
    assert time.pass_(None, 60).alert is not None, "and ends nothing"
    assert time.pass_(90, 1).ended == []


def test_what_nobody_measures_any_more_ends_when_it_was_known_last() -> None:
    time = Time().pass_(90, 100)
    known = time.time
    assert time.pass_(None, int(FORGET)).alert is not None
    time.pass_(None, 2)
    assert (time.alert, [alert.ended_at for alert in time.ended]) == (None, [known])


def test_E04_a_suspended_machine_raises_and_ends_nothing_by_the_jump() -> None:
    time = Time().pass_(90, 30)
    time.now += 8 * 3600
    assert time.pass_(90, 1).alert is None
    assert time.pass_(90, 59).alert is None, "it counts from anew"
    assert time.pass_(90, 2).alert is not None
    known = time.time
    time.now += 8 * 3600
    time.pass_(90, 1)
    assert (time.alert, [alert.ended_at for alert in time.ended]) == (None, [known])


def test_a_short_pause_of_the_program_is_not_counted() -> None:
    time = Time().pass_(90, 10)
    time.now += 55
    assert time.pass_(90, 40).alert is None


def test_a_clock_that_is_set_changes_no_durations() -> None:
    time = Time().pass_(90, 30)
    time.offset = -86_400
    assert time.pass_(90, 29).alert is None
    time.offset = 86_400
    assert time.pass_(90, 2).alert is not None
    time.offset = -86_400
    time.pass_(10, 12)
    (ended,) = time.ended
    assert ended.ended_at == ended.started_at, "never before it began"


def test_rare_measurements_count_as_well() -> None:
    book = AlertBook()
    for now in range(0, 121, 30):
        book.update((Reading(("cpu", ""), "", 90.0, 70, 60),), CPU, float(now), EPOCH + now, every=30.0)
    assert len(book.active) == 1


# --- how it ends ------------------------------------------------------------------------------------------------------


def test_it_ends_five_points_below_for_ten_seconds() -> None:
    time = Time().pass_(90, 70)
    assert time.pass_(66, 60).alert is not None, "not far enough below"
    assert time.pass_(60, 10).alert is not None
    assert time.pass_(66, 1).pass_(60, 10).alert is not None, "ten seconds without a break"
    began = time.time - 9
    assert time.pass_(60, 1).alert is None
    assert [alert.ended_at for alert in time.ended] == [began]


def test_a_temperature_ends_three_degrees_below() -> None:
    time = Time("gpu_temperature", 85).pass_(88, 70)
    assert time.pass_(82, 30).alert is not None
    assert time.pass_(81.9, 11).alert is None


def test_the_worst_figure_and_who_it_was_are_kept() -> None:
    time = Time().pass_(80, 65).pass_(95, 1, "while a wrote").pass_(85, 5, "while b wrote")
    assert time.alert is not None
    assert (time.alert.figure, time.alert.culprit) == (95.0, "while a wrote")


def test_settings_apply_at_once() -> None:
    time = Time().pass_(80, 70)
    time.reading = replace(time.reading, limit=90.0)
    assert time.pass_(80, 1).alert is None, "set higher than the figure"
    time.reading = replace(time.reading, limit=50.0, hold=5.0)
    assert time.pass_(80, 7).alert is not None
    time.gone = lambda _key: True
    assert time.pass_(None, 1).alert is None, "off"
    assert len(time.ended) == 2


def test_alerts_of_several_gpus_are_apart_and_numbered() -> None:
    book = AlertBook(last=int(EPOCH) + 500)
    readings = [Reading(("vram", uuid), name, 99.0, 95, 0) for uuid, name in (("A", "GPU0"), ("B", "GPU1"))]
    began = book.update(readings, ("vram",), 0.0, EPOCH)
    assert sorted((alert.id, alert.subject) for alert in began) == [(int(EPOCH) + 501, "GPU0"), (int(EPOCH) + 502, "GPU1")]
    book.seen({int(EPOCH) + 501})
    assert {alert.subject: alert.acknowledged for alert in book.active} == {"GPU0": True, "GPU1": False}
    book.seen(())
    assert all(alert.acknowledged for alert in book.active)


def test_an_alert_of_another_keeper_goes_on_under_its_number() -> None:
    book = AlertBook()
    kept = Alert(7, "vram", "GPU0", 97.0, 95.0, EPOCH - 500)
    book.adopt([kept], 0.0, EPOCH)
    (still,) = book.update([Reading(("vram", "UUID"), "GPU0", 98.0, 95, 60)], ("vram",), 1.0, EPOCH + 1)
    assert still == replace(kept, figure=98.0)
    assert book.last == 7


@given(
    st.lists(
        st.tuples(st.sampled_from([None, 50.0, 68.0, 80.0, 95.0]), st.integers(1, 90), st.sampled_from([0.0, 4.0, 3000.0])), max_size=12
    )
)
def test_no_alert_without_having_been_over_all_the_time(steps: list[tuple[float | None, int, float]]) -> None:
    time, over = Time(), 0.0
    for figure, seconds, jump in steps:
        time.now += jump
        for _second in range(seconds):
            before = time.alert
            time.pass_(figure, 1)
            over = over + 5.0 if figure is not None and figure > 70 else over if figure is None else 0.0
            if before is None and time.alert is not None:
                assert figure is not None
                assert figure > 70
                assert over >= 60
            assert len(time.book.active) <= 1
    for alert in time.ended:
        assert alert.ended_at is not None
        assert alert.started_at <= alert.ended_at <= time.time
        assert alert.figure > 70


# --- what the rules look at -------------------------------------------------------------------------------------------


def settings(**alerts: Any) -> Settings:
    return build({"alerts": alerts, "limits": {"count": "all"}})


def machine(**more: Any) -> Sample:
    gpu = Gpu("U", 0, percent=99.0, memory_total=100, memory_used=97, temperature=86.0)
    return replace(sample(), cpu=Cpu(91.0), memory=Memory(100, 82), disks=(Disk("/models", 100, 93, 5_000_000_000),), gpus=(gpu,), **more)


def test_every_rule_by_name() -> None:
    full = replace(machine(), disks=(Disk("/models", 10**11, 95 * 10**9, 5 * 10**9),))
    found = {reading.key[0]: reading for reading in machine_readings(settings(), full, None, None, "")}
    assert {rule: (one.subject, one.figure, one.limit, one.over) for rule, one in found.items()} == {
        "cpu": ("", 91.0, 70, True),
        "memory": ("", 82.0, 70, True),
        "gpu": ("GPU0", 99.0, 80, True),
        "gpu_temperature": ("GPU0", 86.0, 85, True),
        "vram": ("GPU0", 97.0, 95, True),
        "disk": ("/models", 95.0, 90, True),
    }
    assert found["disk"].culprit == "5.0 GB free"
    assert all(reading.hold == 60.0 for reading in found.values())


@pytest.mark.parametrize("rule", ["cpu", "memory", "gpu", "gpu_temperature", "vram", "disk"])
def test_a_rule_that_is_off_looks_at_nothing(rule: str) -> None:
    found = machine_readings(settings(**{rule: 0}), machine(), None, None, "")
    assert rule not in {reading.key[0] for reading in found}
    assert len(found) == 5


def test_what_is_not_known_is_no_measurement() -> None:
    lost = Gpu("U", 0, percent=99.0, memory_total=100, memory_used=97, lost=True)
    nothing = replace(machine(), cpu=Cpu(), memory=Memory(), disks=(Disk("/x"),), gpus=(lost, Gpu("V", 1)))
    assert machine_readings(settings(), nothing, None, None, "") == ()
    unified = replace(machine(), gpus=(Gpu("U", 0, memory_total=100, memory_used=99, unified=True),))
    assert "vram" not in {reading.key[0] for reading in machine_readings(settings(), unified, None, None, "")}


OWN = OwnUse(frozenset({5}), 30, {"U": 90}, frozenset({"U"}), {})


def others() -> Settings:
    return build({"limits": {"count": "others"}})


def test_what_own_servers_use_is_left_out() -> None:
    found = {reading.key[0]: reading for reading in machine_readings(others(), machine(), OWN, 60.0, "while q wrote")}
    assert {rule: one.figure for rule, one in found.items() if rule != "disk"} == {
        "cpu": 31.0, "memory": 52.0, "gpu": 0.0, "gpu_temperature": 86.0, "vram": 7.0,
    }  # fmt: skip
    assert found["gpu_temperature"].culprit == "while q wrote"


def test_while_it_is_not_known_what_is_ours_nothing_is_over() -> None:
    found = machine_readings(others(), machine(), None, None, "")
    assert {reading.key[0] for reading in found} == {"gpu_temperature", "disk"}
    assert asks_own(others(), machine())
    assert not asks_own(settings(), machine()), "everything counts"
    calm = replace(machine(), cpu=Cpu(9.0), memory=Memory(100, 10), gpus=())
    assert not asks_own(others(), calm), "nothing is over its limit"
    assert {reading.key[0] for reading in machine_readings(others(), calm, None, None, "")} == {"cpu", "memory", "disk"}


def test_somebody_else_is_named() -> None:
    foreign = OwnUse(others={"U": "alice's python has 5.9 GB"})
    found = {reading.key[0]: reading.culprit for reading in machine_readings(others(), machine(), foreign, 0.0, "")}
    assert (found["vram"], found["gpu"]) == ("alice's python has 5.9 GB",) * 2
    busy = machine(processes=(MachineProcess(9, "python", "alice", 6_000_000_000),))
    told = {reading.key[0]: reading.culprit for reading in machine_readings(settings(), busy, None, None, "")}
    assert told["memory"] == "alice's python has 6.0 GB"
    both = machine(processes=(MachineProcess(5, "ollama", "ollama", 9_000_000_000), MachineProcess(9, "python", "alice", 6_000_000_000)))
    told = {reading.key[0]: reading.culprit for reading in machine_readings(others(), both, OWN, 0.0, "while q wrote")}
    assert told["memory"] == "alice's python has 6.0 GB", "not our own server"
    assert told["cpu"] == "while q wrote"


def test_what_works_now_is_named() -> None:
    idle, busy = RunningModel("lab", "a", "a", busy_slots=0), RunningModel("lab", "qwen3:8b", "q", busy_slots=1)
    assert (at_work((), (idle,)), at_work((), (idle, busy))) == ("", "while qwen3:8b wrote")


# --- providers --------------------------------------------------------------------------------------------------------


def state(status: ProviderStatus, *, name: str = "ollama", default: bool = False, **more: Any) -> ProviderState:
    return ProviderState(Endpoint(name, "ollama", "http://127.0.0.1:1"), Origin.CONFIG, status, is_default=default, **more)


TIMEOUT = Failure("It does not answer", "127.0.0.1:1", "Wait", FailureKind.TIMEOUT)
WRONG = Failure("It wants a key", "127.0.0.1:1", "Give one", FailureKind.AUTH)


@pytest.mark.parametrize(
    ("one", "down"),
    [
        (state(ProviderStatus.UP), False), (state(ProviderStatus.DOWN), True), (state(ProviderStatus.FAILED, failure=TIMEOUT), True),
        (state(ProviderStatus.FAILED, failure=WRONG), False), (state(ProviderStatus.BUSY, checked_at=1.0), False),
        (state(ProviderStatus.BUSY), None), (state(ProviderStatus.FOUND), False),
    ],
)  # fmt: skip
def test_what_counts_as_no_answer(one: ProviderState, down: bool | None) -> None:
    found = provider_readings(settings(), [one], {"ollama"})
    assert [reading.over for reading in found] == ([] if down is None else [down])


def test_only_servers_that_answered_once_or_the_default_one_can_be_down() -> None:
    up: set[str] = set()
    down = state(ProviderStatus.DOWN)
    assert provider_readings(settings(), [down], up) == ()
    assert provider_readings(settings(), [replace(down, is_default=True)], up) != ()
    assert provider_readings(settings(), [replace(down, is_default=True, origin=Origin.FOUND)], up) == ()
    provider_readings(settings(), [state(ProviderStatus.UP)], up)
    assert provider_readings(settings(), [down], up) != ()
    assert provider_readings(settings(provider_down=0), [down], up) == ()


def test_a_provider_that_is_down_and_comes_back() -> None:
    time = Time("provider_down", 30, 30, "ollama").pass_(1, 30)
    assert time.alert is None
    began = EPOCH + 1
    assert time.pass_(1, 2).alert is not None
    assert (time.alert.figure, time.alert.started_at) == (31.0, began)
    time.pass_(0, 1)
    (ended,) = time.ended
    assert alert_sentence(ended, time.time) == "ollama came back after 32s"
    time.pass_(1, 40)
    time.gone = lambda _key: True
    time.pass_(None, 1)
    assert time.ended[-1].culprit == NOT_WATCHED
    assert alert_sentence(time.ended[-1], time.time) == "ollama did not answer for 40s, it is not watched any more"
    time.gone = lambda _key: False
    time.pass_(1, 40).now += 9999
    time.pass_(0, 1)
    assert time.ended[-1].culprit == NOBODY_LOOKED


# --- words ------------------------------------------------------------------------------------------------------------


def test_alerts_in_words() -> None:
    hot = Alert(1, "gpu_temperature", "GPU0", 86.4, 85.0, EPOCH, culprit="while qwen3:8b wrote")
    assert alert_sentence(hot, EPOCH + 112) == "GPU0 86 °C, over 85 °C for 1m52s, while qwen3:8b wrote"
    assert alert_sentence(hot, EPOCH + 112, fahrenheit=True) == "GPU0 188 °F, over 185 °F for 1m52s, while qwen3:8b wrote"
    full = Alert(1, "vram", "GPU1", 97.2, 95.0, EPOCH, EPOCH + 31)
    assert alert_sentence(full, EPOCH + 999) == "GPU1 VRAM over 95 %, cleared after 31s"
    assert alert_sentence(replace(full, subject="", ended_at=None), EPOCH + 5) == "VRAM 97 %, over 95 % for 5.0s"
    down = Alert(1, "provider_down", "ollama", 31.0, 30.0, EPOCH)
    words = alert_sentence(down, EPOCH + 31)
    assert words.startswith("ollama does not answer since ")
    assert words.endswith(" (31s)")
    assert [alert_name(replace(full, rule=rule, subject=subject)) for rule, subject in (("cpu", ""), ("memory", ""), ("gpu", "GPU0"))] == [
        "CPU", "Memory", "GPU0",
    ]  # fmt: skip
    assert alert_name(replace(full, rule="disk", subject="/models")) == "Disk /models"
    assert alert_figure(down, 90.0) == "1m30s"
    assert alert_sentence(hot, EPOCH - 50).endswith("for 0.0s, while qwen3:8b wrote"), "the clock was set back"
