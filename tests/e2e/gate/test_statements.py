"""The gate at a real server: vendor names in every place of a statement, the statements of the DWS manual
on servers and foreign tables with their command tags, and names that are somebody else's.
"""
import sys

from cluster import Cluster, Scenarios, equal

# Through pgveneer as they stand; directly with pgveneer. in the place of each «.
CALLS = """
SELECT «pg_task_pause('nosuch')
SELECT task_id FROM «pg_task_show('SQLonHudi') WHERE task_id <> ''
SELECT count(*) FROM «"pg_task_show"('SQLonHudi') s JOIN «hudi_sync_state_history_view h USING (task_id)
WITH a AS (SELECT * FROM «PG_TASK_SHOW('SQLonHudi')) SELECT count(*) FROM a, LATERAL «pg_task_show('SQLonHudi') b
TABLE «hudi_sync_state_history_view
SELECT * FROM ONLY («hudi_sync_state_history_view), t
SELECT 1 AS "from", x FROM t x WHERE EXISTS (SELECT FROM «hudi_sync_state_history_view WHERE latest_sync_count = x.a)
SELECT a, (SELECT count(*) FROM «pg_task_show('SQLonHudi') WHERE task_rank = t.a) FROM t ORDER BY 1
(SELECT task_id FROM «pg_task_show('SQLonHudi')) UNION ALL (SELECT task_id FROM «hudi_sync_state_history_view) ORDER BY 1
INSERT INTO t SELECT 7 FROM «hudi_sync_state_history_view RETURNING a
UPDATE t SET a = 7 FROM «pg_task_show('SQLonHudi') s WHERE t.a = s.task_rank RETURNING t.a
DELETE FROM t USING «hudi_sync_state_history_view h WHERE t.a = h.latest_sync_count RETURNING t.a
EXPLAIN (COSTS off) SELECT * FROM «pg_task_show('SQLonHudi')
COPY (SELECT count(*) FROM «pg_task_show('SQLonHudi')) TO STDOUT
PREPARE p (text) AS SELECT count(*) FROM «pg_task_show($1)\\; EXECUTE p ('SQLonHudi')\\; DEALLOCATE p
BEGIN\\; DECLARE c CURSOR FOR SELECT count(*) FROM «pg_task_show('SQLonHudi')\\; FETCH ALL FROM c\\; COMMIT
CREATE VIEW v AS SELECT task_id FROM «hudi_sync_state_history_view\\; SELECT count(*) FROM v\\; DROP VIEW v
CREATE FUNCTION f() RETURNS bigint BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; SELECT count(*) FROM «pg_task_show('SQLonHudi'); END\\; SELECT f()\\; DROP FUNCTION f
SELECT 'pg_task_show(1)', E'\\'pg_task_show(1)', $$pg_task_show(1)$$, 'hudi' AS pg_task_show /* pg_task_show(1) */
SELECT «pg_task_show('no such category')
SELECT 'ü', a, nosuch, «pg_task_pause('x') FROM t
SELECT «pg_task_pause('x'), nosuch FROM t
SELECT «pg_task_pause('x', 'y')
SELECT 1\\; SELECT «pg_task_pause('x') FROM nosuch
""".strip().split("\n")

