"""Endpoints that are read by connections of their own: which queries are divided, on one snapshot, with the
session's settings and rights, in every way to log in; faults, limits, and what is left behind.
"""
import os
import re
import struct
import sys
import threading
import time

from cluster import Cluster, Endpoint, Scenarios, equal, wait_until
from cursors import Declarer
from rawpg import B, D, E, P, Q, Raw, S, fields, one_cancel, values

s = Scenarios("parallel_cursor/workers")
SANITIZED = "san" in os.environ.get("PGVENEER_BUILD", "")
PRC = "PARALLEL RETRIEVE CURSOR"
WORKERS = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgveneer cursor'"
KEPT = {"parallel_cursor_min_size": "65536", "keep_client_keys": "on", "auth_query": "SELECT rolname, rolpassword FROM pg_authid WHERE rolname = $1"}


def scenario(name):
    def register(function):
        def run():
            with Declarer(c.proxy) as d:
                d.run("BEGIN")
                function(d)
            wait_until(lambda: c.direct.sql(WORKERS, user="postgres") == "0", "no worker is left")
        return s.scenario(name)(run)
    return register


def memory(pid, field):
    """Bytes of a process."""
    with open(f"/proc/{pid}/status") as f:
        return int(re.search(rf"{field}:\s+(\d+) kB", f.read()).group(1)) * 1024


def reset_peak(pid):
    with open(f"/proc/{pid}/clear_refs", "w") as f:
        f.write("5")


def settle(value):
    """Waits until it has been the same for ten looks."""
    seen = []
    wait_until(lambda: seen.append(value()) or seen[-10:] == 10 * seen[-1:], "it settles")


def declare(d, query, name="c"):
    """Number of endpoints."""
    d.run(f"DECLARE {name} {PRC} FOR {query}")
    return len(d.endpoints(name))


def same(d, query, endpoints, name="c"):
    """The rows of the endpoints are those of the query itself, by a plain cursor declared beside."""
    got = declare(d, query, name)
    d.run(f"DECLARE plain CURSOR FOR {query}")
    rows = sorted(map(repr, d.read_all(name)))
    want = sorted(map(repr, d.rows("FETCH ALL FROM plain")))
    equal((got, len(rows), rows == want), (endpoints, len(want), True), query)
    d.run(f"CLOSE plain; CLOSE {name}")


