"""The grammar of the rollout file, and that the JSON Schema for editors says the same."""

import copy
import json
from importlib import resources
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from streamsplit.core.findings import Finding, nearest, show
from streamsplit.core.quantities import duration, percent, percent_text, relative, size
from streamsplit.core.rollout import Check, Limits, Rollout, Unit, UnitKind
from streamsplit.core.rollout_file import check, parse

MODELS = {name: name.encode().hex().ljust(64, "0") for name in ("delay@1", "delay@2", "delay@1.10", "encode@1")}
SCHEMA = json.loads(resources.files("streamsplit").joinpath("rollout.schema.json").read_text(encoding="utf-8"))
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)

DESIGN = """
rollout: delay-v2
arms:
  control: delay@1
  canary: [encode@1, delay@2]
unit: id
routes:
  - when: {carrier: [UA, B6]}
    weights: {canary: 5}
steps:
  - {weight: 10, for: 60s, requests: 20000}
  - {weight: 25, for: 60s, advance: time}
  - pause
  - {weight: 75, for: 60s}
  - {weight: 100}
mode: auto
limits: {timeout: 200ms, memory: 1GiB, breaker: 5}
checks:
  probability: {finite: true, min: 0, max: 1}
"""
FILE: dict[str, Any] = YAML(typ="safe", pure=True).load(DESIGN)


def changed(**fields: object) -> dict[str, Any]:
    """The file with some fields replaced, or taken out where they are None."""
    return {name: value for name, value in {**FILE, **fields}.items() if value is not None}


def alone(arms: object) -> dict[str, Any]:
    """The file with these arms and nothing about candidates."""
    return changed(arms=arms, routes=None, steps=None)


def rollout(spec: object) -> Rollout:
    result = parse(spec, MODELS)
    assert isinstance(result, Rollout), [str(finding) for finding in result]
    return result


def problems(spec: object) -> tuple[Finding, ...]:
    result = parse(spec, MODELS)
    assert not isinstance(result, Rollout)
    return result


def test_the_file_of_the_design_is_read_in_full() -> None:
    read = rollout(FILE)
    assert (read.name, read.salt, read.unit, read.mode) == ("delay-v2", "delay-v2", Unit(UnitKind.ID), "auto")
    assert [(arm.name, [model.label for model in arm.chain]) for arm in read.arms] == [
        ("control", ["delay@1"]),
        ("canary", ["encode@1", "delay@2"]),
    ]
    assert read.arms[0].chain[0].sha256 == MODELS["delay@1"]
    assert [(dict(rule.when), rule.weights) for rule in read.rules] == [({"carrier": ("UA", "B6")}, (500,))]
    assert [(s.weights, s.pause, s.bake_seconds, s.requests, s.advance) for s in read.steps] == [
        ((1000,), False, 60.0, 20000, "evidence"),
        ((2500,), False, 60.0, 0, "time"),
        ((), True, 0.0, 0, "evidence"),
        ((7500,), False, 60.0, 0, "evidence"),
        ((10000,), False, 0.0, 0, "evidence"),
    ]
    assert read.limits == Limits(timeout_seconds=0.2, memory_bytes=2**30, breaker=5)
    assert read.checks == {"probability": Check(finite=True, minimum=0.0, maximum=1.0)}