# (statement, what psql says: the tag, or the error's first line)
LIFE = [
    ("CREATE SERVER s FOREIGN DATA WRAPPER DFS_FDW OPTIONS (address 'h', access_key 'AK', "
     "secret_access_key 'geheim''\\', type 'obs')", "CREATE SERVER"),
    ("CREATE SERVER s FOREIGN DATA WRAPPER dfs_fdw", 'ERROR:  server "s" already exists'),
    ("CREATE SERVER IF NOT EXISTS s FOREIGN DATA WRAPPER dfs_fdw", "CREATE SERVER"),
    ("CREATE SERVER l FOREIGN DATA WRAPPER hdfs_fdw OPTIONS (type 'local')", "CREATE SERVER"),
    ("ALTER SERVER s OPTIONS (SET address 'i', SET secret_access_key 'noch geheimer')", "ALTER SERVER"),
    ("GRANT USAGE ON FOREIGN SERVER s, l TO service", "GRANT"),
    ("REVOKE USAGE ON FOREIGN SERVER s FROM service", "REVOKE"),
    ("ALTER USER app USEFT", "ALTER ROLE"),
    ("CREATE USER MAPPING FOR app SERVER s OPTIONS (password 'geheim')", "CREATE USER MAPPING"),
    ("ALTER USER MAPPING FOR app SERVER s OPTIONS (SET password 'geheim')", "ALTER USER MAPPING"),
    ("DROP USER MAPPING FOR app SERVER s", "DROP USER MAPPING"),
    ("CREATE FOREIGN TABLE ft (_hoodie_commit_time text, id int NOT NULL, \"V\" numeric ( 10 , 2 ),\n"
     " t timestamp(3) with time zone, c text COLLATE \"C\", PRIMARY KEY (id) NOT ENFORCED) SERVER l\n"
     " OPTIONS (foldername '/x/', format 'hudi', encoding 'utf-8') READ ONLY DISTRIBUTE BY ROUNDROBIN",
     "CREATE FOREIGN TABLE"),
    ("CREATE FOREIGN TABLE ft2 (a int) SERVER l OPTIONS (foldername '/x/', format 'hudi')",
     "CREATE FOREIGN TABLE"),
    ("ALTER FOREIGN TABLE ft2 OPTIONS (SET foldername '/y/')", "ALTER FOREIGN TABLE"),
    ("ALTER FOREIGN TABLE ft2 RENAME TO ft3", "ALTER FOREIGN TABLE"),
    ("DROP FOREIGN TABLE ft, ft3", "DROP FOREIGN TABLE"),
    ("CREATE SERVER b FOREIGN DATA WRAPPER dfs_fdw OPTIONS (type 'local')\\; CREATE FOREIGN TABLE t2 (a int) "
     "SERVER b OPTIONS (foldername '/x/', format 'hudi')\\; ALTER FOREIGN TABLE t2 RENAME TO t3\\; "
     "DROP FOREIGN TABLE t3\\; DROP SERVER b",
     "CREATE SERVER\nCREATE FOREIGN TABLE\nALTER FOREIGN TABLE\nDROP FOREIGN TABLE\nDROP SERVER"),
    ("DROP SERVER s, l CASCADE", "DROP SERVER"),
    ("CREATE SERVER s FOREIGN DATA WRAPPER dfs_fdw OPTIONS (secret_access_key = 'geheim')",
     'ERROR:  syntax error at or near "="'),
    # the server's own
    ("DROP SERVER nosuch", 'ERROR:  server "nosuch" does not exist'),
    ("DROP FOREIGN TABLE IF EXISTS nosuch", "DROP FOREIGN TABLE"),
    ("CREATE SERVER s FOREIGN DATA WRAPPER nosuch",
     'ERROR:  foreign-data wrapper "nosuch" does not exist'),
    ("ALTER USER app CREATEDB USEFT", 'ERROR:  unrecognized role option "useft"'),
]

# Servers of a real wrapper, in a database without support schema.
STOCK = """
CREATE SERVER p FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host 'x');
CREATE FOREIGN TABLE ft (a int DEFAULT 1) SERVER p OPTIONS (table_name 'y');
ALTER FOREIGN TABLE ft OPTIONS (SET table_name 'x'), ADD COLUMN b int;
ALTER FOREIGN TABLE ft RENAME TO ft2;
CREATE USER MAPPING FOR app SERVER p OPTIONS (password 'x') \\; CREATE USER MAPPING FOR PUBLIC SERVER p OPTIONS (password 'x');
GRANT USAGE ON FOREIGN SERVER p TO service;
ALTER SERVER p OPTIONS (SET host 'y');
DROP FOREIGN TABLE ft2;
DROP SERVER p CASCADE;
"""

