# SPDX-License-Identifier: Apache-2.0
"""Parse the configuration like ``manila-share``, or diagnose why that fails."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from oslo_config import cfg
from oslo_log import log

from aspects.cli.check import facts
from aspects.cli.check.diagnostics import Diagnostic, of_problem
from aspects.cli.check.facts import by_name
from aspects.cli.check.files import (
    DIRECTORY,
    Line,
    Source,
    files_of,
    index_of,
    lines_of,
)
from aspects.cli.output import Progress
from aspects.config.problems import COMMENT, Problem


def read(sources: Sequence[Source]) -> tuple[list[Line], list[Diagnostic]]:
    """Read the files.

    :param sources: files and directories, in the order in which they are read
    :return: the lines, and the diagnostics of files that cannot be read
    """
    lines: list[Line] = []
    diagnostics: list[Diagnostic] = []
    for file in files_of(sources):
        data = b""
        number, cause, advice = 0, "", ""
        try:
            data = Path(file).read_bytes()
            lines += lines_of(file, data.decode())
            _parse_syntax(file)
        except UnicodeDecodeError as error:
            number = data[: error.start].count(b"\n") + 1
            cause, advice = "invalid UTF-8", "save the file as UTF-8"
        except cfg.ParseError as error:
            # str(error) would quote the line, which may contain a password. It is None
            # without a section in the oslo.config of Manila 18 to 22.
            number, cause = error.lineno, error.msg
            advice = _ADVICE.get(cause, "")
            if data.startswith("\ufeff".encode()):
                advice = "save the file without a byte order mark"
            elif re.search(r"\]\s*[#;]", error.line or ""):
                advice = COMMENT
        except OSError as error:
            cause = str(error.strerror)
        if cause:
            diagnostics.append(
                Diagnostic("", "", "", cause, advice, False, file, number)
            )
    for option, path in sources:
        if option == DIRECTORY and not path.is_dir():
            diagnostics.append(
                Diagnostic("", "", "", "not a directory", file=str(path))
            )
    return lines, diagnostics


def _parse_syntax(file: str) -> None:
    """Parse a file without the types of its options.

    :param file: the path of the file
    :raises cfg.ParseError: if the syntax is invalid
    """
    try:
        cfg.ConfigParser(file, {}).parse()
    except TypeError:
        # Up to 9.5, oslo.config fails to raise its own error for this one.
        line = next(found for found in lines_of(file, Path(file).read_text("utf-8")))
        cause = "Section must be started before assignment"
        raise cfg.ParseError(cause, line.number, "", file) from None


_ADVICE = {
    "No ':' or '=' found in assignment": "write option = value",
    "Unexpected continuation line": "remove the indentation",
    "Section must be started before assignment": "add [DEFAULT] above the line",
    "Invalid section (must end with ])": "add the closing ]",
}


def parse(
    conf: cfg.ConfigOpts,
    sources: Sequence[Source],
    lines: Sequence[Line],
    progress: Progress,
) -> list[Diagnostic]:
    """Parse the files with oslo.config, like ``manila-share``.

    :param conf: the ``ConfigOpts`` that parses the files
    :param sources: files and directories, in the order in which they are read
    :param lines: the lines of the files
    :param progress: called with a status message before slow steps
    :return: the reasons why oslo.config rejects the files
    """
    progress("importing Manila")
    # This registers the options of all Manila services, since values may refer to
    # them, e.g. $state_path. Some are also command-line options, which must be
    # registered before the files are parsed.
    facts.register_options_of_manila()
    log.register_options(conf)
    stderr = io.StringIO()
    try:
        with contextlib.redirect_stderr(stderr):
            parse_files(conf, sources)
    except (cfg.Error, SystemExit) as error:
        text = " ".join((stderr.getvalue() or str(error)).split())
        # An invalid value of an option that is also a command-line option.
        if match := re.fullmatch(r"argument --(\S+): (Invalid .* value): (.*)", text):
            advice = "use True or False" if "Boolean" in match[2] else ""
            return [Diagnostic("DEFAULT", match[1], match[3], match[2], advice)]
        if isinstance(error, ValueError):
            return [of_invalid_value(error)]
        found: list[Diagnostic] = []
        if isinstance(error, cfg.NoSuchOptError):
            found = list(_unresolved_references(conf, error, lines))
        return found or [Diagnostic("", "", "", text)]
    return []


def of_invalid_value(error: ValueError) -> Diagnostic:
    """Return the diagnostic of a value that oslo.config rejects when it is read.

    :param error: the error; its text names the option and the file
    """
    match = re.match(r"Value for option (\S+) from .* is not valid: ", str(error))
    if match is None:
        return Diagnostic("", "", "", " ".join(str(error).split()))
    # The cause may quote the value of an unknown option, which may be a secret.
    advice = "write a value of its type"
    return Diagnostic("DEFAULT", match[1], "", "invalid value", advice)


def parse_files(conf: cfg.ConfigOpts, sources: Sequence[Source]) -> None:
    """Parse files with oslo.config.

    :param conf: the ``ConfigOpts`` that parses the files
    :param sources: files and directories, in the order in which they are read
    :raises cfg.Error: if a file cannot be parsed
    :raises SystemExit: if the value of a command-line option is invalid
    """
    conf(
        [part for option, path in sources for part in (option, str(path))],
        project="manila",
        prog="manila-share",
        default_config_files=[],
        default_config_dirs=[],
    )


def _unresolved_references(
    conf: cfg.ConfigOpts, error: cfg.NoSuchOptError, lines: Sequence[Line]
) -> Iterator[Diagnostic]:
    """Yield the diagnostics of command-line options that refer to an unknown option."""
    options = by_name([option for option, _ in conf._all_cli_opts()])
    reference = re.compile(rf"\$\{{?{re.escape(error.opt_name)}\b")
    for line in index_of(lines).values():
        if line.option in options and reference.search(line.value):
            problem = Problem(line.section, line.option, line.value, str(error))
            yield of_problem(problem)
