"""Rebuilds that copy nothing: every action that PostgreSQL carries out in the catalog, what is refused at
submit, errors in their step, the read-only mark, properties."""
import sys

from cluster import Scenarios, equal
from rebuild import STEPS, Rebuild

s = Scenarios("in place")


def columns(r, table):
    return r.sql(f"""SELECT string_agg(attname || ' ' || format_type(atttypid, atttypmod) ||
                     CASE WHEN attnotnull THEN '!' ELSE '' END || coalesce(' = ' || pg_get_expr(adbin, adrelid), ''), ', '
                     ORDER BY attnum)
                     FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
                     WHERE attrelid = '{table}'::regclass AND attnum > 0 AND NOT attisdropped""")


def oid(r, table):
    return r.sql(f"SELECT '{table}'::regclass::oid")


def actions(r):
    r.sql("""CREATE TABLE t1 (a text, b varchar(10), c int DEFAULT 5, d int NOT NULL);
             INSERT INTO t1 SELECT i::text, 'b' || i, i, i FROM generate_series(1, 1000) i""")
    before = oid(r, "t1")
    id = r.rebuild("""ASYNC REBUILD TABLE t1 ADD COLUMN e text NOT NULL DEFAULT 'x, (y', ADD f int,
                      ALTER b TYPE varchar(20), ALTER COLUMN c DROP DEFAULT, ALTER d SET DEFAULT 1 + 2,
                      ALTER COLUMN d DROP NOT NULL, ALTER COLUMN c SET NOT NULL""")
    equal(columns(r, "t1"), "a text, b character varying(20), c integer!, d integer = (1 + 2), "
          "e text! = 'x, (y'::text, f integer", "columns")
    equal(oid(r, "t1"), before, "oid")
    equal(r.sql("SELECT count(*), min(e), max(e) FROM t1"), "1000|x, (y|x, (y", "rows")
    equal(r.steps(id), [(step, "done" if step in ("prepare", "set_readonly", "swap") else "",
                         "1/1" if step in ("prepare", "set_readonly", "swap") else "-") for step in STEPS], "steps")
    ids = r.steps(id, "queryid, job_name, pid > 0, start_time <= end_time")
    equal(ids[0], (f"{id}_1_1", id, "t", "t"), "attempt")
    r.rebuild("ASYNC REBUILD TABLE t1 ALTER PRIMARY KEY (a)")
    equal(r.sql("SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE contype <> 'n' AND conrelid = 't1'::regclass"),
          "t1_pkey|PRIMARY KEY (a)", "key")
    r.rebuild("ASYNC REBUILD TABLE t1 ALTER PRIMARY KEY (a, c)")
    equal(r.sql("SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE contype <> 'n' AND conrelid = 't1'::regclass"),
          "t1_pkey|PRIMARY KEY (a, c)", "another key")


def errors(r):
    """In the step where they belong; RESUME goes on; nothing is left behind."""
    r.sql("CREATE TABLE t2 (a int, b int); INSERT INTO t2 VALUES (1, 1), (1, NULL)")
    id = r.submit("ASYNC REBUILD TABLE t2 ALTER PRIMARY KEY (a)")
    step, message = r.wait_error(id)
    equal((step, "could not create unique index" in message), ("insert", True), message)
    equal(r.sql("SELECT count(*) FROM pg_index WHERE indrelid = 't2'::regclass"), "0", "left index")
    r.sql("INSERT INTO t2 VALUES (1, 2); UPDATE t2 SET a = 2 WHERE b IS NULL; DELETE FROM t2 WHERE b = 2")
    r.sql(f"RESUME '{id}'")
    r.wait_done(id)
    id = r.submit("ASYNC REBUILD TABLE t2 ALTER b SET NOT NULL")
    equal(r.wait_error(id), ("insert", 'column "b" contains null values (23502)'), "null")
    r.sql("INSERT INTO t2 VALUES (3, NULL)")  # no check is left that would refuse it
    equal(r.notices(f"SUSPEND '{id}'"), "", "suspend")
    r.sql(f"CALL hg_clean_rebuild_tmp_tables('{id}')")
    r.sql(f"CALL hg_clean_rebuild_tmp_tables('{id}')")
    equal(r.sql_error(f"RESUME '{id}'").sqlstate, "55000", "resume after clean")
    equal(r.sql_error("SUSPEND '123'").sqlstate, "42704", "unknown id")
    equal(r.sql_error("SELECT * FROM hologres.rebuild_progress('123')").sqlstate, "42704", "unknown id")


