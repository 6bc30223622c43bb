"""SELECT on Hudi foreign tables brings the columns that a statement reaches, and no statement sees the
difference: whatever reaches a column without naming it has all of them brought."""
import os
import random
import sys
import threading

from cluster import Scenarios, equal
from hudi_sync import Hudi, duckdb_library

SEED = int(os.environ.get("PGVENEER_SELECT_SEED", "20260101"))
STATEMENTS = int(os.environ.get("PGVENEER_SELECT_STATEMENTS", "25"))
COLUMNS = [("id", "integer"), ("v", "text"), ("n", "bigint"), ("d", "date"), ("part", "text"), ("Mixed", "integer")]
s = Scenarios("select_columns")


def rows(first, last, tag):
    return (f"SELECT i::INTEGER AS id, '{tag}' || (i % 7) AS v, (i * 3 % 11)::BIGINT AS n, "
            f"DATE '2024-01-01' + (i % 5)::INTEGER AS d, 'p' || (i % 3) AS part, (i % 4)::INTEGER AS Mixed, "
            f"i::BIGINT AS ts FROM range({first}, {last}) t(i)")


class World:
    def __init__(self, h):
        self.h, self.sql = h, h.cluster.proxy.sql
        h.writer("create", "t", "--key", "id", "--ordering", "ts", "--partition", "part", "--sql", rows(0, 40, "a"))
        h.writer("upsert", "t", "--sql", rows(30, 50, "b"))
        h.foreign_table("ft", "t", COLUMNS)
        h.sql("CREATE TABLE plain AS SELECT i AS id, 'a' || i % 5 AS v, i AS x FROM generate_series(0, 30) i")

    def forget(self):
        self.h.sql("DELETE FROM pgveneer.hudi_copy", user="postgres")

    def kept(self, table="ft"):
        """Columns of the copy, as {1,3}; 'all'; '' if there is none."""
        return self.h.sql("SELECT coalesce(columns::text, 'all') FROM pgveneer.hudi_copy "
                          f"WHERE relid = '{table}'::regclass", user="postgres")

    def loads(self):
        return int(self.h.sql("SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM pgveneer.hudi_copy_number",
                              user="postgres"))

    def brings(self, columns, text, want=None):
        """The columns that the statement alone has brought."""
        self.forget()
        got = self.sql(text)
        if want is not None:
            equal(got, want, text)
        equal(self.kept(), columns, text)


def columns(w):
    sql = w.sql

    @s.scenario("what a statement names is brought, and the key only if it is named")
    def _():
        w.brings("{1}", "SELECT count(*) FROM ft", "50")
        w.brings("{2,3}", "SELECT sum(n) FROM ft WHERE v = 'a1'")
        w.brings("{6}", 'SELECT max("Mixed") FROM public.ft', "3")
        w.brings("{1,2}", "SELECT p.x, f.v FROM plain p JOIN ft f USING (id) WHERE p.x = 3", "3|a3")
        w.brings("{1,5}", "COPY (SELECT id, part FROM ft WHERE id = 2) TO STDOUT", "2\tp2")
        w.brings("all", "SELECT * FROM ft WHERE id = 2", "2|a2|6|2024-01-03|p2|2")

    @s.scenario("EXPLAIN brings nothing, EXPLAIN ANALYZE what the query reaches")
    def _():
        w.brings("", "EXPLAIN SELECT v FROM ft")
        w.brings("{2}", "EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) SELECT v FROM ft")

    @s.scenario("a later statement that needs more has the columns of both brought; less is found there")
    def _():
        w.brings("{1}", "SELECT sum(id) FROM ft", "1225")
        before = w.loads()
        equal(sql("SELECT count(*) FROM ft WHERE v = 'b1' AND n > 2"), "2")
        equal(w.kept(), "{1,2,3}")
        equal(sql("SELECT id FROM ft WHERE v = 'a3' ORDER BY 1 LIMIT 1"), "3")
        equal(sql("SELECT sum(id) FROM ft"), "1225")
        equal(w.loads(), before + 1)
        equal(sql("SELECT * FROM ft ORDER BY id LIMIT 1"), "0|a0|0|2024-01-01|p0|0")
        equal(w.kept(), "all")
        equal(sql("SELECT sum(n) FROM ft"), "243")
        equal(w.loads(), before + 2)

    @s.scenario("a new commit: the columns that were used, not all because of one SELECT *")
    def _():
        w.brings("{1}", "SELECT sum(id) FROM ft")
        sql("SELECT sum(n) FROM ft")
        w.h.writer("upsert", "t", "--sql", rows(50, 51, "c"))
        equal(sql("SELECT max(id) FROM ft"), "50")
        equal(w.kept(), "{1,3}")
        sql("SELECT * FROM ft LIMIT 1")
        w.h.writer("upsert", "t", "--sql", rows(51, 52, "c"))
        equal(sql("SELECT max(id) FROM ft"), "51")
        equal(w.kept(), "{1}")

    @s.scenario("columns of domains are always brought: NULL may not be one of their values")
    def _():
        sql("CREATE DOMAIN filled AS text CHECK (value IS NOT NULL)")
        w.h.foreign_table("domains", "t", [("id", "integer"), ("v", "public.filled"), ("n", "bigint")])
        equal(sql("SELECT sum(n) > 0 FROM domains"), "t")
        equal(w.kept("domains"), "{2,3}")

    @s.scenario("a column that is not reached is not read: its part of the files may be damaged")
    def _():
        w.h.writer("create", "big", "--key", "id", "--codec", "snappy", "--sql",
                   "SELECT i::INTEGER AS id, string_agg(md5((i * 1000 + k)::VARCHAR), '') AS big "
                   "FROM range(20) t(i), range(300) u(k) GROUP BY i")
        w.h.foreign_table("big", "big", [("id", "integer"), ("big", "text")])
        files = list((w.h.folder / "big").glob("**/*.parquet"))
        equal(len(files), 1)
        content = bytearray(files[0].read_bytes())
        middle = len(content) // 2
        content[middle - 30000:middle + 30000] = b"\xff" * 60000
        files[0].write_bytes(content)
        equal(sql("SELECT sum(id) FROM big"), "190")
        equal(w.h.cluster.proxy.sql_error("SELECT length(big) FROM big").sqlstate, "XX001")


