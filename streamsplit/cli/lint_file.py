"""A rollout file as text: read with the line of everything in it, and judged without models or broker."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode

from streamsplit.core import findings
from streamsplit.core.errors import UsageError
from streamsplit.core.findings import Finding
from streamsplit.core.judging.risk import Risk, planned
from streamsplit.core.probe_forecast import ProbeForecast, forecast_probes
from streamsplit.core.rollout import Rollout
from streamsplit.core.rollout_concerns import concerns
from streamsplit.core.rollout_file import notes, parse
from streamsplit.core.rollout_forecast import StepForecast, forecast

LARGEST_BYTES = 1_000_000
"""A file goes into one record of the control topic."""

_MOST_NODES = 100_000


@dataclass(frozen=True, slots=True)
class Located:
    """A finding with its line.

    Attributes:
        line: From 1.
        field: The path as a person writes it; empty for the whole file.
        message: What is wrong.
        expected: What would be right, or the cure; empty where the message says it.
        nearest: The valid word that was probably meant; None where there is none.
        note: True where the file is valid all the same.
    """

    line: int
    field: str
    message: str
    expected: str = ""
    nearest: str | None = None
    note: bool = False


@dataclass(frozen=True, slots=True)
class Linted:
    """What is said about a rollout file.

    Attributes:
        findings: What is wrong with it, or notes on a valid one; in the order of lines.
        rollout: What it means; None where something is wrong.
        steps: What its steps are expected to take.
        probes: What they wait for besides; None where it is nothing.
        risk: How often the judge is wrong about a healthy candidate; None where it judges none.
    """

    findings: tuple[Located, ...]
    rollout: Rollout | None = None
    steps: tuple[StepForecast, ...] = ()
    probes: ProbeForecast | None = None
    risk: Risk | None = None


@dataclass(frozen=True, slots=True)
class RolloutText:
    """A rollout file as it was read.

    Attributes:
        spec: What the YAML says; meaningless where `problems` is not empty.
        lines: Path → line, from 1, of every key and list entry.
        problems: What keeps the text from being read: YAML errors and keys that are given twice.
    """

    spec: object
    lines: Mapping[findings.Path, int]
    problems: tuple[Located, ...]


def read_rollout_file(path: Path) -> RolloutText:
    """Reads a rollout file.

    Raises:
        UsageError: It cannot be read, is no UTF-8, or is too large; the message names the cure.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise UsageError(f"cannot read {path}: {reason}; expected the path of a rollout file") from error
    if len(content) > LARGEST_BYTES:
        raise UsageError(f"{path} has {len(content)} bytes: a rollout file has at most {LARGEST_BYTES}")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UsageError(f"{path}, line {line}: this is no UTF-8; save the file as UTF-8") from error
    return _read(text)


def lint(path: Path, rate: float | None = None) -> Linted:
    """Everything that is wrong with a file by itself, or what its writer should know of it, in the order of lines.

    Args:
        path: The file.
        rate: Requests a second that follow the steps; None where it is not known.

    Raises:
        UsageError: The file cannot be read.
    """
    text = read_rollout_file(path)
    if text.problems:
        return Linted(text.problems)
    rollout = parse(text.spec, None)
    if not isinstance(rollout, Rollout):
        return Linted(locate(rollout, text))
    assert isinstance(text.spec, dict)
    steps = forecast(rollout, rate)
    told = (*notes(text.spec), *concerns(rollout, steps, rate))
    probes = forecast_probes(rollout, steps, rate)
    return Linted(locate(told, text, note=True), rollout, steps, probes, planned(rollout) if steps else None)


def locate(found: Iterable[Finding], text: RolloutText, *, note: bool = False) -> tuple[Located, ...]:
    """Gives findings their lines: that of the field, or of the nearest field around it that is there."""
    located = [
        Located(
            _line(finding.path, text.lines), finding.field, finding.message, finding.expected, finding.nearest, note
        )
        for finding in found
    ]
    return tuple(sorted(located, key=lambda finding: finding.line))


def _line(path: findings.Path, lines: Mapping[findings.Path, int]) -> int:
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path, 1)


def _read(text: str) -> RolloutText:
    yaml = YAML(typ="safe", pure=True)
    try:
        constructor, _parser = yaml.get_constructor_parser(text)
        node = constructor.composer.get_single_node()
        reading = _Reading(constructor)
        spec = None if node is None else reading.value(node, ())
    except YAMLError as error:
        return RolloutText(None, {}, (_syntax(error),))
    except RecursionError:
        return RolloutText(None, {}, (Located(1, "", "the file is nested too deeply"),))
    return RolloutText(spec, reading.lines, tuple(reading.problems))


def _syntax(error: YAMLError) -> Located:
    mark = problem = None
    if isinstance(error, MarkedYAMLError):
        mark, problem = error.problem_mark or error.context_mark, error.problem
    words = (problem or str(error) or "unreadable").splitlines()[0]
    return Located(mark.line + 1 if mark else 1, "", f"this is no YAML: {words}", "YAML 1.2")


@dataclass(slots=True)
class _Reading:
    """Turns YAML nodes into plain values, noting the line of each path."""

    constructor: Any
    lines: dict[findings.Path, int] = field(default_factory=dict)
    problems: list[Located] = field(default_factory=list)
    around: list[Node] = field(default_factory=list)
    nodes: int = 0

    def value(self, node: Node, path: findings.Path) -> object:
        """The plain value of a node."""
        self.nodes += 1
        line = node.start_mark.line + 1
        self.lines.setdefault(path, line)
        if self.nodes > _MOST_NODES or any(node is outer for outer in self.around):
            if self.nodes <= _MOST_NODES + 1:
                self._problem(line, path, "the file repeats itself without end")
            return None
        if isinstance(node, ScalarNode):
            return self._scalar(node, path)
        self.around.append(node)
        value: object = self._mapping(node, path) if isinstance(node, MappingNode) else self._sequence(node, path)
        self.around.pop()
        return value

    def _scalar(self, node: ScalarNode, path: findings.Path) -> object:
        try:
            return self.constructor.construct_object(node, deep=True)
        except ValueError:  # A number of too many digits, or a date that is none.
            self._problem(node.start_mark.line + 1, path, "this value cannot be read", "text in quotes, perhaps")
            return None

    def _sequence(self, node: Node, path: findings.Path) -> list[object]:
        return [self.value(entry, (*path, index)) for index, entry in enumerate(node.value)]

    def _mapping(self, node: MappingNode, path: findings.Path) -> dict[object, object]:
        entries: dict[object, object] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, ScalarNode):
                self._problem(line, path, "a key is a word", "a word before the colon")
                continue
            key = key_node.value if str(key_node.tag).endswith(":merge") else self._scalar(key_node, path)
            place = (*path, key) if isinstance(key, str | int) else path
            if key in entries:
                self._problem(line, place, f"given twice, first on line {self.lines.get(place, line)}", "one of them")
                continue
            self.lines[place] = line
            entries[key] = self.value(value_node, place)
        return entries

    def _problem(self, line: int, path: findings.Path, message: str, expected: str = "") -> None:
        self.problems.append(Located(line, Finding(path, message).field, message, expected))