GOOD: dict[str, dict[str, Any]] = {
    "the design's": FILE,
    "a control alone": {"rollout": "plain", "arms": {"control": "delay@1"}},
    "the least": {"rollout": "x", "arms": {"control": "delay@1", "canary": "delay@2"}, "steps": [{"weight": 1}]},
    "a key split without steps": changed(steps=None),
    "a default route that says nothing": changed(routes=[*FILE["routes"], {}]),
    "blue-green": changed(steps=[{"weight": 100}]),
    "a shadow": changed(routes=[*FILE["routes"], {"mirror": {"canary": "0.5%", "budget": "1.5s"}}], steps=None),
    "a shadow of one segment": changed(routes=[{"when": {"a": ["b"]}, "mirror": {"canary": 100}}], steps=None),
    "a segment with weights and mirror": changed(
        routes=[{"when": {"a": ["b"]}, "weights": {"canary": 5}, "mirror": {"canary": 20}}]
    ),
    "a mirror that ends with a step": changed(
        routes=[{"mirror": {"canary": 20}}], steps=[{"weight": 0}, {"weight": 10, "mirror": {"canary": 0}}]
    ),
    "a ramp that goes down": changed(steps=[{"weight": 50}, {"weight": 5}]),
    "a smallest share": changed(steps=[{"weight": 0.01}]),
    "a percentage in text": changed(steps=[{"weight": "12.5%"}, {"weight": "0.07"}]),
    "relative weights": changed(steps=[{"weight": "1:2"}, {"weights": "1:3"}]),
    "several candidates": changed(
        arms={"left": "delay@1", "control": "delay@1", "right": "delay@2"},
        routes=None,
        steps=[{"weights": {"left": 5, "right": "95%"}}, {"weights": "2:1:1"}],
    ),
    "a version like a number": changed(arms={"control": "delay@1.10", "canary": "delay@2"}),
    "an attribute as unit": changed(unit="attributes.tail number"),
    "a salt": changed(salt="été"),
    "a holdback": changed(steps=[{"weight": 100, "holdback": 5}]),
    "a step on time": changed(steps=[{"weight": 5, "requests": 100, "advance": "time"}]),
    "advice": changed(mode="advise"),
    "one bound": changed(checks={"p": {"min": -1.5}}),
}
BAD: dict[str, tuple[object, str, str]] = {
    "nothing": (None, "", "expected a mapping"),
    "a list": ([], "", "a list is not valid"),
    "bytes as routes": (changed(routes=b""), "routes", "a list of routes"),
    "bytes as steps": (changed(steps=b""), "steps", "a list of steps"),
    "an empty mapping": ({}, "", "the file is empty"),
    "a misspelt field": (changed(stesp=[]), "stesp", "did you mean `steps`?"),
    "no name": (changed(rollout=None), "rollout", "nothing is given"),
    "a number as name": (changed(rollout=2), "rollout", "put numbers in quotes"),
    "a name with a slash": (changed(rollout="a/b"), "rollout", "letters, digits"),
    "an empty salt": (changed(salt=""), "salt", "not empty"),
    "no arms": (changed(arms=None), "arms", "with `control` among them"),
    "no control": (changed(arms={"canary": "delay@2"}), "arms", "there is no `control`"),
    "a model without version": (alone({"control": "delay"}), "arms.control", "name@version"),
    "an empty chain": (alone({"control": []}), "arms.control", "a chain such as"),
    "a number in a chain": (alone({"control": ["delay@1", 2]}), "arms.control[1]", "2 is not valid"),
    "a bad unit": (changed(unit="user"), "unit", "`id`, `key` or `attributes.NAME`"),
    "a unit without name": (changed(unit="attributes."), "unit", "`attributes.NAME`"),
    "a boolean as unit": (changed(unit=True), "unit", "true is not valid"),
    "routes in a mapping": (changed(routes={"when": {}}), "routes", "a list of routes"),
    "a route without weights": (changed(routes=[{"when": {"a": ["b"]}}]), "routes[0].weights", "nothing is given"),
    "a condition without list": (
        changed(routes=[{"when": {"a": "b"}, "weights": {"canary": 1}}]),
        "routes[0].when.a",
        "a list of values",
    ),
    "a number as value": (
        changed(routes=[{"when": {"hour": [7]}, "weights": {"canary": 1}}]),
        "routes[0].when.hour[0]",
        "put it in quotes",
    ),
    "no condition": (changed(routes=[{"when": {}, "weights": {"canary": 1}}]), "routes[0].when", "no attribute"),
    "a mirror of nobody": (changed(routes=[{"mirror": {"budget": "20ms"}}]), "routes[0].mirror", "no arm is named"),
    "a mirror to control": (
        changed(routes=[{"mirror": {"control": 5}}]),
        "routes[0].mirror.control",
        "control answers",
    ),
    "a budget without unit": (
        changed(steps=[{"weight": 1, "mirror": {"canary": 20, "budget": 20}}]),
        "steps[0].mirror.budget",
        "such as `200ms`",
    ),
    "a relative mirror": (
        changed(routes=[{"when": {"a": ["b"]}, "mirror": {"canary": "1:2"}}]),
        "routes[0].mirror.canary",
        "no percentage",
    ),
    "weights of the default route": (changed(routes=[{"weights": {"canary": 5}}]), "routes[0].weights", "`steps`"),
    "a misspelt pause": (changed(steps=["paus"]), "steps[0]", "or `pause`"),
    "a step without weight": (changed(steps=[{"for": "1s"}]), "steps[0]", "either `weight` or `weights`"),
    "a step with both": (changed(steps=[{"weight": 1, "weights": {"canary": 1}}]), "steps[0]", "either"),
    "more than everything": (changed(steps=[{"weight": 101}]), "steps[0].weight", "outside 0 to 100"),
    "less than nothing": (changed(steps=[{"weight": -0.01}]), "steps[0].weight", "outside 0 to 100"),
    "a boolean weight": (changed(steps=[{"weight": True}]), "steps[0].weight", "no percentage"),
    "a weight for control": (
        changed(steps=[{"weights": {"control": 90}}]),
        "steps[0].weights.control",
        "it gets the rest",
    ),
    "a duration without unit": (changed(steps=[{"weight": 1, "for": 60}]), "steps[0].for", "such as `200ms`"),
    "half a request": (changed(steps=[{"weight": 1, "requests": 0.5}]), "steps[0].requests", "whole number"),
    "another way to advance": (changed(steps=[{"weight": 1, "advance": "luck"}]), "steps[0].advance", "`evidence`"),
    "another mode": (changed(mode="manual"), "mode", "`auto`"),
    "a misspelt mode": (changed(mode="advice"), "mode", "did you mean `advise`?"),
    "a time that is none": (changed(steps=[{"weight": 1, "advance": "time"}]), "steps[0].advance", "no time to wait"),
    "nothing held back": (changed(steps=[{"weight": 100, "holdback": 0}]), "steps[0].holdback", "such as `5`"),
    "a judge that is none": (changed(judge="strict"), "judge", "how to judge"),
    "a limit that is none": (changed(limits={"timeout": 5}), "limits.timeout", "no duration"),
    "a misspelt limit": (changed(limits={"time_out": "5s"}), "limits.time_out", "did you mean `timeout`?"),
    "a breaker of 0": (changed(limits={"breaker": 0}), "limits.breaker", "at least 1"),
    "a size without unit": (changed(limits={"memory": "12"}), "limits.memory", "no size"),
    "a check without condition": (changed(checks={"p": {}}), "checks.p", "never fails"),
    "text as bound": (changed(checks={"p": {"min": "0"}}), "checks.p.min", "a finite number"),
    "text as truth": (changed(checks={"p": {"finite": "on"}}), "checks.p.finite", "`true` or `false`"),
}
# What a schema cannot say, or says coarser than the reader.
BAD_BEYOND_SCHEMA: dict[str, tuple[object, str, str]] = {
    "an unknown arm in a route": (
        changed(routes=[{"when": {"a": ["b"]}, "weights": {"canari": 1}}]),
        "routes[0].weights.canari",
        "did you mean `canary`?",
    ),
    "a default route in front": (changed(routes=[{}, *FILE["routes"]]), "routes[0]", "hides those behind it"),
    "no step and no rule": (changed(steps=None, routes=None), "steps", "would never answer"),
    "steps of nobody": (changed(arms={"control": "delay@1"}, routes=None), "steps", "no candidate"),
    "a word as key": (changed(arms={1: "delay@1"}), "arms", "the key 1 is not a word"),
    "a model without sha256": (
        alone({"control": "delay@77"}),
        "arms.control",
        "sha256",
    ),
    "finer than 0.01 %": (changed(steps=[{"weight": 0.001}]), "steps[0].weight", "such as `0.01`"),
    "finer in text": (changed(steps=[{"weight": "12.345%"}]), "steps[0].weight", "such as `12.34`"),
    "a sum above 100 %": (
        changed(
            arms={"control": "delay@1", "a": "delay@2", "b": "delay@2"},
            routes=None,
            steps=[{"weights": {"a": 60, "b": 50.5}}],
        ),
        "steps[0].weights",
        "sum to 110.5 %",
    ),
    "one weight for two": (
        changed(arms={"control": "delay@1", "a": "delay@2", "b": "delay@2"}, routes=None, steps=[{"weight": 1}]),
        "steps[0].weight",
        "`weights: {a: 5, b: 5}`",
    ),
    "held back of a part": (
        changed(steps=[{"weight": 50, "holdback": 5}]),
        "steps[0].holdback",
        "expected a weight of 95 %",
    ),
    "too many parts": (changed(steps=[{"weight": "1:2:3"}]), "steps[0].weight", "3 parts for 2 arms"),
    "a timeout of 0": (changed(limits={"timeout": "0s"}), "limits.timeout", "above 0"),
    "bounds the wrong way": (changed(checks={"p": {"min": 1, "max": 0}}), "checks.p", "every answer would fail"),
    "half a character": (changed(salt="\ud800"), "salt", "text"),
    "an infinite bound": (changed(checks={"p": {"max": float("inf")}}), "checks.p.max", "a finite number"),
}


