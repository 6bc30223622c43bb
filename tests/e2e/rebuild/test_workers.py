"""Slices and indexes by several connections (rebuild_guc_hg_rebuild_workers): they work at the same time, and kill -9,
SUSPEND, errors, TRUNCATE and new partitions in the middle lose nothing and repeat one slice each at most."""
import sys

import engine
import psycopg2
from cluster import Scenarios, equal, wait_until
from rebuild import Rebuild

s = Scenarios("workers")
ROWS_OF_SLICE = 2000  # of a megabyte; one has some 530 bytes


def table(r, name, rows=8000, more=""):
    r.sql(f"CREATE TABLE {name} (id int PRIMARY KEY, v text, pad text){more};"
          f"INSERT INTO {name} SELECT i, 'v' || i, repeat('x', 480) FROM generate_series(1, {rows}) i")


def submit(r, name, workers, action):
    return r.submit(f"ASYNC REBUILD TABLE {name} WITH (rebuild_guc_hg_rebuild_workers = {workers}, "
                    f"rebuild_guc_hg_rebuild_slice_mb = 1) {action}")


SLOW = "nullif(CASE WHEN id % 40 = 0 THEN pg_sleep(0.02)::text END, '')"  # null
# each copied row takes a number, and one that is copied again takes another
COUNTED = f"ALTER v TYPE text USING coalesce({SLOW}, CASE WHEN nextval('copied') > 0 THEN v END)"


def copied(r):
    """Since the last call."""
    n = int(r.sql("SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM copied"))
    r.sql("ALTER SEQUENCE copied RESTART")
    return n


def look(query):
    """One value, by a connection that stays: these moments are short."""
    watcher.execute(query)
    return watcher.fetchone()[0]


def processes(id):
    """Server processes of the connections beside the first."""
    return look(f"SELECT coalesce(array_agg(pid), '{{}}') FROM pgveneer.task_process WHERE task_id = '{id}'")


def busy():
    """Connections that copy now."""
    return look("SELECT count(*) FROM pg_stat_activity WHERE usename = 'service' AND application_name LIKE 'pgveneer job%' "
                "AND state = 'active' AND query LIKE 'CREATE INDEX ON pg_temp.rebuild_once_%'")


def wait_copying(id, workers, slices=0):
    """All of them are at work, and so many slices are done."""
    wait_until(lambda: len(processes(id)) == workers - 1 and busy() >= min(workers, 2) and look(
        f"SELECT count(*) FROM hologres.rebuild_slice WHERE query_id = '{id}' AND done") >= slices, f"{workers} connections copy", every=0.005)


def job(r):
    worker = next(p for p in engine.children(r.pgveneer.process.pid) if engine.phase(p) == "pgv-worker")
    return engine.children(worker)[0]


def values(r):
    table(r, "w0", 10)
    for name, value in (("workers", "0"), ("workers", "17"), ("workers", "two"), ("slice_mb", "0"), ("switch_rows", "0"),
                        ("workers", "99999999999999999999")):
        e = r.sql_error(f"ASYNC REBUILD TABLE w0 WITH (rebuild_guc_hg_rebuild_{name} = '{value}') SET (fillfactor = 90)")
        assert f'invalid value for parameter "rebuild_guc_hg_rebuild_{name}": "{value}"' in str(e), e
        equal(e.sqlstate, "22023", str(e))
        assert "A number from " in str(e), e
    e = r.sql_error("ASYNC REBUILD TABLE w0 WITH (rebuild_guc_hg_rebuild_wrokers = 2) SET (fillfactor = 90)")
    equal((e.sqlstate, "rebuild_guc_hg_rebuild_workers, " in str(e)), ("22023", True), str(e))
    r.rebuild("ASYNC REBUILD TABLE w0 WITH (rebuild_guc_hg_rebuild_switch_rows = 1, rebuild_guc_hg_rebuild_workers = 16) SET (fillfactor = 90)")


def at_the_same_time(r):
    for workers in (1, 4):
        table(r, f"w1_{workers}")
        id = submit(r, f"w1_{workers}", workers, COUNTED)
        wait_until(lambda: busy() == workers, f"{workers} connections copy", every=0.005)
        equal(len(processes(id)), workers - 1, "connections beside")
        r.wait_done(id)
        equal(processes(id), [], "connections afterwards")
        equal(r.sql(f"SELECT count(*), count(DISTINCT id), count(*) FILTER (WHERE v = 'v' || id) FROM w1_{workers}"),
              "8000|8000|8000", "rows")
        equal(copied(r), 8000, "each row was copied once")


