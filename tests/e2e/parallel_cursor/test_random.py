"""Random queries by parallel retrieve cursors: the rows of all endpoints together are those of a plain cursor
of the same transaction, as multisets, while another session writes and vacuums. Prints how many cursors
were divided, read by one worker, or by the session itself.

    test_random.py [CASES [SEED]]        60 cases by default; `make soak-cursor` runs 10,000
"""
import collections
import itertools
import os
import random
import re
import sys
import threading

from cluster import Cluster, Scenarios
from cursors import Declarer
from rawpg import B, E, P, S, ServerError, fields
from session import Session

CASES = int(sys.argv[1]) if len(sys.argv) > 1 else 15 if "tsan" in os.environ.get("PGVENEER_BUILD", "") else 60
SEED = int(sys.argv[2]) if len(sys.argv) > 2 else int(os.environ.get("PGVENEER_SEED", "7"))
PRC = "PARALLEL RETRIEVE CURSOR"
SCENARIOS = Scenarios("parallel_cursor/random")
rng = random.Random(SEED)
TABLES = ["t1", "t2", "parts", "small"]


def condition(alias):
    n = rng.randint(0, 60)
    return rng.choice([f"{alias}.a % {n % 7 + 2} = 1", f"{alias}.b > {n}", f"{alias}.b IS NULL", f"{alias}.t LIKE '%{n}%'", f"({alias}.a < {n * 50} OR {alias}.b = {n})",
                       f"{alias}.b IN (SELECT b FROM small WHERE a < {n})", f"EXISTS (SELECT FROM small s WHERE s.b = {alias}.b)", f"{alias}.t NOT IN ('row {n}', 'WHERE')", "true"])


def scan(one):
    alias = rng.choice(["", " x", " AS \"Y\""])
    name = alias.replace("AS", "").strip() or one
    listed = rng.choice(["*", f"{name}.a, {name}.b", f"{name}.t || 'FROM', {name}.a", f"count({name}.a) OVER (PARTITION BY {name}.a)" if rng.random() < 0.1 else f"{name}.*, {name}.a + 1",
                         f"{name}.a, unnest(ARRAY[{name}.b, 7])"])
    where = "" if rng.random() < 0.25 else f" WHERE {condition(name)}" + (f" AND {condition(name)}" if rng.random() < 0.3 else "")
    return f"SELECT {listed} FROM {one}{alias}{where}"


def join(one):
    kind = rng.choice(["JOIN", "JOIN", "LEFT JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"])
    return f"SELECT x.a, x.t, y.b FROM {one} x {kind} {rng.choice(TABLES)} y ON y.a = x.{rng.choice('ab')}" + (f" WHERE {condition('x')}" if rng.random() < 0.6 else "")


def inner(one):
    """Scans that stand in something else, which the planner flattens, or not."""
    other = rng.choice(TABLES)
    return rng.choice([f"TABLE {one}", f"SELECT a, b FROM {one} x WHERE {condition('x')} UNION ALL SELECT b, a FROM {other} y WHERE {condition('y')}",
                       f"TABLE {one} UNION ALL (SELECT * FROM {other} x WHERE {condition('x')}) UNION ALL TABLE small",
                       f"SELECT * FROM (SELECT a, b FROM {one} x WHERE {condition('x')}) q WHERE b > 5", f"SELECT q.a, y.t FROM (SELECT a FROM {one}) q JOIN {other} y USING (a)",
                       f"SELECT q.* FROM (SELECT a FROM {one} UNION ALL SELECT a FROM {other}) q WHERE q.a % 3 = 0", f"WITH w AS (SELECT * FROM {one}) SELECT a FROM w",
                       f"WITH {one} AS (SELECT * FROM {one} x WHERE {condition('x')}) SELECT * FROM {one}", "SELECT a FROM odd v WHERE " + condition("v"), "TABLE pair",
                       f"SELECT v.b, v.x FROM pair v JOIN {other} y ON y.a = v.x", "SELECT v FROM odd v", f"SELECT a FROM {one} x WHERE EXISTS (SELECT FROM {one} y WHERE y.a = x.b)"])


