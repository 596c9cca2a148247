"""Lengths of time as people and SLURM write them, in seconds; and moments, in seconds since 1970."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

UNITS = {
    "s": 1, "sec": 1, "secs": 1, "second": 1, "seconds": 1,
    "m": 60, "min": 60, "mins": 60, "minute": 60, "minutes": 60,
    "h": 3600, "hr": 3600, "hrs": 3600, "hour": 3600, "hours": 3600,
    "d": 86400, "day": 86400, "days": 86400,
    "w": 604800, "week": 604800, "weeks": 604800,
}  # fmt: skip
_NUMBER = r"[0-9]{1,12}(?:\.[0-9]*)?|\.[0-9]+"
# patterns are compiled when they are used: most commands read no duration
_PIECE = rf"\s*({_NUMBER})\s*([A-Za-z]+)\s*"
_CLOCK = r"(?:([0-9]{1,7})-)?([0-9]{1,9})((?::[0-9]{1,2}){0,2})"
_TIME_OF_DAY = r"([01]?[0-9]|2[0-3]):([0-5][0-9])"
_DATE = r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?![0-9])"
_LIKE = 'as in "1-12:00:00", "12:00:00", "90 min" or "2h"'


def parse(text: str) -> float:
    """Seconds in `1-12:00:00`, `12:00:00`, `90 min`, `2h`, `1h 30min`, `1.5 days`, or a plain number of seconds.

    As in SLURM `12:34` is minutes and seconds, `1-12` days and hours, `1-12:34` days, hours and minutes. Raises
    ValueError for anything else, and for no time at all.
    """
    text = text.strip()
    seconds = float(text) if re.fullmatch(_NUMBER, text) else _with_units(text)
    if not seconds:
        raise ValueError(f"{text!r} is not a duration: it is zero")
    return seconds


def _with_units(text: str) -> float:
    match = re.fullmatch(_CLOCK, text)
    return _clock(text, match) if match else _pieces(text)


def _clock(text: str, match: re.Match[str]) -> float:
    fields = [int(match[2]), *map(int, match[3].split(":")[1:])]
    scales = (60, 1) if match[1] is None and len(fields) == 2 else (3600, 60, 1)
    limits = (float("inf") if match[1] is None else 24, 60, 60)
    for field, limit in zip(fields, limits, strict=False):
        if field >= limit:
            raise ValueError(f"{text!r} is not a duration: {field} is too large at this position")
    days = int(match[1] or 0)
    return float(86400 * days + sum(f * s for f, s in zip(fields, scales, strict=False)))


def _pieces(text: str) -> float:
    """Numbers with units, largest unit first, each unit once."""
    total, last, end = 0.0, None, 0
    while end < len(text):
        match = re.compile(_PIECE).match(text, end)
        if match is None:
            raise ValueError(f"{text!r} is not a duration, {_LIKE}")
        unit = UNITS.get(match[2].lower())
        if unit is None:
            raise ValueError(f"{text!r} is not a duration: unknown unit {match[2]!r}; known: s, min, h, days, weeks")
        if last is not None and unit >= last:
            raise ValueError(f"{text!r} is not a duration: {match[2]!r} follows a smaller or equal unit")
        total, last, end = total + float(match[1]) * unit, unit, match.end()
    if last is None:
        raise ValueError(f"an empty text is not a duration, {_LIKE}")
    return total


def format(seconds: float) -> str:
    """`12:00:00` or `1-12:00:00`, to the second; what SLURM and `parse` read."""
    if seconds < 0:
        raise ValueError(f"a duration of {seconds} s")
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    return f"{days}-{hour:02}:{minute:02}:{second:02}" if days else f"{hour:02}:{minute:02}:{second:02}"


def human(seconds: float) -> str:
    """A short text for a person: `0.4 s`, `45 s`, `3 min 20 s`, `2 h 5 min`, `1 d 12 h`."""
    if seconds < 0:
        return "-" + human(-seconds)
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for size, unit, small, small_unit in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            large, rest = divmod(round(whole / small), size // small)
            return f"{large} {unit} {rest} {small_unit}" if rest else f"{large} {unit}"
    return f"{whole} s"


def short(seconds: float) -> str:
    """A time in one unit: `12 s`, `5.3 min`, `3.1 h`, `2.0 d`."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"


def parse_deadline(text: str, now: float) -> float:
    """Seconds since 1970 of a deadline: a duration from `now`, the next `18:30`, or an ISO date and time.

    Times without a zone are local. Raises ValueError for anything else, and for what is in the past.
    """
    text = text.strip()
    if time_of_day := re.fullmatch(_TIME_OF_DAY, text):
        return _next(int(time_of_day[1]), int(time_of_day[2]), now)
    if not re.match(_DATE, text):
        try:
            return now + parse(text)
        except ValueError:
            problem = f'{text!r} is neither a duration, {_LIKE}, nor a time, as in "18:30" or "2030-01-31 18:30"'
            raise ValueError(problem) from None
    try:
        # Python 3.10 does not know Z
        end = datetime.fromisoformat(text[:-1] + "+00:00" if text[-1] in "zZ" else text).timestamp()
    except (ValueError, OverflowError, OSError):
        raise ValueError(f'{text!r} is not a date and time, as in "2030-01-31 18:30"') from None
    if end <= now:
        raise ValueError(f"{text!r} is in the past")
    return end


def _next(hour: int, minute: int, now: float) -> float:
    """The next moment at which local clocks show this time."""
    today = datetime.fromtimestamp(now).replace(hour=hour, minute=minute, second=0, microsecond=0)
    end = today.timestamp()
    return end if end > now else (today + timedelta(days=1)).timestamp()
