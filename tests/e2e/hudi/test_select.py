"""SELECT on Hudi foreign tables through pgveneer: every kind of statement, fresh and shared copies, incremental
windows, types, rights, limits, and jobs and servers that die."""
import os
import signal
import subprocess
import sys
import threading

from cluster import Scenarios, equal, wait_until
from engine import children, phase
from hudi_sync import Hudi, duckdb_library

COLUMNS = [("id", "integer"), ("v", "text"), ("ts", "bigint")]
s = Scenarios("select")


def rows(first, last, tag):
    return f"SELECT i::INTEGER AS id, '{tag}' || i AS v, i::BIGINT AS ts FROM range({first}, {last}) t(i)"


class World:
    def __init__(self, h):
        self.h, self.sql = h, h.cluster.proxy.sql
        self.commits = [h.writer("create", "t", "--key", "id", "--ordering", "ts", "--sql", rows(0, 5, "a"))]
        h.foreign_table("ft", "t", COLUMNS)
        h.sql("CREATE ROLE bob LOGIN PASSWORD 'bob'", user="postgres")

    def commit(self, command, sql, option="--sql", table="t"):
        self.commits.append(self.h.writer(command, table, option, sql))
        return self.commits[-1]

    def loads(self):
        """How many copies were made so far."""
        return int(self.h.sql("SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM pgveneer.hudi_copy_number",
                              user="postgres"))

    def copies(self):
        return self.h.sql("SELECT count(*) FROM pg_class WHERE relname ~ '^scan_[0-9]+$'", user="postgres")

    def error(self, text, state, **where):
        e = self.h.cluster.proxy.sql_error(text, **where)
        equal(e.sqlstate, state, str(e))
        return str(e)


def statements(w):
    sql = w.sql

    @s.scenario("EXPLAIN brings nothing in, the first SELECT does, the second reads the same copy")
    def _():
        if "hudi_scan" not in sql("EXPLAIN SELECT * FROM ft"):
            raise AssertionError("not a scan")
        equal(w.loads(), 0)
        equal(sql("SELECT * FROM ft ORDER BY id"), "\n".join(f"{i}|a{i}|{i}" for i in range(5)))
        equal(sql("SELECT count(*), sum(ts) FROM public.ft WHERE id > 1"), "3|9")
        equal(w.loads(), 1)

    @s.scenario("joins, self-joins, subqueries, CTEs, set operations, several foreign tables, EXPLAIN ANALYZE")
    def _():
        w.h.writer("create", "u", "--key", "id", "--ordering", "ts", "--sql", rows(3, 9, "u"))
        w.h.foreign_table("fu", "u", COLUMNS)
        sql("CREATE TABLE plain AS SELECT i AS id, 'p' || i AS p FROM generate_series(2, 7) i")
        equal(sql("SELECT f.id, f.v, u.v, p.p FROM ft f JOIN fu u USING (id) JOIN plain p USING (id) ORDER BY 1"),
              "3|a3|u3|p3\n4|a4|u4|p4")
        equal(sql("SELECT count(*) FROM ft a, ft b WHERE a.id < b.id"), "10")
        equal(sql("WITH x AS (SELECT * FROM ft WHERE id IN (SELECT id FROM fu)) SELECT v FROM x "
                  "UNION ALL SELECT v FROM fu WHERE id = 8 ORDER BY 1"), "a3\na4\nu8")
        equal(sql("SELECT p.id, (SELECT v FROM ft WHERE ft.id = p.id) FROM plain p WHERE id < 4 ORDER BY 1"), "2|a2\n3|a3")
        if "actual" not in sql("EXPLAIN ANALYZE SELECT * FROM ft"):
            raise AssertionError("not analyzed")

    @s.scenario("prepared, cursors, COPY, INSERT and CREATE TABLE from it, views over it, PL/pgSQL, TABLE")
    def _():
        equal(sql("PREPARE p(int) AS SELECT v FROM ft WHERE id = $1; EXECUTE p(2); EXECUTE p(4)"), "a2\na4")
        equal(sql("BEGIN; DECLARE c CURSOR FOR SELECT id FROM ft ORDER BY id; FETCH 2 FROM c; MOVE 1 FROM c; FETCH c; COMMIT"),
              "0\n1\n3")
        equal(sql("COPY (SELECT id, v FROM ft WHERE id < 2 ORDER BY 1) TO STDOUT"), "0\ta0\n1\ta1")
        equal(sql("CREATE TABLE made AS SELECT * FROM ft; INSERT INTO made SELECT * FROM fu RETURNING 1;"
                  "SELECT count(*) FROM made").split("\n")[-1], "11")
        equal(sql("CREATE VIEW over AS SELECT id * 2 AS double FROM ft; SELECT sum(double) FROM over"), "20")
        equal(sql("CREATE MATERIALIZED VIEW kept AS SELECT v FROM ft; SELECT count(*) FROM kept"), "5")
        equal(sql("CREATE FUNCTION total() RETURNS bigint LANGUAGE plpgsql AS $$DECLARE n bigint := 0; r record; "
                  "BEGIN FOR r IN SELECT * FROM public.ft LOOP n := n + r.ts; END LOOP; RETURN n; END$$; SELECT total()"), "10")
        equal(sql("CREATE FUNCTION stable_total() RETURNS numeric LANGUAGE sql STABLE AS "
                  "'SELECT sum(ts) FROM public.ft'; SELECT stable_total()"), "10")
        equal(sql("TABLE ft ORDER BY 1 LIMIT 1"), "0|a0|0")
        equal(sql("BEGIN READ ONLY; SELECT count(*) FROM ft; COMMIT"), "5")

    @s.scenario("isolation levels whose snapshot is older: 0A000")
    def _():
        for level in ("REPEATABLE READ", "SERIALIZABLE"):
            w.error(f"BEGIN ISOLATION LEVEL {level}; SELECT * FROM ft", "0A000")

    @s.scenario("without pgveneer: a hint")
    def _():
        e = w.h.sql_error("SELECT * FROM ft")
        equal(e.sqlstate, "55000", str(e))


