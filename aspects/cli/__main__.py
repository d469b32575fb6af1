# SPDX-License-Identifier: Apache-2.0
"""Run the command without its entry point: ``python -m aspects.cli``."""

import sys

from aspects.cli import main

sys.exit(main())
