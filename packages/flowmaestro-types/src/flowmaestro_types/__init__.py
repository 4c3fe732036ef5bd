"""Every type of the FlowMaestro API: TypedDicts for requests and answers, string enums.

They are loaded when one of them is first used: a program that only makes calls needs none.
"""

from importlib import import_module as _import_module

# False, in a form that editors do not take for code which is never reached.
TYPE_CHECKING = bool()  # noqa: UP018
if TYPE_CHECKING:
    from .exports import *  # noqa: F403
    from .exports import __all__ as __all__
del TYPE_CHECKING

__version__ = "1.0.0"


def __getattr__(name: str) -> object:
    # Python asks for __path__ and the like as well, which is no reason to load everything.
    if name == "__all__" or not name.startswith("__"):
        exports = _import_module(".exports", __name__)
        if name == "__all__" or name in exports.__all__:
            value: object = getattr(exports, name)
            globals()[name] = value
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*_import_module(".exports", __name__).__all__, "__version__"])
