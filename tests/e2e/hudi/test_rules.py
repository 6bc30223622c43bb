"""The rules of the vendor's manual, one by one, through pgveneer and in the vendor's spelling: what
create_hudi_sync_table, hudi_set_sync_commit, hudi_sync_task_submit and pg_task_… refuse, with SQLSTATE
and words, and what they must not refuse. Rules that only the store can tell are seen at the first run."""
import sys

from cluster import Scenarios, equal
from hudi_sync import Hudi

COLUMNS = [("id", "integer"), ("part", "text"), ("v", "text"), ("ts", "bigint")]
TABLE = "(id integer PRIMARY KEY, part text, v text, ts bigint)"
s = Scenarios("rules")


class World:
    def __init__(self, h):
        self.h = h
        self.sql = h.cluster.proxy.sql
        h.writer("create", "t", "--key", "id", "--ordering", "ts", "--partition", "part", "--sql",
                 "SELECT i::INTEGER AS id, 'p' || i % 2 AS part, 'v' || i AS v, i::BIGINT AS ts FROM range(5) t(i)")
        h.foreign_table("ft", "t", COLUMNS)
        h.sql(f"CREATE TABLE target {TABLE}")
        h.sql("".join(f"CREATE ROLE {r} LOGIN PASSWORD '{r}';" for r in ("ann", "bob")) +
              "GRANT USAGE, CREATE ON SCHEMA public TO ann", user="postgres")

    def refuses(self, text, state, words="", user="app"):
        self.all_refused([(text, state, words)], user)

    def all_refused(self, cases, user="app"):
        """(statement, SQLSTATE, words of its message): each must fail so. In one session."""
        done = self.h.cluster.proxy.psql("-q", "-v", "VERBOSITY=verbose", "-f", "-", user=user, timeout=120, stdin="".join(
            f"\\warn <<<\n{text};\n" for text, *_ in cases))
        told = done.stderr.split("<<<\n")[1:]
        equal(len(told), len(cases), done.stderr)
        for (text, state, *words), error in zip(cases, told):
            if f"ERROR:  {state}:" not in error or any(w not in error for w in words):
                raise AssertionError(f"{text}: want {state} {words}, got {error.strip() or 'no error'}")

    def all_taken(self, texts, user="app"):
        """Each in a transaction that is rolled back."""
        self.sql("\n".join(f"BEGIN; {text}; ROLLBACK;" for text in texts), user=user, timeout=120)

    def submit(self, target, *more):
        args = "".join(f", '{m}'" for m in more)
        return self.sql(f"SELECT hudi_sync_task_submit('{target}', 'ft'{args})")

    def first_run(self, target, *more):
        """(state, last_log) after the first run of a task that is removed then."""
        task = self.submit(target, *more)
        self.h.run(task)
        state, _, log = self.h.outcome(task)
        self.sql(f"SELECT pg_task_remove('{task}')")
        return state, log


def sync_table(w):
    @s.scenario("create_hudi_sync_table: administrators only, once in a database; without it a hint")
    def _():
        w.sql("DROP TABLE hudi.hudi_sync_state", user="postgres")
        w.all_refused([(text, "42P01", "create_hudi_sync_table()") for text in (
            "SELECT hudi_sync_task_submit('target', 'ft')", "SELECT * FROM hudi_show_sync_state()",
            "SELECT hudi_set_sync_commit('target', 'ft', '20220913152131')", "CALL hudi_sync('target', 'ft')")])
        w.refuses("SELECT pg_catalog.create_hudi_sync_table()", "42501", "Only administrators", user="ann")
        w.sql("SELECT pg_catalog.create_hudi_sync_table()")
        w.refuses("SELECT pg_catalog.create_hudi_sync_table()", "42P07", "It is created once in a database")


