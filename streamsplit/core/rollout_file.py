"""The contents of a rollout file, read into a `Rollout` (docs/design.md section 12).

The whole grammar is known. A part of it that is not built yet is refused by name; nothing is ignored, and what a valid
file says to no effect is told by `notes`. `rollout.schema.json` says the same to editors, coarser.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

from streamsplit.core.findings import Finding, Findings, Path, is_list, is_utf8, nearest, show
from streamsplit.core.guards import JudgeSettings
from streamsplit.core.rollout import WHOLE, Arm, Chain, Limits, ModelRef, Rollout, Rule, Step, Unit, UnitKind
from streamsplit.core.rollout_judge import read_judge
from streamsplit.core.rollout_limits import read_checks, read_limits
from streamsplit.core.rollout_routes import Routes, read_routes
from streamsplit.core.rollout_steps import read_steps

FIELDS = ("rollout", "salt", "arms", "unit", "routes", "steps", "mode", "judge", "limits", "checks")
MODES = ("auto", "advise")
MOST_CANDIDATES = 100

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", re.ASCII)
_MODEL = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]{0,99})@([A-Za-z0-9][A-Za-z0-9._-]{0,99})", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_UNKNOWN_DIGEST = "0" * 64
_NAME_EXPECTED = "letters, digits, `.`, `_` and `-`, at most 100, as text (put numbers in quotes)"
_CHAIN_EXPECTED = "a model `name@version`, or a chain such as `[encode@1, delay@2]`"


def parse(spec: object, models: Mapping[str, str] | None) -> Rollout | tuple[Finding, ...]:
    """Reads the contents of a rollout file.

    Args:
        spec: What the YAML or JSON of the file says.
        models: `name@version` → sha256 of its ONNX file, at least for the models that the file names; None to read the
            file by itself, without pinning them.

    Returns:
        The rollout, or everything that is wrong with the file. Never raises.
    """
    found = Findings()
    fields = found.mapping(spec, (), FIELDS, "a mapping with `rollout` and `arms`")
    if not fields:
        return found.all() or (Finding((), "the file is empty", "`rollout` and `arms`"),)
    rollout = _read(found, fields, models)
    return found.all() if found else rollout


def check(spec: object) -> tuple[Finding, ...]:
    """Everything that is wrong with a file by itself, without the models; empty where nothing is."""
    result = parse(spec, None)
    return () if isinstance(result, Rollout) else result


def notes(spec: Mapping[str, object]) -> tuple[Finding, ...]:
    """What a valid file says to no effect: mirrors of routes and steps that leave control nothing to mirror."""
    found = Findings()
    rollout = parse(spec, None)
    if not isinstance(rollout, Rollout):
        return ()
    conditional = [index for index, route in enumerate(_entries(spec, "routes")) if "when" in route]
    steps = list(_entries(spec, "steps"))
    parts: list[tuple[Path, Rule | Step]] = [
        *((("routes", index), rule) for index, rule in zip(conditional, rollout.rules, strict=True)),
        *((("steps", index), step) for index, step in enumerate(rollout.steps) if steps and "mirror" in steps[index]),
    ]
    for path, part in parts:
        if part.mirror is not None and sum(part.weights) == WHOLE:
            found.add((*path, "mirror"), "mirrors nothing: only what control answers is mirrored, and that is 0 % here")
    return found.all()


def _entries(spec: Mapping[str, object], name: str) -> Iterator[Mapping[str, object]]:
    """The mappings of a list, and an empty one for what is none, such as a pause."""
    given = spec.get(name)
    yield from (entry if isinstance(entry, Mapping) else {} for entry in (given if is_list(given) else ()))


def _read(found: Findings, fields: Mapping[str, object], models: Mapping[str, str] | None) -> Rollout:
    name = _read_name(found, fields.get("rollout"), ("rollout",))
    arms = _read_arms(found, fields.get("arms"), models)
    candidates = tuple(arm.name for arm in arms[1:])
    # Without control nobody knows who is a candidate, and routes and steps would only be found to name none.
    routes = read_routes(found, fields.get("routes", ()), candidates) if arms else Routes()
    steps = read_steps(found, fields.get("steps", ()), candidates, routes) if arms else ()
    return Rollout(
        name=name,
        salt=_read_salt(found, fields["salt"]) if "salt" in fields else name,
        arms=arms,
        unit=_read_unit(found, fields.get("unit", "id")),
        rules=routes.rules,
        steps=steps,
        limits=read_limits(found, fields["limits"]) if "limits" in fields else Limits(),
        checks=read_checks(found, fields["checks"]) if "checks" in fields else MappingProxyType({}),
        judge=read_judge(found, fields["judge"]) if "judge" in fields else JudgeSettings(),
        mode=_read_mode(found, fields.get("mode", "auto")),
        digest=_digest(fields, arms) if not found else "",
    )


def _digest(fields: Mapping[str, object], arms: tuple[Arm, ...]) -> str:
    # The order of the arms decides their ranges of buckets, and sorted keys lose it; so it is hashed beside the file.
    models = {model.label: model.sha256 for arm in arms for model in arm.chain}
    return hashlib.sha256(canonical_json([fields, [arm.name for arm in arms], models])).hexdigest()


def canonical_json(value: object) -> bytes:
    """The one JSON text of a value: sorted keys, no spaces, ASCII."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=_plain).encode("ascii")


