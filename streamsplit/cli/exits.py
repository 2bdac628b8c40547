"""Exit codes, and errors as sentences: 0 done, 1 the answer is no, 2 wrong use."""

import sys
from typing import Any, NoReturn

import typer
from typer.core import TyperGroup

from streamsplit.cli.console import say
from streamsplit.core.errors import StreamSplitError, UsageError

DONE = 0
NO = 1
WRONG_USE = 2
INTERRUPTED = 130


class Guarded(TyperGroup):
    """Turns the project's errors into a sentence on stderr and an exit code; a traceback means a bug."""

    def invoke(self, ctx: Any) -> Any:
        """Run the verb."""
        try:
            return super().invoke(ctx)
        except UsageError as error:
            refuse(str(error), WRONG_USE)
        except StreamSplitError as error:
            refuse(str(error), NO)
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:
            # The reader of our output (`head`, a pager) has seen enough; nothing may be flushed to it at exit.
            sys.stdout = None  # Python's own convention for a stream that is gone
            raise typer.Exit(DONE) from None


def refuse(sentence: str, code: int = NO) -> NoReturn:
    """Ends the verb with a sentence on stderr.

    Raises:
        typer.Exit: Always.
    """
    say(sentence)
    raise typer.Exit(code)