def rights(w):
    @s.scenario("INSERT and UPDATE on the target, SELECT on the foreign table: each is needed, together they are enough")
    def _():
        calls = ("SELECT hudi_set_sync_commit('target', 'ft', '20220913152131')",
                 "SELECT hudi_sync_task_submit('target', 'ft')", "SELECT hudi_sync_task_submit('target', 'ft', 'id,v,ts', 'id,v,ts')",
                 "SELECT hudi_sync('target', 'ft')")
        for missing, granted in (("INSERT", "UPDATE ON target"), ("UPDATE", "INSERT ON target"), ("SELECT", "")):
            w.sql(f"GRANT INSERT, UPDATE ON target TO ann; GRANT SELECT ON ft TO ann; "
                  f"REVOKE {missing} ON {'ft' if missing == 'SELECT' else 'target'} FROM ann")
            w.all_refused([(text, "42501", "permission denied for") for text in calls], "ann")
        w.sql("GRANT INSERT, UPDATE ON target TO ann; GRANT SELECT ON ft TO ann")
        w.all_taken(calls[:3], "ann")
        w.sql("REVOKE ALL ON target, ft FROM ann")

    @s.scenario("rights that are lost later fail the run, and nothing is written")
    def _():
        w.sql("GRANT INSERT, UPDATE ON target TO ann; GRANT SELECT ON ft TO ann")
        task = w.sql("SELECT hudi_sync_task_submit('target', 'ft')", user="ann")
        w.sql("REVOKE UPDATE ON target FROM ann")
        w.h.run(task)
        state, failures, log = w.h.outcome(task)
        equal((state, failures, "42501" in log), ("active", 1, True), log)
        equal(w.sql("SELECT count(*) FROM target"), "0")
        w.sql(f"SELECT pg_task_remove('{task}')", user="ann")
        w.sql("REVOKE ALL ON target, ft FROM ann")

    @s.scenario("pg_task_…: the owner and administrators; unknown tasks; unknown categories")
    def _():
        task = w.submit("target")
        calls = ["SELECT pg_task_pause('ID')", "SELECT pg_task_resume('ID')", "SELECT pg_task_remove('ID')",
                 "SELECT pg_task_reset_interval('ID', '1 min')", "SELECT hudi_set_sync_commit('ID', '20220913152131')"]
        w.all_refused([(c.replace("ID", task), "42501", "permission denied for task") for c in calls], "ann")
        w.all_refused([(c.replace("ID", "64479410-a04c-0700-d150-3037d700fffe"), "42704", "does not exist") for c in calls])
        equal(w.sql("SELECT count(*) FROM pg_task_show('SQLonHudi')", user="ann"), "0")
        w.refuses("SELECT * FROM pg_task_show('Nothing')", "22023", "SQLonHudi")
        w.sql(f"SELECT pg_task_remove('{task}')", user="postgres")


def tables(w):
    @s.scenario("the target: an ordinary or partitioned table with a primary key and something besides")
    def _():
        w.sql("CREATE TABLE nokey (id integer, v text); CREATE TABLE onlykey (id integer, v text, PRIMARY KEY (id, v));"
              "CREATE TABLE late (id integer PRIMARY KEY DEFERRABLE, v text); CREATE VIEW seen AS SELECT * FROM target;"
              "CREATE TABLE other (id integer PRIMARY KEY, unknown text); CREATE MATERIALIZED VIEW kept AS SELECT 1 AS id;"
              "CREATE TABLE parted (id integer PRIMARY KEY, v text, ts bigint) PARTITION BY HASH (id);"
              "CREATE TABLE computed (id integer PRIMARY KEY, v text GENERATED ALWAYS AS ('x') STORED, ts bigint);"
              "CREATE TABLE always (id integer PRIMARY KEY, ts bigint GENERATED ALWAYS AS IDENTITY);"
              f"CREATE TABLE guarded {TABLE}; ALTER TABLE guarded ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;"
              f"CREATE TABLE ruled {TABLE}; CREATE RULE r AS ON DELETE TO ruled DO INSTEAD NOTHING")
        w.all_refused([(f"SELECT hudi_sync_task_submit('{target}', 'ft')", *want) for target, *want in (
                                     ("nokey", "42P16", "no primary key"), ("onlykey", "42P16", "only key columns"),
                                     ("late", "55000", "deferrable"), ("seen", "42809", "It is not a table"),
                                     ("kept", "42809", "It is not a table"), ("ft", "42809", "It is not a table"),
                                     ("other", "42703", '"unknown"'), ("always", "428C9", "GENERATED ALWAYS"),
                                     ("guarded", "0A000", "row-level security"), ("ruled", "0A000", "rules"),
                                     ("missing", "42P01", ""))])
        w.refuses("SELECT hudi_sync_task_submit('pg_catalog.pg_class', 'ft')", "42809", "system table", user="postgres")
        w.refuses("SELECT hudi_sync_task_submit('computed', 'ft', 'id,v', 'id,v')", "428C9", "generated column")
        w.all_taken([f"SELECT hudi_sync_task_submit('{target}', 'ft')"
                     for target in ("parted", "computed", "public.target", '"public"."target"')])
        w.refuses("CREATE TEMP TABLE mine (id int PRIMARY KEY, v text); SELECT hudi_sync_task_submit('mine', 'ft')", "42809",
                  "temporary table")

    @s.scenario("the source: a Hudi foreign table, which is read only")
    def _():
        for call in ("hudi_sync_task_submit('target', 'SOURCE')", "hudi_set_sync_commit('target', 'SOURCE', '20220913152131')"):
            w.all_refused([("SELECT " + call.replace("SOURCE", source), *want) for source, *want in (
                ("target", "42809", "not a Hudi foreign table"), ("seen", "42809", "not a Hudi foreign"), ("missing", "42P01"))])
        w.all_refused([("INSERT INTO ft VALUES (1, 'p', 'v', 1)", "55000", "cannot insert into view"),
                       ("DELETE FROM ft", "55000", "cannot delete from view"),
                       ("UPDATE ft SET v = ''", "55000", "cannot update view")])

    @s.scenario("a table is the target of one task")
    def _():
        task = w.submit("target")
        w.refuses("SELECT hudi_sync_task_submit('target', 'ft')", "42710", task)
        w.sql(f"SELECT pg_task_remove('{task}')")

    @s.scenario("the service role must be able to write as the target's owner")
    def _():
        w.sql(f"CREATE TABLE hers {TABLE}; GRANT ALL ON hers TO app", user="ann")
        w.refuses("SELECT hudi_sync_task_submit('hers', 'ft')", "42501", "not a member of role")


