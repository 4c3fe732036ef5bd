"""Tools that read annotations find what they name, for everything that is public."""

from __future__ import annotations

import importlib
import inspect
import sys
import typing
from functools import cached_property

import pytest

PACKAGES = [
    "flowmaestro",
    "flowmaestro.client",
    "flowmaestro.errors",
    "flowmaestro.types",
    "flowmaestro.webhooks",
    "flowmaestro_agents",
    "flowmaestro_batch",
    "flowmaestro_core",
    "flowmaestro_executions",
    "flowmaestro_knowledge_bases",
    "flowmaestro_local",
    "flowmaestro_threads",
    "flowmaestro_triggers",
    "flowmaestro_webhooks",
    "flowmaestro_workflows",
]


def callables_of(member):
    """Give what can be called of a member of a class: its methods, and what properties run."""
    if isinstance(member, (staticmethod, classmethod)):
        return [member.__func__]
    if isinstance(member, property):
        return [one for one in (member.fget, member.fset) if one is not None]
    if isinstance(member, cached_property):
        return [member.func]
    return [member] if inspect.isfunction(member) else []


def public():
    """Give every public function, class and method, by its name."""
    found = {}
    for package in PACKAGES:
        module = importlib.import_module(package)
        for name in module.__all__:
            value = getattr(module, name)
            where = f"{package}.{name}"
            if inspect.isfunction(value):
                found[where] = value
            if not inspect.isclass(value):
                continue
            found[where] = value
            for cls in value.__mro__:
                if not cls.__module__.startswith("flowmaestro"):
                    continue
                for attribute, member in vars(cls).items():
                    if attribute == "__init__" or not attribute.startswith("_"):
                        for one in callables_of(member):
                            found[f"{where}.{attribute}"] = one
    return found


PUBLIC = public()


@pytest.mark.parametrize("name", PUBLIC)
def test_the_annotations_of_everything_public_can_be_read(name):
    hints = typing.get_type_hints(PUBLIC[name])
    assert not any(isinstance(hint, str) for hint in hints.values())


@pytest.mark.skipif(sys.version_info < (3, 10), reason="eval_str is new in Python 3.10")
@pytest.mark.parametrize("name", [name for name in PUBLIC if inspect.isfunction(PUBLIC[name])])
def test_the_signature_of_everything_public_can_be_read(name):
    signature = inspect.signature(PUBLIC[name], eval_str=True)
    for parameter in signature.parameters.values():
        assert not isinstance(parameter.annotation, str)
    assert not isinstance(signature.return_annotation, str)
