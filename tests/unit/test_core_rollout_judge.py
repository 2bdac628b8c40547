"""The part `judge` of a rollout file: read into the judge's settings, and the same in the JSON Schema."""

import copy
import json
import math
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from streamsplit.core.findings import Finding
from streamsplit.core.guards import (
    Direction,
    ErrorGuard,
    Inconclusive,
    JudgeSettings,
    LatencyGuard,
    Score,
    ScoreGuard,
    ShiftGuard,
)
from streamsplit.core.rollout import Rollout
from streamsplit.core.rollout_file import check, parse

SCHEMA = json.loads(resources.files("streamsplit").joinpath("rollout.schema.json").read_text(encoding="utf-8"))
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
EXAMPLES = Path(__file__).parents[2] / "examples"
FILE: dict[str, Any] = {
    "rollout": "delay-v2",
    "arms": {"control": "delay@1", "canary": "delay@2"},
    "steps": [{"weight": 10}],
}

FULL = """
window: 1s
grace: 500ms
alpha: 0.01
guards:
  errors:
    {rollback_ratio: 1.2, rollback_floor: 0%, promote_ratio: 2, promote_floor: 0.35%, limit: none, dry_run: true}
  latency: {rollback_ratio: 1.3, promote_ratio: 1.6, floor: 0ms, quantile: 0.99, limit: 50ms}
  score: {output: probability, index: 1, range: [-1, 4], margin: 0.05, direction: drop}
  shift: {output: probability, index: 1, range: [-1, 4], shown: 0.2, limit: 0.3, dry_run: true}
deadline: 2h
on_inconclusive: rollback
"""
JUDGE: dict[str, Any] = YAML(typ="safe", pure=True).load(FULL)
SCORE = {"output": "p", "margin": "15%"}


def guards(**parts: object) -> dict[str, object]:
    return {"guards": parts}


def settings(judge: object) -> JudgeSettings:
    result = parse({**FILE, "judge": judge}, None)
    assert isinstance(result, Rollout), [str(finding) for finding in result]
    return result.judge


def problems(judge: object) -> tuple[Finding, ...]:
    result = parse({**FILE, "judge": judge}, None)
    assert not isinstance(result, Rollout)
    return result


def test_a_file_that_says_nothing_is_judged_by_the_defaults() -> None:
    result = parse(FILE, None)
    assert isinstance(result, Rollout)
    assert result.judge == settings({}) == settings(guards()) == settings(guards(errors={}, latency={}))
    assert result.judge == JudgeSettings()


def test_every_setting_is_read() -> None:
    score = Score("probability", 1, -1.0, 4.0)
    assert settings(JUDGE) == JudgeSettings(
        window_seconds=1.0,
        grace_seconds=0.5,
        alpha=0.01,
        errors=ErrorGuard(1.2, 0.0, 2.0, 0.0035, None, dry_run=True),
        latency=LatencyGuard(1.3, 1.6, 0.0, 0.99, 0.05),
        score=ScoreGuard(score, 0.01, relative=False, direction=Direction.DROP),
        shift=ShiftGuard(score, 0.2, 0.3, dry_run=True),
        deadline_seconds=7200.0,
        on_inconclusive=Inconclusive.ROLLBACK,
    )


def test_the_file_of_the_design_is_read_up_to_what_is_not_built() -> None:
    page = (Path(__file__).parents[2] / "docs" / "design.md").read_text(encoding="utf-8")
    text = page.split("## 12. A rollout file\n```yaml\n")[1].split("```")[0]
    spec = YAML(typ="safe", pure=True).load(text)
    found = parse(spec, None)
    assert not isinstance(found, Rollout)
    assert [finding.field for finding in found] == ["judge.guards.outcome"]
    del spec["judge"]["guards"]["outcome"]
    assert isinstance(parse(spec, None), Rollout)
    VALIDATOR.validate(spec)


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("*.yaml")), ids=lambda file: file.name)
def test_the_examples_are_valid_for_reader_and_schema(file: Path) -> None:
    spec = YAML(typ="safe", pure=True).load(file.read_text(encoding="utf-8"))
    assert check(spec) == ()
    VALIDATOR.validate(spec)


def margin(value: object, *ends: float) -> tuple[float, bool]:
    guard = settings(guards(score={"output": "p", "margin": value, **({"range": list(ends)} if ends else {})})).score
    assert guard is not None
    return guard.margin, guard.relative


def test_a_margin_in_units_becomes_a_share_of_the_range_and_a_percentage_is_one_of_controls_mean() -> None:
    assert margin(0.02) == (0.02, False)
    assert margin(5, 0, 100) == (0.05, False)
    assert margin(0.002) == (0.002, False)
    assert margin("15%") == (0.15, True)
    assert margin("2%", 0, 400) == (0.02, True)


