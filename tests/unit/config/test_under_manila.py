# SPDX-License-Identifier: Apache-2.0
"""Sections of Manila's and Cinder's own, which are always of the global ``CONF``."""

from __future__ import annotations

import logging

import pytest
from oslo_config import cfg

import aspects
from tests.support.entries.recording import Driver


class Configuration:
    """As Manila's own of this name."""

    def __init__(self, group: str) -> None:
        self.config_group = group
        self.local_conf = cfg.CONF._get(group)

    def append_config_values(self, options):
        cfg.CONF.register_opts(options, group=self.config_group)

    def safe_get(self, key):
        try:
            return getattr(self, key)
        except cfg.NoSuchOptError:
            return None

    def __getattr__(self, key):
        return getattr(self.local_conf, key)


@pytest.fixture
def manilas(backend, monkeypatch):
    def weave(*options, **of_file):
        made = backend(*options, **of_file)
        monkeypatch.setattr(cfg, "CONF", made.conf)
        # As Manila has registered them by then.
        made.conf.register_opt(cfg.StrOpt("share_backend_name"), group="alpha")
        made.conf.register_opt(cfg.BoolOpt("enable_pre_hooks", default=False))
        made.conf.register_opt(cfg.StrOpt("h"), group="beta")
        section = Configuration("alpha")
        made.woven = aspects.weave_from_config(Driver(), section, "node1@alpha")
        return made

    return weave


def test_manila_is_left_with_its_own_options(manilas):
    made = manilas(cfg.StrOpt("h_url", default="x"), alpha="h_url = y")
    assert made.values("h_url") == ["y"]
    at_start = {"hook_methods", "periodic_hooks_interval"}
    assert set(made.conf.alpha) == {"share_backend_name", *at_start}
    assert set(made.conf["alpha:ops"]) == {"periodic_hooks_interval"}
    # Its drivers can have an option of that name.
    made.conf.register_opt(cfg.IntOpt("h_url", default=1), group="alpha")


@pytest.mark.parametrize(
    "of_file",
    [
        # Another hook's option has the type of the first one.
        {"alpha": "h = word", "sections": "[alpha:ops]\nh = 5"},
        {"sections": "[alpha:ops]\nh = $alpha.share_backend_name\n[alpha:day]\nh = x"},
    ],
)
def test_what_a_hook_reads_is_not_in_the_way_of_manilas_log(manilas, caplog, of_file):
    of_file["alpha"] = of_file.get("alpha", "") + "\nshare_backend_name = 7"
    made = manilas(cfg.IntOpt("h"), cfg.StrOpt("h"), **of_file)
    assert made.values("h")[0] in (5, 7)
    made.edit(**of_file | {"alpha": "hook_dispatch = off"})
    with caplog.at_level(logging.DEBUG):
        made.conf.log_opt_values(logging.getLogger("manila"), logging.DEBUG)
    assert "alpha.share_backend_name" in caplog.text


def test_switch_in_default_is_followed_without_a_warning(manilas, caplog):
    made = manilas(cfg.StrOpt("h"))
    with caplog.at_level(logging.WARNING):
        made.edit(sections="[DEFAULT]\nenable_pre_hooks = True")
    assert made.hooks[0].pre_hooks_enabled is True
    assert caplog.text == ""


def test_change_that_waits_for_a_restart_is_a_warning(manilas, caplog):
    made = manilas(cfg.StrOpt("h"))
    with caplog.at_level(logging.DEBUG):
        made.edit(alpha="hook_methods = $none\nh = y")
        made.conf.log_opt_values(logging.getLogger("manila"), logging.DEBUG)
    (warning,) = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert warning == "Ignoring change to immutable option alpha.hook_methods"
    assert made.values("h") == ["y"]


def test_reference_to_an_option_of_manila(manilas):
    made = manilas(
        cfg.StrOpt("h", default="$share_backend_name/$hook_dispatch"),
        alpha="share_backend_name = lvm",
    )
    assert made.values("h") == ["lvm/inline"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        # The hook's own option, which is registered nowhere.
        ("$alpha.h/ops", "x/ops"),
        ("${DEFAULT.h}/ops", "y/ops"),
        # Another backend's, of the same name.
        ("$beta.h/ops", "z/ops"),
    ],
)
def test_reference_to_the_option_of_one_section(manilas, text, value):
    sections = f"[DEFAULT]\nh = y\n[beta]\nh = z\n[alpha:ops]\nh = {text}"
    made = manilas(cfg.StrOpt("h"), alpha="h = x", sections=sections)
    assert made.values("h") == [value]
