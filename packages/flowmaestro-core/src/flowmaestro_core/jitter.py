"""The chance in pauses: a number that processes do not share."""

from __future__ import annotations

import random

__all__ = ["chance"]

# From the operating system. Workers that were forked have the same state of Python's own
# generator, and would all come back at the same moment.
chance = random.SystemRandom().random
