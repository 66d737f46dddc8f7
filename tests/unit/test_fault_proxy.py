"""The proxy that spoils connections does what it says, and nothing in fair weather."""

from __future__ import annotations

import random
import socket
import threading
import time

import pytest

from tests.faults.proxy import Line, Way, Wire
from tests.support.waiting import eventually


class Echo(threading.Thread):
    """Sends back what it gets and remembers it, and how each connection ended."""

    def __init__(self):
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.got = b""
        self.ends = []
        self.start()

    def run(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        with connection:
            try:
                while data := connection.recv(65536):
                    self.got += data
                    connection.sendall(data)
                self.ends.append("end")
            except ConnectionError:
                self.ends.append("reset")


@pytest.fixture(scope="module")
def line():
    line = Line()
    yield line
    line.close()


@pytest.fixture
def echo():
    echo = Echo()
    yield echo
    echo.listener.shutdown(socket.SHUT_RDWR)  # wakes who waits in accept
    echo.listener.close()
    echo.join(5)


@pytest.fixture
def wire(line, echo):
    wire = Wire(line, "wire", echo.port, random.Random(7))
    yield wire
    wire.close()


@pytest.fixture
def client(wire):
    with connected(wire) as client:
        yield client


def connected(wire):
    client = socket.create_connection(("127.0.0.1", wire.port), timeout=5)
    client.sendall(b"hello")
    assert received(client, 5) == b"hello"
    return client


def received(client, count):
    data = b""
    while len(data) < count and (more := client.recv(count - len(data))):
        data += more
    return data


def is_turned_away(wire):
    try:
        with socket.create_connection(("127.0.0.1", wire.port), timeout=5) as client:
            client.sendall(b"x")
            return client.recv(1) == b""
    except ConnectionError:
        return True


def is_silent(client, seconds=0.15):
    client.settimeout(seconds)
    try:
        return client.recv(1) is None
    except TimeoutError:
        return True
    finally:
        client.settimeout(5)


def test_in_fair_weather_every_byte_arrives_once_and_in_order_and_the_end_too(client, echo):
    sent = random.Random(1).randbytes(300_000)
    threading.Thread(target=client.sendall, args=(sent,)).start()

    assert received(client, len(sent)) == sent
    client.shutdown(socket.SHUT_WR)
    assert client.recv(1) == b""
    eventually(lambda: echo.ends == ["end"])


def test_a_reset_is_heard_at_both_ends_and_the_next_connection_is_carried(wire, client, echo):
    assert wire.reset() == 1

    with pytest.raises(ConnectionResetError):
        client.recv(1)
    eventually(lambda: echo.ends == ["reset"])
    eventually(lambda: wire.connections == 0)
    connected(wire).close()


def test_a_cut_wire_carries_nobody_until_it_is_healed(wire, client):
    wire.cut()

    with pytest.raises(ConnectionResetError):
        client.recv(1)
    assert is_turned_away(wire)
    wire.heal()
    connected(wire).close()


def test_a_wire_that_flaps_is_cut_and_whole_again_and_again_until_it_is_healed(wire, client):
    wire.flap(down=0.05, up=0.05)

    with pytest.raises(ConnectionResetError):
        client.recv(1)
    found = set()
    eventually(lambda: found.add(is_turned_away(wire)) or found == {True, False})
    eventually(lambda: wire.cuts >= 3)
    wire.heal()
    with connected(wire) as later:
        cuts = wire.cuts
        time.sleep(0.15)
        later.sendall(b"more")
        assert received(later, 4) == b"more"
    assert wire.cuts == cuts


@pytest.mark.parametrize(("way", "arrives"), [(Way.UP, b"hello"), (Way.DOWN, b"hellomore")])
def test_a_wire_stalled_one_way_keeps_the_bytes_and_passes_them_on_later(wire, client, echo, way, arrives):
    wire.weather.stalled = {way}
    client.sendall(b"more")

    assert is_silent(client)
    assert echo.got == arrives
    wire.heal()
    assert received(client, 4) == b"more"


def test_a_delay_is_paid_per_chunk_of_its_way(wire, client):
    wire.weather.delay = {Way.UP: 0.2}
    began = time.monotonic()
    client.sendall(b"more")

    assert received(client, 4) == b"more"
    assert 0.2 <= time.monotonic() - began < 2


def test_a_slow_wire_passes_small_pieces_at_its_speed(wire, client):
    wire.weather.bytes_per_second, wire.weather.slice_bytes = 2000, 50
    began = time.monotonic()
    client.sendall(b"x" * 400)

    assert received(client, 400) == b"x" * 400
    assert time.monotonic() - began > 0.15


def test_a_truncated_chunk_is_a_prefix_and_the_connection_is_reset(wire, client, echo):
    wire.weather.truncate = {Way.UP}
    client.sendall(b"0123456789")

    with pytest.raises(ConnectionResetError):
        while client.recv(100):
            pass
    eventually(lambda: echo.ends == ["reset"])
    tail = echo.got.removeprefix(b"hello")
    assert b"0123456789".startswith(tail)
    assert len(tail) < 10
    assert not wire.weather.truncate


def test_bytes_are_lost_once_and_the_stream_goes_on(wire, client, echo):
    wire.weather.lose = {Way.UP}
    client.sendall(b"0123456789")
    eventually(lambda: not wire.weather.lose)
    client.sendall(b"later")

    eventually(lambda: echo.got.endswith(b"later"))
    kept = echo.got.removeprefix(b"hello").removesuffix(b"later")
    assert b"0123456789".startswith(kept)
    assert len(kept) < 10


def test_a_chunk_comes_twice_once(wire, client):
    wire.weather.duplicate = {Way.DOWN}
    client.sendall(b"more")
    assert received(client, 8) == b"moremore"

    client.sendall(b"last")
    assert received(client, 4) == b"last"
    assert is_silent(client)


def test_an_orphan_hears_nothing_until_the_wire_is_healed(wire, client, echo):
    assert wire.orphan() == 1

    with pytest.raises(ConnectionResetError):
        client.recv(1)
    time.sleep(0.1)
    assert echo.ends == []
    wire.heal()
    eventually(lambda: echo.ends == ["reset"])


def test_where_nobody_listens_the_connection_is_reset(line):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    wire = Wire(line, "wire", port, random.Random(7))
    try:
        assert is_turned_away(wire)
    finally:
        wire.close()