def freshness(w):
    sql = w.sql

    @s.scenario("a commit that came is there, what it replaced is dropped")
    def _():
        before = w.loads()
        w.commit("upsert", rows(4, 7, "b"))
        equal(sql("SELECT string_agg(v, ',' ORDER BY id) FROM ft"), "a0,a1,a2,a3,b4,b5,b6")
        w.commit("delete", "SELECT 0::INTEGER AS id", "--keys-sql")
        equal(sql("SELECT count(*), min(id) FROM ft"), "6|1")
        equal(w.loads(), before + 2)
        equal(w.copies(), "2", "copies of ft and fu")

    @s.scenario("a transaction sees the state of each statement; a scan that runs keeps its copy")
    def _():
        p = subprocess.Popen(["psql", "-XAtq"], env=w.h.cluster.proxy.env(), stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, text=True)
        p.stdin.write("BEGIN; SELECT count(*) FROM ft;\n")
        p.stdin.flush()
        equal(p.stdout.readline(), "6\n")
        w.commit("upsert", rows(7, 8, "c"))
        equal(sql("SELECT count(*) FROM ft"), "7")
        equal(w.copies(), "3", "the old one is held by the open transaction")
        equal(p.communicate("SELECT count(*) FROM ft; COMMIT;\n")[0], "7\n")

    @s.scenario("a pending commit is not waited for, one that is rolled back is gone")
    def _():
        w.h.writer("create", "pending", "--key", "id", "--ordering", "ts", "--layout", 1, "--sql", rows(0, 3, "p"))
        w.h.foreign_table("pending", "pending", COLUMNS)
        w.h.writer("begin", "pending")
        w.h.writer("upsert", "pending", "--sql", rows(3, 5, "q"))
        equal(sql("SELECT string_agg(v, ',' ORDER BY id) FROM pending"), "p0,p1,p2,q3,q4")
        w.h.writer("rollback", "pending")
        equal(sql("SELECT string_agg(v, ',' ORDER BY id) FROM pending"), "p0,p1,p2")

    @s.scenario("other options of the foreign table are another copy")
    def _():
        sql(f"ALTER FOREIGN TABLE ft OPTIONS (SET foldername '{w.h.folder}/u/')")
        equal(sql("SELECT count(*), min(v) FROM ft"), "6|u3")
        sql(f"ALTER FOREIGN TABLE ft OPTIONS (SET foldername '{w.h.folder}/t/')")
        equal(sql("SELECT count(*), min(v) FROM ft"), "7|a1")


