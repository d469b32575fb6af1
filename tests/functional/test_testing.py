# SPDX-License-Identifier: Apache-2.0
"""The fake driver has the methods of Manila's own base class of drivers."""

import inspect

from manila.share import driver

from aspects import testing
from aspects.operations import METHODS

#: What the fake driver does not need: drivers of Manila 2024.1 do not have it.
OPTIONAL = ("update_access", "update_rules")


def parameters_of(name, function):
    return [
        (each.name, each.kind, (name, each.name) == OPTIONAL or each.default)
        for each in inspect.signature(function).parameters.values()
    ]


def test_it_has_each_method_that_is_an_operation():
    manilas = {name for name in METHODS if hasattr(driver.ShareDriver, name)}
    assert manilas <= set(testing.SIGNATURES)


def test_each_method_has_the_parameters_of_manilas():
    for name in testing.SIGNATURES:
        manilas = getattr(driver.ShareDriver, name)
        # Drivers have them for what these two only pass on.
        manilas = getattr(driver.ShareDriver, f"_{name}", manilas)
        found = parameters_of(name, getattr(testing.FakeDriver, name))
        assert found == parameters_of(name, manilas), name
