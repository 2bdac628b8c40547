"""Whether the judge's statistics keep what they promise, by simulation.

    make simulate
    python -m simulations.run --only faults --seed 7
    python -m simulations.run --quick

Prints tables and writes them as Markdown to build/simulations.md. The exit code is 1 where a test raises more false
alarms than chance explains, where a fault that was put in on purpose goes unnoticed, or where something wrong is found
later than it should be.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from simulations.sections import SECTIONS, Size

_OUT = Path(__file__).parents[1] / "build" / "simulations.md"
_WIDTH = 160
"""Of tables that go to a file."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m simulations.run", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--only", action="append", choices=list(SECTIONS), help="a section; may be given again")
    parser.add_argument("--quick", action="store_true", help="a tenth of the runs: seconds")
    parser.add_argument("--seed", type=int, default=0, help="other random numbers (default 0)")
    parser.add_argument("--out", type=Path, default=_OUT, help="where the Markdown goes")
    chosen = parser.parse_args(arguments)
    console = Console() if sys.stdout.isatty() else Console(width=_WIDTH)
    size = Size(seed=chosen.seed, part=10 if chosen.quick else 1)
    begun, pages, failed = time.monotonic(), [], 0
    for name in chosen.only or SECTIONS:
        sheet = SECTIONS[name](size)
        sheet.show(console)
        pages.append(sheet.markdown())
        failed += len(sheet.failed)
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    chosen.out.write_text("\n".join(["# What was simulated", "", *pages]), encoding="utf-8")
    verdict = f"{failed} not as promised" if failed else "All as promised"
    console.print(f"{verdict}, in {time.monotonic() - begun:.0f} s; {chosen.out}", highlight=False)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
