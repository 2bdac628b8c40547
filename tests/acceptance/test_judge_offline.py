"""Real flights judged in memory, as the documentation shows it."""

import pytest

from examples.judge_offline import judged
from streamsplit.core.decision import DecisionKind


@pytest.mark.parametrize(
    ("version", "kind", "guard"),
    [
        ("2", DecisionKind.PROMOTE, "every guard says it is good enough"),
        ("3", DecisionKind.ROLLBACK, "canary score"),
        ("4", DecisionKind.ROLLBACK, "canary errors"),
    ],
)
def test_the_better_model_is_promoted_and_the_broken_ones_are_taken_back(
    version: str, kind: DecisionKind, guard: str
) -> None:
    found = judged(version)
    assert found.decided is not None
    assert found.decided.kind is kind
    assert guard in found.decided.reasons[0]
    assert found.reading("errors").counts["control_errors"] == 0
