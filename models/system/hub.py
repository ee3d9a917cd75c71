"""Whether the hub can be reached, found out with one knock: its own client would try for half a minute."""

import urllib.error
import urllib.request
from contextlib import suppress

PATIENCE = 10.0  # seconds


def reachable() -> bool:
    from huggingface_hub import constants
    from huggingface_hub.utils import logging

    logging.set_verbosity_error()  # one sentence is ours to say; its lines on every retry would scroll past it
    if constants.HF_HUB_OFFLINE:
        return False
    knock = urllib.request.Request(constants.ENDPOINT, method="HEAD")
    try:
        with suppress(urllib.error.HTTPError):  # that is an answer too
            urllib.request.urlopen(knock, timeout=PATIENCE).close()
    except (OSError, ValueError):
        return False
    return True
