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


@contextlib.contextmanager
def woven_by(
    text: str,
    directory: Path,
    driver: Any,
    backend: str = "alpha",
    host: str = "node1@alpha",
) -> Iterator[Any]:
    """Weave a driver as the text of a ``manila.conf`` says, and start its hooks.

    :param text: the configuration
    :param directory: where to write it
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
    about = aspects.weaving(woven)
    about.start()
    try:
        yield woven
    finally:
        about.stop()
