"""The last page of the demonstration: a column for each rollout."""

import io
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from examples.demo_results import Outcome
from examples.demo_trials import Trial

_ROWS: tuple[tuple[str, Callable[[Outcome], str]], ...] = (
    ("the judge", lambda each: each.phase),
    ("because", lambda each: each.why),
    ("decided after", lambda each: f"{each.requests:,} requests, {each.seconds:.1f} s"),
    ("assigned to it", lambda each: f"{each.assigned:,}"),
    ("answered by it", lambda each: f"{each.answered:,}"),
    ("its last answer", lambda each: f"{each.last_ms} ms after the command"),
    ("share set → reached", lambda each: "\n".join(f"{set_:g} % → {got:.2f} %" for set_, got in each.shares)),
)
CAPTION = (
    "Decided after: from the first step until the judge's command was written. What was assigned and answered includes "
    "all that came after it. Again: from the recorded topics. Times are readings of this machine's clock."
)


def table(title: str, trials: Sequence[Trial], outcomes: Sequence[Outcome], proof: Mapping[str, Any]) -> Table:
    """The page.

    Args:
        title: What ran.
        trials: The rollouts.
        outcomes: What each came to.
        proof: Of `streamsplit verify -o json`.
    """
    page = Table(title=title, title_justify="left", caption=CAPTION, caption_justify="left")
    page.add_column("the new model", no_wrap=True)
    for trial in trials:
        page.add_column(trial.label)
    for name, cell in _ROWS:
        page.add_row(name, *map(cell, outcomes))
    page.add_section()
    style = "green" if proof["ok"] else "bold red"
    page.add_row("derived again", *(f"{each.proven:,} requests" for each in outcomes), style=style)
    replayed = proof["decisions"]
    other = replayed["different"] + replayed["extra"]
    decided = (f"{replayed['decided']} decisions", f"{replayed['missing']} missing", f"{other} different")
    page.add_row("decided again", *decided, style=style)
    page.add_row("verify, all in all", *(f"{proof[word]} {word}" for word in ("lost", "doubled", "wrong")), style=style)
    return page


def draw(page: Table, file: Path) -> None:
    """Save the page as a picture."""
    recording = Console(record=True, width=110, file=io.StringIO(), highlight=False)
    recording.print(page)
    # A picture that looks for its font elsewhere would tell that server who looks at it.
    svg = re.sub(r"@font-face \{.*?\}\s*", "", recording.export_svg(title="make demo"), flags=re.DOTALL)
    file.write_text(svg, "utf-8")
