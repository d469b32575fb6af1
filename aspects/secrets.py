# SPDX-License-Identifier: Apache-2.0
"""Remove secrets from text that is logged, sent or stored.

Two kinds are masked: known secrets, wherever a text repeats them, and values whose form
marks them as secret, such as ``password=...``. The page
``doc/source/reference/secrets.rst`` lists both, and their limits.

The time is linear in the length of the text. For that, no pattern has an unbounded part
before a part that may not match, and a search continues after its last match.
"""

from __future__ import annotations

import contextlib
import functools
import html
import inspect
import json
import numbers
import re
import types
import urllib.parse
import uuid
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, islice
from typing import Any, NamedTuple

from oslo_config import cfg

#: Maximum length of a text, in characters; the rest is cut off.
LIMIT = 64 * 1024
#: Number of characters that are read after the limit, to find a secret that crosses it.
AHEAD = 4 * 1024
#: A known secret with fewer characters is masked only if it is a whole value.
SHORT = 4
#: Up to this number of beginnings of known secrets, each is searched alone.
FEW = 50
#: Maximum depth of the search in the arguments of a call.
DEPTH = 8
#: Maximum number of values that are searched in the arguments of a call.
ITEMS = 100_000
#: Maximum number of nested quotations, e.g. 3 for JSON in JSON in a URL.
QUOTED = 3
#: Maximum number of further searches, for forms that appear when others are masked.
PASSES = 4

_MASK = "***"

Span = tuple[int, int]

_any_case = functools.partial(re.compile, flags=re.IGNORECASE)

# -- forms: a name and its value ---------------------------------------------------

_NAME = "|".join(
    (
        r"passw|passphrase|passcode|pswd|pwd|secret|token|credential|cookie|keyring",
        r"signature|authorization|configdrive|(?<![a-z])(?:psk|sig)(?![a-z])",
        # admin_pass and adminPass, not bypass.
        r"(?<!by)(?<!com)(?<!over)(?<!sur)pass(?![a-z])",
        r"(?:access|account|admin|api|auth|client|encrypt(?:ed|ion)|fernet|heartbeat|hmac|"
        r"master|private|rndc|session|shared|signing|ssh|ssl|storage|tls)[ _-]?key",
        r"ceph[a-z]{0,20}key",
    )
)
# For text in lower case, which is four times as fast as ignoring case.
_SECRET = re.compile(_NAME)
_NAMED = re.compile(rf"(?:{_NAME})[\w.-]*")
_LOWER = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}

# A word that continues a sentence after "token:", and so is not a value.
_PROSE = re.compile(
    r"""[\[({]?(?:
    an?|and|are|as|at|auth\w*|bad|be|but|by|can(?:not|'t)?|connection|could(?:n't)?|
    denied|did|do|does|empty|errno|expected|expired|fail(?:ed|s|ure)|false|file|for|
    forbidden|found|from|given|got|has|have|if|in|incorrect|invalid|is|it|length|
    mismatch|missing|must|needs?|nil|no|none|not|null|of|on|only|or|permission|please|
    rejected|required|revoked|should|that|the|this|to|token|too|traceback|true|unable|
    unauthorized|undefined|unexpected|unknown|unset|unsupported|use|was|were|when|will|
    with|wrong|you|your|\w{0,60}(?:error|exception)|[45]\d\d|\d{1,3}(?=[)\]])
    )(?=[.,;:!?"'`)\]}]{0,3}(?:\s|\Z))""",
    re.IGNORECASE | re.VERBOSE,
)
# The only words that are not a value after "password=".
_NOTHING = _any_case(r"(?:none|null|nil|true|false)(?!\w)")


class _Form(NamedTuple):
    """The text around a name and its value."""

    between: re.Pattern[str]
    """the text between the name and the value"""
    before: re.Pattern[str] | None = None
    """the text before the name; None for any text"""
    behind: re.Pattern[str] | None = None
    """the text after the value; None for any text"""
    instead: re.Pattern[str] = _NOTHING
    """text that is not a value"""


_OPTION = _any_case(r"(?:^|[\s\"'`(\[,])--?[\w-]{0,40}\Z")

