"""Rebuilds that copy the rows: each action that needs it, with writers at work, everything that hangs on the
table, errors in their step, RESUME, kill -9, SUSPEND at each step, cleaning up."""
import sys
import threading

from cluster import Scenarios, equal, wait_until
from rebuild import Rebuild
from writers import Writers

s = Scenarios("copy")


class Rows(Writers):
    """INSERT, UPDATE (of the key, too), DELETE."""

    def make_ledger(self):
        self.r.sql(f"CREATE TABLE {self.table}_ledger (id int PRIMARY KEY, v text, gone bool)")
        self.r.sql(f"INSERT INTO {self.table}_ledger SELECT id, v, false FROM {self.table}")

    def write(self, cur, rng, number, v):
        key, kind, note = self.key(rng, number), rng.randrange(10), f"""INSERT INTO {self.table}_ledger VALUES (%s, %s, false)
            ON CONFLICT (id) DO UPDATE SET v = excluded.v, gone = false"""
        if kind < 6:
            cur.execute(f"INSERT INTO {self.table} (id, v) VALUES (%s, %s) ON CONFLICT (id) DO UPDATE "
                        "SET v = excluded.v", (key, v))
            cur.execute(note, (key, v))
        elif kind < 8:
            cur.execute(f"DELETE FROM {self.table} WHERE id = %s", (key,))
            cur.execute(f"UPDATE {self.table}_ledger SET gone = true WHERE id = %s", (key,))
        else:
            other = 100000 + self.key(rng, number)
            cur.execute(f"DELETE FROM {self.table} WHERE id = %s", (other,))
            cur.execute(f"UPDATE {self.table} SET id = %s, v = %s WHERE id = %s", (other, v, key))
            moved = cur.rowcount
            cur.execute(f"UPDATE {self.table}_ledger SET gone = true WHERE id IN (%s, %s)", (key, other))
            if moved:
                cur.execute(note, (other, v))

    def differences(self):
        return self.r.sql(f"""SELECT string_agg(x::text, ' ') FROM (SELECT id, t.v, l.v FROM {self.table} t FULL JOIN (
                                  SELECT * FROM {self.table}_ledger WHERE NOT gone) l USING (id)
                                  WHERE t.v IS DISTINCT FROM l.v LIMIT 5) x""")


def plain(r):
    r.sql("""CREATE TABLE c1 (id int PRIMARY KEY, v text, n numeric DEFAULT 1.5); CREATE INDEX c1_v ON c1 (v);
             INSERT INTO c1 SELECT i, 'v' || i FROM generate_series(1, 1000) i""")
    before = r.sql("SELECT 'c1'::regclass::oid")
    id = r.rebuild("ASYNC REBUILD TABLE c1 ALTER n TYPE int USING n * 2, ADD w double precision DEFAULT random()")
    equal(r.sql("SELECT count(*), min(n), max(n), count(DISTINCT w) > 900, pg_typeof(min(n)) FROM c1"),
          "1000|3|3|t|integer", "rows")
    assert before != r.sql("SELECT 'c1'::regclass::oid"), "not copied"
    equal(r.sql("SELECT string_agg(pg_get_indexdef(indexrelid), '; ' ORDER BY indexrelid::regclass::text) FROM pg_index "
                "WHERE indrelid = 'c1'::regclass"),
          "CREATE UNIQUE INDEX c1_pkey ON public.c1 USING btree (id); CREATE INDEX c1_v ON public.c1 USING btree (v)",
          "indexes")
    equal([x for x in r.steps(id) if x[1] != "done"],
          [(f"{x}_additional_child_table", "", "-") for x in ("check", "create", "insert")], "steps")
    equal(r.leftovers(id), "", "left over")


