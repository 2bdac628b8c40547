"""What the documentation says of settings, verbs and files is what there is.

python tests/unit/test_docs.py      writes the table of settings anew
"""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from typer.main import get_command

from streamsplit.cli.main import app
from streamsplit.service.settings import PREFIX, RegistrySettings, Settings

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
PRODUCTION = ROOT / "docs" / "production.md"
BEGIN, END = "<!-- settings: begin -->\n", "<!-- settings: end -->"
SECTIONS = {"registry": RegistrySettings}
"""Sections without a default, whose fields are documented all the same."""

MEANINGS = {
    "registry.url": "Of a schema registry with Confluent's API; without one, records are framed as Avro single "
    "objects.",
    "registry.user": "User, where the registry wants one.",
    "registry.password": "Its password; printed masked.",
}
"""Of the settings whose names say it all in the code."""


def rows(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """A line of the table for each setting, sections spelled out."""
    for name, field in model.model_fields.items():
        section = field.default if isinstance(field.default, BaseModel) else None
        if section is not None:
            yield from rows(type(section), f"{prefix}{name}.")
        elif name in SECTIONS:
            yield from rows(SECTIONS[name], f"{name}.")
        else:
            path = f"{prefix}{name}"
            meaning = (field.description or MEANINGS[path]).replace("<", "&lt;").replace(">", "&gt;")
            variable = PREFIX + path.upper().replace(".", "__")
            yield f"| `{path}` | `{variable}` | {default(field)} | {meaning} |"


def default(field: FieldInfo) -> str:
    """A default as one would write it in the file."""
    if field.is_required():
        return "needed with a registry"
    if field.default_factory is not None:
        return "none" if field.default_factory is dict else "the host's name"
    value = field.default
    if value is None:
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{', '.join(value) if isinstance(value, tuple) else value}`"


def settings_table() -> str:
    lines = ["| setting | variable | default | meaning |", "|---|---|---|---|", *rows(Settings)]
    return "".join(f"{line}\n" for line in lines)


def typed(text: str) -> Iterator[list[str]]:
    """The words of every `streamsplit ...` in code, on one line."""
    for line in re.findall(r"(?:^\$ |^|`)(streamsplit [^`\n#]+)", text, re.MULTILINE):
        yield shlex.split(re.sub(r"[<>&|].*", "", line))[1:]


def test_the_table_of_settings_is_in_step() -> None:
    table = PRODUCTION.read_text("utf-8").partition(BEGIN)[2].partition(END)[0]
    assert table == settings_table(), "run `python tests/unit/test_docs.py`"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_that_a_page_names_exists_with_its_options(page: Path) -> None:
    for words in typed(page.read_text("utf-8")):
        command = get_command(app)
        for word in words:
            if word.startswith("-"):
                known = {
                    option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)
                }
                assert word.partition("=")[0] in known | {"-h", "--help"}, (
                    f"{page.name}: streamsplit {shlex.join(words)}"
                )
            elif (verb := getattr(command, "commands", {}).get(word)) is not None:
                command = verb
            elif hasattr(command, "commands") and command.params and words.index(word) == 0:
                pytest.fail(f"{page.name}: there is no `streamsplit {word}`")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_to_a_file_leads_to_one(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
        if not target.startswith(("http:", "https:")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


if __name__ == "__main__":
    before, _, rest = PRODUCTION.read_text("utf-8").partition(BEGIN)
    PRODUCTION.write_text(before + BEGIN + settings_table() + END + rest.partition(END)[2], "utf-8")