def lists_and_intervals(w):
    @s.scenario("column lists: the same number and order, quotes and escapes, each name once")
    def _():
        w.sql('CREATE TABLE named ("the id" integer PRIMARY KEY, "a,b" text, "c""d" bigint)')
        w.all_refused([(f"SELECT hudi_sync_task_submit('target', 'ft', '{target}', '{source}')", state) for target, source, state in (
                                      ("id,v", "id", "22023"), ("id,", "id,v", "22023"), ("id,v", "", "22023"),
                                      ("id,id", "id,v", "42701"), ("id,V", "id,\"V\"", "42703"), ("id,nope", "id,v", "42703"),
                                      ("id,part v", "id,v", "22023"), ("id", "id", "42P16"), ("v,ts", "v,ts", "42P16"))])
        w.all_taken([f"SELECT hudi_sync_task_submit('target', 'ft', '{target}', '{source}')"
                     for target, source in (("id, V ,TS", "id,v,ts"), ('"id","v"', "ID, part"))])
        task = w.submit("named", '"the id", "a,b", "c""d"', "id, v, ts")
        w.h.run_well(task)
        equal(w.sql('SELECT * FROM named ORDER BY 1 LIMIT 2'), "0|v0|0\n1|v1|1")
        w.sql(f"SELECT pg_task_remove('{task}')")

    @s.scenario("intervals: 5 seconds to 24 hours, in every form")
    def _():
        w.all_refused([(f"SELECT hudi_sync_task_submit('target', 'ft', interval '{wrong}')", "22023", "between 5 seconds and 24 hours")
                       for wrong in ("4 seconds", "4.999 s", "-1 hour", "24:00:01", "1 day 1 s", "1 month", "0")])
        for more in ("", "'id,v,ts', 'id,v,ts', "):
            w.all_taken([f"SELECT hudi_sync_task_submit('target', 'ft', {more}interval '{right}')"
                         for right in ("5 seconds", "24 hours", "1 day", "00:01")])
        w.refuses("SELECT hudi_sync_task_submit('target', 'ft', NULL::interval)", "22004")
        task = w.submit("target")
        equal(w.sql("SELECT \"interval\" FROM pg_task_show('SQLonHudi')"), "'00:00:10'", "the default")
        w.refuses(f"SELECT pg_task_reset_interval('{task}', '4 s')", "22023")
        equal(w.sql(f"SELECT pg_task_reset_interval('{task}', '7 s'); SELECT \"interval\" FROM pg_task_show('SQLonHudi')"),
              "1\n'00:00:07'")
        w.sql(f"SELECT pg_task_remove('{task}')")


