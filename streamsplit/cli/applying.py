"""A rollout file on its way to the control log: read, checked, its models pinned."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from streamsplit.cli.lint_file import locate, read_rollout_file
from streamsplit.cli.linting import sentences
from streamsplit.core.commands import Refusal
from streamsplit.core.errors import UsageError
from streamsplit.core.fold_apply import preview
from streamsplit.core.rollout import Rollout, State
from streamsplit.core.rollout_file import check, parse
from streamsplit.inference.repository import Repository


@dataclass(frozen=True, slots=True)
class Application:
    """A file that may be applied.

    Attributes:
        spec: What it says.
        models: `name@version` → sha256 of the ONNX file here.
        rollout: What it means.
    """

    spec: Mapping[str, object]
    models: Mapping[str, str]
    rollout: Rollout

    @classmethod
    def read(cls, file: Path, models: Path) -> Self:
        """Read a file and pin its models.

        Args:
            file: The rollout file.
            models: The models folder.

        Raises:
            UsageError: The file is wrong, or a model is missing or refused.
        """
        text = read_rollout_file(file)
        if text.problems:
            raise UsageError("\n".join(sentences(file, text.problems)))
        if wrong := check(text.spec):
            raise UsageError("\n".join(sentences(file, locate(wrong, text))))
        assert isinstance(text.spec, dict)
        repository = Repository(models)
        pins = {label: repository.pin(label).sha256 for label in _labels(text.spec)}
        rollout = parse(text.spec, pins)
        if not isinstance(rollout, Rollout):
            raise UsageError("\n".join(sentences(file, locate(rollout, text))))
        return cls(text.spec, pins, rollout)

    @property
    def name(self) -> str:
        """The rollout's name."""
        return self.rollout.name

    def payload(self, *, retry: bool) -> dict[str, object]:
        """The payload of the apply."""
        return {"spec": self.spec, "models": self.models, **({"retry": True} if retry else {})}

    def preview(self, state: State, *, retry: bool) -> Refusal | None:
        """What an apply would come to now; None where it is accepted."""
        return preview(state, self.rollout, retry=retry)


def _labels(spec: Mapping[str, object]) -> Iterator[str]:
    arms = spec["arms"]
    assert isinstance(arms, dict)
    for chain in arms.values():
        yield from [chain] if isinstance(chain, str) else chain
