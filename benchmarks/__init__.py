"""Measures the SDK beside raw httpx, the older release and other SDKs: ``nox -s bench``."""