_FORMS = [
    # name=value, name = 'value', "name" => "value"
    _Form(_any_case(r"[\"'`]?\]?[ \t]*(?:={1,3}>?|!=)[ \t]*")),
    # name: value, "name": "value", name is: value; in YAML also on the lines below
    _Form(
        _any_case(
            r"[\"'`]?\]?[ \t]*(?:(?:is|was)[ \t]*)?:{1,2}(?!//)=?[ \t+]*"
            r"(?:(?:basic|bearer|token)[ ]+)?"
        ),
        instead=_PROSE,
    ),
    # name 'value', name is 'value'
    _Form(_any_case(r"[ \t]+(?:(?:is|was)[ \t]+)?(?=[bu]?[\"'`])")),
    # --name value
    _Form(_any_case(r"[\"']?[ \t]+(?![-|])"), before=_OPTION, instead=_PROSE),
    # ['--name', 'value']
    _Form(_any_case(r"[\"'],\s{0,4}(?=[bu]?[\"'])"), before=_OPTION),
    # name -v value, ['name', '-v', 'value'], as for iscsiadm
    _Form(
        _any_case(r"[\"']?[\s,]{1,4}[\"']?--?[a-z]{1,20}[\"']?[\s,]{1,4}"),
        before=_any_case(r"(?:^|[^-\w.])[\w.]{0,60}\Z"),
    ),
    # ('name', 'value'), with nothing else in the brackets
    _Form(
        _any_case(r"[\"']\s{0,4},\s{0,4}(?=[bu]?[\"']|[\w.-]{1,200}\s{0,4}[)\]])"),
        before=_any_case(r"[(\[]\s{0,4}[bu]?[\"'][\w.-]{0,40}\Z"),
        behind=_any_case(r"[\"']?\s{0,4},?\s{0,4}(?:[)\]]|\Z)"),
    ),
    # {'key': 'name', 'value': 'value'}, <property name="name" value="value"/>
    _Form(
        _any_case(r"[\"'][\s,]{1,4}[bu]?[\"']?value[\"']?\s{0,2}[=:]\s{0,2}"),
        before=_any_case(
            r"(?:key|name)[\"']?\s{0,2}[=:]\s{0,2}[bu]?[\"'][\w.-]{0,40}\Z"
        ),
    ),
    # | name | value |
    _Form(_any_case(r"[ \t]+\|[ \t]+(?!\|)"), instead=_PROSE),
]

# <name>value</name>, <entry key="name">value</entry>
_TAG = re.compile(r"<([\w:.-]+)((?:\s[^<>]*)?)>")
_END_TAG = re.compile(r"</([\w:.-]+)")
_KEY = re.compile(rf"\b(?:key|name)\s{{0,2}}=\s{{0,2}}[\"'][\w:.-]{{0,60}}(?:{_NAME})")

# The rest of a program's name, and its other arguments, up to a space or a quote.
_TO_OPTION = r"[\w-]{0,20}[\"']?[\s,](?:[^\n|;&]{0,200}?[\s,\"'])?"

# A part of the pattern -> the text before a value without a name. All in lower case.
_LEADS = {
    part: re.compile(lead)
    for part, lead in (
        # Bearer value
        ("bearer", r"\bbearer[ ]+"),
        # Authorization: scheme value
        ("authorization", r"\bauthorization[\"']?[ \t]*[=:][ \t]*[\w-]{1,40}[ ]+"),
        # sshpass -p value
        ("sshpass", r"\bsshpass[\"']?[\s,]{1,4}[\"']?-p[\"']?[\s,]{0,4}"),
        # mysql -pvalue
        ("mysql", rf"\bmysql{_TO_OPTION}-p(?=[^\s\"',])"),
        # ldapsearch -w value
        ("ldap", rf"\bldap{_TO_OPTION}-w[\"']?[\s,]{{1,4}}(?![bu]?[\"']?-)"),
        # login -p value; not the path, number, mode or protocol of other programs
        (
            "-p",
            r"(?<![\w-])-pw?[\"']?[\s,]{1,4}(?![bu]?[\"']?(?:[-./~$|<>&]|\d+(?!\w)|"
            r"\w{1,3}(?![\w,;&\"'`)\]}>-])|(?:option|flag|argument|parameter|switch)))",
        ),
        # curl -u user:value, net ads join -U user%value
        (
            "-u",
            r"(?<![\w-])(?:-u|--(?:proxy-)?user)[\"']?[\s,=]{0,4}[\"']?(?!\d+:\d)"
            r"[\w.\\@+-]{1,100}[:%]",
        ),
    )
}

