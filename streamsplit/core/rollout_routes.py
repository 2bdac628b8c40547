"""The routes of a rollout file: rules with conditions, and the default route behind them."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from streamsplit.core.findings import Findings, Path, is_list, is_utf8, show
from streamsplit.core.rollout import Mirror, Rule
from streamsplit.core.rollout_mirror import read_mirror
from streamsplit.core.weights import read_weights

MOST_RULES = 1000

_ROUTE = "a route with `when` and `weights`"


@dataclass(frozen=True, slots=True)
class Routes:
    """What `routes` says.

    Attributes:
        rules: Those with conditions, in file order.
        mirror: Of the default route; None: nothing.
    """

    rules: tuple[Rule, ...] = ()
    mirror: Mirror | None = None


def read_routes(found: Findings, value: object, candidates: tuple[str, ...]) -> Routes:
    """Reads `routes`.

    Args:
        found: Collects what is wrong.
        value: What the file says.
        candidates: Names of the candidates; none for plain serving.

    Returns:
        The routes; meaningless where something was found.
    """
    if not is_list(value):
        found.wrong(("routes",), value, "a list of routes, such as `- {when: {carrier: [UA]}, weights: {canary: 5}}`")
        return Routes()
    if len(value) > MOST_RULES:
        found.add(("routes",), f"{len(value)} routes are too many", f"at most {MOST_RULES}")
        return Routes()
    if value and not candidates:
        found.add(("routes",), "there is no candidate to route to", "a second arm, such as `canary`, or no routes")
        return Routes()
    rules: list[Rule] = []
    default: Mirror | None = None
    for index, entry in enumerate(value):
        path: Path = ("routes", index)
        fields = found.mapping(entry, path, ("when", "weights", "mirror"), _ROUTE)
        mirror = read_mirror(found, fields["mirror"], (*path, "mirror"), candidates) if "mirror" in fields else None
        if "when" in fields:
            rules.append(_read_rule(found, fields, path, candidates, mirror))
            continue
        default = mirror
        if isinstance(entry, Mapping) and index != len(value) - 1:
            found.add(path, "a route without `when` is the default and hides those behind it", "it at the end")
        if "weights" in fields:
            found.add((*path, "weights"), "the weights of the default route are the steps", "them in `steps`")
    return Routes(tuple(rules), default)


def _read_rule(
    found: Findings, fields: Mapping[str, object], path: Path, candidates: tuple[str, ...], mirror: Mirror | None
) -> Rule:
    when = _read_when(found, fields["when"], (*path, "when"))
    if "weights" not in fields and "mirror" in fields:
        return Rule(when, (0,) * len(candidates), mirror)  # a shadow: control answers all of it
    return Rule(when, read_weights(found, fields.get("weights"), (*path, "weights"), candidates), mirror)


def _read_when(found: Findings, value: object, path: Path) -> Mapping[str, tuple[str, ...]]:
    conditions = found.mapping(value, path, None, "attribute → list of values")
    if isinstance(value, Mapping) and not value:
        found.add(path, "no attribute is named", "attribute → list of values; the default route has no `when`")
    when = {}
    for attribute, values in conditions.items():
        place = (*path, attribute)
        if not is_utf8(attribute):
            found.add(place, "this is no text in UTF-8", "a name of an attribute")
        if not is_list(values) or not values:
            found.wrong(place, values, "a list of values, such as `[UA, B6]`")
            continue
        for index, accepted in enumerate(values):
            if not isinstance(accepted, str) or not is_utf8(accepted):
                found.add((*place, index), f"{show(accepted)} is no text", 'text; put it in quotes, such as `"7"`')
        when[attribute] = tuple(accepted for accepted in values if isinstance(accepted, str))
    return MappingProxyType(when)
