"""psql through pgveneer: what it prints is what it prints on a direct connection.

Each script runs twice, directly and through pgveneer, from the same state of the database (it makes
schema t and drops it); standard output, standard error and exit code are compared byte by byte, with
process ids and ports masked. Then what needs more than a script: cancel by Ctrl-C, reconnecting,
notifications, pg_dump and pg_restore.
"""
import os
import pty
import re
import select
import signal
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "support"))
from cluster import Cluster, Scenarios, equal, wait_until  # noqa: E402

MAKE = """
CREATE SCHEMA t; SET search_path = t;
CREATE TABLE t.item (id int PRIMARY KEY, name text NOT NULL, price numeric(10,2), at timestamptz DEFAULT '2024-02-29 12:00+01', tags text[]);
INSERT INTO t.item SELECT i, 'item ' || i, i * 1.25, '2024-02-29 12:00+01', ARRAY['a', NULL, 'c"d'] FROM generate_series(1, 25) i;
"""
DROP = "\nSET client_min_messages = warning; DROP SCHEMA t CASCADE;\n"

SCRIPTS = {
    "queries and formats": """
SELECT * FROM t.item ORDER BY id LIMIT 3;
\\x
SELECT * FROM t.item ORDER BY id LIMIT 1;
\\x
\\pset null '(null)'
SELECT NULL, ''::text, 'ü€😀', E'\\\\x00ff'::bytea, 1e300::float8, 'nan'::float4, '1 day'::interval, '{"a": 1}'::jsonb;
\\pset format csv
SELECT id, name FROM t.item WHERE id < 4;
\\pset format html
SELECT 1 AS "<a>";
\\pset format aligned
SELECT;
SELECT 1 \\; SELECT 2 \\; SELECT 3;
SELECT repeat('x', 100000) AS long \\gset
SELECT length(:'long');
VALUES (1, 'a'), (2, 'b'), (3, NULL);
TABLE t.item LIMIT 2;
EXPLAIN (COSTS off) SELECT * FROM t.item WHERE id = 3;
SHOW server_version_num;
""",
    "backslash commands": """
\\d
\\d t.item
\\d+ t.item
\\dt t.*
\\dn
\\du app
\\df pg_catalog.abs
\\dT+ pg_catalog.int4
\\dp t.item
\\dx
\\db
\\dv
\\di t.*
\\ds
\\l app
\\sf pg_catalog.age(timestamptz)
\\encoding
SELECT 1 AS a, 'b'::text AS b, now() AS c \\gdesc
SELECT id, name FROM t.item WHERE id = 1 \\gx
SELECT 1 AS r, 2 AS c, 3 AS v \\crosstabview
SELECT format('SELECT %s AS n', g) FROM generate_series(1, 3) g \\gexec
""",
    "variables and conditions": """
\\set id 7
\\set name 'item 7'
\\set tab item
SELECT id, name FROM t.:"tab" WHERE id = :id AND name = :'name';
SELECT count(*) AS n, max(name) AS last FROM t.item \\gset
\\echo :n :last
SELECT :n > 20 AS many \\gset
\\if :many
\\echo many
\\else
\\echo few
\\endif
\\echo :ROW_COUNT :SQLSTATE :ERROR :LAST_ERROR_SQLSTATE :SERVER_VERSION_NUM
SELECT 1/0;
\\echo :ROW_COUNT :SQLSTATE :ERROR :LAST_ERROR_SQLSTATE :LAST_ERROR_MESSAGE
\\errverbose
""",
    "errors and recovery": """
\\set VERBOSITY verbose
SELECT * FROM t.missing;
SELECT id, nmae FROM t.item;
SELEKT 1;
SELECT 'a'::int;
INSERT INTO t.item (id, name) VALUES (1, 'twice');
BEGIN;
INSERT INTO t.item (id, name) VALUES (100, NULL);
SELECT 1;
ROLLBACK;
\\set ON_ERROR_ROLLBACK on
BEGIN;
INSERT INTO t.item (id, name) VALUES (100, 'ok');
INSERT INTO t.item (id, name) VALUES (100, 'not ok');
INSERT INTO t.item (id, name) VALUES (101, 'ok');
COMMIT;
SELECT count(*) FROM t.item;
\\set AUTOCOMMIT off
DELETE FROM t.item;
ROLLBACK;
\\set AUTOCOMMIT on
SELECT count(*) FROM t.item;
DO $$ BEGIN RAISE EXCEPTION 'own %', 'error' USING ERRCODE = 'P0042', DETAIL = 'd', HINT = 'h', COLUMN = 'c', TABLE = 't'; END $$;
DO $$ BEGIN RAISE NOTICE 'notice'; RAISE WARNING 'warning'; RAISE INFO 'info'; RAISE DEBUG 'debug'; END $$;
SELECT 1 \\; SELECT 1/0 \\; SELECT 2;
""",
    "copy": """
CREATE TABLE t.copied (LIKE t.item);
\\copy t.item (id, name) to 'FOLDER/out.csv' csv header
\\copy t.copied (id, name) from 'FOLDER/out.csv' csv header
\\copy (select id, name from t.copied where id < 4 order by id) to stdout
\\copy t.item to 'FOLDER/out.bin' binary
TRUNCATE t.copied;
\\copy t.copied from 'FOLDER/out.bin' binary
SELECT count(*), sum(price) FROM t.copied;
COPY t.copied (id, name) FROM STDIN;
1000\tfrom stdin
1001\t\\N
\\.
COPY t.copied (id, name) FROM STDIN;
1000\tfrom stdin
1001\ttab\\tand ü
\\.
COPY (SELECT id, name FROM t.copied WHERE id >= 1000 ORDER BY id) TO STDOUT WITH (FORMAT csv, FORCE_QUOTE *);
COPY t.copied (id, name) FROM STDIN;
not a number\tx
\\.
SELECT count(*) FROM t.copied;
COPY t.missing FROM STDIN;
\\.
SELECT 1;
\\copy t.missing from 'FOLDER/out.csv'
SELECT count(*) FROM t.copied;
""",
    "FETCH_COUNT and cursors": """
\\set FETCH_COUNT 4
SELECT id, name FROM t.item ORDER BY id;
SELECT 1/(13 - id) FROM t.item ORDER BY id;
\\unset FETCH_COUNT
BEGIN;
DECLARE c SCROLL CURSOR WITH HOLD FOR SELECT id FROM t.item ORDER BY id;
FETCH 3 FROM c; MOVE 5 FROM c; FETCH BACKWARD 2 FROM c; FETCH ALL FROM c;
COMMIT;
FETCH FIRST FROM c;
CLOSE c;
FETCH 1 FROM c;
""",
    "prepared statements and settings": """
PREPARE p (int, text) AS SELECT id, name FROM t.item WHERE id = $1 OR name = $2 ORDER BY id;
EXECUTE p (3, 'item 5');
EXECUTE p ('x', 'item 5');
DEALLOCATE p;
EXECUTE p (3, 'item 5');
SET standard_conforming_strings = off; SELECT 'a\\\\b'; RESET standard_conforming_strings;
SET client_encoding = 'LATIN1'; SELECT 'x'; SET client_encoding = 'UTF8';
SET datestyle = 'German'; SELECT '2024-02-29'::date; RESET datestyle;
SET timezone = 'Asia/Tokyo'; SELECT at FROM t.item WHERE id = 1;
BEGIN; SET LOCAL timezone = 'UTC'; SHOW timezone; ROLLBACK; SHOW timezone;
DISCARD ALL;
SHOW timezone;
SELECT current_user, session_user, current_database();
""",
    "functions, procedures, triggers": """
CREATE FUNCTION t.f(a int, OUT b int, OUT c text) RETURNS SETOF record LANGUAGE plpgsql AS $$ BEGIN FOR i IN 1..a LOOP b := i; c := 'x' || i; RETURN NEXT; END LOOP; END $$;
SELECT * FROM t.f(3);
CREATE PROCEDURE t.p(INOUT a int) LANGUAGE plpgsql AS $$ BEGIN a := a + 1; COMMIT; END $$;
CALL t.p(41);
CREATE FUNCTION t.g() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'trigger %', NEW.id; RETURN NEW; END $$;
CREATE TRIGGER g BEFORE INSERT ON t.item FOR EACH ROW EXECUTE FUNCTION t.g();
INSERT INTO t.item (id, name) VALUES (200, 'a'), (201, 'b') RETURNING id, at;
DO $do$ BEGIN PERFORM 1; END $do$;
CREATE FUNCTION t.atomic(x int) RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT x + 1; SELECT x + 2; END;
SELECT t.atomic(1);
LISTEN quiet; UNLISTEN *;
SELECT lo_from_bytea(4711, 'abc') ; SELECT lo_get(4711); SELECT lo_unlink(4711);
""",
}