def kills(r):
    """Another job goes on with the slices that were not done, behind the end of the former server processes."""
    table(r, "w2", 16000)
    id = submit(r, "w2", 4, COUNTED)
    wait_copying(id, 4, slices=1)
    former = processes(id)
    engine.kill(job(r))
    wait_until(lambda: set(processes(id)) - set(former), "the next one's connections")
    equal(look(f"SELECT count(*) FROM pg_stat_activity WHERE pid = ANY (ARRAY{former})"), 0, "former processes")
    r.wait_done(id)
    equal(r.sql("SELECT count(*), count(DISTINCT id), count(*) FILTER (WHERE v = 'v' || id) FROM w2"), "16000|16000|16000", "rows")
    again = copied(r) - 16000
    assert again <= 4 * ROWS_OF_SLICE, f"{again} rows were copied again"


def suspends(r):
    table(r, "w3", 16000)
    id = submit(r, "w3", 4, COUNTED)
    wait_copying(id, 4, slices=1)
    r.sql(f"SUSPEND '{id}'")
    wait_until(lambda: busy() == 0 and processes(id) == [], "all have stopped")
    equal(r.failed_step(id), ("insert", "CANCEL: suspended by user"), "step")
    r.sql(f"RESUME '{id}'")
    r.wait_done(id)
    equal(r.sql("SELECT count(*), count(DISTINCT id) FROM w3"), "16000|16000", "rows")
    again = copied(r) - 16000
    assert again <= 4 * ROWS_OF_SLICE, f"{again} rows were copied again"


def no_connection(r):
    """The server has one connection left: two of four work."""
    table(r, "w11")
    used = look("SELECT count(*) FROM pg_stat_activity WHERE usename = 'service'")
    r.admin(f"ALTER ROLE service CONNECTION LIMIT {used + 3}")  # lease, work, one beside
    try:
        id = submit(r, "w11", 4, COUNTED)
        wait_until(lambda: busy() == 2, "two connections copy", every=0.005)
        equal(len(processes(id)), 1, "connections beside")
        r.wait_done(id)
    finally:
        r.admin("ALTER ROLE service CONNECTION LIMIT -1")
    assert "works with one connection less" in r.pgveneer.process.text()
    equal(r.sql("SELECT count(*), count(DISTINCT id) FROM w11"), "8000|8000", "rows")
    copied(r)


def lost_connection(r):
    """A connection that breaks ends the work of all; it is begun again at once."""
    table(r, "w4")
    id = submit(r, "w4", 3, COUNTED)
    wait_copying(id, 3)
    r.admin(f"SELECT pg_terminate_backend({processes(id)[0]})")
    r.wait_done(id)
    equal(r.sql("SELECT count(*), count(DISTINCT id) FROM w4"), "8000|8000", "rows")
    copied(r)


def errors(r):
    """The first error is the task's; the others' work is taken back."""
    table(r, "w5")
    r.sql("UPDATE w5 SET v = 'wrong' WHERE id = 6000")
    id = submit(r, "w5", 4, f"ALTER v TYPE int USING substr(v, 2)::int + coalesce({SLOW}::int, 0)")
    equal(r.wait_error(id), ("insert", 'invalid input syntax for type integer: "rong" (22P02)'), "error")
    equal(busy(), 0, "still copying")
    r.sql(f"UPDATE w5 SET v = 'v6000' WHERE id = 6000; RESUME '{id}'")
    r.wait_done(id)
    equal(r.sql("SELECT count(*), sum(v) = sum(id) FROM w5"), "8000|t", "rows")


def truncates(r):
    """The slices are cut again once all have left the former ones."""
    table(r, "w6")
    id = submit(r, "w6", 4, COUNTED)
    wait_copying(id, 4)
    r.sql("TRUNCATE w6; INSERT INTO w6 SELECT i, 'v' || i, repeat('y', 480) FROM generate_series(1, 5000) i; DELETE FROM w6 WHERE id = 5")
    r.wait_done(id)
    equal(r.sql("SELECT count(*), count(DISTINCT id), min(pad) = repeat('y', 480) FROM w6"), "4999|4999|t", "rows")
    copied(r)


def partitions(r):
    """Values that come while four connections copy get their partitions, whoever meets them first."""
    r.sql("CREATE TABLE w7 (id int, v text, pad text, PRIMARY KEY (id, v)) WITH (fillfactor = 50);"
          "INSERT INTO w7 SELECT i, 'v' || i % 3, repeat('x', 480) FROM generate_series(1, 6000) i")
    id = submit(r, "w7", 4, f"TO PARTITION BY LIST (v), ALTER pad TYPE text USING coalesce({SLOW}, pad)")
    wait_copying(id, 4)
    r.sql("UPDATE w7 SET v = 'new' || id % 4 WHERE id > 5000; INSERT INTO w7 VALUES (0, 'last', 'x')", timeout=60)
    r.wait_done(id)
    equal(r.sql("SELECT count(*), count(DISTINCT id), count(DISTINCT tableoid), count(*) FILTER (WHERE v LIKE 'new%') FROM w7"),
          "6001|6001|8|1000", "rows")


