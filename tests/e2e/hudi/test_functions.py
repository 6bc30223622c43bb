"""Functions that need the store, through pgveneer: hudi_sync, hudi_sync_custom, hudi_get_options,
hudi_get_max_commit, hudi_get_commit, pg_show_custom_settings. How they ask: without a proxy, in a
snapshot that is too old, with cancels, timeouts and clients that go away, with messages by hand."""
import os
import signal
import subprocess
import sys
import time

from cluster import Scenarios, SqlError, equal, wait_until
from engine import children, phase
from hudi_sync import Hudi, duckdb_library

COLUMNS = [("id", "integer"), ("v", "text"), ("ts", "bigint")]
OPEN = "SELECT count(*) FROM pgveneer.task WHERE category = 'HudiRequest' AND asker IS NOT NULL"
s = Scenarios("functions")


def rows(first, last, tag):
    return f"SELECT i::INTEGER AS id, '{tag}' || i AS v, i::BIGINT AS ts FROM range({first}, {last}) t(i)"


def told(h, text, **more):
    """(rows, stderr) of psql through the proxy."""
    done = h.cluster.proxy.psql("-At", "-v", "ON_ERROR_STOP=1", "-c", text, **more)
    if done.returncode != 0:
        raise SqlError(done.stderr)
    return done.stdout.strip("\n"), done.stderr.strip()


def error(h, text, state, **where):
    e = h.cluster.proxy.sql_error(text, **where)
    equal(e.sqlstate, state, str(e))
    return str(e)


def make(h):
    first = h.writer("create", "t", "--key", "id", "--ordering", "ts", "--sql", rows(0, 5, "a"))
    h.foreign_table("ft", "t", COLUMNS)
    h.sql("CREATE TABLE public.target (id integer PRIMARY KEY, v text, ts bigint)")
    second = h.writer("upsert", "t", "--sql", rows(4, 7, "b"))
    h.sql("CREATE ROLE bob LOGIN PASSWORD 'bob'", user="postgres")
    return [first, second]


