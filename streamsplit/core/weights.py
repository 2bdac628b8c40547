"""Weights as people write them: `{canary: 25}` in percent, or `1:2` between the arms."""

from collections.abc import Sequence

from streamsplit.core.findings import Findings, Path, nearest
from streamsplit.core.quantities import QuantityError, is_relative, percent, percent_text, relative
from streamsplit.core.rollout import WHOLE


def read_weights(
    found: Findings, value: object, path: Path, candidates: Sequence[str], unnamed: Sequence[int] = ()
) -> tuple[int, ...]:
    """Reads the weights of a step, a rule or a command.

    Args:
        found: Collects what is wrong.
        value: Candidate → percent, or relative weights of all arms with control first (`1:2`).
        path: Where.
        candidates: Names of the candidates, in the order of the arms.
        unnamed: Basis points of the candidates that are not named; 0 each unless given.

    Returns:
        Basis points of each candidate; control gets the rest. Meaningless where something was found.
    """
    if is_relative(value):
        assert isinstance(value, str)
        try:
            return relative(value, len(candidates) + 1)[1:]
        except QuantityError as wrong:
            found.add(path, wrong.message, wrong.expected)
            return ()
    names = ", ".join(candidates)
    named = found.mapping(
        value, path, None, f"candidate → percent ({names}), or relative weights with control first such as `1:2`"
    )
    if isinstance(value, dict) and not value:
        found.add(path, "no arm is named", f"a weight for {names}")
    weights = dict(zip(candidates, unnamed or (0,) * len(candidates), strict=True))
    for name, share in named.items():
        if name == "control":
            found.add((*path, name), "control is not given a weight: it gets the rest", f"weights of {names} only")
        elif name not in weights:
            found.add((*path, name), "there is no such arm", f"one of {names}", nearest(name, candidates))
        else:
            weights[name] = read_percent(found, share, (*path, name))
    total = sum(weights.values())
    if total > WHOLE:
        found.add(path, f"the weights sum to {percent_text(total)}", "at most 100 %: control gets the rest")
    return tuple(weights.values())


def read_percent(found: Findings, value: object, path: Path) -> int:
    """Reads one percentage in basis points; 0 where something was found."""
    try:
        return percent(value)
    except QuantityError as wrong:
        found.add(path, wrong.message, wrong.expected)
        return 0