def ordered(r):
    """clustering_key: rows that are sorted are sorted by one."""
    table(r, "w8", 5000)
    r.rebuild("ASYNC REBUILD TABLE w8 WITH (rebuild_guc_hg_rebuild_workers = 4, rebuild_guc_hg_rebuild_slice_mb = 1) "
              "SET (clustering_key = 'v:desc')")
    equal(r.sql("SELECT bool_and(before > v) FROM (SELECT v, lag(v) OVER (ORDER BY ctid) AS before FROM w8) x"), "t", "order")


def no_key(r):
    r.sql("CREATE TABLE w9 (id int, a int, b text); INSERT INTO w9 SELECT i, i % 100, repeat('x', 480) FROM generate_series(1, 8000) i")
    id = submit(r, "w9", 4, f"ALTER a TYPE bigint USING a + coalesce({SLOW}::int, 0)")
    wait_copying(id, 4)
    equal(r.sql_error("DELETE FROM w9").sqlstate, "25006", "read-only")
    r.wait_done(id)
    equal(r.sql("SELECT count(*), sum(a) FROM w9"), "8000|396000", "rows")


INDEXES = """CREATE FUNCTION slow(t text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS
             $$ BEGIN IF pg_catalog.hashtext(t) OPERATOR(pg_catalog.%) 40 OPERATOR(pg_catalog.=) 0 THEN PERFORM pg_catalog.pg_sleep(0.02); END IF; RETURN t; END $$;
             CREATE TABLE w10 (id int CONSTRAINT own_name PRIMARY KEY, v text, n int UNIQUE DEFERRABLE INITIALLY DEFERRED, x int, r int4range,
                               CONSTRAINT apart EXCLUDE USING gist (r WITH &&), CONSTRAINT two UNIQUE (v, x));
             INSERT INTO w10 SELECT i, 'v' || i, i, i, int4range(i, i + 1) FROM generate_series(1, 1500) i;
             CREATE INDEX w10_a ON w10 (slow(v)); CREATE INDEX w10_b ON w10 (slow(v || 'b')); CREATE INDEX w10_c ON w10 (slow(v || 'c'));
             CREATE UNIQUE INDEX w10_u ON w10 (x) INCLUDE (v) WHERE x > 5; ALTER TABLE w10 CLUSTER ON own_name"""
SHAPE = """SELECT string_agg(d, '; ' ORDER BY d) FROM (
    SELECT pg_get_indexdef(indexrelid) || indisclustered || indisvalid AS d FROM pg_index WHERE indrelid = 'w10'::regclass UNION ALL
    SELECT conname || ' ' || pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 'w10'::regclass) x"""


def indexes(r):
    """At the same time; a kill in the middle, and the constraints are what they were."""
    r.sql(INDEXES, timeout=60)
    shape = r.sql(SHAPE)
    building = "SELECT count(*) FROM pg_stat_progress_create_index p JOIN pg_class c ON c.oid = p.relid WHERE c.relname LIKE 'tmp\\_rebuild\\_new%'"
    for number in range(2):
        id = submit(r, "w10", 3, f"SET (fillfactor = {90 - number})")
        wait_until(lambda: look(building) == 3, "three indexes are built", every=0.005)
        if number:
            wait_until(lambda: look("SELECT count(*) FROM pg_class WHERE relname LIKE 'tmp\\_rebuild\\_index%'") > 0, "one is done", every=0.005)
            engine.kill(job(r))
        r.wait_done(id)
        equal(r.sql(SHAPE), shape, "indexes and constraints")
        equal(r.sql("SELECT count(*) > 0 FROM pg_stats WHERE tablename = 'w10_a'"), "t", "statistics of an expression")
        equal(r.sql("SELECT count(*) FROM pg_stats WHERE tablename = 'w10' AND attname = 'v'"), "1", "statistics of a column")
    r.sql("ALTER TABLE w10 DROP CONSTRAINT two; UPDATE w10 SET v = 'v1' WHERE id = 7")
    id = submit(r, "w10", 3, "ALTER PRIMARY KEY (v), SET (fillfactor = 70)")
    step, message = r.wait_error(id)
    equal((step, "could not create unique index" in message), ("insert", True), message)


with Rebuild() as r:
    r.sql("CREATE SEQUENCE copied")
    watching = psycopg2.connect(r.cluster.direct.dsn("postgres"))
    watching.autocommit = True
    watcher = watching.cursor()
    for name, scenario in (("values", values), ("at the same time", at_the_same_time), ("kills", kills), ("suspends", suspends),
                           ("no connection", no_connection), ("lost connection", lost_connection), ("errors", errors), ("truncates", truncates),
                           ("partitions", partitions), ("ordered", ordered), ("no key", no_key), ("indexes", indexes)):
        if not sys.argv[1:] or name in sys.argv[1:]:
            s.run(name, scenario, r)
sys.exit(s.finish())
