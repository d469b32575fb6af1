# SPDX-License-Identifier: Apache-2.0
"""Tests of ``aspects.manila``, which are skipped without Manila."""