def commits(w):
    @s.scenario("hudi_set_sync_commit: a commit time, and no task that runs")
    def _():
        w.all_refused([(f"SELECT hudi_set_sync_commit('target', 'ft', '{wrong}')", "22007", "14 or 17 digits")
                       for wrong in ("2022", "2022-09-13", "20220913152131123456", "abcdefghijklmn", " 20220913152131")])
        w.refuses("SELECT hudi_set_sync_commit('target', 'ft', NULL)", "22004")
        equal(w.sql("SELECT hudi_set_sync_commit('target', 'ft', '20220913152131')"), "20220913152131")
        equal(w.sql("SELECT target_tbl, source_ftbl, latest_commit FROM hudi_show_sync_state() WHERE target_tbl LIKE '%target'"),
              "public.target|public.ft|20220913152131")
        task = w.submit("target")
        w.refuses("SELECT hudi_set_sync_commit('target', 'ft', '20220913152131')", "55000", task)
        w.refuses(f"SELECT hudi_set_sync_commit('{task}', '20220913152131')", "55000", "not paused")
        w.sql(f"SELECT pg_task_pause('{task}')")
        w.refuses(f"SELECT hudi_set_sync_commit('{task}', '20220913152131')", "55000", "has not succeeded")
        w.sql(f"SELECT pg_task_resume('{task}')")
        w.h.run_well(task)
        equal(w.sql("SELECT count(*) FROM target"), "5", "all commits are behind the position")
        equal(w.sql(f"SELECT pg_task_pause('{task}'); SELECT hudi_set_sync_commit('{task}', '20220913152131')"), "1\n20220913152131")
        w.sql(f"SELECT pg_task_remove('{task}'); SELECT hudi_set_sync_commit('target', 'ft', ''); TRUNCATE target")
        equal(w.sql("SELECT count(*) FROM hudi_show_sync_state() WHERE target_tbl = 'public.target'"), "0")


def at_the_first_run(w):
    @s.scenario("the primary key is the record key; the precombine field has a column; types fit")
    def _():
        w.sql("CREATE TABLE wrongkey (v text PRIMARY KEY, id integer, ts bigint);"
              "CREATE TABLE noprecombine (id integer PRIMARY KEY, v text); CREATE TABLE wrongtype (id integer PRIMARY KEY, v bytea, ts bigint);"
              "CREATE TABLE withpart (id integer, part text, v text, ts bigint, PRIMARY KEY (id, part))")
        for target, words in (("wrongkey", "primary key (v) of target table public.wrongkey is not the record key (id)"),
                              ("noprecombine", 'lacks the ordering (precombine) field "ts"'), ("wrongtype", "42804")):
            state, log = w.first_run(target)
            equal((state, words in log), ("suspended", True), log)
            equal(w.sql(f"SELECT count(*) FROM {target}"), "0")
        equal(w.first_run("withpart"), ("active", ""), "record key and partition")

    @s.scenario("ten failures in a row suspend a task; pg_task_resume starts it again and counts from 0")
    def _():
        w.sql("CREATE TABLE narrow (id integer PRIMARY KEY, v varchar(1), ts bigint)")
        task = w.submit("narrow")
        for n in range(1, 11):
            w.h.run(task)
            equal(w.sql("SELECT failure_times, is_broken, last_log LIKE '%22001%' FROM pg_task_show('SQLonHudi')"),
                  f"{n}|{'t' if n == 10 else 'f'}|t")
        equal(w.h.run(task), False, "it is suspended")
        equal(w.sql(f"SELECT pg_task_resume('{task}'); SELECT failure_times, is_broken, next_start_time <= now() "
                    "FROM pg_task_show('SQLonHudi')"), "1\n0|f|t")
        w.sql("ALTER TABLE narrow ALTER v TYPE text")
        w.h.run_well(task)
        equal(w.sql("SELECT failure_times, last_log, count(h) FROM pg_task_show('SQLonHudi') t LEFT JOIN "
                    "hudi_sync_state_history_view h USING (task_id) GROUP BY 1, 2"), "0||11", "a row for each run")


def main():
    with Hudi() as h:
        h.cluster.start_proxy("proxy")
        w = World(h)
        sync_table(w)
        rights(w)
        tables(w)
        lists_and_intervals(w)
        commits(w)
        at_the_first_run(w)
    return s.finish()


if __name__ == "__main__":
    sys.exit(main())
