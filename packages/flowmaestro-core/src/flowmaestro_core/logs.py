"""One line per request at DEBUG, one per retry at WARNING; never the key, never a body."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import Optional

from .config import masked
from .errors import ConfigurationError

__all__ = ["logger", "set_up_from"]

logger = logging.getLogger("flowmaestro")
logger.addHandler(logging.NullHandler())


# What people write for a level, beside a number of the logging module's.
_LEVELS = {
    **dict.fromkeys(("trace", "verbose", "debug", "1", "true", "yes", "on", "all"), logging.DEBUG),
    "info": logging.INFO,
    **dict.fromkeys(("warn", "warning"), logging.WARNING),
    **dict.fromkeys(("err", "error"), logging.ERROR),
    **dict.fromkeys(("critical", "fatal"), logging.CRITICAL),
}
_OFF = ("", "0", "false", "no", "off", "none", "null", "notset", "silent", "quiet")


def set_up_from(environ: Mapping[str, str] = os.environ) -> None:
    """Send the log to stderr if ``FLOWMAESTRO_LOG`` names a level, as in ``debug``.

    Raises:
        ConfigurationError: It names something else.
    """
    given = environ.get("FLOWMAESTRO_LOG", "")
    # The environment holds the key, which no traceback may show.
    del environ
    word = given.strip().lower()
    if word in _OFF:
        return
    level = _LEVELS.get(word)
    if level is None and word.isascii() and word.isdigit() and len(word) <= 3:
        level = int(word)
    if level is None:
        raise ConfigurationError(
            "FLOWMAESTRO_LOG must be debug, info, warning, error, critical or off, "
            f"not {masked(given)!r}"
        )
    logger.setLevel(level)
    if all(isinstance(handler, logging.NullHandler) for handler in logger.handlers):
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(name)s %(levelname)s %(message)s"))
        logger.addHandler(handler)


def log_request(
    method: str,
    path: str,
    status: Optional[int],
    seconds: float,
    attempt: int,
    request_id: Optional[str],
) -> None:
    """Write the line of one request; callers ask ``isEnabledFor`` first, it is a hot path."""
    logger.debug(
        "%s %s -> %s in %.0f ms (attempt %d, request id %s)",
        method,
        path,
        "no answer" if status is None else status,
        seconds * 1000,
        attempt + 1,
        request_id or "-",
    )
