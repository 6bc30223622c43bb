"""Parallel retrieve cursors on the wire: simple and extended protocol, row limits, formats that change in the
middle of an endpoint, cancel, encodings, large rows, a slow reader, and drivers.
"""
import os
import struct
import subprocess
import sys
import threading
import time

from cluster import Cluster, Scenarios, equal, wait_until
from cursors import Declarer, Retriever
from rawpg import B, C, D, E, H, P, Q, S, fields, kinds, one_cancel, values

s = Scenarios("parallel_cursor/wire")
PRC = "PARALLEL RETRIEVE CURSOR"


def join(*messages):
    return b"".join(messages)


def ask(session, *messages, count=1):
    session.send(*messages)
    return session.until_ready(count)


def scenario(name):
    def register(function):
        def run():
            with Declarer(c.proxy) as d:
                d.run("BEGIN")
                function(d)
        return s.scenario(name)(run)
    return register


def shapes(got):
    """Types, with the tags of CommandComplete."""
    return [k if k != "C" else b[:-1].decode() for k, b in got if k != "Z"]


with Cluster() as c:
    c.direct.sql("""
        CREATE TABLE t1 (a int, b text);
        INSERT INTO t1 SELECT g, 'row ' || g FROM generate_series(1, 1000) g;
        CREATE TABLE wide (a int, b text);
        INSERT INTO wide SELECT g, repeat(chr(96 + g % 26), 3000000) FROM generate_series(1, 8) g""")
    proxy = c.start_proxy()

    @scenario("DECLARE, lists, CHECK and CLOSE in the extended protocol")
    def _(d):
        got = ask(d, P("", f"DECLARE c {PRC} FOR SELECT a FROM t1 WHERE a < $1"), B(values=["4"]), D(), E(), S())
        equal(shapes(got), ["1", "2", "n", f"DECLARE {PRC}"], "DECLARE with a parameter")
        got = ask(d, P("l", "SELECT endpoint_name, status FROM gp_endpoints WHERE cursor_name = $1"), B("", "l", ["c"]), D(), E(), S())
        equal((shapes(got), values(got)), (["1", "2", "T", "D", "SELECT 1"], [["c_1", "READY"]]), "list")
        equal(shapes(ask(d, P("k", f"CHECK {PRC} c NOWAIT"), D("S", "k"), B("", "k"), D(), E(), S())), ["1", "t", "n", "2", "n", "RUNNING"], "CHECK")
        with d.retriever() as r:
            equal(r.rows("RETRIEVE ALL FROM ENDPOINT c_1"), [["1"], ["2"], ["3"]], "rows")
            equal(shapes(ask(d, B("", "k"), E(), S())), ["2", "FINISHED"], "CHECK, prepared")
            equal(values(ask(d, B("", "l", ["c"]), E(), S())), [["c_1", "FINISHED"]], "list, prepared")
        equal(shapes(ask(d, P("", "CLOSE c"), B(), E(), S())), ["1", "2", "CLOSE CURSOR"], "CLOSE")
        equal(values(ask(d, B("", "l", ["c"]), E(), S())), [], "list")
        got = ask(d, P("", f"DECLARE c {PRC} FOR SELECT nosuch"), B(), E(), S())
        equal((kinds(got), fields(got[0][1])["P"]), ("EZE", str(len(f"DECLARE c {PRC} FOR SELECT ") + 1)), "error position")

    @scenario("one cycle: BEGIN, DECLARE, list, CHECK; and a wait with parameters")
    def _(d):
        d.run("ROLLBACK")
        got = ask(d, P("", "BEGIN"), B(), E(), P("", f"DECLARE c {PRC} FOR SELECT 1"), B(), E(), P("", "SELECT status FROM gp_endpoints"), B(), E(),
                  P("", f"CHECK {PRC} c NOWAIT"), B(), E(), P("", "SELECT 2"), B(), E(), S())
        equal((shapes(got), values(got)), (["1", "2", "BEGIN", "1", "2", f"DECLARE {PRC}", "1", "2", "D", "SELECT 1", "1", "2", "RUNNING", "1", "2", "D", "SELECT 1"], [["READY"], ["2"]]), "one cycle")
        r = d.retriever()
        later = threading.Timer(0.2, lambda: r.rows("RETRIEVE ALL FROM ENDPOINT c_1"))
        later.start()
        got = ask(d, P("w", "SELECT gp_wait_parallel_retrieve_cursor($1, $2)", [25, 23]), B("", "w", ["c", struct.pack("!i", 20)], [0, 1]), E(), S())
        equal(values(got), [["t"]], "waited")
        later.join(); r.close()
        d.run("ROLLBACK")
        got = ask(d, P("", f"DECLARE c {PRC} FOR SELECT 1"), B(), E(), P("", "SELECT 1"), B(), E(), S())
        equal((shapes(got), fields(dict(got)["E"])["C"]), (["1", "2", "E"], "25P01"), "no transaction block; the rest is skipped")
        got = ask(d, P("", f"CHECK {PRC} c"), B(), E(), P("", "SELECT 1"), B(), E(), S())
        equal((shapes(got), fields(dict(got)["E"])["C"]), (["1", "2", "E"], "34000"), "no cursor; the rest is skipped")
        got = ask(d, P("", "RETRIEVE 1 FROM ENDPOINT c_1"), B(), S())
        equal((shapes(got), fields(dict(got)["E"])["C"]), (["E"], "0A000"), "RETRIEVE")

    @scenario("RETRIEVE in the extended protocol: prepared, described, row limits")
    def _(d):
        d.run(f"DECLARE c {PRC} FOR SELECT a, b FROM t1 ORDER BY a"); d.run(f"DECLARE e {PRC} FOR SELECT 1")
        with d.retriever() as r:
            got = ask(r, P("p", "RETRIEVE 10 FROM ENDPOINT c_1"), D("S", "p"), B("", "p"), D(), E(), S())
            equal(shapes(got), ["1", "t", "T", "2", "T"] + ["D"] * 10 + ["RETRIEVE 10"], "once")
            equal([v[0] for v in values(ask(r, B("", "p"), E(), S()))], [str(n) for n in range(11, 21)], "again")
            r.run("BEGIN")
            got = ask(r, B("q", "p"), E("q", 4), E("q", 4), E("q", 4), E("q", 4), S())
            equal(shapes(got), ["2"] + ["D"] * 4 + ["s"] + ["D"] * 4 + ["s"] + ["D"] * 2 + ["RETRIEVE 2", "RETRIEVE 0"], "row limits")
            equal([v[0] for v in values(got)], [str(n) for n in range(21, 31)], "no row lost")
            got = ask(r, P("all", "RETRIEVE ALL FROM ENDPOINT c_1"), B("x", "all"), E("x", 960), S())
            equal((kinds(got)[-4:], len(values(got))), ("DsZT", 960), "suspended")
            got = ask(r, E("x", 100), S())
            equal((shapes(got)[-1], len(values(got))), ("RETRIEVE 10", 10), "the rest")
            r.run("COMMIT")
            got = ask(r, P("", "SELECT 1"), B(), E(), S())
            equal((kinds(got), fields(got[0][1])["C"]), ("EZI", "0A000"), "refused, the rest is skipped")
            got = ask(r, P("", "RETRIEVE ALL FROM ENDPOINT e_1"), H(), B(), H(), E(), C("S", "p"), C("P", ""), S())
            equal(shapes(got), ["1", "2", "D", "RETRIEVE 1", "3", "3"], "flush and close")
            got = ask(r, B("", "p"), S())
            equal(fields(got[0][1])["C"], "26000", "a name that is gone")
            got = ask(r, P("", ""), B(), D(), E(), S())
            equal(shapes(got), ["1", "2", "n", "I"], "empty")
            got = ask(r, P("", "SHOW server_version"), B(), D(), E(), P("", "BEGIN"), B(), E(), S())
            equal((shapes(got), Declarer.status(got)), (["1", "2", "T", "D", "SHOW", "1", "2", "BEGIN"], "T"), "small statements")
            equal(kinds(ask(r, b"F\0\0\0\x0e\0\0\0\x01\0\0\0\0\0\0")), "EZE", "function calls")

    @scenario("formats that change in the middle of an endpoint")
    def _(d):
        d.run(f"DECLARE c {PRC} FOR SELECT a, b FROM t1 ORDER BY a")
        with d.retriever() as r:
            ask(r, P("p", "RETRIEVE 1 FROM ENDPOINT c_1"), S())
            for n, formats in enumerate([[], [1], [1, 0], [0, 1], [0], [1, 1]], 1):
                got = ask(r, B("", "p", result_formats=formats), D(), E(), S())
                binary = [f[0] if len(f) == 1 else f[i] if f else 0 for i, f in enumerate([formats] * 2)]
                described = dict(got)["T"]
                equal([described[described.index(b"a\0") + 2 + 17], described[-1]], binary, f"description {formats}")
                row = dict(got)["D"]
                first = struct.pack("!i", n) if binary[0] else str(n).encode()
                equal(row, struct.pack("!hi", 2, len(first)) + first + struct.pack("!i", len(f"row {n}")) + f"row {n}".encode(), f"row {formats}")

    @scenario("encodings: the reader's own, also when it differs from the declarer's")
    def _(d):
        d.run(f"DECLARE u {PRC} FOR SELECT 'é' || a FROM t1 WHERE a < 4 ORDER BY a")
        with d.retriever(more=[("client_encoding", "LATIN1")]) as r:
            equal(r.parameters["client_encoding"], "LATIN1", "reported")
            got = r.run("RETRIEVE 1 FROM ENDPOINT u_1")
            equal(dict(got)["D"][6:], b"\xe91", "latin1")
            r.run("SET client_encoding TO 'utf-8'")
            equal(dict(r.run("RETRIEVE 1 FROM ENDPOINT u_1"))["D"][6:], "é2".encode(), "utf8")
        equal(d.rows("SHOW client_encoding"), [["UTF8"]], "the declarer's is as it was")

    @scenario("rows of 3 MB; a reader that is slow holds up nobody but itself for more than a portion")
    def _(d):
        d.run(f"DECLARE w {PRC} FOR SELECT * FROM wide"); d.run(f"DECLARE c {PRC} FOR SELECT * FROM t1")
        with d.retriever() as r, d.retriever() as r2:
            rows = r.rows("RETRIEVE ALL FROM ENDPOINT w_1")
            equal([(v[0], len(v[1])) for v in rows], [(str(n), 3000000) for n in range(1, 9)], "all of them")
            equal(len(r2.rows("RETRIEVE ALL FROM ENDPOINT c_1")), 1000, "the other")
        equal(d.tag(f"CHECK {PRC} w"), "FINISHED", "done")

    @scenario("cancel of a RETRIEVE; the declaring session goes on")
    def _(d):
        d.run(f"DECLARE c {PRC} FOR SELECT pg_sleep(30)"); d.run(f"DECLARE ok {PRC} FOR SELECT a FROM t1")
        with d.retriever() as r:
            later = threading.Timer(0.3, lambda: one_cancel(c.proxy.host, c.proxy.port, r.pid, r.key))
            later.start()
            e = r.error("RETRIEVE ALL FROM ENDPOINT c_1")
            later.join()
            equal((e["C"], e["M"]), ("57014", "canceling statement due to user request"), "cancelled")
            equal(d.rows("SELECT 1"), [["1"]], "the declarer's transaction is as it was")
            equal(len(r.rows("RETRIEVE ALL FROM ENDPOINT ok_1")), 1000, "the reader goes on with another")
            one_cancel(c.proxy.host, c.proxy.port, r.pid, r.key)  # nothing runs
            equal(r.rows("RETRIEVE ALL FROM ENDPOINT ok_1"), [], "a late cancel hits nothing")
        e = d.error(f"CHECK {PRC} c")
        equal((e["C"], e["M"]), ("57014", 'canceling MPP operation: "Endpoint retrieve statement aborted"'), "CHECK")

    @scenario("a reader that dies in a long RETRIEVE frees the declaring session")
    def _(d):
        d.run(f"DECLARE c {PRC} FOR SELECT pg_sleep(30)")
        r = d.retriever()
        r.send(Q("RETRIEVE ALL FROM ENDPOINT c_1"))
        wait_until(lambda: c.direct.sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'", user="postgres") == "1", "it sleeps")
        r.close()
        start = time.monotonic()
        equal(d.rows("SELECT 1"), [["1"]], "answers")
        assert time.monotonic() - start < 20

    @scenario("a declarer that dies tells its readers")
    def _(d):
        d.run(f"DECLARE c {PRC} FOR SELECT pg_sleep(30)")
        with d.retriever() as r:
            r.send(Q("RETRIEVE ALL FROM ENDPOINT c_1"))
            wait_until(lambda: c.direct.sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'", user="postgres") == "1", "it sleeps")
            pid = c.direct.sql("SELECT pid FROM pg_stat_activity WHERE wait_event = 'PgSleep'", user="postgres")
            c.direct.sql(f"SELECT pg_terminate_backend({pid})", user="postgres")
            got = r.until_ready()
            equal(fields(dict(got)["E"])["C"] in ("XX000", "57P01"), True, str(got))

    @scenario("the declaring client's statements and the fetches share one server process")
    def _(d):
        d.run(f"DECLARE c {PRC} FOR SELECT a FROM t1 ORDER BY a")
        with d.retriever() as r:
            for n in range(100):
                r.send(Q("RETRIEVE 5 FROM ENDPOINT c_1"))
                d.send(Q(f"SELECT {n}"))
                equal(values(d.until_ready()), [[str(n)]], "the client's")
                equal(values(r.until_ready()), [[str(5 * n + i)] for i in range(1, 6)], "the reader's")

    @s.scenario("psql and psycopg2 as retrieve sessions")
    def _():
        import psycopg2
        with Declarer(c.proxy) as d:
            d.run("BEGIN"); d.run(f"DECLARE c {PRC} FOR SELECT a, b FROM t1 ORDER BY a")
            got = c.proxy.psql("-Atq", "-c", "RETRIEVE 2 FROM ENDPOINT c_1", "-c", "SET DateStyle = ISO", PGPASSWORD=d.token(),
                               PGOPTIONS="-c gp_session_role=retrieve", check=True).stdout
            equal(got, "1|row 1\n2|row 2\n", "psql")
            d.run("ROLLBACK; BEGIN"); d.run(f"DECLARE c {PRC} FOR SELECT a, b FROM t1 ORDER BY a")
            con = psycopg2.connect(host=c.proxy.host, port=c.proxy.port, user="app", dbname="app", password=d.token(), options="-c gp_retrieve_conn=true")
            with con.cursor() as cur:
                cur.execute("RETRIEVE 3 FROM ENDPOINT c_1")
                equal(cur.fetchall(), [(1, "row 1"), (2, "row 2"), (3, "row 3")], "psycopg2")
                cur.execute("RETRIEVE ALL FROM ENDPOINT c_1")
                equal(len(cur.fetchall()), 997, "psycopg2")
            con.commit(); con.close()
            equal(d.tag(f"CHECK {PRC} c"), "FINISHED", "checked")

sys.exit(s.finish())
