"""The control log's fold: every cell of the table of commands and phases, and the laws that hold for any log."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamsplit.core.commands import FORMAT, Command, Kind, Malformed, Refusal
from streamsplit.core.fold import apply, next_command
from streamsplit.core.fold_apply import preview
from streamsplit.core.rollout import WHOLE, Phase, Rollout, State, chain_label
from streamsplit.core.rollout_file import parse
from streamsplit.core.state_digest import state_digest

MODELS = {f"delay@{version}": f"{version:064x}" for version in range(1, 10)}
STEPS: list[object] = [{"weight": 10}, {"weight": 25}, "pause", {"weight": 75}, {"weight": 100}]
PLAIN = {"rollout": "first", "arms": {"control": "delay@1"}}
SECOND: dict[str, Any] = {"rollout": "second", "arms": {"control": "delay@1", "canary": "delay@2"}, "steps": STEPS}
THIRD = {"rollout": "third", "arms": {"control": "delay@2", "canary": "delay@3"}, "steps": STEPS}
PAIR = {
    "rollout": "pair",
    "arms": {"control": "delay@1", "left": "delay@2", "right": "delay@3"},
    "steps": [{"weights": {"left": 10, "right": 20}}, {"weights": {"left": 50, "right": 50}}],
}


class Log:
    """A control log that is written command by command."""

    def __init__(self) -> None:
        self.state = State()
        self.offset = -1

    def ask(self, kind: str, payload: Mapping[str, object] | str = "{}", **fields: Any) -> State | Refusal:
        self.offset += 1
        command = Command(
            **{"command_id": f"c{self.offset}", "kind": kind, "rollout": self.state.name, "payload": payload, **fields}
        )
        result = apply(self.state, self.offset, command)
        if isinstance(result, State):
            self.state = result
        return result

    def tell(self, kind: str, payload: Mapping[str, object] | str = "{}", **fields: Any) -> State:
        result = self.ask(kind, payload, **fields)
        assert isinstance(result, State), result
        return result

    def apply(self, spec: dict[str, Any], **payload: object) -> State:
        return self.tell("apply", {"spec": spec, "models": MODELS, **payload}, rollout=spec["rollout"])

    def refused(self, kind: str, payload: Mapping[str, object] | str = "{}", **fields: Any) -> Refusal:
        before = self.state
        result = self.ask(kind, payload, **fields)
        assert isinstance(result, Refusal), result
        assert self.state is before
        return result


def log_in(phase: Phase) -> Log:
    log = Log()
    if phase is Phase.EMPTY:
        return log
    if phase is Phase.SERVING:
        log.apply(PLAIN)
        log.tell("begin")
        return log
    log.apply(SECOND)
    ways = {
        Phase.PREPARING: [],
        Phase.PROGRESSING: ["begin"],
        Phase.PAUSED: ["begin", "pause"],
        Phase.PROMOTED: ["begin", "promote"],
        Phase.ROLLED_BACK: ["begin", "abort"],
        Phase.FAILED: ["abort"],
    }
    for kind in ways[phase]:
        log.tell(kind)
    assert log.state.phase is phase
    return log


LEADS_TO = {
    Kind.BEGIN: {Phase.PREPARING: Phase.PROGRESSING},
    Kind.ADVANCE: {Phase.PROGRESSING: Phase.PROGRESSING, Phase.PAUSED: Phase.PROGRESSING},
    Kind.SET_WEIGHT: {Phase.PROGRESSING: Phase.PAUSED, Phase.PAUSED: Phase.PAUSED},
    Kind.PAUSE: {Phase.PROGRESSING: Phase.PAUSED},
    Kind.RESUME: {Phase.PAUSED: Phase.PROGRESSING},
    Kind.PROMOTE: {Phase.PROGRESSING: Phase.PROMOTED, Phase.PAUSED: Phase.PROMOTED},
    Kind.ABORT: {
        Phase.PREPARING: Phase.FAILED,
        Phase.PROGRESSING: Phase.ROLLED_BACK,
        Phase.PAUSED: Phase.ROLLED_BACK,
        Phase.PROMOTED: Phase.ROLLED_BACK,
    },
    Kind.ACCEPT_LOSS: {phase: phase for phase in Phase},
}
PAYLOADS: dict[Kind, dict[str, object]] = {
    Kind.SET_WEIGHT: {"weights": {"canary": 40}},
    Kind.ACCEPT_LOSS: {"partition": 3, "to": 1200},
}


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("kind", LEADS_TO)
def test_a_command_leads_where_the_table_says_and_is_refused_elsewhere(kind: Kind, phase: Phase) -> None:
    log = log_in(phase)
    result = log.ask(kind, PAYLOADS.get(kind, {}))
    if phase in LEADS_TO[kind]:
        assert isinstance(result, State)
        assert result.phase is LEADS_TO[kind][phase]
        assert result.revision == log.offset
    else:
        assert isinstance(result, Refusal)
        assert str(phase) in result.reason


@pytest.mark.parametrize("phase", Phase)
def test_apply_is_legal_exactly_where_no_rollout_is_active(phase: Phase) -> None:
    log = log_in(phase)
    control = chain_label(log.state.serving) or "delay@1"
    spec = {"rollout": "next", "arms": {"control": control, "canary": "delay@9"}, "steps": [{"weight": 50}]}
    result = log.ask("apply", {"spec": spec, "models": MODELS}, rollout="next")
    if phase.active:
        assert isinstance(result, Refusal)
        assert "--replace" in result.reason
    else:
        assert isinstance(result, State)
        assert (result.phase, result.apply_revision, result.attempt) == (Phase.PREPARING, log.offset, 1)
        assert result.weights == (0,)
        assert result.previous == ()


def test_the_first_apply_serves_its_control_at_once() -> None:
    log = Log()
    state = log.apply(SECOND)
    assert chain_label(state.serving) == "delay@1"
    assert [arm.name for arm in state.arms] == ["control", "canary"]
    assert not state.splitting


def test_a_file_with_control_alone_replaces_what_serves_once_it_is_begun() -> None:
    log = log_in(Phase.SERVING)
    state = log.apply({"rollout": "other", "arms": {"control": "delay@7"}})
    assert chain_label(state.serving) == "delay@1"
    assert [chain_label(chain) for chain in state.warm] == ["delay@1", "delay@7"]
    state = log.tell("begin")
    assert (state.phase, chain_label(state.serving), state.previous) == (Phase.SERVING, "delay@7", ())


def test_a_control_that_does_not_serve_is_refused_and_what_serves_is_named() -> None:
    log = log_in(Phase.PROMOTED)
    refusal = log.refused("apply", {"spec": {**SECOND, "salt": "s"}, "models": MODELS}, rollout="second")
    assert "delay@1 (sha256 000000000000)" in refusal.reason
    assert "what serves today is delay@2" in refusal.reason


def test_a_control_of_the_same_name_with_other_bytes_is_refused() -> None:
    log = log_in(Phase.ROLLED_BACK)
    models = {**MODELS, "delay@1": "f" * 64}
    assert "ffffffffffff" in log.refused("apply", {"spec": SECOND, "models": models}, rollout="second").reason


@pytest.mark.parametrize(
    "phase", [Phase.SERVING, Phase.PREPARING, Phase.PROGRESSING, Phase.PAUSED, Phase.PROMOTED], ids=str
)
def test_the_file_in_force_is_unchanged(phase: Phase) -> None:
    log = log_in(phase)
    spec = PLAIN if phase is Phase.SERVING else SECOND
    assert log.refused("apply", {"spec": spec, "models": MODELS}, rollout=spec["rollout"]).unchanged


@pytest.mark.parametrize("phase", [Phase.ROLLED_BACK, Phase.FAILED], ids=str)
def test_a_file_that_was_aborted_is_applied_again_only_with_retry(phase: Phase) -> None:
    log = log_in(phase)
    refusal = log.refused("apply", {"spec": SECOND, "models": MODELS}, rollout="second")
    assert "--retry" in refusal.reason
    assert not refusal.unchanged
    assert log.apply(SECOND, retry=True).attempt == 2
    log.tell("abort")
    assert log.apply(SECOND, retry=True).attempt == 3


def test_a_changed_file_needs_no_retry() -> None:
    log = log_in(Phase.ROLLED_BACK)
    assert log.apply({**SECOND, "steps": [{"weight": 5}]}).attempt == 1


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("spec", [PLAIN, SECOND, THIRD], ids=["plain", "second", "third"])
@pytest.mark.parametrize("retry", [False, True])
def test_preview_says_what_the_fold_will_say(phase: Phase, spec: dict[str, Any], retry: bool) -> None:  # noqa: FBT001
    log = log_in(phase)
    rollout = parse(spec, MODELS)
    assert isinstance(rollout, Rollout)
    expected = preview(log.state, rollout, retry=retry)
    result = log.ask("apply", {"spec": spec, "models": MODELS, "retry": retry}, rollout=spec["rollout"])
    assert (result == expected) if expected else isinstance(result, State)


def test_the_ramp_is_walked_step_by_step_and_a_pause_keeps_the_weights() -> None:
    log = log_in(Phase.PREPARING)
    walked = [log.tell("begin"), *(log.tell("advance") for _ in range(4))]
    assert [(state.phase, state.step, state.weights) for state in walked] == [
        (Phase.PROGRESSING, 0, (1000,)),
        (Phase.PROGRESSING, 1, (2500,)),
        (Phase.PAUSED, 2, (2500,)),
        (Phase.PROGRESSING, 3, (7500,)),
        (Phase.PROGRESSING, 4, (10000,)),
    ]
    assert "promote" in log.refused("advance").reason


def test_a_pause_step_is_left_by_resume() -> None:
    log = log_in(Phase.PROGRESSING)
    log.tell("advance")
    log.tell("advance")
    state = log.tell("resume")
    assert (state.phase, state.step, state.weights) == (Phase.PROGRESSING, 3, (7500,))


def test_a_pause_that_was_commanded_is_left_at_the_same_step() -> None:
    log = log_in(Phase.PROGRESSING)
    log.tell("advance")
    log.tell("pause")
    state = log.tell("resume")
    assert (state.phase, state.step, state.weights) == (Phase.PROGRESSING, 1, (2500,))


@pytest.mark.parametrize("kind", ["resume", "advance"])
@pytest.mark.parametrize(
    ("percent", "step", "weights"), [(0, 0, 1000), (5, 0, 1000), (10, 1, 2500), (24.99, 1, 2500), (25, 3, 7500)]
)
def test_after_set_weight_the_ramp_goes_on_with_the_first_step_above(
    kind: str, percent: float, step: int, weights: int
) -> None:
    log = log_in(Phase.PROGRESSING)
    state = log.tell("set_weight", {"weights": {"canary": percent}})
    assert (state.phase, state.step, state.weights, state.by_hand) == (Phase.PAUSED, 0, (round(percent * 100),), True)
    state = log.tell(kind)
    assert (state.phase, state.step, state.weights, state.by_hand) == (Phase.PROGRESSING, step, (weights,), False)


def test_resume_after_set_weight_100_asks_for_promote() -> None:
    log = log_in(Phase.PROGRESSING)
    log.tell("set_weight", {"weights": {"canary": 100}})
    assert "`promote`" in log.refused("resume").reason


def test_a_ramp_that_begins_with_a_pause_begins_paused_at_zero() -> None:
    log = Log()
    log.apply({**SECOND, "steps": ["pause", {"weight": 5}]})
    state = log.tell("begin")
    assert (state.phase, state.weights) == (Phase.PAUSED, (0,))
    assert log.tell("resume").weights == (500,)


def test_rules_keep_their_weights_when_the_default_weight_is_set() -> None:
    log = Log()
    log.apply({**SECOND, "routes": [{"when": {"carrier": ["UA"]}, "weights": {"canary": 5}}]})
    log.tell("begin")
    state = log.tell("set_weight", {"weights": {"canary": 40}})
    assert state.rollout is not None
    assert [rule.weights for rule in state.rollout.rules] == [(500,)]


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ({"canary": 101}, "outside 0 to 100"),
        ({"canary": -1}, "outside 0 to 100"),
        ({"canary": 0.001}, "0.01"),
        ({"canry": 10}, "did you mean `canary`"),
        ({"control": 90}, "control is not given a weight"),
        ({}, "no arm is named"),
        ({"canary": "much"}, "percentage"),
        ({"canary": True}, "percentage"),
        ({"canary": float("nan")}, "percentage"),
        ("1:2:3", "2 arms"),
        ("0:0", "nothing to anybody"),
        (None, "nothing is given"),
        (25, "25 is not valid"),
    ],
)
def test_weights_that_cannot_hold_are_refused_with_the_reason(weights: object, words: str) -> None:
    assert words in log_in(Phase.PROGRESSING).refused("set_weight", {"weights": weights}).reason


def test_weights_above_the_whole_are_refused_and_unnamed_candidates_keep_theirs() -> None:
    log = Log()
    log.apply(PAIR)
    log.tell("begin")
    assert log.tell("set_weight", {"weights": {"left": 60}}).weights == (6000, 2000)
    assert "sum to 110 %" in log.refused("set_weight", {"weights": {"right": 50}}).reason
    assert log.tell("set_weight", {"weights": "2:1:1"}).weights == (2500, 2500)


def test_promote_makes_the_candidate_control_and_keeps_the_old_one_for_an_abort() -> None:
    log = log_in(Phase.PROGRESSING)
    state = log.tell("promote")
    assert (chain_label(state.serving), chain_label(state.previous)) == ("delay@2", "delay@1")
    assert [chain_label(chain) for chain in state.warm] == ["delay@2", "delay@1"]
    assert state.weights == ()
    state = log.tell("abort")
    assert (chain_label(state.serving), state.previous) == ("delay@1", ())
    assert "nothing to abort" in log.refused("abort").reason


def test_promote_of_several_candidates_needs_a_name_unless_one_has_all_the_weight() -> None:
    log = Log()
    log.apply(PAIR)
    log.tell("begin")
    assert "left, right" in log.refused("promote").reason
    assert "left, right" in log.refused("promote", {"arm": "middle"}).reason
    log.tell("set_weight", {"weights": {"left": 0}})
    assert chain_label(log.tell("promote").serving) == "delay@3"


def test_promote_by_name_takes_that_candidate() -> None:
    log = Log()
    log.apply(PAIR)
    log.tell("begin")
    assert chain_label(log.tell("promote", {"arm": "left"}).serving) == "delay@2"


def test_a_repeated_command_changes_nothing_and_is_no_refusal() -> None:
    log = log_in(Phase.PROGRESSING)
    state = log.tell("advance", command_id="once")
    assert log.ask("advance", command_id="once") is state


def test_a_refused_command_may_be_sent_again_under_its_id() -> None:
    log = log_in(Phase.PREPARING)
    log.refused("advance", command_id="early")
    log.tell("begin")
    assert log.tell("advance", command_id="early").step == 1


@pytest.mark.parametrize("kind", [kind for kind in LEADS_TO if kind is not Kind.ABORT])
def test_a_stale_expectation_is_refused(kind: Kind) -> None:
    log = log_in(Phase.PROGRESSING)
    refusal = log.refused(kind, PAYLOADS.get(kind, {}), expected_revision=0)
    assert "expects revision 0, but the state is at 1" in refusal.reason


def test_a_true_expectation_is_accepted() -> None:
    log = log_in(Phase.PROGRESSING)
    assert log.tell("advance", expected_revision=log.state.revision).step == 1


def test_abort_ignores_expectation_and_payload() -> None:
    log = log_in(Phase.PROGRESSING)
    assert log.tell("abort", '{"why": [', expected_revision=77).phase is Phase.ROLLED_BACK


@pytest.mark.parametrize("fields", [{"rollout": "another"}, {"apply_revision": 17}])
@pytest.mark.parametrize("kind", ["advance", "abort"])
def test_a_command_for_another_rollout_is_refused(kind: str, fields: dict[str, Any]) -> None:
    log = log_in(Phase.PROGRESSING)
    log.refused(kind, **fields)
    assert log.tell(kind, apply_revision=0).revision == log.offset


def test_accepted_losses_only_rise() -> None:
    log = Log()
    assert log.tell("accept_loss", {"partition": 0, "to": 5}).accepted_losses == {0: 5}
    assert log.tell("accept_loss", {"partition": 0, "to": 9}).accepted_losses == {0: 9}
    assert "up to offset 9" in log.refused("accept_loss", {"partition": 0, "to": 7}).reason
    log.refused("accept_loss", {"partition": True, "to": 7})
    log.refused("accept_loss", {"partition": -1, "to": 7})


@pytest.mark.parametrize(
    ("kind", "payload", "words"),
    [
        ("setweight", {}, "did you mean `set_weight`"),
        ("begin", {"now": True}, "payload.now: unknown field"),
        ("set_weight", {"weigths": {}}, "did you mean `weights`"),
        ("advance", "no json", "no JSON"),
        ("advance", "[]", "a list"),
        ("advance", "[" * 100_000, "no JSON"),
        ("apply", {"spec": {"rollout": "x"}, "models": []}, "payload of apply"),
        ("apply", {"spec": {"rollout": "second"}, "models": {}}, "arms"),
    ],
)
def test_a_command_that_cannot_be_read_is_refused_with_the_reason(kind: str, payload: Any, words: str) -> None:
    assert words in log_in(Phase.PROGRESSING).refused(kind, payload).reason


def test_a_malformed_record_is_refused() -> None:
    assert apply(State(), 0, Malformed("no value")) == Refusal("no value")


def test_an_invalid_file_is_refused_with_its_findings() -> None:
    refusal = Log().refused("apply", {"spec": {**SECOND, "judge": {"alpha": 2}}, "models": MODELS}, rollout="second")
    assert [finding.field for finding in refusal.findings] == ["judge.alpha"]


def test_a_newer_format_is_noted_and_the_log_is_folded_on() -> None:
    log = log_in(Phase.PREPARING)
    state = log.tell("teleport", "?", format=FORMAT + 2)
    assert (state.newer_format, state.revision) == (FORMAT + 2, log.offset)
    state = log.tell("begin")
    assert (state.phase, state.newer_format) == (Phase.PROGRESSING, FORMAT + 2)


@pytest.mark.parametrize("phase", Phase)
def test_walking_promote_ends_promoted_or_says_that_there_is_nothing(phase: Phase) -> None:
    log = log_in(phase)
    walked = []
    while isinstance(kind := next_command(log.state), Kind):
        walked.append(kind)
        log.tell(kind)
    assert bool(walked) == phase.active
    if phase.active:
        assert log.state.phase is Phase.PROMOTED
        assert walked[-5:] == [*[Kind.ADVANCE] * 4, Kind.PROMOTE]


def test_promote_in_full_skips_the_ramp() -> None:
    log = log_in(Phase.PREPARING)
    assert next_command(log.state, full=True) is Kind.BEGIN
    log.tell("begin")
    assert next_command(log.state, full=True) is Kind.PROMOTE


def test_promote_walks_a_control_alone_to_serving() -> None:
    log = Log()
    log.apply(PLAIN)
    kind = next_command(log.state)
    assert kind is Kind.BEGIN
    log.tell(kind)
    assert isinstance(next_command(log.state), Refusal)


def test_the_digest_tells_states_apart() -> None:
    log = log_in(Phase.PROGRESSING)
    digests = {state_digest(log.state)}
    for change in (
        {"weights": (1,)},
        {"accepted_losses": {1: 2}},
        {"command_ids": frozenset({"x"})},
        {"by_hand": True},
    ):
        digests.add(state_digest(replace(log.state, **change)))
    assert len(digests) == 5
    assert state_digest(log.state) in digests


# JSON's escapes can make halves of characters, which UTF-8 cannot write.
anything = st.text(st.characters(exclude_categories=()), max_size=8)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | anything,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(anything, inner, max_size=3),
    max_leaves=8,
)
specs = st.sampled_from([PLAIN, SECOND, THIRD, PAIR]).flatmap(
    lambda spec: st.dictionaries(
        st.sampled_from(["rollout", "salt", "arms", "unit", "routes", "steps", "mode", "judge", "limits", "checks"]),
        json_values,
        max_size=1,
    ).map(lambda change: {**spec, **change})
)
payloads: st.SearchStrategy[Any] = (
    json_values.map(lambda value: value if isinstance(value, dict) else json.dumps(value))
    | anything
    | st.just({})
    | st.fixed_dictionaries(
        {"weights": st.dictionaries(st.sampled_from(["canary", "left", "right"]), st.integers(0, 100))}
    )
    | st.fixed_dictionaries({"partition": st.integers(-1, 3), "to": st.integers(-1, 9)})
    | st.fixed_dictionaries({"arm": st.sampled_from(["canary", "left", "nobody"])})
    | st.builds(lambda spec, retry: {"spec": spec, "models": MODELS, "retry": retry}, specs, st.booleans())
)
commands = st.builds(
    Command,
    command_id=anything,
    kind=st.sampled_from([*Kind, "other", "\ud800"]),
    rollout=st.sampled_from(["first", "second", "third", "pair", "", "\ud800"]),
    payload=payloads,
    apply_revision=st.none() | st.integers(0, 3),
    expected_revision=st.none() | st.integers(0, 3),
    format=st.sampled_from([FORMAT] * 9 + [FORMAT + 1]),
)
walks = st.lists(st.builds(Malformed, st.text(min_size=1, max_size=5)) | commands, max_size=12)


def likely(kind: str, payload: dict[str, object], rollout: str) -> Command:
    return Command(command_id="", kind=kind, rollout=rollout, payload=payload)


likely_commands = st.sampled_from(
    [likely("apply", {"spec": spec, "models": MODELS, "retry": True}, str(spec["rollout"])) for spec in (PLAIN, SECOND)]
    + [likely(kind, {}, "second") for kind in ("begin", "advance", "pause", "resume", "promote", "abort") for _ in "12"]
    + [likely("set_weight", {"weights": {"canary": percent}}, "second") for percent in (0, 15, 100)]
)


def fold(log: list[Command | Malformed]) -> list[State | Refusal]:
    state, results = State(), []
    for offset, command in enumerate(log):
        result = apply(state, offset, command)
        results.append(result)
        if isinstance(result, State):
            check_invariants(state, result, offset)
            state = result
    return results


def check_invariants(before: State, after: State, offset: int) -> None:
    if after is before:
        return
    assert after.revision == offset
    assert len(after.weights) == len(after.arms) - 1
    assert sum(after.weights) <= WHOLE
    assert after.splitting or not any(after.weights)
    assert bool(after.serving) == (after.rollout is not None)
    assert all(after.accepted_losses.get(p, 0) >= to for p, to in before.accepted_losses.items())
    assert not after.previous or after.phase is Phase.PROMOTED


@given(walks)
@settings(max_examples=150, deadline=None)
def test_the_fold_is_total_on_any_log(log: list[Command | Malformed]) -> None:
    for result in fold(log):
        assert isinstance(result, State | Refusal)
        if isinstance(result, State):
            assert len(state_digest(result)) == 64
        else:
            assert result.reason.encode()  # It can be shown to a person.


@given(st.lists(likely_commands, max_size=25))
@settings(max_examples=150, deadline=None)
def test_two_folds_of_one_log_agree_and_every_prefix_keeps_the_invariants(log: list[Command]) -> None:
    named: list[Command | Malformed] = [replace(command, command_id=f"c{i}") for i, command in enumerate(log)]
    assert fold(named) == fold(named)
