"""`config show`: the settings that hold, secrets masked."""

import io

import typer
from ruamel.yaml import YAML

from streamsplit.cli.console import show, show_json
from streamsplit.cli.environment import environment
from streamsplit.cli.options import Format, Output, example

verbs = typer.Typer()
_config = typer.Typer(help="The settings that hold.", no_args_is_help=True, epilog=example("streamsplit config show"))
verbs.add_typer(_config, name="config")


@_config.command("show", epilog=example("streamsplit config show", "streamsplit -c prod.yaml config show -o json"))
def show_settings(ctx: typer.Context, output: Output = Format.TABLE) -> None:
    """Print all settings as they hold, from the file, the variables and the defaults; secrets as `***`."""
    settings = environment(ctx).settings.masked()
    if output is Format.JSON:
        show_json(settings)
        return
    text = io.StringIO()
    YAML(typ="safe", pure=True).dump(settings, text)
    show(text.getvalue().rstrip())