OWN = """
CREATE SCHEMA own; SET search_path = own, public;
CREATE TABLE hudi_sync_state_history_view (pg_task_show int);
INSERT INTO hudi_sync_state_history_view VALUES (41);
UPDATE hudi_sync_state_history_view SET pg_task_show = pg_task_show + 1;
CREATE FUNCTION pg_task_show(text) RETURNS text LANGUAGE sql AS 'SELECT $1';
COMMENT ON FUNCTION pg_task_show(text) IS 'own';
SELECT h.pg_task_show, own.pg_task_show('a') AS pg_task_show FROM own.hudi_sync_state_history_view h;
SELECT pg_task_show FROM hudi_sync_state_history_view;
SELECT pg_task_show('mine');
WITH pg_task_show (a) AS (SELECT 1) SELECT * FROM pg_task_show;
SELECT * FROM generate_series(1, 1) pg_task_show (a);
DROP FUNCTION pg_task_show(text);
DROP TABLE hudi_sync_state_history_view;
DROP SCHEMA own;
"""


def said(endpoint, text):
    """What psql prints for the statement, notices left out."""
    done = endpoint.psql("-At", "-v", "VERBOSITY=verbose", stdin=text + ";\n")
    lines = [x for x in done.stderr.split("\n") if not x.startswith("LOCATION:")]
    return done.stdout, "\n".join(lines)


def first_line(endpoint, text):
    done = endpoint.psql("-At", stdin=text + ";\n")
    errors = [x for x in done.stderr.split("\n") if x.startswith("ERROR:")]
    return errors[0] if errors else done.stdout.strip("\n")


def main():
    s = Scenarios("gate")
    with Cluster(settings={"log_statement": "all", "log_min_error_statement": "error"}) as c:
        c.start_proxy()
        c.proxy.sql("SELECT count(*) FROM pg_task_show('SQLonHudi')")  # installs the support schema
        c.proxy.sql("CREATE TABLE t (a int); INSERT INTO t VALUES (1), (2)")

        def call(marked):
            """The same rows, and the same error at the same place of the client's own text."""
            out, err = said(c.proxy, marked.replace("«", ""))
            want_out, want_err = said(c.direct, marked.replace("«", "pgveneer."))
            equal(out, want_out)
            equal(err.split("\n")[0], want_err.split("\n")[0])  # contexts inside our functions do not show
            if "LINE" in want_err:  # the caret stands under the same character
                ours, theirs = ([x for x in e.split("\n") if x.startswith("LINE") or x.lstrip() == "^"]
                                for e in (err, want_err))
                equal(ours[0][ours[1].index("^"):][:6].strip("\""), theirs[0][theirs[1].index("^"):]
                      .replace("pgveneer.", "")[:6].strip("\""), marked)

        for marked in CALLS:
            s.run(marked, call, marked)
        for statement, answer in LIFE:
            s.run(statement.split("\n")[0],
                  lambda t, a: equal(first_line(c.proxy, t), a), statement, answer)

        @s.scenario("a vendor's name that is the user's own")
        def _():
            equal(c.proxy.psql("-At", "-v", "ON_ERROR_STOP=1", stdin=OWN, check=True).stdout,
                  c.direct.psql("-At", "-v", "ON_ERROR_STOP=1", stdin=OWN, check=True).stdout)

        @s.scenario("servers of somebody else's, without support schema")
        def _():
            c.direct.sql("CREATE DATABASE stock OWNER app", user="postgres")
            c.direct.sql("CREATE EXTENSION postgres_fdw; GRANT USAGE ON FOREIGN DATA WRAPPER postgres_fdw TO app",
                         user="postgres", dbname="stock")
            got, want = (e.psql("-At", stdin=STOCK, dbname="stock", check=True) for e in (c.proxy, c.direct))
            equal((got.stdout, got.stderr), (want.stdout, want.stderr))
            equal(c.direct.sql("SELECT to_regnamespace('pgveneer') IS NULL", dbname="stock"), "t")

        @s.scenario("no secret in the server's log")
        def _():
            log = c.postgres.process.text()
            assert "create_server" in log, "statements are logged"
            assert "geheim" not in log, [x for x in log.split("\n") if "geheim" in x][:3]

    sys.exit(s.finish())


if __name__ == "__main__":
    main()
