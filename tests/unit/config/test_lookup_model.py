# SPDX-License-Identifier: Apache-2.0
"""Compare the look-up order with a model, on random configurations.

:class:`Model` implements the documented order. It uses only the types of oslo.config.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st
from oslo_config import cfg

import aspects
from tests.support.entries.recording import Driver, Recorder

#: A file: section -> option -> text.
File = dict[str, dict[str, str]]

#: The options of the service: section -> option -> value.
SERVICE = {"alpha": {"pool": "p1"}, "DEFAULT": {"pool": "p0", "state": "/var"}}


class InvalidValueError(Exception):
    """Raised for a value that is not valid."""


class Model:
    """The values of the options of one hook instance."""

    def __init__(
        self,
        name: str,
        options: Iterable[cfg.Opt],
        files: list[File],
        environment: Mapping[str, str],
    ) -> None:
        self.options = {option.name: option for option in options}
        self.sections = (f"alpha:{name}", "alpha", "DEFAULT")
        self.files = files
        self.environment = environment
        self.reading: list[str] = []

    def value(self, name: str, sections: Iterable[str] = ()) -> Any:
        """Return the nearest value of an option, or else its default."""
        option = self.options[name]
        for section in sections or self.sections:
            text = self.text(option, section)
            if text is not None:
                value = self.converted(option, text)
                if value != value or (value is None and option.default is not None):
                    raise InvalidValueError(name)
                return value
        return (
            None if option.default is None else self.converted(option, option.default)
        )

    def text(self, option: cfg.Opt, section: str) -> Any:
        """Return the text in one section; the environment overrides the files."""
        variable = f"OS_{section}__{option.name}".upper()
        if variable in self.environment:
            return self.environment[variable]
        names = [(section, option.name)]
        for old in option.deprecated_opts:
            place = old.group or section
            # A name in another section has the precedence of the last section.
            if place == section or section == "DEFAULT":
                names.append((place, old.name))
        texts: list[str] = []
        for file in reversed(self.files):
            for place, name in names:
                if name in file.get(place, {}):
                    texts.insert(0, file[place][name])
        if not texts:
            return None
        return texts if option.multi else texts[-1]

    def converted(self, option: cfg.Opt, text: Any) -> Any:
        """Convert a text to the type of an option."""
        text = self.substituted(text)
        try:
            if option.multi:
                return [option.type(item) for item in text]
            return option.type(text)
        except ValueError:
            raise InvalidValueError(option.name) from None

    def substituted(self, text: Any) -> Any:
        """Replace each $name, ${name} and $section.name; $$ and \\$ are a $."""
        if isinstance(text, list):
            return [self.substituted(item) for item in text]
        if isinstance(text, dict):
            return {key: self.substituted(item) for key, item in text.items()}
        if not isinstance(text, str):
            return text
        name = r"[_a-z][._a-z0-9]*"
        return re.sub(
            rf"\$(?:(?P<escaped>\$)|(?P<name>{name})|{{(?P<braced>{name})}})",
            lambda found: (
                "$"
                if found["escaped"]
                else self.referred(found["name"] or found["braced"])
            ),
            text.replace(r"\$", "$$"),
            flags=re.IGNORECASE,
        )

    def referred(self, reference: str) -> str:
        """Return the value of the hook's option, or else of the service's option."""
        section, _, name = reference.rpartition(".")
        if reference in self.reading:
            raise InvalidValueError(reference)
        self.reading.append(reference)
        try:
            if name in self.options and section in ("", *self.sections):
                value = self.value(name, [section] if section else ())
                return "" if value is None else str(value)
        finally:
            self.reading.remove(reference)
        for place in [section] if section else ["alpha", "DEFAULT"]:
            if name in SERVICE.get(place, {}):
                return SERVICE[place][name]
        raise InvalidValueError(reference)

    def values(self) -> tuple[dict[str, Any], set[str]]:
        """Return all valid values, and the names of the options with invalid ones."""
        values, invalid = {}, set()
        for name in self.options:
            try:
                values[name] = self.value(name)
            except InvalidValueError:
                invalid.add(name)
        return values, invalid


# -- random configurations -------------------------------------------------------

NAMES = ("one", "two", "three")
OLD_NAMES = ("old_one", "old_two", "old_three")

#: Texts that are valid for most options, which are drawn more often, and other texts.
PLAIN = ["1", "0", "1", "0", "on", "$$", "$state", "$pool"]
ODD = [
    *("17", "2.5", "word", "x, y", "", "-1", "nan", "$one", "$two", "${one}, z"),
    *("a${two}b", "$ONE", "$$one", r"\$one", "$pool", "$pool/$state", "$alpha.pool"),
    *("$alpha.one", "${alpha.two}", "$none", "$none.one", "$$$one", "${one", "$1"),
    *("$", "100%", "$state.d"),
]
texts = st.sampled_from(PLAIN * 9 + ODD)
DEFAULTS: dict[Any, list[Any]] = {
    cfg.StrOpt: [None, "", "1", "gray", "$state/x", "$pool", "$three"],
    cfg.IntOpt: [None, 3, 4, "$two"],
    cfg.FloatOpt: [None, 0.5, 1.5, "$one"],
    cfg.BoolOpt: [None, True, False, "$three"],
    cfg.ListOpt: [None, [], ["a", "$one"], "$two, b"],
    cfg.MultiStrOpt: [None, ["a", "$one"]],
    cfg.DictOpt: [None, {"a": "$three"}],
}


@st.composite
def option_named(draw: st.DrawFn, name: str) -> cfg.Opt:
    kind = draw(st.sampled_from([cfg.StrOpt] * 9 + [cfg.ListOpt] * 3 + [*DEFAULTS]))
    old = st.builds(
        cfg.DeprecatedOpt,
        st.sampled_from([*OLD_NAMES, name]),
        group=st.sampled_from([None, None, "legacy", "DEFAULT", "alpha"]),
    )
    return kind(
        name,
        default=draw(st.sampled_from(DEFAULTS[kind])),
        deprecated_opts=draw(st.lists(old, max_size=2)),
        mutable=draw(st.booleans()),
    )


hook_options = st.tuples(*map(option_named, NAMES))
section = st.dictionaries(st.sampled_from(NAMES * 2 + OLD_NAMES), texts, max_size=3)
PLACES = ["alpha:ops", "alpha:day", "alpha", "DEFAULT", "legacy"]
file = st.dictionaries(st.sampled_from(PLACES), section, max_size=3)
two_files = st.tuples(file, file).map(list)
variables = st.builds(
    "OS_{}__{}".format,
    st.sampled_from(["ALPHA:OPS", "ALPHA", "DEFAULT", "LEGACY"]),
    st.sampled_from(["ONE", "TWO", "OLD_ONE"]),
)
environments = st.dictionaries(variables, texts, max_size=1)


def write(directory: Path, files: list[File]) -> None:
    """Write the files, with the two hooks in the first file."""
    hooks = {"hook_drivers": f"ops={__name__}:Ops, day={__name__}:Day"}
    first, *rest = files
    first = {**first, "alpha": {**hooks, **first.get("alpha", {})}}
    for number, file in enumerate([first, *rest]):
        lines: list[str] = []
        for name, options in file.items():
            lines += [
                f"[{name}]",
                *(f"{key} = {text}" for key, text in options.items()),
            ]
        (directory / f"{number}.conf").write_text("\n".join([*lines, ""]), "utf-8")


def registered(directory: Path) -> cfg.ConfigOpts:
    """Return the options of a service that has read the files."""
    conf = cfg.ConfigOpts()
    paths = [str(directory / f"{number}.conf") for number in range(2)]
    conf([], default_config_files=paths, default_config_dirs=[])
    for name, values in SERVICE.items():
        for key, value in values.items():
            group = None if name == "DEFAULT" else name
            conf.register_opt(cfg.StrOpt(key, default=value), group=group)
    return conf


@pytest.fixture(autouse=True)
def _no_hooks_left() -> Iterator[None]:
    """Remove the hook classes of the last example."""
    yield
    for name in ("Ops", "Day"):
        vars(sys.modules[__name__]).pop(name, None)


configurations = st.tuples(
    hook_options, hook_options, two_files, two_files, environments
)

#: Without shrinking of failures, which takes too long here.
WITHOUT_SHRINKING = settings(
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def check(configuration: tuple[Any, ...]) -> None:
    """Compare the values of two hooks with the model, before and after an edit.

    :raises AssertionError: if they differ
    """
    *of_hooks, first, edited, environment = configuration
    declared = dict(zip(("ops", "day"), of_hooks))
    for name, options in declared.items():
        cls = type(name.title(), (Recorder,), {"options": options})
        vars(sys.modules[__name__])[cls.__name__] = cls

    def of_model(files: list[File]) -> tuple[list[dict[str, Any]], list[set[str]]]:
        models = [Model(*hook, files, environment) for hook in declared.items()]
        values, invalid = zip(*(model.values() for model in models))
        return list(values), [
            {name, *(old.name for old in model.options[name].deprecated_opts)}
            for model, names in zip(models, invalid)
            for name in names
        ]

    def of_driver(woven: Any) -> list[dict[str, Any]]:
        return [
            {name: hook.get_config_option(name) for name in NAMES}
            for hook in aspects.weaving(woven).hooks
        ]

    with (
        tempfile.TemporaryDirectory() as path,
        mock.patch.dict(os.environ, environment),
    ):
        directory = Path(path)
        write(directory, first)
        conf = registered(directory)
        section = aspects.BackendSection(conf, "alpha")
        values, invalid = of_model(first)
        if invalid:
            event("rejected")
            with pytest.raises(aspects.HookConfigError) as rejected:
                aspects.weave_from_config(Driver(), section, "node1@alpha")
            # The problems name each invalid option, by any of its names, and no others.
            reported = {problem.option for problem in rejected.value.problems}
            assert all(reported & names for names in invalid)
            assert reported <= set().union(*invalid)
            return
        woven = aspects.weave_from_config(Driver(), section, "node1@alpha")
        assert of_driver(woven) == values
        write(directory, edited)
        conf.mutate_config_files()
        new_values, invalid = of_model(edited)
        event("edit rejected" if invalid else "edit applied")
        assert of_driver(woven) == (values if invalid else new_values)


@pytest.mark.slow
@settings(WITHOUT_SHRINKING, max_examples=100)
@given(configurations)
def test_values_are_those_of_the_model(configuration: tuple[Any, ...]) -> None:
    check(configuration)