GOOD: dict[str, object] = {
    "nothing": {},
    "everything": JUDGE,
    "the longest window": {"window": "1h", "grace": "10h"},
    "the shortest": {"window": "1s", "grace": "0s"},
    "half": {"alpha": 0.5},
    "no limit of time": guards(latency={"limit": "none"}),
    "a share with a space": guards(errors={"limit": "20 %"}),
    "a shift alone": guards(shift={"output": "p"}),
    "score and shift of one number": guards(score=SCORE, shift={"output": "p"}),
    "a deadline of one window": {"window": "2s", "deadline": "2s"},
}
BAD: dict[str, tuple[object, str, str]] = {
    "nothing": (None, "judge", "how to judge"),
    "a misspelt field": ({"windov": "5s"}, "judge.windov", "did you mean `window`?"),
    "a window without unit": ({"window": 5}, "judge.window", "`1s` to `1h`"),
    "an alpha of 0": ({"alpha": 0}, "judge.alpha", "above 0"),
    "an alpha above a half": ({"alpha": 0.51}, "judge.alpha", "at most 0.5"),
    "an alpha in percent": ({"alpha": "5%"}, "judge.alpha", "such as `0.05`"),
    "an alpha that is true": ({"alpha": True}, "judge.alpha", "true is no finite number"),
    "another end": ({"on_inconclusive": "roll back"}, "judge.on_inconclusive", "did you mean `rollback`?"),
    "no end": ({"on_inconclusive": None}, "judge.on_inconclusive", "nothing is given"),
    "guards in a list": ({"guards": ["errors"]}, "judge.guards", "a list is not valid"),
    "a misspelt guard": (guards(error={}), "judge.guards.error", "did you mean `errors`?"),
    "outcomes": (guards(outcome={"loss": "brier"}), "judge.guards.outcome", "`outcome` is not built yet"),
    "errors as a number": (guards(errors=1), "judge.guards.errors", "1 is not valid"),
    "a ratio of 1": (guards(errors={"rollback_ratio": 1}), "judge.guards.errors.rollback_ratio", "above 1"),
    "a ratio in text": (guards(latency={"promote_ratio": "2x"}), "judge.guards.latency.promote_ratio", "no finite"),
    "a floor without sign": (guards(errors={"rollback_floor": 0.1}), "judge.guards.errors.rollback_floor", "its sign"),
    "no floor to promote": (guards(errors={"promote_floor": "0%"}), "judge.guards.errors.promote_floor", "never fails"),
    "a limit of everything": (guards(errors={"limit": "100%"}), "judge.guards.errors.limit", "or `none`"),
    "an empty limit": (guards(errors={"limit": None}), "judge.guards.errors.limit", "nothing is given"),
    "a floor in percent": (guards(latency={"floor": "2%"}), "judge.guards.latency.floor", "such as `2ms`"),
    "a quantile of 1": (guards(latency={"quantile": 1}), "judge.guards.latency.quantile", "0.999"),
    "a limit in numbers": (guards(latency={"limit": 50}), "judge.guards.latency.limit", "`50ms`"),
    "text as truth": (guards(errors={"dry_run": "yes"}), "judge.guards.errors.dry_run", "`true` or `false`"),
    "a score of nothing": (guards(score=None), "judge.guards.score", "margin: 15%"),
    "no output": (guards(score={"margin": "15%"}), "judge.guards.score.output", "such as `probability`"),
    "an index in text": (guards(score={**SCORE, "index": "1"}), "judge.guards.score.index", "whole number"),
    "an index below 0": (guards(score={**SCORE, "index": -1}), "judge.guards.score.index", "from 0"),
    "one end": (guards(score={**SCORE, "range": [1]}), "judge.guards.score.range", "`[0, 1]`"),
    "a word as end": (guards(score={**SCORE, "range": [0, "1"]}), "judge.guards.score.range", "no finite number"),
    "no margin": (guards(score={"output": "p"}), "judge.guards.score.margin", "`15%`"),
    "a margin of nothing": (guards(score={**SCORE, "margin": 0}), "judge.guards.score.margin", "0.2 % of the range"),
    "a margin of 0 %": (guards(score={**SCORE, "margin": "0%"}), "judge.guards.score.margin", "above `0%`"),
    "a margin of everything": (guards(score={**SCORE, "margin": "100%"}), "judge.guards.score.margin", "below `100%`"),
    "another direction": (guards(score={**SCORE, "direction": "drops"}), "judge.guards.score.direction", "`drop`?"),
    "a shift of 0": (guards(shift={"output": "p", "limit": 0, "shown": 0.1}), "judge.guards.shift.limit", "0.25"),
}
BAD_BEYOND_SCHEMA: dict[str, tuple[object, str, str]] = {
    "a window of half a second": ({"window": "500ms"}, "judge.window", "`1s` to `1h`"),
    "a window of a day": ({"window": "1d"}, "judge.window", "`1s` to `1h`"),
    "a window finer than a clock": ({"window": "1.0005s"}, "judge.window", "finer than a millisecond"),
    "a grace of eleven windows": ({"window": "1s", "grace": "11s"}, "judge.grace", "10 windows (10 s)"),
    "a grace for the default window": ({"grace": "51s"}, "judge.grace", "(50 s)"),
    "a deadline within a window": ({"deadline": "4s"}, "judge.deadline", "at least one window (5 s)"),
    "an alpha that is no number": ({"alpha": math.nan}, "judge.alpha", "no finite number"),
    "a latency limit of 0": (guards(latency={"limit": "0s"}), "judge.guards.latency.limit", "above 0"),
    "a range the wrong way": (guards(score={**SCORE, "range": [1, 0]}), "judge.guards.score.range", "no range"),
    "an infinite end": (guards(score={**SCORE, "range": [0, math.inf]}), "judge.guards.score.range", "no finite"),
    "ends too far apart": (guards(score={**SCORE, "range": [-1e308, 1e308]}), "judge.guards.score.range", "no range"),
    "a margin too fine": (guards(score={**SCORE, "margin": 0.0019}), "judge.guards.score.margin", "0.002"),
    "a margin too fine for its range": (
        guards(score={"output": "p", "range": [0, 50], "margin": 0.02}),
        "judge.guards.score.margin",
        "0.1 (0.2 % of the range)",
    ),
    "a margin beyond the range": (guards(score={**SCORE, "margin": 1}), "judge.guards.score.margin", "below 1"),
    "a share of a mean around 0": (
        guards(score={**SCORE, "range": [-1, 1]}),
        "judge.guards.score.margin",
        "a range that begins at 0",
    ),
    "two numbers": (guards(score=SCORE, shift={"output": "q"}), "judge.guards.shift", "another number than `score`"),
    "a shift told too late": (guards(shift={"output": "p", "shown": 0.3}), "judge.guards.shift.shown", "at most"),
    "half a character": (guards(shift={"output": "\ud800"}), "judge.guards.shift.output", "the name of an output"),
}


