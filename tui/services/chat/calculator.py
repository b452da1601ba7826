"""Sums for models: exact fractions, a parser of our own, and no way to make it work for long."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from decimal import Context, Decimal
from fractions import Fraction
from typing import Final

MAX_TEXT: Final = 1000
MAX_BITS: Final = 8192
"""Of a numerator or denominator: about 2,400 digits."""
MAX_DEPTH: Final = 50
MAX_EXPONENT: Final = 400
"""Of a number as it is written, 1e400."""
SHOWN: Final = 15
"""Significant digits of a result that is no whole number."""

_TOKEN: Final = re.compile(
    r"\s*(?:(\d+(?:\.\d*)?(?:[eE][+-]?\d{1,9})?|\.\d+(?:[eE][+-]?\d{1,9})?)|([A-Za-z_]\w{0,20})|(\*\*|//|[-+*/%^(),!]))"
)
_SIGNS: Final = str.maketrans({"×": "*", "·": "*", "÷": "/", "−": "-", "–": "-"})


class Sum(ValueError):
    """A sum that cannot be done, in words."""


def _power(base: Fraction, exponent: Fraction) -> Fraction:
    if exponent.denominator != 1:
        return _real(lambda: math.pow(float(base), float(exponent)))
    number = int(exponent)
    if abs(number) * max(base.numerator.bit_length(), base.denominator.bit_length(), 1) > MAX_BITS and base not in (0, 1, -1):
        raise Sum("the result is too large")
    if base == 0 and number < 0:
        raise Sum("division by zero")
    if base in (0, 1, -1):
        return base if number % 2 else base * base if number else Fraction(1)
    return base**number


def _real(compute: Callable[[], float]) -> Fraction:
    try:
        value = compute()
    except OverflowError:
        raise Sum("the result is too large") from None
    except ValueError:
        raise Sum("that has no real result") from None
    if isinstance(value, complex) or not math.isfinite(value):
        raise Sum("that has no real result")
    return Fraction(value)


def _root(value: Fraction) -> Fraction:
    if value < 0:
        raise Sum("the root of a negative number is no real number")
    top, bottom = math.isqrt(value.numerator), math.isqrt(value.denominator)
    if top * top == value.numerator and bottom * bottom == value.denominator:
        return Fraction(top, bottom)
    return _real(lambda: math.sqrt(float(value)))


def _factorial(value: Fraction) -> Fraction:
    if value.denominator != 1 or not 0 <= value <= 700:
        raise Sum("a factorial is of a whole number from 0 to 700")
    return Fraction(math.factorial(int(value)))


def _round(value: Fraction, digits: Fraction = Fraction(0)) -> Fraction:
    if digits.denominator != 1 or abs(digits) > 100:
        raise Sum("round takes a whole number of digits up to 100")
    return Fraction(round(value, int(digits)))


def _of(function: Callable[[float], float]) -> Callable[[Fraction], Fraction]:
    return lambda value: _real(lambda: function(float(value)))


_FUNCTIONS: Final[Mapping[str, tuple[int, int, Callable[..., Fraction]]]] = {
    "abs": (1, 1, abs),
    "sqrt": (1, 1, _root),
    "round": (1, 2, _round),
    "floor": (1, 1, lambda value: Fraction(math.floor(value))),
    "ceil": (1, 1, lambda value: Fraction(math.ceil(value))),
    "min": (1, 50, lambda *values: min(values)),
    "max": (1, 50, lambda *values: max(values)),
    "sum": (1, 50, lambda *values: sum(values, Fraction(0))),
    "factorial": (1, 1, _factorial),
    **{name: (1, 1, _of(getattr(math, name))) for name in ("sin", "cos", "tan", "asin", "acos", "atan", "exp", "log10", "log2")},
    "ln": (1, 1, _of(math.log)),
    "log": (1, 1, _of(math.log)),
}
_CONSTANTS: Final[Mapping[str, Fraction]] = {"pi": Fraction(math.pi), "e": Fraction(math.e), "tau": Fraction(math.tau)}


class _Parser:
    """Recursive descent; the signs bind as in mathematics: `-2^2` is -4, `2^3^2` is 2^(3^2)."""

    def __init__(self, text: str) -> None:
        self._tokens: list[tuple[str, str]] = []
        self._at = 0
        self._depth = 0
        place, text = 0, text.translate(_SIGNS).rstrip()
        while place < len(text):
            found = _TOKEN.match(text, place)
            if found is None:
                raise Sum(f"{text[place:].strip()[:1]!r} is not understood")
            place = found.end()
            kind = "number" if found[1] else "name" if found[2] else "sign"
            self._tokens.append((kind, found[1] or found[2] or found[3]))

    def whole(self) -> Fraction:
        value = self._sum()
        if self._at < len(self._tokens):
            raise Sum(f"{self._tokens[self._at][1]!r} is not expected")
        return value

    def _take(self, *signs: str) -> str:
        if self._at < len(self._tokens) and self._tokens[self._at] in [("sign", sign) for sign in signs]:
            self._at += 1
            return self._tokens[self._at - 1][1]
        return ""

    def _sum(self) -> Fraction:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise Sum("too many brackets")
        value = self._product()
        while sign := self._take("+", "-"):
            other = self._product()
            value = _small(value + other if sign == "+" else value - other)
        self._depth -= 1
        return value

    def _product(self) -> Fraction:
        value = self._signed()
        while sign := self._take("*", "//", "/", "%"):
            other = self._signed()
            if sign != "*" and other == 0:
                raise Sum("division by zero")
            value = _small(
                value * other
                if sign == "*"
                else value / other
                if sign == "/"
                else value % other
                if sign == "%"
                else Fraction(value // other)
            )
        return value

    def _signed(self) -> Fraction:
        minus = False
        while sign := self._take("+", "-"):
            minus ^= sign == "-"
        value = self._powered()
        return -value if minus else value

    def _powered(self) -> Fraction:
        value = self._atom()
        while self._take("!"):
            value = _small(_factorial(value))
        if self._take("**", "^"):
            self._depth += 1
            if self._depth > MAX_DEPTH:
                raise Sum("too many powers")
            value = _small(_power(value, self._signed()))
            self._depth -= 1
        return value

    def _atom(self) -> Fraction:
        if self._take("("):
            value = self._sum()
            if not self._take(")"):
                raise Sum("a bracket is not closed")
            return value
        if self._at >= len(self._tokens):
            raise Sum("it ends too early")
        kind, text = self._tokens[self._at]
        self._at += 1
        if kind == "number":
            _, _, exponent = text.lower().partition("e")
            if exponent and abs(int(exponent)) > MAX_EXPONENT:
                raise Sum("the number is too large")
            return _small(Fraction(text))
        if kind == "name":
            return self._named(text.lower())
        raise Sum(f"{text!r} is not expected")

    def _named(self, name: str) -> Fraction:
        if name in _CONSTANTS and name not in _FUNCTIONS:
            return _CONSTANTS[name]
        if name not in _FUNCTIONS:
            raise Sum(f"{name} is not known")
        if not self._take("("):
            raise Sum(f"{name} needs its value in brackets")
        values = [self._sum()]
        while self._take(","):
            values.append(self._sum())
        if not self._take(")"):
            raise Sum("a bracket is not closed")
        least, most, function = _FUNCTIONS[name]
        if not least <= len(values) <= most:
            raise Sum(f"{name} takes {least if least == most else f'{least} to {most}'} values")
        return _small(function(*values))


def _small(value: Fraction) -> Fraction:
    if value.numerator.bit_length() > MAX_BITS or value.denominator.bit_length() > MAX_BITS:
        raise Sum("the result is too large")
    return value


def calculate(text: str) -> str:
    """The result of a sum as text: whole numbers in full, others to `SHOWN` digits, with `about` where digits are left out.

    Knows `+ - * / // % ^ ** !`, brackets, `pi e tau` and the usual functions; angles are in radians.

    Raises:
        Sum: It cannot be done, and why.
    """
    if len(text) > MAX_TEXT:
        raise Sum(f"it is longer than {MAX_TEXT} characters")
    value = _Parser(text).whole()
    if value.denominator == 1:
        return str(value.numerator)
    shown = Context(prec=SHOWN).divide(Decimal(value.numerator), Decimal(value.denominator))
    exact = Fraction(shown) == value
    digits = f"{shown.normalize():f}" if -6 <= shown.adjusted() <= SHOWN else f"{shown.normalize():E}"
    return digits if exact else f"about {digits}"
