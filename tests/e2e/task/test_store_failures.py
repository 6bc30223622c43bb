"""A SQLonHudi task whose table cannot be read: failures are counted up to ten, there is no eleventh
run, resume resets and runs, a success in between resets. With a real worker, through SQL."""
import sys

from cluster import Scenarios, equal, wait_until
from hudi_sync import Hudi, duckdb_library

s = Scenarios("store failures")


def all_scenarios(h):
    h.writer("create", "lake", "--key", "id", "--sql", "SELECT range AS id, 'a' AS v FROM range(100)")
    h.foreign_table("ft", "lake", [("id", "integer"), ("v", "text")])
    h.sql("CREATE TABLE public.t (id integer PRIMARY KEY, v text)")
    worker = h.cluster.start_proxy("worker", "worker", duckdb_library=duckdb_library())
    task = h.submit("public.t", "public.ft", "24 hours")

    def sql(text):
        return h.sql(text, user="postgres")

    def get(columns):
        return sql(f"SELECT {columns} FROM pgveneer.task WHERE task_id = '{task}'")

    def run_now():
        """One more run, as if the interval were over; waits for its end."""
        before = get("end_time")
        sql(f"UPDATE pgveneer.task SET next_start_time = now() WHERE task_id = '{task}' AND state = 'active';"
            "NOTIFY pgveneer_task")
        wait_until(lambda: get(f"end_time > '{before}' AND lease_until IS NULL") == "t", "the run ends")

    def shown():
        return h.sql(f"SELECT failure_times, is_broken, next_start_time IS NULL FROM pgveneer.pg_task_show('SQLonHudi') "
                     f"WHERE task_id = '{task}'")

    def hide():
        (h.folder / "lake").rename(h.folder / "away")

    def show():
        (h.folder / "away").rename(h.folder / "lake")

    @s.scenario("the first run fills the target")
    def _():
        wait_until(lambda: get("end_time IS NOT NULL AND lease_until IS NULL") == "t", "the first run ends")
        equal(get("state, failure_times, last_log"), "active|0|")
        equal(h.sql("SELECT count(*) FROM public.t"), "100")

    @s.scenario("failures are counted, a success in between resets")
    def _():
        hide()
        for n in 1, 2, 3:
            run_now()
            equal(shown(), f"{n}|f|f")
        assert "lake" in get("last_log"), get("last_log")
        show()
        run_now()
        equal(shown(), "0|f|f")
        equal(get("last_log"), "")

    @s.scenario("failure_times goes 1 to 10, there is no eleventh run")
    def _():
        hide()
        for n in range(1, 10):
            run_now()
            equal(shown(), f"{n}|f|f")
        run_now()
        equal(shown(), "10|t|t")
        fencing = get("fencing")
        sql("NOTIFY pgveneer_task")
        h.writer("create", "lake2", "--key", "id", "--sql", "SELECT 1 AS id, 'a' AS v")
        h.foreign_table("ft2", "lake2", [("id", "integer"), ("v", "text")])
        h.sql("CREATE TABLE public.t2 (id integer PRIMARY KEY, v text)")
        witness = h.submit("public.t2", "public.ft2", "24 hours")
        wait_until(lambda: sql(f"SELECT end_time IS NOT NULL FROM pgveneer.task WHERE task_id = '{witness}'") == "t",
                   "the worker has had a turn")
        equal(get("fencing, failure_times, state"), f"{fencing}|10|suspended")
        equal(sql(f"SELECT count(*) FROM pgveneer.task_history WHERE task_id = '{task}' AND outcome = 'failed'"), "13")
        equal(h.sql("SELECT count(*) FROM pgveneer.hudi_sync_state_history_view WHERE task_id = '" + task + "'"), "14")

    @s.scenario("the failure does not wear off by itself; resume resets and runs")
    def _():
        show()
        h.writer("upsert", "lake", "--sql", "SELECT 1000 AS id, 'new' AS v")
        equal(shown(), "10|t|t")
        h.sql(f"SELECT pgveneer.pg_task_resume('{task}')")
        wait_until(lambda: h.sql("SELECT count(*) FROM public.t") == "101", "the new commit arrives")
        wait_until(lambda: get("lease_until IS NULL") == "t", "the run ends")
        equal(shown(), "0|f|f")

    @s.scenario("a folder without permission is a failure too")
    def _():
        (h.folder / "lake" / ".hoodie").chmod(0)
        run_now()
        equal(shown(), "1|f|f")
        (h.folder / "lake" / ".hoodie").chmod(0o755)
        run_now()
        equal(shown(), "0|f|f")

    worker.stop()


with Hudi() as hudi:
    all_scenarios(hudi)
sys.exit(s.finish())
