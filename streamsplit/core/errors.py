"""The errors of the project.

    StreamSplitError
    ├── DataError       this record: it becomes a dead letter, the batch goes on
    ├── ServiceError    this process or its surroundings: abort, rewind, restart
    └── UsageError      what a person handed us: shown with its cure, exit code 2

Nothing else is caught broadly.
"""


class StreamSplitError(Exception):
    """Base of all errors that the project raises on purpose."""


class DataError(StreamSplitError):
    """One record cannot be served.

    Attributes:
        stage: Where it left the way of a request (`decode`, `route`, `infer`, `encode`).
        reason: One sentence for a person, without the record's contents beyond 200 characters.
    """

    def __init__(self, stage: str, reason: str) -> None:
        super().__init__(f"{stage}: {reason}")
        self.stage = stage
        self.reason = reason


class ServiceError(StreamSplitError):
    """This process or its surroundings fail; the records are fine and will be served later."""


class UsageError(StreamSplitError):
    """A setting, file or argument is wrong; the message names what was expected and the cure."""
