"""All benchmarks, one after the other, and a table of what came of them:

    python benchmarks/run.py [--full] [NAME ...]

--full measures longer, and a million frames; NAMEs (overhead, cp2k, …) choose.
"""

from __future__ import annotations

import argparse
import importlib

from pairs import table

NAMES = ("startup", "overhead", "cp2k", "extxyz", "again", "sampling", "training", "retrain", "memory")


def main() -> None:
    """Run them in the order of their names in the table of goals, P1 to P10."""
    parser = argparse.ArgumentParser(description="Benchmarks against the usual ways.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--full", action="store_true", help="measure longer, and a million frames")
    given = parser.parse_args()
    for name in given.names:
        if name not in NAMES:
            parser.error(f"no benchmark {name!r}: {', '.join(NAMES)}")
    try:
        for name in given.names or NAMES:
            importlib.import_module(name).main(given.full)
    finally:
        print(f"\n{table()}")


if __name__ == "__main__":
    main()