# A value without quotes ends at a space, or at a delimiter without a word after it.
_WORD = re.compile(
    r"""(?:
    [^\s,;&"'`)\]}>\\<]
    | ["'`)\]}>](?=\w)
    | [,;&](?=\w)(?![\w.-]{1,40}[=:])
    | <(?!/)
    | \\(?![nrtux"'`\\])
    )+""",
    re.VERBOSE,
)
_QUOTE = re.compile(r"[bBuU]?([\"'`])")
_QUOTES = {q: re.compile(rf"(?:[^{q}\\]+|\\.|{q}{q})*", re.DOTALL) for q in "\"'`"}
# The beginning of a list, a mapping, or the representation of a Python object.
_OPENING = re.compile(r"[\w.]*[\[({]")
_BRACKET = re.compile(r"[\"'`\[({\])}]")
_LINES_BELOW = re.compile(r"(?:[|>][-+\d]{0,2})?[ \t]*\r?\n")
_LINE = re.compile(r"([ \t]*)([^\r\n]*)(?:\r?\n|\Z)")
_INDENT = re.compile(r"[ \t]*(?:-[ ]+)*")
_YAML = re.compile(r"-[ ]|[\w.-]+:(?:[ ]|\Z)|\S+\Z|\"[^\"]*\"\Z|'[^']*'\Z")

# -- forms: a value that is secret by its shape, group 1 -----------------------------

# A part of the value in lower case -> the pattern.
_SHAPES = {
    part: re.compile(shape, re.DOTALL)
    for part, shape in (
        # scheme://user:value@host
        ("://", r"://[^\s/:@\"']*:([^\s/\"']+)@"),
        # A PEM block. One without an end takes the rest of the text.
        (
            "begin",
            r"(-{1,5} ?BEGIN[ +][A-Z0-9 +]{1,60}-{4,5}"
            r"(?:.*?-{4,5} ?END[ +][A-Z0-9 +]{1,60}-{4,5}|.*))",
        ),
        # The last lines of a PEM block.
        (
            "end",
            r"(?<![\w+/=\r\n])([\w+/=\r\n]+-{4,5} ?END[ +][A-Z0-9 +]{1,60}-{4,5})",
        ),
        # A key of Ceph.
        ("aq", r"(?<![A-Za-z0-9+/])(AQ[A-Za-z0-9+/]{36}==)"),
        # A token of Keystone.
        ("gaaaaa", r"(?<![\w-])(gAAAAA[\w-]{20,}=*)"),
        # A JSON Web Token.
        ("eyj", r"(?<![\w-])(eyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?)"),
        # Cookie: name=value; name=value
        (
            "cookie",
            r"(?i:\bcookie2?[\"']?[ \t]*[=:][ \t]*[\"']?)"
            r"([^\s;,\"'=]{1,200}=[^\s;\"']*(?:;[ \t]*[^\s;\"']+)*)",
        ),
        # Authorization: Digest name="value", ...
        (
            "authorization",
            r"(?i:\bauthorization[\"']?[ \t]*[=:][ \t]*(?:digest|hawk|oauth)[ ]+)"
            r"([^\r\n]+)",
        ),
    )
}

# An escaped character in a quoted text, a URL, HTML or XML.
_CODE = re.compile(
    r"(\\(?:[\"'`\\/bfnrt]|u00[0-7][0-9A-Fa-f]|x[0-7][0-9A-Fa-f])"
    r"|%[0-7][0-9A-Fa-f]|&(?:amp|apos|gt|lt|quot|#34|#39|#x22|#x27);)"
)
_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}

