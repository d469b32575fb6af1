# SPDX-License-Identifier: Apache-2.0
"""Doubles of database models, with the interfaces that hooks use."""

from types import SimpleNamespace

import pytest


class Model:
    """A database model with attributes and to_dict()."""

    def __init__(self, **columns):
        vars(self).update(columns)

    def to_dict(self):
        return dict(vars(self))


class Indexed(Model):
    """A model that can be indexed too, like Manila's."""

    def __getitem__(self, key):
        return getattr(self, key)


class Unloaded(Model):
    """A model that is detached from its session."""

    def __getattribute__(self, name):
        if not name.startswith("__") and name != "to_dict":
            raise LookupError(f"{name} is not loaded")
        return super().__getattribute__(name)


kinds = pytest.mark.parametrize("kind", [dict, Model, Indexed, SimpleNamespace])
