"""The line between sampler and app."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tui.hardware.sample import Cpu, Disk, Gpu, GpuProcess, Memory, Network, Sample
from tui.hardware.sample_line import LINE_LIMIT, format_sample, parse_sample

FULL = Sample(
    time=1_700_000_000.5,
    seconds=1.0,
    cpu=Cpu(34.0, (30.0, 38.0), (2.7, 1.0, 0.5), 3400.0, 61.0),
    memory=Memory(32 * 10**9, 13 * 10**9, 0, 0),
    disks=(Disk("/var/lib", 10**12, 7 * 10**11, 3 * 10**11, 12e6, 38e6),),
    network=Network(39e6, 6e5),
    gpus=(Gpu("GPU-0", 0, "RTX 3090", 97.0, 24 * 2**30, 8 * 2**30, 71.0, 312.0, 350.0, 1695.0, 9751.0, (GpuProcess(812, 6 * 2**30),)),),
)


def test_what_is_written_is_read():
    assert parse_sample(format_sample(FULL)) == FULL
    assert parse_sample(format_sample(Sample(time=0.0))) == Sample(time=0.0)


@pytest.mark.parametrize(
    "line",
    [
        b"", b"\n", b"null", b"[]", b"{}", b'{"v":2}', b"\xff\xfe", b"[" * 100_000,
        b'{"v":1e999}',
        format_sample(FULL)[:-20], format_sample(FULL) * 2, b" " * (LINE_LIMIT + 1), b"9" * 5000,
    ],
)  # fmt: skip
def test_G11_garbage_and_half_lines_are_nothing(line: bytes):
    assert parse_sample(line) is None


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("v",), 3), (("time",), "now"), (("time",), True), (("cpu", "percent"), 101), (("cpu", "percent"), -1),
        (("cpu", "cores"), [200]),
        (("memory", "total"), -5), (("memory", "total"), 1.5), (("memory", "total"), 2**70), (("gpus",), {}), (("gpus", 0, "index"), None),
        (("gpus", 0, "lost"), 1), (("gpus", 0, "temperature"), 9999), (("gpus", 0, "name"), None),
        (("disks", 0, "read"), 1e300), (("network",), None),
    ],
)  # fmt: skip
def test_G11_one_wrong_field_refuses_the_line(place: tuple[Any, ...], value: object):
    raw = json.loads(format_sample(FULL))
    inner = raw
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = value
    assert parse_sample(json.dumps(raw).encode()) is None


@settings(max_examples=300)
@given(st.binary(max_size=300))
def test_G11_any_bytes_are_nothing_or_a_sample(line: bytes):
    assert parse_sample(line) is None


@settings(max_examples=200)
@given(st.data())
def test_G11_a_line_with_damaged_bytes_never_raises(data: st.DataObject):
    line = bytearray(format_sample(FULL))
    for _ in range(data.draw(st.integers(1, 8))):
        line[data.draw(st.integers(0, len(line) - 1))] = data.draw(st.integers(0, 255))
    found = parse_sample(bytes(line))
    assert found is None or isinstance(found, Sample)


def test_X_names_in_a_line_are_cleaned():
    hostile = Sample(time=1.0, gpus=(Gpu("u", 0, "\x1b[2J"),), gpu_note="a\x1bb")
    found = parse_sample(format_sample(hostile))
    assert found is not None
    assert "\x1b" not in found.gpus[0].name + found.gpu_note