# A short text as a whole value: in quotes, after "=", or alone.
_SHORT_VALUE = re.compile(
    rf"(?<=[\"'`])[^\"'`]{{1,{SHORT - 1}}}(?=[\"'`])"
    rf"|(?<==)[^\s\"'`,;&)\]}}]{{1,{SHORT - 1}}}(?![^\s\"'`,;&)\]}}])"
    rf"|\A.{{1,{SHORT - 1}}}\Z"
)


def text_of(
    error: BaseException,
    context: Any = None,
    arguments: Mapping[str, Any] | None = None,
    *,
    secrets: Iterable[Any] = (),
) -> str:
    """Return the text of an error in one line, with secrets masked.

    :param error: the error
    :param context: the context of the call that raised it
    :param arguments: the arguments of that call by name
    :param secrets: further secret values
    """
    try:
        text = without_secrets(str(error), context, arguments or {}, secrets=secrets)
    except Exception:
        # str() of the error failed; reporting an error must never fail.
        return "(no text)"
    return " ".join(text.split())


def without_secrets(
    text: str,
    context: Any,
    arguments: Mapping[str, Any],
    *,
    secrets: Iterable[Any] = (),
    configuration: Any = None,
) -> str:
    """Return a text with its secrets masked.

    :param text: e.g. the text of an error
    :param context: the request's context, which has a token
    :param arguments: the arguments of the call by name, e.g. rules with access keys,
        and other data that the text may repeat, e.g. the driver's result
    :param secrets: further secret values
    :param configuration: the hook's ``configuration``: the values of the secret options
        of its backend are masked
    :return: the text with ``***`` in place of each secret; a longer text is cut to
        65,536 characters, with a note of its length
    """
    values = [*secrets, *(secret_options(configuration) if configuration else ())]
    known = {*_tokens_of(context), *_secrets_in(arguments)}
    for value in values:
        plain = isinstance(value, _PLAIN)
        known.update(_spellings(value) if plain else _secrets_in({"secret": value}))
    read = text[: LIMIT + AHEAD]
    views = list(_views(read))
    spans = [*_marked(views), *_repeated(views, known, cut=len(read) < len(text))]
    before, result = read[:LIMIT], _masked(read[:LIMIT], spans)
    for _ in range(PASSES):
        if result == before:
            break
        before, result = result, _masked(result, _marked(_views(result)))
    # UTF-8 cannot encode a surrogate, so it can be neither sent nor stored.
    result = result.encode(errors="backslashreplace").decode()
    if len(text) > LIMIT or len(result) > LIMIT:
        note = f" ... (cut after {LIMIT} of {len(text)} characters)"
        result = result[: LIMIT - len(note)] + note
    return result


def _masked(text: str, spans: Iterable[Span]) -> str:
    """Return a text with a mask in place of each group of adjacent spans."""
    parts: list[str] = []
    done = 0
    for start, end in sorted(spans):
        if start < len(text) and end > done:
            if start > done or not parts:
                parts += [text[done:start], _MASK]
            done = end
    return "".join([*parts, text[done:]])


# -- a text, and the quoted texts in it ------------------------------------------------

View = tuple[str, Sequence[int]]


def _views(text: str) -> Iterator[View]:
    """Yield a text, the text decoded once, decoded twice, and so on.

    :return: pairs of text and the positions of its characters, and of its end, in the
        original
    """
    places: Sequence[int] = range(len(text) + 1)
    yield text, places
    for _ in range(QUOTED):
        # Every second part is a code.
        parts = _CODE.split(text)
        if len(parts) == 1:
            return
        starts = [0, *accumulate(map(len, parts))]
        parts[1::2] = map(_decoded, parts[1::2])
        text = "".join(parts)
        places = [
            *(
                places[at + n]
                for at, part in zip(starts, parts)
                for n in range(len(part))
            ),
            places[-1],
        ]
        yield text, places


@functools.cache
def _decoded(code: str) -> str:
    if code[0] == "&":
        return html.unescape(code)
    if len(code) > 2:
        return chr(int(code[-2:], 16))
    return _ESCAPES.get(code[1], code[1])


