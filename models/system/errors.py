"""The only exception whose text is meant for the user."""


class UserError(ValueError):
    """A problem that the user can fix. The message is one sentence: what is wrong, where, and what to do.

    The command line prints it and exits; every other exception is a bug in restage and keeps its traceback.
    """
