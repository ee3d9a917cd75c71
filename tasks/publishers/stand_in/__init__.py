"""Stand in for Instagram on this machine, in rehearsals and tests: publish to its own memory, and fail on command.

It is stricter than Instagram where that finds mistakes: every commit makes another post, even of the same upload, so
that whatever is sent twice can be seen twice.
"""
