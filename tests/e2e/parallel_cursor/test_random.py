"""Random queries by parallel retrieve cursors: the rows of all endpoints together are those of a plain cursor
of the same transaction, as multisets, while another session writes and vacuums. Prints how many cursors
were divided, read by one worker, or by the session itself.

    test_random.py [CASES [SEED]]        60 cases by default; `make soak-cursor` runs 10,000
"""
import collections
import os
import random
import re
import sys
import threading

from cluster import Cluster, Scenarios
from cursors import Declarer
from rawpg import ServerError
from session import Session

CASES = int(sys.argv[1]) if len(sys.argv) > 1 else 60
SEED = int(sys.argv[2]) if len(sys.argv) > 2 else int(os.environ.get("PGVENEER_SEED", "7"))
PRC = "PARALLEL RETRIEVE CURSOR"
s = Scenarios("parallel_cursor/random")
rng = random.Random(SEED)
TABLES = ["t1", "t2", "parts", "small"]


def condition(alias):
    n = rng.randint(0, 60)
    return rng.choice([f"{alias}.a % {n % 7 + 2} = 1", f"{alias}.b > {n}", f"{alias}.b IS NULL", f"{alias}.t LIKE '%{n}%'", f"({alias}.a < {n * 50} OR {alias}.b = {n})",
                       f"{alias}.b IN (SELECT b FROM small WHERE a < {n})", f"EXISTS (SELECT FROM small s WHERE s.b = {alias}.b)", f"{alias}.t NOT IN ('row {n}', 'WHERE')", "true"])


def query():
    one = rng.choice(TABLES[:3])
    form = rng.random()
    if form < 0.78:
        alias = rng.choice(["", " x", " AS \"Y\""])
        name = alias.replace("AS", "").strip() or one
        listed = rng.choice(["*", f"{name}.a, {name}.b", f"{name}.t || 'FROM', {name}.a", f"count({name}.a) OVER (PARTITION BY {name}.a)" if rng.random() < 0.1 else f"{name}.*, {name}.a + 1",
                             f"{name}.a, unnest(ARRAY[{name}.b, 7])"])
        where = "" if rng.random() < 0.25 else f" WHERE {condition(name)}" + (f" AND {condition(name)}" if rng.random() < 0.3 else "")
        return f"SELECT {listed} FROM {one}{alias}{where}"
    if form < 0.92:
        join = rng.choice(["JOIN", "JOIN", "LEFT JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"])
        return f"SELECT x.a, x.t, y.b FROM {one} x {join} {rng.choice(TABLES)} y ON y.a = x.{rng.choice('ab')}" + (f" WHERE {condition('x')}" if rng.random() < 0.6 else "")
    return rng.choice([f"SELECT count(*), sum(b) FROM {one}", f"SELECT DISTINCT b FROM {one}", f"SELECT b, count(*) FROM {one} GROUP BY b", f"SELECT * FROM {one} ORDER BY a, b, t LIMIT {rng.randint(0, 99)}",
                       f"SELECT a FROM {one} UNION ALL SELECT b FROM small", f"SELECT * FROM (SELECT a, b FROM {one}) q WHERE b > 5", f"WITH w AS (SELECT * FROM {one}) SELECT a FROM w",
                       f"SELECT a, clock_timestamp() IS NULL FROM {one}", f"SELECT a, noisy(b) FROM {one}"])


def own_write(d):
    d.run(rng.choice(["INSERT INTO t1 VALUES (-1, -2, 'own')", "DELETE FROM t2 WHERE a % 10 = 3", "UPDATE parts SET b = 1 WHERE a < 40", "SAVEPOINT x", "SAVEPOINT x; INSERT INTO t1 VALUES (9, 9, 'own')"]))


def begin(d):
    """A transaction with a snapshot, sometimes with writes of its own; those may meet the writer's."""
    while True:
        d.run("BEGIN ISOLATION LEVEL " + rng.choice(["REPEATABLE READ"] * 9 + ["SERIALIZABLE"]))
        d.run("SELECT 1 FROM small LIMIT 1")
        try:
            if rng.random() < 0.12:
                own_write(d)
            return
        except ServerError as e:
            if e.sqlstate != "40001":
                raise
            d.run("ROLLBACK")


