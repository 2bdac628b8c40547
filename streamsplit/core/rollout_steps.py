"""The ramp of a rollout file: its steps."""

from collections.abc import Mapping

from streamsplit.core.findings import Findings, Path, is_list
from streamsplit.core.quantities import QuantityError, duration, is_relative
from streamsplit.core.rollout import Mirror, Step
from streamsplit.core.rollout_mirror import read_mirror
from streamsplit.core.rollout_routes import Routes
from streamsplit.core.weights import read_percent, read_weights

_BY_HAND = "take it out; steps are walked by hand, with `streamsplit promote` and `streamsplit set weight`"

NOT_BUILT = {
    "judge": f"`judge` is not built yet: no guard watches the candidate; {_BY_HAND}",
    "holdback": f"`holdback` is not built yet: 100 % would be 100 %; {_BY_HAND}",
    "advise": f"`mode: advise` is not built yet: nobody writes decisions; {_BY_HAND}",
}
"""Parts of the file that are known and refused, each with the sentence that says so."""

FIELDS = ("weight", "weights", "for", "requests", "advance", "mirror", "holdback")
MOST_STEPS = 1000

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
    if "holdback" in fields:
        found.add((*path, "holdback"), NOT_BUILT["holdback"])
    return Step(
        weights=_read_weights(found, fields, path, candidates),
        bake_seconds=_read_bake(found, fields.get("for", "0s"), (*path, "for")),
        requests=_read_requests(found, fields.get("requests", 0), (*path, "requests")),
        advance=_read_advance(found, fields.get("advance", "evidence"), (*path, "advance")),
        mirror=mirror,
    )


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