def windows(w):
    sql, c = w.sql, w.commits

    def between(after, upto=None, what="string_agg(v, ',' ORDER BY id)"):
        text = "SET hoodie.public.ft.consume.mode = incremental;"
        if after:
            text += f"SET hoodie.public.ft.consume.start.timestamp = {after};"
        if upto:
            text += f"SET hoodie.public.ft.consume.ending.timestamp = '{upto}';"
        return text + f"SELECT {what} FROM ft"

    @s.scenario("an incremental window: what its commits wrote, as it is at its end")
    def _():
        equal(sql(between(c[0])), "b4,b5,b6,c7")
        equal(sql(between(c[0], c[1])), "b4,b5,b6")
        equal(sql(between(c[1])), "c7")
        equal(sql(between(c[-1])), "")
        equal(sql(between("20000101000000", c[0])), "a0,a1,a2,a3,a4")
        equal(sql(between("20000101000000")), "a1,a2,a3,b4,b5,b6,c7")
        equal(sql(between(c[2], c[1])), "")

    @s.scenario("of many windows only the last copies stay")
    def _():
        for day in range(10, 20):
            sql(between(f"200001{day}000000"))
        wait_until(lambda: w.h.sql("SELECT count(*) FROM pgveneer.hudi_copy WHERE relid = 'ft'::regclass") == "8" and
                   w.copies() == w.h.sql("SELECT count(*) FROM pgveneer.hudi_copy", user="postgres"), "eight copies")

    @s.scenario("snapshot, RESET and another session see all of it; two windows in one session")
    def _():
        equal(sql(between(c[1]) + "; RESET hoodie.public.ft.consume.mode; SELECT count(*) FROM ft"), "c7\n7")
        equal(sql(between(c[1]) + "; SET hoodie.public.ft.consume.mode = 'SNAPSHOT'; SELECT count(*) FROM ft"), "c7\n7")
        equal(sql("SELECT count(*) FROM ft"), "7")

    @s.scenario("clustering adds nothing to a window, an overwrite does")
    def _():
        w.commits.append(w.h.writer("cluster", "t", "--groups", 1))
        equal(sql(between(c[0])), "b4,b5,b6,c7")
        equal(sql(between(c[-1])), "")
        equal(sql("SELECT count(*) FROM ft"), "7")

    @s.scenario("wrong settings")
    def _():
        w.error(between(None), "22023")
        w.error(between("'yesterday'"), "22007")
        w.error(between(c[0], "soon"), "22007")
        w.error("SET hoodie.public.ft.consume.mode = 'other'; SELECT * FROM ft", "22023")
        w.h.writer("create", "plain", "--key", "id", "--ordering", "ts", "--no-meta", "--sql", rows(0, 3, "n"))
        w.h.foreign_table("nometa", "plain", COLUMNS)
        equal(sql("SELECT count(*) FROM nometa"), "3")
        w.error("SET hoodie.public.nometa.consume.mode = incremental;"
                "SET hoodie.public.nometa.consume.start.timestamp = 20000101000000; SELECT * FROM nometa", "0A000")


def types(w):
    sql = w.sql

    @s.scenario("types of the caller: domains, enums, arrays, meta columns, columns that are missing")
    def _():
        w.h.writer("create", "typed", "--key", "id", "--sql",
                   "SELECT i::INTEGER AS id, 'red' AS color, '10.0.0.' || i AS address, [i, i + 1]::INTEGER[] AS list, "
                   "{'a': i} AS obj, i::DECIMAL(10,2) AS amount, DATE '2024-02-29' AS day, 'x' AS word "
                   "FROM range(1, 3) t(i)")
        sql("CREATE TYPE color AS ENUM ('red', 'green'); CREATE DOMAIN word AS varchar(3) CHECK (value <> 'bad')")
        w.h.foreign_table("typed", "typed", [
            ("id", "smallint"), ("color", "public.color"), ("address", "inet"), ("list", "integer[]"), ("obj", "jsonb"),
            ("amount", "numeric(12,3)"), ("day", "date"), ("word", "public.word"), ("absent", "timestamptz"),
            ("_hoodie_record_key", "text")])
        equal(sql("SELECT *, pg_typeof(color), pg_typeof(word) FROM typed ORDER BY id"),
              "\n".join(f'{i}|red|10.0.0.{i}|{{{i},{i + 1}}}|{{"a": {i}}}|{i}.000|2024-02-29|x||{i}|color|word' for i in (1, 2)))

    @s.scenario("a value that does not fit, a type that cannot be")
    def _():
        w.h.foreign_table("narrow", "t", [("id", "integer"), ("v", "varchar(1)")])
        if '"v"' not in w.error("SELECT * FROM narrow", "22001"):
            raise AssertionError("no column")
        w.h.foreign_table("impossible", "t", [("id", "integer"), ("v", "bytea")])
        w.error("SELECT * FROM impossible", "42804")
        w.h.foreign_table("empty_one", "nothing", COLUMNS)
        w.error("SELECT * FROM empty_one", "58P01")
        w.h.writer("create", "hollow", "--key", "id", "--ordering", "ts")
        w.h.foreign_table("hollow", "hollow", COLUMNS)
        equal(sql("SELECT count(*) FROM hollow"), "0")


