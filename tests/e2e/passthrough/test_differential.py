"""What a client gets through pgveneer equals, byte for byte, what the server sends it directly: the
inputs of the measured oracle, each whole and in pieces of 1, 2, 3 and 7 bytes.

Masked are only BackendKeyData, and the positions in the server's source (F, L, R stay: same server).
"""
import re
import socket
import struct
import sys

from cluster import Cluster, Scenarios
from rawpg import (B, C, D, E, H, P, Q, S, X, Closed, Raw, data, done, fail, kinds, message, startup)
import rawpg

USER = [("user", "app"), ("database", "app")]


def mask(messages):
    masked = []
    for kind, body in messages:
        if kind == "K":
            body = b"<%d bytes>" % len(body)
        if kind == "R" and len(body) > 8:
            body = re.sub(rb"(r|v|s)=[^,]*", rb"\1=", body)
        if kind == "R" and body[:4] == b"\0\0\0\5":
            body = b"md5"
        if kind == "A":
            body = body[4:]
        if kind == "E" or kind == "N":
            body = re.sub(rb"process \d+|PID \d+", b"process", body)
        masked.append((kind, body))
    return masked


def first_packets(raw):
    """Bytes before there is a session; everything up to the close."""
    def run(c):
        c.raw(raw)
        return c.until_closed()
    return run


def session(*steps, setup=()):
    """Logs in, then sends each step: (bytes, what to wait for). A number waits for that many
    ReadyForQuery, text for a message of one of these types, None for the close."""
    def run(c):
        got = list(c.login())
        for text in setup:
            got += c.query(text)
        for sent, wanted in steps:
            c.send(sent)
            if wanted is None:
                return got + c.until_closed()
            got += c.until_ready(wanted) if isinstance(wanted, int) else c.until(wanted)
        c.send(X())
        return got + c.until_closed()
    return run


def join(*messages):
    return b"".join(messages)


FAILING = "SELECT 1/0"
COPY_IN = "COPY t FROM STDIN"
T = ("CREATE TEMP TABLE t (a int PRIMARY KEY, b text)",
     "INSERT INTO t SELECT n, 'row ' || n FROM generate_series(1, 5) n")
DEFERRED = ("CREATE TEMP TABLE p (a int PRIMARY KEY)",
            "CREATE TEMP TABLE c (a int REFERENCES p DEFERRABLE INITIALLY DEFERRED)")

