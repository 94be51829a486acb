"""The one exception that is the user's to mend."""


class InputError(ValueError):
    """Bad input: the message is one line that says what is wrong and what to do. The command line exits with 2."""

    def __init__(self, message: str):
        super().__init__(" ".join(message.splitlines()))  # what is quoted from a file may have several
