"""Frozen dataclasses that are made when they are first used, and cost a third to make.

A hundred are read at every start. One of the standard library's costs a millisecond, for six functions that are each compiled from
text; here it is one, the constructor, and most records are needed later or never.
"""

from __future__ import annotations

import dataclasses
import threading
from operator import attrgetter
from typing import TYPE_CHECKING, Any, ClassVar

__all__ = ["record"]

_LOCK = threading.RLock()


class _Fields:
    """Where `dataclasses.fields` looks."""

    def __get__(self, _object: object, kind: type) -> Any:
        _make(kind)
        found = vars(kind).get("__dataclass_fields__", self)
        if found is self:
            raise AttributeError(kind)
        return found


class _Late:
    __dataclass_fields__ = _Fields()
    _value_of: ClassVar[Any]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        _make(type(self))
        type(self).__init__(self, *args, **kwargs)

    def __eq__(self, other: object) -> bool:
        if other.__class__ is not self.__class__:
            return NotImplemented
        return bool(self._value_of(self) == self._value_of(other))

    def __hash__(self) -> int:
        return hash(self._value_of(self))

    def __repr__(self) -> str:
        fields = (f"{field.name}={getattr(self, field.name)!r}" for field in dataclasses.fields(self) if field.repr)  # type: ignore[arg-type]
        return f"{type(self).__name__}({', '.join(fields)})"

    def __setattr__(self, name: str, value: object) -> None:
        raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")

    def __delattr__(self, name: str) -> None:
        raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")


def _make(kind: type) -> None:
    with _LOCK:
        for cls in reversed(kind.__mro__):  # a dataclass collects the fields of its bases
            if "_late" in vars(cls):
                made: Any = dataclasses.dataclass(init=False, eq=False, repr=False)(cls)
                fields = dataclasses.fields(made)
                names = [field.name for field in fields if field.compare]
                made._value_of = staticmethod(attrgetter(*names) if names else type)
                made.__init__ = _constructor(fields)  # last: no object is there before the rest is
                delattr(cls, "_late")


def _constructor(fields: tuple[dataclasses.Field[Any], ...]) -> Any:
    """`def __init__(self, a, b=b__default)`, with each value put into the object's dictionary; no field ends in two underscores."""
    known: dict[str, Any] = {"missing__": dataclasses.MISSING}
    parameters, lines = ["self"], ["  values__ = self.__dict__"]
    for field in fields:
        parameter = value = name = field.name
        if field.default is not dataclasses.MISSING:
            known[f"{name}__default"] = field.default
            parameter = f"{name}={name}__default"
        elif field.default_factory is not dataclasses.MISSING:
            known[f"{name}__default"] = field.default_factory
            parameter = f"{name}=missing__"
            value = f"{name}__default() if {name} is missing__ else {name}"
        parameters.append(parameter)
        lines.append(f"  values__[{name!r}] = {value}")
    text = "\n".join([f"def __init__({', '.join(parameters)}):", *lines])
    exec(text, known)
    return known["__init__"]


if TYPE_CHECKING:
    from dataclasses import dataclass as record
else:

    def record(*, frozen: bool) -> Any:
        """As `dataclasses.dataclass(frozen=True)`: compared by value, hashable, without slots, `__post_init__`, `InitVar` and `kw_only`."""
        assert frozen

        def later(cls: type) -> type:
            names = {name: value for name, value in vars(cls).items() if name not in ("__dict__", "__weakref__")}
            bases = tuple(base for base in cls.__bases__ if base is not object)
            if not issubclass(cls, _Late):
                bases = (_Late, *bases)
            return type(cls)(cls.__name__, bases, {**names, "_late": True})

        return later
