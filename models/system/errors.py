"""The one exception whose text is meant for the person at the keyboard."""


class UserError(ValueError):
    """Something the user can mend. The message is one sentence: what is wrong, where, and what to do.

    The command line prints it and exits; every other exception is a bug of ours and keeps its traceback.
    """
