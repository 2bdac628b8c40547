"""What is wrong with a file or a payload, as values that name the place, the expectation and the nearest valid word."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeGuard

Path = tuple[str | int, ...]
"""Where in nested mappings and lists: keys and indices from the top."""

_SHOWN = 60
_LONGEST_WORD = 64


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        path: Where.
        message: What is wrong there.
        expected: What would be right, or the cure; empty where the message says it.
        nearest: The valid word that was probably meant; None where there is none.
    """

    path: Path
    message: str
    expected: str = ""
    nearest: str | None = None

    @property
    def field(self) -> str:
        """The path as a person writes it: `steps[1].weight`; empty for the whole."""
        text = ""
        for part in self.path:
            if isinstance(part, int):
                text += f"[{part}]"
            else:
                text += f".{_short(part)}" if text else _short(part)
        return text

    def __str__(self) -> str:
        """One sentence for a person."""
        text = f"{self.field}: {self.message}" if self.path else self.message
        if self.expected:
            text += f"; expected {self.expected}"
        if self.nearest is not None:
            text += f"; did you mean `{self.nearest}`?"
        return text


def nearest(word: str, valid: Iterable[str]) -> str | None:
    """The valid word closest to one that is not valid; None where none is close."""
    close = difflib.get_close_matches(word[:_LONGEST_WORD], list(valid), n=1)
    return close[0] if close else None


def show(value: object) -> str:
    """A value as a message shows it: short, and safe for values of any depth and size."""
    if isinstance(value, str):
        return f"`{_short(value)}`"
    if value is None:
        return "nothing"
    if isinstance(value, bool | float):
        return repr(value).lower()
    if isinstance(value, int):
        return str(value) if value.bit_length() <= _SHOWN else "a very large number"
    kinds = {Mapping: "a mapping", Sequence: "a list"}
    return next((text for kind, text in kinds.items() if isinstance(value, kind)), f"a {type(value).__name__}")


def _short(text: str) -> str:
    cut = text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
    return cut.encode("utf-8", "backslashreplace").decode()


def is_list(value: object) -> TypeGuard[Sequence[object]]:
    """Whether a value is a list as files have them: text and bytes are none."""
    return isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray)


def is_utf8(value: str) -> bool:
    """Whether a text can be written in UTF-8: JSON escapes can make halves of characters that cannot."""
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


class Findings:
    """Collects findings while a value is read, so that all of them are shown at once."""

    def __init__(self) -> None:
        self._found: list[Finding] = []

    def __bool__(self) -> bool:
        return bool(self._found)

    def add(self, path: Path, message: str, expected: str = "", nearest: str | None = None) -> None:
        """Notes one."""
        self._found.append(Finding(path, message, expected, nearest))

    def wrong(self, path: Path, value: object, expected: str) -> None:
        """Notes that a value is not what was expected."""
        self.add(path, f"{show(value)} is not valid here" if value is not None else "nothing is given", expected)

    def mapping(self, value: object, path: Path, known: Sequence[str] | None, expected: str) -> dict[str, object]:
        """Reads a mapping with words as keys.

        Args:
            value: What was given.
            path: Where.
            known: The keys that may occur; None for any.
            expected: What the mapping is, for the message.

        Returns:
            Its entries without the unknown ones; empty where it is no mapping.
        """
        if not isinstance(value, Mapping):
            self.wrong(path, value, expected)
            return {}
        entries: dict[str, object] = {}
        for key, entry in value.items():
            if not isinstance(key, str):
                self.add(path, f"the key {show(key)} is not a word", "a word; put it in quotes")
            elif known is not None and key not in known:
                self.add((*path, key), "unknown field", f"one of {', '.join(known)}", nearest(key, known))
            else:
                entries[key] = entry
        return entries

    def all(self) -> tuple[Finding, ...]:
        """Everything noted, in the order it was met."""
        return tuple(self._found)
