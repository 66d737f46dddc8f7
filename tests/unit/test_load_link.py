"""The counting wire of a load test: every byte both ways, messages by their lane, a link that is cut."""

from __future__ import annotations

import asyncio
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from city.load import link
from city.load.link import Heads, Wire, cut
from infra.embedded import free_port

PUSH = b"*3\r\n$5\r\nLPUSH\r\n$6\r\nsettle\r\n$5\r\nhello\r\n"
OTHER = b"*2\r\n$4\r\nLLEN\r\n$6\r\nsettle\r\n"
POPPED = b"*2\r\n$16\r\nresults.hospital\r\n$7\r\ngoodbye\r\n"


@given(cuts=st.lists(st.integers(0, 3 * len(PUSH + OTHER)), max_size=12))
def test_a_message_is_found_once_in_whatever_pieces_it_comes(cuts):
    stream = (PUSH + OTHER) * 3
    edges = [0, *sorted(cuts), len(stream)]
    heads = Heads(link._PUSHED)
    found = [one for begins, ends in pairwise(edges) for one in heads.found(stream[begins:ends])]
    assert found == [("settle", 5)] * 3


def test_what_comes_down_is_told_by_its_lane_without_the_front_end():
    assert Heads(link._POPPED).found(POPPED) == [("results", 7)]
    assert Heads(link._POPPED).found(PUSH) == []


def test_bytes_are_shared_out_among_the_commands_whatever_pieces_they_come_in():
    commands = link.Commands()
    shares = [one for piece in (PUSH + OTHER, PUSH[:30], PUSH[30:], OTHER) for one in commands.shared(piece)]
    total = {name: sum(size for other, size in shares if other == name) for name, _ in shares}
    assert total == {"?": 0, "LPUSH": 2 * len(PUSH), "LLEN": 2 * len(OTHER)}


class Broker(asyncio.Protocol):
    """Answers whatever it gets with a popped message."""

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(POPPED)


class Asking(asyncio.Protocol):
    """One connection: what came, and whether it is lost."""

    def __init__(self):
        self.got, self.came, self.lost = b"", asyncio.Event(), asyncio.Event()

    def data_received(self, data):
        self.got += data
        self.came.set()

    def connection_lost(self, exc):
        self.lost.set()


async def asking(port, what):
    transport, one = await asyncio.get_running_loop().create_connection(Asking, "127.0.0.1", port)
    transport.write(what)
    return transport, one


def test_bytes_are_counted_both_ways_and_a_cut_link_carries_none():
    async def play():
        loop = asyncio.get_running_loop()
        ports = [free_port(0, "test", print), free_port(0, "test", print)]
        wire = Wire("hospital")
        broker = await loop.create_server(Broker, "127.0.0.1", ports[0])
        wired = await loop.create_server(lambda: link._Near(wire, "127.0.0.1", ports[0]), "127.0.0.1", ports[1])
        async with broker, wired, asyncio.timeout(5):
            _, before = await asking(ports[1], PUSH)
            await before.came.wait()
            assert before.got == POPPED
            assert (wire.up, wire.down) == (len(PUSH), len(POPPED))
            assert (wire.messages, wire.weights) == ({"settle": 1, "results": 1}, {"settle": 5, "results": 7})

            cut(wire)
            await before.lost.wait()
            _, meanwhile = await asking(ports[1], PUSH)
            await meanwhile.lost.wait()
            assert (meanwhile.got, wire.up) == (b"", len(PUSH))

            wire.is_cut = False
            transport, after = await asking(ports[1], PUSH)
            await after.came.wait()
            assert after.got == POPPED
            transport.close()
            await after.lost.wait()
            while wire.ends:
                await asyncio.sleep(0.01)

    asyncio.run(play())
