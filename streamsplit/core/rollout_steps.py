"""The ramp of a rollout file: its steps."""

from collections.abc import Mapping

from streamsplit.core.findings import Findings, Path, is_list
from streamsplit.core.quantities import QuantityError, duration, is_relative, percent_text
from streamsplit.core.rollout import WHOLE, Mirror, Step
from streamsplit.core.rollout_mirror import read_mirror
from streamsplit.core.rollout_routes import Routes
from streamsplit.core.weights import read_percent, read_weights

FIELDS = ("weight", "weights", "for", "requests", "advance", "mirror", "holdback")
MOST_STEPS = 1000

MOST_BY_TIME = 100
"""Basis points of the largest step that is left on time unless it says otherwise: of a hundred requests that it would
have to wait for one is the candidate's. A step that mirrors, or says no time, waits for evidence."""

_STEP = "a step such as `{weight: 10}`, or `pause`"


def read_steps(found: Findings, value: object, candidates: tuple[str, ...], routes: Routes) -> tuple[Step, ...]:
    """Reads the steps.

    Args:
        found: Collects what is wrong.
        value: What the file says.
        candidates: Names of the candidates; none for plain serving.
        routes: Where they give the candidates something to do, the default route may stay at 0; the default route's
            mirror holds in every step that names none of its own.

    Returns:
        The steps; for a rollout of rules or a mirror alone one step of weight 0. Meaningless where something was
        found.
    """
    if not is_list(value):
        found.wrong(("steps",), value, f"a list of steps, each {_STEP}")
        return ()
    if len(value) > MOST_STEPS:
        found.add(("steps",), f"{len(value)} steps are too many", f"at most {MOST_STEPS}")
        return ()
    if not candidates:
        if value:
            found.add(("steps",), "there is no candidate to walk the steps", "a second arm, such as `canary`")
        return ()
    if not value and not routes.rules and routes.mirror is None:
        found.add(("steps",), "there is no step, so the candidate would never answer", "a list of steps")
    if not value:
        return (Step((0,) * len(candidates), mirror=routes.mirror),)
    steps: list[Step] = []
    for index, step in enumerate(value):
        kept = steps[-1].mirror if step == "pause" and steps else routes.mirror
        steps.append(_read_step(found, step, ("steps", index), candidates, kept))
    return tuple(steps)


def _read_step(found: Findings, value: object, path: Path, candidates: tuple[str, ...], mirror: Mirror | None) -> Step:
    if value == "pause":
        return Step(pause=True, mirror=mirror)
    if not isinstance(value, Mapping):
        found.wrong(path, value, _STEP)
        return Step()
    fields = found.mapping(value, path, FIELDS, _STEP)
    if "mirror" in fields:
        mirror = read_mirror(found, fields["mirror"], (*path, "mirror"), candidates)
    weights = _read_weights(found, fields, path, candidates)
    if "holdback" in fields:
        weights = _hold_back(found, fields["holdback"], (*path, "holdback"), weights)
    bake = _read_bake(found, fields.get("for", "0s"), (*path, "for"))
    requests = _read_requests(found, fields.get("requests", 0), (*path, "requests"))
    if fields.get("advance") == "time" and "for" not in fields and "requests" not in fields:
        found.add((*path, "advance"), "there is no time to wait for", "`for` or `requests` beside it")
    by_time = sum(weights) <= MOST_BY_TIME and mirror is None and bool(bake or requests)
    advance = _read_advance(found, fields.get("advance", "time" if by_time else "evidence"), (*path, "advance"))
    return Step(weights, bake_seconds=bake, requests=requests, advance=advance, mirror=mirror)


def _hold_back(found: Findings, value: object, path: Path, weights: tuple[int, ...]) -> tuple[int, ...]:
    """The weights of a step at 100 % of which control keeps a part, so that the candidate is still compared."""
    kept = read_percent(found, value, path)
    if sum(weights) != WHOLE or len(weights) != 1:
        found.add(path, "it is what control keeps of `weight: 100`", f"a weight of {percent_text(WHOLE - kept)}")
    elif not 0 < kept < WHOLE:
        found.add(path, f"{percent_text(kept)} holds back nothing or everything", "a percentage such as `5`")
    return (WHOLE - kept,)


def _read_weights(
    found: Findings, fields: Mapping[str, object], path: Path, candidates: tuple[str, ...]
) -> tuple[int, ...]:
    if ("weight" in fields) == ("weights" in fields):
        found.add(path, "a step has either `weight` or `weights`", _STEP)
        return ()
    if "weights" in fields:
        return read_weights(found, fields["weights"], (*path, "weights"), candidates)
    place = (*path, "weight")
    if len(candidates) > 1:
        example = ", ".join(f"{name}: 5" for name in candidates)
        found.add(place, "one weight does not say which of several candidates it is for", f"`weights: {{{example}}}`")
        return ()
    if is_relative(fields["weight"]):
        return read_weights(found, fields["weight"], place, candidates)
    return (read_percent(found, fields["weight"], place),)


def _read_bake(found: Findings, value: object, path: Path) -> float:
    try:
        return duration(value)
    except QuantityError as wrong:
        found.add(path, wrong.message, wrong.expected)
        return 0.0


def _read_requests(found: Findings, value: object, path: Path) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63:
        return value
    found.wrong(path, value, "a whole number of requests")
    return 0


def _read_advance(found: Findings, value: object, path: Path) -> str:
    if value in ("evidence", "time"):
        return str(value)
    found.wrong(path, value, "`evidence` or `time`")
    return "evidence"
