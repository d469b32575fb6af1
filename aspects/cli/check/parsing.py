# SPDX-License-Identifier: Apache-2.0
"""Parse the configuration as ``manila-share`` does, or diagnose why that fails."""

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
from aspects.cli.check.suggestions import COMMENT
from aspects.cli.output import Progress
from aspects.config.problems import Problem


def read(sources: Sequence[Source]) -> tuple[list[Line], list[Diagnostic]]:
    """Read the files.

    :param sources: files and directories, in the order in which they are read
    :return: the lines, and the reasons why files cannot be read
    """
    lines: list[Line] = []
    diagnostics: list[Diagnostic] = []
    for file in files_of(sources):
        data = b""
        number, cause, advice = 0, "", ""
        try:
            data = Path(file).read_bytes()
            lines += lines_of(file, data.decode())
            cfg.ConfigParser(file, {}).parse()
        except UnicodeDecodeError as error:
            number = data[: error.start].count(b"\n") + 1
            cause, advice = "it is not UTF-8", "save it as UTF-8"
        except cfg.ParseError as error:
            # str(error) quotes the line, which may have a password.
            number, cause = error.lineno, error.msg
            advice = _ADVICE.get(cause, "")
            if data.startswith("\ufeff".encode()):
                advice = "save the file without a byte order mark"
            elif re.search(r"\]\s*[#;]", error.line):
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
                Diagnostic("", "", "", "it is no directory", file=str(path))
            )
    return lines, diagnostics


_ADVICE = {
    "No ':' or '=' found in assignment": "write option = value",
    "Unexpected continuation line": "write it at the beginning of the line",
    "Section must be started before assignment": "write [DEFAULT] before it",
    "Invalid section (must end with ])": "write ] at its end",
}


def parse(
    conf: cfg.ConfigOpts,
    sources: Sequence[Source],
    lines: Sequence[Line],
    progress: Progress,
) -> list[Diagnostic]:
    """Parse the files with oslo.config, as ``manila-share`` does.

    :param conf: the options to parse them with
    :param sources: files and directories, in the order in which they are read
    :param lines: the lines of the files
    :param progress: called with a status message before slow steps
    :return: the reasons why oslo.config rejects them
    """
    progress("importing Manila")
    # This registers the options of all of Manila's services, to which a value may
    # refer, as in $state_path. Some are options of the command line, and these have
    # to be registered before the files are parsed.
    facts.load_from_manila("oslo.config.opts.defaults")
    log.register_options(conf)
    stderr = io.StringIO()
    try:
        with contextlib.redirect_stderr(stderr):
            conf(
                [part for option, path in sources for part in (option, str(path))],
                project="manila",
                prog="manila-share",
                default_config_files=[],
                default_config_dirs=[],
            )
    except (cfg.Error, SystemExit) as error:
        text = " ".join((stderr.getvalue() or str(error)).split())
        # The value of an option that is one of the command line as well.
        if match := re.fullmatch(r"argument --(\S+): (Invalid .* value): (.*)", text):
            advice = "write True or False" if "Boolean" in match[2] else ""
            return [Diagnostic("DEFAULT", match[1], match[3], match[2], advice)]
        found: list[Diagnostic] = []
        if isinstance(error, cfg.NoSuchOptError):
            found = list(_unresolved_references(conf, error, lines))
        return found or [Diagnostic("", "", "", text)]
    return []


def _unresolved_references(
    conf: cfg.ConfigOpts, error: cfg.NoSuchOptError, lines: Sequence[Line]
) -> Iterator[Diagnostic]:
    """Yield the options of the command line that refer to an unknown option."""
    options = by_name([option for option, _ in conf._all_cli_opts()])
    reference = re.compile(rf"\$\{{?{re.escape(error.opt_name)}\b")
    for line in index_of(lines).values():
        if line.option in options and reference.search(line.value):
            problem = Problem(line.section, line.option, line.value, str(error))
            yield of_problem(problem)
