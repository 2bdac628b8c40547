"""What `verify` prints of the judge's decisions."""

import pytest
from rich.console import Console

from streamsplit.cli.report_view import render, verdict
from streamsplit.core.judge import DECIDES
from streamsplit.offline.replayed import ReplayedDecisions
from streamsplit.offline.report import Report


def printed(judged: ReplayedDecisions) -> str:
    """The page of a deployment of ten requests, and the sentence at its end."""
    report = Report((), 10, 10, 10, 0, 0, (), (), (), (), decisions=judged)
    console = Console(width=200, color_system=None)
    with console.capture() as capture:
        console.print(*render(report))
    return f"{capture.get()}\n{verdict(report)}"


@pytest.mark.parametrize(
    ("judged", "words"),
    [
        (
            ReplayedDecisions(decided=5, versions={1: 12}),
            [
                f"decided by version 1 of the judge, this is {DECIDES}: not decided again",
                "5 decisions were decided again, all alike. 12 by another version of the judge were not.",
            ],
        ),
        (ReplayedDecisions(decided=5, again=3, resets=1), ["offset was reset once: decided again, byte for byte"]),
        (ReplayedDecisions(decided=5, again=3, resets=2), ["offset was reset 2 times"]),
        (ReplayedDecisions(decided=5, extra=1), ["NOT verified", "1 extra"]),
    ],
)
def test_what_was_decided_by_another_version_or_again_is_said_and_no_fault(
    judged: ReplayedDecisions, words: list[str]
) -> None:
    page = printed(judged)
    assert all(each in page for each in words), page
    assert judged.sound == ("NOT" not in page)
