"""The asynchronous half; ``_sync`` is generated from it."""
