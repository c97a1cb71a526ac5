"""Two replicas behind HAProxy on one PostgreSQL, under steady load: any part may be stopped or killed."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.haproxy import Proxy, haproxy
from tests.postgresql import PostgreSQL, binaries, postgresql
from tests.replicas.cluster import Load, Record, Replica, replicas

pytestmark = pytest.mark.replicas

CLIENTS, WRITERS = 3, 6


@dataclass
class Cluster:
    """All of it."""

    postgresql: PostgreSQL
    replicas: list[Replica]
    proxy: Proxy

    @property
    def record(self) -> Record:
        """Anew, as PostgreSQL may have been restarted."""
        return Record(self.postgresql.url)

    def bring_back(self, replica: Replica) -> None:
        """Until the proxy sends it calls again."""
        replica.start()
        replica.service.wait_ready()
        self.proxy.wait_for(replica.name, "UP")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, model_store: Path) -> Iterator[Cluster]:
    """PostgreSQL as it comes, fsync included. Tests leave it able to serve."""
    found, folder = binaries(), tmp_path_factory.mktemp("c")
    if found is None:
        pytest.skip("PostgreSQL is not installed (Debian: postgresql)")
    with (
        postgresql(found) as database,
        replicas(folder, model_store, database, ["replica1", "replica2"]) as places,
        haproxy(folder, *(place.url for place in places)) as proxy,
    ):
        yield Cluster(database, places, proxy)


def test_replicas_stopped_and_brought_back_in_turn_fail_no_call(cluster: Cluster) -> None:
    load = Load("rolling", cluster.proxy)
    with load.running(CLIENTS):
        load.wait_for_answers(5, 200)
        for replica in cluster.replicas:
            replica.stop()
            load.wait_for_answers(5, 200)
            cluster.bring_back(replica)
            load.wait_for_answers(5, 200)
    failed = [answer for answer in load.answers if answer.code != 200]
    assert failed == []
    cluster.record.wait_until_it_tells(load)


def test_a_killed_replica_takes_only_what_it_had_in_flight(cluster: Cluster) -> None:
    load = Load("killed", cluster.proxy)
    victim = cluster.replicas[0]
    with load.running(CLIENTS):
        load.wait_for_answers(5, 200)
        while not cluster.proxy.in_flight(victim.name):
            time.sleep(0.01)
        victim.kill()
        killed = time.monotonic()
        load.wait_for_answers(10, 200)
        cluster.bring_back(victim)
        load.wait_for_answers(5, 200)
    lost = [answer for answer in load.answers if answer.code != 200]
    assert all(answer.began < killed for answer in lost), lost
    assert len(lost) <= CLIENTS
    # Nobody knows of these whether they have their row. HAProxy says so in the API's form, or closes without a word a
    # connection that has had an answer before.
    assert all(answer.code == 0 or (answer.code == 502 and "may have been made" in answer.text) for answer in lost), (
        lost
    )
    print(f"{load.codes()}, lost: {lost}")
    assert max(answer.ended - answer.began for answer in load.answers if answer.began >= killed) < 3
    rows = cluster.record.codes(load)
    answered = {answer.request_id: [answer.code] for answer in load.answers if answer.code == 200}
    assert {name: rows.get(name) for name in answered} == answered
    assert all(rows.get(answer.request_id, [200]) == [200] for answer in lost)


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_postgresql_restarted_is_an_honest_503_and_recovery(cluster: Cluster, mode: str) -> None:
    load = Load(f"pg-{mode}", cluster.proxy)
    writing = Load(f"writing-{mode}", cluster.proxy, pace=0.02, images=False)  # so that commits are under way
    with load.running(CLIENTS), writing.running(WRITERS):
        load.wait_for_answers(5, 200)
        cluster.postgresql.stop(mode)
        stopped = time.monotonic()
        try:
            load.wait_for_answers(5, 503)
            assert load.codes(stopped).keys() == writing.codes(stopped).keys() == {503}
        finally:
            cluster.postgresql.start()
        back = time.monotonic()
        load.wait_for_answers(10, 200, seconds=15)
        for each in (load, writing):
            cluster.record.wait_for_codes(each, 503)  # while other calls go on
        recovered = min(answer.ended for answer in load.answers if answer.began > back and answer.code == 200) - back
    print(f"{mode}: {load.codes()}, {writing.codes()}, served again after {recovered:.1f} s")
    for each in (load, writing):
        assert each.codes().keys() == {200, 503}, each.codes()
        cluster.record.wait_until_it_tells(each)
