"""ASYNC REBUILD as a client sees it on the wire: rows and tags in both protocols, beside other statements, and what
becomes of statements that were prepared before."""
import sys

from cluster import Scenarios, equal
from rawpg import B, D, E, P, Raw, S, fields, kinds, values
from rebuild import Rebuild

s = Scenarios("statement")


def connect(r):
    c = Raw("127.0.0.1", r.cluster.proxy.port)
    c.login()
    return c


def tags(messages):
    return [b[:-1].decode() for k, b in messages if k == "C"]


def missing(r):
    """IF EXISTS without a table: a NOTICE and no row, in both protocols; no task."""
    text = "ASYNC REBUILD TABLE IF EXISTS missing ADD x int"
    with connect(r) as c:
        got = c.query(text)
        equal((kinds(got), tags(got)), ("TNCZI", ["ASYNC REBUILD TABLE"]), "simple")
        equal([fields(b)["M"] for k, b in got if k == "N"], ['relation "missing" does not exist, skipping'], "notice")
        c.send(P("s1", text), D("S", "s1"), B("", "s1"), D("P", ""), E(""), S())
        got = c.until_ready()
        equal((kinds(got), tags(got)), ("1tT2TNCZI", ["ASYNC REBUILD TABLE"]), "extended")
        assert all(b[2:11] == b"query_id\0" for k, b in got if k == "T"), got
        c.send(P("", text.replace("IF EXISTS ", "")), B(), D("P", ""), E(""), S())
        got = c.until_ready()
        equal((kinds(got), [fields(b)["C"] for k, b in got if k == "E"]), ("12TEZI", ["42P01"]), "without IF EXISTS")
    equal(r.admin("SELECT count(*) FROM pgveneer.task"), "0", "tasks")


def beside_others(r):
    """Each statement of a text keeps its own tag."""
    r.sql("CREATE TABLE a1 (id int PRIMARY KEY, v text); INSERT INTO a1 VALUES (1, 'a')")
    with connect(r) as c:
        got = c.query("SELECT 1; ASYNC REBUILD TABLE a1 ADD b int; CALL set_table_property('a1', 'orientation', 'row');; "
                      "UPDATE a1 SET v = 'b'; ASYNC REBUILD TABLE IF EXISTS missing ADD x int; VALUES (2), (3)")
        equal(tags(got), ["SELECT 1", "ASYNC REBUILD TABLE", "CALL", "UPDATE 1", "ASYNC REBUILD TABLE", "SELECT 2"], "tags")
        equal(len(values(got)), 4, "rows")
        r.wait_done(values(got)[1][0])
        c.send(P("", "ASYNC REBUILD TABLE a1 ADD c int"), B(), D("P", ""), E("", 1), S())
        got = c.until_ready()
        assert kinds(got) in ("12TDsZI", "12TDCZI"), kinds(got)
        r.wait_done(values(got)[0][0])


def prepared(r):
    """Statements prepared before the swap read the new table; where their result would change, they get what ALTER
    TABLE gives."""
    r.sql("""CREATE TABLE a2 (id int PRIMARY KEY, v text, n int); INSERT INTO a2 VALUES (1, 'a', 1);
        CREATE VIEW a2_v AS SELECT n FROM a2; CREATE TABLE a3 AS SELECT * FROM a2""")
    with connect(r) as c:
        for name, text in (("ids", "SELECT id FROM a2"), ("put", "INSERT INTO a2 (id, v) VALUES ($1, 'x')"),
                           ("all", "SELECT * FROM a2"), ("view", "SELECT n FROM a2_v"), ("other", "SELECT * FROM a3")):
            c.send(P(name, text), S())
            equal(kinds(c.until_ready()), "1ZI", name)
        def run(name, *values_of):
            c.send(B("", name, values_of), E(""), S())
            return c.until_ready()
        for _ in range(6):  # with a generic plan, too
            equal(values(run("ids")), [["1"]], "before")
        r.rebuild("ASYNC REBUILD TABLE a2 ALTER n TYPE bigint USING n + 5")
        r.sql("ALTER TABLE a3 ALTER n TYPE bigint USING n + 5")
        equal(kinds(run("put", b"7")), "2CZI", "insert")
        equal(values(run("ids")), [["1"], ["7"]], "the new table")
        for name in ("all", "view", "other"):
            got = run(name)
            equal([(fields(b)["C"], fields(b)["M"]) for k, b in got if k == "E"],
                  [("0A000", "cached plan must not change result type")], name)


TESTS = {"IF EXISTS": missing, "beside others": beside_others, "prepared statements": prepared}
with Rebuild() as r:
    for name, test in TESTS.items():
        if not sys.argv[1:] or name in sys.argv[1:]:
            s.run(name, test, r)
sys.exit(s.finish())
