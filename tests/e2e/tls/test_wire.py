"""TLS byte by byte: handshakes in small segments, what must not survive one, ALPN, requests inside TLS, cancel
requests, and servers that misbehave before TLS is up."""
import contextlib
import os
import socket
import ssl
import struct
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "support"))
from certificates import Authority  # noqa: E402
from cluster import Cluster, Pgveneer, Scenarios, equal, wait_until  # noqa: E402
from rawpg import (GSSENC_REQUEST, SSL_REQUEST, Q, Raw, X, cancel_request, fields, kinds, message,  # noqa: E402
                   startup, values)
from tlsraw import FakeServer, TlsRaw  # noqa: E402

HOST = "127.0.0.1"
LOGIN = [("user", "app"), ("database", "app")]


class Setting:
    def __init__(self, c):
        self.c, self.ca = c, Authority(c.folder, "ca")
        self.server = self.ca.sign("server", dns=["localhost"], ip=[HOST])
        self.mine = self.server.for_client()  # readable by fake servers of the test
        c.direct.sql(f"ALTER SYSTEM SET ssl_cert_file = '{self.server.cert}'", user="postgres")
        c.direct.sql(f"ALTER SYSTEM SET ssl_key_file = '{self.server.key}'", user="postgres")
        c.direct.sql("ALTER SYSTEM SET ssl = on", user="postgres")
        c.postgres.restart()
        self.count = 0
        self.child = self.start(server_tls_sslmode="require")
        self.port = self.child.settings["listen_port"]

    def start(self, **settings):
        self.count += 1
        child = Pgveneer(self.c.folder, self.c.proxy_settings(**{
            "log_level": "debug", "client_tls_sslmode": "prefer", "client_tls_cert_file": self.server.cert,
            "client_tls_key_file": self.server.key, **settings}), "proxy", f"wire{self.count}")
        self.c.children.append(child)
        child.start(wait=False)
        wait_until(lambda: "ready on port" in child.log_text() or not child.process.is_running(), "it listens")
        return child


def pieces(t):
    for piece in (1, 2, 7, 100):
        with TlsRaw(HOST, t.port, piece=piece) as c:
            c.login()
            equal(values(c.query("SELECT 'x' || repeat('y', 3)")), [["xyyy"]])
    with TlsRaw(HOST, t.port, direct=True, alpn=["postgresql"], piece=1) as c:
        equal(c.tls.selected_alpn_protocol(), "postgresql")
        c.login()
        equal(kinds(c.query("SELECT 1")), "TDCZI")


def hello_in_the_request(t):
    """PostgreSQL 17 takes a ClientHello that did not wait for the S."""
    with Raw(HOST, t.port) as c:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(incoming, outgoing)
        with contextlib.suppress(ssl.SSLWantReadError):
            tls.do_handshake()
        c.raw(SSL_REQUEST + outgoing.read())
        equal(c.bytes(1), b"S")
        while True:
            incoming.write(c.buffer or c.sock.recv(65536))
            c.buffer = b""
            with contextlib.suppress(ssl.SSLWantReadError):
                tls.do_handshake()
                break
        tls.write(startup(LOGIN))
        c.raw(outgoing.read())
        incoming.write(c.sock.recv(65536))
        equal(tls.read(1), b"R")


def injection(t):
    """A startup packet, or anything, that came in the clear behind SSLRequest never becomes a session."""
    for behind in (startup(LOGIN), startup(LOGIN) + Q("SELECT 1"), b"x"):
        with Raw(HOST, t.port) as c:
            c.raw(SSL_REQUEST + behind)
            equal(c.bytes(1), b"S")
            tls = TlsRaw(HOST, t.port, handshake=False)
            tls.sock.close()
            tls.sock = c.sock
            tls.secure()
            (kind, body), = tls.until_closed()
            equal(kind, "E")
            equal(fields(body)["C"], "08P01")
            equal(fields(body)["M"], "received unencrypted data after SSL request")
    # In the clear what stands behind an N is no better.
    with Raw(HOST, t.port) as c:
        c.raw(GSSENC_REQUEST + startup(LOGIN))
        equal(c.bytes(1), b"N")
        equal(fields(c.until_closed()[0][1])["C"], "08P01")


def requests_inside(t):
    """As PostgreSQL: SSLRequest or GSSENCRequest again is an unknown version; inside direct TLS both get an N."""
    for request, version in ((SSL_REQUEST, "1234.5679"), (GSSENC_REQUEST, "1234.5680")):
        with TlsRaw(HOST, t.port) as c:
            c.raw(request)
            got = fields(c.until_closed()[0][1])
            equal(got["C"], "0A000")
            assert f"unsupported frontend protocol {version}" in got["M"], got
    with TlsRaw(HOST, t.port, direct=True, alpn=["postgresql"]) as c:
        c.raw(SSL_REQUEST)
        equal(c.bytes(1), b"N")
        c.raw(GSSENC_REQUEST)
        equal(c.bytes(1), b"N")
        c.login()
    with Raw(HOST, t.port) as c:  # GSS first, then TLS
        c.raw(GSSENC_REQUEST)
        equal(c.bytes(1), b"N")
        c.raw(SSL_REQUEST)
        equal(c.bytes(1), b"S")


