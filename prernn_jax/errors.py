"""The exceptions whose messages are meant for the person at the command line."""


class InputError(ValueError):
    """Something that the user gave cannot be used.

    The message says what came, what was expected and what to do. Command lines print it on one
    line and exit with status 2; anything else that escapes is a fault of this program.
    """


class RunStopped(Exception):
    """A run ended before its last step, in order; the message is for the person.

    Attributes:
        status: The exit status of the program.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status
