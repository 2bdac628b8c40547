"""The state of a deployment as the fold of its control log (docs/design.md section 6).

`apply` is pure and total: everybody who folds the same log comes to the same state and the same refusals.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType

from streamsplit.core.commands import FORMAT, Command, Kind, Malformed, Refusal
from streamsplit.core.findings import Findings, nearest, show
from streamsplit.core.fold_apply import apply_file
from streamsplit.core.ramp import Stop, following, resumed
from streamsplit.core.rollout import Phase, State
from streamsplit.core.stays import entered
from streamsplit.core.weights import read_weights

_PAYLOAD: Mapping[Kind, tuple[str, ...]] = {
    Kind.APPLY: ("spec", "models", "retry"),
    Kind.SET_WEIGHT: ("weights",),
    Kind.PROMOTE: ("arm",),
    Kind.ACCEPT_LOSS: ("partition", "to"),
}


def apply(state: State, offset: int, command: Command | Malformed) -> State | Refusal:
    """Folds one record of the control log into the state.

    Args:
        state: What the log says up to here.
        offset: The record's offset; the revision that it makes if it is accepted.
        command: What the record says.

    Returns:
        The new state; the very same object where the command is a repetition of one that was accepted; or why the
        command changes nothing. Never raises.
    """
    if isinstance(command, Malformed):
        return Refusal(command.reason)
    if command.command_id in state.command_ids:
        return state
    result = _fold(state, offset, command)
    if isinstance(result, Refusal):
        return result
    moved = replace(result, revision=offset, command_ids=state.command_ids | {command.command_id})
    return entered(state, moved)


def next_command(state: State, *, full: bool = False) -> Kind | Refusal:
    """The command that `promote` means now: `begin`, `advance`, or `promote` at the end of the ramp or with `full`.

    With `full` out of Preparing the answer is `begin` first; ask again once it is folded.
    """
    if state.phase is Phase.PREPARING:
        return Kind.BEGIN
    if not state.splitting:
        return Refusal(f"there is nothing to promote in phase {state.phase}")
    return Kind.PROMOTE if full or following(state) is None else Kind.ADVANCE


def _fold(state: State, offset: int, command: Command) -> State | Refusal:
    if command.format > FORMAT:
        return replace(state, newer_format=max(state.newer_format, command.format))
    kind = _kind(command.kind)
    if isinstance(kind, Refusal):
        return kind
    stale = _stale(state, kind, command)
    if stale is not None:
        return stale
    payload = _payload(kind, command.payload)
    return payload if isinstance(payload, Refusal) else _RULES[kind](state, offset, command, payload)


def _kind(word: str) -> Kind | Refusal:
    try:
        return Kind(word)
    except ValueError:
        meant = nearest(word, tuple(Kind))
        hint = f"; did you mean `{meant}`?" if meant else ""
        return Refusal(f"there is no command {show(word)}; expected one of {', '.join(Kind)}{hint}")


def _stale(state: State, kind: Kind, command: Command) -> Refusal | None:
    if kind is not Kind.ACCEPT_LOSS:
        if kind is not Kind.APPLY and command.rollout != state.name:
            present = f"the present one is {show(state.name)}" if state.rollout else "there is none yet"
            return Refusal(f"the command means the rollout {show(command.rollout)}, but {present}")
        if command.apply_revision is not None and command.apply_revision != state.apply_revision:
            return Refusal(
                f"the command means the rollout applied at revision {show(command.apply_revision)}, "
                f"but the present one was applied at {state.apply_revision}"
            )
    expected = command.expected_revision
    if kind is not Kind.ABORT and expected is not None and expected != state.revision:
        return Refusal(
            f"the command expects revision {show(expected)}, but the state is at {state.revision}: "
            "somebody was faster; look at the state and ask again"
        )
    return None


def _payload(kind: Kind, payload: Mapping[str, object] | str) -> Mapping[str, object] | Refusal:
    if kind is Kind.ABORT:  # Nothing that is written beside it may keep an abort from being folded.
        return {}
    given: object = payload
    if isinstance(payload, str):
        try:
            given = json.loads(payload)
        except (ValueError, RecursionError):
            return Refusal(f"the payload of {kind} is no JSON: {show(payload)}")
    found = Findings()
    fields = _PAYLOAD.get(kind, ())
    words = ", ".join(f"`{field}`" for field in fields)
    entries = found.mapping(given, ("payload",), fields, f"an object with {words}" if words else "`{}`")
    return _refused(found) if found else entries


def _refused(found: Findings) -> Refusal:
    return Refusal("; ".join(str(finding) for finding in found.all()), findings=found.all())


def _illegal(state: State, kind: Kind, legal: str) -> Refusal:
    return Refusal(f"{kind} is not legal in phase {state.phase}: it is legal in {legal}")


def _begin(state: State, _offset: int, _command: Command, _payload: Mapping[str, object]) -> State | Refusal:
    if state.phase is not Phase.PREPARING or state.rollout is None:
        return _illegal(state, Kind.BEGIN, "Preparing")
    if len(state.rollout.arms) == 1:
        return replace(state, phase=Phase.SERVING, serving=state.rollout.arms[0].chain, weights=())
    return _arrive(state, Stop.at(state.rollout, 0))


def _arrive(state: State, stop: Stop) -> State:
    phase = Phase.PAUSED if stop.pause else Phase.PROGRESSING
    weights = state.weights if stop.pause else stop.weights
    return replace(state, phase=phase, step=stop.index, weights=weights, by_hand=False)


def _advance(state: State, _offset: int, _command: Command, _payload: Mapping[str, object]) -> State | Refusal:
    if not state.splitting:
        return _illegal(state, Kind.ADVANCE, "Progressing and Paused")
    stop = following(state)
    return _arrive(state, stop) if stop is not None else _at_end(state)


def _at_end(state: State) -> Refusal:
    return Refusal(
        f"no step of {show(state.name)} is left above the present weights: "
        "`promote` makes the candidate the new control"
    )


def _set_weight(state: State, _offset: int, _command: Command, payload: Mapping[str, object]) -> State | Refusal:
    if not state.splitting or state.rollout is None:
        return _illegal(state, Kind.SET_WEIGHT, "Progressing and Paused")
    found = Findings()
    candidates = tuple(arm.name for arm in state.rollout.arms[1:])
    weights = read_weights(found, payload.get("weights"), ("weights",), candidates, unnamed=state.weights)
    if found:
        return _refused(found)
    return replace(state, phase=Phase.PAUSED, weights=weights, by_hand=True)


def _pause(state: State, _offset: int, _command: Command, _payload: Mapping[str, object]) -> State | Refusal:
    if state.phase is not Phase.PROGRESSING:
        return _illegal(state, Kind.PAUSE, "Progressing")
    return replace(state, phase=Phase.PAUSED)


def _resume(state: State, _offset: int, _command: Command, _payload: Mapping[str, object]) -> State | Refusal:
    if state.phase is not Phase.PAUSED:
        return _illegal(state, Kind.RESUME, "Paused")
    stop = resumed(state)
    return _arrive(state, stop) if stop is not None else _at_end(state)


def _promote(state: State, _offset: int, _command: Command, payload: Mapping[str, object]) -> State | Refusal:
    if not state.splitting or state.rollout is None:
        return _illegal(state, Kind.PROMOTE, "Progressing and Paused")
    candidates = state.rollout.arms[1:]
    names = [arm.name for arm in candidates]
    chosen = payload.get("arm")
    if chosen is None:
        weighed = [arm for arm, weight in zip(candidates, state.weights, strict=True) if weight]
        open_to = candidates if len(candidates) == 1 else weighed
    else:
        open_to = [arm for arm in candidates if arm.name == chosen]
    if len(open_to) != 1:
        given = "which candidate to promote is not clear" if chosen is None else f"there is no candidate {show(chosen)}"
        return Refusal(f"{given}: name one of {', '.join(names)} as `arm`")
    return replace(
        state,
        phase=Phase.PROMOTED,
        serving=open_to[0].chain,
        previous=state.serving,
        step=-1,
        weights=(),
        by_hand=False,
    )


def _abort(state: State, _offset: int, _command: Command, _payload: Mapping[str, object]) -> State | Refusal:
    if state.rollout is None or not (state.phase.active or state.phase is Phase.PROMOTED):
        return Refusal(f"there is nothing to abort in phase {state.phase}")
    return replace(
        state,
        phase=Phase.FAILED if state.phase is Phase.PREPARING else Phase.ROLLED_BACK,
        serving=state.previous if state.phase is Phase.PROMOTED else state.serving,
        previous=(),
        step=-1,
        weights=(),
        by_hand=False,
        rolled_back=MappingProxyType({**state.rolled_back, state.rollout.digest: state.attempt}),
    )


def _accept_loss(state: State, _offset: int, _command: Command, payload: Mapping[str, object]) -> State | Refusal:
    partition = _whole(payload.get("partition"), 2**31)
    to = _whole(payload.get("to"), 2**63)
    if partition is None or to is None:
        return Refusal("`accept_loss` needs a partition and an offset, such as `{partition: 3, to: 1200}`")
    accepted = state.accepted_losses.get(partition, 0)
    if to <= accepted:
        return Refusal(f"the loss of partition {partition} is already accepted up to offset {accepted}")
    return replace(state, accepted_losses=MappingProxyType({**state.accepted_losses, partition: to}))


def _whole(value: object, limit: int) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < limit else None


_RULES: Mapping[Kind, Callable[[State, int, Command, Mapping[str, object]], State | Refusal]] = {
    Kind.APPLY: apply_file,
    Kind.BEGIN: _begin,
    Kind.ADVANCE: _advance,
    Kind.SET_WEIGHT: _set_weight,
    Kind.PAUSE: _pause,
    Kind.RESUME: _resume,
    Kind.PROMOTE: _promote,
    Kind.ABORT: _abort,
    Kind.ACCEPT_LOSS: _accept_loss,
}
