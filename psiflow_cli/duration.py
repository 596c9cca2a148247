"""Durations and deadlines as people and batch systems write them, to and from seconds."""

from __future__ import annotations

import re
import time
from datetime import datetime, timedelta

_UNITS = {
    "s": 1, "sec": 1, "secs": 1, "second": 1, "seconds": 1,
    "m": 60, "min": 60, "mins": 60, "minute": 60, "minutes": 60,
    "h": 3600, "hr": 3600, "hrs": 3600, "hour": 3600, "hours": 3600,
    "d": 86400, "day": 86400, "days": 86400,
}  # fmt: skip
_CLOCK = re.compile(r"(?:(\d+)-)?(\d+):(\d{1,2})(?::(\d{1,2}))?")
_TERM = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]+)\s*")


def parse(text: str) -> float:
    """Seconds of `1-12:00:00`, `12:00:00`, `MM:SS`, `90 min`, `1h 30min`, or plain seconds; ValueError for others.

    Two numbers are minutes and seconds, or with days hours and minutes, as in sbatch(1).
    """
    given = text.strip()
    if re.fullmatch(r"\d+(\.\d+)?", given):
        return _positive(float(given), text)
    if clock := _CLOCK.fullmatch(given):
        days, first, second, third = (int(part) if part else None for part in clock.groups())
        assert first is not None  # the expression has them
        assert second is not None
        if third is None:
            parts = (first, second, 0) if days is not None else (0, first, second)
        else:
            parts = (first, second, third)
        return _positive((days or 0) * 86400.0 + parts[0] * 3600 + parts[1] * 60 + parts[2], text)
    if given and _TERM.sub("", given) == "":
        terms = _TERM.findall(given)
        unknown = [unit for _, unit in terms if unit.lower() not in _UNITS]
        if unknown:
            raise ValueError(f"{text!r}: {unknown[0]!r} is no unit of time (s, min, h, d)")
        return _positive(sum(float(number) * _UNITS[unit.lower()] for number, unit in terms), text)
    raise ValueError(f"{text!r} is not a duration such as '12:00:00', '1-12:00:00', '90 min' or '2h'")


def _positive(seconds: float, text: str) -> float:
    if seconds <= 0:
        raise ValueError(f"{text!r} is no time at all")
    return seconds


def parse_deadline(text: str, now: float | None = None) -> float:
    """Seconds since the epoch of a duration from now, or of a date and time in ISO 8601; ValueError for others."""
    now = time.time() if now is None else now
    given = text.strip()
    try:
        return now + parse(given)
    except ValueError as reason:
        if not re.match(r"\d{4}-\d\d-\d\d", given):
            raise ValueError(f"{reason}, nor a time such as '2031-05-17T08:00'") from None
    try:
        moment = datetime.fromisoformat(given)
    except ValueError:
        raise ValueError(f"{text!r} is not a time such as '2031-05-17T08:00'") from None
    if moment.timestamp() <= now:
        raise ValueError(f"{text!r} is in the past")
    return moment.timestamp()


def clock(seconds: float) -> str:
    """`1-12:00:00`, as batch systems want it."""
    whole = timedelta(seconds=round(seconds))
    hours, rest = divmod(whole.seconds, 3600)
    days = f"{whole.days}-" if whole.days else ""
    return f"{days}{hours:02d}:{rest // 60:02d}:{rest % 60:02d}"
