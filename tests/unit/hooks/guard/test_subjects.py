# SPDX-License-Identifier: Apache-2.0
"""The shares that the guard finds in the arguments of a call."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hooks.guard import subjects
from tests.support.models import Unloaded, kinds

from .common import share_of

WRAPPERS = [
    lambda thing: thing,
    lambda thing: [thing],
    lambda thing: (thing, "text", None, 5),
    lambda thing: {"share": thing},
    lambda thing: {"share_instances": [thing]},
    lambda thing: {"id": "h1", "share_group_snapshot_members": [{"share": thing}]},
]


@given(
    projects=st.lists(st.sampled_from("abcdef"), min_size=1, max_size=5),
    wrappers=st.lists(st.sampled_from(WRAPPERS), min_size=5, max_size=5),
)
def test_every_share_is_found(projects, wrappers):
    things = [
        wrap(share_of(project_id=project)) for project, wrap in zip(projects, wrappers)
    ]
    names = [f"argument_{number}" for number, _ in enumerate(things)]
    found = subjects.subjects_in(dict(zip(names, things)))
    assert [subject.project for subject in found if subject.project] == projects


@kinds
def test_dicts_and_models_are_read(kind):
    share = kind(project_id="p1", share_type_id="t1", share_type={"name": "gold"})
    snapshot = kind(id="n1", share=share)
    whole, found = subjects.subjects_in({"snapshot": snapshot})
    assert whole.is_snapshot
    assert not whole.is_share
    assert (found.project, found.share_type, found.status) == (
        "p1",
        ("gold", "t1"),
        None,
    )
    assert found.is_share
    assert found.thing is share


def test_nothing_is_known_of_a_model_that_cannot_be_read():
    assert subjects.subjects_in({"other": Unloaded(project_id="p1")}) == []
    (found,) = subjects.subjects_in({"share": Unloaded(project_id="p1")})
    assert not found.is_known


def test_models_that_refer_to_each_other_are_read_to_an_end():
    share, group = {"project_id": "p1"}, {"project_id": "p2"}
    share["share_group"], group["shares"] = group, [share]
    assert {found.project for found in subjects.subjects_in({"share": share})} == {
        "p1",
        "p2",
    }
    backup = {"project_id": "p3"}
    backup["share"] = backup
    assert {found.project for found in subjects.subjects_in({"backup": backup})} == {
        "p3"
    }
    endless = []
    endless.append(endless)
    assert subjects.subjects_in({"args": endless}) == []


class TestManila:
    """Manila's own database models."""

    @pytest.fixture
    def models(self):
        return pytest.importorskip("manila.db.sqlalchemy.models")

    @pytest.fixture
    def share(self, models):
        def make(project, share_type):
            share = models.Share(id=f"share of {project}", project_id=project, size=1)
            kind = models.ShareTypes(id=f"id of {share_type}", name=share_type)
            instance = models.ShareInstance(
                id="i1", status="available", share_type_id=kind.id, share_type=kind
            )
            instance.set_share_data(share)
            return instance

        return make

    def found(self, **arguments):
        return {
            (subject.project, *subject.share_type)
            for subject in subjects.subjects_in(arguments)
            if subject.project or subject.share_type
        }

    def test_share_instance_and_snapshot(self, models, share):
        gold = ("p1", "gold", "id of gold")
        assert self.found(share=share("p1", "gold")) == {gold}
        snapshot = models.ShareSnapshotInstance(id="n1")
        snapshot["share"] = share("p1", "gold")
        assert self.found(snapshot=snapshot) == {gold}
        loaded = models.ShareSnapshotInstance(id="n1", share_instance=snapshot["share"])
        assert self.found(source_snapshots=[loaded]) == {gold}

    def test_members_of_a_share_group(self, models, share):
        group = models.ShareGroup(id="g1", project_id="p1")
        group["shares"] = [share("p1", "gold"), share("p2", "tape")]
        members = [models.ShareSnapshotInstance(id=name) for name in ("n1", "n2")]
        for member, instance in zip(members, group["shares"]):
            member["share"] = instance
        snapshot = models.ShareGroupSnapshot(id="h1", project_id="p1")
        snapshot.share_group_snapshot_members = members
        both = {("p1",), ("p1", "gold", "id of gold"), ("p2", "tape", "id of tape")}
        assert self.found(share_group_dict=group) == both
        assert self.found(snap_dict=snapshot) == both

    def test_shares_of_a_share_server(self, models, share):
        instances = [share("p1", "gold"), share("p2", "tape")]
        server = models.ShareServer(id="v1", share_instances=instances)
        assert self.found(share_server=server, count=None) == {
            ("p1", "gold", "id of gold"),
            ("p2", "tape", "id of tape"),
        }
        assert self.found(share=share("p3", "tin"), share_server=server) == {
            ("p3", "tin", "id of tin")
        }

    def test_project_of_a_share_server_without_shares(self, models):
        network = models.ShareNetwork(id="w1", project_id="p1")
        subnet = models.ShareNetworkSubnet(id="x1", share_network=network)
        server = models.ShareServer(id="v1", share_network_subnets=[subnet])
        assert self.found(share_server=server) == {("p1",)}
        assert self.found(share_server=models.ShareServer(id="v1")) == set()

    def test_backup(self, models):
        backup = models.ShareBackup(id="b1", share_id="s1", project_id="p1")
        assert self.found(backup=backup) == {("p1",)}

    def test_relations_that_are_not_loaded_are_not_loaded(self, models):
        sqlalchemy = pytest.importorskip("sqlalchemy")
        engine = sqlalchemy.create_engine("sqlite://")
        models.BASE.metadata.create_all(engine)
        with sqlalchemy.orm.Session(engine) as session:
            session.add(models.ShareServer(id="v1", host="h1"))
            session.add(models.ShareInstance(id="i1", share_server_id="v1"))
            session.commit()
        with sqlalchemy.orm.Session(engine) as session:
            server = session.get(models.ShareServer, "v1")
            statements = []
            sqlalchemy.event.listen(
                engine,
                "before_cursor_execute",
                lambda *args: statements.append(args[2]),
            )
            assert self.found(share_server=server) == set()
            assert statements == []