def whole(one):
    return rng.choice([f"SELECT count(*), sum(b) FROM {one}", f"SELECT DISTINCT b FROM {one}", f"SELECT b, count(*) FROM {one} GROUP BY b", f"SELECT * FROM {one} ORDER BY a, b, t LIMIT {rng.randint(0, 99)}",
                       f"SELECT a FROM {one} UNION SELECT b FROM small", f"SELECT * FROM (SELECT a, b FROM {one} ORDER BY a LIMIT 9) q", "SELECT * FROM counted",
                       f"SELECT a, clock_timestamp() IS NULL FROM {one}", f"SELECT a, noisy(b) FROM {one}"])


def query():
    """A text, and values of its parameters."""
    one, form = rng.choice(TABLES[:3]), rng.random()
    if form < 0.08:
        n = rng.randint(0, 60)
        return rng.choice([(f"SELECT x.*, $1 FROM {one} x WHERE x.a > $2 AND x.t <> $1", [f"it's {n} \\", str(10 * n)]), (f"SELECT a FROM {one} WHERE b = ANY ($1)", ["{1,7,NULL,%d}" % n]),
                           (f"SELECT a, $1::date - 1 FROM {one} WHERE $2::float8 * a > 5", ["2020-02-29", str(n / 7)]), (f"SELECT * FROM {one} LIMIT $1", [str(n)])])
    return (scan if form < 0.66 else join if form < 0.78 else inner if form < 0.93 else whole)(one), []


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


def declare(d, kind, name, text, values):
    if not values:
        d.run(f"DECLARE {name} {kind} FOR {text}")
        return
    d.send(P("", f"DECLARE {name} {kind} FOR {text}"), B(values=values), E(), S())
    for what, body in d.until_ready():
        if what == "E":
            raise ServerError(fields(body))


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
        CREATE VIEW odd AS SELECT a, b, t FROM t1 WHERE a % 2 = 1; CREATE VIEW pair (x, b, t) AS SELECT y.a, x.b, x.t FROM odd x JOIN t2 y ON y.a = x.a; CREATE VIEW counted AS SELECT count(*) FROM t2;
        CREATE FUNCTION noisy(x int) RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN x; END';
        INSERT INTO t1 SELECT g, CASE WHEN g % 11 > 0 THEN g % 50 END, 'row ' || g % 300 || repeat(' ', 60) FROM generate_series(1, 1500) g;
        INSERT INTO t2 SELECT g % 700, g % 40, CASE WHEN g % 5 > 0 THEN 'row ' || g % 60 || repeat('-', 90) END FROM generate_series(1, 1500) g;
        INSERT INTO parts SELECT a, b, t FROM t1; INSERT INTO small SELECT g, g % 30, 'row ' || g FROM generate_series(1, 40) g; ANALYZE""")
    proxy = c.start_proxy(keep_client_keys="on", parallel_cursor_min_size="40000", log_level="debug", log_format="text",
                          auth_query="SELECT rolname, rolpassword FROM pg_authid WHERE rolname = $1")

    @SCENARIOS.scenario(f"{CASES} queries, seed {SEED}")
    def _():
        stop = threading.Event()

        def write():
            w, mine = Session(c.direct, user="app"), random.Random(SEED)
            for t in itertools.cycle(["t1", "t2", "parts"]):
                if stop.wait(0.1):
                    break
                n = mine.randint(0, 30)
                w.sql(f"UPDATE {t} SET t = t || 'x' WHERE a % 31 = {n}; DELETE FROM {t} WHERE length(t) > 150; "
                      f"INSERT INTO {t} SELECT {n}, {n}, 'row ' || {n} WHERE (SELECT count(*) FROM {t}) < 2000; UPDATE {t} SET t = left(t, 60) WHERE a % 13 = {n % 13}")
                w.sql(f"VACUUM {t}")
            w.close()

        writer = threading.Thread(target=write, daemon=True)
        writer.start()
        divided, d, r = 0, Declarer(c.proxy), None
        try:
            for n in range(CASES):
                text, values = query()
                begin(d)
                declare(d, "CURSOR", "p", text, values)
                declare(d, PRC, "c", text, values)
                names = d.endpoints("c")
                r = r or d.retriever()
                rows, giving = read(r, names)
                want = d.rows("FETCH ALL FROM p")
                if as_set(rows) != as_set(want):
                    raise AssertionError(f"case {n}, seed {SEED}: {len(rows)} rows of {len(names)} endpoints, {len(want)} wanted: {text} {values}")
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
        assert cursors == CASES and divided >= CASES / (2 if CASES >= 200 else 4), f"only {divided} of {CASES} were divided"

sys.exit(SCENARIOS.finish())