# -- forms --------------------------------------------------------------------------


def _marked(views: Iterable[View]) -> Iterator[Span]:
    """Yield the spans of values whose form marks them as secret."""
    for text, places in views:
        lower = text.translate(_LOWER)
        for find in (_shaped, _led, _named, _tagged):
            for start, end in find(text, lower):
                if start < end:
                    yield places[start], places[end]


def _shaped(text: str, lower: str) -> Iterator[Span]:
    for part, shape in _SHAPES.items():
        if part in lower:
            for match in shape.finditer(text):
                yield match.span(1)


def _led(text: str, lower: str) -> Iterator[Span]:
    for part, lead in _LEADS.items():
        if part not in lower:
            continue
        at = 0
        while match := lead.search(lower, at):
            start, at = _value(text, match.start(), match.end(), _PROSE)
            yield start, at


def _named(text: str, lower: str) -> Iterator[Span]:
    at = 0
    while name := _NAMED.search(lower, at):
        at = name.end()
        before = text[max(0, name.start() - 64) : name.start()]
        for form in _FORMS:
            if form.before and not form.before.search(before):
                continue
            if not (match := form.between.match(text, at)):
                continue
            start, end = _value(text, name.start(), match.end(), form.instead)
            if start < end and (not form.behind or form.behind.match(text, end)):
                yield start, end
                at = end
                break


def _tagged(text: str, lower: str) -> Iterator[Span]:
    last = {match[1]: match.start() for match in _END_TAG.finditer(lower)}
    at = 0
    while tag := _TAG.search(lower, at):
        at = tag.end()
        name, attributes = tag.groups()
        if attributes.endswith("/"):
            continue
        if not (_SECRET.search(name) or _KEY.search(attributes)):
            continue
        if last.get(name, 0) >= at:
            yield at, (at := lower.index(f"</{name}", at))
        elif text[at : at + 1].isalnum():
            # The end tag is cut off. In "<password> is missing", no value follows.
            start, at = _value(text, tag.start(), at, _NOTHING)
            yield start, at


def _value(text: str, name: int, at: int, instead: re.Pattern[str]) -> Span:
    """Return the span of a value, which is empty without a value.

    :param text: the text
    :param name: the position of the name
    :param at: the position of the value
    :param instead: text that is not a value
    """
    if quote := _QUOTE.match(text, at):
        return quote.end(), _end(_QUOTES[quote[1]], text, quote.end())
    if instead.match(text, at):
        return at, at
    if below := _LINES_BELOW.match(text, at):
        return _block(text, name, below.end())
    end = at
    if opening := _OPENING.match(text, at):
        end = _closing(text, opening.end() - 1)
        if end == opening.end() + 1:
            return at, at
    return at, _end(_WORD, text, end)


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    match = pattern.match(text, at)
    return match.end() if match else at


def _closing(text: str, at: int) -> int:
    """Return the position after the closing bracket, or else the end of the text."""
    depth = 0
    while bracket := _BRACKET.search(text, at):
        at = bracket.end()
        if quoted := _QUOTES.get(bracket[0]):
            at = _end(quoted, text, at) + 1
        else:
            depth += 1 if bracket[0] in "[({" else -1
            if depth == 0:
                return at
    return len(text)


def _block(text: str, name: int, at: int) -> Span:
    """Return the span of the lines below a name that are its value in YAML.

    :param text: the text
    :param name: the position of the name
    :param at: the position of the first line below
    """
    margin = _INDENT.match(text, text.rfind("\n", 0, name) + 1)
    indent = len(margin[0]) if margin else 0
    start = end = at
    while at < len(text) and (line := _LINE.match(text, at)):
        at = line.end()
        if not line[2]:
            continue
        deeper = len(line[1]) - indent
        if not (deeper > 0 or (deeper == 0 and line[2].startswith("- "))):
            break
        if start == end:
            start = end = line.start(2)
            if not _YAML.match(line[2]) or _PROSE.match(line[2]):
                break
        end = line.end(2)
    return start, end


