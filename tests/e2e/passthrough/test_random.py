"""Random conversations, vendor statements among them: through pgveneer the client gets what the server
answers directly to the same conversation with our names. A conversation is made from its seed; several
follow each other in a session, until one of them ends it.

    test_random.py [first seed [count [15 | 18]]]
"""
import os
import random
import struct
import sys

from cluster import Cluster, Scenarios
from rawpg import B, C, D, E, H, P, Q, S, X, Closed, Raw, data, done, fail, message
from test_vendor import COUNT, FIVE, PAUSE, SHOW, Spelled, comparable, join

IN_A_SESSION = 10
OWN = ["SELECT 1", "SELECT $1::int", "SELECT 1/0", "SELEC", "", "BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT a",
       "ROLLBACK TO a", "RELEASE a", "INSERT INTO t VALUES (1)", "SELECT count(*) FROM t",
       "SELECT n FROM generate_series(1, 3) n", "SET application_name = 'x'", "SELECT 1/$1::int",
       "DO $$BEGIN RAISE NOTICE 'n'; END$$", "DISCARD ALL", "DEALLOCATE ALL", "COPY t TO STDOUT", "LISTEN x", "NOTIFY x",
       "SET search_path = public", "SELECT n, 1/(3 - n) FROM generate_series(1, 5) n", "SELECT repeat('x', 9000)",
       "INSERT INTO u VALUES (1)", "VACUUM t", "DECLARE d CURSOR FOR SELECT n FROM generate_series(1, 4) n",
       "FETCH 2 FROM d", "PREPARE a AS SELECT 7", "EXECUTE a", "SELECT 1; SELECT 2", "INSERT INTO t VALUES (1); SELECT 1/0",
       "BEGIN; INSERT INTO t VALUES (2)", "COPY t FROM STDIN", "SET standard_conforming_strings = off",
       "SET client_encoding = 'SJIS'", "SELECT 'pg_task_show(1)'", "SELECT '\\' || pg_task_pause(1)"]
VENDOR = [COUNT, COUNT, SHOW, PAUSE, FIVE, "SELECT count(*) FROM pg_task_show($1)", "SELECT pg_task_show(1, 2)",
          f"SELECT 1; {COUNT}; SELECT 2", f"BEGIN; {PAUSE}", f"ROLLBACK; {COUNT}", f"DECLARE c CURSOR FOR {COUNT}",
          f"INSERT INTO t VALUES (3); {COUNT}", f"{COUNT}; SELECT 1/0", f"PREPARE b AS {COUNT}", f"EXPLAIN (COSTS off) {COUNT}"]
TABLES = ("CREATE TEMP TABLE t (n int); CREATE TEMP TABLE v (n int PRIMARY KEY); "
          "CREATE TEMP TABLE u (n int REFERENCES v DEFERRABLE INITIALLY DEFERRED)")
NAMES = ["", "", "a", "b"]
RESULT_FORMATS = [[], [0], [1]]


def damaged(r):
    return r.choice([message("Q", b"SELECT 1"), message("Q", b"SELECT\0 1\0"), message("P", b"a\0"), message("B", b"\0"),
                     message("E", b"\0"), message("D", b"Z\0"), message("C", b"Z\0"), message("S", b"x"), message("F", b"\0"),
                     message("P", b"\0SELECT 1\0\0\0x"), message("B", b"\0\0\0\0\0\1" + struct.pack("!i", -5) + b"\0\0"),
                     message("d", b"x"), message("H", b"y"), message("Q", b"SELECT '\xff'\0")])


def cycle(r, text):
    """A whole cycle, as drivers send it."""
    kind = r.randrange(6)
    name, portal = r.choice(NAMES), r.choice(NAMES)
    formats = r.choice(RESULT_FORMATS)
    if kind == 0:
        return join(P("", "BEGIN"), B(), E(), P("", text), B(), D(), E(), S())
    if kind == 1:  # asyncpg, postgres.js
        return join(P(name, text), D("S", name), H(), B("", name, result_formats=formats), E(), S())
    if kind == 2:  # pg-cursor
        return join(P("", text), B(portal, result_formats=formats), D("P", portal), H(), E(portal, 1), H(), E(portal, 2), H(),
                    C("P", portal), S())
    if kind == 3:  # pgjdbc with autosave
        return join(P("", "BEGIN"), B(), E(), Q("SAVEPOINT a"), P("", text), B(), E(), S(), Q("RELEASE a"))
    if kind == 4:  # a batch
        return join(P(name, text), *[join(B("", name, result_formats=formats), E("", 1)) for _ in range(r.randint(1, 20))], S())
    return join(P("", text), B(result_formats=formats), D(), E(), S())


