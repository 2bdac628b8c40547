"""Histograms that merge by addition."""

from collections.abc import Mapping
from types import MappingProxyType

_NOTHING: Mapping[int, int] = MappingProxyType({})


def nothing() -> Mapping[int, int]:
    """The empty one."""
    return _NOTHING


def merged(one: Mapping[int, int], other: Mapping[int, int]) -> Mapping[int, int]:
    """Number → count, of both; neither is changed."""
    if not one or not other:
        return one or other
    both = dict(one)
    known = both.get
    for number, count in other.items():
        both[number] = known(number, 0) + count
    return both
