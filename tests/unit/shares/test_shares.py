# SPDX-License-Identifier: Apache-2.0
"""The metadata and the share type of a share, without Manila."""

from __future__ import annotations

import gc
import weakref
from collections import Counter
from types import SimpleNamespace

import pytest

import aspects
from aspects import shares
from tests.support.models import Indexed, Model, kinds

METADATA = {"protected": "true"}
GOLD = aspects.ShareType("t1", "gold", {"tier": "1"})


class Context:
    """A request's context."""


class Source:
    """A source that knows the share with the ID known."""

    def __init__(self):
        self.asked = Counter()

    def metadata(self, share):
        self.asked["metadata"] += 1
        return METADATA if shares.value(share, "id") == "known" else None

    def share_type(self, share):
        self.asked["share_type"] += 1
        return GOLD if shares.value(share, "id") == "known" else None


@pytest.fixture
def source(monkeypatch):
    source = Source()
    monkeypatch.setattr(shares, "_source", None)
    shares.register(source)
    return source


@pytest.fixture(autouse=True)
def without_source(monkeypatch):
    monkeypatch.setattr(shares, "_source", None)


@kinds
def test_without_manila_a_share_has_its_own_metadata(kind):
    share = kind(id="1", metadata=METADATA)
    assert aspects.share_metadata(Context(), share) == METADATA


@kinds
def test_metadata_that_is_not_a_mapping_does_not_count(kind):
    assert aspects.share_metadata(Context(), kind(id="1", metadata=object())) == {}
    assert aspects.share_metadata(Context(), kind(id="1")) == {}


@kinds
def test_without_manila_a_share_has_its_own_type(kind):
    declared = kind(id="t1", name="gold", extra_specs={"tier": "1"})
    share = kind(id="1", share_type=declared)
    assert aspects.share_type(Context(), share) == GOLD


@kinds
def test_a_type_may_be_named_by_the_share_alone(kind):
    share = kind(share_type_id="t1", share_type_name="gold")
    assert aspects.share_type(Context(), share) == aspects.ShareType("t1", "gold", {})
    assert aspects.share_type(Context(), kind()) == aspects.ShareType(None, None, {})


@pytest.mark.parametrize("share", [None, "text", 3, object()])
def test_what_is_not_a_share_has_no_facts(share):
    assert aspects.share_metadata(Context(), share) == {}
    assert aspects.share_type(Context(), share) == aspects.ShareType(None, None, {})


def test_the_registered_source_is_asked_first(source):
    share = {"id": "known", "metadata": {"not": "this"}, "share_type_id": "not this"}
    assert aspects.share_metadata(Context(), share) == METADATA
    assert aspects.share_type(Context(), share) == GOLD


def test_a_share_unknown_to_the_source_answers_for_itself(source):
    share = {"id": "unknown", "metadata": {"a": "b"}, "share_type_name": "silver"}
    assert aspects.share_metadata(Context(), share) == {"a": "b"}
    assert aspects.share_type(Context(), share).name == "silver"


@pytest.mark.parametrize("kind", [dict, Model, Indexed])
def test_the_source_is_asked_once_for_each_context_and_share(kind, source):
    share, other = kind(id="known"), kind(id="unknown")
    context = Context()
    for _ in range(3):
        for thing in (share, other):
            aspects.share_metadata(context, thing)
            aspects.share_type(context, thing)
    assert source.asked == {"metadata": 2, "share_type": 2}
    aspects.share_metadata(Context(), share)
    aspects.share_metadata(context, kind(id="known"))
    assert source.asked["metadata"] == 4


def test_a_context_without_weak_references_is_not_remembered(source):
    share = {"id": "known"}
    for context in (None, (), SimpleNamespace()):
        assert aspects.share_metadata(context, share) == METADATA
        assert aspects.share_metadata(context, share) == METADATA
    # A SimpleNamespace can be referenced, but not hashed.
    assert source.asked["metadata"] == 6


def test_a_hook_that_changes_its_answer_changes_it_for_no_other(source):
    context, share = Context(), {"id": "known"}
    aspects.share_metadata(context, share)["protected"] = "false"
    aspects.share_type(context, share).extra_specs["tier"] = "2"
    assert aspects.share_metadata(context, share) == {"protected": "true"}
    assert aspects.share_type(context, share).extra_specs == {"tier": "1"}


@pytest.mark.slow
def test_answers_are_dropped_with_their_context(source):
    context, share = Context(), Model(id="known")
    aspects.share_metadata(context, share)
    kept = weakref.ref(share)
    del share
    assert kept() is not None
    del context
    gc.collect()
    assert kept() is None


def test_a_long_lived_context_keeps_a_limited_number_of_answers(source):
    context = Context()
    known = [{"id": "known"} for _ in range(3 * shares.KEPT)]
    for share in known:
        assert aspects.share_metadata(context, share) == METADATA
    assert len(shares._answers[context]) <= shares.KEPT


def test_an_error_of_the_source_reaches_the_hook_and_is_not_kept(source, monkeypatch):
    def fail(share):
        raise OSError("no database")

    context, share = Context(), {"id": "known"}
    with monkeypatch.context() as patch:
        patch.setattr(source, "metadata", fail)
        with pytest.raises(OSError, match="no database"):
            aspects.share_metadata(context, share)
    assert aspects.share_metadata(context, share) == METADATA