def rights(w):
    sql, h = w.sql, w.h

    def copy():
        sql("SELECT * FROM ft")
        return h.sql("SELECT table_name FROM pgveneer.hudi_copy WHERE relid = 'ft'::regclass ORDER BY loaded_at DESC LIMIT 1")

    @s.scenario("SELECT on the foreign table decides")
    def _():
        w.error("SELECT * FROM ft", "42501", user="bob")
        sql("GRANT SELECT ON ft TO bob")
        equal(sql("SELECT count(*) FROM ft", user="bob"), "7")
        sql("REVOKE SELECT ON ft FROM bob")
        w.error("SELECT * FROM ft", "42501", user="bob")

    @s.scenario("copies and the function give nobody more")
    def _():
        name = copy()
        call = "SELECT * FROM pgveneer.hudi_scan('ft'::regclass) AS x(id integer, v text, ts bigint)"
        equal(h.sql(f"SELECT count(*) FROM pgveneer.{name}"), "7", "who may read the foreign table")
        equal(h.sql(f"SELECT count(*) FROM pgveneer.{name}", user="bob"), "0")
        equal(h.sql("SELECT count(*) FROM pgveneer.hudi_copy", user="bob"), "0")
        w.error(call, "42501", user="bob")
        for change in (f"INSERT INTO pgveneer.{name} VALUES (1)", f"DELETE FROM pgveneer.{name}", f"TRUNCATE pgveneer.{name}",
                       f"DROP TABLE pgveneer.{name}", f"CREATE INDEX ON pgveneer.{name} (c1)",
                       f"CREATE POLICY mine ON pgveneer.{name} USING (true)", "UPDATE pgveneer.hudi_copy SET relid = 1",
                       "SELECT pgveneer.make_hudi_copy(1, 'a int')", "SELECT pgveneer.sweep_hudi_copies('0', NULL)",
                       "SELECT nextval('pgveneer.hudi_copy_number')"):
            w.error(change, "42501", user="bob")
            w.error(change, "42501")

    @s.scenario("a planted search_path, row_security off, SET ROLE, definer functions, views of others")
    def _():
        name = copy()
        sql("CREATE SCHEMA evil; GRANT ALL ON SCHEMA evil TO bob")
        sql("""CREATE FUNCTION evil.has_table_privilege(oid, text) RETURNS boolean LANGUAGE sql AS 'SELECT true';
               CREATE FUNCTION evil.check_hudi_source(oid) RETURNS void LANGUAGE sql AS 'SELECT';
               CREATE VIEW evil.ft AS SELECT * FROM public.ft;
               CREATE FUNCTION evil.peep(text) RETURNS boolean COST 0.0001 LANGUAGE plpgsql AS
               $$BEGIN RAISE NOTICE 'saw %', $1; RETURN true; END$$""", user="bob")
        for text in ("SELECT count(*) FROM public.ft", "SELECT * FROM evil.ft",
                     "SELECT * FROM pgveneer.hudi_scan('public.ft'::regclass) AS x(id integer, v text, ts bigint)"):
            w.error("SET search_path = evil, pg_catalog, pgveneer; " + text, "42501", user="bob")
        w.error(f"SET row_security = off; SELECT * FROM pgveneer.{name}", "42501", user="bob")
        equal(sql(f"SELECT count(*) FROM pgveneer.{name} WHERE evil.peep(c2)", user="bob"), "0")
        equal(sql("SET row_security = off; SELECT count(*) FROM ft"), "7")
        sql("GRANT bob TO app", user="postgres")
        w.error("SET ROLE bob; SELECT * FROM ft", "42501")
        sql("CREATE FUNCTION lend() RETURNS bigint LANGUAGE sql SECURITY DEFINER SET search_path = public AS "
            "'SELECT count(*) FROM ft'; CREATE VIEW lent AS SELECT * FROM ft; GRANT SELECT ON lent TO bob")
        equal(sql("SELECT lend()", user="bob"), "7")
        w.error("SELECT * FROM lent", "42501", user="bob")  # PostgreSQL calls functions of a view as the reader
        sql("REVOKE bob FROM app", user="postgres")