# -- secret options -------------------------------------------------------------------


def secret_options(configuration: Any) -> list[Any]:
    """Return the values of the secret options of a hook's backend.

    These are the options of all hooks of the backend, and those of the driver: of any
    option in the backend section or in ``[DEFAULT]`` that is set. A default is not
    secret, and may be a common word.

    :param configuration: the configuration of a hook, e.g. Manila's ``Configuration``
    """
    found = getattr(configuration, "hook_secrets", None)
    values = [*found] if isinstance(found, list) else []
    conf = getattr(configuration, "conf", None)
    if not isinstance(conf, cfg.ConfigOpts):
        # Manila's Configuration reads the global options.
        conf = cfg.CONF
    group: Any = getattr(configuration, "config_group", None)
    for holder in (conf, conf._groups.get(group)):
        # Another thread may register an option.
        for name, record in [*getattr(holder, "_opts", {}).items()]:
            if record["opt"].secret:
                # The value may be invalid.
                with contextlib.suppress(Exception):
                    value = (conf if holder is conf else conf[group])[name]
                    if value != record["opt"].default:
                        values.append(value)
    return values


# -- known values ---------------------------------------------------------------------


def _repeated(
    views: Iterable[View], known: Collection[str], cut: bool
) -> Iterator[Span]:
    """Yield the spans in which a text repeats known secrets.

    :param views: the text
    :param known: the secrets
    :param cut: whether the text was cut, so that it may end within a secret
    """
    if not known:
        return
    # First characters -> lengths, so that the work does not grow with their number.
    lengths: dict[str, set[int]] = {}
    for secret in known:
        if len(secret) >= SHORT:
            lengths.setdefault(secret[:SHORT], set()).add(len(secret))
    short = any(len(secret) < SHORT for secret in known)
    for text, places in views:
        for match in _SHORT_VALUE.finditer(text) if short else ():
            if match[0] in known:
                yield places[match.start()], places[match.end()]
        for at in _found(text, lengths):
            for length in lengths.get(text[at : at + SHORT], ()):
                end = at + length
                if end <= len(text):
                    if text[at:end] in known:
                        yield places[at], places[end]
                elif cut and any(secret.startswith(text[at:]) for secret in known):
                    yield places[at], places[-1]


def _found(text: str, starts: Collection[str]) -> Iterator[int]:
    """Yield the positions at which a text may have one of several short texts."""
    if len(starts) > FEW:
        yield from range(len(text) - SHORT + 1)
        return
    for start in starts:
        at = -1
        while (at := text.find(start, at + 1)) >= 0:
            yield at


# Functions that escape a character outside ASCII. ASCII is decoded by _views().
_ESCAPED: tuple[Callable[[str], str], ...] = (
    lambda char: repr(char)[1:-1],
    lambda char: ascii(char)[1:-1],
    lambda char: json.dumps(char)[1:-1],
    lambda char: repr(char.encode(errors="replace"))[2:-1],
    lambda char: urllib.parse.quote(char, errors="replace"),
)


def _spellings(secret: Any) -> Iterator[str]:
    """Yield the spellings of a secret in a text; none if it is blank."""
    if isinstance(secret, str):
        # A subclass may have changed str().
        text = str.__str__(secret).strip()
    elif isinstance(secret, (bytes, bytearray)):
        text = bytes(secret).decode(errors="replace").strip()
        if text:
            yield repr(bytes(secret))[2:-1]
    elif isinstance(secret, (numbers.Number, uuid.UUID)):
        text = "" if isinstance(secret, bool) else str(secret)
    else:
        return
    if text:
        yield from (text, text.replace(" ", "+"))
    if not text.isascii():
        for escape in _ESCAPED:
            written = "".join(char if char.isascii() else escape(char) for char in text)
            yield from (written, written.replace(" ", "+"))


def _tokens_of(context: Any) -> Iterator[str]:
    for name in ("auth_token", "service_token"):
        try:
            yield from _spellings(getattr(context, name, None))
        except Exception:
            continue


