"""Durations and deadlines, in every spelling that the manual promises."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from psiflow_cli import duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1-12:00:00", 129600),
        ("12:00:00", 43200),
        ("24:00:00", 86400),
        ("100:00:00", 360000),
        ("12:34", 754),  # as squeue prints it
        ("1-12", 129600),
        ("1-12:30", 131400),
        ("90 min", 5400),
        ("90min", 5400),
        ("2h", 7200),
        ("2 H", 7200),
        ("1.5 h", 5400),
        (".5 h", 1800),
        ("45s", 45),
        ("2 days", 172800),
        ("1 day", 86400),
        ("1h30m", 5400),
        ("1 h 30 min 5 s", 5405),
        ("1w", 604800),
        ("3600", 3600),
        ("0.5", 0.5),
        (" 60 ", 60),
    ],
)
def test_parse(text: str, seconds: float) -> None:
    assert duration.parse(text) == seconds


@pytest.mark.parametrize(
    "text",
    ["", "  ", "-5", "-1h", "1-24:00:00", "1:60:00", "1:00:60", "12:99", "1h 2h", "0", "0:00",
     "5 min 1 h", "5 fortnights", "h", "1 2",
     "nan", "inf", "1e3", "1-", "::", "1:2:3:4", "1_000", "\u0661", "9" * 400, "UNLIMITED", "1h,", "2030-01-31"],
)  # fmt: skip
def test_parse_refuses(text: str) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        duration.parse(text)


def test_an_unknown_unit_is_named() -> None:
    with pytest.raises(ValueError, match="unknown unit 'fortnights'"):
        duration.parse("5 fortnights")


@given(st.integers(1, 10**8))
def test_format_is_read_back(seconds: int) -> None:
    assert duration.parse(duration.format(seconds)) == seconds


@given(st.text(max_size=12) | st.from_regex(r"[0-9:.\- hdms]{0,12}", fullmatch=True))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert 0 < duration.parse(text) < float("inf")


def test_format() -> None:
    assert duration.format(129600) == "1-12:00:00"
    assert duration.format(43205) == "12:00:05"
    assert duration.format(59.6) == "00:01:00"
    with pytest.raises(ValueError, match="-1"):
        duration.format(-1)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0.0 s"), (0.44, "0.4 s"), (9.96, "10 s"), (45, "45 s"), (59.7, "1 min"), (200, "3 min 20 s"), (3599.9, "1 h"),
     (7500, "2 h 5 min"), (86399, "24 h"), (129600, "1 d 12 h"), (-200, "-3 min 20 s")],
)  # fmt: skip
def test_human(seconds: float, text: str) -> None:
    assert duration.human(seconds) == text


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> Iterator[float]:
    """Noon on a summer day in Brussels."""
    monkeypatch.setenv("TZ", "Europe/Brussels")
    time.tzset()
    yield datetime(2030, 6, 1, 12, 0).timestamp()
    monkeypatch.undo()
    time.tzset()


def test_deadline_after_a_duration(now: float) -> None:
    assert duration.parse_deadline("90 min", now) == now + 5400
    assert duration.parse_deadline("12:00:00", now) == now + 43200
    assert duration.parse_deadline("30", now) == now + 30


def test_deadline_at_the_next_time_of_day(now: float) -> None:
    assert duration.parse_deadline("18:30", now) == now + 6.5 * 3600
    assert duration.parse_deadline("9:15", now) == now + 21.25 * 3600
    assert duration.parse_deadline("12:00", now) == now + 86400


def test_deadline_across_the_end_of_summer_time(now: float) -> None:
    evening = datetime(2030, 10, 26, 20, 0).timestamp()
    assert duration.parse_deadline("08:00", evening) == evening + 13 * 3600


def test_deadline_at_a_date(now: float) -> None:
    assert duration.parse_deadline("2030-06-01T18:30", now) == now + 6.5 * 3600
    assert duration.parse_deadline("2030-06-01 18:30:00", now) == now + 6.5 * 3600
    assert duration.parse_deadline("2030-06-01T18:30Z", now) == now + 8.5 * 3600
    assert duration.parse_deadline("2030-06-01T18:30+01:00", now) == now + 7.5 * 3600
    assert duration.parse_deadline("2030-06-02", now) == now + 12 * 3600


@pytest.mark.parametrize(
    "text", ["2030-06-01T11:59", "2001-01-01", "2030-13-01", "2030-06-01T25:00", "25:00x", "soon", ""]
)
def test_deadline_refuses(now: float, text: str) -> None:
    with pytest.raises(ValueError, match=r"is in the past|is not a date|neither a duration"):
        duration.parse_deadline(text, now)
