# SPDX-License-Identifier: Apache-2.0
"""Read the code blocks in the pages of the documentation."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from docutils import frontend, nodes, utils
from docutils.parsers import rst
from docutils.parsers.rst import directives, roles

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "doc" / "source"


class Block(NamedTuple):
    """A code block of a page."""

    page: str
    """the page's path below ``doc/source``, or ``README.rst`` for the project's"""
    line: int
    language: str
    """empty for a block after ``::``"""
    caption: str
    """the name of a file, or of the terminal for commands"""
    text: str

    @property
    def name(self) -> str:
        """The place of the block, for messages."""
        return f"{self.page}:{self.line}"


class _Code(rst.Directive):
    has_content = True
    optional_arguments = 1
    option_spec = {
        "caption": directives.unchanged,
        "emphasize-lines": directives.unchanged,
        "linenos": directives.flag,
        "name": directives.unchanged,
    }

    def run(self) -> list[nodes.Node]:
        node = nodes.literal_block()
        node["text"] = "\n".join(self.content)
        node["language"] = (self.arguments or [""])[0]
        node["caption"] = self.options.get("caption", "")
        node["at"] = self.lineno
        return [node]


class _Left(rst.Directive):
    """A directive of Sphinx without code to run."""

    has_content = True
    optional_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        return []


def _role(name: str, *text: Any, **more: Any) -> tuple[list[Any], list[Any]]:
    return [], []


def blocks_of(page: str) -> list[Block]:
    """Return the code blocks of a page, in order.

    :param page: as in :class:`Block`
    :raises ValueError: if the page has an unknown directive, which may contain a block
    """
    for name in ("code-block", "code", "sourcecode"):
        directives.register_directive(name, _Code)
    for name in _SPHINX:
        directives.register_directive(name, _Left)
    for name in _ROLES:
        roles.register_local_role(name, _role)
    file = file_of(page)
    settings = frontend.get_default_settings(rst.Parser)
    settings.report_level = 5
    settings.halt_level = 5
    document = utils.new_document(str(file), settings)
    rst.Parser().parse(file.read_text("utf-8"), document)
    for message in document.findall(nodes.system_message):
        if message["level"] >= 3:
            raise ValueError(f"{page}:{message.get('line')}: {message.astext()}")
    return list(_blocks(page, document))


def _blocks(page: str, document: nodes.document) -> Iterator[Block]:
    for node in document.findall(_is_block):
        at = node.get("at") or node.line or 0
        text = node.get("text") or node.astext()
        language = node.get("language", "")
        yield Block(page, at, language, node.get("caption", ""), text)


def _is_block(node: nodes.Node) -> bool:
    return isinstance(node, (nodes.literal_block, nodes.doctest_block))


#: Directives and roles that Sphinx adds to those of docutils.
_SPHINX = (
    *("autoclass", "autodata", "autoexception", "autofunction", "automodule"),
    *("centered", "deprecated", "glossary", "include", "literalinclude", "seealso"),
    *("hlist", "release-notes", "show-options", "toctree"),
    *("versionadded", "versionchanged"),
)
_ROLES = (
    *("attr", "class", "command", "data", "doc", "envvar", "exc", "file", "func"),
    *("kbd", "meth", "mod", "oslo.config:group", "oslo.config:option", "option"),
    *("pep", "program", "ref", "samp", "term"),
)


def file_of(page: str) -> Path:
    """Return the file of a page."""
    return (ROOT if page == "README.rst" else DOCS) / page


def needs_manila(page: str) -> bool:
    """Return whether a page has code that imports Manila."""
    return any(
        block.language == "python"
        and re.search(r"^(import|from) manila\b", block.text, re.MULTILINE)
        for block in blocks_of(page)
    )


def pages() -> list[str]:
    """Return the README and all pages."""
    found = [str(file.relative_to(DOCS)) for file in sorted(DOCS.rglob("*.rst"))]
    return ["README.rst", *found]


def commands_of(block: Block) -> list[tuple[str, list[str]]]:
    """Return the commands of a block, each with the lines that it prints.

    A command begins with ``$``, and continues in lines that begin with ``>`` or a
    blank. Lines that begin with ``#`` are comments. Other lines are printed by the
    command; ``...`` is any number of lines. A block after ``::`` without ``$`` has only
    commands. Lines printed before the first command belong to an empty command.

    :param block: a block of commands
    """
    lines = block.text.splitlines()
    if not any(line.startswith("$ ") for line in lines) and not block.language:
        return [(line, []) for line in lines if line]
    commands: list[tuple[str, list[str]]] = [("", [])]
    for line in lines:
        command, printed = commands[-1]
        if line.startswith("$ "):
            commands.append((line[2:], []))
        elif line.startswith((" ", "> ")):
            commands[-1] = (f"{command}\n{line.removeprefix('> ')}", printed)
        elif line not in ("", "...") and not line.startswith("#"):
            printed.append(line)
    return commands if commands[0][1] else commands[1:]


def example(page: str, replace: Mapping[str, str] | None = None, block: int = 0) -> str:
    """Return a configuration block of the documentation.

    :param page: the page's path below ``doc/source``
    :param replace: text -> replacement, for text such as paths and ports that is
        different on the machine of the test; the block must contain each text
    :param block: the index of the block among the page's ``ini`` blocks
    """
    text = (DOCS / page).read_text("utf-8")
    blocks = re.findall(r"^\.\. code-block:: ini\n\n((?:   .*\n|\n)+)", text, re.M)
    found = textwrap.dedent(blocks[block])
    for old, new in (replace or {}).items():
        assert old in found, f"{old!r} is not in the example of {page}"
        found = found.replace(old, new)
    return found