def _plain(value: object) -> object:
    return dict(value) if isinstance(value, Mapping) else list(value) if isinstance(value, Sequence) else str(value)


def _read_name(found: Findings, value: object, path: Path) -> str:
    if isinstance(value, str) and _NAME.fullmatch(value):
        return value
    found.wrong(path, value, _NAME_EXPECTED)
    return ""


def _read_salt(found: Findings, value: object) -> str:
    if isinstance(value, str) and value and is_utf8(value):
        return value
    found.wrong(("salt",), value, "text that is not empty (put numbers in quotes)")
    return ""


def _read_arms(found: Findings, value: object, models: Mapping[str, str] | None) -> tuple[Arm, ...]:
    named = found.mapping(value, ("arms",), None, "arm → model, with `control` among them")
    if named and "control" not in named:
        found.add(("arms",), "there is no `control`", "`control`: the model that serves today")
    elif isinstance(value, Mapping) and not value:
        found.add(("arms",), "there is no arm", "`control` and a candidate, by default `canary`")
    if len(named) > MOST_CANDIDATES + 1:
        found.add(("arms",), f"{len(named)} arms are too many", f"at most {MOST_CANDIDATES} candidates")
    for name in named:
        if not _NAME.fullmatch(name):
            found.add(("arms", name), "this is no name of an arm", _NAME_EXPECTED)
    ordered = sorted(named, key=lambda name: name != "control")
    arms = tuple(Arm(name, _read_chain(found, named[name], ("arms", name), models)) for name in ordered)
    return arms if "control" in named else ()


def _read_chain(found: Findings, value: object, path: Path, models: Mapping[str, str] | None) -> Chain:
    several = is_list(value)
    labels = value if is_list(value) else (value,)
    if not labels:
        found.wrong(path, value, _CHAIN_EXPECTED)
    chain = []
    for index, label in enumerate(labels):
        place = (*path, index) if several else path
        match = _MODEL.fullmatch(label) if isinstance(label, str) else None
        if match is None:
            found.wrong(place, label, _CHAIN_EXPECTED)
            continue
        sha256 = _UNKNOWN_DIGEST if models is None else models.get(match[0])
        if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
            found.add(place, f"the sha256 of {match[0]} is not given", "64 hex digits beside the file, in `models`")
            continue
        chain.append(ModelRef(match[1], match[2], sha256))
    return tuple(chain)


def _read_unit(found: Findings, value: object) -> Unit:
    if value in ("id", "key"):
        return Unit(UnitKind(str(value)))
    if isinstance(value, str) and is_utf8(value):
        attribute = value.removeprefix("attributes.")
        if attribute and attribute != value:
            return Unit(UnitKind.ATTRIBUTE, attribute)
    found.wrong(("unit",), value, "`id`, `key` or `attributes.NAME`")
    return Unit(UnitKind.ID)


def _read_mode(found: Findings, value: object) -> str:
    if isinstance(value, str) and value in MODES:
        return value
    message = f"{show(value)} is not valid here" if value is not None else "nothing is given"
    meant = nearest(value, MODES) if isinstance(value, str) else None
    found.add(("mode",), message, "`auto` or `advise`", meant)
    return "auto"