def read(r, names):
    """Rows of all endpoints in a random way; and how many gave any."""
    rows, giving = [], 0
    for name in names:
        before = len(rows)
        while rng.random() < 0.3:
            rows += r.rows(f"RETRIEVE {rng.randint(1, 400)} FROM ENDPOINT {name}")
        rows += r.rows(f"RETRIEVE ALL FROM ENDPOINT {name}")
        giving += len(rows) > before
    return rows, giving


def as_set(rows):
    return collections.Counter(map(tuple, rows))


with Cluster(superuser_service=True) as c:
    c.direct.sql("""
        CREATE TABLE t1 (a int, b int, t text); CREATE TABLE t2 (a int, b int, t text) WITH (fillfactor = 60);
        CREATE TABLE parts (a int, b int, t text) PARTITION BY HASH (a);
        CREATE TABLE parts_0 PARTITION OF parts FOR VALUES WITH (MODULUS 3, REMAINDER 0);
        CREATE TABLE parts_1 PARTITION OF parts FOR VALUES WITH (MODULUS 3, REMAINDER 1);
        CREATE TABLE parts_2 PARTITION OF parts FOR VALUES WITH (MODULUS 3, REMAINDER 2) PARTITION BY LIST (b);
        CREATE TABLE parts_2d PARTITION OF parts_2 DEFAULT;
        CREATE TABLE small (a int, b int, t text);
        CREATE FUNCTION noisy(x int) RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN x; END';
        INSERT INTO t1 SELECT g, CASE WHEN g % 11 > 0 THEN g % 50 END, 'row ' || g % 300 || repeat(' ', 60) FROM generate_series(1, 1500) g;
        INSERT INTO t2 SELECT g % 700, g % 40, CASE WHEN g % 5 > 0 THEN 'row ' || g % 60 || repeat('-', 90) END FROM generate_series(1, 1500) g;
        INSERT INTO parts SELECT a, b, t FROM t1; INSERT INTO small SELECT g, g % 30, 'row ' || g FROM generate_series(1, 40) g; ANALYZE""")
    proxy = c.start_proxy(keep_client_keys="on", parallel_cursor_min_size="40000", log_level="debug", log_format="text",
                          auth_query="SELECT rolname, rolpassword FROM pg_authid WHERE rolname = $1")

    @s.scenario(f"{CASES} queries, seed {SEED}")
    def _():
        stop = threading.Event()

        def write():
            w, mine = Session(c.direct, user="app"), random.Random(SEED)
            while not stop.is_set():
                for t in ["t1", "t2", "parts"]:
                    n = mine.randint(0, 30)
                    w.sql(f"UPDATE {t} SET t = t || 'x' WHERE a % 31 = {n}; DELETE FROM {t} WHERE length(t) > 150; "
                          f"INSERT INTO {t} SELECT {n}, {n}, 'row ' || {n} WHERE (SELECT count(*) FROM {t}) < 2000; UPDATE {t} SET t = left(t, 60) WHERE a % 13 = {n % 13}")
                    w.sql(f"VACUUM {t}")
                stop.wait(0.05)
            w.close()

        writer = threading.Thread(target=write, daemon=True)
        writer.start()
        divided, d, r = 0, Declarer(c.proxy), None
        try:
            for n in range(CASES):
                text = query()
                begin(d)
                d.run(f"DECLARE p CURSOR FOR {text}")
                d.run(f"DECLARE c {PRC} FOR {text}")
                names = d.endpoints("c")
                r = r or d.retriever()
                rows, giving = read(r, names)
                want = d.rows("FETCH ALL FROM p")
                if as_set(rows) != as_set(want):
                    raise AssertionError(f"case {n}, seed {SEED}: {len(rows)} rows of {len(names)} endpoints, {len(want)} wanted: {text}")
                assert d.tag(f"CHECK {PRC} c") == "FINISHED"
                divided += giving > 1
                d.run("ROLLBACK")
        finally:
            stop.set()
            writer.join()
        exported = len(re.findall(r"parallel retrieve cursor: EXPORT", proxy.log_text()))
        cursors = len(re.findall(r'parallel retrieve cursor "c" has', proxy.log_text()))
        several = len(re.findall(r'parallel retrieve cursor "c" has (?:[2-9]|\d\d) endpoints', proxy.log_text()))
        print(f"     divided {several} ({divided} with rows from two or more), one worker {exported - several}, the session itself {cursors - exported}")
        assert cursors == CASES and divided * 3 >= CASES, f"only {divided} of {CASES} were divided"

sys.exit(s.finish())
