"""Memory of Intel's cards: their drivers tell it only when asked at the device (include/uapi/drm/{xe,i915}_drm.h)."""

from __future__ import annotations

import array
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Final

_XE_QUERY: Final = 0xC028_6440  # DRM_IOCTL_XE_DEVICE_QUERY
_XE_REGIONS: Final = 1  # DRM_XE_DEVICE_QUERY_MEM_REGIONS
_I915_QUERY: Final = 0xC010_6479  # DRM_IOCTL_I915_QUERY
_I915_REGIONS: Final = 4  # DRM_I915_QUERY_MEMORY_REGIONS
_OWN: Final = 1  # the class of a card's own memory, the same in both
_REGION: Final = 88
_LARGEST: Final = 65_536
Call = Callable[[int, int, bytearray], object]


def asked(device: Path, driver: str, call: Call | None = None) -> tuple[int | None, int | None]:
    """Total and used bytes of a card's own memory; used only where this account may know it.

    Args:
        device: The file of the device, as in `/dev/dri/renderD128`.
        driver: "xe" or "i915".
        call: Stands in for `ioctl`; for tests.
    """
    call = call or _call
    try:
        file = os.open(device, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None, None
    try:
        return _xe(_answer_xe(call, file)) if driver == "xe" else _i915(_answer_i915(call, file))
    except (OSError, struct.error, ValueError, OverflowError):
        return None, None
    finally:
        os.close(file)


def _call(file: int, request: int, question: bytearray) -> object:
    import fcntl  # nothing like it outside Unix

    return fcntl.ioctl(file, request, question)


def _answer_xe(call: Call, file: int) -> bytes:
    def ask(size: int, address: int) -> int:
        question = bytearray(struct.pack("<QIIQQQ", 0, _XE_REGIONS, size, address, 0, 0))
        call(file, _XE_QUERY, question)
        return int(struct.unpack_from("<I", question, 12)[0])

    return _filled(ask)


def _answer_i915(call: Call, file: int) -> bytes:
    def ask(size: int, address: int) -> int:
        item = array.array("B", struct.pack("<QiIQ", _I915_REGIONS, size, 0, address))
        call(file, _I915_QUERY, bytearray(struct.pack("<IIQ", 1, 0, item.buffer_info()[0])))
        return int(struct.unpack_from("<i", item, 8)[0])

    return _filled(ask)


def _filled(ask: Callable[[int, int], int]) -> bytes:
    """Ask how much there is to tell, and then for it."""
    size = ask(0, 0)
    if not 16 <= size <= _LARGEST:
        return b""
    answer = array.array("B", bytes(size))
    ask(size, answer.buffer_info()[0])
    return answer.tobytes()


def _xe(answer: bytes) -> tuple[int | None, int | None]:
    """`drm_xe_query_mem_regions`: a count, and 88 bytes for each region."""
    total = used = 0
    for at in _places(answer, 8):
        kind, _instance, _page, size, taken = struct.unpack_from("<HHIQQ", answer, at)
        if kind == _OWN:
            total, used = total + size, used + taken
    return _told(total, used)


def _i915(answer: bytes) -> tuple[int | None, int | None]:
    """`drm_i915_query_memory_regions`: a count, and 88 bytes for each region."""
    total = used = 0
    for at in _places(answer, 16):
        kind, _instance, _reserved, size, free = struct.unpack_from("<HHIQQ", answer, at)
        if kind == _OWN and size < 2**60:
            total, used = total + size, used + max(0, size - free)
    return _told(total, used)


def _places(answer: bytes, first: int) -> range:
    if len(answer) < first:
        return range(0)
    (count,) = struct.unpack_from("<I", answer)
    return range(first, first + _REGION * min(count, (len(answer) - first) // _REGION), _REGION)


def _told(total: int, used: int) -> tuple[int | None, int | None]:
    """Nothing used is what is told to an account that may not know it."""
    if not 0 < total < 2**60:
        return None, None
    return total, used if 0 < used <= total else None
