"""Who may do what, and how often: keys, scopes and rate limits, as the backend has them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Optional

from .answers import Refusal
from .clock import timestamp
from .records import ApiKey

__all__ = ["ALL_SCOPES", "Access"]

PREFIX = "fm_live_"

ALL_SCOPES = frozenset(
    {
        "workflows:read",
        "workflows:execute",
        "executions:read",
        "executions:cancel",
        "agents:read",
        "agents:execute",
        "threads:read",
        "threads:write",
        "triggers:read",
        "triggers:execute",
        "knowledge-bases:read",
        "knowledge-bases:query",
        "webhooks:read",
        "webhooks:write",
    }
)

_MINUTE = 60
_DAY = 86_400


class Access:
    """The keys and their counters."""

    def __init__(self, per_minute: int, per_day: int) -> None:
        self.per_minute = per_minute
        self.per_day = per_day
        self.keys: dict[str, ApiKey] = {}
        # Requests by key and window; a window is named by its number since 1970.
        self._minutes: Counter[tuple[str, int]] = Counter()
        self._days: Counter[tuple[str, int]] = Counter()

    def admit(self, headers: Mapping[str, str]) -> ApiKey:
        """Find the key of a request.

        Raises:
            Refusal: It has none that is good (401).
        """
        value = headers.get("x-api-key")
        authorization = headers.get("authorization", "")
        # As on the backend, "bearer" in lower case is no key.
        if value is None and authorization.startswith("Bearer "):
            value = authorization[7:].strip()
        if not value or not value.startswith(PREFIX):
            raise Refusal(
                401,
                "invalid_api_key",
                "Missing API key. Provide it via X-API-Key header or Authorization: Bearer header.",
            )
        key = self.keys.get(value)
        if key is None:
            if self.keys:
                raise Refusal(401, "invalid_api_key", "API key not found.")
            return ApiKey(value, None, self.per_minute, self.per_day)
        if key.is_revoked:
            raise Refusal(401, "revoked_api_key", "This API key has been revoked.")
        if key.is_expired:
            raise Refusal(
                401, "expired_api_key", "This API key has expired. Please generate a new key."
            )
        return key

    def count(self, key: ApiKey) -> tuple[dict[str, str], Optional[Refusal]]:
        """Count a request.

        Returns:
            The rate-limit headers of its answer, and the refusal (429) if it is one too many.
        """
        moment = timestamp()
        minute, day = int(moment // _MINUTE), int(moment // _DAY)
        self._forget_before(minute, day)
        in_minute = self._minutes[key.value, minute]
        in_day = self._days[key.value, day]
        refusal = None
        if in_day >= key.per_day:
            refusal = _too_many(key.per_day, "day", (day + 1) * _DAY - moment)
        elif in_minute >= key.per_minute:
            refusal = _too_many(key.per_minute, "minute", (minute + 1) * _MINUTE - moment)
        else:
            in_minute = self._minutes[key.value, minute] = in_minute + 1
            in_day = self._days[key.value, day] = in_day + 1
        headers = {
            "x-ratelimit-limit": str(key.per_minute),
            "x-ratelimit-remaining": str(max(key.per_minute - in_minute, 0)),
            "x-ratelimit-reset": str((minute + 1) * _MINUTE),
            "x-ratelimit-limit-day": str(key.per_day),
            "x-ratelimit-remaining-day": str(max(key.per_day - in_day, 0)),
        }
        if refusal is not None:
            headers["retry-after"] = str(refusal.details["retry_after"])
        return headers, refusal

    def _forget_before(self, minute: int, day: int) -> None:
        for counter, window in ((self._minutes, minute), (self._days, day)):
            for name in [name for name in counter if name[1] < window]:
                del counter[name]


def check_scopes(key: ApiKey, required: tuple[str, ...]) -> None:
    """Check that a key may do something.

    Raises:
        Refusal: It may not (403).
    """
    if key.scopes is None:
        return
    missing = [scope for scope in required if scope not in key.scopes]
    if missing:
        raise Refusal(
            403,
            "insufficient_scope",
            f"Missing required scopes: {', '.join(missing)}",
            {
                "required_scopes": list(required),
                "missing_scopes": missing,
                "your_scopes": sorted(key.scopes),
            },
        )


def _too_many(limit: int, window: str, seconds: float) -> Refusal:
    wait = int(seconds) + 1
    return Refusal(
        429,
        "rate_limit_exceeded",
        f"Rate limit exceeded. Please retry after {wait} seconds.",
        {"limit": limit, "window": window, "retry_after": wait},
    )