@pytest.mark.parametrize("spec", GOOD.values(), ids=GOOD.keys())
def test_a_good_file_is_accepted_by_reader_and_schema(spec: dict[str, Any]) -> None:
    rollout(spec)
    assert check(spec) == ()
    VALIDATOR.validate(spec)


@pytest.mark.parametrize(("spec", "field", "words"), BAD.values(), ids=BAD.keys())
def test_a_bad_file_is_refused_by_reader_and_schema(spec: object, field: str, words: str) -> None:
    (finding,) = problems(spec)
    assert finding.field == field
    assert words in str(finding)
    assert not VALIDATOR.is_valid(spec)


@pytest.mark.parametrize(("spec", "field", "words"), BAD_BEYOND_SCHEMA.values(), ids=BAD_BEYOND_SCHEMA.keys())
def test_a_file_that_is_bad_beyond_the_schema_is_refused_by_the_reader(spec: object, field: str, words: str) -> None:
    assert any(finding.field == field and words in str(finding) for finding in problems(spec))


def test_everything_wrong_is_found_at_once() -> None:
    assert [f.field for f in problems(changed(unit=1, mode=2, limits=3))] == ["unit", "limits", "mode"]


def test_a_file_may_ask_for_advice_alone() -> None:
    assert rollout(changed(mode="advise")).mode == "advise"


