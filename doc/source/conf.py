# SPDX-License-Identifier: Apache-2.0
import pathlib

project = "manila-aspects"
extensions = ["sphinx.ext.autodoc"]
exclude_patterns = []
autodoc_typehints = "description"


def _operations() -> str:
    """Write the table of operations, as the code has it."""
    from aspects.operations import OPERATIONS

    lines = [
        ".. list-table::",
        "   :header-rows: 1",
        "",
        "   * - operation",
        "     - driver methods",
    ]
    for operation, methods in OPERATIONS.items():
        lines.append(f"   * - {operation}")
        lines.append(f"     - {', '.join((operation, *methods))}")
    return "\n".join(lines) + "\n"


pathlib.Path(__file__).with_name("operations.inc").write_text(_operations())
