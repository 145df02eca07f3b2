"""The one exception that is meant for the person at the command line."""


class InputError(ValueError):
    """Something that the user gave cannot be used.

    The message says what came, what was expected and what to do. Command lines print it on one
    line and exit with status 2; anything else that escapes is a fault of this program.
    """