def advance(**step: object) -> str:
    return rollout(changed(steps=[{"weight": 1, **step}])).steps[0].advance


def test_steps_of_at_most_1_percent_are_left_on_time_where_they_have_one() -> None:
    assert advance() == "evidence"
    assert advance(**{"for": "1s"}) == advance(requests=1) == "time"
    assert advance(**{"for": "1s"}, weight=1.01) == "evidence"
    assert advance(**{"for": "1s"}, advance="evidence") == "evidence"
    assert advance(**{"for": "1s"}, weight=0, mirror={"canary": 5}) == "evidence"
    assert advance(**{"for": "0s"}) == "evidence"


def test_held_back_is_what_control_keeps_of_everything() -> None:
    assert rollout(changed(steps=[{"weight": 100, "holdback": "0.5%"}])).steps[0].weights == (9950,)


def test_control_is_first_wherever_the_file_has_it() -> None:
    assert [arm.name for arm in rollout(GOOD["several candidates"]).arms] == ["control", "left", "right"]


def test_a_rollout_of_rules_alone_has_one_step_of_nothing() -> None:
    assert [step.weights for step in rollout(changed(steps=None)).steps] == [(0,)]


def test_the_digest_knows_the_file_the_models_and_the_order_of_the_arms() -> None:
    arms = {"control": "delay@1", "a": "delay@2", "b": "delay@2"}
    swapped = {"control": "delay@1", "b": "delay@2", "a": "delay@2"}
    base = changed(arms=arms, routes=None, steps=[{"weights": {"a": 1}}])
    digests = {
        rollout(base).digest,
        rollout({**base, "arms": swapped}).digest,
        rollout({**base, "salt": "s"}).digest,
        getattr(parse(base, {**MODELS, "delay@2": "f" * 64}), "digest", None),
    }
    assert len(digests) == 4
    reordered = dict(reversed(copy.deepcopy(base).items()))
    assert rollout(reordered).digest == rollout(base).digest
    assert getattr(parse(base, {**MODELS, "other@1": "f" * 64}), "digest", None) == rollout(base).digest


@given(st.integers(0, 10_000))
def test_a_percentage_is_read_exactly_however_it_is_written(points: int) -> None:
    text = f"{points // 100}.{points % 100:02d}"
    assert percent(text) == percent(f"{text}%") == percent(float(text)) == points
    assert percent(percent_text(points)) == points


@given(st.lists(st.integers(0, 999_999), min_size=2, max_size=6).filter(any))
def test_relative_weights_sum_to_everything_and_differ_by_less_than_a_point(parts: list[int]) -> None:
    weights = relative(":".join(map(str, parts)), len(parts))
    assert sum(weights) == 10_000
    for part, weight in zip(parts, weights, strict=True):
        assert abs(weight - 10_000 * part / sum(parts)) < 1


def test_quantities_mean_what_people_mean() -> None:
    assert relative("1:2", 2) == (3333, 6667)
    assert [duration(text) for text in ("200ms", "60s", "1.5m", "2h", "1d")] == [0.2, 60, 90, 7200, 86400]
    assert [size(text) for text in ("1B", "1KiB", "1.5MiB", "1GiB", "2GB")] == [1, 2**10, 3 * 2**19, 2**30, 2 * 10**9]


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6) | st.binary(max_size=3) | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6) | st.integers(), inner, max_size=3),
    max_leaves=8,
)


@given(JUNK, st.sampled_from([(), *((name,) for name in FILE), *(("steps", i) for i in range(3)), ("routes", 0)]))
def test_any_value_anywhere_is_read_or_refused(junk: Any, place: tuple[Any, ...]) -> None:
    spec: Any = copy.deepcopy(FILE)
    if place:
        target = spec
        for part in place[:-1]:
            target = target[part]
        target[place[-1]] = junk
    result = parse(spec if place else junk, MODELS)
    if isinstance(result, Rollout):
        VALIDATOR.validate(spec)
    else:
        assert result
        assert all(str(finding).encode() for finding in result)


def test_messages_stay_short_and_showable_whatever_was_given() -> None:
    deep: Any = []
    for _ in range(10_000):
        deep = [deep]
    for value in (deep, "x" * 10_000, 10**5000, {"a": deep}, b"x", "\ud800", float("nan")):
        assert len(show(value).encode()) < 100
    assert nearest("x" * 100_000, ["control"]) is None
