"""Retrieve sessions are spread over the proxy's loops, whoever else is connected; one that moves to another
loop at its start loses nothing, under TLS either."""
import re
import sys

from certificates import Authority
from cluster import Cluster, Scenarios, equal, wait_until
from cursors import Declarer
from rawpg import Q, Raw, S, ServerError, kinds, startup, values
from tlsraw import TlsRaw

HOST = "127.0.0.1"
ROWS = 50000
OPTIONS = [("user", "app"), ("database", "app"), ("options", "-c gp_session_role=retrieve")]
ON_LOOP = re.compile(r"retrieve session on (loop \d+)")


def open_retriever(kind, port, token):
    session = (TlsRaw if kind == "TLS" else Raw)(HOST, port, user="app", password=token, dbname="app")
    session.login(OPTIONS)
    return session


def numbers(rows):
    return sorted(int(row[0]) for row in rows)


def spread(proxy, c, kind, idle):
    """`idle` sessions of others come first, and some of them go again: the loops are not even."""
    port = proxy.settings["listen_port"]
    others = [Raw(HOST, port) if kind == "plain" else TlsRaw(HOST, port) for _ in range(idle)]
    for o in others:
        o.login()
    for o in others[::2]:
        o.close()
    before = len(ON_LOOP.findall(proxy.log_text()))
    with Declarer(c.proxy) as d:
        d.run("BEGIN")
        d.run("DECLARE c PARALLEL RETRIEVE CURSOR FOR SELECT * FROM t")
        names, token = d.endpoints("c"), d.token()
        equal(len(names), 4)
        readers = [open_retriever(kind, port, token) for _ in names]
        loops = ON_LOOP.findall(proxy.log_text())[before:]
        equal(sorted(loops), ["loop 0", "loop 0", "loop 1", "loop 1"])
        for r, name in zip(readers, names):
            r.send(Q(f"RETRIEVE ALL FROM ENDPOINT {name}"))
        equal(numbers(row for r in readers for row in values(r.until_ready())), list(range(1, ROWS + 1)))
        equal(d.tag("CHECK PARALLEL RETRIEVE CURSOR c"), "FINISHED")
        for r in readers:
            r.close()
        wait_until(lambda: proxy.log_text().count("retrieve session closed") == before + 4, "all are closed")
    for o in others[1::2]:
        equal(values(o.query("SELECT 1")), [["1"]])
        o.close()


def one_byte_at_a_time(port, token):
    """The startup packet comes in pieces: the move happens at its last byte."""
    for _ in range(4):
        with Raw(HOST, port, "app", token, "app", piece=1) as r:
            r.login(OPTIONS)
            equal(kinds(r.query("SHOW client_encoding"))[-2:], "ZI")


def data_behind_the_packet(port):
    """What stands behind the startup packet belongs to the session, on whichever loop it is: here it is no
    answer to the question for the password."""
    for _ in range(4):
        with Raw(HOST, port) as r:
            r.raw(startup(OPTIONS) + S())
            got = r.until_closed()
            assert got[-1][0] == "E" and b"C08P01\0" in got[-1][1], got


def wrong_tokens(port):
    """Many that are refused: no place is lost, and the proxy ends in order (the Cluster sees to that)."""
    for _ in range(20):
        with Raw(HOST, port, "app", "tk00", "app") as r:
            try:
                r.login(OPTIONS)
            except ServerError:
                continue
            raise AssertionError("a wrong token was taken")


def main():
    s = Scenarios("loops")
    with Cluster(superuser_service=True) as c:
        pair = Authority(c.folder, "ca").sign("server", dns=["localhost"], ip=[HOST])
        proxy = c.start_proxy("proxy", client_tls_sslmode="prefer", client_tls_cert_file=pair.cert, log_level="info",
                              client_tls_key_file=pair.key, keep_client_keys="on", threads="2")
        port = proxy.settings["listen_port"]
        c.direct.sql(f"CREATE TABLE t AS SELECT g, repeat('x', 40) AS x FROM generate_series(1, {ROWS}) g")
        c.direct.sql("VACUUM ANALYZE t")
        for kind in ("plain", "TLS"):
            for idle in (0, 3, 8):
                s.run(f"two on each loop, {idle} others, {kind}", spread, proxy, c, kind, idle)
        s.run("data behind the startup packet", data_behind_the_packet, port)
        s.run("wrong tokens", wrong_tokens, port)

        @s.scenario("a startup packet in pieces")
        def _():
            with Declarer(c.proxy) as d:
                d.run("BEGIN")
                d.run("DECLARE c PARALLEL RETRIEVE CURSOR FOR SELECT 1")
                one_byte_at_a_time(port, d.token())
        wait_until(lambda: c.direct.sql("SELECT count(*) FROM pg_stat_activity WHERE usename = 'app'", user="postgres") == "0",
                   "all server connections are gone")
    return s.finish()


if __name__ == "__main__":
    sys.exit(main())
