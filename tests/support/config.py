# SPDX-License-Identifier: Apache-2.0
"""A real configuration file, read by a real oslo.config."""

from __future__ import annotations

import contextlib
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from oslo_config import cfg

import aspects


class ConfigFile:
    """A configuration file, and the options read from it.

    :param path: the path of the file
    :param text: the initial content
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
        """Rewrite the file, and reload it as a service does after SIGHUP."""
        self.write(text)
        self.conf.mutate_config_files()


@contextlib.contextmanager
def woven_by(
    text: str,
    directory: Path,
    driver: Any,
    backend: str = "alpha",
    host: str = "node1@alpha",
) -> Iterator[Any]:
    """Weave a driver with the hooks of a ``manila.conf``, and start them.

    :param text: the content of the file
    :param directory: the directory of the file
    :param driver: the driver
    :param backend: the backend section
    :param host: the share service's host
    """
    file = directory / "manila.conf"
    file.write_text(text, "utf-8")
    conf = cfg.ConfigOpts()
    conf(["--config-file", str(file)], project="manila", default_config_dirs=[])
    woven = aspects.weave_from_config(
        driver, aspects.BackendSection(conf, backend), host
    )
    weaving = aspects.weaving(woven)
    weaving.start()
    try:
        yield woven
    finally:
        weaving.stop()
