# SPDX-License-Identifier: Apache-2.0
"""Tests with a full disk, which needs the permission to mount a file system."""

import logging
import subprocess

import pytest

from hooks.events.errors import RejectedError
from tests.support.wait import wait_for

from .common import event, ids_in

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


@pytest.fixture
def path(tmp_path):
    """Return the directory of the outbox, in a file system of 3 MiB."""
    mounted = tmp_path / "disk"
    mounted.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=3m", "none", str(mounted)]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"cannot mount a file system: {error}")
    yield mounted / "alpha.ops"
    subprocess.run(["umount", "-l", str(mounted)], check=True)


def fill(file):
    """Use up the space that is left."""
    with pytest.raises(OSError, match="No space"), file.open("wb", 0) as opened:
        while True:
            opened.write(b"x" * 512)


def test_a_full_disk_does_not_delay_deliveries(new, path, receiver, caplog):
    receiver.open.clear()
    outbox = new()
    for n in range(200):
        outbox.put({"id": str(n), "data": "x" * 700})
    fill(path / "other")
    with pytest.raises(Exception, match="full"):
        for _ in range(1000):
            outbox.put({"id": "lost", "data": "x" * 7000})
    receiver.open.set()
    # A pause of a second after each event would take minutes.
    wait_for(lambda: len(set(receiver.ids)) >= 200, "all are delivered", 60)
    assert len(receiver.ids) == len(set(receiver.ids))
    wait_for(lambda: outbox.pending() == 0, "nothing is pending")
    # The events themselves fill the disk, so there is no space to delete them.
    wait_for(lambda: "to free disk space" in caplog.text, "the file is removed")
    outbox.put(event("a"))
    wait_for(lambda: receiver.ids[-1] == "a", "a new event is delivered")
    errors = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    assert len(errors) == 2


def test_a_rejected_event_does_not_block_others_on_a_full_disk(new, path, receiver):
    receiver.open.clear()
    receiver.errors["0"] = RejectedError("never")
    outbox = new()
    for n in range(100):
        outbox.put({"id": str(n), "data": "x" * 700})
    fill(path / "other")
    receiver.open.set()
    wait_for(lambda: len(receiver.ids) == 99, "the others are delivered", 60)
    (path / "other").unlink()
    outbox.put(event("a"))
    wait_for(lambda: ids_in(path) == [], "all are deleted")
    assert ids_in(path, "queue_dead_letters") == ["0"]
    assert (outbox.rejected, outbox.delivered) == (1, 100)
