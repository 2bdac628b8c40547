"""The model processes that a worker keeps warm for a state: its arms', and the one an abort would return to."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from streamsplit.core.records import CONTROL, Signature
from streamsplit.core.rollout import Chain, State, chain_label
from streamsplit.core.status import ArmStatus
from streamsplit.inference.arm import Arm, ArmOptions
from streamsplit.inference.breakers import Breakers
from streamsplit.inference.repository import Repository


@dataclass(frozen=True, slots=True)
class _Wanted:
    """An arm that a state needs; `name` is None where any process with the chain will do."""

    name: str | None
    chain: Chain


class WarmArms:
    """Starts and stops arms as the state demands.

    Two threads meet here: one follows the control log and calls `follow`; the other serves batches, calls `of` for each
    and `release` between them. An arm that is no longer wanted is stopped by `release`, when no batch is at it.

    Args:
        repository: Where models are read.
        options: How model processes run; a candidate's memory limit is added to them.
    """

    def __init__(self, repository: Repository, options: ArmOptions) -> None:
        self._repository = repository
        self._options = options
        self._lock = threading.Lock()
        self._arms: tuple[Arm, ...] = ()
        self._retired: list[Arm] = []
        self._revision = -1
        self._closed = False

    def follow(self, state: State) -> None:
        """Start what the state needs, retire what it does not; to be called again until nothing is unprepared.

        A candidate is started once control's signature is known, which it has to equal.
        """
        wanted = _wanted(state)
        with self._lock:
            if self._closed or state.revision < self._revision:
                return  # a state that another thread has overtaken
            self._revision = state.revision
            found = _match(self._arms, wanted)
            kept = [arm for arm in found if arm is not None]
            expected = self._signature_of_control(state)
            started = [
                self._make(want, state, expected)
                for want, arm in zip(wanted, found, strict=True)
                if arm is None and (want.name is None or expected is not None)
            ]
            self._retired += [arm for arm in self._arms if arm not in kept]
            self._arms = (*kept, *started)
        for arm in started:
            arm.start()

    def _signature_of_control(self, state: State) -> Signature | None:
        (control,) = _match(self._arms, [_Wanted(None, state.serving)])
        return control.status.signature if control is not None else None

    def _make(self, want: _Wanted, state: State, expected: Signature | None) -> Arm:
        name = want.name or "control"
        limits = state.rollout.limits if state.rollout and name != "control" else None
        options = ArmOptions(
            providers=self._options.providers,
            threads=self._options.threads,
            memory_bytes=limits.memory_bytes if limits else None,
            run_rows=limits.run_rows if limits else self._options.run_rows,
        )
        return Arm(name, want.chain, self._repository, options, expected if want.name is not None else None)

    def of(self, state: State) -> tuple[Arm | None, ...]:
        """The arms of a state by index; None where this worker has none (yet)."""
        candidates = (_Wanted(arm.name, arm.chain) for arm in state.arms[CONTROL + 1 :])
        return _match(self._arms, [_Wanted(None, state.serving), *candidates])

    def release(self) -> None:
        """Stop what was retired; called by the serving thread while no batch is at the arms."""
        with self._lock:
            retired, self._retired = self._retired, []
        for arm in retired:
            arm.stop()

    def close(self) -> None:
        """Stop everything."""
        with self._lock:
            self._closed = True
            self._retired += self._arms
            self._arms = ()
        self.release()

    def report(self, state: State, breakers: Breakers) -> tuple[ArmStatus, ...]:
        """How the wanted arms are, control first."""
        open_arms: Mapping[str, str] = breakers.open if breakers.rollout == state.apply_revision else {}
        candidates = [arm.name for arm in state.arms[CONTROL + 1 :]]
        names = ["control", *candidates] if state.serving else []
        rows = list(zip(names, self.of(state), strict=False))
        others = [arm for arm in self._arms if all(arm is not mine for _, mine in rows)]
        rows += [("previous" if arm.chain == state.previous else "next", arm) for arm in others]
        return tuple(_report(name, arm, open_arms.get(name, "")) for name, arm in rows if arm is not None)

    def unprepared(self, state: State) -> tuple[str, ...]:
        """Why not every chain of the state is loaded and warm; empty when it is."""
        cold = [
            f"{arm.name} ({arm.label}) is {arm.status.phase}: {arm.status.reason}"
            for arm in self._arms
            if not arm.status.ready
        ]
        wanted = _wanted(state)
        missing = [want for want, arm in zip(wanted, _match(self._arms, wanted), strict=True) if arm is None]
        return (*cold, *(f"{want.name or 'control'} ({chain_label(want.chain)}) waits for control" for want in missing))


def _wanted(state: State) -> Sequence[_Wanted]:
    candidates = {arm.chain: arm.name for arm in state.arms[CONTROL + 1 :]}
    chains = dict.fromkeys(state.warm)
    chains.pop(state.serving, None)
    wanted = [_Wanted(None, state.serving)] if state.serving else []
    wanted += [_Wanted(candidates.get(chain), chain) for chain in chains]
    same = [_Wanted(arm.name, arm.chain) for arm in state.arms[CONTROL + 1 :]]
    return [*wanted, *(each for each in same if each not in wanted)]


def _match(arms: Sequence[Arm], wanted: Sequence[_Wanted]) -> tuple[Arm | None, ...]:
    """For each want the arm that fulfils it, none of them twice; control is to be the first want.

    A candidate's must bear its name. After a promotion the arm that serves as control still bears a candidate's name;
    a candidate of the same chain needs a process of its own all the same.
    """
    free = list(arms)
    found: list[Arm | None] = []
    for want in wanted:
        arm = next((arm for arm in free if arm.chain == want.chain and want.name in {None, arm.name}), None)
        if arm is not None:
            free.remove(arm)
        found.append(arm)
    return tuple(found)


def _report(name: str, arm: Arm, breaker: str) -> ArmStatus:
    status = arm.status
    reason = f"breaker open: {breaker}" if breaker else status.reason
    return ArmStatus(name, arm.label, status.phase.value, reason, status.restarts, status.pid, bool(breaker))
