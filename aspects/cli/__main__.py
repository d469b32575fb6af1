# SPDX-License-Identifier: Apache-2.0
"""Run ``manila-aspects`` as a module, ``python -m aspects.cli``."""

import sys

from aspects.cli import main

sys.exit(main())
