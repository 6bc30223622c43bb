"""Parallel retrieve cursors: the statements of the seed and of Greenplum 6.20+, their answers and errors,
life times, tokens and rights. The rows of spec sections 1, 2 and 5 (the vendor's own tests) by topic.
"""
import re
import sys
import threading

from cluster import Cluster, Scenarios, equal, wait_until
from cursors import Declarer, Retriever
from rawpg import ServerError, fields, kinds, one_cancel, values

s = Scenarios("parallel_cursor/statements")
PRC = "PARALLEL RETRIEVE CURSOR"


def with_declarer(function):
    def run():
        with Declarer(c.proxy) as d:
            d.run("BEGIN")
            function(d)
    return run


def scenario(name):
    return lambda function: s.scenario(name)(with_declarer(function))


with Cluster() as c:
    c.direct.sql("""
        CREATE ROLE other LOGIN PASSWORD 'other';
        CREATE ROLE boss SUPERUSER LOGIN PASSWORD 'boss'""", user="postgres")
    c.direct.sql("""
        CREATE TABLE t1 (a int, b text);
        INSERT INTO t1 SELECT g, 'row ' || g FROM generate_series(1, 1000) g;
        CREATE TABLE t2 (a int, d date);
        INSERT INTO t2 SELECT g, date '2020-01-01' + g FROM generate_series(1, 100) g;
        CREATE TABLE empty (a int);
        GRANT SELECT ON ALL TABLES IN SCHEMA public TO other""")
    proxy = c.start_proxy()

    def log_in(user, password, form="seed"):
        try:
            with Retriever(c.proxy.host, c.proxy.port, user, password, "app") as r:
                r.enter(form)
                return ""
        except ServerError as e:
            return f"{e.sqlstate} {e}"

    @s.scenario("the seed's session, in psql")
    def _():
        script = f"""
            BEGIN;
            DECLARE c1 {PRC} FOR SELECT * FROM t1 WHERE a < 3;
            DECLARE c2 {PRC} FOR SELECT * FROM t2;
            SELECT cursor_name, endpoint_name, hostname, port, status FROM GP_ENDPOINTS ORDER BY 2;
            SELECT count(DISTINCT auth_token), bool_and(auth_token ~ '^tk[0-9a-f]{{32}}$') FROM gp_endpoints_info();
            \\unset QUIET
            CHECK {PRC} c1 NOWAIT;
            CLOSE c1;
            \\set QUIET 1
            SELECT cursor_name FROM gp_endpoints_info();
            """
        got = c.proxy.psql("-Atq", "-v", "ON_ERROR_STOP=1", stdin=script, check=True).stdout.split("\n")
        port = c.proxy.port
        equal(got[:3], [f"c1|c1_1|127.0.0.1|{port}|READY", f"c2|c2_1|127.0.0.1|{port}|READY", "1|t"], "lists")
        equal(got[3:5], ["RUNNING", "CLOSE CURSOR"], "tags")
        equal(got[5:], ["c2", ""], "after CLOSE")

    @scenario("columns of both generations, names folded and quoted")
    def _(d):
        d.run(f"DECLARE C1 {PRC} FOR SELECT 1")
        d.run(f'DECLARE "Two" {PRC} FOR SELECT 2')
        def columns(text):
            got = d.run(text)
            return [p.split(b"\0")[0].decode() for p in re.split(rb"\0.{18}(?=[a-z])", dict(got)["T"][2:], flags=re.S)], values(got)
        six = ["auth_token", "cursor_name", "endpoint_name", "hostname", "port", "status"]
        nine = ["gp_segment_id", "auth_token", "cursorname", "sessionid", "hostname", "port", "username", "state", "endpointname"]
        for text in ["gp_endpoints", "gp_endpoints_info()", "gp_endpoints_info(true)", "pg_catalog.gp_endpoints"]:
            got, rows = columns(f"SELECT * FROM {text}")
            equal(got, six, text)
            equal([r[2] for r in rows], ["c1_1", "Two_1"], text)
        for text in ["gp_get_endpoints()", "gp_session_endpoints", "gp_get_session_endpoints()", "gp_segment_endpoints",
                     "gp_get_segment_endpoints()", "gp_endpoints WHERE endpointname IS NOT NULL", "gp_endpoints() e"]:
            got, rows = columns(f"SELECT * FROM {text}")
            equal(got, nine, text)
            equal([(r[6], r[7], r[8]) for r in rows], [("app", "READY", "c1_1"), ("app", "READY", "Two_1")], text)
        equal(d.rows("SELECT e.status FROM gp_endpoints e JOIN t1 ON t1.a = 1 WHERE e.cursor_name = 'Two'"), [["READY"]], "join")

    @s.scenario("refusals of DECLARE")
    def _():
        with Declarer(c.proxy) as d:
            e = d.error(f"DECLARE c {PRC} FOR SELECT 1")
            equal((e["C"], e["M"]), ("25P01", "DECLARE CURSOR can only be used in transaction blocks"), "outside a block")
            for text, state, message, detail in [
                    (f"DECLARE c {PRC} WITH HOLD FOR SELECT 1", "42P11", "DECLARE PARALLEL RETRIEVE CURSOR WITH HOLD ... is not supported", "Holdable cursors can not be parallel"),
                    (f"DECLARE c SCROLL {PRC} FOR SELECT 1", "42P11", "SCROLL is not allowed for the PARALLEL RETRIEVE CURSORs", "Scrollable cursors can not be parallel"),
                    (f"EXPLAIN DECLARE c SCROLL {PRC} FOR SELECT 1", "42P11", "SCROLL is not allowed for the PARALLEL RETRIEVE CURSORs", "Scrollable cursors can not be parallel"),
                    (f"DECLARE c {PRC} FOR SELECT nosuch FROM t1", "42703", 'column "nosuch" does not exist', None),
                    (f"DECLARE c {PRC} SELECT 1", "42601", 'syntax error at or near "SELECT"', None),
                    (f'DECLARE "" {PRC} FOR SELECT 1', "42601", 'zero-length delimited identifier at or near """"', None)]:
                d.run("BEGIN")
                e = d.error(text)
                equal((e["C"], e["M"], e.get("D")), (state, message, detail), text)
                d.run("ROLLBACK")
            d.run("BEGIN")
            e = d.error(f"DECLARE c /* x */ {PRC} FOR SELECT nosuch FROM t1")
            equal(e["P"], "55", "the position is the client's")
            d.run("ROLLBACK")
            d.run("BEGIN")
            for first, second in [("CURSOR", PRC), (PRC, PRC), (PRC, "CURSOR")]:
                d.run(f"DECLARE c {first} FOR SELECT 1")
                e = d.error(f"DECLARE c {second} FOR SELECT 1")
                equal((e["C"], e["M"]), ("42P03", 'cursor "c" already exists'), f"{first}, {second}")
                d.run("ROLLBACK"); d.run("BEGIN")
            d.run("ROLLBACK")
            equal(kinds(d.run("BEGIN; SELECT 1/1")), "CTDCZT", "goes on")
            e = d.error("SELECT 1/0")
            e = d.error(f"DECLARE c {PRC} FOR SELECT 1")
            equal(e["C"], "25P02", "failed transaction")

    @scenario("accepted forms: BINARY, INSENSITIVE, NO SCROLL, WITHOUT HOLD, comments")
    def _(d):
        for i, text in enumerate([f"BINARY {PRC}", f"INSENSITIVE {PRC}", f"NO SCROLL {PRC} WITHOUT HOLD", "PARALLEL/*x*/RETRIEVE NO SCROLL CURSOR",
                                  f"binary insensitive no scroll {PRC.lower()} without hold"]):
            equal(d.tag(f"DECLARE f{i} {text} FOR SELECT a FROM t1 WHERE a < 3"), f"DECLARE {PRC}", text)
            equal(d.read_all(f"f{i}"), [["1"], ["2"]], text)
        equal(d.tag("DECLARE plain CURSOR FOR SELECT 'PARALLEL RETRIEVE CURSOR'"), "DECLARE CURSOR", "only in a literal")
        equal(d.rows("FETCH ALL FROM plain"), [["PARALLEL RETRIEVE CURSOR"]], "plain")

    @scenario("FETCH and MOVE are refused; plain cursors beside")
    def _(d):
        d.run(f"DECLARE c {PRC} FOR SELECT 1")
        d.run("DECLARE p CURSOR FOR SELECT a FROM t1 ORDER BY a")
        d.run("SAVEPOINT a")
        e = d.error("FETCH 1 FROM c")
        equal((e["C"], e["M"]), ("42601", "cannot specify 'FETCH' for PARALLEL RETRIEVE CURSOR"), "FETCH")
        d.run("ROLLBACK TO a")
        e = d.error("MOVE ALL IN c")
        equal((e["C"], e["M"]), ("0A000", "the 'MOVE' statement for PARALLEL RETRIEVE CURSOR is not supported"), "MOVE")
        d.run("ROLLBACK TO a")
        equal(d.rows("FETCH 2 FROM p"), [["1"], ["2"]], "FETCH of a plain one")
        equal(d.tag("MOVE 2 FROM p"), "MOVE 2", "MOVE of a plain one")
        e = d.error(f"CHECK {PRC} p")
        equal((e["C"], e["M"]), ("42601", "Cannot specify 'CHECK PARALLEL RETRIEVE CURSOR' for non-PARALLEL RETRIEVE CURSOR."), "CHECK of a plain one")
        d.run("ROLLBACK TO a")
        e = d.error("SELECT gp_wait_parallel_retrieve_cursor('c', -2)")
        equal((e["C"], e["M"]), ("22023", "timeout should not be: -2"), "wait of a negative time")
        d.run("ROLLBACK TO a")
        e = d.error("SELECT gp_wait_parallel_retrieve_cursor('p', 0)")
        equal((e["C"], e["M"]), ("42601", "cursor is not a PARALLEL RETRIEVE CURSOR"), "wait on a plain one")
        d.run("ROLLBACK TO a")
        e = d.error(f"CHECK {PRC} nosuch NOWAIT")
        equal((e["C"], e["M"]), ("34000", 'cursor "nosuch" does not exist'), "CHECK of none")
        d.run("ROLLBACK TO a")
        e = d.error("SELECT gp_check_parallel_retrieve_cursor('nosuch')")
        equal(e["C"], "34000", "check function of none")
        d.run("ROLLBACK TO a")
        e = d.error("RETRIEVE 1 FROM ENDPOINT c_1")
        equal((e["C"], e["M"]), ("0A000", "This is not a retrieve connection, but the query is a RETRIEVE."), "RETRIEVE here")
        d.run("ROLLBACK TO a")
        equal(d.read_all("c"), [["1"]], "still there")

    @scenario("results of every kind of query")
    def _(d):
        for i, query in enumerate([
                "SELECT * FROM t1 ORDER BY a LIMIT 7", "SELECT * FROM t1 ORDER BY a LIMIT 0", "SELECT * FROM empty",
                "SELECT sum(a), avg(a), count(*) FROM t1", "SELECT * FROM t1 JOIN t2 USING (a)", "SELECT count(*) FROM t1 JOIN t2 USING (a)",
                "SELECT * FROM generate_series(1, 10)", "SELECT relname FROM pg_class", "SELECT 1, 'x', NULL", "VALUES (1), (2)",
                "TABLE t2", "WITH w AS (SELECT a FROM t1) SELECT * FROM w WHERE a > 990", "SELECT (a, b) FROM t1", "SELECT FROM t2"]):
            d.run(f"DECLARE q{i} {PRC} FOR {query}")
            d.run(f"DECLARE p{i} CURSOR FOR {query}")
            equal(sorted(map(repr, d.read_all(f"q{i}"))), sorted(map(repr, d.rows(f"FETCH ALL FROM p{i}"))), query)

    @scenario("RETRIEVE in portions, states and ends")
    def _(d):
        d.run(f"DECLARE c {PRC} FOR SELECT a FROM t1 ORDER BY a")
        d.run(f"DECLARE e {PRC} FOR SELECT * FROM empty")
        def state():
            return d.rows("SELECT e.status, g.state FROM gp_endpoints_info() e JOIN gp_get_endpoints() g ON g.endpointname = e.endpoint_name WHERE e.cursor_name = 'c'")[0]
        equal(state(), ["READY", "READY"], "before")
        with d.retriever() as r:
            equal(r.rows("RETRIEVE 2 FROM ENDPOINT c_1"), [["1"], ["2"]], "two")
            equal(state(), ["RETRIEVING", "ATTACHED"], "between")
            equal(d.tag(f"CHECK {PRC} c NOWAIT"), "RUNNING", "between")
            equal(d.rows("SELECT gp_wait_parallel_retrieve_cursor('c', 0)"), [["f"]], "between")
            equal(r.tag("RETRIEVE 998 FROM ENDPOINT c_1"), "RETRIEVE 998", "exactly the rest")
            equal(state(), ["RETRIEVING", "ATTACHED"], "the end was not seen")
            equal(kinds(r.run("RETRIEVE 5 FROM ENDPOINT c_1")), "TCZI", "no rows, with a description")
            equal(state(), ["FINISHED", "FINISHED"], "seen")
            equal(kinds(r.run("RETRIEVE ALL FROM ENDPOINT c_1")), "TCZI", "again")
            equal(d.tag(f"CHECK {PRC} c"), "FINISHED", "checked")
            equal(d.rows("SELECT * FROM gp_wait_parallel_retrieve_cursor('c')"), [["t"]], "wait")
            equal(d.tag(f"CHECK {PRC} e NOWAIT"), "RUNNING", "an empty result must be seen too")
            equal(r.rows("RETRIEVE ALL FROM ENDPOINT e_1"), [], "empty")
            equal(d.tag(f"CHECK {PRC} e NOWAIT"), "FINISHED", "empty")
            for text, state_code, message in [
                    ("RETRIEVE 0 FROM ENDPOINT c_1", "22023", "RETRIEVE statement only supports forward scan, count should not be: 0"),
                    ("RETRIEVE -5 FROM ENDPOINT c_1", "22023", "RETRIEVE statement only supports forward scan, count should not be: -5"),
                    ("RETRIEVE ALL FROM ENDPOINT nosuch", "22023", "failed to attach non-existing endpoint nosuch"),
                    ("RETRIEVE ALL FROM ENDPOINT 123", "42601", 'syntax error at or near "123"'),
                    ("RETRIEVE x FROM ENDPOINT c_1", "42601", 'syntax error at or near "x"'),
                    ("RETRIEVE ALL FROM c_1", "42601", 'syntax error at or near "c_1"')]:
                e = r.error(text)
                equal((e["C"], e["M"]), (state_code, message), text)
            equal(r.rows('RETRIEVE ALL FROM ENDPOINT "c_1"'), [], "quoted")

    @scenario("a retrieve session reaches nothing else, and is patient with drivers")
    def _(d):
        d.run(f"DECLARE c {PRC} FOR SELECT 1")
        with d.retriever() as r:
            for text in ["SELECT 1", "TABLE t1", "DELETE FROM t1", "COPY t1 TO STDOUT", f"DECLARE x {PRC} FOR SELECT 1", "SET ROLE boss",
                         "SET SESSION AUTHORIZATION boss", "PREPARE x AS SELECT 1", "EXPLAIN SELECT 1", "LISTEN x", "SELECT * FROM gp_endpoints"]:
                e = r.error(text)
                equal((e["C"], e["M"]), ("0A000", "This is a retrieve connection, but the query is not a RETRIEVE."), text)
            e = r.error("SET gp_session_role = dispatch")
            equal((e["C"], e["M"]), ("55P02", 'parameter "gp_session_role" cannot be set after connection start'), "role")
            for text, got in [("SET extra_float_digits = 3", "CZI"), ("", "IZI"), (" ; ", "IZI"), ("BEGIN", "CZT"), ("SHOW server_version", "TDCZT"), ("COMMIT", "CZI"),
                              ("SHOW TRANSACTION ISOLATION LEVEL", "TDCZI"), ("BEGIN; RETRIEVE ALL FROM ENDPOINT c_1; END", "CTDCCZI"), ("DISCARD ALL", "CZI"),
                              ("SET NAMES 'latin1'", "SCZI"), ("SAVEPOINT a; ROLLBACK TO a", "CCZI")]:
                equal(kinds(r.run(text)), got, text)
            equal(kinds(r.query("BEGIN; SELECT 1; RETRIEVE 1 FROM ENDPOINT c_1")), "CEZE", "an error fails the transaction")
            equal(r.error("RETRIEVE 1 FROM ENDPOINT c_1")["C"], "25P02", "failed")
            equal(r.tag("COMMIT"), "ROLLBACK", "end")
            equal(r.error("SHOW nosuch")["C"], "42704", "SHOW")

    @scenario("tokens: one a session, all forms of login, and who is refused")
    def _(d):
        d.run(f"DECLARE c {PRC} FOR SELECT 1")
        token = d.token()
        d.run(f"DECLARE c2 {PRC} FOR SELECT 1")
        equal(d.rows("SELECT DISTINCT auth_token FROM gp_endpoints_info()"), [[token]], "second cursor")
        for form in Retriever.FORMS:
            equal(log_in("app", token, form), "", form)
        invalid = "28P01 retrieve auth token is invalid"
        for user, password in [("app", "app"), ("app", token[:-1]), ("app", token[:-1] + "x"), ("app", "tk"), ("other", token), ("nosuch", token), ("boss", token)]:
            equal(log_in(user, password), invalid, f"{user} {password}")
        d.run("ROLLBACK")
        equal(log_in("app", token), "", "it lives as long as the session")
        d.run(f"BEGIN; DECLARE c3 {PRC} FOR SELECT 1")
        equal(d.token(), token, "the same in the next transaction")
        with Declarer(c.proxy) as d2:
            d2.run(f"BEGIN; DECLARE c3 {PRC} FOR SELECT 2")
            equal(d2.token() != token, True, "another session, another token")
            equal((d.read_all("c3"), d2.read_all("c3")), ([["1"]], [["2"]]), "same names in two sessions")
            token2 = d2.token()
        wait_until(lambda: log_in("app", token2) == invalid, "the token dies with its session")

    @scenario("lists: own, of the user, of all for a superuser")
    def _(d):
        d.run(f"DECLARE c {PRC} FOR SELECT 1")
        names = "SELECT endpoint_name FROM gp_endpoints ORDER BY 1"
        with Declarer(c.proxy) as d2, Declarer(c.proxy, "other", "other") as o, Declarer(c.proxy, "boss", "boss") as b:
            equal(d2.rows(names), [["c_1"]], "the user's other session")
            equal(d2.rows("SELECT * FROM gp_endpoints_info()"), [], "not its own")
            equal(len(d2.rows("SELECT * FROM gp_endpoints_info(true)")), 1, "all sessions")
            equal(d2.rows("SELECT * FROM gp_session_endpoints"), [], "not its own")
            equal(o.rows(names), [], "another user")
            o.run(f"BEGIN; DECLARE mine {PRC} FOR SELECT 1")
            equal(b.rows(names), [["c_1"], ["mine_1"]], "a superuser")
            equal(b.rows("SELECT username FROM gp_get_endpoints() ORDER BY 1"), [["app"], ["other"]], "whose")
            with Retriever(c.proxy.host, c.proxy.port, "other", o.token(), "app") as r:
                r.enter()
                e = r.error("RETRIEVE ALL FROM ENDPOINT c_1")
                equal((e["C"], e["M"]), ("22023", "failed to attach non-existing endpoint c_1"), "of another user")
        equal(c.direct.sql("SELECT count(*) FROM pgveneer.gp_endpoints"), "0", "without a proxy nobody sees any")

    @s.scenario("lists are of the moment in every isolation level")
    def _():
        with Declarer(c.proxy) as d, Declarer(c.proxy) as d2:
            for level in ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"]:
                d2.run(f"BEGIN ISOLATION LEVEL {level}; SELECT 1 FROM t1")
                d.run(f"BEGIN ISOLATION LEVEL {level}; SELECT 1 FROM t1")
                d.run(f"DECLARE c {PRC} FOR SELECT a FROM t1 WHERE a = 1")
                for who in (d, d2):
                    equal(who.rows("SELECT status FROM gp_endpoints"), [["READY"]], level)
                equal(d.read_all("c"), [["1"]], level)
                for who in (d, d2):
                    equal(who.rows("SELECT status FROM gp_endpoints"), [["FINISHED"]], level)
                d.run("ROLLBACK")
                equal(d2.rows("SELECT status FROM gp_endpoints"), [], level)
                d2.run("ROLLBACK")

    @scenario("life times: CLOSE, CLOSE ALL, transaction end, errors, savepoints")
    def _(d):
        def names():
            return [r[0] for r in d.rows("SELECT endpoint_name FROM gp_endpoints ORDER BY 1")]
        declare = f"DECLARE {{}} {PRC} FOR SELECT a FROM t1"
        for i in range(11):
            d.run(declare.format(f"m{i}"))
        equal(len(names()), 11, "eleven")
        equal(len(d.rows("SELECT name FROM pg_cursors")), 11, "pg_cursors")
        equal(d.tag("CLOSE m3"), "CLOSE CURSOR", "CLOSE")
        equal(len(names()), 10, "one less")
        equal(d.error("CLOSE m3")["C"], "34000", "CLOSE of none")
        equal(d.tag("ROLLBACK"), "ROLLBACK", "end")
        equal(names(), [], "a failed transaction has none")
        d.run("BEGIN"); d.run(declare.format("a")); d.run(declare.format("b"))
        equal(d.tag("CLOSE ALL"), "CLOSE CURSOR ALL", "CLOSE ALL")
        equal(names(), [], "none")
        d.run(declare.format("a"))
        equal(len(d.read_all("a")), 1000, "declared again")
        d.run("CLOSE a; " + declare.format("a"))
        equal(names(), ["a_1"], "closed and declared again in one text: the same name")
        d.run("COMMIT")
        equal(names(), [], "COMMIT")
        d.run("BEGIN"); d.run(declare.format("before")); d.run("SAVEPOINT s"); d.run(declare.format("behind"))
        equal(names(), ["before_1", "behind_1"], "both")
        d.run("ROLLBACK TO s")
        equal(names(), ["before_1"], "ROLLBACK TO takes back what is younger")
        d.run("CLOSE before"); d.run("ROLLBACK TO s")
        equal(names(), [], "CLOSE is not taken back")
        d.run(declare.format("again")); d.run("SAVEPOINT t"); d.error("SELECT 1/0")
        d.run("ROLLBACK TO t")
        equal(len(d.read_all("again")), 1000, "survives an error behind a savepoint")
        d.run("RELEASE t")
        equal(names(), ["again_1"], "RELEASE")
        d.run("ROLLBACK; BEGIN; CLOSE ALL")
        d.run(declare.format("x")); d.run("CLOSE x; DECLARE x CURSOR FOR SELECT 1")
        equal(names(), [], "a plain one of the same name")

    @scenario("long names are cut and stay apart")
    def _(d):
        stem = "n" * 60
        d.run(f"DECLARE {stem}abc {PRC} FOR SELECT 1"); d.run(f"DECLARE {stem}abd {PRC} FOR SELECT 2")
        equal(d.error(f"DECLARE {stem}abcdef {PRC} FOR SELECT 1")["C"], "42P03", "cut at 63 bytes")
        d.run("ROLLBACK; BEGIN")
        d.run(f"DECLARE {stem}abc {PRC} FOR SELECT 1"); d.run(f"DECLARE {stem}abd {PRC} FOR SELECT 2")
        names = [r[0] for r in d.rows("SELECT endpoint_name FROM gp_endpoints")]
        equal((len(set(names)), max(map(len, names))), (2, 63), str(names))
        equal((d.read_all(stem + "abc"), d.read_all(stem + "abd")), ([["1"]], [["2"]]), "both are read")
        d.run(f"DECLARE \"é'\"\"x\" {PRC} FOR SELECT 3")
        with d.retriever() as r:
            equal(r.rows("RETRIEVE ALL FROM ENDPOINT \"é'\"\"x_1\""), [["3"]], "odd names")

    @s.scenario("rows of anonymous types over several RETRIEVEs; the session's user, not that of SET ROLE; another database")
    def _():
        with Declarer(c.proxy, "boss", "boss") as d:
            d.run("SET ROLE other"); d.run("BEGIN")
            d.run(f"DECLARE c {PRC} FOR SELECT (a, b), ROW(a, ARRAY[ROW(b)]) FROM t1 WHERE a < 5 ORDER BY a")
            equal(d.rows("SELECT username, finished FROM gp_get_endpoints(), gp_wait_parallel_retrieve_cursor('c', 0)"), [["boss", "f"]], "who")
            token = d.token()
            equal(log_in("other", token), "28P01 retrieve auth token is invalid", "not the role")
            with d.retriever() as r:
                for n in range(1, 5):
                    equal(r.rows("RETRIEVE 1 FROM ENDPOINT c_1"), [[f'({n},"row {n}")', f'({n},"{{""(\\\\""row {n}\\\\"")""}}")']], "one by one")
            try:
                with Retriever(c.proxy.host, c.proxy.port, "boss", token, "postgres") as r:
                    r.enter()
                    equal("in", "refused", "another database")
            except ServerError as e:
                equal(e.sqlstate, "28P01", "another database")

    @scenario("names of cursors and endpoints: not ASCII, quoted, 63 bytes, longer ones cut with a NOTICE")
    def _(d):
        def notices(got):
            return [fields(body) for kind, body in got if kind == "N"]
        for written, name, endpoint in [('"é"', "é", "é_1"), ('"Ünï Cödé; --"', "Ünï Cödé; --", "Ünï Cödé; --_1"), ("ÄB", "Äb", "Äb_1"), ('"日本"', "日本", "日本_1"), ('U&"\\0441\\0043"', "сC", "сC_1"),
                                        ('"a""b"', 'a"b', 'a"b_1'), ("n" * 63, "n" * 63, "n" * 61 + "_1"), ('"' + "é" * 31 + 'x"', "é" * 31 + "x", "é" * 30 + "_1"),
                                        ("N" * 70, "n" * 63, "n" * 61 + "_1"), ('"' + "é" * 40 + '"', "é" * 31, "é" * 30 + "_1"), ('"' + "x" * 62 + 'é"', "x" * 62, "x" * 61 + "_1")]:
            got = d.run(f"DECLARE {written} {PRC} FOR SELECT 1")
            plain = d.run(f"SAVEPOINT s; CLOSE {written}; DECLARE {written} CURSOR FOR SELECT 1; ROLLBACK TO s")
            d.run("ROLLBACK"); d.run("BEGIN")
            got = d.run(f"DECLARE {written} {PRC} FOR SELECT 1")
            said = [(n["S"], n["C"], n["M"]) for n in notices(got)]
            equal(said, [(n["S"], n["C"], n["M"]) for n in notices(plain)][:len(said)], written)
            equal(len(said), int(len(written.strip('"').replace('""', '"').encode()) > 63), written)
            equal(d.rows("SELECT cursor_name, endpoint_name FROM gp_endpoints_info()"), [[name, endpoint]], written)
            equal(d.rows(f"SELECT count(*) FROM gp_endpoints WHERE cursor_name = '{name}'"), [["1"]], written)
            with d.retriever() as r:
                quoted = endpoint.replace('"', '""')
                equal(r.rows(f'RETRIEVE ALL FROM ENDPOINT "{quoted}"'), [["1"]], written)
            equal(d.tag(f"CHECK {PRC} {written}"), "FINISHED", written)
            equal(d.tag(f"CLOSE {written}"), "CLOSE CURSOR", written)
        d.run(f"DECLARE c {PRC} FOR SELECT 1")
        with d.retriever() as r:
            for written, full in [("E" * 70, "e" * 70), ('"' + "é" * 33 + '""x"', "é" * 33 + '"x')]:
                got = r.query(f"RETRIEVE ALL FROM ENDPOINT {written}")
                cut = full.encode()[:63].decode(errors="ignore")
                equal(kinds(got), "NEZI", written)
                equal([(n["S"], n["C"], n["M"]) for n in notices(got)], [("NOTICE", "42622", f'identifier "{full}" will be truncated to "{cut}"')], written)
                equal(fields(dict(got)["E"])["M"], f"failed to attach non-existing endpoint {cut}", written)

    @scenario("an endpoint belongs to its first reader")
    def _(d):
        d.run(f"DECLARE c {PRC} FOR SELECT a FROM t1"); d.run(f"DECLARE c2 {PRC} FOR SELECT a FROM t1")
        with d.retriever() as r2:
            with d.retriever() as r:
                r.rows("RETRIEVE 1 FROM ENDPOINT c_1")
                e = r2.error("RETRIEVE 1 FROM ENDPOINT c_1")
                equal((e["C"], e["M"], e["D"]), ("22023", f"endpoint c_1 was already attached by receiver(pid: {r.pid})", "An endpoint can only be attached by one retrieving session."), "attached")
                equal(len(r.rows("RETRIEVE ALL FROM ENDPOINT c_1")), 999, "the first goes on")
                e = r2.error("RETRIEVE 1 FROM ENDPOINT c_1")
                equal((e["C"], e["M"]), ("22023", f"another session (pid: {r.pid}) used the endpoint and completed retrieving"), "finished")
                d.run("CLOSE c")
                e = r.error("RETRIEVE 1 FROM ENDPOINT c_1")
                equal((e["C"], e["M"]), ("XX000", "endpoint is not available because the parallel retrieve cursor was aborted"), "closed")
                e = r2.error("RETRIEVE 1 FROM ENDPOINT c_1")
                equal(e["M"], "failed to attach non-existing endpoint c_1", "closed")
                d.run(f"DECLARE c {PRC} FOR SELECT 5")
                equal(r.rows("RETRIEVE ALL FROM ENDPOINT c_1"), [["5"]], "declared again, same session")
            equal(len(r2.rows("RETRIEVE ALL FROM ENDPOINT c2_1")), 1000, "several cursors in one session")

    @s.scenario("a reader that leaves midway: CHECK tells, COMMIT and CLOSE go well")
    def _():
        quit_message = 'canceling MPP operation: "Endpoint retrieve session is quitting. All unfinished parallel retrieve cursors on the session will be terminated."'
        for end in ["CHECK", "COMMIT", "CLOSE c", "wait"]:
            with Declarer(c.proxy) as d:
                d.run("BEGIN")
                for name in ["c", "done", "untouched"]:
                    d.run(f"DECLARE {name} {PRC} FOR SELECT a FROM t1")
                with d.retriever() as r:
                    r.rows("RETRIEVE 3 FROM ENDPOINT c_1"); r.rows("RETRIEVE ALL FROM ENDPOINT done_1")
                wait_until(lambda: d.rows("SELECT endpoint_name FROM gp_endpoints ORDER BY 1") == [["done_1"], ["untouched_1"]], "released")
                equal(d.tag(f"CHECK {PRC} done"), "FINISHED", "finished before it left")
                equal(d.tag(f"CHECK {PRC} untouched NOWAIT"), "RUNNING", "others go on")
                if end == "CHECK":
                    e = d.error(f"CHECK {PRC} c NOWAIT")
                    equal((e["C"], e["M"]), ("57014", quit_message), "CHECK")
                    equal(d.error("SELECT 1")["C"], "25P02", "the transaction has failed")
                elif end == "wait":
                    equal(d.error("SELECT gp_wait_parallel_retrieve_cursor('c', -1)")["M"], quit_message, "wait")
                else:
                    equal(Declarer.status(d.run(end)), "I" if end == "COMMIT" else "T", end)

    @scenario("errors of the query reach the reader, and CHECK")
    def _(d):
        d.run(f"DECLARE c {PRC} FOR SELECT 10 / (500 - a) FROM t1"); d.run("INSERT INTO empty VALUES (1)")
        with d.retriever() as r:
            equal(r.error("RETRIEVE ALL FROM ENDPOINT c_1")["C"], "22012", "reader")
            equal(d.rows("SELECT * FROM empty"), [["1"]], "the declaring transaction is as it was")
            equal(r.error("RETRIEVE ALL FROM ENDPOINT c_1")["C"], "XX000", "it stays so")
            equal(d.rows("SELECT * FROM gp_endpoints"), [], "no longer listed")
            e = d.error(f"CHECK {PRC} c")
            equal((e["C"], e["M"]), ("22012", "division by zero"), "CHECK")
        equal(d.tag("COMMIT"), "ROLLBACK", "aborted")

    @scenario("CHECK waits; cancel, timeout, and the end of the client")
    def _(d):
        declare = f"DECLARE c {PRC} FOR SELECT a FROM t1"
        d.run(declare)
        r = d.retriever()
        reader = threading.Timer(0.2, lambda: r.rows("RETRIEVE ALL FROM ENDPOINT c_1"))
        reader.start()
        equal(d.tag(f"CHECK {PRC} c"), "FINISHED", "waited")
        reader.join(); r.close()
        d.run("CLOSE c; " + declare)
        cancel = threading.Timer(0.2, lambda: one_cancel(c.proxy.host, c.proxy.port, d.pid, d.key))
        cancel.start()
        e = d.error(f"CHECK {PRC} c")
        cancel.join()
        equal((e["C"], e["M"]), ("57014", "canceling statement due to user request"), "cancel")
        d.run("ROLLBACK")
        equal(d.rows("SELECT * FROM gp_endpoints"), [], "gone")
        d.run("BEGIN"); d.run(declare); d.run("SET LOCAL statement_timeout = '200ms'")
        equal(d.error(f"CHECK {PRC} c")["M"], "canceling statement due to statement timeout", "timeout")
        for limit in range(5, 65):  # whatever the clocks' grain
            d.run("ROLLBACK; BEGIN"); d.run(f"DECLARE c {PRC} FOR SELECT 1")
            d.run(f"SET LOCAL statement_timeout = {limit}")
            equal(d.error(f"CHECK {PRC} c")["C"], "57014", f"{limit} ms")
        d.run("ROLLBACK; BEGIN"); d.run(declare)
        equal(d.rows("SELECT gp_wait_parallel_retrieve_cursor('c', 1)"), [["f"]], "waited one second in vain")
        r = d.retriever()
        reader = threading.Timer(0.2, lambda: r.rows("RETRIEVE ALL FROM ENDPOINT c_1"))
        reader.start()
        equal(d.rows("SELECT * FROM gp_wait_parallel_retrieve_cursor(cursorname => 'c', timeout_sec => -1)"), [["f"]], "other forms do not wait")
        equal(d.rows("SELECT gp_wait_parallel_retrieve_cursor('c', -1)"), [["t"]], "waited without end")
        reader.join(); r.close()
        d.run("CLOSE c; " + declare)
        d.send(b"Q" + (len(f"CHECK {PRC} c") + 5).to_bytes(4, "big") + f"CHECK {PRC} c".encode() + b"\0")
        d.close()
        wait_until(lambda: c.direct.sql("SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction'") == "0", "its server process ends")

    @s.scenario("several statements in one Query")
    def _():
        with Declarer(c.proxy) as d:
            got = d.run(f"BEGIN; DECLARE c {PRC} FOR SELECT a FROM t1; SELECT status FROM gp_endpoints; CHECK {PRC} c NOWAIT; SELECT 2")
            equal((kinds(got), values(got)), ("CCTDCCTDCZT", [["READY"], ["2"]]), "all in one")
            got = d.query(f"SELECT 1; CHECK {PRC} nosuch; SELECT 3")
            equal(kinds(got), "TDCEZE", "an error ends it")
            d.run("ROLLBACK")
            equal(kinds(d.query(f"CREATE TABLE gone (a int); DECLARE c {PRC} FOR SELECT 1; SELECT 1")), "EZI", "an implicit transaction")
            equal(d.rows("SELECT to_regclass('gone')"), [[None]], "nothing of it happened")
            got = d.run(f"BEGIN; DECLARE c {PRC} FOR SELECT 1; COMMIT; SELECT 5")
            equal((kinds(got), values(got)), ("CCCTDCZI", [["5"]]), "COMMIT inside")
            equal(d.rows("SELECT * FROM gp_endpoints"), [], "gone")
            equal(kinds(d.query(f"BEGIN; COPY t1 TO STDOUT; DECLARE c {PRC} FOR SELECT 1")), "EZI", "not with COPY")
            e = d.error(f"BEGIN; DECLARE c {PRC} FOR SELECT 1; SELECT 'é', nosuch")
            equal(e["P"], str(len(f"BEGIN; DECLARE c {PRC} FOR SELECT 1; SELECT 'é', nosuch") - 5), "position in the whole text")

    @s.scenario("own data, temporary tables, settings, savepoints, row security, FOR UPDATE")
    def _():
        c.direct.sql("CREATE TABLE secured (who text); INSERT INTO secured VALUES ('app'), ('other'); GRANT SELECT ON secured TO other; "
                     "ALTER TABLE secured ENABLE ROW LEVEL SECURITY; CREATE POLICY own ON secured USING (who = current_user)")
        with Declarer(c.proxy, "other", "other") as d:
            d.run("BEGIN; CREATE TEMP TABLE mine (a int); INSERT INTO mine VALUES (7)")
            d.run(f"DECLARE t {PRC} FOR SELECT * FROM mine"); d.run("DELETE FROM mine")
            equal(d.read_all("t"), [["7"]], "a temporary table, as it was then")
            d.run("SET LOCAL my.setting = 'x'"); d.run(f"DECLARE s {PRC} FOR SELECT current_setting('my.setting'), current_user")
            equal(d.read_all("s"), [["x", "other"]], "settings")
            d.run(f"DECLARE r {PRC} FOR SELECT * FROM secured")
            equal(d.read_all("r"), [["other"]], "row security")
            d.run("SELECT set_config('DateStyle', 'German', true)"); d.run(f"DECLARE d {PRC} FOR SELECT date '2020-02-01'")
            equal(d.read_all("d"), [["01.02.2020"]], "the form of values")
            d.run("SAVEPOINT a"); d.run("INSERT INTO mine VALUES (8)"); d.run(f"DECLARE p {PRC} FOR SELECT * FROM mine")
            equal(d.read_all("p"), [["8"]], "inside a savepoint")
        with Declarer(c.proxy) as d:
            d.run("BEGIN"); d.run(f"DECLARE n {PRC} FOR SELECT now() = (SELECT xact_start FROM pg_stat_activity WHERE pid = pg_backend_pid())")
            equal(d.read_all("n"), [["t"]], "clock and process")
            d.run(f"DECLARE u {PRC} FOR SELECT a FROM t1 WHERE a < 3 FOR UPDATE")
            equal(d.read_all("u"), [["1"], ["2"]], "FOR UPDATE")

sys.exit(s.finish())
