# SPDX-License-Identifier: Apache-2.0
"""What a hook costs: ``python -m bench``.

=============  =============================================================
module         what it is for
=============  =============================================================
``__main__``   the command: arguments, progress, exit status
``worker``     one process that measures one group of cases
``cases``      the groups, and what is timed in each
``subjects``   the driver and the hooks that everything is measured with
``peers``      the same hooks in other systems
``floor``      the same hooks written by hand
``create``     a real ``create_share`` through Manila's manager
``figures``    from measured values to medians, ratios and checks
``report``     tables
``plot``       the picture
=============  =============================================================

The limits of ``--check`` stand in ``ceilings.ini``.
"""