def information(h, sql, commits):
    @s.scenario("hudi_get_options: as the file has them")
    def _():
        got = dict(line.split("|", 1) for line in sql("SELECT * FROM hudi_get_options('ft')").split("\n"))
        lines = (h.folder / "t/.hoodie/hoodie.properties").read_text().split("\n")
        equal(got, dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#")))
        equal(sql("SELECT value FROM pg_catalog.hudi_get_options('public.ft') WHERE key = 'hoodie.table.type'"),
              "COPY_ON_WRITE")
        with open(h.folder / "t/.hoodie/hoodie.properties", "a") as f:
            f.write("some.url=obs\\://bucket\\=x\n")
        equal(sql("SELECT value FROM hudi_get_options('ft') WHERE key = 'some.url'"), "obs\\://bucket\\=x")

    @s.scenario("hudi_get_max_commit, hudi_get_commit")
    def _():
        equal(sql("SELECT max_commit FROM hudi_get_max_commit('ft')"), commits[-1])
        equal(sql("SELECT abs(extract(epoch FROM now() - write_time)) < 600 FROM hudi_get_max_commit('ft')"), "t")
        equal(sql(f"SELECT end_commit FROM hudi_get_commit('ft', '{commits[0]}', 1)"), commits[1])
        equal(sql(f"SELECT end_commit FROM hudi_get_commit('ft', '{commits[0]}', 9)"), commits[1])
        equal(sql(f"SELECT end_commit FROM hudi_get_commit('ft', '{commits[1]}', 1)"), commits[1])
        equal(sql("SELECT end_commit FROM hudi_get_commit('ft', '', 1)"), commits[0])
        equal(sql("SELECT end_commit FROM hudi_get_commit('ft', '20000101000000', 2)"), commits[1])
        error(h, "SELECT hudi_get_commit('ft', 'x', 1)", "22007")
        error(h, f"SELECT hudi_get_commit('ft', '{commits[0]}', 0)", "22023")

    @s.scenario("a commit that comes is seen at the next call; a table without commits has none")
    def _():
        commits.append(h.writer("upsert", "t", "--sql", rows(6, 8, "c")))
        equal(sql("SELECT max_commit FROM hudi_get_max_commit('ft')"), commits[-1])
        h.writer("create", "empty", "--key", "id", "--ordering", "ts")
        h.foreign_table("fe", "empty", COLUMNS)
        equal(sql("SELECT max_commit IS NULL AND write_time IS NULL FROM hudi_get_max_commit('fe')"), "t")

    @s.scenario("in any statement: joins, CTEs, PL/pgSQL, prepared, in a transaction, a view")
    def _():
        equal(sql("""WITH o AS (SELECT * FROM hudi_get_options('ft')) SELECT count(*) FROM o
                     JOIN hudi_get_max_commit('ft') m ON m.max_commit IS NOT NULL WHERE o.key LIKE 'hoodie.table.%'"""),
              sql("SELECT count(*) FROM hudi_get_options('ft') WHERE key LIKE 'hoodie.table.%'"))
        sql("CREATE FUNCTION public.newest() RETURNS text LANGUAGE plpgsql AS "
            "$$BEGIN RETURN (SELECT max_commit FROM pgveneer.hudi_get_max_commit('ft')); END$$")
        sql("CREATE VIEW public.newest_view AS SELECT * FROM hudi_get_max_commit('ft')")
        equal(sql("PREPARE p(regclass) AS SELECT max_commit FROM hudi_get_max_commit($1); BEGIN; SELECT 1;"
                  "EXECUTE p('ft'); SELECT (SELECT max_commit FROM newest_view) || ' ' || newest(); COMMIT"),
              f"1\n{commits[-1]}\n{commits[-1]} {commits[-1]}")

    @s.scenario("errors of the store, and of arguments")
    def _():
        h.foreign_table("nowhere", "nowhere", COLUMNS)
        error(h, "SELECT * FROM hudi_get_options('nowhere')", "58P01")
        error(h, "SELECT * FROM hudi_get_options('target')", "42809")
        error(h, "SELECT * FROM hudi_get_options('ft')", "42501", user="bob")
        (h.folder / "hollow").mkdir()
        h.open_up(h.folder / "hollow")
        h.foreign_table("hollow", "hollow", COLUMNS)
        error(h, "SELECT * FROM hudi_get_max_commit('hollow')", "42P01")


def synchronisation(h, sql, commits):
    @s.scenario("CALL hudi_sync: NOTICE and text of the manual, then what is new")
    def _():
        out, err = told(h, "CALL hudi_sync('public.target', 'public.ft')")
        equal((out, err), (f"sync 8 rows up to {commits[-1]}.", "NOTICE:  execute full sync"))
        equal(sql("SELECT string_agg(v, ',' ORDER BY id) FROM target"), "a0,a1,a2,a3,b4,b5,c6,c7")
        equal(told(h, "CALL pg_catalog.hudi_sync('target', 'ft')"), (f"sync 0 rows up to {commits[-1]}.", ""))
        commits.append(h.writer("delete", "t", "--keys-sql", "SELECT 0::INTEGER AS id"))
        equal(told(h, "SELECT hudi_sync('target', 'ft')"), (f"sync 1 rows up to {commits[-1]}.", ""))
        equal(sql("SELECT count(*) FROM target"), "7")

    @s.scenario("what is asked for shows in the history and in the sync state")
    def _():
        equal(sql("SELECT latest_sync_count, latest_commit FROM hudi_sync_state_history_view ORDER BY latest_sync_end"),
              f"8|{commits[-2]}\n1|{commits[-1]}")
        equal(sql("SELECT latest_commit FROM hudi_show_sync_state()"), commits[-1])

    @s.scenario("hudi_sync_custom: columns by name, and what pg_task_show prints is a call that works")
    def _():
        sql('CREATE TABLE public.other (key integer PRIMARY KEY, "The value" text, ts bigint)')
        out, _ = told(h, """CALL hudi_sync_custom('other', 'ft', '{"key" : "id", "The value" : "v", "ts": "ts"}')""")
        equal(out, f"sync 7 rows up to {commits[-1]}.")
        equal(sql("""SELECT hudi_sync_custom('other', 'ft', '{"key": "id", "The value": "v", "ts": "ts"}')"""),
              f"sync 0 rows up to {commits[-1]}.")
        for wrong, state in (("[1]", "22023"), ("{", "22023"), ('{"key": null}', "22023"),
                             ('{"key": "id", "ts": "id"}', "42701"), ('{"key": "id", "nix": "v"}', "42703"),
                             ('{"key": "id"}', "42P16")):
            error(h, f"SELECT hudi_sync_custom('other', 'ft', '{wrong}')", state)
        task = sql("SELECT hudi_sync_task_submit('other', 'ft', 'key, \"The value\", ts', 'id, v, ts')")
        what = sql("SELECT what FROM pg_task_show('SQLonHudi')")
        sql(f"SELECT pg_task_remove('{task}')")
        equal(sql(what), f"sync 0 rows up to {commits[-1]}.")

    @s.scenario("rights and rules as for a task")
    def _():
        sql("GRANT SELECT ON ft TO bob; CREATE TABLE nokey (id integer, v text, ts bigint)")
        error(h, "CALL hudi_sync('target', 'ft')", "42501", user="bob")
        sql("GRANT INSERT, UPDATE ON target TO bob; REVOKE SELECT ON ft FROM bob")
        error(h, "CALL hudi_sync('target', 'ft')", "42501", user="bob")
        sql("GRANT SELECT ON ft TO bob")
        equal(sql("CALL hudi_sync('target', 'ft')", user="bob"), f"sync 0 rows up to {commits[-1]}.")
        sql("REVOKE ALL ON ft, target FROM bob")
        error(h, "CALL hudi_sync('nokey', 'ft')", "42P16")
        error(h, "CALL hudi_sync('target', 'target')", "42809")
        sql("CREATE TABLE wrong (v text PRIMARY KEY, id integer, ts bigint)")
        error(h, "CALL hudi_sync('wrong', 'ft')", "42P16")

    @s.scenario("refused in a transaction block, or where the caller holds what the job would wait for")
    def _():
        for text in ("BEGIN; CALL hudi_sync('target', 'ft')", "BEGIN; SELECT hudi_sync('target', 'ft')",
                     "BEGIN; SELECT hudi_sync_custom('other', 'ft', '{\"key\": \"id\", \"ts\": \"ts\"}')",
                     "DO $$BEGIN DELETE FROM target WHERE id = 1; PERFORM pgveneer.hudi_sync('target', 'ft'); END$$",
                     "DO $$BEGIN LOCK TABLE target; PERFORM pgveneer.hudi_sync('target', 'ft'); END$$"):
            if "cannot run inside a transaction block" not in error(h, text, "25001"):
                raise AssertionError(text)
        for text in ("BEGIN; SELECT hudi_sync('target', 'ft')", "SELECT 1; SELECT hudi_sync('target', 'ft')"):
            done = h.cluster.proxy.psql("-v", "VERBOSITY=verbose", "-c", text)
            if "ERROR:  25001" not in done.stderr:
                raise AssertionError(f"in one query string: {text}: {done.stderr}")
        equal(sql("SELECT count(*) FROM target"), "7")


def asking(h, sql, commits):
    @s.scenario("without a proxy: a hint, at once")
    def _():
        start = time.monotonic()
        e = h.sql_error("SELECT * FROM pgveneer.hudi_get_options('ft')")
        equal(e.sqlstate, "55000", str(e))
        if "Connect through pgveneer" not in str(e) or time.monotonic() - start > 45:
            raise AssertionError(str(e))

    @s.scenario("snapshots that are older than the answer: 0A000")
    def _():
        for level in ("REPEATABLE READ", "SERIALIZABLE"):
            error(h, f"BEGIN ISOLATION LEVEL {level}; SELECT * FROM hudi_get_options('ft')", "0A000")
        equal(sql("BEGIN READ ONLY; SELECT max_commit FROM hudi_get_max_commit('ft'); COMMIT"), commits[-1])

    @s.scenario("hundreds of calls in one transaction leave no lock behind")
    def _():
        equal(sql("DO $$BEGIN FOR i IN 1..30 LOOP PERFORM pgveneer.hudi_get_max_commit('ft'); END LOOP; END$$;"
                  "BEGIN; SELECT count(*) FROM hudi_get_max_commit('ft');"
                  "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid(); COMMIT"), "1\n0")

    @s.scenario("answers are for the role that asked, and are swept up")
    def _():
        equal(h.sql("SELECT count(*) FROM pgveneer.request WHERE role <> 'bob'::regrole", user="bob"), "0")
        equal(h.sql("SELECT count(*) > 9 AND bool_and(role = 'app'::regrole) FROM pgveneer.request"), "t")
        wait_until(lambda: h.sql(OPEN, user="postgres") == "0", "no open request")


def held(h):
    """A lock that keeps a synchronisation of public.target waiting. Ends with the block."""
    class Held:
        def __enter__(self):
            self.psql = subprocess.Popen(["psql", "-Xqc", "BEGIN; LOCK TABLE public.target IN SHARE MODE",
                                          "-c", "SELECT pg_sleep(600)"], env=h.cluster.direct.env(),
                                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            wait_until(lambda: h.sql("SELECT count(*) FROM pg_locks WHERE relation = 'public.target'::regclass AND mode = "
                                     "'ShareLock' AND granted") == "1", "lock")

        def __exit__(self, *why):
            h.sql("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE relation = 'public.target'::regclass "
                  "AND mode = 'ShareLock'", user="postgres")
            self.psql.wait(30)
    return Held()


def is_waiting(h):
    return h.sql("SELECT count(*) FROM pg_locks WHERE relation = 'public.target'::regclass AND NOT granted",
                 user="postgres") != "0"


def endings(h, sql, commits):
    commits.append(h.writer("upsert", "t", "--sql", rows(20, 22, "d")))

    def ended():
        wait_until(lambda: h.sql(OPEN, user="postgres") == "0" and not is_waiting(h), "the job has ended")
        equal(sql("SELECT count(*) FROM target"), "7", "nothing was written")

    def psql(text):
        return subprocess.Popen(["psql", "-Xqc", text], env=h.cluster.proxy.env(), stderr=subprocess.PIPE, text=True)

    @s.scenario("a statement_timeout ends the job")
    def _():
        with held(h):
            error(h, "SET statement_timeout = '3s'; SELECT hudi_sync('target', 'ft')", "57014")
            ended()

    @s.scenario("a cancel of the client ends the job")
    def _():
        with held(h):
            p = psql("SELECT hudi_sync('target', 'ft')")
            wait_until(lambda: is_waiting(h), "the job waits")
            p.send_signal(signal.SIGINT)
            if "canceling statement due to user request" not in p.communicate(timeout=30)[1]:
                raise AssertionError("not canceled")
            ended()

    @s.scenario("a client that is killed ends the job and its server process")
    def _():
        with held(h):
            p = psql("SELECT hudi_sync('target', 'ft')")
            wait_until(lambda: is_waiting(h), "the job waits")
            p.kill()
            p.communicate()
            ended()
            wait_until(lambda: h.sql("SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%hudi_sync(%' AND "
                                     "pid <> pg_backend_pid()", user="postgres") == "0", "no server process")

    @s.scenario("a task that is paused or removed by hand ends who waits")
    def _():
        for end, want in (("pg_task_pause", "paused"), ("pg_task_remove", "removed")):
            with held(h):
                p = psql("SELECT hudi_sync('target', 'ft')")
                wait_until(lambda: is_waiting(h), "the job waits")
                sql(f"SELECT {end}(task_id) FROM pgveneer.task WHERE asker IS NOT NULL")
                got = p.communicate(timeout=30)[1]
                if want not in got:
                    raise AssertionError(got)
                ended()

    @s.scenario("a job that is killed is started again, and the caller gets the answer")
    def _():
        with held(h):
            p = subprocess.Popen(["psql", "-XAtqc", "SELECT hudi_sync('target', 'ft')"], env=h.cluster.proxy.env(),
                                 stdout=subprocess.PIPE, text=True)
            wait_until(lambda: is_waiting(h), "the job waits")
            for worker in children(h.cluster.children[0].process.pid):
                for job in children(worker):
                    if (phase(job) or "").startswith("pgv:"):
                        os.kill(job, signal.SIGKILL)
            wait_until(lambda: h.sql("SELECT max(crash_times) FROM pgveneer.task WHERE asker IS NOT NULL",
                                     user="postgres") == "1", "the crash was counted")
        equal(p.communicate(timeout=60)[0].strip(), f"sync 2 rows up to {commits[-1]}.")
        equal(sql("SELECT count(*) FROM target"), "9")


def by_hand(h, sql, commits):
    """Messages that somebody raises himself."""
    def raised(detail, user="bob"):
        quoted = detail.replace("'", "''")
        return told(h, f"DO $do$BEGIN RAISE INFO 'x' USING ERRCODE = 'PV001', DETAIL = '{quoted}'; END$do$", user=user)

    def count():
        return h.sql("SELECT (SELECT count(*) FROM pgveneer.request), (SELECT count(*) FROM pgveneer.task)", user="postgres")

    @s.scenario("malformed messages: swallowed or passed on, nothing happens, the session goes on")
    def _():
        before = count()
        for detail in ("x", "1.2.3", "10.e30=.00", "99999999999.e30=.00", "..", "0" * 8000, "A" * 9000, "spaces pass",
                       "ünïcode", "1." + "A" * 64 + "." + "f" * 64):
            raised(detail)
        equal(sql("SELECT 1", user="bob"), "1")
        equal(count(), before)

    @s.scenario("a role cannot speak for another: the key of each is its own")
    def _():
        equal(sql("SELECT count(*), bool_and(role = 'bob'::regrole) FROM pgveneer.ask_key", user="bob"), "1|t")
        error(h, "SELECT * FROM pgveneer.ask_secret", "42501", user="bob")
        for call in ("take_request('x', false)", "withdraw_request('x')", "open_message('x')", "answer_requests('x', '{}', '{}')",
                     "sweep_requests()"):
            error(h, f"SELECT pgveneer.{call}", "42501", user="bob")
        if sql("SELECT key FROM pgveneer.ask_key") == sql("SELECT key FROM pgveneer.ask_key", user="bob"):
            raise AssertionError("one key for all")

    @s.scenario("a well-sealed message does no more than the role may; another role's name breaks the seal")
    def _():
        # bob has no right on the foreign table; what he seals himself is refused, what he says in app's name too
        body = """translate(encode(convert_to(jsonb_build_object('id', i, 'category', 'HudiRequest', 'at',
            extract(epoch FROM clock_timestamp()), 'params', jsonb_build_object('kind', 'sync', 'ftable_oid', 'ft'::regclass::oid::bigint,
            'target_oid', 'target'::regclass::oid::bigint))::text, 'UTF8'), 'base64'), E'\\n', '')"""
        for role, want in (("bob", "1"), ("app", "0")):
            got = sql(f"""DO $do$DECLARE i text := pgveneer.new_task_id(); b text; k record;
                BEGIN SELECT * INTO k FROM pgveneer.ask_key;
                PERFORM pg_advisory_xact_lock_shared(pgveneer.asker_lock(i, 'HudiRequest', '{{}}'));
                b := {body};
                PERFORM set_config('test.id', i, false);
                RAISE INFO 'x' USING ERRCODE = 'PV001', DETAIL = concat_ws('.', '{role}'::regrole::oid, b, pgveneer.seal_message(k.key, b));
                FOR n IN 1..100 LOOP
                    EXIT WHEN EXISTS (SELECT FROM pgveneer.request WHERE request_id = i);
                    PERFORM pg_sleep(0.02);
                END LOOP; END$do$;
                SELECT current_setting('test.id')""", user="bob")
            answer = h.sql(f"SELECT count(*), max(error ->> 'sqlstate'), max(task_id) FROM pgveneer.request "
                           f"WHERE request_id = '{got}'", user="postgres")
            equal(answer, f"{want}|{'42501' if want == '1' else ''}|", role)
        equal(sql("SELECT count(*) FROM target"), "9")

    @s.scenario("what a sealed message may not name: tables with row security, rules, or of the system")
    def _():
        equal(h.sql("SELECT pgveneer.is_guarded_from('target'::regclass, 'bob'::regrole)", user="postgres"), "f")
        h.sql("ALTER TABLE target ENABLE ROW LEVEL SECURITY")
        equal(h.sql("SELECT pgveneer.is_guarded_from('target'::regclass, r::regrole) FROM unnest(ARRAY['bob', 'app', 'postgres']) r",
                    user="postgres"), "t\nf\nf")
        h.sql("ALTER TABLE target DISABLE ROW LEVEL SECURITY")
        equal(h.sql("SELECT bool_and(pgveneer.is_guarded_from(t, 'postgres'::regrole)) FROM unnest(ARRAY["
                    "'pg_class'::regclass, 'pgveneer.task', 'hudi.hudi_sync_state', 'ft']) t", user="postgres"), "t")

    @s.scenario("rows cannot be written by hand")
    def _():
        error(h, "INSERT INTO pgveneer.request (request_id, role) VALUES ('x', 'bob'::regrole)", "42501", user="bob")
        error(h, "INSERT INTO pgveneer.task (category, params, run_every) VALUES ('HudiRequest', '{}', NULL)", "42501",
              user="bob")
        error(h, "UPDATE pgveneer.task SET asker = 1", "42501", user="bob")


def settings(h, sql):
    @s.scenario("pg_show_custom_settings lists what the session set")
    def _():
        equal(sql("SELECT count(*) FROM pg_show_custom_settings()"), "0")
        got = sql("""SET hoodie.public.ft.consume.mode = 'incremental';
                     SET hoodie.public.ft.consume.start.timestamp = 20220913152131123;
                     SELECT name, setting, category, short_desc, context, vartype, source FROM pg_show_custom_settings();
                     RESET hoodie.public.ft.consume.mode;
                     SELECT name FROM pg_show_custom_settings()""")
        rest = "Customized Options|GUC placeholder variable|user|string|session"
        equal(got, f"hoodie.public.ft.consume.mode|incremental|{rest}\n"
                   f"hoodie.public.ft.consume.start.timestamp|20220913152131123|{rest}\n"
                   "hoodie.public.ft.consume.start.timestamp")


def main():
    with Hudi() as h:
        commits = make(h)
        h.cluster.start_proxy(duckdb_library=duckdb_library(), log_level="debug")
        sql = h.cluster.proxy.sql
        information(h, sql, commits)
        synchronisation(h, sql, commits)
        asking(h, sql, commits)
        endings(h, sql, commits)
        by_hand(h, sql, commits)
        settings(h, sql)
    return s.finish()


if __name__ == "__main__":
    sys.exit(main())
