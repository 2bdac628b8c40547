"""One word for a whole state: two workers at one revision with different words disagree about the log."""

import hashlib

from streamsplit.core.rollout import Chain, State
from streamsplit.core.rollout_file import canonical_json


def state_digest(state: State) -> str:
    """Hashes everything that the fold decides by.

    Its time grows with the number of commands in the log: take it when the state changes, not at every look.

    Returns:
        sha256 of the state's canonical JSON, in hex.
    """
    rollout = state.rollout
    return hashlib.sha256(
        canonical_json(
            {
                "revision": state.revision,
                "phase": state.phase.value,
                "serving": _chain(state.serving),
                "previous": _chain(state.previous),
                "rollout": rollout.digest if rollout else None,
                "apply_revision": state.apply_revision,
                "attempt": state.attempt,
                "step": state.step,
                "weights": state.weights,
                "by_hand": state.by_hand,
                "stay": state.stay,
                "exposed": state.exposed,
                "rolled_back": dict(state.rolled_back),
                "accepted_losses": {str(partition): to for partition, to in state.accepted_losses.items()},
                "command_ids": sorted(state.command_ids),
                "newer_format": state.newer_format,
            }
        )
    ).hexdigest()


def _chain(chain: Chain) -> list[list[str]]:
    return [[model.name, model.version, model.sha256] for model in chain]
