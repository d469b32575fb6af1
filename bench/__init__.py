# SPDX-License-Identifier: Apache-2.0
"""Measure the cost of hooks: ``python -m bench``.

=============  =============================================================
module         contents
=============  =============================================================
``__main__``   the command: arguments, progress, exit status
``worker``     one process that measures one group of cases
``cases``      the timed statements, in groups
``subjects``   the driver and the hooks of all cases
``peers``      the same hooks in other systems
``floor``      the same hooks written by hand
``create``     a real ``create_share`` through Manila's manager
``figures``    medians, ratios and checks of measured values
``report``     tables
``plot``       the picture
``page``       the figures in the documentation: ``python -m bench.page``
``outbox``     durable delivery: ``python -m bench.outbox``
=============  =============================================================

The limits of ``--check`` are in ``ceilings.ini``.
"""
