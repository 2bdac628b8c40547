"""The mirrors of a rollout file: which share of control's requests candidates answer beside it, unseen."""

from collections.abc import Mapping, Sequence

from streamsplit.core.findings import Findings, Path, nearest
from streamsplit.core.quantities import DURATION, QuantityError, duration
from streamsplit.core.rollout import BUDGET_SECONDS, Mirror
from streamsplit.core.weights import read_percent

BUDGET = "budget"

_MIRROR = "candidate → percent, and a budget: `{canary: 20, budget: 20ms}`"


def read_mirror(found: Findings, value: object, path: Path, candidates: Sequence[str]) -> Mirror | None:
    """Reads the mirror of a route or a step.

    Args:
        found: Collects what is wrong.
        value: Candidate → percent, and `budget`.
        path: Where.
        candidates: Names of the candidates, in the order of the arms.

    Returns:
        The mirror; None where nothing is mirrored. Meaningless where something was found.
    """
    entries = found.mapping(value, path, None, _MIRROR)
    budget = BUDGET_SECONDS
    if BUDGET in entries:
        budget = _read_budget(found, entries.pop(BUDGET), (*path, BUDGET))
    shares = dict.fromkeys(candidates, 0)
    if isinstance(value, Mapping) and not entries:
        found.add(path, "no arm is named", f"a share for {', '.join(candidates)}")
    for name, share in entries.items():
        if name == "control":
            found.add((*path, name), "control answers; it is candidates that are mirrored to", ", ".join(candidates))
        elif name not in shares:
            found.add(
                (*path, name),
                "there is no such arm",
                f"one of {', '.join(candidates)}, or `{BUDGET}`",
                nearest(name, (*candidates, BUDGET)),
            )
        else:
            shares[name] = read_percent(found, share, (*path, name))
    return Mirror(tuple(shares.values()), budget) if any(shares.values()) else None


def _read_budget(found: Findings, value: object, path: Path) -> float:
    try:
        budget = duration(value)
    except QuantityError as wrong:
        found.add(path, wrong.message, wrong.expected)
        return BUDGET_SECONDS
    if budget <= 0:
        found.add(path, "nothing could ever be answered within 0", f"{DURATION}, above 0")
    return budget