@pytest.mark.parametrize("judge", GOOD.values(), ids=GOOD.keys())
def test_good_settings_are_accepted_by_reader_and_schema(judge: object) -> None:
    settings(judge)
    VALIDATOR.validate({**FILE, "judge": judge})


@pytest.mark.parametrize(("judge", "field", "words"), BAD.values(), ids=BAD.keys())
def test_bad_settings_are_refused_by_reader_and_schema(judge: object, field: str, words: str) -> None:
    (finding,) = problems(judge)
    assert finding.field == field
    assert words in str(finding)
    assert not VALIDATOR.is_valid({**FILE, "judge": judge})


@pytest.mark.parametrize(("judge", "field", "words"), BAD_BEYOND_SCHEMA.values(), ids=BAD_BEYOND_SCHEMA.keys())
def test_settings_that_are_bad_beyond_the_schema_are_refused_by_the_reader(
    judge: object, field: str, words: str
) -> None:
    (finding,) = problems(judge)
    assert finding.field == field
    assert words in str(finding)


def test_every_guard_that_is_wrong_is_found_at_once() -> None:
    wrong = problems({"window": 1, "alpha": 1, **guards(errors={"limit": 1}, score={}, shift={})})
    assert [finding.field for finding in wrong] == [
        "judge.window",
        "judge.guards.errors.limit",
        "judge.guards.score.output",
        "judge.guards.score.margin",
        "judge.guards.shift.output",
        "judge.alpha",
    ]


def test_settings_are_part_of_the_digest() -> None:
    digests = {getattr(parse({**FILE, "judge": judge}, None), "digest", None) for judge in ({}, {"alpha": 0.1})}
    assert len(digests) == 2


PLACES = [(), *((name,) for name in JUDGE), *(("guards", name) for name in JUDGE["guards"])]
PLACES += [("guards", name, field) for name, guard in JUDGE["guards"].items() for field in guard]
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6) | st.binary(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
NEARLY = st.sampled_from(["0%", "5%", "99.99%", "100%", "1s", "1h", "none", "drop", 0, 1, 0.5, 1e308, [0, 1]])


@given(JUNK | NEARLY, st.sampled_from(PLACES))
def test_any_value_anywhere_is_read_or_refused(junk: Any, place: tuple[str, ...]) -> None:
    spec: Any = {**FILE, "judge": copy.deepcopy(JUDGE)}
    target = spec
    for part in ("judge", *place)[:-1]:
        target = target[part]
    target[("judge", *place)[-1]] = junk
    result = parse(spec, None)
    if isinstance(result, Rollout):
        VALIDATOR.validate(spec)
    else:
        assert result
        assert all(str(finding).encode() for finding in result)
