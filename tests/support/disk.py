# SPDX-License-Identifier: Apache-2.0
"""A small real file system, to fill it."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.programs import not_there


@contextlib.contextmanager
def small_disk(directory: Path, size: str = "256k") -> Iterator[Path]:
    """Mount a tmpfs, or skip the test if that is impossible.

    Without root, the test is skipped, but fails under CI.

    :param directory: the directory to mount it on, which is created
    :param size: its size, as in the mount option
    """
    directory.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(directory)]
    if os.geteuid() != 0:
        not_there("only root can mount a tmpfs: run the tests as root")
    result = subprocess.run(mount, capture_output=True, text=True)
    if result.returncode:
        pytest.skip(f"cannot mount a tmpfs: {result.stderr}")
    try:
        yield directory
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=True)


def fill(disk: Path) -> Path:
    """Fill a disk up to its last byte.

    :return: the file that fills it; remove it to make space
    """
    filler = disk / "filler"
    with open(filler, "ab", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 4096)
    return filler