def refusals(r):
    r.sql("CREATE TABLE t3 (a int PRIMARY KEY, b text); CREATE MATERIALIZED VIEW m3 AS SELECT * FROM t3;"
          "CREATE TABLE t4 (a int PRIMARY KEY, b text, ds text); CREATE VIEW v4 AS SELECT 1")
    for text, code, part in [
            ("TABLE missing ADD COLUMN x int", "42P01", 'relation "missing" does not exist'),
            ("TABLE v4 ADD COLUMN x int", "42809", '"v4" is not a table'),
            ("TABLE t4 ADD COLUMN b int", "42701", 'column "b" of relation "t4" already exists'),
            ("TABLE t4 ADD COLUMN x nosuch", "42704", 'type "nosuch" does not exist'),
            ("TABLE t4 ALTER nosuch SET NOT NULL", "42703", 'column "nosuch" of relation "t4" does not exist'),
            ("TABLE t4 ALTER b TYPE int", "42804", 'column "b" cannot be cast automatically to type integer'),
            ("TABLE t4 ALTER a DROP NOT NULL", "42P16", 'column "a" is in a primary key'),
            ("TABLE t4 ALTER PRIMARY KEY (nosuch)", "42703", 'column "nosuch" of relation "t4" does not exist'),
            ("TABLE t4 SET (nosuch = 1)", "22023", 'unrecognized table property "nosuch"'),
            ("TABLE t4 SET (orientation = 'diagonal')", "22023", "orientation"),
            ("TABLE t4 SET (bitmap_columns = 'x')", "42703", 'column "x" named by property'),
            ("TABLE t4 SET (autovacuum_enabled = 7)", "22023", "autovacuum_enabled"),
            ("TABLE t4 WITH (nosuch) SET (orientation = 'row')", "22023", 'unrecognized rebuild parameter "nosuch"'),
            ("TABLE t4 WITH (rebuild_guc_role = 'postgres') ADD x int", "22023", '"role" cannot be set'),
            ("TABLE t4 WITH (rebuild_guc_work_mem = 'much') ADD x int", "22023", "work_mem"),
            ("TABLE t3 SET (fillfactor = 90)", "0A000", "materialized view public.m3 depends"),
            ("TABLE t4 TO LOGICAL PARTITION BY LIST (ds)", "0A000",
             "unique constraint on partitioned table must include all partitioning columns"),
            ("TABLE t4 RENAME TO x", "42601", 'syntax error at or near "RENAME"'),
            ("TABLE t4 ADD COLUMN", "42601", "syntax error at end of input"),
            ("TABLE t4 ADD CONSTRAINT c CHECK (a > 0)", "42601", 'at or near "CONSTRAINT"'),
            ("TABLE t4 ALTER b TYPE text USING (b", "42601", "syntax error at end of input")]:
        e = r.sql_error("ASYNC REBUILD " + text)
        equal((e.sqlstate, part in str(e)), (code, True), f"{text}: {e}")
    e = r.sql_error("ASYNC REBUILD TABLE t4 ADD b int, ALTER nosuch DROP NOT NULL, TO PARTITION")
    assert all(x in str(e) for x in ("cannot rebuild table public.t4", "already exists (42701)",
                                     '"nosuch" of relation "t4" does not exist (42703)',
                                     "partition key must be specified")), str(e)
    e = r.sql_error("ASYNC REBUILD TABLE t4 TO LOGICAL PARTITION BY LIST (ds)")
    assert "Add ALTER PRIMARY KEY (a, ds) to the same statement." in str(e), str(e)
    e = r.sql_error("REBUILD TABLE t4 ADD x int")
    equal(e.sqlstate, "42601", "without ASYNC")
    equal(r.sql("ASYNC REBUILD TABLE IF EXISTS missing ADD x int"), "", "IF EXISTS")
    assert 'relation "missing" does not exist, skipping' in r.notices("ASYNC REBUILD TABLE IF EXISTS missing ADD x int")
    r.admin("CREATE ROLE other LOGIN PASSWORD 'other'; GRANT ALL ON t4 TO other")
    equal(r.sql_error("ASYNC REBUILD TABLE t4 ADD x int", user="other").sqlstate, "42501", "not the owner")
    equal(r.sql("SELECT count(*) FROM pg_task_show('REBUILD') WHERE parameter IS NOT NULL"), "0", "no task was made")


