"""Vendor statements in every situation of the protocol. What the client gets equals what the server
answers directly to the same conversation with our own names (pgveneer.pg_task_show instead of
pg_task_show): nothing of the injected statements shows, and positions are those of the client's text.
"""
import sys
import threading

from cluster import Cluster, Endpoint, Scenarios, equal, wait_until
from rawpg import B, C, D, E, H, P, Q, S, X, Raw, data, done, fields, kinds, message, one_cancel, values

SHOW = "SELECT task_id FROM pg_task_show('SQLonHudi')"
COUNT = "SELECT count(*) FROM pg_task_show('SQLonHudi')"
PAUSE = "SELECT pg_task_pause('nosuch')"
FIVE = "SELECT n FROM generate_series(1, 5) n LEFT JOIN pg_task_show('SQLonHudi') ON true"
DEFERRED = "CREATE TEMP TABLE p (a int PRIMARY KEY); CREATE TEMP TABLE c (a int REFERENCES p DEFERRABLE INITIALLY DEFERRED)"
CREATE = "CREATE SERVER {} FOREIGN DATA WRAPPER hdfs_fdw OPTIONS (type 'obs', address 'h', " \
         "access_key 'AK', secret_access_key 'top-secret')"


def join(*messages):
    return b"".join(messages)


def talk(*steps):
    """Steps: (bytes, ReadyForQuerys to wait for, or types, or None for the close)."""
    def run(c):
        c.login()
        got = []
        for sent, wanted in steps:
            c.send(sent)
            if wanted is None:
                return got + c.until_closed()
            got += c.until_ready(wanted) if isinstance(wanted, int) else c.until(wanted)
        return got
    return run


