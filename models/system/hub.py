"""Checks with one request whether the hub can be reached: its own client would try for half a minute."""

import urllib.error
import urllib.request
from contextlib import suppress

TIMEOUT_SECONDS = 10.0  # seconds


def is_reachable() -> bool:
    from huggingface_hub import constants
    from huggingface_hub.utils import logging

    logging.set_verbosity_error()  # our one sentence is enough; its client would print a line for every retry
    if constants.HF_HUB_OFFLINE:
        return False
    knock = urllib.request.Request(constants.ENDPOINT, method="HEAD")
    try:
        with suppress(urllib.error.HTTPError):  # an HTTP error is an answer too
            urllib.request.urlopen(knock, timeout=TIMEOUT_SECONDS).close()
    except (OSError, ValueError):
        return False
    return True
