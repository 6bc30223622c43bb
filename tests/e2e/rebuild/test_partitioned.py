"""Rebuilds of tables that are partitioned already: the same partitioning, another key, physical to logical, with
writers at work whose rows move between partitions; partitions that come and go during the task."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "support"))
from cluster import Scenarios, equal, wait_until  # noqa: E402
from rebuild import Rebuild  # noqa: E402
from writers import Writers  # noqa: E402

WAIT_S = 600  # locks of many partitions, writers at work, and a machine that is busy
SLOW = "ALTER v TYPE text USING coalesce(nullif(pg_sleep(0.0003)::text, ''), v)"


def rebuild(r, text):
    id = r.submit(text)
    r.wait_done(id, WAIT_S)
    return id


def tree(r, table):
    return r.sql(f"SELECT string_agg(relid::regclass || ' ' || pg_get_expr(relpartbound, oid), '; ' ORDER BY relid::regclass::text) "
                 f"FROM pg_partition_tree('{table}') JOIN pg_class ON oid = relid WHERE isleaf")


def indexes(r, table):
    return r.sql(f"SELECT string_agg(indexrelid::regclass::text, ' ' ORDER BY indexrelid::regclass::text) FROM pg_partition_tree('{table}') "
                 "JOIN pg_index ON indrelid = relid")


class Rows(Writers):
    """Rows (id, v, ds) of a table with the key (id, ds). ds is one of `values`: an update may move the row."""

    def __init__(self, r, table, values, keys=400):
        self.values = values
        super().__init__(r, table, keys)

    def make_ledger(self):
        self.r.sql(f"CREATE TABLE {self.table}_ledger (id int PRIMARY KEY, v text, ds text)")
        self.r.sql(f"INSERT INTO {self.table}_ledger SELECT id, v, ds::text FROM {self.table}")

    def write(self, cur, rng, number, v):
        table, id, ds = self.table, self.key(rng, number), rng.choice(self.values)
        kind = rng.random()
        if kind < 0.3:
            cur.execute(f"UPDATE {table} SET v = %s, ds = %s WHERE id = %s", (v, ds, id))
            cur.execute(f"UPDATE {table}_ledger SET v = %s, ds = %s WHERE id = %s", (v, ds, id))
        elif kind < 0.5:
            cur.execute(f"UPDATE {table} SET v = %s WHERE id = %s", (v, id))
            cur.execute(f"UPDATE {table}_ledger SET v = %s WHERE id = %s", (v, id))
        elif kind < 0.7:
            cur.execute(f"DELETE FROM {table} WHERE id = %s", (id,))
            cur.execute(f"DELETE FROM {table}_ledger WHERE id = %s", (id,))
        else:
            cur.execute(f"DELETE FROM {table} WHERE id = %s", (id,))
            cur.execute(f"INSERT INTO {table} (id, v, ds) VALUES (%s, %s, %s)", (id, v, ds))
            cur.execute(f"INSERT INTO {table}_ledger VALUES (%s, %s, %s) ON CONFLICT (id) DO UPDATE "
                        "SET v = excluded.v, ds = excluded.ds", (id, v, ds))

    def differences(self):
        return self.r.sql(f"SELECT string_agg(x::text, ' ') FROM (SELECT t.id, t.v, l.v, t.ds, l.ds FROM {self.table} t FULL JOIN "
                          f"{self.table}_ledger l USING (id) WHERE (t.v, t.ds::text) IS DISTINCT FROM (l.v, l.ds) LIMIT 5) x")


def make(r, table, by="LIST (ds)", rows=3000):
    r.sql(f"CREATE TABLE {table} (id int, v text, ds text NOT NULL, n int DEFAULT 1, PRIMARY KEY (id, ds)) PARTITION BY {by}")
    r.sql(f"CREATE INDEX ON {table} (v)")


def fill(r, table, values, rows=3000):
    r.sql(f"INSERT INTO {table} (id, v, ds) SELECT i, 'v' || i, (ARRAY{values})[1 + i % {len(values)}] "
          f"FROM generate_series(1, {rows}) i")


def alike(r):
    """Children keep their names, bounds, indexes, comments and grants; LIST with several values and DEFAULT."""
    make(r, "a1")
    r.sql("""CREATE TABLE a1_ab PARTITION OF a1 FOR VALUES IN ('a', 'b') WITH (fillfactor = 70);
             CREATE TABLE "A1 c" PARTITION OF a1 FOR VALUES IN ('c') WITH (fillfactor = 70, autovacuum_enabled = off);
             CREATE TABLE a1_rest PARTITION OF a1 DEFAULT WITH (fillfactor = 70);
             COMMENT ON TABLE a1_ab IS 'two of them'; GRANT SELECT ON a1_ab TO PUBLIC""")
    fill(r, "a1", ["a", "b", "c", "d"])
    before = tree(r, "a1"), indexes(r, "a1"), r.sql("SELECT 'a1_ab'::regclass::oid")
    with Rows(r, "a1", ["a", "b", "c", "d", "e"]) as w:
        told = r.notices(f"ASYNC REBUILD TABLE a1 ADD w double precision DEFAULT random(), ALTER n TYPE bigint, {SLOW}")
        assert "ERROR" not in told, told
        id = r.admin("SELECT max(task_id) FROM pgveneer.task")
        r.wait_done(id, WAIT_S)
    w.check()
    assert 'partition public."A1 c" will not keep what it has alone: autovacuum_enabled=off' in told, told
    equal((tree(r, "a1"), indexes(r, "a1")), before[:2], "names")
    assert r.sql("SELECT 'a1_ab'::regclass::oid") != before[2], "not copied"
    equal(r.sql("SELECT obj_description('a1_ab'::regclass), has_table_privilege('public', 'a1_ab', 'SELECT'),"
                "has_table_privilege('public', 'a1_rest', 'SELECT')"), "two of them|t|f", "comment and grant")
    equal(r.sql("SELECT string_agg(DISTINCT reloptions::text, ' ') FROM pg_partition_tree('a1') JOIN pg_class ON oid = relid"),
          "{fillfactor=70}", "common options")
    equal(r.sql("SELECT count(*) = count(w), pg_typeof(min(n)) FROM a1"), "t|bigint", "actions")
    equal(r.leftovers(id), "", "left over")
    equal([x for x in r.steps(id) if x[1] != "done"],
          [(f"{x}_additional_child_table", "", "-") for x in ("create", "insert")], "steps")


def other_key(r):
    """Physical to physical by another column, to logical by the same one, by two, back and forth; the values of
    rows change meanwhile, and new ones come."""
    make(r, "b1")
    r.sql("CREATE TABLE b1_odd PARTITION OF b1 FOR VALUES IN ('a'); CREATE TABLE b1_rest PARTITION OF b1 DEFAULT;"
          "COMMENT ON TABLE b1_odd IS 'of a'; ALTER TABLE b1 ADD k int NOT NULL DEFAULT 7")
    fill(r, "b1", ["a", "b", "c"])
    with Rows(r, "b1", ["a", "b", "c", "new 1", "new 2"]) as w:
        id = rebuild(r, f"ASYNC REBUILD TABLE b1 TO LOGICAL PARTITION, {SLOW}")
        equal(r.sql("SELECT obj_description('b1_odd'::regclass)"), "of a", "a partition with the same bound keeps its name")
        assert {"b1_odd", "b1_b", "b1_c", "b1_default"} <= {x.split()[0] for x in tree(r, "b1").split("; ")}, tree(r, "b1")
        equal(r.leftovers(id), "", "left over")
        id = rebuild(r, f"ASYNC REBUILD TABLE b1 TO LOGICAL PARTITION BY LIST (k, ds), ALTER PRIMARY KEY (k, id, ds), {SLOW}")
        equal(r.leftovers(id), "", "left over")
        equal(r.sql("SELECT pg_get_partkeydef('b1'::regclass), pg_get_partkeydef('b1_7'::regclass)"), "LIST (k)|LIST (ds)", "keys")
    w.check()
    equal(r.sql("SELECT count(*) FROM b1_default") + r.sql("SELECT count(*) > 0 FROM b1_7_new_1"), "0t", "rows by value")
    r.sql("INSERT INTO b1 VALUES (-1, 'x', 'later', 1, 8)")
    equal(r.sql("SELECT tableoid::regclass FROM b1 WHERE id = -1"), "b1_default", "default partition")
    id = rebuild(r, "ASYNC REBUILD TABLE b1 ADD z int DEFAULT random() * 10")
    equal(r.sql("SELECT tableoid::regclass FROM b1 WHERE id = -1"), "b1_8_later", "a rebuild moves rows out of DEFAULT")
    equal(r.sql_error("ASYNC REBUILD TABLE b1 TO PARTITION BY LIST (k)").sqlstate, "0A000", "logical to physical")
    make(r, "b2")
    r.sql("CREATE TABLE b2_a PARTITION OF b2 FOR VALUES IN ('a'); CREATE TABLE b2_b PARTITION OF b2 FOR VALUES IN ('b')")
    fill(r, "b2", ["a", "b"])
    with Rows(r, "b2", ["a", "b"]) as w:
        id = rebuild(r, f"ASYNC REBUILD TABLE b2 WITH (keep_source) ALTER n SET NOT NULL, ALTER PRIMARY KEY (id, ds, n), "
                       f"TO PARTITION BY LIST (n), {SLOW}")
    w.check()
    equal((tree(r, "b2"), indexes(r, "b2")), ("b2_1 FOR VALUES IN (1)", "b2_1_pkey b2_1_v_idx b2_pkey b2_v_idx"), "by n")
    old = r.sql(f"SELECT string_agg(relname, ' ' ORDER BY relname) FROM pg_class WHERE relname LIKE 'tmp\\_rebuild\\_old\\_{id}%' AND relkind IN ('r', 'p')").split()
    equal([len(old)] + sorted(x.split("_", 5)[5] for x in old), [3, "b2", "b2_a", "b2_b"], "kept")
    child, parent = next(x for x in old if x.endswith("b2_a")), next(x for x in old if x.endswith("b2"))
    for text in (f"DELETE FROM {child}", f"TRUNCATE {child}", f"INSERT INTO {parent} VALUES (1, 'x', 'a')"):
        equal(r.sql_error(text).sqlstate, "25006", text)
    r.sql(f"DROP TABLE {parent}")
    equal(r.leftovers(id), "", "left over")
    e = r.sql_error("ASYNC REBUILD TABLE b2 ALTER n TYPE bigint")
    equal((e.sqlstate, "TO PARTITION BY LIST (n)" in str(e)), ("42P16", True), str(e))
    rebuild(r, "ASYNC REBUILD TABLE b2 ALTER n TYPE bigint, TO PARTITION BY LIST (n)")
    equal(tree(r, "b2"), "b2_1 FOR VALUES IN ('1')", "another type")


def kinds(r):
    """RANGE of two columns over HASH, an expression, another schema; keys of several columns."""
    r.sql("""CREATE SCHEMA far;
        CREATE TABLE k1 (id int, v text, ds text NOT NULL, at date DEFAULT '2025-01-01', PRIMARY KEY (id, ds, at)) PARTITION BY RANGE (at, ds);
        CREATE TABLE k1_low PARTITION OF k1 FOR VALUES FROM (MINVALUE, MINVALUE) TO ('2025-01-01', 'c') PARTITION BY HASH (id);
        CREATE TABLE far.k1_h0 PARTITION OF k1_low FOR VALUES WITH (MODULUS 2, REMAINDER 0);
        CREATE UNLOGGED TABLE far.k1_h1 PARTITION OF k1_low FOR VALUES WITH (MODULUS 2, REMAINDER 1);
        CREATE TABLE k1_high PARTITION OF k1 FOR VALUES FROM ('2025-01-01', 'c') TO (MAXVALUE, MAXVALUE);
        CREATE INDEX k1_mine ON k1 (v) WHERE v > 'v1'; CREATE TRIGGER t1 BEFORE UPDATE ON k1 FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();
        CREATE STATISTICS k1_stat ON id, ds FROM k1; CREATE VIEW k1_view AS SELECT * FROM k1""")
    r.sql("INSERT INTO k1 SELECT i, 'v' || i, (ARRAY['a', 'b', 'c'])[1 + i % 3] FROM generate_series(1, 3000) i")
    before = tree(r, "k1"), indexes(r, "k1")
    with Rows(r, "k1", ["a", "b", "c", "d"]) as w:
        for action in ("SET (clustering_key = 'id')", "SET (fillfactor = 60)"):
            id = rebuild(r, f"ASYNC REBUILD TABLE k1 WITH (rebuild_guc_hg_rebuild_slice_mb = 1) {action}")
            equal(r.leftovers(id), "", "left over")
    w.check()
    equal((tree(r, "k1"), indexes(r, "k1")), before, "tree")
    equal(r.sql("SELECT string_agg(DISTINCT reloptions::text || relkind::text, ' '), string_agg(relpersistence::text, '' ORDER BY relname) "
                "FROM pg_partition_tree('k1') JOIN pg_class ON oid = relid WHERE isleaf"), "{fillfactor=60}r|pup", "options")
    equal(r.sql("SELECT count(*) FROM pg_trigger WHERE tgname = 't1'"), "5", "trigger")
    equal(r.sql("SELECT (SELECT count(*) FROM k1_view) = count(*) FROM k1"), "t", "view")
    r.sql("""CREATE TABLE k2 (a int, b text) PARTITION BY LIST (lower(b)); CREATE TABLE k2_x PARTITION OF k2 FOR VALUES IN ('x');
             INSERT INTO k2 VALUES (1, 'X'), (2, 'x')""")
    rebuild(r, "ASYNC REBUILD TABLE k2 ALTER a TYPE text USING a || '!'")
    equal(r.sql("SELECT string_agg(a, ' ' ORDER BY a) FROM k2_x"), "1! 2!", "expression, and no key")
    rebuild(r, "ASYNC REBUILD TABLE k2 TO LOGICAL PARTITION BY LIST (b), ALTER b SET NOT NULL")
    equal(tree(r, "k2"), "\"k2_X\" FOR VALUES IN ('X'); k2_default DEFAULT; k2_x FOR VALUES IN ('x')", "by value")


def at_step(r, id, step):
    return wait_until(lambda: dict(x[:2] for x in r.steps(id))[step] in ("doing", "done"), step)


def come_and_go(r):
    """CREATE ... PARTITION OF, ATTACH, DETACH, DROP, TRUNCATE of a partition while the rows are copied."""
    for table, action in (("g1", SLOW), ("g2", f"TO LOGICAL PARTITION BY LIST (ds), {SLOW}")):
        make(r, table)
        for value in ("a", "b", "c", "d"):
            r.sql(f"CREATE TABLE {table}_{value} PARTITION OF {table} FOR VALUES IN ('{value}')")
        r.sql(f"CREATE TABLE {table}_rest PARTITION OF {table} DEFAULT")
        fill(r, table, ["a", "b", "c", "d", "x"], rows=4000)
        r.sql(f"CREATE TABLE {table}_y AS SELECT id + 100000 AS id, v, 'y' AS ds, n FROM {table}_a; ALTER TABLE {table}_y ADD PRIMARY KEY (id, ds)")
        with Rows(r, table, ["a", "b"]) as w:
            id = r.submit(f"ASYNC REBUILD TABLE {table} WITH (rebuild_guc_hg_rebuild_slice_mb = 1) {action}")
            at_step(r, id, "insert")
            r.sql(f"ALTER TABLE {table} ATTACH PARTITION {table}_y FOR VALUES IN ('y')")
            r.sql(f"INSERT INTO {table}_ledger SELECT id, v, ds FROM {table}_y;"
                  f"BEGIN; LOCK TABLE {table}; DELETE FROM {table}_ledger l USING {table} t WHERE t.ds IN ('c', 'd') AND t.id = l.id;"
                  f"DROP TABLE {table}_c; ALTER TABLE {table} DETACH PARTITION {table}_d; COMMIT")
            r.sql(f"CREATE TABLE {table}_z PARTITION OF {table} FOR VALUES IN ('z'); INSERT INTO {table} SELECT -i, 'z' || i, 'z' FROM generate_series(1, 50) i;"
                  f"INSERT INTO {table}_ledger SELECT id, v, ds FROM {table}_z")
            r.wait_done(id, WAIT_S)
        w.check()
        equal(r.leftovers(id), "", "left over")
        equal(r.sql(f"SELECT count(*) > 0 FROM {table}_d"), "t", "what was detached is there")
        equal([x for x in r.steps(id) if "child" in x[0] and x[1] != "done"], [], "steps")


def keys(r):
    """Foreign keys out of, into and within partitioned tables, from and to partitioned ones; plain to partitioned."""
    r.sql("""CREATE TABLE country (id int PRIMARY KEY); INSERT INTO country SELECT generate_series(1, 5);
        CREATE TABLE f1 (id int, v text, ds text NOT NULL, country int CONSTRAINT of_country REFERENCES country ON DELETE CASCADE, up int, up_ds text,
                         PRIMARY KEY (id, ds), CONSTRAINT of_up FOREIGN KEY (up, up_ds) REFERENCES f1 DEFERRABLE) PARTITION BY LIST (ds);
        CREATE TABLE f1_a PARTITION OF f1 FOR VALUES IN ('a'); CREATE TABLE f1_b PARTITION OF f1 FOR VALUES IN ('b');
        COMMENT ON CONSTRAINT of_country ON f1 IS 'where it lives';
        INSERT INTO f1 SELECT i, 'v', (ARRAY['a', 'b'])[1 + i % 2], 1 + i % 5, 1, 'b' FROM generate_series(1, 100) i;
        CREATE TABLE f2 (f int, ds text, CONSTRAINT of_f1 FOREIGN KEY (f, ds) REFERENCES f1 ON DELETE SET NULL);
        CREATE TABLE f3 (f int, ds text, CONSTRAINT also_f1 FOREIGN KEY (f, ds) REFERENCES f1) PARTITION BY LIST (ds);
        CREATE TABLE f3_a PARTITION OF f3 FOR VALUES IN ('a'); CREATE TABLE f3_b PARTITION OF f3 FOR VALUES IN ('b');
        INSERT INTO f2 SELECT id, ds FROM f1 WHERE id > 90; INSERT INTO f3 SELECT id, ds FROM f1 WHERE id < 10 AND id > 1""")
    def constraints():
        return r.sql("SELECT string_agg(conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid) || ' ' || convalidated || ' ' || "
                     "coalesce(obj_description(oid, 'pg_constraint'), ''), E'\\n' ORDER BY conrelid::regclass::text, conname) "
                     "FROM pg_constraint WHERE contype = 'f' AND conparentid = 0 AND conrelid::regclass::text ~ '^f'")
    before = constraints()
    for action in ("ADD w float DEFAULT random()", "TO LOGICAL PARTITION BY LIST (ds)", "SET (fillfactor = 70)"):
        id = rebuild(r, f"ASYNC REBUILD TABLE f1 {action}")
        wait_until(lambda: constraints() == before, f"{action}: {before}", timeout=WAIT_S)
        equal(r.sql_error("INSERT INTO f1 VALUES (1000, 'v', 'a', 77)").sqlstate, "23503", "out")
        equal(r.sql_error("INSERT INTO f2 VALUES (1000, 'a')").sqlstate, "23503", "in")
        equal(r.sql_error("DELETE FROM f1 WHERE id = 4").sqlstate, "23503", "in from a partitioned table")
        equal(r.sql_error("DELETE FROM f1 WHERE id = 1").sqlstate, "23503", "within")
        wait_until(lambda: r.leftovers(id) == "", "clean", timeout=WAIT_S)
    r.sql("INSERT INTO f1 VALUES (1000, 'v', 'new', 3)")
    r.sql("CREATE TABLE f4 (id int, ds text NOT NULL, country int CONSTRAINT f4_country REFERENCES country, PRIMARY KEY (id, ds)); "
          "INSERT INTO f4 SELECT i, 'x', 1 FROM generate_series(1, 9) i")
    rebuild(r, "ASYNC REBUILD TABLE f4 TO PARTITION BY LIST (ds)")
    wait_until(lambda: "f4 f4_country FOREIGN KEY (country) REFERENCES country(id) true" in constraints(), "plain to partitioned")


def truncates(r):
    """TRUNCATE of a partition alone, of all; VACUUM FULL; what is read-only."""
    make(r, "h1")
    r.sql("CREATE TABLE h1_a PARTITION OF h1 FOR VALUES IN ('a'); CREATE TABLE h1_b PARTITION OF h1 FOR VALUES IN ('b')")
    fill(r, "h1", ["a", "b"])
    id = r.submit(f"ASYNC REBUILD TABLE h1 WITH (rebuild_guc_hg_rebuild_slice_mb = 1) {SLOW}")
    at_step(r, id, "insert")
    r.sql("TRUNCATE h1_a; INSERT INTO h1 VALUES (1, 'n', 'a')")
    r.wait_done(id, WAIT_S)
    equal(r.sql("SELECT string_agg(ds || n, ' ' ORDER BY ds) FROM (SELECT ds, count(*) AS n FROM h1 GROUP BY ds) x"), "a1 b1500", "one")
    id = r.submit(f"ASYNC REBUILD TABLE h1 WITH (rebuild_guc_hg_rebuild_slice_mb = 1) {SLOW}, TO LOGICAL PARTITION")
    at_step(r, id, "insert")
    r.sql("VACUUM FULL h1_b; TRUNCATE h1; INSERT INTO h1 VALUES (7, 'n', 'b')")
    r.wait_done(id, WAIT_S)
    equal(r.sql("SELECT id, tableoid::regclass FROM h1"), "7|h1_b", "all")
    r.sql("ALTER TABLE h1 SET (readonly = true)")
    for text in ("TRUNCATE h1_b", "DELETE FROM h1_b", "INSERT INTO h1 VALUES (8, 'n', 'b')", "TRUNCATE h1"):
        equal(r.sql_error(text).sqlstate, "25006", text)
    r.sql("ALTER TABLE h1 SET (readonly = false); TRUNCATE h1_b; DELETE FROM h1")
    rebuild(r, "ASYNC REBUILD TABLE h1 SET (autovacuum_enabled = false)")
    equal(r.sql("SELECT DISTINCT reloptions FROM pg_partition_tree('h1') JOIN pg_class ON oid = relid WHERE isleaf"),
          "{autovacuum_enabled=false}", "options reach the partitions")


def stops(r):
    """SUSPEND and RESUME, kill -9, giving up; no key, where a partition that comes makes it start again."""
    import engine
    make(r, "s1")
    for value in ("a", "b"):
        r.sql(f"CREATE TABLE s1_{value} PARTITION OF s1 FOR VALUES IN ('{value}')")
    fill(r, "s1", ["a", "b"])
    worker = lambda: next(p for p in engine.children(r.pgveneer.process.pid) if engine.phase(p) == "pgv-worker")
    with Rows(r, "s1", ["a", "b"]) as w:
        id = r.submit(f"ASYNC REBUILD TABLE s1 WITH (rebuild_guc_hg_rebuild_slice_mb = 1) {SLOW}")
        at_step(r, id, "insert")
        r.notices(f"SUSPEND '{id}'")
        r.sql("CREATE TABLE s1_c PARTITION OF s1 FOR VALUES IN ('c'); INSERT INTO s1 VALUES (-1, 'c', 'c');"
              "INSERT INTO s1_ledger VALUES (-1, 'c', 'c')")
        if r.state(id) == "paused":
            r.sql(f"RESUME '{id}'")
        for phase in ("pgv:slices", "pgv:indexes", "pgv:rounds", "pgv:swap"):
            def job():
                return [p for p in engine.children(worker()) if engine.phase(p) == phase]
            try:
                found = wait_until(lambda: job() or r.state(id) == "done" and [0], phase, timeout=10, every=0.002)
            except TimeoutError:
                continue
            if found[0]:
                engine.kill(found[0])
        wait_until(lambda: r.state(id) in ("done", "suspended"), "end", timeout=WAIT_S)
        if r.state(id) == "suspended":  # three deaths in a row
            r.sql(f"RESUME '{id}'")
        r.wait_done(id, WAIT_S)
        equal(r.leftovers(id), "", "left over")
        id = r.submit(f"ASYNC REBUILD TABLE s1 TO LOGICAL PARTITION, {SLOW}")
        at_step(r, id, "insert")
        r.notices(f"SUSPEND '{id}'")
        if r.state(id) == "paused":
            r.sql("ALTER TABLE s1 DETACH PARTITION s1_c; DELETE FROM s1_ledger WHERE ds = 'c'")
            r.sql(f"CALL hg_clean_rebuild_tmp_tables('{id}'); CALL hg_clean_rebuild_tmp_tables('{id}')")
            equal(r.leftovers(id), "", "left over")
    w.check()
    r.sql("""CREATE TABLE s2 (a int, b text) PARTITION BY LIST (b); CREATE TABLE s2_x PARTITION OF s2 FOR VALUES IN ('x');
             INSERT INTO s2 SELECT i % 10, 'x' FROM generate_series(1, 3000) i; CREATE TABLE s2_y (a int, b text); INSERT INTO s2_y VALUES (77, 'y')""")
    id = r.submit("ASYNC REBUILD TABLE s2 ALTER a TYPE bigint USING coalesce(nullif(pg_sleep(0.01)::text, '')::int, a)")
    at_step(r, id, "insert")  # for half a minute
    r.sql(f"SUSPEND '{id}'")
    for text in ("INSERT INTO s2 VALUES (1, 'x')", "TRUNCATE s2_x", "DELETE FROM s2_x"):
        equal(r.sql_error(text).sqlstate, "25006", text)
    r.sql("ALTER TABLE s2 ATTACH PARTITION s2_y FOR VALUES IN ('y')")
    r.sql(f"RESUME '{id}'")
    r.wait_done(id, WAIT_S)
    equal(r.sql("SELECT count(*), sum(a) FROM s2"), "3001|13577", "no key")
    r.sql("TRUNCATE s2_y")


def refusals(r):
    """What one partition has alone is refused or told; all reasons in one error."""
    make(r, "q1")
    r.sql("""CREATE TABLE q1_a PARTITION OF q1 FOR VALUES IN ('a'); CREATE TABLE q1_b PARTITION OF q1 FOR VALUES IN ('b');
        ALTER TABLE q1_a ADD CONSTRAINT small CHECK (id < 1000); CREATE UNIQUE INDEX q1_alone ON q1_b (id); CREATE VIEW q1_view AS SELECT * FROM q1_b;
        CREATE INDEX q1_plain ON q1_a (n)""")
    e = r.sql_error("ASYNC REBUILD TABLE q1 ADD w float DEFAULT random()")
    equal(e.sqlstate, "0A000", str(e))
    for what in ('constraint "small" is of partition public.q1_a alone', "unique index public.q1_alone is of partition public.q1_b alone",
                 "view public.q1_view is of partition public.q1_b alone"):
        assert what in str(e), str(e)
    r.sql("ALTER TABLE q1_a DROP CONSTRAINT small; DROP INDEX q1_alone; DROP VIEW q1_view")
    told = r.notices("ASYNC REBUILD TABLE q1 ADD w float DEFAULT random()")
    assert "partition public.q1_a will not keep what it has alone: index q1_plain" in told, told
    r.wait_done(r.admin("SELECT max(task_id) FROM pgveneer.task"), WAIT_S)
    e = r.sql_error("ASYNC REBUILD TABLE q1 ALTER PRIMARY KEY (id)")
    equal((e.sqlstate, "Add ALTER PRIMARY KEY (id, ds)" in str(e)), ("0A000", True), str(e))
    e = r.sql_error("ASYNC REBUILD TABLE q1_a ADD w2 int")
    assert "Rebuild its parent" in str(e), str(e)


TESTS = {"alike": alike, "other key": other_key, "kinds": kinds, "come and go": come_and_go, "foreign keys": keys,
         "truncates": truncates, "stops": stops, "refusals": refusals}


def main():
    s = Scenarios("partitioned")
    with Rebuild() as r:
        for name, test in TESTS.items():
            if not sys.argv[1:] or name in sys.argv[1:]:
                s.run(name, test, r)
    return s.finish()


if __name__ == "__main__":
    sys.exit(main())
