"""Why a goal is missed where it is, found with a profiler; printed beside the goal."""

REASONS: dict[str, str] = {}