def under_load(r):
    r.sql("CREATE TABLE c2 (id int PRIMARY KEY, v text UNIQUE, pad text); "
          "CREATE UNIQUE INDEX c2_id ON c2 (id); INSERT INTO c2 SELECT i, 'v' || i, repeat('x', 500) FROM generate_series(1, 20000) i")
    with Rows(r, "c2") as w:
        for workers, action in ((1, "ALTER id TYPE bigint, SET (clustering_key = 'v:desc')"),
                                (2, "ALTER PRIMARY KEY (id, v), ADD t timestamptz DEFAULT clock_timestamp(), ALTER v SET NOT NULL"),
                                (4, "SET (fillfactor = 80), ALTER PRIMARY KEY (id)")):
            id = r.rebuild(f"ASYNC REBUILD TABLE c2 WITH (rebuild_guc_hg_rebuild_slice_mb = 1, "
                           f"rebuild_guc_hg_rebuild_workers = {workers}) {action}")
            equal(r.leftovers(id), "", "left over")
    w.check()
    equal(r.sql("SELECT reloptions FROM pg_class WHERE relname = 'c2'"), "{fillfactor=80}", "options")


def errors(r):
    """A row that cannot be converted stops the task in its step; nothing else of the table changed."""
    r.sql("CREATE TABLE c3 (id int PRIMARY KEY, v text); INSERT INTO c3 VALUES (1, '1'), (2, 'two')")
    id = r.submit("ASYNC REBUILD TABLE c3 ALTER v TYPE int USING v::int")
    equal(r.wait_error(id), ("insert", 'invalid input syntax for type integer: "two" (22P02)'), "step")
    r.sql("UPDATE c3 SET v = '2' WHERE id = 2")
    r.sql(f"RESUME '{id}'")
    r.wait_done(id)
    equal(r.sql("SELECT sum(v) FROM c3"), "3", "rows")
    id = r.submit("ASYNC REBUILD TABLE c3 WITH (keep_source) ADD u int DEFAULT 1 UNIQUE")
    step, message = r.wait_error(id)
    equal((step, "could not create unique index" in message), ("insert", True), message)
    r.sql(f"CALL hg_clean_rebuild_tmp_tables('{id}'); CALL hg_clean_rebuild_tmp_tables('{id}')")
    equal(r.leftovers(id), "", "left over")
    r.sql("INSERT INTO c3 VALUES (3, 3)")
    id = r.submit("ASYNC REBUILD TABLE c3 ALTER v TYPE text USING pg_sleep(1.5) || v::text")
    wait_until(lambda: dict(x[:2] for x in r.steps(id))["insert"] == "doing", "insert")
    equal(r.sql_error(f"CALL hg_clean_rebuild_tmp_tables('{id}')").sqlstate, "55000", "running")
    r.sql("CREATE INDEX ON c3 (v)")
    step, message = r.wait_error(id)
    assert "definition of the table was changed" in message, message
    equal(r.sql(f"SELECT pg_task_remove('{id}')"), "1", "removed")
    equal(r.leftovers(id), "", "left over")
    equal(r.sql_error(f"SELECT * FROM hologres.rebuild_progress('{id}')").sqlstate, "42704", "gone")


def suspends(r):
    """SUSPEND at each point, RESUME, clean up: the steps are as documented, the rows are right."""
    r.sql("CREATE TABLE c4 (id int PRIMARY KEY, v text); INSERT INTO c4 SELECT i, i FROM generate_series(1, 3000) i")
    with Rows(r, "c4", sessions=2) as w:
        for delay in (0, 0.4):
            id = r.submit("ASYNC REBUILD TABLE c4 WITH (rebuild_guc_hg_rebuild_slice_mb = 1) SET (fillfactor = 90)")
            r.sql(f"SELECT pg_sleep({delay})")
            if r.state(id) == "active":
                r.notices(f"SUSPEND '{id}'")
            if r.state(id) == "paused":
                assert r.failed_step(id)[1] == "CANCEL: suspended by user", r.failed_step(id)
                assert "is running" not in r.notices(f"RESUME '{id}'")
            r.wait_done(id)
            equal(r.leftovers(id), "", f"left over after {delay}")
        id = r.submit("ASYNC REBUILD TABLE c4 SET (fillfactor = 80)")
        r.sql(f"SELECT pg_task_pause('{id}')")
        r.sql(f"SELECT pg_task_remove('{id}')")
        equal(r.leftovers(id), "", "left over")
    w.check()