def copy(r):
    rows = r.choice([b"7\n", b"7\n8\n", b"bad\n", b"7", b""])
    end = r.choice([done(), done(), fail(), join(done(), done())])
    return r.choice([join(Q("COPY t FROM STDIN"), data(rows), end),
                     join(Q("COPY t FROM STDIN; COPY t FROM STDIN"), data(rows), end, data(b"1\n"), done()),
                     join(Q("COPY t FROM STDIN"), data(rows), S(), H(), data(b"9\n"), end),
                     join(P("", "COPY t FROM STDIN"), B(), E(), S(), data(rows), end, S()),
                     join(P("", "COPY t FROM STDIN"), B(), E(), H(), data(rows), end, S()),
                     join(P("", "COPY t FROM STDIN"), B(), E(), S(), S(), data(rows), H(), end, P("", "SELECT 1"), B(), E(), S()),
                     join(P("", "COPY nosuch FROM STDIN"), B(), E(), S(), data(rows), end, S())])


def one(r):
    """One message, or a few that belong together."""
    text = r.choice(VENDOR if r.random() < 0.3 else OWN)
    kind = r.choice("QQPPPPBBBBEEEEDCSSSHcdFyyyz" + ("m" if r.random() < 0.3 else "") + ("X" if r.random() < 0.05 else ""))
    if kind == "Q":
        return Q(text)
    if kind == "P":
        return P(r.choice(NAMES), text)
    if kind == "B":
        values = r.choice([[], [], ["1"], ["0"], ["x"], ["SQLonHudi"], [None]])
        return B(r.choice(NAMES), r.choice(NAMES), values, result_formats=r.choice(RESULT_FORMATS))
    if kind == "E":
        return E(r.choice(NAMES), r.choice([0, 0, 0, 1, 2]))
    if kind in "DC":
        return (D if kind == "D" else C)(r.choice("SP"), r.choice(NAMES))
    if kind == "F":
        return message("F", struct.pack("!IHHi", r.choice([1397, 999999]), 0, 1, 2) + r.choice([b"-5", b"ab"]) + b"\0\0")
    plain = {"S": S, "H": H, "X": X, "c": lambda: r.choice([done(), fail()]), "d": lambda: data(b"1\n"),
             "m": lambda: damaged(r), "y": lambda: cycle(r, text), "z": lambda: copy(r) if r.random() < 0.3 else S()}
    return plain[kind]()


def conversation(r):
    """Segments of messages."""
    messages = [one(r) for _ in range(r.randint(3, 30))]
    segments = []
    while messages:
        n = r.randint(1, 12)
        segments.append(join(*messages[:n]))
        messages = messages[n:]
    return segments


class Player:
    """Plays conversations against one side, in one session as long as it lives."""

    def __init__(self, name, kind, endpoint):
        self.name, self.kind, self.endpoint, self.c = name, kind, endpoint, None

    def play(self, seed, segments, piece):
        if self.c is None:
            self.c = self.kind(self.endpoint.host, self.endpoint.port, "app")
            self.c.login()
        self.c.piece = piece
        self.c.send(Q(TABLES))
        for segment in segments:
            self.c.send(segment)
        self.c.send(S(), Q("ROLLBACK"), Q("SELECT count(*) FROM t"), Q("DISCARD ALL"), Q(f"SELECT 'end of {seed}'"))
        end, got = f"end of {seed}".encode(), []
        try:
            while True:
                got.append(self.c.message())
                if got[-1][0] == "D" and got[-1][1].endswith(end):
                    got += self.c.until_ready()
                    return comparable(got)
        except (Closed, ConnectionResetError):
            self.close()
            return comparable(got) + ["closed"]
        except TimeoutError:
            raise AssertionError(f"seed {seed}: no answer {self.name}, after {[kind for kind, _ in got]}\nsent {segments}")

    def close(self):
        if self.c is not None:
            self.c.close()
        self.c = None


def compare(direct, proxied, seed):
    r = random.Random(seed)
    segments = conversation(r)
    piece = r.choice([None, None, None, 1, 5, 64])
    want = direct.play(seed, segments, None)
    got = proxied.play(seed, segments, piece)
    if got == want:
        return
    at = next((n for n, (a, b) in enumerate(zip(got, want)) if a != b), min(len(got), len(want)))
    raise AssertionError(f"seed {seed}, pieces of {piece}, answer {at}:\n{[g[0] for g in got]}\n{[w[0] for w in want]}\n"
                         f"got  {got[at:at + 2]}\nwant {want[at:at + 2]}\nsent {segments}")


def run(cluster, first, count):
    direct, proxied = Player("directly", Spelled, cluster.direct), Player("through pgveneer", Raw, cluster.proxy)
    for n, seed in enumerate(range(first, first + count)):
        if n % IN_A_SESSION == 0:
            direct.close()
            proxied.close()
        compare(direct, proxied, seed)


def main():
    first = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    count = int(sys.argv[2]) if len(sys.argv) > 2 else int(os.environ.get("PGVENEER_RANDOM_RUNS", "200"))
    s = Scenarios("random conversations")
    for version in [int(sys.argv[3])] if len(sys.argv) > 3 else [15, 18]:
        with Cluster(version=18 if version == 18 else None) as cluster:
            cluster.start_proxy("proxy")
            cluster.proxy.sql(COUNT)
            s.run(f"PostgreSQL {version}: seeds {first} to {first + count - 1}", run, cluster, first, count)
    return s.finish()


if __name__ == "__main__":
    sys.exit(main())
