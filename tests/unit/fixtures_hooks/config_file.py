# SPDX-License-Identifier: Apache-2.0
"""A real configuration file, read by a real oslo.config."""

import textwrap

from oslo_config import cfg


class ConfigFile:
    """A file and the options read from it.

    :param path: where to write it
    :param text: what stands in it at first
    """

    def __init__(self, path, text):
        self.path = path
        self.write(text)
        self.conf = cfg.ConfigOpts()
        self.read(self.conf)

    def write(self, text):
        self.path.write_text(textwrap.dedent(text))

    def read(self, conf):
        conf([], default_config_files=[str(self.path)], default_config_dirs=[])

    def mutate(self, text):
        """Rewrite the file and do what SIGHUP does in a service."""
        self.write(text)
        self.conf.mutate_config_files()
