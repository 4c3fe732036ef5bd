"""One line per request at DEBUG, one per retry at WARNING; never the key, never a body."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import Optional

__all__ = ["logger", "set_up_from"]

logger = logging.getLogger("flowmaestro")
logger.addHandler(logging.NullHandler())


def set_up_from(environ: Mapping[str, str] = os.environ) -> None:
    """Send the log to stderr if ``FLOWMAESTRO_LOG`` names a level, as in ``debug``.

    Raises:
        ValueError: It names something else.
    """
    level = environ.get("FLOWMAESTRO_LOG", "").strip().upper()
    if not level:
        return
    if level not in ("DEBUG", "INFO", "WARNING", "ERROR"):
        raise ValueError(
            f"FLOWMAESTRO_LOG must be debug, info, warning or error, not {level.lower()!r}"
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