def _secrets_in(arguments: Any) -> Iterator[str]:
    """Yield the spellings of values under a secret name in nested data.

    Nearer values come first, so that only the deepest are beyond the limits.

    :param arguments: mappings, collections, models, any objects
    """
    queue = deque([(arguments, False, 0)])
    # The values keep the objects alive, because the ID of a freed object is reused.
    seen: dict[tuple[int, bool], Any] = {}
    left = ITEMS
    while queue and left > 0:
        data, secret, depth = queue.popleft()
        if (id(data), secret) in seen:
            continue
        seen[id(data), secret] = data
        fields = list(islice(_fields(data), left))
        left -= len(fields)
        # {"key": "password", "value": ...}
        keyed = any(
            _is_secret(value)
            for name, value in fields
            if type(name) is str and name in ("key", "name")
        )
        for name, value in fields:
            with contextlib.suppress(Exception):
                hidden = secret or _is_secret(name) or (keyed and name == "value")
                if hidden:
                    yield from _spellings(value)
                if depth < DEPTH and not isinstance(value, _PLAIN):
                    queue.append((value, hidden, depth + 1))


_PLAIN = (
    *(str, bytes, bytearray, memoryview, range, type(None), numbers.Number, uuid.UUID),
    *(type, types.ModuleType, types.FunctionType, types.MethodType),
    types.BuiltinFunctionType,
)


def _is_secret(name: Any) -> bool:
    # isinstance() reads __class__, which may raise an error.
    if issubclass(type(name), bytes):
        name = name.decode(errors="replace")
    return issubclass(type(name), str) and bool(_SECRET.search(name.lower()))


def _fields(data: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the names and values in a collection, a model or any object.

    A value that cannot be read is skipped, e.g. one that a model fails to load.
    """
    for fields in _FIELDS.get(type(data), (_mapped, _listed, _attributes)):
        with contextlib.suppress(Exception):
            yield from fields(data)


def _mapped(data: Any) -> Iterator[tuple[Any, Any]]:
    if not isinstance(data, Mapping) and _has(data, "to_dict"):
        # If to_dict() fails, or needs arguments, the attributes are read instead.
        with contextlib.suppress(Exception):
            data = data.to_dict()
    if isinstance(data, Mapping) or (_has(data, "keys") and _has(data, "__getitem__")):
        for key in list(islice(data.keys(), ITEMS)):
            with contextlib.suppress(Exception):
                yield key, data[key]


def _has(data: Any, method: str) -> bool:
    # A client of a remote API seems to have every method; hasattr() would call the API.
    return inspect.getattr_static(data, method, None) is not None


def _listed(data: Any) -> Iterator[tuple[Any, Any]]:
    # Reading an iterator would leave it empty for the driver.
    if not isinstance(data, Collection) or isinstance(data, (Iterator, Mapping)):
        return
    if isinstance(names := getattr(data, "_fields", None), tuple):
        yield from zip(names, data)
        return
    pair = isinstance(data, tuple) and len(data) == 2
    name = None
    for item in data:
        yield name, item
        name = None
        if issubclass(type(item), str) and (pair or item.startswith("-")):
            # ("password", value), ["--password", value], ["--password=value"]
            option, equals, value = item.partition("=")
            if equals:
                yield option, value
            else:
                name = option


def _attributes(data: Any) -> Iterator[tuple[Any, Any]]:
    for name, value in list(getattr(data, "__dict__", {}).items()):
        # SQLAlchemy's own attributes lead to all other models.
        if not str(name).startswith("_sa_"):
            yield name, value
    for cls in type(data).__mro__:
        slots = vars(cls).get("__slots__", ())
        for name in [slots] if isinstance(slots, str) else slots:
            private = name.startswith("__") and not name.endswith("__")
            with contextlib.suppress(Exception):
                prefix = f"_{cls.__name__.lstrip('_')}" if private else ""
                yield name, getattr(data, prefix + name)


# The most frequent types have fields of one kind only.
_FIELDS: dict[type, tuple[Callable[[Any], Iterator[tuple[Any, Any]]], ...]] = {
    dict: (_mapped,),
    list: (_listed,),
    tuple: (_listed,),
}