def hidden(w):
    """What reaches columns that the client's statement does not name."""
    sql = w.sql
    sql("""CREATE VIEW over AS SELECT id, v AS word FROM ft;
           CREATE VIEW "Odd view" AS SELECT n FROM ft;
           CREATE FUNCTION inlined() RETURNS SETOF text LANGUAGE sql STABLE AS 'SELECT v FROM public.ft WHERE id < 3';
           CREATE FUNCTION looped() RETURNS bigint LANGUAGE plpgsql AS $$DECLARE r record; n bigint := 0;
               BEGIN FOR r IN SELECT * FROM public.ft LOOP n := n + r.n; END LOOP; RETURN n; END$$;
           CREATE FUNCTION dynamic(text) RETURNS text LANGUAGE plpgsql AS
               $$DECLARE t text; BEGIN EXECUTE $1 INTO t; RETURN t; END$$;
           CREATE FUNCTION whole(public.ft) RETURNS text LANGUAGE sql AS 'SELECT $1.v';
           CREATE TABLE guarded AS SELECT i AS id FROM generate_series(0, 9) i;
           ALTER TABLE guarded ENABLE ROW LEVEL SECURITY; ALTER TABLE guarded FORCE ROW LEVEL SECURITY;
           CREATE POLICY p ON guarded USING (EXISTS (SELECT FROM public.ft f WHERE f.id = guarded.id AND f.v = 'a3'));
           CREATE TABLE ruled (id integer); CREATE TABLE written (v text);
           CREATE RULE r AS ON INSERT TO ruled DO ALSO INSERT INTO written SELECT v FROM public.ft WHERE id = 4;
           CREATE TABLE triggered (id integer);
           CREATE FUNCTION fill() RETURNS trigger LANGUAGE plpgsql AS
               $$BEGIN INSERT INTO written SELECT v FROM public.ft WHERE id = 5; RETURN NULL; END$$;
           CREATE TRIGGER t AFTER INSERT ON triggered EXECUTE FUNCTION fill()""")

    @s.scenario("views, also with odd names")
    def _():
        w.brings("all", "SELECT f.id, o.word FROM ft f JOIN over o USING (id) WHERE id = 2", "2|a2")
        w.brings("all", "SELECT word FROM over WHERE id = 3", "a3")
        w.brings("all", 'SELECT (SELECT sum(n) FROM "Odd view"), max(id) FROM ft')
        w.brings("all", "BEGIN; CREATE TEMP VIEW plain AS SELECT v AS x FROM public.ft WHERE id = 6; "
                        "SELECT max(f.id), max(x) FROM ft f, plain; ROLLBACK", "51|a6")

    @s.scenario("functions: put in place, looped, dynamic, of a row, in C with a query in a text")
    def _():
        w.brings("all", "SELECT max(f.id), string_agg(x, ',' ORDER BY x) FROM ft f, inlined() x WHERE f.id = 1", "1|a0,a1,a2")
        w.brings("all", "SELECT looped() > 0, max(id) FROM ft", "t|51")
        w.brings("all", "SELECT dynamic('SELECT v FROM public.ft WHERE id = 3') FROM ft WHERE id = 3", "a3")
        w.brings("all", "SELECT f.whole FROM ft f WHERE id = 3", "a3")
        w.brings("all", "SELECT word FROM ts_stat('SELECT to_tsvector(''simple'', v) FROM public.ft'), ft "
                        "WHERE id = 1 ORDER BY word LIMIT 1", "a0")
        w.brings("all", "SELECT xpath('//v/text()', query_to_xml('SELECT v FROM public.ft WHERE id = 4', false, false, '')) "
                        "FROM ft WHERE id = 4", "{a4}")
        w.brings("all", "DO $$DECLARE t text; BEGIN SELECT v INTO STRICT t FROM public.ft WHERE id = 2; "
                        "ASSERT t = 'a2'; END$$")

    @s.scenario("row security, rules, triggers")
    def _():
        w.brings("all", "SELECT g.id, max(f.id) FROM guarded g, ft f GROUP BY 1", "3|51")
        w.brings("all", "INSERT INTO ruled SELECT id FROM ft WHERE id = 1; SELECT * FROM written", "a4")
        w.brings("all", "TRUNCATE written; INSERT INTO triggered SELECT id FROM ft WHERE id = 1; SELECT * FROM written", "a5")

    @s.scenario("cursors that run later, prepared statements, cursor_to_xml")
    def _():
        w.brings("all", "BEGIN; DECLARE c CURSOR FOR SELECT v FROM ft WHERE id = 2; FETCH c; COMMIT", "a2")
        w.brings("all", "PREPARE p AS SELECT v FROM ft WHERE id = 2; EXECUTE p", "a2")
        w.brings("all", "BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT v FROM ft WHERE id = 2; "
                        "SELECT max(id) FROM ft; COMMIT; FETCH c", "51\na2")
        w.brings("all", "BEGIN; DECLARE c CURSOR FOR SELECT v FROM ft WHERE id = 2; "
                        "SELECT cursor_to_xml('c', 1, false, false, '')::text ~ 'a2' FROM ft WHERE id = 2; COMMIT", "t")

    @s.scenario("another view in the table's place, renamed columns, names of other dialects")
    def _():
        w.h.foreign_table("swapped", "t", [("a", "text"), ("v", "text"), ("part", "text")])
        oid = w.h.sql("SELECT 'swapped'::regclass::oid")
        sql(f"CREATE OR REPLACE VIEW swapped AS SELECT x.part AS a, x.v, x.a AS part FROM pgveneer.hudi_scan({oid}::oid) "
            "AS x(a text, v text, part text)")
        equal(sql("SELECT min(a) FROM swapped"), "p0")
        sql("ALTER VIEW ft RENAME COLUMN v TO word")
        w.brings("all", "SELECT count(*), count(word) FROM ft", "52|0")
        sql("ALTER VIEW ft RENAME COLUMN word TO v")
        w.brings("all", 'SELECT U&"\\0076" FROM ft WHERE id = 2', "a2")
        w.brings("all", "SET standard_conforming_strings = off; SELECT v FROM ft WHERE id = 2", "a2")
        w.brings("all", "SELECT v FROM ft WHERE id = 2 AND '" + "x" * 17000 + "' <> ''", "a2")


