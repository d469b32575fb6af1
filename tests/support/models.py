# SPDX-License-Identifier: Apache-2.0
"""Models of a database, as far as hooks look at them."""

from types import SimpleNamespace

import pytest


class Model:
    """An object-style model, as a database has: attributes, and to_dict()."""

    def __init__(self, **columns):
        vars(self).update(columns)

    def to_dict(self):
        return dict(vars(self))


class Indexed(Model):
    """A model that can be indexed too, as Manila's can."""

    def __getitem__(self, key):
        return getattr(self, key)


class Unloaded(Model):
    """A model that is no longer attached to its session."""

    def __getattribute__(self, name):
        if not name.startswith("__") and name != "to_dict":
            raise LookupError(f"{name} is not loaded")
        return super().__getattribute__(name)


kinds = pytest.mark.parametrize("kind", [dict, Model, Indexed, SimpleNamespace])