def alpn(t):
    with TlsRaw(HOST, t.port, alpn=["postgresql"]) as c:
        c.login()
    with TlsRaw(HOST, t.port, direct=True) as c:
        equal(c.until_closed(), [], "direct without ALPN is closed without a word")
    for direct in (True, False):
        try:
            TlsRaw(HOST, t.port, direct=direct, alpn=["http/1.1"]).close()
            raise AssertionError("http/1.1 was taken")
        except ssl.SSLError as e:
            assert "NO_APPLICATION_PROTOCOL" in str(e).upper().replace(" ", "_"), e


def nonsense(t):
    """Neither TLS nor PostgreSQL: closed, and nothing else happens."""
    for data in (b"\x16", b"\x16\x03\x01\x02\x00" + b"x" * 600, b"\x16" * 40000):
        with Raw(HOST, t.port) as c:
            c.raw(data)
            c.sock.shutdown(socket.SHUT_WR)
            c.until_closed()
    with Raw(HOST, t.port) as c:
        c.raw(SSL_REQUEST)
        equal(c.bytes(1), b"S")
        c.raw(startup(LOGIN))  # instead of a handshake
        got = c.until_closed()
        assert not any(kind in "RSKZ" for kind, _ in got), got
    with Raw(HOST, t.port) as c:
        c.login()


def ends(t):
    """A client that ends its side under TLS still gets its answers; Terminate behind a query, too."""
    with TlsRaw(HOST, t.port) as c:
        c.login()
        c.send(Q("SELECT count(*) FROM generate_series(1, 100000)"), Q("SELECT 2"))
        c.sock.end_writing()
        equal(kinds(c.until_closed()), "TDCZITDCZI")
    with TlsRaw(HOST, t.port) as c:
        c.login()
        c.send(Q("SELECT 1"), X())
        equal(kinds(c.until_closed()), "TDCZI")
    count = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app'"
    with TlsRaw(HOST, t.port) as c:
        c.login()
        c.sock.sock.close()  # without close_notify
    wait_until(lambda: t.c.direct.sql(count, user="postgres") == "0", "sessions of clients that are gone end")


def cancel(t):
    with TlsRaw(HOST, t.port) as c:
        c.login()
        for open_cancel in (lambda: TlsRaw(HOST, t.port), lambda: Raw(HOST, t.port),
                            lambda: TlsRaw(HOST, t.port, direct=True, alpn=["postgresql"])):
            c.send(Q("SELECT pg_sleep(60)"))
            wait_until(lambda: t.c.direct.sql("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'"
                                              " AND state = 'active' AND pid <> pg_backend_pid()",
                                              user="postgres") == "1", "it sleeps")
            with open_cancel() as canceller:
                canceller.raw(cancel_request(c.pid, c.key))
                equal(canceller.until_closed(), [])
            got = c.until_ready()
            equal(fields(got[-2][1])["C"], "57014")


def client_must_be_secure(t):
    """require: a query in the clear is refused, a cancel request is not."""
    child = t.start(client_tls_sslmode="require", server_tls_sslmode="require")
    port = child.settings["listen_port"]
    with Raw(HOST, port) as c:
        c.start()
        (kind, body), = c.until_closed()
        equal((kind, fields(body)["C"]), ("E", "28000"))
    with TlsRaw(HOST, port) as c:
        c.login()
        c.send(Q("SELECT pg_sleep(60)"))
        wait_until(lambda: t.c.direct.sql("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'"
                                          " AND state = 'active'", user="postgres") == "1", "it sleeps")
        with Raw(HOST, port) as canceller:
            canceller.raw(cancel_request(c.pid, c.key))
            canceller.until_closed()
        equal(fields(c.until_ready()[-2][1])["C"], "57014")
    child.stop()


# ---- servers that misbehave ----

def read_exactly(sock, count):
    data = b""
    while len(data) < count:
        more = sock.recv(count - len(data))
        if not more:
            return data
        data += more
    return data


def answers(first):
    """A server that gives this answer to SSLRequest, then waits for the end."""
    def serve(server, sock):
        request = read_exactly(sock, 8)
        server.seen.append(request)
        sock.sendall(first)
        server.seen.append(sock.recv(65536))
    return serve


