# SPDX-License-Identifier: Apache-2.0
"""Manila's and Cinder's configuration objects, which read the global ``CONF``."""

from __future__ import annotations

import logging

import pytest
from oslo_config import cfg

import aspects
from tests.support.entries.recording import Driver


class Configuration:
    """A copy of Manila's ``Configuration``."""

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
def under_manila(new_backend, monkeypatch):
    """Return a function that weaves the hooks of a backend as under Manila."""

    def weave(*options, **of_file):
        backend = new_backend(*options, **of_file)
        monkeypatch.setattr(cfg, "CONF", backend.conf)
        # Manila registers its options before it creates the driver.
        backend.conf.register_opt(cfg.StrOpt("share_backend_name"), group="alpha")
        backend.conf.register_opt(cfg.BoolOpt("enable_pre_hooks", default=False))
        backend.conf.register_opt(cfg.StrOpt("h"), group="beta")
        section = Configuration("alpha")
        backend.woven = aspects.weave_from_config(Driver(), section, "node1@alpha")
        return backend

    return weave


def test_secret_options_of_the_driver_are_masked(under_manila):
    password = cfg.StrOpt("nas_password", secret=True)
    backend = under_manila(cfg.StrOpt("h_url"), alpha="nas_password = hunter2-Zq9")
    backend.conf.register_opt(password, group="alpha")
    (hook,) = backend.hooks
    for configuration in (hook.configuration, Configuration("alpha")):
        text = aspects.without_secrets(
            "tried hunter2-Zq9", None, {}, configuration=configuration
        )
        assert text == "tried ***"


def test_options_of_hooks_are_not_registered_with_manila(under_manila):
    backend = under_manila(cfg.StrOpt("h_url", default="x"), alpha="h_url = y")
    assert backend.values("h_url") == ["y"]
    at_start = {"hook_methods", "periodic_hooks_interval"}
    assert set(backend.conf.alpha) == {"share_backend_name", *at_start}
    assert set(backend.conf["alpha:ops"]) == {"periodic_hooks_interval"}
    # A driver can register an option of the same name.
    backend.conf.register_opt(cfg.IntOpt("h_url", default=1), group="alpha")


@pytest.mark.parametrize(
    "of_file",
    [
        # Another hook's option has the type of the first one.
        {"alpha": "h = word", "sections": "[alpha:ops]\nh = 5"},
        {"sections": "[alpha:ops]\nh = $alpha.share_backend_name\n[alpha:day]\nh = x"},
    ],
)
def test_manila_can_log_its_options_whatever_hooks_read(under_manila, caplog, of_file):
    of_file["alpha"] = of_file.get("alpha", "") + "\nshare_backend_name = 7"
    backend = under_manila(cfg.IntOpt("h"), cfg.StrOpt("h"), **of_file)
    assert backend.values("h")[0] in (5, 7)
    backend.edit(**of_file | {"alpha": "hook_dispatch = off"})
    with caplog.at_level(logging.DEBUG):
        backend.conf.log_opt_values(logging.getLogger("manila"), logging.DEBUG)
    assert "alpha.share_backend_name" in caplog.text


def test_switch_in_default_is_reloaded_without_a_warning(under_manila, caplog):
    backend = under_manila(cfg.StrOpt("h"))
    with caplog.at_level(logging.WARNING):
        backend.edit(sections="[DEFAULT]\nenable_pre_hooks = True")
    assert backend.hooks[0].pre_hooks_enabled is True
    assert caplog.text == ""


def test_change_that_needs_a_restart_is_logged_as_a_warning(under_manila, caplog):
    backend = under_manila(cfg.StrOpt("h"))
    with caplog.at_level(logging.DEBUG):
        backend.edit(alpha="hook_methods = $none\nh = y")
        backend.conf.log_opt_values(logging.getLogger("manila"), logging.DEBUG)
    (warning,) = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert warning == "Ignoring change to immutable option alpha.hook_methods"
    assert backend.values("h") == ["y"]


def test_option_of_a_hook_can_refer_to_an_option_of_manila(under_manila):
    backend = under_manila(
        cfg.StrOpt("h", default="$share_backend_name/$hook_dispatch"),
        alpha="share_backend_name = lvm",
    )
    assert backend.values("h") == ["lvm/inline"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        # An option of the hook, which is not registered with Manila.
        ("$alpha.h/ops", "x/ops"),
        ("${DEFAULT.h}/ops", "y/ops"),
        # An option of another backend with the same name.
        ("$beta.h/ops", "z/ops"),
    ],
)
def test_option_can_refer_to_an_option_of_one_section(under_manila, text, value):
    sections = f"[DEFAULT]\nh = y\n[beta]\nh = z\n[alpha:ops]\nh = {text}"
    backend = under_manila(cfg.StrOpt("h"), alpha="h = x", sections=sections)
    assert backend.values("h") == [value]
