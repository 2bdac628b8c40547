"""What `apply` does: a rollout file meets the present state."""

from collections.abc import Mapping
from dataclasses import replace

from streamsplit.core.commands import Command, Refusal
from streamsplit.core.findings import show
from streamsplit.core.rollout import Chain, Phase, Rollout, State
from streamsplit.core.rollout_file import parse

_KEPT = {Phase.SERVING, Phase.PREPARING, Phase.PROGRESSING, Phase.PAUSED, Phase.PROMOTED}
"""Phases in which the file of the last apply is in force."""


def preview(state: State, rollout: Rollout, *, retry: bool = False) -> Refusal | None:
    """Says what the fold would answer to an apply of a rollout now.

    Args:
        state: The present state.
        rollout: The file to apply.
        retry: Whether one that was rolled back may be tried again.

    Returns:
        None where it would be accepted; else why not, with `unchanged` where the very file is in force already.
    """
    if state.rollout is not None and state.rollout.digest == rollout.digest and state.phase in _KEPT:
        return Refusal("unchanged", unchanged=True)
    if state.phase.active:
        return Refusal(
            f"the rollout {show(state.name)} is active ({state.phase}): abort it first, or apply with `--replace`"
        )
    attempts = state.rolled_back.get(rollout.digest, 0)
    if attempts and not retry:
        return Refusal(
            f"this very file was rolled back (attempt {attempts}): change it, or apply with `--retry` to try it again"
        )
    control = rollout.arms[0].chain
    if len(rollout.arms) > 1 and state.serving and control != state.serving:
        return Refusal(
            f"the file's control is {_pinned(control)}, but what serves today is {_pinned(state.serving)}: "
            "name that as `control`"
        )
    return None


def _pinned(chain: Chain) -> str:
    return " | ".join(f"{model.label} (sha256 {model.sha256[:12]})" for model in chain)


def apply_file(state: State, offset: int, command: Command, payload: Mapping[str, object]) -> State | Refusal:
    """Folds an `apply`: the rollout is Preparing, with control serving as before."""
    models = payload.get("models", {})
    retry = payload.get("retry", False)
    if not isinstance(models, Mapping) or not isinstance(retry, bool):
        return Refusal(
            "the payload of apply is `{spec: FILE, models: {NAME@VERSION: SHA256}}`, and `retry: true` or not"
        )
    rollout = parse(payload.get("spec"), models)
    if not isinstance(rollout, Rollout):
        return Refusal("; ".join(str(finding) for finding in rollout), findings=rollout)
    if command.rollout != rollout.name:
        return Refusal(f"the command means the rollout {show(command.rollout)}, but the file is {show(rollout.name)}")
    refusal = preview(state, rollout, retry=retry)
    if refusal is not None:
        return refusal
    return replace(
        state,
        phase=Phase.PREPARING,
        serving=state.serving or rollout.arms[0].chain,
        previous=(),
        rollout=rollout,
        apply_revision=offset,
        attempt=state.rolled_back.get(rollout.digest, 0) + 1,
        step=-1,
        weights=(0,) * (len(rollout.arms) - 1),
        by_hand=False,
    )
