"""The one exception that a user's mistake raises."""


class InputError(Exception):
    """Bad input: a file, key or value that the user can mend.

    The message is one line that names the culprit and the remedy; the command line prints it
    and exits with code 2, without a traceback.
    """
