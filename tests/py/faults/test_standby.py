"""A primary that dies for good under load, and what its standby has of what was acknowledged."""

import signal
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
from conftest import rows
from psycopg import sql
from testing.server import PORT, USER, Server, throwaway_server
from waiting import wait_for

from chaos.cable import Cable, Way, cable_to
from chaos.checker import CLAIM_FORGOTTEN
from chaos.faults import CRASH
from chaos.producing import Producer, enqueue_many
from chaos.world import World

RATE = 60.0
SEED = 1


@pytest.fixture
def standby(own_server: Server) -> Iterator[Server]:
    """A hot standby of own_server."""
    with throwaway_server(primary=own_server) as standby:
        yield standby


@pytest.fixture
def world(own_server: Server, standby: Server, tmp_path: Path) -> Iterator[World]:
    """A world of two servers: whoever takes writes is the one that is talked to."""
    hosts = ",".join(quote(str(each.sockets), safe="") for each in (own_server, standby))
    both = f"postgresql://{USER}@/postgres?host={hosts}&port={PORT},{PORT}&target_session_attrs=read-write"
    with World(own_server, tmp_path, url=both).closing() as world:
        yield world


def fail_over(world: World, standby: Server) -> None:
    world.server.stop(signal.SIGQUIT)
    standby.promote()


def follow(standby: Server, cable: Cable) -> None:
    """Has the standby follow its primary over a cable."""
    url = standby.url()
    there = f"host=127.0.0.1 port={cable.port} user={USER}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            sql.SQL("alter system set primary_conninfo = {}").format(sql.Literal(there))
        )
    rows(url, "select pg_reload_conf()")
    wait_for(
        lambda: rows(
            url,
            "select from pg_stat_wal_receiver where sender_port = %s and status = 'streaming'",
            cable.port,
        )
    )


def wait_until_replayed(primary: Server, standby: Server) -> None:
    [(position,)] = rows(primary.url(), "select pg_current_wal_flush_lsn()")
    wait_for(lambda: rows(standby.url(), "select where pg_last_wal_replay_lsn() >= %s", position))


def test_with_a_synchronous_standby_nothing_acknowledged_is_lost(
    world: World, standby: Server
) -> None:
    primary = world.server.url()
    rows(primary, "alter system set synchronous_standby_names = '*'")
    rows(primary, "select pg_reload_conf()")
    wait_for(lambda: rows(primary, "select from pg_stat_replication where sync_state = 'sync'"))
    world.start_runners(2)
    producer = Producer(world.url, world.notes, RATE, SEED)
    producer.start()
    wait_for(lambda: producer.acknowledged > 3 * RATE)
    # Else the promoted one would wait for a standby that it does not have.
    fail_over(world, standby)
    rows(standby.url(), "alter system reset synchronous_standby_names")
    rows(standby.url(), "select pg_reload_conf()")
    before = producer.acknowledged
    wait_for(lambda: producer.acknowledged > before + RATE)
    producer.stop()
    world.wait_until_all_has_ended()
    report = world.report(*CRASH)
    assert report.faults == []
    assert report.acknowledged > 4 * RATE


def test_with_an_asynchronous_one_what_it_had_not_received_is_lost_whole(
    world: World, standby: Server
) -> None:
    received, unseen, unheard = 200, 300, 50
    enqueue_many(world.url, world.notes, received)
    world.start_runners(2)
    world.wait_until_all_has_ended()
    with cable_to(world.server) as cable:
        follow(standby, cable)
        rows(world.url, "select soniq.pause_queue('default')")
        enqueue_many(world.url, world.notes, unseen)
        wait_until_replayed(world.server, standby)
        cable.cut(Way.TO_CLIENT)
        rows(world.url, "select soniq.resume_queue('default')")
        world.wait_until_all_has_ended()
        enqueue_many(world.url, world.notes, unheard)
        fail_over(world, standby)
    rows(world.url, "select soniq.resume_queue('default')")
    world.wait_until_all_has_ended()
    report = world.report(CLAIM_FORGOTTEN)
    assert report.lost == unheard
    assert report.faults == [fault for fault in report.faults if fault.endswith("is nowhere")]
    assert report.jobs == received + unseen
    # Those whose end it had not heard of were run once more.
    assert report.again[CLAIM_FORGOTTEN] <= unseen
