"""Names of a package that are loaded when they are first used."""

from __future__ import annotations

import sys
from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

__all__ = ["lazy_exports", "lazy_module"]


class _LazyModule:
    """Stands for a module in annotations, and loads it when somebody reads them."""

    def __init__(self, name: str, package: str, is_optional: bool) -> None:
        self._name = name
        self._package = package
        self._is_optional = is_optional

    def __getattr__(self, name: str) -> object:
        try:
            module = import_module(self._name, self._package)
        except ModuleNotFoundError:
            if self._is_optional:
                from typing import Any

                return Any
            raise
        return getattr(module, name)


def lazy_module(name: str, package: str = "", *, is_optional: bool = False) -> object:
    """Give a stand-in for a module that annotations name, and calls need not load.

    Args:
        name: The module, relative to the package where it begins with a dot.
        package: The package.
        is_optional: Whether users may be without it; then its names stand for ``Any``.
    """
    return _LazyModule(name, package, is_optional)


def lazy_exports(
    package: str, homes: dict[str, str], modules: tuple[str, ...] = ()
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Make the ``__getattr__`` and ``__dir__`` of a package.

    Args:
        package: Its ``__name__``.
        homes: For each name, the module that has it.
        modules: Modules of the package that are names of their own.
    """

    def load(name: str) -> object:
        if name in modules:
            return import_module(f".{name}", package)
        home = homes.get(name)
        if home is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(home, package), name)
        setattr(sys.modules[package], name, value)
        return value

    def names() -> list[str]:
        return sorted([*homes, *modules, "__version__"])

    return load, names