def queue(r):
    """Each submit is judged by what the one before leaves; they run in order."""
    r.sql("CREATE TABLE t5 (a int); INSERT INTO t5 SELECT generate_series(1, 10)")
    first = r.sql("BEGIN; ASYNC REBUILD TABLE t5 ADD b int DEFAULT 7; ASYNC REBUILD TABLE t5 ALTER b SET NOT NULL;"
                  "ASYNC REBUILD TABLE t5 ALTER PRIMARY KEY (a); COMMIT").split("\n")
    equal(len(first), 3, "three ids")
    equal(r.sql_error("ASYNC REBUILD TABLE t5 ADD b int").sqlstate, "42701", "after the first")
    for id in first:
        r.wait_done(id)
    equal(columns(r, "t5"), "a integer!, b integer! = 7", "columns")
    equal(r.sql("SELECT task_id FROM pg_task_show('REBUILD') WHERE what LIKE '%t5 ADD b%'"), first[0], "pg_task_show")
    r.sql("BEGIN; ASYNC REBUILD TABLE t5 ADD c int; ROLLBACK")
    equal(r.sql("SELECT count(*) FROM pg_task_show('REBUILD') WHERE what LIKE '%t5 ADD c%'"), "0", "rolled back")


def readonly(r):
    r.sql("CREATE TABLE t6 (a int)")
    r.sql("ALTER TABLE t6 SET (readonly = true)")
    for text in ("INSERT INTO t6 VALUES (1)", "UPDATE t6 SET a = 1", "DELETE FROM t6", "TRUNCATE t6"):
        e = r.sql_error(text)
        equal((e.sqlstate, "it is read-only" in str(e)), ("25006", True), text)
    r.sql("ALTER TABLE t6 SET (readonly = false)")
    r.sql("INSERT INTO t6 VALUES (1)")
    for reset in ("SET RESET (ddl_options,write_options)", "RESET (ddl_options, write_options)"):
        r.sql("ALTER TABLE public.t6 SET (readonly)")
        equal(r.sql_error("INSERT INTO t6 VALUES (1)").sqlstate, "25006", "marked")
        r.sql(f"ALTER TABLE t6 {reset}")
        r.sql("INSERT INTO t6 VALUES (1)")
    r.sql("ALTER TABLE t6 SET (fillfactor = 50); ALTER TABLE t6 RESET (fillfactor)")