def partitions(w):
    sql = w.sql

    def brings(files, text, want=None):
        """How many files of the table the statement alone has read."""
        w.forget()
        got = sql(text)
        if want is not None:
            equal(got, want, text)
        equal(w.h.sql("SELECT file_count FROM pgveneer.hudi_copy", user="postgres"), str(files), text)

    @s.scenario("partitions that the conditions leave out are not read")
    def _():
        brings(1, "SELECT * FROM ft WHERE part = 'p1' AND id < 3", "1|a1|3|2024-01-02|p1|1")
        brings(1, "SELECT count(*) FROM ft f JOIN plain p USING (id) WHERE f.part IN ('p2') AND p.x > 5", "8")
        brings(2, "SELECT sum(id) FROM ft WHERE part IN ('p0', 'p2', 'nowhere')")
        brings(1, "SELECT count(*) FROM ft WHERE part = 'nowhere'", "0")
        brings(3, "SELECT count(*) FROM ft WHERE part > 'p1'")
        brings(3, "SELECT count(*) FROM ft WHERE part = 'p1' OR id = 2")
        brings(3, "SELECT count(*), (SELECT count(*) FROM ft) FROM ft WHERE part = 'p1'")
        brings(3, "SELECT max(f.id), (SELECT count(*) FROM over) FROM ft f WHERE part = 'p1'")

    @s.scenario("integers and dates; several columns; URL encoding; hive style")
    def _():
        w.h.writer("create", "days", "--key", "id", "--partition", "year,day", "--hive-style", "--sql",
                   "SELECT i::INTEGER AS id, (2020 + i % 3)::INTEGER AS year, DATE '2024-01-01' + (i % 2)::INTEGER AS day "
                   "FROM range(24) t(i)")
        w.h.foreign_table("days", "days", [("id", "integer"), ("year", "integer"), ("day", "date")])
        brings(2, "SELECT count(*) FROM days WHERE year = 2021", "8")
        brings(4, "SELECT count(*) FROM days WHERE year > 2020 AND year < 2030", "16")
        brings(1, "SELECT count(*) FROM days WHERE year = 2022 AND day = date '2024-01-02'", "4")
        brings(3, "SELECT count(*) FROM days WHERE day BETWEEN '2024-01-02' AND '2024-02-01'", "12")
        brings(6, "SELECT count(*) FROM days WHERE day >= 'January 2, 2024'", "12")
        w.h.writer("create", "odd", "--key", "id", "--partition", "p", "--url-encode", "--sql",
                   "SELECT i::INTEGER AS id, ['a/b', 'c d', 'x', NULL][i % 4 + 1] AS p FROM range(8) t(i)")
        w.h.foreign_table("odd", "odd", [("id", "integer"), ("p", "text")])
        for value, n in (("a/b", 2), ("c d", 2), ("x", 2), ("default", 0)):
            equal(sql(f"SELECT count(*) FROM odd WHERE p = '{value}'"), str(n), value)

    @s.scenario("copies of some partitions beside the whole; one that is whole serves all")
    def _():
        w.forget()
        before = w.loads()
        for part in ("p0", "p1", "p0", "p1"):
            sql(f"SELECT sum(id) FROM ft WHERE part = '{part}'")
        sql("SELECT sum(id) FROM ft WHERE part = 'p0' AND id > 7")
        equal(w.loads(), before + 2)
        equal(sql("SELECT count(v) FROM ft WHERE part = 'p0'"), "18")
        equal(w.loads(), before + 3, "more columns of that partition")
        equal(sql("SELECT count(*) FROM ft"), "52")
        sql("SELECT * FROM ft")
        equal(sql("SELECT count(n) FROM ft WHERE part = 'p2'"), "17")
        equal(w.loads(), before + 5)

    @s.scenario("a new partition is seen by statements whose conditions hold for it")
    def _():
        w.h.writer("create", "grown", "--key", "id", "--partition", "k", "--sql",
                   "SELECT i::INTEGER AS id, (i % 3)::INTEGER AS k FROM range(9) t(i)")
        w.h.foreign_table("grown", "grown", [("id", "integer"), ("k", "integer")])
        several, one = "SELECT count(*) FROM grown WHERE k >= 2", "SELECT count(*) FROM grown WHERE k = 2"
        equal((sql(several), sql(one)), ("3", "3"))
        w.h.writer("upsert", "grown", "--sql", "SELECT i::INTEGER AS id, 7::INTEGER AS k FROM range(20, 25) t(i)")
        equal((sql(one), sql(several), sql(one)), ("3", "8", "3"))

    @s.scenario("folders that are made of the values, and types that are shown as text, are not compared")
    def _():
        made = "hoodie.table.keygenerator.type=TIMESTAMP"
        w.h.writer("create", "made", "--key", "id", "--partition", "p", "--sql",
                   "SELECT i::INTEGER AS id, 'x' || i % 2 AS p FROM range(4) t(i)")
        properties = w.h.folder / "made/.hoodie/hoodie.properties"
        text = properties.read_text()
        properties.write_text("".join(made + "\n" if "keygenerator" in line else line + "\n" for line in text.splitlines()))
        w.h.foreign_table("made", "made", [("id", "integer"), ("p", "text")])
        brings(2, "SELECT count(*) FROM made WHERE p = 'x1'", "2")
        w.h.writer("create", "timed", "--key", "id", "--partition", "p", "--sql",
                   "SELECT i::INTEGER AS id, DATE '2024-01-01' + (i % 2)::INTEGER AS p FROM range(4) t(i)")
        w.h.foreign_table("timed", "timed", [("id", "integer"), ("p", "text")])
        equal(sql("SELECT count(*) FROM timed WHERE p = '2024-01-02'"), "2")
        w.h.foreign_table("loose", "t", [("id", "integer"), ("part", "text")])
        sql("CREATE FUNCTION near(integer, integer) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT abs($1 - $2) < 2';"
            "CREATE SCHEMA own; CREATE OPERATOR own.= (LEFTARG = integer, RIGHTARG = integer, FUNCTION = public.near)")
        brings(6, "SET search_path = own, pg_catalog; SELECT count(*) FROM public.days WHERE year = 2021", "24")
        sql("DROP SCHEMA own CASCADE")


