# SPDX-License-Identifier: Apache-2.0
"""Find the line of a hook at which an exception was raised."""

from __future__ import annotations

import contextlib
import inspect
import traceback
from collections.abc import Sequence
from pathlib import Path

import aspects.core
import aspects.hook

#: The code that calls hooks. Its frames are not the hook's.
_OWN = (str(Path(aspects.core.__file__).parent), str(Path(__file__).parent))


def frames_of(error: BaseException) -> list[traceback.FrameSummary]:
    """Return the frames of an exception, without those of the code that calls hooks.

    :param error: the exception, while it is raised
    """
    frames = traceback.extract_tb(error.__traceback__)
    return [frame for frame in frames if not frame.filename.startswith(_OWN)]


def place_in_hook(
    frames: Sequence[traceback.FrameSummary], hook: object, kind: str
) -> str:
    """Return the file and line of a hook at which an exception was raised.

    :param frames: the frames of the exception
    :param hook: the hook
    :param kind: ``pre``, ``post``, ``error`` or ``periodic``
    :returns: the innermost line in a file of the hook's classes; without one, as when
        the method does not accept its arguments, the first line of the method
    """
    files = _files_of(hook)
    for frame in reversed(frames):
        if frame.filename in files:
            return _text(frame.filename, frame.lineno)
    method = inspect.unwrap(getattr(hook, f"_execute_{kind}_hook", lambda: None))
    code = getattr(method, "__code__", None)
    return _text(code.co_filename, code.co_firstlineno) if code else ""


def innermost_place(frames: Sequence[traceback.FrameSummary]) -> str:
    """Return the file and line of the innermost frame.

    :param frames: the frames; may be empty
    """
    return _text(frames[-1].filename, frames[-1].lineno) if frames else ""


def lines_of(frames: Sequence[traceback.FrameSummary]) -> tuple[str, ...]:
    """Return frames as lines, the outermost first.

    :param frames: the frames
    """
    return tuple(
        f"{_text(frame.filename, frame.lineno)} {frame.name}: {frame.line}"
        for frame in frames
    )


def _files_of(hook: object) -> set[str]:
    files = set()
    for cls in type(hook).__mro__:
        with contextlib.suppress(OSError, TypeError):
            files.add(inspect.getfile(cls))
    # The base class runs no code of a hook.
    return files - {aspects.hook.__file__}


def _text(file: str, line: int | None) -> str:
    """Return a file and a line, the file relative to the root of its package."""
    path = root = Path(file)
    while (root.parent / "__init__.py").exists():
        root = root.parent
    return f"{path.relative_to(root.parent)}:{line}"
