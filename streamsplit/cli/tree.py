"""A rollout as a tree: phase, steps, what is set and what the workers really do, side by side."""

from collections.abc import Mapping, Sequence

from rich.text import Text
from rich.tree import Tree

from streamsplit.cli.console import printable
from streamsplit.cli.decision_view import KIND_MARKS, SHORT, mean_log_e
from streamsplit.cli.figures import as_json, of_needed
from streamsplit.core.decision import Decision
from streamsplit.core.quantities import moment_text
from streamsplit.core.rollout import WHOLE, Mirror, Phase, State, Step, chain_label
from streamsplit.core.status import ArmStatus, Status

_MARKS = {
    Phase.EMPTY: ("○", "dim"),
    Phase.SERVING: ("✔", "green"),
    Phase.PREPARING: ("◌", "yellow"),
    Phase.PROGRESSING: ("◑", "cyan"),
    Phase.PAUSED: ("॥", "yellow"),
    Phase.PROMOTED: ("✔", "green"),
    Phase.ROLLED_BACK: ("✖", "red"),
    Phase.FAILED: ("✖", "red"),
}


def actual_shares(statuses: Mapping[str, Status]) -> dict[str, float]:
    """The share of requests each arm was assigned over the last seconds, 0 to 1; empty without traffic."""
    requests = sum(status.rates.get("requests", 0.0) for status in statuses.values())
    if requests <= 0:
        return {}
    arms = {arm for status in statuses.values() for arm in status.rates if arm != "requests"}
    return {arm: sum(status.rates.get(arm, 0.0) for status in statuses.values()) / requests for arm in arms}


def set_shares(state: State) -> dict[str, float]:
    """The share of the default route that each arm is set to, 0 to 1, control first."""
    candidates = dict(zip((arm.name for arm in state.arms[1:]), state.weights, strict=False))
    return {"control": (WHOLE - sum(candidates.values())) / WHOLE} | {
        name: weight / WHOLE for name, weight in candidates.items()
    }


def mirror_shares(state: State) -> dict[str, float]:
    """The share of control's requests on the default route that is mirrored to each candidate, 0 to 1, where there is.

    Empty where the steps mirror nothing.
    """
    shares = state.mirror.shares if state.mirror is not None else ()
    return {arm.name: share / WHOLE for arm, share in zip(state.arms[1:], shares, strict=False) if share}


def rollout_tree(
    deployment: str, state: State, statuses: Mapping[str, Status], decision: Decision | None = None
) -> Tree:
    """The whole picture, as `get` shows it; `decision`: the judge's latest of this rollout."""
    mark, style = _MARKS[state.phase]
    root = Tree(Text(f"{state.name or deployment}  {mark} {state.phase}  revision {state.revision}", style=style))
    if state.attempt > 1:
        root.add(f"attempt {state.attempt}")
    if state.phase is Phase.EMPTY:
        root.add("nothing is applied yet: streamsplit apply -f rollout.yaml")
    else:
        _add_arms(root, state, statuses)
        _add_steps(root, state)
        if decision is not None:
            _add_decision(root, decision)
    _add_workers(root, state, statuses)
    return root


def _add_arms(root: Tree, state: State, statuses: Mapping[str, Status]) -> None:
    branch, actual = root.add("arms"), actual_shares(statuses)
    for arm in state.arms:
        weight = set_shares(state)[arm.name]
        reached = f"{100 * actual.get(arm.name, 0.0):.2f} %" if actual else "no traffic"
        failed = sum(status.failed.get(arm.name, 0.0) for status in statuses.values())
        assigned = sum(status.rates.get(arm.name, 0.0) for status in statuses.values())
        unanswered = (
            f"  control answered {100 * failed / assigned:.1f} % of them"
            if failed and assigned and arm.name != "control"
            else ""
        )
        loaded = [entry for status in statuses.values() for entry in status.arms if entry.name == arm.name]
        ready = sum(entry.phase == "ready" for entry in loaded)
        branch.add(
            f"{arm.name}  {chain_label(arm.chain)}  set {100 * weight:g} %  actual {reached}{unanswered}"
            f"{_mirrored(arm.name, state, statuses)}  ready in {ready} of {len(statuses)} workers"
        )
    if state.previous:
        branch.add(f"kept warm for a rollback  {chain_label(state.previous)}")


def _mirrored(arm: str, state: State, statuses: Mapping[str, Status]) -> str:
    """What is mirrored to a candidate: the share of control's requests that is set, and the rate that is reached."""
    share = mirror_shares(state).get(arm)
    rate = sum(status.mirrored.get(arm, 0.0) for status in statuses.values())
    if share is None and not rate:
        return ""
    missed = sum(status.mirror_failed.get(arm, 0.0) for status in statuses.values())
    of_them = f", {100 * missed / rate:.1f} % of them not in time and well" if missed and rate else ""
    return f"  mirrored {100 * (share or 0.0):g} % of control's, actual {rate:.0f}/s{of_them}"


def _add_steps(root: Tree, state: State) -> None:
    if state.rollout is None or not state.phase.active:
        return
    branch = root.add("steps")
    for index, step in enumerate(state.rollout.steps):
        here = index == state.step
        branch.add(
            Text(f"{'▶' if here else '✔' if index < state.step else '·'} {_step(step, state)}", "bold" if here else "")
        )
    if state.by_hand:
        branch.add(f"weights set by hand: {weights_text(state)}")


