# SPDX-License-Identifier: Apache-2.0
import importlib.metadata
import pathlib

project = "manila-aspects"
release = version = importlib.metadata.version(project)

extensions = [
    "openstackdocstheme",
    "oslo_config.sphinxext",
    "reno.sphinxext",
    "sphinx.ext.autodoc",
]
autodoc_typehints = "description"
autodoc_member_order = "bysource"

html_theme = "openstackdocs"
html_theme_options = {
    # By default readers are counted, for docs.openstack.org.
    "analytics_tracking_code": "",
    "root_title": project,
    "sidebar_search": True,
}
html_static_path = ["_static"]
# It has the license: the theme's own is that of OpenStack's documentation.
templates_path = ["_templates"]
# It would ask pbr, which this project does without.
openstackdocs_auto_name = False
openstackdocs_auto_version = False


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