def kills(r):
    """kill -9 of the job in every phase: another one goes on."""
    import engine
    r.sql("CREATE TABLE c5 (id int PRIMARY KEY, v text); INSERT INTO c5 SELECT i, i FROM generate_series(1, 3000) i")
    worker = lambda: next(p for p in engine.children(r.pgveneer.process.pid) if engine.phase(p) == "pgv-worker")
    with Rows(r, "c5", sessions=2) as w:
        for phase in ("pgv:slices", "pgv:swap", "pgv:after"):
            id = r.submit("ASYNC REBUILD TABLE c5 ALTER v TYPE text USING coalesce(nullif(pg_sleep(0.0002)::text, ''), v)")
            def job():
                return [p for p in engine.children(worker()) if engine.phase(p) == phase]
            try:
                found = wait_until(lambda: job() or (r.state(id) == "done" and [0]), phase, every=0.002)
            except TimeoutError:
                found = [0]
            if found[0]:
                engine.kill(found[0])
            r.wait_done(id)
            equal(r.leftovers(id), "", f"left over after {phase}")
    w.check()


def snapshots(r):
    """A transaction whose snapshot is older than the swap may not write: it gets 40001, never silence."""
    import psycopg2
    r.sql("CREATE TABLE c6 (id int PRIMARY KEY, v text); INSERT INTO c6 VALUES (1, 'a'); CREATE TABLE other (a int)")
    conn = psycopg2.connect(host="127.0.0.1", port=r.cluster.proxy.port, user="app", password="app", dbname="app")
    conn.set_session(isolation_level="REPEATABLE READ")
    cur = conn.cursor()
    cur.execute("SELECT count(*) FROM other")
    id = r.submit("ASYNC REBUILD TABLE c6 SET (fillfactor = 90)")
    wait_until(lambda: dict(x[:2] for x in r.steps(id))["swap"] == "done", "swap")
    try:
        cur.execute("UPDATE c6 SET v = 'b' WHERE id = 1")
        raise AssertionError("no error")
    except psycopg2.Error as e:
        equal(e.pgcode, "40001", str(e))
    conn.rollback()
    cur.execute("UPDATE c6 SET v = 'b' WHERE id = 1")
    equal(cur.rowcount, 1, "a new snapshot")
    conn.commit()
    conn.close()
    r.wait_done(id)
    equal(r.sql("SELECT count(*) FROM pg_trigger WHERE tgrelid = 'c6'::regclass"), "0", "the guard is gone")


def truncates(r):
    r.sql("CREATE TABLE c7 (id int PRIMARY KEY, v text); INSERT INTO c7 SELECT i, i FROM generate_series(1, 5000) i")
    for delay in (0.3,):
        id = r.submit("ASYNC REBUILD TABLE c7 WITH (rebuild_guc_hg_rebuild_slice_mb = 1) "
                      "ALTER v TYPE text USING coalesce(nullif(pg_sleep(0.0001)::text, ''), v)")
        r.sql(f"SELECT pg_sleep({delay}); TRUNCATE c7; INSERT INTO c7 SELECT i, i FROM generate_series(1, 500) i;"
              "VACUUM FULL c7; UPDATE c7 SET v = 'n' WHERE id < 10")
        r.wait_done(id)
        equal(r.sql("SELECT count(*), count(DISTINCT id), count(*) FILTER (WHERE v = 'n') FROM c7"), "500|500|9", "rows")


