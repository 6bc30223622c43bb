"""psql: each scenario is a script, what it saw is its output. See scenario.py."""
import os
import signal
import subprocess
import tempfile

from scenario import NotApplicable, main, until


def psql(script, *args, dsn="", **env):
    done = subprocess.run(["psql", "-X", "-v", "VERBOSITY=verbose", *args, dsn], input=script, text=True,
                          capture_output=True, timeout=120, env={**os.environ, **env})
    told = [line for line in done.stderr.splitlines() if not line.startswith(("LOCATION", "SCHEMA NAME:  pg_temp"))]
    return done.stdout + "\n".join(told)


def one(script):
    """A value, without the notices that psql would show."""
    return psql("SET client_min_messages = warning;\n" + script, "-Atq").strip()


def cancel():
    name = f"cancel {os.getpid()}"
    p = subprocess.Popen(["psql", "-X", "-c", "SELECT pg_sleep(60)"], text=True, stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, env={**os.environ, "PGAPPNAME": name})
    until(lambda: one(f"SELECT count(*) FROM pg_stat_activity WHERE application_name = '{name}' "
                      "AND wait_event = 'PgSleep'") == "1", "the statement sleeps")
    p.send_signal(signal.SIGINT)
    return p.communicate(timeout=60)[0]


def large_objects():
    with tempfile.NamedTemporaryFile() as source, tempfile.NamedTemporaryFile() as target:
        source.write(b"abc" * 10000)
        source.flush()
        out = psql(f"\\lo_import {source.name}\n\\lo_export :LASTOID {target.name}\n\\lo_unlink :LASTOID\n", "-q")
        return len(target.read()), "ERROR" in out


def no_pipeline():
    raise NotApplicable("psql waits for each answer")


def vendor_cursor():
    """psql cannot log in in the midst of a transaction of another psql, except by \\! with variables."""
    return psql("""BEGIN;
DECLARE c1 PARALLEL RETRIEVE CURSOR FOR SELECT * FROM generate_series(1, 10);
SELECT auth_token AS token, endpoint_name AS endpoint FROM gp_endpoints WHERE cursor_name = 'c1' \\gset
\\setenv PGPASSWORD :token
\\setenv PGOPTIONS '-c gp_session_role=retrieve'
\\setenv ENDPOINT :endpoint
\\! psql -X -c "RETRIEVE ALL FROM ENDPOINT $ENDPOINT"
CHECK PARALLEL RETRIEVE CURSOR c1 NOWAIT;
CLOSE c1;
COMMIT;
""")


def vendor_rebuild():
    query_id = one("DROP TABLE IF EXISTS matrix_rebuild; CREATE TABLE matrix_rebuild (id int PRIMARY KEY);\n"
                   "ASYNC REBUILD TABLE matrix_rebuild ADD COLUMN more text;").splitlines()[-1]
    until(lambda: one(f"SELECT status FROM hologres.rebuild_progress('{query_id}') WHERE step = 'swap'") == "done",
          "the table is rebuilt")
    return psql("\\d matrix_rebuild")


SCRIPTS = {
    "connect": ("\\conninfo\nSELECT current_setting('application_name'), current_setting('geqo'), current_user;\n"
                "\\echo :SERVER_VERSION_NUM :ENCODING\n",
                {"PGAPPNAME": "matrix", "PGOPTIONS": "-c geqo=off"}),
    "parameters": "SELECT $1::int + $2::int, $3::text \\bind 1 2 'x y' \\g\nSELECT :'v', :v \\set v 1\n"
                  "SELECT 1 AS a, 'text with ''quotes'' \\ ü€😀' AS b, NULL AS c, '\\x00ff'::bytea \\gx\n",
    "prepared": "PREPARE q(int) AS SELECT $1 + 1;\n" + "EXECUTE q(1);\n" * 8 + "DEALLOCATE q;\n",
    "portals": "\\set FETCH_COUNT 3\nSELECT i FROM generate_series(1, 10) i;\n",
    "batch": "CREATE TEMP TABLE b (id int);\nINSERT INTO b VALUES (1)\\; INSERT INTO b VALUES (2)\\; SELECT sum(id) FROM b;\n",
    "copy_in": "CREATE TEMP TABLE c (id int, name text);\n\\copy c FROM STDIN\n1\ta\n2\tb\n\\.\nSELECT * FROM c;\n"
               "COPY c FROM STDIN;\nnonsense\n\\.\nSELECT count(*) FROM c;\n",
    "copy_out": "COPY (SELECT i, 'x' || i FROM generate_series(1, 1000) i) TO STDOUT;\n",
    "timeout": "SET statement_timeout = 100;\nSELECT pg_sleep(60);\nSELECT 'alive';\n",
    "notices": "DO $$ BEGIN RAISE WARNING 'two' USING HINT = 'h', ERRCODE = '01234'; END $$;\n",
    "batch_error": "SELECT 1\\; SELECT 1/0\\; SELECT 2;\nSELECT 'alive';\n",
    "transaction": "BEGIN;\nCREATE TABLE t (id int);\nSELECT 1/0;\nSELECT 1;\nROLLBACK;\nSELECT to_regclass('t');\n",
    "savepoint": "\\set ON_ERROR_ROLLBACK on\nBEGIN;\nCREATE TEMP TABLE s (id int PRIMARY KEY);\nINSERT INTO s VALUES (1);\n"
                 "INSERT INTO s VALUES (1);\nINSERT INTO s VALUES (2);\nCOMMIT;\nTABLE s;\n",
    "large_value": "SELECT length(repeat('x', 20000000)), md5(repeat('x', 20000000));\n"
                   "SELECT repeat('x', 5000000) AS v \\gset\nSELECT length(:'v');\n",
    "vendor_task": "SELECT what, failure_times FROM pg_task_show('SQLonHudi');\n\\set ON_ERROR_STOP 0\n"
                   "SELECT pg_task_pause('no such task');\n\\df pg_task_show\n",
}


def script(text):
    return lambda: psql(text) if isinstance(text, str) else psql(text[0], **text[1]).replace(os.environ["PGPORT"], "")


def listen():
    return psql("LISTEN news;\nNOTIFY news, 'payload';\n").rpartition(" with PID")[0]


def binary():
    raise NotApplicable("psql has text results only")


if __name__ == "__main__":
    main({**{name: script(text) for name, text in SCRIPTS.items()}, "cancel": cancel, "listen": listen,
          "binary": binary, "pipeline": no_pipeline, "large_objects": large_objects,
          "vendor_cursor": vendor_cursor, "vendor_rebuild": vendor_rebuild})
