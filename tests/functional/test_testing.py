# SPDX-License-Identifier: Apache-2.0
"""The fake driver has the methods of Manila's base class for drivers."""

import inspect

from manila.share import driver

from aspects import testing
from aspects.operations import METHODS
from tests.support import releases

#: An optional parameter of the fake driver: drivers of Manila 2024.1 lack it.
OPTIONAL = ("update_access", "update_rules")


def parameters_of(name, function):
    return [
        (
            parameter.name,
            parameter.kind,
            (name, parameter.name) == OPTIONAL or parameter.default,
        )
        for parameter in inspect.signature(function).parameters.values()
    ]


def test_the_fake_driver_has_each_method_that_is_an_operation():
    methods = {name for name in METHODS if hasattr(driver.ShareDriver, name)}
    assert methods <= set(testing.SIGNATURES)


def test_each_method_of_the_fake_driver_has_the_parameters_of_manilas_method():
    for name in testing.SIGNATURES:
        if not hasattr(driver.ShareDriver, name) or (
            name == "update_access" and not releases.HAS_UPDATE_RULES
        ):
            continue  # A later release has it.
        method = getattr(driver.ShareDriver, name)
        # Two methods only call a private method, which drivers override.
        method = getattr(driver.ShareDriver, f"_{name}", method)
        found = parameters_of(name, getattr(testing.FakeDriver, name))
        assert found == parameters_of(name, method), name
