"""Which command a decision causes, when there is no point in it any more, and that it is written until it is there."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from streamsplit.core.commands import Command, Kind, Refusal
from streamsplit.core.decision import Decision, DecisionKind
from streamsplit.core.errors import DataError, ServiceError
from streamsplit.core.fold import apply
from streamsplit.core.judge_commands import command_of, is_settled
from streamsplit.core.rollout import Phase, State
from streamsplit.kafka.state_history import StateHistory
from streamsplit.service.due_commands import DueCommands
from streamsplit.wire.judge_state import JudgeState, JudgeStateReader, encode_judge_state

MODELS = {"delay@1": "1" * 64, "delay@2": "2" * 64}
SPEC = {
    "rollout": "second",
    "arms": {"control": "delay@1", "canary": "delay@2"},
    "steps": [{"weight": 10}, {"weight": 100}],
}
DECISION = Decision(
    decision_id="d1",
    rollout="second",
    apply_revision=2,
    revision=3,
    step=0,
    window_start=5_000,
    window_end=10_000,
    kind=DecisionKind.ADVANCE,
    reasons=("every guard is good", "20 000 requests"),
    command="advance",
    command_id="judge-d1",
    log_time=12_345,
)
ABORT = replace(DECISION, kind=DecisionKind.ROLLBACK, command="abort", command_id="judge-d2")


def folded(*commands: Command) -> State:
    """The state after these commands, all of which must be accepted."""
    state = State()
    for offset, command in enumerate(commands):
        result = apply(state, offset, command)
        assert not isinstance(result, Refusal), result
        state = result
    return state


@pytest.fixture
def state() -> State:
    """`second` at its first step: applied at 2, begun at 3."""
    plain = {"rollout": "first", "arms": {"control": "delay@1"}}
    return folded(
        Command(command_id="a", kind="apply", rollout="first", payload={"spec": plain, "models": MODELS}),
        Command(command_id="b", kind="begin", rollout="first"),
        Command(command_id="c", kind="apply", rollout="second", payload={"spec": SPEC, "models": MODELS}),
        Command(command_id="d", kind="begin", rollout="second"),
    )


def made(decision: Decision) -> Command:
    command = command_of(decision)
    assert command is not None
    return command


def test_a_decision_causes_a_command_that_the_fold_accepts_once(state: State) -> None:
    command = made(DECISION)
    assert (command.kind, command.expected_revision, command.actor) == (Kind.ADVANCE, 3, "judge")
    assert command.reason == "every guard is good; 20 000 requests"
    advanced = apply(state, 4, command)
    assert isinstance(advanced, State)
    assert advanced.weights == (10_000,)
    assert apply(advanced, 5, command) is advanced


def test_advice_and_a_hold_cause_none() -> None:
    assert command_of(replace(DECISION, advice=True)) is None
    assert command_of(replace(DECISION, kind=DecisionKind.HOLD, command="", command_id="")) is None


def test_an_abort_holds_whatever_has_happened_meanwhile_to_its_rollout(state: State) -> None:
    paused = apply(state, 4, Command(command_id="e", kind="pause", rollout="second"))
    assert isinstance(paused, State)
    assert not is_settled(paused, made(ABORT))
    assert is_settled(paused, made(DECISION)), "an advance expects the revision it was decided under"
    aborted = apply(paused, 5, made(ABORT))
    assert isinstance(aborted, State)
    assert aborted.phase is Phase.ROLLED_BACK
    assert is_settled(aborted, made(ABORT))


def test_a_command_of_a_replaced_rollout_is_settled_and_one_of_a_rollout_not_yet_folded_is_not(state: State) -> None:
    assert is_settled(replace(state, apply_revision=7, revision=7), made(ABORT))
    assert not is_settled(State(), made(ABORT))


class Log:
    """A control log that refuses its first writes."""

    def __init__(self, state: State, failures: int) -> None:
        self.state, self.failures, self.now = state, failures, 0.0
        self.written: list[str] = []

    def write(self, command: Command) -> None:
        if self.failures:
            self.failures -= 1
            raise ServiceError("no broker")
        self.written.append(command.command_id)

    def due(self) -> DueCommands:
        return DueCommands(self.write, lambda: self.state, lambda: self.now)


def test_what_is_due_is_written_until_it_is_there_and_no_more(state: State) -> None:
    log = Log(state, failures=2)
    due = log.due()
    due.replace([made(DECISION), made(ABORT)])
    for _ in range(3):
        due.write()
        assert len(due.due) == (0 if log.written else 2)
        assert (due.problem is None) == bool(log.written)
        log.now += 1.5
    due.write()
    assert log.written == ["judge-d1", "judge-d2"]


def test_what_has_failed_is_not_tried_again_at_once(state: State) -> None:
    log = Log(state, failures=1)
    due = log.due()
    due.replace([made(ABORT)])
    due.write()
    due.write()
    assert log.written == []
    assert due.problem is not None
    assert "no broker" in due.problem


def test_what_the_log_holds_already_is_not_written_again(state: State) -> None:
    log = Log(replace(state, command_ids=state.command_ids | {"judge-d2"}), failures=0)
    due = log.due()
    due.replace([made(ABORT)])
    due.write()
    assert (due.due, log.written) == ((), [])


def test_the_state_of_the_judge_comes_back_with_what_is_due() -> None:
    state = JudgeState(summaries_to=7, judge=b"\x00record", since=2, due=(made(DECISION), made(ABORT)))
    value = encode_judge_state(state)
    read = JudgeStateReader().read(value)
    assert (read.summaries_to, read.judge, read.since) == (7, b"\x00record", 2)
    assert [replace(each, payload="{}") for each in read.due] == list(state.due)
    assert encode_judge_state(read) == value


@pytest.mark.parametrize(
    "broken",
    [
        lambda _: b"",
        lambda _: b"{}",
        lambda value: value[:-1],
        lambda value: value + b"\x00",
        lambda value: b"\xc3\x01" + b"\x07" * 8 + value[10:],
        lambda value: value[:10] + b"\x02\x01\x02\x02x\x00\x00",  # what is due is no command
    ],
)
def test_a_damaged_or_unknown_state_is_an_error_that_can_be_told(broken: Callable[[bytes], bytes]) -> None:
    with pytest.raises(DataError):
        JudgeStateReader().read(broken(encode_judge_state(JudgeState(7, b"abc", due=(made(ABORT),)))))


def test_the_state_at_a_revision_is_the_newest_that_is_not_newer(state: State) -> None:
    history = StateHistory()
    history.add(replace(state, revision=3))
    history.add(replace(state, revision=3, phase=Phase.PAUSED))
    history.add(replace(state, revision=9, phase=Phase.PAUSED))
    phases = [history.at(revision).phase for revision in (-1, 2, 3, 8, 9, 2**62)]
    begun = [Phase.PROGRESSING] * 2
    assert phases == [Phase.EMPTY, Phase.EMPTY, *begun, Phase.PAUSED, Phase.PAUSED]