def masked(text):
    text = re.sub(r"\bPID \d+", "PID n", text)
    text = re.sub(r"port \"?\d+\"?", "port n", text)
    return re.sub(r"process \d+", "process n", text)


def run_script(endpoint, script, folder, *args):
    done = endpoint.psql("-f", "-", *args, stdin=script.replace("FOLDER", folder))
    return masked(done.stdout), masked(done.stderr), done.returncode


def compare(c, folder, script, *args):
    direct = run_script(c.direct, MAKE + script + DROP, folder, *args)
    proxied = run_script(c.proxy, MAKE + script + DROP, folder, *args)
    for what, a, b in zip(("standard output", "standard error", "exit code"), proxied, direct):
        if a != b:
            lines = zip(str(a).splitlines() + ["(end)"], str(b).splitlines() + ["(end)"])
            first = next(((x, y) for x, y in lines if x != y), (a, b))
            raise AssertionError(f"{what} differs: {first[0]!r} instead of {first[1]!r}")
    if not direct[0].strip():
        raise AssertionError("the script printed nothing: " + direct[1])


def on_error_stop(c):
    for endpoint in (c.direct, c.proxy):
        done = endpoint.psql("-v", "ON_ERROR_STOP=1", "-At", "-f", "-", stdin="SELECT 1;\nSELECT 1/0;\nSELECT 2;\n")
        equal((done.stdout, done.returncode), ("1\n", 3), "psql -v ON_ERROR_STOP=1")
        done = endpoint.psql("-c", "SELECT nonsense")
        equal(done.returncode, 1, "psql -c")
        done = endpoint.psql("-1", "-v", "ON_ERROR_STOP=1", "-f", "-",
                             stdin="CREATE TABLE single (a int);\nSELECT 1/0;\n")
        equal(done.returncode, 3, "psql -1")
        equal(endpoint.sql("SELECT to_regclass('single') IS NULL"), "t", "psql -1 rolls back")