# With vendor names; run directly with ours.
SAME = {
    "simple": talk((Q(SHOW), 1), (Q(SHOW), 1)),
    "between others in one string": talk((Q(f"SELECT 1; {SHOW}; SELECT 2"), 1)),
    "pipelined simple queries": talk((join(Q("SELECT 1"), Q(COUNT), Q("SELECT 2"), Q(COUNT)), 4)),
    "query and terminate": talk((join(Q(COUNT), X()), None)),
    "an error inside our function": talk((Q(PAUSE), 1), (Q("SELECT 1"), 1)),
    "an error fails the transaction": talk((Q("BEGIN"), 1), (Q(PAUSE), 1), (Q(COUNT), 1), (Q("ROLLBACK"), 1)),
    "first call in a failed transaction": talk((Q("BEGIN; SELECT 1/0"), 1), (Q(COUNT), 1), (Q(f"ROLLBACK; {COUNT}"), 1)),
    "extended": talk((join(P("", COUNT), B(), D(), E(), S()), 1)),
    "describe a statement": talk((join(P("s", "SELECT count(*) FROM pg_task_show($1)"), D("S", "s"), H()), "T"),
                                 (join(B("", "s", ["SQLonHudi"]), E(), S()), 1)),
    "prepared and executed ten times": talk((join(P("s", COUNT), S()), 1), *[(join(B("", "s", result_formats=[n % 2]), E(), S()), 1) for n in range(10)]),
    "transaction begun in the same cycle": talk((join(P("", "BEGIN"), B(), E(), P("", COUNT), B(), D(), E(), S()), 1), (Q("COMMIT"), 1)),
    "statements of both kinds in a cycle": talk((join(P("", "SELECT 1"), B(), E(), P("", COUNT), B(), E(), P("", "SELECT 2"), B(), E(), S()), 1)),
    "an earlier member of the cycle fails": talk((join(P("", "SELECT 1/0"), B(), E(), P("", COUNT), B(), E(), S()), 1)),
    "an earlier member fails, simple query": talk((join(P("", "SELECT 1/0"), B(), E(), Q(COUNT), S()), 1), (Q(COUNT), 1)),
    "ours fails in the cycle": talk((join(P("", PAUSE), B(), E(), P("", "SELECT 2"), B(), E(), S()), 1), (Q("SELECT 1"), 1)),
    "simple query inside a cycle": talk((join(P("", "BEGIN"), B(), E(), Q(COUNT)), 1), (join(P("", "SELECT 1"), B(), E(), S()), 1)),
    "two cycles in one segment": talk((join(P("", COUNT), B(), E(), S(), P("", SHOW), B(), E(), S()), 2)),
    "flush after each": talk((join(P("", COUNT), H()), "1"), (join(B(), H()), "2"), (join(E(), H()), "C"), (S(), 1)),
    "rows in portions": talk((join(P("", "SELECT n FROM generate_series(1, 3) n, pg_task_show('SQLonHudi') RIGHT JOIN (SELECT 1) o ON true"), B("p"), E("p", 2), H()), "s"), (join(E("p", 2), S()), 1)),
    "a named portal in portions, with Flush": talk((join(P("", FIVE), B("p"), E("p", 2), H()), "s"), (join(E("p", 2), H()), "s"), (join(E("p", 2), H()), "C"), (S(), 1)),
    "a named portal over several cycles of a transaction": talk((Q("BEGIN"), 1), (join(P("s", FIVE), B("p", "s"), E("p", 2), S()), 1), (join(E("p", 2), S()), 1), (join(D("P", "p"), E("p"), C("P", "p"), S()), 1), (join(E("p"), S()), 1), (Q("ROLLBACK"), 1)),
    "two named portals at a time, one of them ours": talk((join(P("a", FIVE), P("b", "SELECT -n FROM generate_series(1, 5) n"), B("pa", "a"), B("pb", "b"), E("pa", 1), E("pb", 1), E("pa", 3), E("pb"), E("pa"), S()), 1)),
    "the statement is closed, its portal lives": talk((join(P("s", FIVE), B("p", "s"), C("S", "s"), E("p", 1), E("p"), S()), 1)),
    "rows in binary, in portions": talk((join(P("", FIVE), B("p", result_formats=[1]), D("P", "p"), E("p", 3), H()), "s"), (join(E("p"), S()), 1)),
    "parameters in binary, results in both": talk((join(P("", "SELECT count(*), $2::int FROM pg_task_show($1)"), B(values=["SQLonHudi", b"\0\0\1\2"], formats=[0, 1], result_formats=[1, 0]), D(), E(), S()), 1)),
    "pgjdbc: a batch of vendor calls and others": talk((join(P("", "BEGIN"), B(), E(), *[join(P("", text), B(), D(), E("", 1)) for text in (COUNT, "SELECT 1", SHOW, COUNT)], S()), 1), (join(P("", "COMMIT"), B(), E("", 1), S()), 1)),
    "pgjdbc: a batch, the vendor call in its middle fails": talk((join(P("", "BEGIN"), B(), E(), P("", "SELECT 1"), B(), E(), P("", PAUSE), B(), E(), P("", COUNT), B(), E(), S()), 1), (join(P("", "ROLLBACK"), B(), E("", 1), S()), 1), (Q(COUNT), 1)),
    "pgjdbc: the fifth execution gets a name and binary results": talk((join(P("", COUNT), B(), D(), E(), S()), 1), (join(P("S_1", COUNT), B("", "S_1"), D(), E(), S()), 1), (join(B("", "S_1", result_formats=[1]), E(), S()), 1), (join(C("S", "S_1"), S()), 1)),
    "pgjdbc: autosave = always": talk((join(P("", "BEGIN"), B(), E(), Q("SAVEPOINT PGJDBC_AUTOSAVE"), P("", COUNT), B(), D(), E(), S()), 2), (Q("RELEASE SAVEPOINT PGJDBC_AUTOSAVE"), 1), (Q("COMMIT"), 1)),
    "pgjdbc: autosave, ours fails": talk((join(P("", "BEGIN"), B(), E(), Q("SAVEPOINT PGJDBC_AUTOSAVE"), P("", PAUSE), B(), D(), E(), S()), 2), (join(P("S_3", "ROLLBACK TO SAVEPOINT PGJDBC_AUTOSAVE"), B("", "S_3"), E(), S()), 1), (join(P("", COUNT), B(), E(), S()), 1), (Q("COMMIT"), 1)),
    "pgjdbc: a fetch size": talk((join(P("", "BEGIN"), B(), E(), P("", FIVE), B("C_1"), D("P", "C_1"), E("C_1", 3), S()), 1), (join(E("C_1", 3), S()), 1), (join(C("P", "C_1"), P("S_1", "COMMIT"), B("", "S_1"), E("", 1), S()), 1)),
    "asyncpg: prepare with Flush, execute with Sync": talk((join(P("stmt_1", "SELECT count(*) FROM pg_task_show($1)"), D("S", "stmt_1"), H()), "T"), (join(B("", "stmt_1", ["SQLonHudi"], formats=[1], result_formats=[1]), E(), S()), 1), (join(C("S", "stmt_1"), S()), 1)),
    "asyncpg: prepare with Flush, then a plain query of ours": talk((join(P("stmt_2", COUNT), D("S", "stmt_2"), H()), "T"), (Q(SHOW), 1), (join(B("", "stmt_2", result_formats=[1]), E(), S()), 1)),
    "asyncpg: prepare with Flush fails": talk((join(P("stmt_3", "SELECT pg_task_show(1, 2)"), D("S", "stmt_3"), H()), "E"), (S(), 1), (Q(COUNT), 1)),
    "asyncpg: a cursor": talk((Q("BEGIN;"), 1), (join(P("s1", FIVE), D("S", "s1"), H()), "T"), (join(B("portal_1", "s1", result_formats=[1]), E("portal_1", 2), S()), 1), (join(E("portal_1", 2), S()), 1), (join(C("P", "portal_1"), S()), 1), (Q("COMMIT;"), 1)),
    "pg-cursor: no Sync until its end": talk((join(P("", FIVE), B("C_1"), D("P", "C_1"), H()), "T"), (join(E("C_1", 2), H()), "s"), (join(E("C_1", 2), H()), "s"), (join(E("C_1", 2), H()), "C"), (join(C("P", "C_1"), S()), 1)),
    "pg-cursor: closed early": talk((join(P("", FIVE), B("C_2"), D("P", "C_2"), H()), "T"), (join(E("C_2", 2), H()), "s"), (join(C("P", "C_2"), S()), 1), (Q(COUNT), 1)),
    "postgres.js: pipelined executions behind a Flush": talk((join(P("a1", COUNT), D("S", "a1"), H()), "T"), (join(B("", "a1"), E(), S(), B("", "a1"), E(), S(), Q(SHOW)), 3)),
    "Npgsql: two statements prepared, one ours": talk((join(P("_p1", "SELECT 1"), D("S", "_p1"), P("_p2", COUNT), D("S", "_p2"), S()), 1), (join(B("", "_p1", result_formats=[1]), E(), B("", "_p2", result_formats=[1]), E(), S()), 1), (join(C("S", "_p1"), C("S", "_p2"), S()), 1)),
    "a Query of ours inside a cycle that wrote something": talk((Q("CREATE TEMP TABLE t (a int)"), 1), (join(P("", "INSERT INTO t VALUES (1)"), B(), E(), Q(COUNT)), 1), (join(P("", "SELECT count(*) FROM t"), B(), E(), S()), 1)),
    "a Query of ours inside a cycle of ours": talk((join(P("", COUNT), B(), D(), E(), Q(SHOW)), 1), (Q("SELECT 2"), 1), (S(), 1)),
    "a Query of ours behind Flush in a cycle": talk((join(P("", "SELECT 1"), B(), E(), H()), "C"), (Q(COUNT), 1), (join(P("", COUNT), B(), E(), S()), 1)),
    "a Query of ours that fails inside a cycle": talk((join(P("", "SELECT 1"), B(), E(), Q(PAUSE)), 1), (join(P("", COUNT), B(), E(), S()), 1)),
    "DDL, ours and an insert in one string": talk((Q(f"CREATE TEMP TABLE t (a int); {COUNT}; INSERT INTO t VALUES (1); {COUNT}"), 1), (Q("SELECT count(*) FROM t"), 1)),
    "a transaction in one string": talk((Q(f"BEGIN; {COUNT}; ROLLBACK; {COUNT}"), 1)),
    "an error behind ours in one string": talk((Q(f"{COUNT}; SELECT 1/0; {COUNT}"), 1), (Q(COUNT), 1)),
    "ours fails as the second in one string": talk((Q(f"{COUNT}; {PAUSE}; SELECT 1"), 1), (Q(COUNT), 1)),
    "a name given twice": talk((join(P("a", COUNT), P("a", COUNT), S()), 1), (join(B("", "a"), E(), S()), 1)),
    "a Parse of ours that fails drops the unnamed statement": talk((join(P("", COUNT), S()), 1), (join(P("", "SELECT pg_task_show(1, 2)"), S()), 1), (join(B(), E(), S()), 1)),
    "SQL's prepared statement by the protocol": talk((Q(f"PREPARE p AS {COUNT}"), 1), (join(B("", "p"), D(), E(), S()), 1)),
    "a cursor of SQL, declared and fetched by the protocol": talk((Q("BEGIN"), 1), (join(P("", f"DECLARE c CURSOR FOR {FIVE}"), B(), E(), D("P", "c"), E("c", 2), P("", "FETCH 2 FROM c"), B(), E(), S()), 1), (Q("COMMIT"), 1)),
    "copy of a query by the extended protocol": talk((join(P("", f"COPY ({FIVE}) TO STDOUT"), B(), E(), S()), 1)),
    "a deferred constraint fails at the Sync behind ours": talk((Q(DEFERRED), 1), (join(P("", "INSERT INTO c VALUES (1)"), B(), E(), P("", COUNT), B(), E(), S(), P("", COUNT), B(), E(), S()), 2)),
    "a Query of ours in a cycle that has executed nothing": talk((join(C("P", "p"), Q(COUNT)), 1), (S(), 1)),
    "a Query of ours behind Parse and Bind": talk((join(P("a", "SELECT 1"), B("p", "a"), Q(COUNT)), 1), (join(E("p"), S()), 1), (join(B("", "a"), E(), S()), 1)),
    "a Query of ours that fails in a cycle that has executed nothing": talk((join(P("a", "SELECT 1"), Q(PAUSE)), 1), (join(B("", "a"), E(), S()), 1)),
    "prepared by us, then VACUUM in the same cycle": talk((join(P("a", COUNT), P("", "VACUUM pg_am"), B(), E(), S()), 1)),
    "prepared by us behind a Bind of the client's": talk((join(P("b", "SELECT 5"), B("p", "b"), P("a", COUNT), E("p"), B("", "a"), E(), S()), 1)),
    "a Query of ours, then extended without Sync, then ours": talk((Q(COUNT), 1), (join(P("", "SELECT 1"), Q(SHOW)), 1), (join(P("", "SELECT 1"), B(), E(), Q(SHOW)), 1), (S(), 1)),
    "the first Query of ours behind another inside a cycle": talk((Q("CREATE TEMP TABLE t (a int)"), 1), (join(P("", "INSERT INTO t VALUES (1)"), B(), E(), Q("SELECT 2")), 1), (Q(COUNT), 1), (Q("SELECT 1/0"), 1), (Q("SELECT count(*) FROM t"), 1), (S(), 1), (Q("SELECT count(*) FROM t"), 1)),
    "the first Parse of ours behind a Query inside a cycle": talk((Q("CREATE TEMP TABLE t (a int)"), 1), (join(P("", "INSERT INTO t VALUES (1)"), B(), E(), Q("SELECT 2")), 1), (join(P("", COUNT), B(), E(), P("", "SELECT 1/0"), B(), E(), S()), 1), (Q("SELECT count(*) FROM t"), 1)),
    "a damaged Flush, then ours is skipped": talk((join(message("H", b"x"), Q(COUNT), S()), 1), (Q(COUNT), 1)),
    "Syncs around ours": talk((join(S(), P("", COUNT), S(), S(), B(), E(), S()), 4)),
    "parse fails": talk((join(P("", "SELECT pg_task_show(1, 2, 3)"), B(), E(), S()), 1)),
    "bind fails": talk((join(P("", "SELECT pg_task_show($1)"), B(values=[]), E(), S()), 1)),
    "cursor": talk((Q(f"BEGIN; DECLARE c CURSOR FOR {COUNT}; FETCH ALL FROM c; COMMIT"), 1)),
    "prepare and execute": talk((Q(f"PREPARE p AS {COUNT}; EXECUTE p; DEALLOCATE p"), 1)),
    "explain": talk((Q(f"EXPLAIN (COSTS off) {COUNT}"), 1)),
    "copy of a query": talk((Q(f"COPY ({COUNT}) TO STDOUT"), 1)),
    "copy in before": talk((join(Q("CREATE TEMP TABLE t (a int)"), Q("COPY t FROM STDIN"), data(b"1\n"), done(), Q(COUNT)), 3)),
    "instead of copy data": talk((Q("CREATE TEMP TABLE t (a int)"), 1), (join(Q("COPY t FROM STDIN"), Q(COUNT)), None)),
    "discard all": talk((join(P("s", COUNT), S()), 1), (Q("DISCARD ALL"), 1), (join(B("", "s"), S()), 1), (Q(COUNT), 1)),
    "close and use the name again": talk((join(P("s", PAUSE), S()), 1), (join(C("S", "s"), P("s", "SELECT 1/$1::int"), B("", "s", ["0"]), E(), S()), 1)),
    "500 in one segment": talk((join(*[Q(COUNT)] * 500), 500)),
    "standard_conforming_strings off, in the same segment": talk((join(Q("SET standard_conforming_strings = off"), Q("SELECT 'a\\' || pg_task_pause(''x'') || ''b'"), Q(COUNT)), 3)),
    "not ours: strings and comments": talk((Q("SELECT 'pg_task_show(1)', \"c\" FROM (SELECT 1 AS c) x -- pg_task_show('x')"), 1)),
}