with Cluster(superuser_service=True) as c:
    c.direct.sql("""CREATE ROLE friend LOGIN PASSWORD 'friend'; GRANT friend TO app""", user="postgres")
    c.direct.sql("""
        CREATE TABLE big (a int, b text, d date DEFAULT '2020-01-02');
        INSERT INTO big SELECT g, repeat('x', 100) || g FROM generate_series(1, 4000) g;
        CREATE TABLE small (a int PRIMARY KEY, b text);
        INSERT INTO small SELECT g, 'small ' || g FROM generate_series(1, 500) g;
        CREATE TABLE parts (a int, b text) PARTITION BY RANGE (a);
        CREATE TABLE parts1 PARTITION OF parts FOR VALUES FROM (0) TO (100);
        CREATE TABLE parts2 PARTITION OF parts FOR VALUES FROM (100) TO (1000);
        CREATE TABLE parts3 PARTITION OF parts FOR VALUES FROM (1000) TO (100000);
        INSERT INTO parts SELECT a, b FROM big;
        CREATE VIEW big_view AS SELECT a, b FROM big WHERE a > 10;
        CREATE VIEW two_views (x, y) AS SELECT v.a, s.b FROM big_view v JOIN small s ON s.a = v.a % 100;
        CREATE VIEW barrier WITH (security_barrier) AS SELECT a FROM big; CREATE VIEW counted AS SELECT count(*) FROM big;
        CREATE FUNCTION noisy(x int) RETURNS int LANGUAGE plpgsql VOLATILE AS 'BEGIN RETURN x; END';
        CREATE FUNCTION stable_one(x int) RETURNS int LANGUAGE plpgsql STABLE PARALLEL SAFE AS 'BEGIN RETURN x; END';
        CREATE FUNCTION pure(x int) RETURNS int LANGUAGE sql IMMUTABLE PARALLEL SAFE AS 'SELECT x + 1';
        CREATE TABLE toasted (a int, b text) WITH (fillfactor = 50); ALTER TABLE toasted ALTER b SET STORAGE EXTERNAL, ADD c text DEFAULT repeat('c', 300);
        INSERT INTO toasted SELECT g, repeat(md5(g::text), 100) FROM generate_series(1, 500) g;
        CREATE TABLE secured (who text, pad text); ALTER TABLE secured ENABLE ROW LEVEL SECURITY;
        INSERT INTO secured SELECT CASE WHEN g % 2 = 0 THEN 'app' ELSE 'friend' END, repeat('p', 200) FROM generate_series(1, 2000) g;
        CREATE POLICY own ON secured USING (who = current_user); GRANT SELECT ON ALL TABLES IN SCHEMA public TO friend;
        ANALYZE""")
    c.direct.sql("""
        CREATE TABLE closed AS SELECT a, b FROM big; CREATE VIEW lent AS SELECT a FROM closed; GRANT SELECT ON lent TO app;
        CREATE TABLE open_table AS SELECT a, b FROM big; CREATE VIEW open_view AS SELECT a FROM open_table WHERE a > 3;
        CREATE VIEW fenced WITH (security_barrier) AS SELECT a FROM open_table; GRANT SELECT ON open_table, open_view, fenced TO app;
        CREATE TABLE fenced_table (a, who, pad) AS SELECT a, CASE WHEN a % 2 = 0 THEN 'app' ELSE 'postgres' END, b FROM big; ALTER TABLE fenced_table ENABLE ROW LEVEL SECURITY;
        CREATE POLICY own ON fenced_table USING (who = current_user); CREATE VIEW fenced_rows AS SELECT a FROM fenced_table; GRANT SELECT ON fenced_table, fenced_rows TO app; ANALYZE""", user="postgres")
    proxy = c.start_proxy(**KEPT)

    @scenario("divided: scans, filters, joins, partitions")
    def _(d):
        for query in ["SELECT * FROM big", "SELECT a FROM big WHERE a % 3 = 0 OR b LIKE '%77'", "select x.a, x.b from public.big as x where x.a < 3000",
                      "SELECT b.a, s.b FROM big b JOIN small s ON s.a = b.a % 100", "SELECT * FROM big WHERE a IN (SELECT a FROM small)",
                      "SELECT * FROM small s, big WHERE s.a = big.a", "SELECT big.a, s.b FROM big LEFT JOIN small s USING (a)",
                      "SELECT * FROM big WHERE EXISTS (SELECT FROM small WHERE small.a = big.a)", "SELECT * FROM parts", "SELECT p.a FROM parts AS p WHERE p.a > 90",
                      "SELECT pure(a), unnest(ARRAY[a, -a]) FROM big", "SELECT a, (SELECT count(*) FROM small) FROM big -- the end",
                      "SELECT a AS \"from\", 'WHERE' AS x FROM ONLY big WHERE b <> ')' AND (a > 5 OR a IS NOT DISTINCT FROM 3)", "TABLE big", "SELECT a FROM big AS x (a, b, c)"]:
            same(d, query, 4)

    @scenario("divided: UNION ALL, sub-queries, WITH and views that the planner flattens")
    def _(d):
        for query in ["SELECT a FROM big UNION ALL SELECT a FROM big", "SELECT a, b FROM big WHERE a > 9 UNION ALL (SELECT a, b FROM small) UNION ALL TABLE parts", "SELECT a FROM parts UNION ALL SELECT a + 1 FROM parts",
                      "SELECT b::varchar FROM big UNION ALL SELECT b FROM small", "SELECT q.a FROM (SELECT a FROM big UNION ALL SELECT a FROM parts) q JOIN small s ON s.a = q.a % 100 WHERE q.a > 7",
                      "SELECT * FROM (SELECT * FROM big) x", "SELECT q.a FROM (SELECT a FROM big WHERE a < 3000) q JOIN small s ON s.a = q.a % 100", "SELECT * FROM (big x JOIN small y ON y.a = x.a % 100)",
                      "WITH x AS (SELECT * FROM big) SELECT * FROM x", "WITH big AS (SELECT * FROM big WHERE a > 5) SELECT * FROM big", "WITH small AS (SELECT * FROM big) SELECT * FROM small",
                      "SELECT * FROM big_view", "SELECT v.a FROM public.big_view AS v WHERE v.a < 100", "TABLE two_views", "SELECT x FROM two_views WHERE y LIKE '%1'",
                      "SELECT v.a FROM big_view v JOIN small ON v.a = small.a AND v.b IS DISTINCT FROM public.small.b", "TABLE barrier", "SELECT a FROM big UNION ALL SELECT a FROM big_view"]:
            same(d, query, 4)

    @scenario("a view of another's: its text stands for it only with the same rights")
    def _(d):
        for query, endpoints in [("SELECT * FROM lent", 1), ("SELECT * FROM open_view", 4), ("SELECT * FROM fenced", 1), ("SELECT * FROM fenced_rows", 1)]:
            same(d, query, endpoints)

    @scenario("parameters of an extended DECLARE, of named types and found out ones, text and binary")
    def _(d):
        d.run("SET LOCAL extra_float_digits = 0; SET LOCAL DateStyle = 'German'; SET LOCAL IntervalStyle = 'sql_standard'")
        for query, types, values, formats, endpoints in [
                ("SELECT a FROM big WHERE a < $1", [], ["3000"], [], 4), ("SELECT a, $2 FROM big WHERE a < $1 + 2", [], ["3000", "it's \\ $1"], [], 4), ("SELECT $1, $2, a FROM big WHERE b LIKE $3", [701, 1186, 0], [b"\x3f\xf1\x99\x99\x99\x99\x99\x9a", "-1 2:03:04.5", "%7"], [1, 0, 0], 4),
                ("SELECT a FROM big WHERE a = ANY ($1)", [], ["{1,2,NULL,3000}"], [], 4), ("SELECT a, $1 FROM big WHERE $1 IS NULL", [23], [None], [], 4), ("SELECT $1, $2, a FROM big", [1042, 1082], ["long text", "01.02.2020"], [], 4),
                ("SELECT a FROM big ORDER BY a LIMIT $1", [], ["7"], [], 1), ("SELECT a, $1 FROM big", [], ["x" * 100000], [], 1)]:
            for name, kind in [("c", PRC), ("plain", "CURSOR")]:
                d.send(P("", f"DECLARE {name} {kind} FOR {query}", types), B(values=values, formats=formats), E(), S())
                equal([k for k, _ in d.until_ready()], ["1", "2", "C", "Z"], query)
            equal(len(d.endpoints("c")), endpoints, query)
            rows, want = sorted(map(repr, d.read_all("c"))), sorted(map(repr, d.rows("FETCH ALL FROM plain")))
            equal((len(rows), rows[:2], rows == want), (len(want), want[:2], True), query)
            d.run("CLOSE plain; CLOSE c")
        equal(d.rows("SELECT name FROM pg_prepared_statements"), [], "nothing of ours is left")

    @scenario("EXPLAIN says where the endpoints would be")
    def _(d):
        all_four, one = "Endpoint: on all 4 segments", 'Endpoint: "on coordinator"'
        for query, line in [("SELECT * FROM big WHERE a < 5", all_four), ("TABLE two_views", all_four), ("SELECT a FROM big ORDER BY a", one), ("SELECT 1", one), ("SELECT noisy(a) FROM big", one)]:
            for options in ["", "(COSTS off, FORMAT text) ", "VERBOSE "]:
                rows = [r[0] for r in d.rows(f"EXPLAIN {options}DECLARE c {PRC} FOR {query}")]
                equal((rows[-1], rows[:-1]), (line, [r[0] for r in d.rows(f"EXPLAIN {options}DECLARE c NO SCROLL CURSOR FOR {query}")]), query)
        equal(d.rows("SELECT count(*) FROM pg_cursors"), [["0"]], "nothing was declared")
        d.run("SAVEPOINT s")
        equal([r[0] for r in d.rows(f"EXPLAIN DECLARE c {PRC} FOR SELECT * FROM big")][-1], one, "inside a savepoint")
        equal(d.rows(f"EXPLAIN (FORMAT json) DECLARE c {PRC} FOR SELECT * FROM big")[0][0][:1], "[", "a document has no lines")
        text = f"SELECT 'é'; EXPLAIN DECLARE c {PRC} FOR SELECT nosuch FROM big"
        for prepare in ["", "ROLLBACK; BEGIN"]:
            d.run(prepare)
            e = d.error(text)
            equal((e["C"], e["P"]), ("42703", str(text.index("nosuch") + 1)), "the server says what is wrong, and where")
        d.run("ROLLBACK"); d.run("BEGIN")
        for _ in range(2):
            d.send(P("", f"EXPLAIN (COSTS off) DECLARE c {PRC} FOR SELECT a FROM big WHERE a < $1"), B(values=["7"]), D(), E(), P("", "SELECT 5"), B(), E(), S())
            got = d.until_ready()
            equal([k for k, _ in got], ["1", "2", "T", "D", "D", "D", "C", "1", "2", "D", "C", "Z"], "extended")
            equal(values(got)[2:], [[all_four], ["5"]], "extended")
        got = d.run(f"SELECT 1; EXPLAIN (COSTS off) DECLARE c {PRC} FOR SELECT * FROM big; SELECT 2")
        equal([r[0] for r in values(got)][-2:], [all_four, "2"], "several statements")
        d.run("ROLLBACK")
        equal(len(d.rows(f"EXPLAIN (COSTS off) DECLARE c {PRC} FOR SELECT * FROM big")), 1, "outside of a transaction block")

    @scenario("one worker, or the session itself, where slices would not be exact")
    def _(d):
        for query in ["SELECT count(*) FROM big", "SELECT * FROM big ORDER BY a", "SELECT DISTINCT a % 7 FROM big", "SELECT a % 7, count(*) FROM big GROUP BY 1",
                      "SELECT * FROM big LIMIT 10", "SELECT a FROM big UNION SELECT a FROM small",
                      "SELECT a, row_number() OVER () FROM big WHERE a < 5", "SELECT big.a FROM small LEFT JOIN big ON big.a = small.a + 100",
                      "SELECT v FROM big_view v", "SELECT public.big_view.a FROM public.big_view", "SELECT * FROM counted", "SELECT a FROM big UNION ALL (SELECT a FROM small LIMIT 3)", "SELECT * FROM (SELECT * FROM big ORDER BY a LIMIT 99) x", "WITH x AS MATERIALIZED (SELECT * FROM big) SELECT * FROM x",
                      "SELECT * FROM small", "SELECT noisy(a) FROM big", "SELECT stable_one(a) FROM big", "VALUES (1)",
                      "SELECT a FROM big FULL JOIN small USING (a)", "SELECT a FROM big FOR UPDATE", "SELECT * FROM pg_class", "SELECT now() - now(), a FROM big",
                      "SELECT current_setting('work_mem'), a FROM big", "SELECT a, 'now'::timestamptz, '[yesterday, now]'::tstzrange FROM big", "SELECT a, E'to\\x64ay'::date FROM big",
                      "SELECT a, pg_client_encoding() FROM big", "SELECT a, s.setting FROM big, pg_settings s WHERE s.name = 'application_name'",
                      "SELECT set_config('my.x', a::text, false) FROM big", "SELECT set_config('role', 'none', false), current_user FROM big"]:
            same(d, query, 1)

    @scenario("one snapshot, whatever others write, and VACUUM")
    def _(d):
        before = d.rows("SELECT count(*), sum(a), sum(hashtext(b)) FROM big")
        equal(declare(d, "SELECT a, hashtext(b) FROM big"), 4, "divided")
        rows = []
        with d.retriever() as r:
            for n, name in enumerate(d.endpoints("c")):
                c.direct.sql(f"UPDATE big SET b = b || '!' WHERE a % 5 = {n}; DELETE FROM big WHERE a % 50 = {n}; INSERT INTO big VALUES ({n}, 'new')")
                c.direct.sql("VACUUM big")
                rows += r.rows(f"RETRIEVE 100 FROM ENDPOINT {name}") + r.rows(f"RETRIEVE ALL FROM ENDPOINT {name}")
        equal([[str(len(rows)), str(sum(int(a) for a, _ in rows)), str(sum(int(h) for _, h in rows))]], before, "as it was")

    @scenario("values out of line; VACUUM FULL and TRUNCATE of others wait for the cursor; PREPARE TRANSACTION")
    def _(d):
        equal(declare(d, "SELECT a, md5(b) FROM toasted"), 4, "divided"); want = d.rows("SELECT a, md5(b) FROM toasted")
        rows = []
        with d.retriever() as r:
            for name in d.endpoints("c"):
                c.direct.sql("UPDATE toasted SET b = b || 'x' WHERE a % 3 = 0; DELETE FROM toasted WHERE a % 7 = 0"); c.direct.sql("VACUUM toasted")
                for statement in ["VACUUM FULL toasted", "TRUNCATE toasted"]:
                    e = c.direct.sql_error(f"SET lock_timeout = '50ms'; {statement}")
                    equal("55P03" in str(e), True, str(e))
                rows += r.rows(f"RETRIEVE ALL FROM ENDPOINT {name}")
        equal(sorted(rows) == sorted(want), True, "as it was")
        equal(d.error("PREPARE TRANSACTION 'x'")["C"], "0A000", "a snapshot was exported")

    @scenario("a partition that is attached later: who would read it is refused")
    def _(d):
        c.direct.sql("CREATE TABLE late AS SELECT a + 200000 AS a, b FROM big; CREATE TABLE grown (a int, b text) PARTITION BY RANGE (a); "
                     "CREATE TABLE grown1 PARTITION OF grown FOR VALUES FROM (0) TO (100000); INSERT INTO grown SELECT a, b FROM big WHERE a > 0; ANALYZE grown, late")
        for query, endpoints in [("SELECT a FROM grown", 4), ("SELECT count(*) FROM grown", 1)]:
            d.run("ROLLBACK; BEGIN"); equal(declare(d, query), endpoints, query); equal(declare(d, "SELECT a FROM grown WHERE a < 5000", "pruned"), 4, "beside")
            with d.retriever() as r:
                first = len(r.rows("RETRIEVE 1 FROM ENDPOINT c_1")) if endpoints > 1 else 0
                c.direct.sql("ALTER TABLE grown ATTACH PARTITION late FOR VALUES FROM (200000) TO (300000)")
                e = r.error(f"RETRIEVE ALL FROM ENDPOINT c_{1 + first}")
                equal((e["C"], e["H"]), ("55000", "Declare the cursor again."), str(e))
                r.rows("RETRIEVE ALL FROM ENDPOINT pruned_1")
                if first:
                    r.rows("RETRIEVE ALL FROM ENDPOINT c_1")
            equal(d.error(f"CHECK {PRC} c")["C"], "55000", "CHECK")
            d.run("ROLLBACK; BEGIN"); same(d, query, endpoints)
            d.run("ROLLBACK"); c.direct.sql("ALTER TABLE grown DETACH PARTITION late"); d.run("BEGIN")

    @scenario("own rows that are not committed, temporary tables, savepoints: one endpoint, right rows")
    def _(d):
        d.run("INSERT INTO big VALUES (-1, 'mine')"); same(d, "SELECT * FROM big WHERE a < 100", 1)
        d.run("ROLLBACK; BEGIN; CREATE TEMP TABLE big AS SELECT g AS a FROM generate_series(1, 5000) g"); same(d, "SELECT * FROM big", 1)
        d.run("ROLLBACK; BEGIN; SAVEPOINT s"); same(d, "SELECT * FROM big", 1)
        d.run("ROLLBACK; BEGIN ISOLATION LEVEL SERIALIZABLE"); same(d, "SELECT * FROM big WHERE a > 2", 1)
        d.run("ROLLBACK"); d.run("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1"); c.direct.sql("INSERT INTO small VALUES (-5, 'later')"); same(d, "SELECT big.a FROM big WHERE a IN (SELECT a FROM small)", 4)

    @scenario("names that mean a temporary object in this session, though its plan has none: one endpoint")
    def _(d):
        d.run("ROLLBACK"); d.run("CREATE TEMP TABLE shadow (a int PRIMARY KEY)"); d.run("BEGIN")
        c.direct.sql("CREATE TABLE shadow AS SELECT 1 + g % 50 AS a FROM generate_series(1, 100) g")
        for query, endpoints in [("SELECT big.a FROM big LEFT JOIN Shadow USING (a)", 1), ("SELECT big.a FROM big LEFT JOIN public.shadow USING (a)", 1),
                                 ("SELECT a, 'shadow'::regclass::oid::int8 FROM big", 1), ("SELECT a, NULL::shadow FROM big", 1), ("SELECT a AS overshadowed FROM big", 4)]:
            same(d, query, endpoints)
        d.run("ROLLBACK"); d.run('DROP TABLE pg_temp.shadow; CREATE TEMP TABLE "odd name+" (a int PRIMARY KEY)'); d.run("BEGIN")
        same(d, 'SELECT big.a FROM big LEFT JOIN "odd name+" USING (a)', 1)
        same(d, "SELECT a, b FROM big", 4)

    @scenario("the session's settings and role are the workers'")
    def _(d):
        d.run("SET DateStyle = 'German'; SET extra_float_digits = 0; SET LOCAL search_path = public, pg_catalog; SET TimeZone = 'Asia/Tokyo'; SET bytea_output = 'escape'")
        same(d, "SELECT d, a / 3.0::float8, timestamptz '2020-01-01 00:00Z', '\\x00ff'::bytea, a FROM big", 4)
        d.run("SET standard_conforming_strings = off"); same(d, "SELECT a, 'x\\'y' FROM big WHERE b <> 'it\\'s'", 4)
        d.run("SET standard_conforming_strings = on; SET LOCAL ROLE friend")
        same(d, "SELECT * FROM secured", 4)
        equal(d.rows("SELECT DISTINCT who FROM secured"), [["friend"]], "row security by role")
        d.run("RESET ROLE"); d.run("ROLLBACK; SET ROLE friend; BEGIN"); same(d, "SELECT who, current_user FROM secured", 4)

    @scenario("formats, encodings, row limits and portions through a worker")
    def _(d):
        d.run("SET LOCAL parallel_leader_participation = on")
        equal(declare(d, "SELECT a, b FROM big"), 4, "divided")
        def ask(r, *messages):
            r.send(*messages)
            return r.until_ready()
        with d.retriever(more=[("client_encoding", "LATIN1")]) as r:
            r.run("BEGIN")
            seen = []
            for name in d.endpoints("c"):
                seen += [int(v[0]) for v in r.rows(f"RETRIEVE 3 FROM ENDPOINT {name}")]
                got = ask(r, P("", f"RETRIEVE 6 FROM ENDPOINT {name}"), B("p", "", result_formats=[1, 0]), E("p", 4), E("p", 4), S())
                seen += [struct.unpack("!i", b[6:10])[0] for k, b in got if k == "D"]
                equal([k for k, _ in got if k in "sC"], ["s", "C"], "row limits")
                r.run("SET client_encoding TO 'UTF8'")
                seen += [int(v[0]) for v in r.rows(f"RETRIEVE 2 FROM ENDPOINT {name}")]
                got = ask(r, P("", f"RETRIEVE ALL FROM ENDPOINT {name}"), B("", "", result_formats=[1]), E(), S())
                seen += [struct.unpack("!i", b[6:10])[0] for k, b in got if k == "D"]
                r.run("SET client_encoding TO 'LATIN1'")
            equal((len(seen), len(set(seen)), sum(seen)), tuple(int(v) for v in c.direct.sql("SELECT count(*), count(DISTINCT a), sum(a) FROM big").split("|")), "every row once")

    @scenario("cancel, errors, a reader that leaves, COMMIT and CLOSE in the middle")
    def _(d):
        slow = "SELECT a, CASE WHEN a > 10 THEN pg_sleep(0.05) END FROM big"
        equal(declare(d, slow), 4, "divided"); names = d.endpoints("c")
        with d.retriever() as r:
            threading.Timer(0.5, lambda: one_cancel(c.proxy.host, c.proxy.port, r.pid, r.key)).start()
            equal(r.error(f"RETRIEVE ALL FROM ENDPOINT {names[0]}")["C"], "57014", "cancelled")
            equal(d.rows("SELECT 1"), [["1"]], "the declarer goes on")
        equal(d.error(f"CHECK {PRC} c")["C"], "57014", "CHECK")
        d.run("ROLLBACK; BEGIN"); declare(d, "SELECT 1 / (a - 2004) FROM big")
        with d.retriever() as r:
            equal(sorted({r.query(f"RETRIEVE ALL FROM ENDPOINT {n}")[-2][0] for n in d.endpoints("c")}), ["C", "E"], "one of the slices fails")
        equal(d.error(f"CHECK {PRC} c NOWAIT")["M"], "division by zero", "CHECK")
        d.run("ROLLBACK"); d.run("BEGIN; SET LOCAL statement_timeout = '700ms'"); declare(d, slow); name = d.endpoints("c")[1]
        with d.retriever() as r:
            e = r.error(f"RETRIEVE ALL FROM ENDPOINT {name}")
            equal((e["C"], e["M"]), ("57014", "canceling statement due to statement timeout"), "the session's statement_timeout is the workers'")
        wait_until(lambda: c.direct.sql(WORKERS, user="postgres") == "0", "its worker ends")
        equal(d.error(f"CHECK {PRC} c NOWAIT")["C"], "57014", "and CHECK")
        for end in ["COMMIT", "CLOSE c", "leave", "die"]:
            d.run("ROLLBACK; BEGIN"); declare(d, slow); name = d.endpoints("c")[1]
            r = d.retriever()
            r.send(Q(f"RETRIEVE ALL FROM ENDPOINT {name}"))
            wait_until(lambda: c.direct.sql(WORKERS + " AND wait_event = 'PgSleep'", user="postgres") == "1", "it reads")
            start = time.monotonic()
            if end == "leave":
                r.close()
            elif end == "die":
                c.direct.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pgveneer cursor'", user="postgres")
                equal(fields(dict(r.until_ready())["E"])["C"], "57P01", "the reader hears it")
                equal(d.error(f"CHECK {PRC} c")["C"], "57P01", "and CHECK")
            else:
                d.run(end)
                equal(fields(dict(r.until_ready())["E"])["M"], "endpoint is not available because the parallel retrieve cursor was aborted", end)
            wait_until(lambda: c.direct.sql(WORKERS, user="postgres") == "0", "its worker ends")
            assert time.monotonic() - start < 20, end
            r.close()

    @s.scenario("the declaring client, or its server process, dies: no worker is left")
    def _():
        for how in ["client", "server"]:
            d = Declarer(c.proxy)
            d.run("BEGIN"); declare(d, "SELECT a, pg_sleep(0.05) FROM big"); name = d.endpoints("c")[0]
            r = d.retriever()
            r.send(Q(f"RETRIEVE ALL FROM ENDPOINT {name}"))
            wait_until(lambda: c.direct.sql(WORKERS, user="postgres") == "1", "it reads")
            if how == "client":
                d.close()
            else:
                c.direct.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name <> 'pgveneer cursor' AND state LIKE 'idle in tr%'", user="postgres")
            equal(fields(dict(r.until_ready())["E"])["C"], "XX000", "the reader hears it")
            wait_until(lambda: c.direct.sql(WORKERS, user="postgres") == "0", "no worker")
            r.close(); d.close()

    @scenario("a statement of the declaring session that waits for its own worker")
    def _(d):
        declare(d, "SELECT a, pg_sleep(0.05) FROM big"); name = d.endpoints("c")[0]
        with d.retriever() as r:
            r.send(Q(f"RETRIEVE ALL FROM ENDPOINT {name}"))
            wait_until(lambda: c.direct.sql(WORKERS, user="postgres") == "1", "it reads")
            e = d.error("TRUNCATE big")
            equal((e["C"], "being used by active queries in this session" in e["M"]), ("55006", True), str(e))
            equal(fields(dict(r.until_ready())["E"])["C"], "XX000", "the reader hears it")

    @scenario("workers that wait for a lock of their own session, or behind one who waits for it")
    def _(d):
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        for how in ["own", "queue"]:
            d.run("ROLLBACK; BEGIN"); equal(declare(d, "SELECT a FROM big"), 4, "divided")
            if how == "own":
                d.run("LOCK TABLE big")
            else:
                other = Raw(c.direct.host, c.direct.port, "app", "app", "app"); other.login(); other.send(Q("ALTER TABLE big ALTER b SET STATISTICS 7; ALTER TABLE big SET (fillfactor = 90); LOCK TABLE big"))
                wait_until(lambda: c.direct.sql(waiting, user="postgres") == "1", "it waits for the cursor")
            with d.retriever() as r:
                r.send(Q("RETRIEVE ALL FROM ENDPOINT c_1"))
                e = d.error(f"CHECK {PRC} c")
                equal((e["C"], "behind its own session" in e["M"]), ("55P03", True), str(e))
                equal(fields(dict(r.until_ready())["E"])["C"], "XX000", "the reader hears it")
            d.run("ROLLBACK")
            if how == "queue":
                equal([k for k, _ in other.until_ready()][-1], "Z", "the other one goes on"); other.close()
            d.run("BEGIN")

    @s.scenario("a reader that is slow: the proxy keeps within 16 MiB, and the server waits for it")
    def _():
        slow = c.start_proxy("proxy", name="slow", **KEPT)
        pid, at = slow.process.pid, Endpoint("127.0.0.1", slow.settings["listen_port"])
        with Declarer(at) as d:
            d.run("BEGIN"); d.run(f"DECLARE warm {PRC} FOR SELECT a FROM big"); d.read_all("warm")
            for query, endpoints in [("SELECT a, repeat(b, 250) FROM big", 4), ("SELECT a, repeat(b, 250) FROM big WHERE noisy(a) >= 0", 1)]:
                equal(declare(d, query), endpoints, query)
                readers = [d.retriever(rcvbuf=4096) for _ in range(endpoints)]
                reset_peak(pid); before = memory(pid, "VmRSS")
                for r, name in zip(readers, d.endpoints("c")):
                    r.send(Q(f"RETRIEVE ALL FROM ENDPOINT {name}"))
                for r in readers:  # rows have come, and nobody takes them: what is on the way finds its level
                    r.until("D")
                settle(lambda: memory(pid, "VmRSS"))
                rows = sum(sum(k == "D" for k, _ in r.until_ready()) for r in readers) + endpoints
                peak = memory(pid, "VmHWM") - before
                print(f"     {endpoints} endpoints, {rows} rows of 25 kB: {peak // 1024} KiB above idle")
                equal(rows, int(d.rows("SELECT count(*) FROM big")[0][0]), "all of them")
                assert SANITIZED or peak < 16 * 1024 * 1024, f"{peak} bytes"
                for r in readers:
                    r.close()
                d.run("CLOSE c")

    @s.scenario("cursors have an age limit: the session ends, its readers hear it")
    def _():
        aged = c.start_proxy(name="aged", parallel_cursor_max_age="2", **KEPT)
        for busy, query in [(False, "SELECT a, pg_sleep(0.05) FROM big"), (True, "SELECT a, noisy(a) FROM big")]:
            with Declarer(Endpoint("127.0.0.1", aged.settings["listen_port"])) as d:
                d.run("BEGIN"); declare(d, "SELECT 1", "closed"); d.run("CLOSE closed"); declare(d, query)
                with d.retriever() as r:
                    r.rows("RETRIEVE 1 FROM ENDPOINT c_1")
                    if busy:
                        d.send(Q("SELECT pg_sleep(60)"))
                    else:
                        r.send(Q("RETRIEVE ALL FROM ENDPOINT c_1"))
                    got = dict(d.until("E"))
                    equal((fields(got["E"])["S"], fields(got["E"])["C"]), ("FATAL", "25P04"), "told")
                    e = fields(dict(r.until_ready())["E"]) if not busy else r.error("RETRIEVE 1 FROM ENDPOINT c_1")
                    equal(e["C"], "XX000", "the reader hears it")
            wait_until(lambda: c.direct.sql(f"SELECT count(*) FROM pg_stat_activity WHERE pid = {d.pid} OR application_name = 'pgveneer cursor'", user="postgres") == "0", "no server process is left")

    @s.scenario("connections have limits: RETRIEVE waits, then 53300")
    def _():
        limited = c.start_proxy(name="limited", parallel_cursor_max_workers="1", parallel_cursor_endpoints="2", **KEPT)
        with Declarer(Endpoint("127.0.0.1", limited.settings["listen_port"])) as d:
            d.run("BEGIN"); equal(declare(d, "SELECT a FROM big"), 2, "two endpoints"); one, two = d.endpoints("c")
            with d.retriever() as r, d.retriever() as r2:
                r.rows(f"RETRIEVE 1 FROM ENDPOINT {one}")
                later = threading.Timer(0.5, lambda: r.rows(f"RETRIEVE ALL FROM ENDPOINT {one}"))
                later.start()
                equal(len(r2.rows(f"RETRIEVE 5 FROM ENDPOINT {two}")), 5, "waited for a place")
                later.join()
                with d.retriever() as r3:
                    d.run(f"DECLARE e {PRC} FOR SELECT b FROM big")
                    e = r3.error("RETRIEVE ALL FROM ENDPOINT e_1")
                    equal((e["C"], e["M"]), ("53300", "too many connections for parallel retrieve cursors"), "in vain")

    @s.scenario("every way to log in: workers are the client's own user, on one snapshot")
    def _():
        for auth, settings, endpoints in [("scram-sha-256", {}, 1), ("scram-sha-256", KEPT, 4), ("scram-sha-256", {**KEPT, "auth": "terminate"}, 4),
                                          ("md5", KEPT, 4), ("trust", {"allow_trust_backend": "on", "keep_client_keys": "on", "parallel_cursor_min_size": "65536"}, 4)]:
            with Cluster(auth=auth, superuser_service=True) as k:
                k.direct.sql("CREATE TABLE big AS SELECT g AS a, repeat('x', 200) AS b FROM generate_series(1, 2000) g")
                k.start_proxy(**settings)
                with Declarer(k.proxy) as d:
                    d.run("BEGIN")
                    what = f"{auth} {settings}"
                    equal(declare(d, "SELECT * FROM big"), endpoints, what)
                    with d.retriever() as r:
                        total = sum(len(r.rows(f"RETRIEVE 1 FROM ENDPOINT {n}")) for n in d.endpoints("c"))
                        equal(total, endpoints, what)
                        if endpoints > 1:
                            equal(k.direct.sql("SELECT usename, count(*), count(DISTINCT backend_xmin::text) FROM pg_stat_activity WHERE application_name = 'pgveneer cursor' GROUP BY 1", user="postgres"),
                                  "app|4|1", what)
                        total += sum(len(r.rows(f"RETRIEVE ALL FROM ENDPOINT {n}")) for n in d.endpoints("c"))
                        equal(total, 2000, what)

sys.exit(s.finish())