def no_key(r):
    """Without a key the table is read-only until the end; the seed's last example on a fresh table too."""
    r.sql("CREATE TABLE c8 (a int, b text); INSERT INTO c8 SELECT i % 10, NULL FROM generate_series(1, 3000) i")
    id = r.submit("ASYNC REBUILD TABLE c8 ALTER a TYPE bigint USING coalesce(nullif(pg_sleep(0.0005)::text, '')::int, a)")
    wait_until(lambda: dict(x[:2] for x in r.steps(id))["insert"] == "doing", "insert")
    e = r.sql_error("INSERT INTO c8 VALUES (1, 'x')")
    equal((e.sqlstate, id in str(e)), ("25006", True), str(e))
    r.wait_done(id)
    r.sql("INSERT INTO c8 VALUES (1, 'x')")
    equal(r.sql("SELECT count(*), sum(a), pg_typeof(min(a)) FROM c8"), "3001|13501|bigint", "rows")
    id = r.submit("ASYNC REBUILD TABLE c8 ALTER a TYPE int USING coalesce(nullif(pg_sleep(0.0005)::text, '')::int, a)")
    wait_until(lambda: dict(x[:2] for x in r.steps(id))["insert"] == "doing", "insert")
    r.sql(f"SUSPEND '{id}'; CALL hg_clean_rebuild_tmp_tables('{id}')")
    equal(r.sql_error("DELETE FROM c8").sqlstate, "25006", "the mark stays")
    r.sql("ALTER TABLE c8 SET RESET (ddl_options,write_options)")
    r.sql("DELETE FROM c8 WHERE b = 'x'")
    equal(r.leftovers(id), "", "left over")


def keeps(r):
    r.sql("CREATE TABLE parent (p int PRIMARY KEY); INSERT INTO parent VALUES (1);"
          "CREATE TABLE c9 (id int PRIMARY KEY, p int REFERENCES parent, s serial); INSERT INTO c9 VALUES (1, 1);"
          "GRANT SELECT ON c9 TO PUBLIC; CREATE INDEX c9_p ON c9 (p)")
    id = r.rebuild("ASYNC REBUILD TABLE c9 WITH (keep_source) ADD x int")
    old = r.sql(f"SELECT relname FROM pg_class WHERE relkind = 'r' AND relname LIKE 'tmp\\_rebuild\\_old\\_{id}\\_%'")
    assert old.endswith("_c9"), old
    equal(r.sql(f"SELECT * FROM {old}"), "1|1|1", "its rows")
    equal(r.sql_error(f"INSERT INTO {old} VALUES (2, 1)").sqlstate, "25006", "read-only")
    equal(r.sql(f"SELECT count(*), has_table_privilege('public', '{old}', 'SELECT') FROM pg_index "
                f"WHERE indrelid = '{old}'::regclass"), "2|t", "indexes and grants")
    equal(r.sql(f"SELECT count(*) FROM pg_constraint WHERE conrelid = '{old}'::regclass AND contype = 'f'"), "0", "no keys")
    r.sql(f"DROP TABLE {old}; INSERT INTO c9 (id, p) VALUES (2, 1)")
    equal(r.sql("SELECT max(s), count(*) FROM c9"), "2|2", "serial")
    equal(r.sql_error("INSERT INTO c9 (id, p) VALUES (3, 7)").sqlstate, "23503", "foreign key")