EXPRESSIONS = ["f.id", "f.v", "f.n", "f.d", "f.part", 'f."Mixed"', "f.n * 2", "f.v || f.part", "upper(f.v)", "count(*)",
               "sum(f.n)", "max(f.d)", "f.*", "f", "to_jsonb(f)", "(f).v", "row(f.id, f.v)", "f.n::text", "coalesce(f.v, f.part)"]
CONDITIONS = ["f.id < 20", "f.v = 'a3'", "f.n BETWEEN 2 AND 6", "f.d > date '2024-01-02'", "f.part IN ('p0', 'p2')",
              'f."Mixed" = 1', "f.v LIKE 'b%'", "f.id IN (SELECT x FROM plain)", "true", "f.id = 7 OR f.part = 'p1'", "f.part = 'p1'", "f.part IN ('p1', 'p9')",
              "EXISTS (SELECT FROM plain p WHERE p.id = f.id AND p.v = f.v)", "f.id > (SELECT avg(id) FROM {t})", "f.id % 2 = 0"]
SHAPES = ["SELECT {e} FROM {t} f WHERE {c}", "SELECT {e} FROM {t} f JOIN plain q USING (id) WHERE {c}",
          "SELECT * FROM (SELECT {e} FROM {t} f WHERE {c}) y", "WITH f AS (SELECT * FROM {t}) SELECT {e} FROM f WHERE {c}",
          "WITH w AS (SELECT {e} FROM {t} f WHERE {c}) SELECT * FROM w UNION ALL SELECT * FROM w",
          "SELECT q.x, {e} FROM plain q LEFT JOIN {t} f ON f.id = q.id AND {c}", "SELECT {e} FROM {t} f NATURAL JOIN plain WHERE {c}",
          "SELECT {e} FROM {t} f, LATERAL (SELECT f.n + 1 AS m) z WHERE {c} AND z.m > 1",
          "SELECT count(*) FROM {t} f WHERE {c}", "SELECT max(a) FROM {t} f(a, b) WHERE a < 9"]


