"""Which arm a request is assigned to: a pure function of its unit, its attributes and the state.

    hash          = xxh64(salt + ":" + unit, seed 0)
    bucket        = hash % 10000
    mirror bucket = hash / 10000 % 10000

Candidates own ranges of buckets in file order from bucket 0, control owns the rest. What control answers is mirrored to
each candidate whose share is above the mirror bucket. docs/routing.md has test vectors, so that a producer in any
language can predict both.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import xxhash
from numpy.typing import NDArray

from streamsplit.core.byte_strings import ByteStrings
from streamsplit.core.records import CONTROL, RequestColumns, Routing
from streamsplit.core.rollout import BUDGET_SECONDS, WHOLE, Mirror, Rule, State, Unit, UnitKind
from streamsplit.core.stays import exposed_below

NO_BUCKET = -1
"""Bucket of a request without a unit."""

DEFAULT_RULE = -1
"""Rule of a request on the default route."""

_OTHER = 0
"""Code of attribute values that no rule names, and of missing ones."""


@dataclass(frozen=True, slots=True)
class RuleColumn:
    """The part of the rules that looks at one attribute.

    Attributes:
        attribute: Its name.
        codes: Value in UTF-8 → code from 1; every other value has code 0.
        accepted: bool (rules, codes + 1): whether a rule accepts a code; True throughout where it does not look here.
    """

    attribute: str
    codes: Mapping[bytes | None, int]
    accepted: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class RoutingTable:
    """A state, compiled for routing. One table serves a whole batch.

    Attributes:
        revision: The state's revision.
        arms: Names of the arms, control first: the meaning of `Routing.arms`.
        prefix: What is hashed before the unit: salt and colon.
        unit: Who is split.
        attributes: Names of the attributes that `RequestColumns` must have: those of the rules, and the unit's.
        columns: The rules, by attribute; empty while no candidate may answer.
        owners: int8 (rules + 1, 10000): the arm that owns each bucket under each rule; the last row is the default
            route, so that rule -1 finds it.
        mirrors: int16 (rules + 1, candidates): the share of control's requests, in basis points, that is mirrored to
            each candidate under each rule, the default route last; None where nothing is mirrored.
        budget_seconds: What the mirror may delay a batch by: the shortest budget in force.
        stay: Revision that began the present stay; -1 while nothing is split.
        exposed: int16 (rules + 1,): the bucket below which units have met a candidate at an earlier stay, by rule, the
            default route last (`stays.py`).
    """

    revision: int
    arms: tuple[str, ...]
    prefix: bytes
    unit: Unit
    attributes: tuple[str, ...]
    columns: tuple[RuleColumn, ...]
    owners: NDArray[np.int8]
    mirrors: NDArray[np.int16] | None = None
    budget_seconds: float = BUDGET_SECONDS
    stay: int = -1
    exposed: NDArray[np.int16] = field(default_factory=lambda: np.zeros(1, np.int16))

    @classmethod
    def compile(cls, state: State) -> "RoutingTable":
        """Compiles a state. Rules hold only while candidates may answer; else everything goes to control."""
        rollout = state.rollout
        rules = rollout.rules if rollout is not None and state.splitting else ()
        unit = rollout.unit if rollout is not None else Unit(UnitKind.ID)
        columns = tuple(_column(attribute, rules) for attribute in _named(rules))
        wanted = {column.attribute for column in columns} | ({unit.attribute} if unit.attribute else set())
        mirrors = [*(rule.mirror for rule in rules), state.mirror]
        return cls(
            revision=state.revision,
            arms=tuple(arm.name for arm in state.arms),
            prefix=prefix_of(rollout.salt if rollout is not None else ""),
            unit=unit,
            attributes=tuple(sorted(wanted)),
            columns=columns,
            owners=np.stack([_owners(weights) for weights in (*(rule.weights for rule in rules), state.weights)]),
            mirrors=_mirror_shares(mirrors, len(state.arms) - 1),
            budget_seconds=min((each.budget_seconds for each in mirrors if each is not None), default=BUDGET_SECONDS),
            stay=state.stay,
            exposed=np.array([exposed_below(state, rule) for rule in (*range(len(rules)), DEFAULT_RULE)], np.int16),
        )


def prefix_of(salt: str) -> bytes:
    """The bytes that are hashed before a unit."""
    return salt.encode() + b":"


def bucket_of(salt: str, unit: bytes) -> int:
    """The bucket of one unit, 0..9999."""
    return xxhash.xxh64_intdigest(prefix_of(salt) + unit) % WHOLE


def mirror_bucket_of(salt: str, unit: bytes) -> int:
    """The mirror bucket of one unit, 0..9999; it says nothing about the bucket of the same unit."""
    return xxhash.xxh64_intdigest(prefix_of(salt) + unit) // WHOLE % WHOLE


def route(
    table: RoutingTable,
    columns: RequestColumns,
    keys: ByteStrings,
    hashes_of: Callable[[bytes, ByteStrings], NDArray[np.uint64]] | None = None,
) -> Routing:
    """Assigns the requests of a batch to arms.

    Args:
        table: The compiled state.
        columns: m decoded requests, with the columns that `table.attributes` names.
        keys: m record keys, in the order of `columns`.
        hashes_of: What `unit_hashes` does, where something does it quicker.

    Returns:
        The assignment. A request without a unit has bucket -1 and goes to control, whichever rule it matches; a
        missing attribute matches no rule. Only what is assigned to control and has a unit is mirrored.

    Raises:
        KeyError: `columns` was decoded without an attribute that the table needs.
    """
    units = _units(table.unit, columns, keys)
    hashes = (hashes_of or unit_hashes)(table.prefix, units)
    buckets = _digits(hashes, units)
    rules = _match(table, columns)
    arms = assign(table, rules, buckets)
    if table.mirrors is None:
        return Routing(units, buckets, rules, arms)
    return Routing(units, buckets, rules, arms, _mirrored(table.mirrors, rules, arms, _digits(hashes // WHOLE, units)))


def assign(table: RoutingTable, rules: NDArray[np.int16], buckets: NDArray[np.int16]) -> NDArray[np.int8]:
    """The arms of requests whose rule and bucket are known: int8 (m,)."""
    arms: NDArray[np.int8] = table.owners[rules, buckets]
    arms[buckets == NO_BUCKET] = CONTROL
    return arms


def unexposed(table: RoutingTable, routing: Routing) -> NDArray[np.bool_]:
    """Requests whose unit had met no candidate before the present stay: bool (m,); a request without unit is none."""
    found: NDArray[np.bool_] = (routing.buckets >= table.exposed[routing.rules]) & (routing.buckets != NO_BUCKET)
    return found


def _units(unit: Unit, columns: RequestColumns, keys: ByteStrings) -> ByteStrings:
    if unit.kind is UnitKind.ID:
        return columns.ids
    if unit.kind is UnitKind.KEY:
        return keys
    assert unit.attribute is not None
    return columns.attributes[unit.attribute]


def _mirrored(
    shares: NDArray[np.int16], rules: NDArray[np.int16], arms: NDArray[np.int8], buckets: NDArray[np.int16]
) -> Mapping[int, NDArray[np.int64]] | None:
    """Candidate → its mirrored requests, for those that have some; `buckets` are the mirror's."""
    open_to = (arms == CONTROL) & (buckets != NO_BUCKET)
    found = {
        arm: np.flatnonzero(open_to & (buckets < share[rules]))
        for arm, share in enumerate(shares.T, start=1)
        if share.any()
    }
    return {arm: rows for arm, rows in found.items() if len(rows)} or None