def binlog(r):
    """The vendor's picture, row by row; then the mark, and starting again when it was taken away."""
    r.sql("CREATE TABLE c10 (id int PRIMARY KEY, v text); INSERT INTO c10 VALUES (1, 'a');"
          "CREATE PUBLICATION p10 FOR TABLE c10")
    id = r.submit("ASYNC REBUILD TABLE c10 WITH (binlog_mode) SET (fillfactor = 90)")
    r.wait_state(id, "paused")
    equal(r.steps(id), [("prepare", "done", "1/1"), ("create_tmp_table", "done", "1/1"),
                        ("get_src_table_snapshot", "done", "1/1"), ("insert", "done", "1/1"),
                        ("set_readonly", "done", "1/1"), ("check_snapshot", "", "0/1"), ("re-insert", "", "-"),
                        ("check_additional_child_table", "", "-"), ("create_additional_child_table", "", "-"),
                        ("insert_additional_child_table", "", "-"), ("swap", "", "0/1")], "picture")
    equal(r.sql_error("INSERT INTO c10 VALUES (2, 'b')").sqlstate, "25006", "read-only")
    r.sql("ALTER TABLE c10 SET (readonly = false); INSERT INTO c10 VALUES (2, 'b')")
    r.sql(f"RESUME '{id}'")
    wait_until(lambda: r.state(id) == "paused" and r.steps(id)[4][1] == "done"
               and r.sql("SELECT count(*) FROM pg_trigger WHERE tgname = 'hologres_readonly'") == "1", "paused again")
    r.sql(f"RESUME '{id}'")
    r.wait_done(id)
    r.sql("INSERT INTO c10 VALUES (3, 'c')")
    equal(r.sql("SELECT count(*) FROM c10"), "3", "rows")
    equal(r.sql("SELECT count(*) FROM pg_publication_tables WHERE tablename = 'c10'"), "1", "published")


def partitions(r):
    """Plain to logical and physical, one key and two, with writers and values that come during the task."""
    def tree(table):
        return r.sql(f"SELECT string_agg(relid::regclass || ' ' || pg_get_expr(relpartbound, oid), '; ' ORDER BY relid::regclass::text) "
                     f"FROM pg_partition_tree('{table}') JOIN pg_class ON oid = relid WHERE isleaf")
    r.sql("CREATE TABLE d1 (id int, v text, ds text NOT NULL DEFAULT 'x', PRIMARY KEY (id, ds));"
          "INSERT INTO d1 SELECT i, i, 'd' || i % 3 FROM generate_series(1, 999) i")
    id = r.rebuild("ASYNC REBUILD TABLE d1 TO LOGICAL PARTITION BY LIST (ds)")
    equal(tree("d1"), "d1_d0 FOR VALUES IN ('d0'); d1_d1 FOR VALUES IN ('d1'); d1_d2 FOR VALUES IN ('d2'); d1_default DEFAULT", "tree")
    equal(r.sql("SELECT count(*) FROM d1_d1"), "333", "rows")
    r.sql("INSERT INTO d1 VALUES (5, 'n', 'new')")
    equal(r.leftovers(id), "", "left over")
    equal(r.sql("SELECT property_value FROM hologres.hg_table_properties WHERE table_name = 'd1'"), "true", "property")
    r.sql("CREATE TABLE d2 (id int, v text, ds date, r text, n int GENERATED ALWAYS AS IDENTITY);"
          "INSERT INTO d2 SELECT i, i, date '2025-04-01' + i % 2, 'r' || i % 2 FROM generate_series(1, 100) i")
    r.rebuild("ASYNC REBUILD TABLE d2 ALTER ds SET NOT NULL, ALTER r SET NOT NULL, ALTER PRIMARY KEY (id, ds, r),"
              "TO LOGICAL PARTITION BY LIST (ds, r)")
    equal(tree("d2"), "d2_2025_04_01_default DEFAULT; d2_2025_04_01_r0 FOR VALUES IN ('r0'); d2_2025_04_02_default DEFAULT; "
          "d2_2025_04_02_r1 FOR VALUES IN ('r1'); d2_default DEFAULT", "two columns")
    r.sql("INSERT INTO d2 VALUES (1000, 'x', '2030-01-01', 'z')")
    equal(r.sql("SELECT max(n), count(*) FROM d2"), "101|101", "identity")
    r.sql("CREATE TABLE d3 (id int PRIMARY KEY, v text, ds int NOT NULL DEFAULT 1); CREATE UNIQUE INDEX ON d3 (id, ds);"
          "INSERT INTO d3 SELECT i, i, 1 FROM generate_series(1, 3000) i")
    stop = threading.Event()
    def new_values():
        n = 0
        while not stop.is_set():
            n += 1
            r.sql(f"INSERT INTO d3 VALUES (10000 + {n}, 'n', {n % 7}); UPDATE d3 SET ds = {n % 9} WHERE id = {n}")
    writer = threading.Thread(target=new_values)
    writer.start()
    try:
        id = r.submit("ASYNC REBUILD TABLE d3 WITH (rebuild_guc_hg_rebuild_slice_mb = 1) ALTER PRIMARY KEY (id, ds), "
                      "TO PARTITION BY LIST (ds), ALTER v TYPE text USING coalesce(nullif(pg_sleep(0.0003)::text, ''), v)")
        r.wait_done(id)
    finally:
        stop.set()
        writer.join()
    equal(r.sql("SELECT count(*) = count(DISTINCT id), count(*) FILTER (WHERE id <= 3000) FROM d3"), "t|3000", "rows")
    equal(r.sql("SELECT count(*) FROM pg_partition_tree('d3') WHERE isleaf") >= "7", True, "children")
    equal(r.sql_error("INSERT INTO d3 VALUES (-1, 'n', 77)").sqlstate, "23514", "no partition, as in PostgreSQL")
    r.sql("CREATE TABLE d4 (id int, ds text); INSERT INTO d4 VALUES (1, NULL)")
    id = r.submit("ASYNC REBUILD TABLE d4 TO PARTITION BY LIST (ds)")
    equal(r.wait_error(id), ("get_src_table_snapshot", 'column "ds" contains null values (23502): The key of a '
                             'partitioned table cannot be null.'), "null")
    r.sql(f"CALL hg_clean_rebuild_tmp_tables('{id}'); ALTER TABLE d4 SET (readonly = false)")
    equal(r.leftovers(id), "", "left over")


