# SPDX-License-Identifier: Apache-2.0
"""The package, the documentation and the benchmark."""