class Interactive:
    """psql at a terminal: only there it goes on after Ctrl-C."""

    def __init__(self, endpoint, **env):
        self.master, slave = pty.openpty()
        self.text = ""
        self.psql = subprocess.Popen(["psql", "-XAtqn", "-P", "pager=off"], stdin=slave, stdout=slave, stderr=slave,
                                     env=endpoint.env(**env), start_new_session=True)
        os.close(slave)

    def write(self, line):
        os.write(self.master, line.encode() + b"\n")

    def has(self, words):
        while select.select([self.master], [], [], 0)[0]:
            try:
                self.text += os.read(self.master, 65536).decode()
            except OSError:  # the other side is closed
                break
        return words in self.text

    def expect(self, words):
        try:
            wait_until(lambda: self.has(words), f"psql prints {words!r}")
        except TimeoutError as e:
            raise AssertionError(f"{e}; it printed {self.text!r}") from None

    def close(self):
        self.write("\\q")
        try:
            return self.psql.wait(20)
        finally:
            self.psql.kill()
            os.close(self.master)


def cancel(c, before, statement):
    psql = Interactive(c.proxy)
    psql.write(before + "SELECT 'ready ' || 1;")
    psql.expect("ready 1")
    psql.write(statement)
    wait_until(lambda: c.direct.sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'",
                                    user="postgres") == "1", "the statement runs")
    psql.psql.send_signal(signal.SIGINT)
    psql.expect("canceling statement due to user request")
    psql.write("ROLLBACK; SELECT 'alive ' || 1;")
    psql.expect("alive 1")
    equal(psql.close(), 0, "exit code")


