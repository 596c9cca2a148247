"""TOML from the standard library, or from tomli before Python 3.11."""

import re
import sys

if sys.version_info >= (3, 11):
    from tomllib import TOMLDecodeError, loads
else:
    from tomli import TOMLDecodeError, loads

__all__ = ["TOMLDecodeError", "explain", "loads"]


def explain(path: object, text: str, error: TOMLDecodeError) -> tuple[str, str]:
    """`FILE:LINE: what` of a syntax error, and a hint if the line looks like a duration without quotes."""
    lines = text.splitlines()
    said = str(error)  # "what (at line 3, column 4)" or "what (at end of document)"
    match = re.search(r"\(at (?:line (\d+), column \d+|end of document)\)", said)
    if match is None:
        return f"{path}: not valid TOML: {said}", ""
    number = int(match[1]) if match[1] else max(1, len(lines))
    is_time = number <= len(lines) and re.search(r"=\s*\d+(-\d+)?:\d", lines[number - 1])
    hint = 'durations and times are quoted strings, as in "12:00:00"' if is_time else ""
    return f"{path}:{number}: not valid TOML: {said[: match.start()].strip()}", hint
