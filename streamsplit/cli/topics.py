"""`topics create|check`: the deployment's topics on the broker."""

from typing import Annotated

import typer

from streamsplit.cli.console import say, show, show_json
from streamsplit.cli.environment import environment
from streamsplit.cli.exits import NO
from streamsplit.cli.options import Format, Output, example
from streamsplit.kafka.topic_check import check_topics
from streamsplit.kafka.topic_creation import create_topics

verbs = typer.Typer()
_topics = typer.Typer(
    help="The deployment's topics.",
    no_args_is_help=True,
    epilog=example("streamsplit topics create --partitions 8", "streamsplit topics check"),
)
verbs.add_typer(_topics, name="topics")


@_topics.command(
    "create", epilog=example("streamsplit topics create", "streamsplit topics create --partitions 8 --replication 3")
)
def create(
    ctx: typer.Context,
    partitions: Annotated[
        int | None, typer.Option("--partitions", "-p", min=1, help="Of requests; as it has where it is there, else 4.")
    ] = None,
    replication: Annotated[
        int | None, typer.Option("--replication", min=1, help="Replicas; the broker's default unless given.")
    ] = None,
    output: Output = Format.TABLE,
) -> None:
    """Make the topics that are missing, and wait until they can be used. Topics that are there stay as they are."""
    here = environment(ctx)
    made = create_topics(here.connection, here.topics, partitions=partitions, replication=replication)
    if output is Format.JSON:
        show_json({"created": list(made)})
    else:
        show(*made)
    say(f"{len(made)} topics made." if made else "All topics are there already.")


@_topics.command("check", epilog=example("streamsplit topics check", "streamsplit topics check -o json"))
def check(ctx: typer.Context, output: Output = Format.TABLE) -> None:
    """Say what is wrong with the topics, and the cure of each. Exit 1 when something is."""
    here = environment(ctx)
    problems = check_topics(here.connection, here.topics, development=here.settings.development)
    if output is Format.JSON:
        rows = [{"topic": problem.topic, "problem": problem.message, "cure": problem.cure} for problem in problems]
        show_json({"ok": not problems, "problems": rows})
    else:
        show(*map(str, problems))
    if problems:
        raise typer.Exit(NO)
    say("All topics are as they should be.")