def reconnect(c):
    out = c.proxy.psql("-At", "-f", "-", stdin="SELECT 1;\n\\c\nSELECT 2;\n\\c postgres\nSELECT current_database();\n"
                       "\\c missing\nSELECT current_database();\n\\c app app\nSELECT 3;\n")
    rows = [line for line in out.stdout.splitlines() if not line.startswith("You are now")]
    equal(rows[:3], ["1", "2", "postgres"], "\\c")
    if 'database "missing" does not exist' not in out.stderr:
        raise AssertionError(out.stderr)


def wrong_logins(c):
    for where in ({"user": "nobody"}, {"user": "app", "PGPASSWORD": "wrong"}, {"dbname": "nothing"}):
        direct = c.direct.psql("-c", "SELECT 1", **where)
        proxied = c.proxy.psql("-c", "SELECT 1", **where)
        equal(masked(proxied.stderr), masked(direct.stderr), f"login as {where}")
        equal(proxied.returncode, 2, "exit code")


def notifications(c):
    listener = Interactive(c.proxy)
    listener.write("LISTEN news; SELECT 'ready ' || 1;")
    listener.expect("ready 1")
    c.proxy.sql("NOTIFY news, 'first'; NOTIFY news, 'second'")
    listener.write("SELECT 'then ' || 1;")  # psql looks for notifications after a command
    listener.expect('Asynchronous notification "news" with payload "first"')
    listener.expect('Asynchronous notification "news" with payload "second"')
    equal(listener.close(), 0, "exit code")


def large_objects(c, folder):
    """psql uses FunctionCall messages for \\lo_import and \\lo_export."""
    data = bytes(range(256)) * 4096
    path = os.path.join(folder, "lo")
    for endpoint in (c.direct, c.proxy):
        with open(path, "wb") as f:
            f.write(data)
        out = endpoint.psql("-At", "-f", "-", check=True,
                            stdin=f"\\lo_import '{path}'\n\\lo_export :LASTOID '{path}.out'\n\\lo_unlink :LASTOID\n")
        if not out.stdout.startswith("lo_import"):
            raise AssertionError(out.stdout + out.stderr)
        with open(path + ".out", "rb") as f:
            equal(f.read() == data, True, "the large object came back")


def dump(c):
    def texts(endpoint):
        done = subprocess.run(["pg_dump", "--no-owner", "-n", "t"], env=endpoint.env(), check=True,
                              capture_output=True, text=True)
        return re.sub(r"(?m)^\\(un)?restrict .*$", "", done.stdout)  # a random word each time
    c.direct.sql(MAKE)
    try:
        direct, proxied = texts(c.direct), texts(c.proxy)
        equal(proxied == direct, True, "pg_dump prints the same")
        c.proxy.sql("DROP SCHEMA t CASCADE")
        done = c.proxy.psql("-q", "-v", "ON_ERROR_STOP=1", "-f", "-", stdin=proxied)
        equal(done.returncode, 0, done.stderr)
        equal(c.proxy.sql("SELECT count(*) FROM t.item"), "25", "rows restored")
    finally:
        c.direct.sql("DROP SCHEMA IF EXISTS t CASCADE")


def main():
    s = Scenarios("psql")
    with Cluster() as c, tempfile.TemporaryDirectory() as folder:
        c.start_proxy("proxy")
        for name, script in SCRIPTS.items():
            s.run(name, compare, c, folder, script)
        s.run("one statement a transaction, echoed", compare, c, folder, SCRIPTS["copy"], "-e")
        s.run("exit codes and ON_ERROR_STOP", on_error_stop, c)
        s.run("cancel by SIGINT", cancel, c, "", "SELECT pg_sleep(60);")
        s.run("cancel by SIGINT in a transaction", cancel, c, "BEGIN;", "SELECT pg_sleep(60);")
        s.run("cancel by SIGINT with FETCH_COUNT", cancel, c, "\\set FETCH_COUNT 1\n", "SELECT i, pg_sleep(60) FROM generate_series(1, 2) i;")
        s.run("reconnecting", reconnect, c)
        s.run("refused logins", wrong_logins, c)
        s.run("notifications", notifications, c)
        s.run("large objects", large_objects, c, folder)
        s.run("pg_dump and restore", dump, c)
    return s.finish()


if __name__ == "__main__":
    sys.exit(main())