def make_statement(r):
    shape, e = r.choice(SHAPES), r.choice(EXPRESSIONS)
    aggregate = "(" in e and e.split("(")[0] in ("count", "sum", "max")
    listed = e if aggregate or "UNION" in shape else ", ".join([e, *r.sample(EXPRESSIONS[:9], r.randrange(3))])
    c = " AND ".join(r.sample(CONDITIONS, r.randrange(1, 3)))
    return shape.replace("{e}", listed).replace("{c}", c)


def alike(w):
    @s.scenario("random statements give what they give on a table with all rows and columns")
    def _():
        r = random.Random(SEED)
        w.sql("CREATE TABLE whole AS SELECT * FROM ft")
        for i in range(STATEMENTS):
            text = make_statement(r)
            if r.random() < 0.5:
                w.forget()
            got, want = (outcome(w, text.replace("{t}", t)) for t in ("ft", "whole"))
            equal(got, want, f"seed {SEED}, statement {i}: {text}")

    @s.scenario("different statements at once after a commit: each is answered rightly")
    def _():
        w.forget()
        w.h.writer("upsert", "t", "--sql", rows(52, 53, "c"))
        got = {}

        def ask(name):
            got[name] = w.sql(f'SELECT count("{name}") FROM ft', timeout=120)
        threads = [threading.Thread(target=ask, args=(name,)) for name, _ in COLUMNS]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        equal(got, {name: "53" for name, _ in COLUMNS})


def outcome(w, text):
    """Rows, in any order; or the error."""
    try:
        return sorted(w.sql(text).split("\n"))
    except Exception as e:
        if getattr(e, "sqlstate", None) is None:
            raise
        return e.sqlstate


def main():
    with Hudi() as h:
        h.cluster.start_proxy(duckdb_library=duckdb_library())
        w = World(h)
        columns(w)
        hidden(w)
        partitions(w)
        alike(w)
    return s.finish()


if __name__ == "__main__":
    sys.exit(main())
