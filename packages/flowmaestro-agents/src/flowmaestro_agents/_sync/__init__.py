"""The synchronous half, generated from ``_async`` by tools/unasync.py."""