def seed(r):
    """The vendor's examples one after another (with the refusal that PostgreSQL has), then each on a fresh table."""
    make = """CREATE TABLE rebuild_test (a TEXT, b TEXT, ds TEXT);
              INSERT INTO rebuild_test VALUES ('1', '1', '2025-04-01'), ('2', '2', '2025-04-02'), ('3', '3', '2025-04-03');"""
    examples = ["ASYNC REBUILD TABLE rebuild_test ADD COLUMN c text NOT NULL DEFAULT 'a';",
                "ASYNC REBUILD TABLE rebuild_test ALTER PRIMARY KEY (a);",
                """ASYNC REBUILD TABLE rebuild_test
WITH (
    rebuild_guc_hg_computing_resource = 'serverless'
)
SET (
    distribution_key = 'a',
    clustering_key = 'a',
    orientation = 'row,column'
);""",
                """ASYNC REBUILD TABLE rebuild_test
    ALTER COLUMN ds SET NOT NULL,
    TO LOGICAL PARTITION BY LIST(ds);"""]
    r.sql(make)
    for text in examples[:3]:
        r.rebuild(text)
    e = r.sql_error(examples[3])
    assert e.sqlstate == "0A000" and "Add ALTER PRIMARY KEY (a, ds) to the same statement." in str(e), str(e)
    r.rebuild(examples[3].replace(";", ", ALTER PRIMARY KEY (a, ds);"))
    equal(r.sql("SELECT count(*), min(c), count(DISTINCT tableoid) FROM rebuild_test"), "3|a|3", "rows")
    for text in examples:
        r.sql("DROP TABLE rebuild_test;" + make)
        r.rebuild(text)
        equal(r.sql("SELECT count(*), max(ds) FROM rebuild_test"), "3|2025-04-03", "rows")


TESTS = {"plain": plain, "errors": errors, "under load": under_load, "suspends": suspends, "kills": kills,
         "snapshots": snapshots, "truncates": truncates, "no key": no_key, "keep_source": keeps, "binlog": binlog, "partitions": partitions,
         "seed": seed}
with Rebuild() as r:
    for name, test in TESTS.items():
        if not sys.argv[1:] or name in sys.argv[1:]:
            s.run(name, test, r)
sys.exit(s.finish())