class Spelled(Raw):
    """Sends our own names where the test says the vendor's, with lengths to match."""

    def send(self, *messages):
        out = []
        for m in split(b"".join(messages)):
            if m[:1] in b"QP" and b"'a\\'" not in m and b"'pg_task" not in m:
                body = m[5:].replace(b"pg_task_", b"pgveneer.pg_task_")
                m = m[:1] + (len(body) + 4).to_bytes(4, "big") + body
            out.append(m)
        self.raw(b"".join(out))


def split(stream):
    while stream:
        length = int.from_bytes(stream[1:5], "big") + 1
        yield stream[:length]
        stream = stream[length:]


def comparable(messages):
    """Positions and contexts are the proxy's to change; they have tests of their own."""
    got = []
    for kind, body in messages:
        if kind in "EN":
            f = fields(body)
            got.append((kind, f["C"], f["M"], f.get("D"), f.get("H")))
        elif kind != "A":
            got.append((kind, body))
    return got


def same(case, cluster):
    with Spelled(cluster.direct.host, cluster.direct.port, "app") as c:
        want = comparable(case(c))
    for piece in None, 1, 7:
        with Raw(cluster.proxy.host, cluster.proxy.port, "app", piece=piece) as c:
            got = comparable(case(c))
        at = next((n for n, (a, b) in enumerate(zip(got, want)) if a != b), min(len(got), len(want)))
        if got != want:
            raise AssertionError(f"pieces of {piece}: {[g[0] for g in got][-40:]} instead of "
                                 f"{[w[0] for w in want][-40:]}\ngot  {got[at:at + 2]}\nwant {want[at:at + 2]}")


