"""Pure rules and records: routing, the rollout state machine, summaries, the judge. No clock, no I/O, no logger.

For a notebook, without Kafka: `judge_arrays` and `judge_audit` (docs/judging.md).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streamsplit.core.past_judging import judge_arrays, judge_audit
    from streamsplit.core.past_verdict import Judged
    from streamsplit.core.summary import Probe

__all__ = ["Judged", "Probe", "judge_arrays", "judge_audit"]

_ROOMS = {
    "Judged": "past_verdict",
    "Probe": "summary",
    "judge_arrays": "past_judging",
    "judge_audit": "past_judging",
}


def __getattr__(name: str) -> Any:
    """Import what a notebook asks for only then: model processes import this package, and need none of it."""
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_ROOMS[name]}"), name)
