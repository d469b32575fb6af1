# SPDX-License-Identifier: Apache-2.0
"""Helpers of the tests of the webhook hook."""

import base64

import pytest

import aspects
from aspects.testing import FakeDriver

SECRET, NEW_SECRET, OTHER_SECRET = (
    f"whsec_{base64.b64encode(text.encode() * 4).decode()}"
    for text in ("AAA-1st", "AAA-2nd", "AAA-3rd")
)


def problem_of(file, options):
    """Return the only problem of a configuration."""
    section = aspects.BackendSection(file(options).conf, "alpha")
    with pytest.raises(aspects.HookConfigError) as caught:
        aspects.weave_from_config(FakeDriver(), section, "node1@alpha")
    (found,) = caught.value.problems
    return found
