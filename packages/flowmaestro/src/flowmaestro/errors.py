"""Every error that the SDK raises, under the path that 0.1.0 had for them."""

from flowmaestro_core.errors import *  # noqa: F403  # pyright: ignore[reportWildcardImportFromLibrary]
from flowmaestro_core.errors import __all__ as __all__