def sharing(w):
    h = w.h

    @s.scenario("many sessions at once: one load")
    def _():
        w.commit("upsert", rows(100, 20100, "m"))
        before, got = w.loads(), []

        def ask():
            got.append(w.sql("SELECT count(*) FROM ft", timeout=60))
        threads = [threading.Thread(target=ask) for _ in range(8)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        equal(got, ["20007"] * 8)
        equal(w.loads(), before + 1)

    @s.scenario("a job that is killed in the middle: another one brings the rows")
    def _():
        w.commit("upsert", rows(100, 60100, "k"))
        p = subprocess.Popen(["psql", "-XAtqc", "SELECT count(*) FROM ft"], env=h.cluster.proxy.env(),
                             stdout=subprocess.PIPE, text=True)

        def find():
            for worker in children(h.cluster.children[0].process.pid):
                for job in children(worker):
                    if phase(job) in ("pgv:read", "pgv:stage"):
                        return job
            return None
        os.kill(wait_until(find, "a job that reads", every=0.002), signal.SIGKILL)
        equal(p.communicate(timeout=60)[0].strip(), "60007")

    @s.scenario("a cancel ends the load, and nothing of it stays")
    def _():
        w.commit("upsert", rows(100, 60100, "l"))
        copies = w.copies()
        e = w.h.cluster.proxy.sql_error("SET statement_timeout = '150ms'; SELECT count(*) FROM ft")
        equal(e.sqlstate, "57014", str(e))
        wait_until(lambda: h.sql("SELECT count(*) FROM pgveneer.task WHERE asker IS NOT NULL", user="postgres") == "0",
                   "the job has ended")
        if int(w.copies()) > int(copies):
            equal(h.sql("SELECT count(*) FROM pgveneer.hudi_copy", user="postgres"), w.copies(), "only whole copies")
        equal(w.sql("SELECT count(*) FROM ft"), "60007")

    @s.scenario("after a crash of the server the rows are brought again")
    def _():
        h.cluster.postgres.restart(signal.SIGQUIT)
        wait_until(lambda: h.cluster.proxy.is_ready(), "pgveneer answers")
        equal(h.sql("SELECT count(*) FROM pgveneer.hudi_copy", user="postgres"), "0")
        equal(w.sql("SELECT count(*) FROM ft", timeout=60), "60007")


def limits(w):
    h = w.h

    @s.scenario("more rows or bytes than the limits: 54000; old copies are dropped")
    def _():
        h.cluster.children[0].stop()
        h.cluster.proxy = None
        h.cluster.start_proxy(name="small", duckdb_library=duckdb_library(), hudi_scan_max_rows=1000, hudi_scan_keep=2)
        w.sql = h.cluster.proxy.sql
        w.commit("upsert", rows(100, 101, "n"))
        if "more than 1000 rows" not in w.error("SELECT * FROM ft", "54000"):
            raise AssertionError("not by rows")
        equal(w.sql("SELECT count(*) FROM fu"), "6")
        wait_until(lambda: w.copies() == "0", "old copies are dropped")
        wait_until(lambda: h.sql("SELECT count(*) FROM pgveneer.task WHERE state = 'active'", user="postgres") == "0",
                   "and the task that drops them ends")
        equal(w.sql("SELECT count(*) FROM fu"), "6")


def main():
    with Hudi() as h:
        h.cluster.start_proxy(duckdb_library=duckdb_library())
        w = World(h)
        statements(w)
        freshness(w)
        windows(w)
        types(w)
        rights(w)
        sharing(w)
        limits(w)
    return s.finish()


if __name__ == "__main__":
    sys.exit(main())
