"""Every type of the API: TypedDicts for requests and answers, string enums."""

from flowmaestro_types import *  # noqa: F403  # pyright: ignore[reportWildcardImportFromLibrary]
from flowmaestro_types import __all__ as __all__
