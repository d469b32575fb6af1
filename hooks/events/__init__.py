# SPDX-License-Identifier: Apache-2.0
"""Events that several hooks share: their content, their delivery and the outbox."""