def _step(step: Step, state: State) -> str:
    if step.pause:
        return "pause, until `streamsplit promote`"
    assert state.rollout is not None
    names = [arm.name for arm in state.rollout.arms[1:]]
    return " ".join([_points_text(names, step.weights), *_mirror_text(names, step.mirror)])


def weights_text(state: State) -> str:
    """The weights on the default route as people write them, and what is mirrored: `canary=25 mirror canary=20`."""
    names = [arm.name for arm in state.arms[1:]]
    return " ".join([_points_text(names, state.weights), *_mirror_text(names, state.mirror)])


def _points_text(names: Sequence[str], points: Sequence[int]) -> str:
    return " ".join(f"{name}={share / 100:g}" for name, share in zip(names, points, strict=False))


def _mirror_text(names: Sequence[str], mirror: Mirror | None) -> list[str]:
    if mirror is None:
        return []
    mirrored = [(name, share) for name, share in zip(names, mirror.shares, strict=False) if share]
    return ["mirror", *(f"{name}={share / 100:g}" for name, share in mirrored)]


def _add_decision(root: Tree, decision: Decision) -> None:
    mark, style = KIND_MARKS[decision.kind]
    log_e, needed = mean_log_e(decision)
    mean = f"  mean e-value {of_needed(log_e, needed)} needed" if log_e is not None and needed is not None else ""
    at = moment_text(decision.log_time)
    node = root.add(Text(f"judge  {mark} {decision.kind}  at {at}, revision {decision.revision}{mean}", style))
    if decision.reasons:
        node.add(Text(printable(decision.reasons[0])))
    node.add(Text(f"streamsplit explain {printable(decision.decision_id[:SHORT])}", "dim"))


def _add_workers(root: Tree, state: State, statuses: Mapping[str, Status]) -> None:
    branch = root.add("workers" if statuses else "workers: none has reported within the last 5 s")
    for slot, status in sorted(statuses.items()):
        behind = "" if status.revision >= state.revision else f", still at revision {status.revision}"
        requests = status.rates.get("requests", 0.0)
        node = branch.add(
            Text(
                f"{slot}  {'ready' if status.ready else 'not ready'}{behind}  "
                f"{len(status.reading)} partitions  lag {total_lag(status)}  {requests:.0f}/s",
                style="" if status.ready and not behind else "yellow",
            )
        )
        for reason in status.reasons:
            node.add(reason)
        for entry in status.arms:
            if entry.phase != "ready" and not any(reason.startswith(entry.name) for reason in status.reasons):
                node.add(_trouble(entry))


def total_lag(status: Status) -> str:
    """Records behind the ends, over all partitions; `?` when not known of one."""
    return "?" if any(lag < 0 for lag in status.lag.values()) else str(sum(status.lag.values()))


def _trouble(entry: ArmStatus) -> str:
    reason = f": {entry.reason}" if entry.reason else ""
    return f"{entry.name} ({entry.model}) is {entry.phase}{reason}"


def _plain_step(step: Step) -> dict[str, object]:
    if step.pause:
        return {"pause": True}
    mirror = step.mirror.shares if step.mirror is not None else (0,) * len(step.weights)
    return {"weights": [weight / 100 for weight in step.weights], "mirror": [share / 100 for share in mirror]}


def _plain_decision(decision: Decision) -> dict[str, object]:
    log_e, needed = mean_log_e(decision)
    return {
        "decision_id": decision.decision_id,
        "kind": str(decision.kind),
        "revision": decision.revision,
        "time": moment_text(decision.log_time),
        "reasons": list(decision.reasons),
        "log_e": as_json(log_e),
        "log_needed": as_json(needed),
    }


def picture(
    deployment: str, state: State, statuses: Mapping[str, Status], decision: Decision | None = None
) -> dict[str, object]:
    """The same as plain values."""
    actual = actual_shares(statuses)
    steps = state.rollout.steps if state.rollout is not None and state.phase.active else ()
    return {
        "deployment": deployment,
        "rollout": state.name or None,
        "phase": str(state.phase),
        "revision": state.revision,
        "attempt": state.attempt,
        "arms": [
            {
                "name": arm.name,
                "model": chain_label(arm.chain),
                "set": round(100 * set_shares(state)[arm.name], 2),
                "actual": round(100 * actual.get(arm.name, 0.0), 2) if actual else None,
                "mirror": round(100 * mirror_shares(state).get(arm.name, 0.0), 2),
                "mirrored": round(sum(status.mirrored.get(arm.name, 0.0) for status in statuses.values()), 1),
            }
            for arm in state.arms
            if arm.chain
        ],
        "previous": chain_label(state.previous) if state.previous else None,
        "step": state.step,
        "by_hand": state.by_hand,
        "budget_ms": round(1000 * state.mirror.budget_seconds, 3) if state.mirror is not None else None,
        "steps": [_plain_step(step) for step in steps],
        "decision": _plain_decision(decision) if decision is not None else None,
        "workers": [status.to_dict() for _, status in sorted(statuses.items())],
    }