CASES = {
    # startup and negotiation
    "startup 3.2": lambda c: c.login(version=0x00030002),
    "startup 3.9999 with unknown options":
        lambda c: c.login(USER + [("_pq_.test_protocol_negotiation", "")], version=0x0003270F),
    "startup 3.0 with _pq_.foo": lambda c: c.login(USER + [("_pq_.foo", "1")]),
    "startup 4.0": first_packets(startup(USER, 0x00040000)),
    "startup 2.0": first_packets(startup(USER, 0x00020000)),
    "startup 1234.0": first_packets(startup(USER, 1234 << 16)),
    "startup without terminator": first_packets(startup(USER, end=b"")),
    "startup without user": first_packets(startup([("database", "app")])),
    "startup with unknown setting": lambda c: catch(c, USER + [("no_such_setting", "1")]),
    "unknown database": lambda c: catch(c, [("user", "app"), ("database", "nosuch")]),
    "options and odd settings": lambda c: c.login(USER + [
        ("options", "-c search_path=a,\\ b -c statement_timeout=7s --work-mem=5MB"),
        ("extra_float_digits", "2"), ("client_encoding", "LATIN1")]) + c.query("SHOW search_path"),
    "9900 bytes with 300 parameters": lambda c: c.login(
        USER + [(f"app.parameter_{n:03}", "x" * 14) for n in range(290)]),
    "length 10004": first_packets(struct.pack("!II", 10004, 0x00030000) + b"x" * 9996),
    "length 10005": first_packets(struct.pack("!II", 10005, 0x00030000) + b"x" * 9997),
    "length 3": first_packets(struct.pack("!I", 3)),
    "length 7": first_packets(struct.pack("!I", 7) + b"xxx"),
    "HTTP": first_packets(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
    "TLS hello": first_packets(bytes.fromhex("160301020001000001fc0303")),
    "wrong password": lambda c: (setattr(c, "password", "wrong"), catch(c, USER))[1],
    "cancel with unknown key": first_packets(rawpg.cancel_request(1234567, b"abcd")),
    "cancel without key": first_packets(rawpg.cancel_request(1234567, b"")),
    "startup and first query in one segment": lambda c: catch(c, USER, behind=Q("SELECT 1")),

    # simple protocol
    "select": session((Q("SELECT 1 AS a, 'x' AS b"), 1)),
    "empty queries": session((Q(""), 1), (Q(";"), 1), (Q("/* comment */"), 1)),
    "empty query in a failed transaction": session((Q("BEGIN; SELECT 1/0"), 1), (Q(""), 1), (Q("SELECT 1"), 1), (Q("ROLLBACK"), 1)),
    "several statements, one fails": session((Q("SELECT 1; SELECT 1/0; SELECT 3"), 1)),
    "notices": session((Q("DO $$BEGIN RAISE NOTICE 'n'; RAISE WARNING 'w'; END$$"), 1)),
    "parameter status": session((Q("SET application_name = 'a'; SET client_encoding = 'LATIN1'"), 1),
                                (Q("BEGIN; SET DateStyle = 'German'"), 1), (Q("ROLLBACK"), 1)),
    "notify to self": session((Q("LISTEN x"), 1), (Q("NOTIFY x, 'payload'"), 1)),
    "query without end": session((message("Q", b"SELECT 1"), 1)),
    "query with NUL inside": session((message("Q", b"SELECT\0 1\0"), 1)),
    "invalid UTF-8": session((message("Q", b"SELECT '\xff\xfe'\0"), 1)),
    "query of 300 kB": session((Q("SELECT length('" + "x" * 300000 + "')"), 1)),
    "row of 1 MB": session((Q("SELECT repeat('x', 1000000)"), 1)),
    "10000 rows": session((Q("SELECT n, repeat('x', n % 50) FROM generate_series(1, 10000) n"), 1)),
    "query and terminate": session((join(Q("SELECT 1"), X()), None)),
    "queries and terminate": session((join(Q("SELECT 1"), Q("SELECT pg_sleep(0.1)"), Q("SELECT 2"), X()), None)),
    "function call": session((message("F", struct.pack("!IHHi", 1397, 0, 1, 2) + b"-5" + b"\0\0"), 1)),
    "function call that fails": session((message("F", struct.pack("!IHH", 999999, 0, 0) + struct.pack("!H", 0)), 1)),

    # extended protocol
    "parse, bind, describe, execute": session((join(P("", "SELECT $1::int + 1"), B(values=["4"]), D(), E(), S()), 1)),
    "flush": session((join(P("a", "SELECT 1"), D("S", "a"), H()), "T"), (S(), 1)),
    "flush after each": session((join(P("", "SELECT 1"), H()), "1"), (join(B(), H()), "2"), (join(E(), H()), "C"), (S(), 1)),
    "row limit": session((join(P("", "SELECT * FROM generate_series(1, 5)"), B("p"), E("p", 2), H()), "s"),
                         (join(E("p", 2), H()), "s"), (join(E("p", 2), S()), 1), (join(E("p", 1), S()), 1)),
    "two cycles in one segment": session((join(P("", "SELECT 1"), B(), E(), S(), P("", "SELECT 2"), B(), E(), S()), 2)),
    "parse fails": session((join(P("", "SELEC"), B(), E(), S()), 1)),
    "bind fails": session((join(P("", "SELECT $1::int"), B(values=["x"]), E(), S()), 1)),
    "execute fails, two syncs": session((join(P("", FAILING), B(), E(), S(), S()), 2)),
    "query in the skipped part": session((join(P("", FAILING), B(), E(), Q("SELECT 1"), S()), 1)),
    "query inside a cycle": session((join(P("", "SELECT 1"), B(), D(), E(), Q("SELECT 2")), 1), (S(), 1)),
    "missing names": session((join(B("", "nosuch"), S()), 1), (join(D("S", "nosuch"), S()), 1),
                             (join(D("P", "nosuch"), S()), 1), (join(E("nosuch"), S()), 1), (join(C("S", "nosuch"), S()), 1)),
    "same name twice": session((join(P("a", "SELECT 1"), P("a", "SELECT 1"), S()), 1)),
    "two commands in parse": session((join(P("", "SELECT 1; SELECT 2"), S()), 1)),
    "empty parse": session((join(P("", ""), B(), D(), E(), S()), 1)),
    "close after failed parse": session((join(P("a", "SELEC"), S()), 1), (join(C("S", "a"), S()), 1)),
    "deferred constraint at sync": session((join(P("", "INSERT INTO c VALUES (1)"), B(), E(), S()), 1), setup=DEFERRED),
    "binary results": session((join(P("", "SELECT 1, 2::int8, now() > 'epoch'"), B(result_formats=[1]), D(), E(), S()), 1)),
    "parameter length -5": session((message("B", b"\0\0\0\0\0\1" + struct.pack("!i", -5) + b"\0\0") + S(), 1), setup=("SELECT 1",)),
    "describe of kind Z": session((join(D("Z", ""), S()), 1)),
    "discard all": session((join(P("a", "SELECT 1"), S()), 1), (join(P("", "DISCARD ALL"), B(), E(), S()), 1), (join(B("", "a"), S()), 1)),
    "sync alone": session((S(), 1), (join(S(), S()), 2)),
    "1000 cycles in one segment": session((join(P("s", "SELECT $1::int"), S()), 1), (join(*[join(B("", "s", [str(n)]), E(), S()) for n in range(1000)]), 1000)),
    "10000 parses without sync": session((join(*[P("", "SELECT 1")] * 10000, S()), 1)),

    # COPY
    "copy in": session((Q(COPY_IN), "G"), (join(data(b"10\tx\n"), data(b"11\ty\n"), done()), 1), setup=T),
    "copy in, sent in advance": session((join(Q(COPY_IN), data(b"10\tx\n"), done(), Q("SELECT count(*) FROM t")), 2), setup=T),
    "copy in fails": session((Q(COPY_IN), "G"), (join(data(b"bad\n"), data(b"12\tx\n"), done(), Q("SELECT count(*) FROM t")), 2), setup=T),
    "copy in given up": session((Q(COPY_IN), "G"), (fail(), 1), (Q("SELECT 1"), 1), setup=T),
    "copy in, two in one string": session((Q("COPY t FROM STDIN; COPY t FROM STDIN"), "G"), (join(data(b"10\tx\n"), done()), "G"), (join(data(b"11\tx\n"), done()), 1), setup=T),
    "copy in, extended, with sync": session((join(P("", COPY_IN), B(), E(), S()), "G"), (join(data(b"10\tx\n"), done(), S()), 1), setup=T),
    "copy in, extended, fails before": session((join(P("", "COPY nosuch FROM STDIN"), B(), E(), S()), 1), setup=T),
    "copy in, extended, all in advance": session((join(P("", COPY_IN), B(), E(), S(), data(b"10\tx\n"), done(), S()), 1), setup=T),
    "copy in, extended, bad row": session((join(P("", COPY_IN), B(), E(), S()), "G"), (join(data(b"bad\n"), done(), S()), 1), (Q("SELECT 1"), 1), setup=T),
    "query during copy": session((Q(COPY_IN), "G"), (Q("SELECT 1"), None), setup=T),
    "copy messages outside copy": session((join(data(b"x"), done(), fail(), Q("SELECT 1")), 1)),
    "copy out": session((Q("COPY t TO STDOUT"), 1), (join(P("", "COPY t TO STDOUT"), B(), E(), S()), 1), setup=T),
    "copy binary out": session((Q("COPY t TO STDOUT BINARY"), 1), setup=T),

    # the end of framing
    "unknown type": session((message("!"), None)),
    "password in mid-session": session((message("p", b"x\0"), None)),
    "length word 3": session((b"Q\0\0\0\3", None)),
    "length of 1 GiB": session((b"Q\x40\0\0\1abc", None)),
    "sync of 20000 bytes": session((message("S", b"x" * 20000), None)),
    "terminate": session((X(), None)),
    "own backend ended": session((Q("SELECT pg_terminate_backend(pg_backend_pid())"), None)),
}
# The stock server may offer TLS or GSSAPI where this release says N: only the proxy is looked at.


def catch(c, params, behind=b""):
    try:
        return c.login(params, behind=behind)
    except rawpg.ServerError as e:
        return [("E", repr(sorted(e.fields.items())).encode())] + c.until_closed()


def answer(endpoint, case, piece):
    with Raw(endpoint.host, endpoint.port, "app", piece=piece) as c:
        return mask(case(c))


def compare(cluster, case):
    want = answer(cluster.direct, case, None)
    for piece in (None, 1, 2, 3, 7):
        got = answer(cluster.proxy, case, piece)
        if got == want:
            continue
        at = next((n for n, (a, b) in enumerate(zip(got, want)) if a != b), min(len(got), len(want)))
        raise AssertionError(f"pieces of {piece}: {kinds(got)[-60:]} instead of {kinds(want)[-60:]}\n"
                             f"got  {got[at:at + 2]}\nwant {want[at:at + 2]}")


def main():
    scenarios = Scenarios("differential")
    only = sys.argv[1:]
    with Cluster() as cluster:
        cluster.start_proxy("proxy")
        for name, case in CASES.items():
            if not only or name in only:
                scenarios.run(name, compare, cluster, case)

        @scenarios.scenario("data behind SSLRequest and GSSENCRequest is refused")
        def _():
            for request in rawpg.SSL_REQUEST, rawpg.GSSENC_REQUEST:
                with Raw(cluster.proxy.host, cluster.proxy.port) as c:
                    c.raw(request + startup(USER))
                    assert c.bytes(1) == b"N"
                    kind, body = c.message()
                    assert kind == "E" and rawpg.fields(body)["C"] == "08P01", body
                    assert c.until_closed() == []

        @scenarios.scenario("SSLRequest, then GSSENCRequest, then a session; SSLRequest twice is refused")
        def _():
            with Raw(cluster.proxy.host, cluster.proxy.port, "app") as c:
                for request in rawpg.SSL_REQUEST, rawpg.GSSENC_REQUEST:
                    c.raw(request)
                    assert c.bytes(1) == b"N"
                assert kinds(c.login()).endswith("ZI")
            with Raw(cluster.proxy.host, cluster.proxy.port, "app") as c:
                c.raw(rawpg.SSL_REQUEST)
                assert c.bytes(1) == b"N"
                c.raw(rawpg.SSL_REQUEST)
                got = c.until_closed()
                assert rawpg.fields(got[0][1])["C"] == "0A000", got
    return scenarios.finish()


if __name__ == "__main__":
    sys.exit(main())