def main():
    s = Scenarios("vendor statements")
    with Cluster(version=18) as cluster:
        cluster.start_proxy("proxy")
        cluster.proxy.sql(COUNT)
        for name, case in SAME.items():
            s.run(f"PostgreSQL 18: {name}", same, case, cluster)

    with Cluster(settings={"log_statement": "all", "log_min_messages": "info"}) as cluster:
        proxy = cluster.start_proxy("proxy")
        to, direct = cluster.proxy, cluster.direct
        to.sql(COUNT)  # installs the support schema

        def session(piece=None):
            c = Raw(to.host, to.port, "app", piece=piece)
            c.login()
            return c

        for name, case in SAME.items():
            s.run(name, same, case, cluster)

        @s.scenario("positions are the client's, contexts lose our functions")
        def _():
            text = "SELECT /* é */ pg_task_pause('a'), nosuch"
            with session() as c:
                got = fields(c.query(text)[0][1])
                equal((got["C"], int(got["P"])), ("42703", text.index("nosuch") + 1))
                c.send(P("", text), S())
                got = fields(c.until_ready()[0][1])
                equal(int(got["P"]), text.index("nosuch") + 1)
                got = fields(c.query(PAUSE)[-2][1])
                assert "W" not in got and "q" not in got, got
                got = fields(c.query("DO $$BEGIN PERFORM pg_task_pause('nosuch'); END$$")[0][1])
                assert "pgveneer.pg_task_pause(text)" not in got.get("W", ""), got

        @s.scenario("tags of statements that become procedure calls, simple and extended")
        def _():
            with session() as c:
                tags = lambda got: [b.rstrip(b"\0").decode() for k, b in got if k == "C"]
                equal(tags(c.query(f"{CREATE.format('s1')}; SELECT 1; DROP SERVER s1")),
                      ["CREATE SERVER", "SELECT 1", "DROP SERVER"])
                for _ in range(2):
                    c.send(P("", CREATE.format("s1")), B(), D(), E(), S())
                    got = c.until_ready()
                    equal((kinds(got), tags(got)), ("12nCZI", ["CREATE SERVER"]))
                    c.send(P("drop", "DROP SERVER s1"), B("p", "drop"), E("p"), C("S", "drop"), S())
                    got = c.until_ready()
                    equal((kinds(got), tags(got)), ("12C3ZI", ["DROP SERVER"]))

        @s.scenario("a secret stands in no log and no catalog")
        def _():
            with session() as c:
                equal(kinds(c.query(CREATE.format("s2"))), "CZI")
                c.query("BEGIN")
                equal(kinds(c.query(CREATE.format("s2"))), "EZE")
                c.query("ROLLBACK")
                c.send(P("", CREATE.format("s3")), B(), E(), S())
                equal(kinds(c.until_ready()), "12CZI")
                equal(values(c.query("SELECT current_setting('pgveneer.secrets', true)")), [[""]])
                c.send(P("", "BEGIN"), B(), E(), P("", CREATE.format("s4")), B(), E(), S())
                equal(kinds(c.until_ready()), "12C12CZT")
                c.query("ROLLBACK")
                equal(fields(c.query("DROP SERVER s4")[0][1])["C"], "42704")
                c.query("DROP SERVER s2; DROP SERVER s3")
            log = cluster.postgres.process.text()
            assert "hdfs_fdw" not in log.replace("pg_catalog", "") or "top-secret" not in log
            assert "top-secret" not in log and "top-secret" not in proxy.log_text()

        @s.scenario("what only looks like ours stays the server's")
        def _():
            direct.sql("CREATE FOREIGN DATA WRAPPER own; CREATE SERVER other FOREIGN DATA WRAPPER own;"
                       "ALTER SERVER other OWNER TO app; GRANT USAGE ON FOREIGN DATA WRAPPER own TO app", user="postgres")
            with session() as c:
                equal(kinds(c.query("ALTER SERVER other OPTIONS (a 'b')")), "CZI")
                equal(kinds(c.query("CREATE FOREIGN TABLE ft (a int) SERVER other")), "CZI")
                equal(kinds(c.query("DROP FOREIGN TABLE ft")), "CZI")
                equal(kinds(c.query("DROP SERVER other; SELECT 1")), "CTDCZI")
                equal(fields(c.query("DROP SERVER nosuch")[0][1])["C"], "42704")

        @s.scenario("an object of the user's own wins, from the moment it is there")
        def _():
            with session() as c:
                equal(values(c.query(COUNT)), [["0"]])
                c.query("CREATE FUNCTION public.pg_task_show(text) RETURNS text LANGUAGE sql AS 'SELECT $1'")
                equal(values(c.query("SELECT * FROM pg_task_show('SQLonHudi')")), [["SQLonHudi"]])
                c.query("SET search_path = pg_catalog")
                equal(values(c.query(COUNT)), [["0"]])
                c.query("RESET search_path")
                equal(values(c.query("SELECT pg_task_show('a')")), [["a"]])
                equal(values(c.query("SELECT count(*) FROM pg_catalog.pg_task_show('SQLonHudi')")), [["0"]])
                c.query("DROP FUNCTION public.pg_task_show(text)")
                equal(values(c.query(COUNT)), [["0"]])

        @s.scenario("an error of ours fails the client's transaction as the server's would")
        def _():
            bad = "CREATE SERVER s4 FOREIGN DATA WRAPPER hdfs_fdw OPTIONS (type 'obs', type 'obs'"
            many = "; ".join([CREATE.format("s5"), CREATE.format("s6")])
            with session() as c:
                got = c.query(many)
                equal(kinds(got), "EZI")
                f = fields(got[0][1])
                equal((f["S"], f["V"], f["C"]), ("ERROR", "ERROR", "0A000"))
                assert "W" not in f and "R" not in f and "F" not in f, f
                c.query("BEGIN")
                equal(kinds(c.query(many)), "EZE")
                equal([fields(b)["C"] for k, b in c.query(many) if k == "E"], ["25P02"])
                c.query("ROLLBACK")
                c.send(P("", many), B(), E(), Q("SELECT 1"), S())
                equal(kinds(c.until_ready()), "EZI")
                c.send(P("", "SELECT 1"), B(), E(), P("", many), B(), E(), S())
                equal(kinds(c.until_ready()), "12DCEZI")
                c.send(P("", "SELECT 1"), B(), E(), Q(many))
                equal(kinds(c.until_ready()), "12DCEZI")
                equal(kinds(c.query("SELECT 1")), "TDCZI")
                equal(kinds(c.query(bad)), "EZI")

        @s.scenario("a cancel hits the vendor's statement, whatever the server is doing for it")
        def _():
            direct.sql("CREATE TABLE lock_me (n int)", user="app")
            with session() as c, session() as other:
                other.query("BEGIN; LOCK TABLE lock_me")
                c.send(Q(f"SELECT count(*) FROM lock_me, pg_task_show('x')"))
                wait_until(lambda: direct.sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'",
                                              user="postgres") == "1", "it waits")
                one_cancel(to.host, to.port, c.pid, c.key)
                got = c.until_ready()
                equal([fields(b)["C"] for k, b in got if k == "E"], ["57014"])
                equal(kinds(c.query(COUNT)), "TDCZI")

        @s.scenario("a session that ends while its statement is prepared leaves nothing")
        def _():
            direct.sql("CREATE DATABASE fresh OWNER app", user="postgres")
            direct.sql("GRANT CREATE ON DATABASE fresh TO service", user="postgres")
            clients = []
            for n in range(10):
                c = Raw(to.host, to.port, "app", dbname="fresh")
                c.login()
                c.send(Q(COUNT))
                clients.append(c)
            for c in clients[::2]:
                c.close()
            for c in clients[1::2]:
                equal(kinds(c.until_ready()), "TDCZI")
                c.close()
            wait_until(lambda: direct.sql("SELECT count(*) FROM pg_stat_activity WHERE datname = 'fresh' "
                                          "AND usename = 'app'", user="postgres") == "0", "no sessions")

        @s.scenario("a driver's threads: 8 sessions, 200 vendor calls each, prepared")
        def _():
            errors = []
            def work():
                try:
                    with session() as c:
                        c.send(P("s", "SELECT count(*), $1::int FROM pg_task_show('SQLonHudi')"), S())
                        c.until_ready()
                        for n in range(200):
                            c.send(B("", "s", [str(n)]), E(), S())
                            equal(values(c.until_ready()), [["0", str(n)]])
                except Exception as e:
                    errors.append(e)
            threads = [threading.Thread(target=work) for _ in range(8)]
            [t.start() for t in threads]
            [t.join() for t in threads]
            if errors:
                raise errors[0]

        @s.scenario("workers are notified after the commit, not before")
        def _():
            with Raw(direct.host, direct.port, "service", dbname="app") as listener, session() as c:
                listener.login()
                listener.query("LISTEN pgveneer_task")
                c.query("BEGIN")
                c.query("SELECT hudi_sync_task_submit('nosuch', 'nosuch')")
                c.query("ROLLBACK")
                c.query("SELECT create_hudi_sync_table()")
                c.query("CREATE TABLE target (id int PRIMARY KEY, t text)")
                c.query("CREATE SERVER lake FOREIGN DATA WRAPPER dfs_fdw OPTIONS (type 'local')")
                got = c.query("CREATE FOREIGN TABLE source (id int, t text) SERVER lake OPTIONS "
                              f"(foldername '{cluster.folder}/x/', format 'hudi')")
                equal(kinds(got), "CZI", fields(got[0][1]))
                c.query("BEGIN")
                got = c.query("SELECT hudi_sync_task_submit('target', 'source')")
                equal(kinds(got), "TDCZT", fields(got[-2][1]))
                listener.sock.settimeout(0.5)
                try:
                    listener.message()
                    raise AssertionError("notified before the commit")
                except TimeoutError:
                    pass
                listener.sock.settimeout(20)
                c.query("COMMIT")
                kind, body = listener.message()
                equal((kind, body[4:]), ("A", b"pgveneer_task\0\0"))

        @s.scenario("without the setting service: 55000, and ordinary statements pass")
        def _():
            direct.sql("CREATE DATABASE bare OWNER app", user="postgres")
            other = cluster.start_proxy("proxy", name="bare", service="")
            with Raw("127.0.0.1", other.settings["listen_port"], "app", dbname="bare") as c:
                c.login()
                got = c.query(COUNT)
                equal(kinds(got), "EZI")
                f = fields(got[0][1])
                equal(f["C"], "55000")
                assert "service" in f["M"] + f.get("H", ""), f
                c.send(P("", COUNT), B(), E(), S())
                equal(kinds(c.until_ready()), "EZI")
                equal(fields(c.query("DROP SERVER nosuch")[0][1])["C"], "42704")
                equal(kinds(c.query("SELECT 1")), "TDCZI")
            equal(other.stop(), 0)
    return s.finish()


if __name__ == "__main__":
    sys.exit(main())
