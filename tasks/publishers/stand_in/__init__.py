"""A stand-in for Instagram on this machine: for rehearsals and tests. It publishes to its own memory, and fails on command.

It is stricter than the real one where that finds mistakes: every commit it gets makes another post, even of the same
upload, so that whatever is sent twice is seen twice.
"""
