# SPDX-License-Identifier: Apache-2.0
"""``python -m aspects.cli``: the command without its entry point."""

import sys

from aspects.cli import main

sys.exit(main())