def properties(r):
    def stored(table):
        return r.sql("SELECT string_agg(property_key || '=' || property_value, '; ' ORDER BY property_key) FROM "
                     f"hologres.hg_table_properties WHERE table_namespace = 'public' AND table_name = '{table}'")
    r.sql("""CREATE TABLE t7 (a int PRIMARY KEY, b text, at timestamptz) WITH (orientation = 'column', fillfactor = 70,
             distribution_key = 'a', clustering_key = 'b:desc,a', event_time_column = 'at', binlog_level = 'none')""")
    equal(stored("t7"), "binlog.level=none; clustering_key=b:desc,a; distribution_key=a; orientation=column; "
          "segment_key=at", "stored")
    equal(r.sql("SELECT reloptions FROM pg_class WHERE relname = 't7'"), "{fillfactor=70}", "reloptions")
    equal(r.sql("SELECT string_agg(pg_get_indexdef(indexrelid), '; ' ORDER BY indexrelid) FROM pg_index "
                "WHERE indrelid = 't7'::regclass AND NOT indisprimary"),
          "CREATE INDEX t7_b_a_idx ON public.t7 USING btree (b DESC, a); "
          "CREATE INDEX t7_at_idx ON public.t7 USING brin (at)", "indexes")
    r.sql("BEGIN; CREATE TABLE t8 (a int, b text); CALL set_table_property('t8', 'orientation', 'row');"
          "CALL set_table_property('t8', 'clustering_key', 'a'); COMMIT")
    equal(stored("t8"), "clustering_key=a; orientation=row", "set_table_property")
    equal(r.sql("SELECT count(*) FROM pg_index WHERE indrelid = 't8'::regclass AND indisclustered"), "1", "clustered")
    told = r.notices("ALTER TABLE t8 SET (bitmap_columns = 'b', dictionary_encoding_columns = 'b:auto')")
    equal(told.count("stored and has no physical effect"), 2, told)
    told = r.notices("ASYNC REBUILD TABLE t8 SET (orientation = 'row,column', auto_partitioning.enable = true)")
    equal(told.count("stored and has no physical effect"), 2, told)
    r.rebuild("ASYNC REBUILD TABLE t8 SET (event_time_column = 'a', autovacuum_enabled = false)")
    equal(stored("t8"), "auto_partitioning.enable=true; bitmap_columns=b; clustering_key=a; "
          "dictionary_encoding_columns=b:auto; orientation=row,column; segment_key=a", "after rebuilds")
    equal(r.sql("SELECT count(*) FROM pg_indexes WHERE tablename = 't8' AND indexdef LIKE '%brin (a)'"), "1", "brin")
    equal(r.sql_error("ALTER TABLE t8 SET (orientaton = 'row')").sqlstate, "22023", "PostgreSQL's own")
    r.sql("CREATE TABLE plain (orientation int) WITH (fillfactor = 50); ALTER TABLE plain ADD clustering_key int")


def binlog(r):
    r.sql("CREATE TABLE t9 (a int PRIMARY KEY); CREATE PUBLICATION p9 FOR TABLE t9")
    e = r.sql_error("ASYNC REBUILD TABLE t9 ADD b int")
    equal((e.sqlstate, "binlog" in str(e)), ("0A000", True), str(e))
    id = r.submit("ASYNC REBUILD TABLE t9 WITH (binlog_mode) ADD b int")
    r.wait_state(id, "paused")
    equal([x for x in r.steps(id) if x[0] in ("prepare", "set_readonly", "swap")],
          [("prepare", "done", "1/1"), ("set_readonly", "done", "1/1"), ("swap", "", "0/1")], "steps")
    r.sql(f"RESUME '{id}'")
    r.wait_done(id)
    equal(columns(r, "t9"), "a integer!, b integer", "columns")


def waits(r):
    """A reader that holds the table: the change waits for it without being in anybody's way."""
    import threading
    r.sql("CREATE TABLE t10 (a int)")
    reader = threading.Thread(target=lambda: r.sql("BEGIN; SELECT * FROM t10; SELECT pg_sleep(2); COMMIT"))
    reader.start()
    id = r.submit("ASYNC REBUILD TABLE t10 ADD b int")
    reader.join()
    r.wait_done(id)
    id = r.submit("ASYNC REBUILD TABLE t10 ADD c int")
    r.sql(f"SELECT pg_task_remove('{id}')") if r.state(id) == "active" else None


with Rebuild() as r:
    for name, test in [("actions", actions), ("errors", errors), ("refusals", refusals), ("queue", queue),
                       ("readonly", readonly), ("properties", properties), ("binlog", binlog), ("waits", waits)]:
        s.run(name, test, r)
sys.exit(s.finish())
