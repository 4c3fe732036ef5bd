"""The synchronous half, generated from ``_async`` but for ``compat``."""