def against(t, serve, mode, client=None):
    """What a client sees of a proxy in front of this server: (messages, server.seen, log)."""
    with FakeServer(serve) as server:
        # Without TLS towards clients nobody but them connects to the server.
        child = t.start(client_tls_sslmode="disable", server_tls_sslmode=mode, server_tls_ca_file=t.ca.cert,
                        service="", backend=f"host={HOST} port={server.port}")
        with Raw(HOST, child.settings["listen_port"]) as c:
            (client or Raw.start)(c)
            got = c.until_closed()
        log = child.log_text()
        child.stop()
        return got, server.seen, log


def refused(t, serve, mode, words):
    got, seen, log = against(t, serve, mode)
    equal(seen[0], SSL_REQUEST, "the first packet")
    (kind, body), = got
    equal((kind, fields(body)["C"]), ("E", "57P03"))
    assert "secret" not in str(fields(body)), body
    assert words in log, log
    return seen


def servers_that_inject(t):
    """CVE-2021-23222: what comes with the S would be taken for something said under TLS."""
    ready = message("R", struct.pack("!I", 0)) + message("Z", b"I")
    for mode in ("prefer", "require", "verify-full"):
        seen = refused(t, answers(b"S" + ready), mode, "received unencrypted data after SSL response")
        equal(seen[1:], [b""], "nothing was sent to it")
    refused(t, answers(b"N" + ready), "prefer", "received unencrypted data after SSL response")


def servers_that_speak_too_early(t):
    """CVE-2024-10977: the text of somebody who did not prove who he is."""
    error = message("E", b"SFATAL\0VFATAL\0C28000\0Msecret words of nobody\0\0")
    refused(t, answers(error), "require", "server sent an error instead of an answer to SSLRequest")
    refused(t, answers(b"N"), "require", "server does not support TLS, but TLS was required")
    refused(t, answers(b"S"), "require", "TLS handshake failed")
    refused(t, lambda server, sock: server.seen.append(read_exactly(sock, 8)), "require", "server closed the connection")


def falls_back(t):
    """prefer: with a server whose handshake fails, or that knows no SSLRequest, once more in the clear."""
    def serve_then_plain(first):
        def serve(server, sock):
            if not server.seen:
                server.seen.append(read_exactly(sock, 8))
                sock.sendall(first)
                sock.recv(65536)
                sock.sendall(b"this is no TLS")
                return
            server.seen.append(sock.recv(65536))
            sock.sendall(message("E", b"SFATAL\0VFATAL\0C28000\0Mthe server's own words\0\0"))
        return serve
    for first in (b"S", b"E"):
        got, seen, _ = against(t, serve_then_plain(first), "prefer")
        equal(seen[:2], [SSL_REQUEST, startup(LOGIN)])
        equal(fields(got[0][1])["M"], "the server's own words")


def cancel_towards_the_server(t):
    """The cancel request itself goes under TLS, to the server with the right name only."""
    key = b"\1\2\3\4"

    def serve(server, sock):
        server.seen.append(read_exactly(sock, 8))
        sock.sendall(b"S")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(t.mine.cert, t.mine.key)
        with context.wrap_socket(sock, server_side=True) as secure:
            server.seen.append(secure.recv(100))
    got, seen, _ = against(t, serve, "verify-full", lambda c: c.raw(cancel_request(77, key)))
    equal((got, seen), ([], [SSL_REQUEST, cancel_request(77, key)]))


def many_at_once(t):
    """50 sessions on two threads, each with its own data."""
    errors = []

    def run(number):
        try:
            with TlsRaw(HOST, t.port) as c:
                c.login()
                for i in range(5):
                    equal(values(c.query(f"SELECT {number * 100 + i}")), [[str(number * 100 + i)]])
        except Exception as e:  # told below
            errors.append(e)
    threads = [threading.Thread(target=run, args=(n,)) for n in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    equal(errors, [])


def main():
    s = Scenarios("TLS, wire")
    with Cluster(auth="password") as c:
        t = Setting(c)
        s.run("handshakes in small segments", pieces, t)
        s.run("ClientHello behind SSLRequest", hello_in_the_request, t)
        s.run("injection in the clear", injection, t)
        s.run("requests inside TLS", requests_inside, t)
        s.run("ALPN", alpn, t)
        s.run("nonsense", nonsense, t)
        s.run("ends", ends, t)
        s.run("cancel", cancel, t)
        s.run("sslmode=require of ours", client_must_be_secure, t)
        s.run("50 sessions", many_at_once, t)
        s.run("servers that inject", servers_that_inject, t)
        s.run("servers that speak too early", servers_that_speak_too_early, t)
        s.run("prefer falls back", falls_back, t)
        s.run("cancel towards the server", cancel_towards_the_server, t)
    return s.finish()


if __name__ == "__main__":
    sys.exit(main())
