"""Long results and long COPYs in, which the proxy reads in larger pieces than they are sent in: a server that
stops in mid-stream has all that it sent relayed, and so has a client; tails arrive; a client that does not read
for a while gets everything. In the clear and under TLS on both legs.

"Stops" is a lock that another session holds, so nothing here waits for time."""
import hashlib
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "support"))
from certificates import Authority  # noqa: E402
from cluster import Cluster, Scenarios, equal, wait_until  # noqa: E402
from rawpg import Q, Raw, data, done, kinds, values  # noqa: E402
from tlsraw import TlsRaw  # noqa: E402

HOST = "127.0.0.1"
ROWS = 20000  # of 1024 bytes and a line end
LINE = "repeat(md5(g::text), 32)"
HALF = f"(SELECT g, {LINE} FROM generate_series(1, {ROWS}) g WHERE g <> {ROWS // 2} OR pg_advisory_lock_shared(7) IS NOT NULL)"
SERVER_BUFFER = 8192  # what the server has not sent when it stops
WAITERS = "SELECT count(*) FROM pg_locks WHERE NOT granted"


def line(g):
    return hashlib.md5(str(g).encode()).hexdigest() * 32


class World:
    def __init__(self, c):
        self.c, ca = c, Authority(c.folder, "ca")
        pair = ca.sign("server", dns=["localhost"], ip=[HOST])
        for name, value in (("ssl_cert_file", pair.cert), ("ssl_key_file", pair.key), ("ssl", "on")):
            c.direct.sql(f"ALTER SYSTEM SET {name} = '{value}'", user="postgres")
        c.postgres.restart()
        self.plain = c.start_proxy("proxy", "plain", log_level="warning").settings["listen_port"]
        self.tls = c.start_proxy("proxy", "tls", client_tls_sslmode="require", client_tls_cert_file=pair.cert,
                                 client_tls_key_file=pair.key, server_tls_sslmode="require",
                                 log_level="warning").settings["listen_port"]

    def open(self, kind, **how):
        session = TlsRaw(HOST, self.tls, **how) if kind == "TLS" else Raw(HOST, self.plain, **how)
        session.login()
        return session

    def has_waiter(self):
        return self.c.direct.sql(WAITERS, user="postgres") != "0"


def server_stops(t, kind, **how):
    """Half of a COPY out, then nothing: the client has all of that half but the server's last piece."""
    with t.open(kind, **how) as holder, t.open(kind, **how) as c:
        holder.query("SELECT pg_advisory_lock(7)")
        c.send(Q(f"COPY {HALF} TO STDOUT"))
        rows = []
        enough = (ROWS // 2 - 1) * (5 + 1025) - SERVER_BUFFER
        got = 0
        while got < enough:
            kind_of, body = c.message()
            rows += [body] if kind_of == "d" else []
            got += len(body) + 5
        wait_until(t.has_waiter, "the server waits")
        holder.query("SELECT pg_advisory_unlock(7)")
        rows += [body for k, body in c.until_ready() if k == "d"]
        equal(b"".join(rows), "".join(f"{g}\t{line(g)}\n" for g in range(1, ROWS + 1)).encode())
        equal(values(c.query("SELECT 1")), [["1"]])


def client_rests(t, kind):
    """Nothing is read until the server is stuck on a full socket; then all of it."""
    with t.open(kind, rcvbuf=65536) as c:
        pid = values(c.query("SELECT pg_backend_pid()"))[0][0]
        c.send(Q(f"SELECT g, {LINE} FROM generate_series(1, {ROWS}) g"))
        wait_until(lambda: t.c.direct.sql("SELECT wait_event FROM pg_stat_activity WHERE pid = " + pid,
                                          user="postgres") == "ClientWrite", "the server cannot write")
        equal(values(c.until_ready()), [[str(g), line(g)] for g in range(1, ROWS + 1)])


def many_tails(t, kind):
    """Results whose ends lie anywhere behind a full read, one after the other."""
    with t.open(kind) as c:
        for rows in (4000, 4001, 4008, 4040, 4064, 4065, 4130):
            got = c.query(f"SELECT {LINE} FROM generate_series(1, {rows}) g")
            equal(kinds(got), "T" + "D" * rows + "CZI")


def client_stops(t, kind):
    """A COPY in that pauses: the server has every byte of what was sent before it goes on."""
    with t.open(kind) as c:
        c.query("DROP TABLE IF EXISTS taken; CREATE TABLE taken (a text)")
        c.send(Q("COPY taken FROM STDIN"))
        c.until("G")
        sent = 0
        for part in range(3):
            lines = [(line(g) + "\n").encode() for g in range(part * 5000, part * 5000 + 5000)]
            c.send(*[data(text) for text in lines])
            sent += sum(map(len, lines))
            wait_until(lambda: t.c.direct.sql("SELECT bytes_processed FROM pg_stat_progress_copy", user="postgres") == str(sent),
                       "the server has all")
        c.send(done())
        equal(kinds(c.until_ready()), "CZI")
        equal(values(c.query("SELECT count(*), count(DISTINCT a), sum(length(a)) FROM taken")),
              [["15000", "15000", str(15000 * 1024)]])


def main():
    s = Scenarios("long streams")
    with Cluster() as c:
        t = World(c)
        for kind in ("plain", "TLS"):
            s.run(f"a server that stops in mid-stream, {kind}", server_stops, t, kind)
            s.run(f"a server that stops, and a client with a small window, {kind}",
                  lambda k=kind: server_stops(t, k, rcvbuf=16384))
            s.run(f"a client that does not read for a while, {kind}", client_rests, t, kind)
            s.run(f"tails of all lengths, {kind}", many_tails, t, kind)
            s.run(f"a client that stops in a COPY in, {kind}", client_stops, t, kind)
    return s.finish()


if __name__ == "__main__":
    sys.exit(main())