def unit_hashes(prefix: bytes, units: ByteStrings) -> NDArray[np.uint64]:
    """The hashes of the units that there are, behind a prefix: uint64 (k,)."""
    digest = xxhash.xxh64_digest
    # One join and one view are cheaper than as many Python integers; digests are big-endian.
    return np.frombuffer(b"".join([digest(prefix + unit) for unit in units if unit is not None]), dtype=">u8")


def _digits(hashes: NDArray[np.uint64], units: ByteStrings) -> NDArray[np.int16]:
    """The last four decimal digits of each hash: int16 (m,); `NO_BUCKET` without a unit."""
    digits = (hashes % WHOLE).astype(np.int16)
    if len(digits) == len(units):
        return digits
    filled = np.full(len(units), NO_BUCKET, dtype=np.int16)
    filled[units.given] = digits
    return filled


def _match(table: RoutingTable, columns: RequestColumns) -> NDArray[np.int16]:
    matched = np.full(len(columns), DEFAULT_RULE, dtype=np.int16)
    if not table.columns:
        return matched
    codes = []
    for column in table.columns:
        code = column.codes.get
        values = columns.attributes[column.attribute]
        codes.append(np.array([code(value, _OTHER) for value in values], dtype=np.intp))
    for rule in reversed(range(len(table.owners) - 1)):  # The first match is written last, and stays.
        matches = table.columns[0].accepted[rule][codes[0]]
        for column, code_column in zip(table.columns[1:], codes[1:], strict=True):
            matches &= column.accepted[rule][code_column]
        matched[matches] = rule
    return matched


def _named(rules: Sequence[Rule]) -> list[str]:
    return sorted({attribute for rule in rules for attribute in rule.when})


def _column(attribute: str, rules: Sequence[Rule]) -> RuleColumn:
    values = sorted({value for rule in rules for value in rule.when.get(attribute, ())})
    codes: dict[bytes | None, int] = {value.encode(): code for code, value in enumerate(values, start=1)}
    accepted = np.ones((len(rules), len(codes) + 1), dtype=np.bool_)
    for index, rule in enumerate(rules):
        if attribute in rule.when:
            accepted[index] = False
            accepted[index, [codes[value.encode()] for value in rule.when[attribute]]] = True
    return RuleColumn(attribute, codes, accepted)


def _mirror_shares(mirrors: Sequence[Mirror | None], candidates: int) -> NDArray[np.int16] | None:
    if not any(mirrors):
        return None
    return np.array([(0,) * candidates if mirror is None else mirror.shares for mirror in mirrors], dtype=np.int16)


def _owners(weights: Sequence[int]) -> NDArray[np.int8]:
    owners = np.full(WHOLE, CONTROL, dtype=np.int8)
    first = 0
    for arm, weight in enumerate(weights, start=1):
        owners[first : first + weight] = arm
        first += weight
    return owners
