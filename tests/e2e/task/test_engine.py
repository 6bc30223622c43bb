"""The task engine with a task kind of its own: claims, ends of runs, failures, crashes, stops.
All with a service role that is no superuser."""
import signal
import sys
import time

from cluster import Scenarios, equal, wait_until
from engine import Engine, children, is_alive, wait_job

s = Scenarios("task engine")


def all_scenarios(e):
    c = e.cluster
    w = e.worker("w1")

    @s.scenario("a due task runs at once and its end is recorded")
    def _():
        e.task("first")
        e.wait("first", "end_time IS NOT NULL")
        equal(e.get("first", "state, failure_times, last_log, lease_until IS NULL, worker IS NULL, work_pid IS NULL,"
                             "lease_pid IS NULL, next_start_time = start_time + run_every, end_time >= start_time"),
              "active|0||t|t|t|t|t|t")
        equal(e.sql("SELECT outcome, row_count, detail->>'kind', owner::regrole FROM pgveneer.task_history "
                    "WHERE task_id = 'first'"), "done|1|probe|app")
        equal(e.runs("first"), 1)

    @s.scenario("without an interval a task runs once")
    def _():
        e.task("once", every="NULL")
        e.wait("once", "state = 'done' AND next_start_time IS NULL AND lease_until IS NULL")
        equal(e.runs("once"), 1)

    @s.scenario("a submit that is rolled back never ran")
    def _():
        before = e.attempts()
        e.sql("BEGIN; INSERT INTO pgveneer.task (task_id, category, what, owner, params, run_every, next_start_time) VALUES "
              "('never', 'Probe', '', 10, '{\"sql\": \"SELECT nextval(''public.attempts'')\"}', '5 s', now()); "
              "NOTIFY pgveneer_task; SELECT pg_sleep(1.5); ROLLBACK; NOTIFY pgveneer_task")
        e.task("after-never")
        e.wait("after-never", "end_time IS NOT NULL")
        equal(e.attempts(), before + 1)

    @s.scenario("a run that is overdue for days runs once, the next start lies ahead on its grid")
    def _():
        e.task("late", every="'7 seconds'", wait_s=8)
        e.wait("late", "end_time IS NOT NULL")
        equal(e.get("late", "next_start_time = start_time + interval '14 seconds', next_start_time > end_time"), "t|t")
        e.sql("SELECT pgveneer.pg_task_remove('late')")

    @s.scenario("the log of a good run is shown")
    def _():
        e.task("log", answer="log:nothing to do")
        e.wait("log", "last_log = 'nothing to do'")

    @s.scenario("a failure is counted, told and recorded")
    def _():
        e.task("bad", error="22012")
        e.wait("bad", "failure_times = 1")
        equal(e.get("bad", "state, last_log, next_start_time > now(), lease_until IS NULL"),
              "active|ordered to fail (22012); detail: As told.; hint: Tell otherwise.|t|t")
        equal(e.sql("SELECT outcome, row_count, log LIKE 'ordered%', detail->>'kind' FROM pgveneer.task_history "
                    "WHERE task_id = 'bad'"), "failed|0|t|probe")
        equal(e.runs("bad"), 0)

    @s.scenario("a success in between forgets failures")
    def _():
        e.order("bad")
        e.due("bad")
        e.wait("bad", "failure_times = 0 AND last_log = '' AND start_time > created_at")

    @s.scenario("ten failures in a row suspend; there is no eleventh run; resume resets and runs")
    def _():
        e.task("ten", error="22012")
        for n in range(1, 11):
            e.wait("ten", f"failure_times = {n} AND lease_until IS NULL")
            before = e.attempts()
            e.due("ten")
        equal(e.get("ten", "state, failure_times, next_start_time IS NULL"), "suspended|10|t")
        e.sql("NOTIFY pgveneer_task")
        e.task("witness")  # the worker has had a turn since
        e.wait("witness", "end_time IS NOT NULL")
        equal(e.attempts(), before + 1, "runs")
        equal(e.sql("SELECT count(*) FROM pgveneer.task_history WHERE task_id = 'ten'"), "10")
        e.order("ten")
        e.sql("SELECT pgveneer.pg_task_resume('ten')")
        e.wait("ten", "state = 'active' AND failure_times = 0 AND last_log = '' AND lease_until IS NULL AND end_time > start_time")
        wait_until(lambda: e.runs("ten") == 1, "the run after resume")

    @s.scenario("a configuration error suspends at once")
    def _():
        e.task("config", answer="misconfigured")
        e.wait("config", "state = 'suspended'")
        equal(e.get("config", "failure_times, last_log, next_start_time IS NULL"),
              "1|only a person can mend this (22023); hint: Mend it.|t")
        equal(e.runs("config"), 0)

    @s.scenario("a transient error is tried again inside the run")
    def _():
        before = e.attempts()
        e.task("transient", error="40001", until=before + 2)
        e.wait("transient", "end_time IS NOT NULL")
        equal(e.attempts(), before + 3)
        equal(e.get("transient", "failure_times, last_log"), "0|")
        equal(e.runs("transient"), 1)

    @s.scenario("a transient error that stays is one failure, a refused login is not tried again")
    def _():
        before = e.attempts()
        e.task("stays", error="55P03")
        e.wait("stays", "failure_times = 1")
        equal(e.attempts(), before + 4, "attempts")
        e.task("login", error="28P01")
        e.wait("login", "failure_times = 1")
        equal(e.attempts(), before + 5, "attempts")

    @s.scenario("a lost work connection is opened again inside the run")
    def _():
        e.task("cut", wait_s=30)
        e.wait_working("cut")
        e.order("cut")
        e.sql("SELECT pg_terminate_backend(work_pid) FROM pgveneer.task WHERE task_id = 'cut'")
        e.wait("cut", "end_time IS NOT NULL")
        equal(e.get("cut", "failure_times, fencing"), "0|1")
        equal(e.runs("cut"), 1)

    @s.scenario("a lost lease connection is opened again inside the run")
    def _():
        e.task("lease", wait_s=4)
        e.wait_working("lease")
        pid = e.get("lease", "lease_pid")
        e.sql(f"SELECT pg_terminate_backend({pid})")
        e.wait("lease", f"lease_pid <> {pid}")
        e.wait("lease", "end_time IS NOT NULL")
        equal(e.get("lease", "failure_times, fencing"), "0|1")
        equal(e.runs("lease"), 1)

    @s.scenario("a heartbeat extends the lease of a long run")
    def _():
        e.task("long", wait_s=18)
        e.wait("long", "lease_until IS NOT NULL")
        first = e.get("long", "lease_until")
        e.wait("long", f"lease_until > '{first}'::timestamptz + interval '8 seconds'")
        e.wait("long", "end_time IS NOT NULL")
        equal(e.get("long", "fencing"), "1")

    @s.scenario("a crash is taken up again at once, and forgotten with success")
    def _():
        e.task("crash", answer="kill once")
        e.wait("crash", "end_time IS NOT NULL")
        equal(e.get("crash", "fencing, failure_times, crash_times, last_crash"), "2|0|0|")

    @s.scenario("three crashes in one run are a failure")
    def _():
        for order, text in ("segv", "signal 11"), ("exit", "exit code 17"):
            e.task(order, answer=order)
            e.wait(order, "failure_times = 1")
            equal(e.get(order, "state, crash_times, last_log LIKE 'job process ended %" + text + "%', fencing"),
                  "active|0|t|4")
            equal(e.sql(f"SELECT outcome, detail->>'kind' FROM pgveneer.task_history WHERE task_id = '{order}'"),
                  "failed|probe")
            e.sql(f"SELECT pgveneer.pg_task_remove('{order}')")

    @s.scenario("pause during a run cancels it at once; resume runs it again")
    def _():
        e.task("pause", wait_s=60)
        e.wait_working("pause")
        start = time.monotonic()
        e.sql("SELECT pgveneer.pg_task_pause('pause'); NOTIFY pgveneer_task")
        e.wait("pause", "lease_until IS NULL AND work_pid IS NULL")
        assert time.monotonic() - start < 30, "it waited for the statement"
        equal(e.get("pause", "state, last_log, next_start_time, failure_times, end_time"), "paused|paused||0|")
        equal(e.runs("pause"), 0)
        e.order("pause")
        e.sql("SELECT pgveneer.pg_task_resume('pause'); NOTIFY pgveneer_task")
        e.wait("pause", "end_time IS NOT NULL AND state = 'active' AND last_log = ''")
        equal(e.runs("pause"), 1)

    @s.scenario("remove during a run cancels it")
    def _():
        e.task("remove", wait_s=60)
        e.wait_working("remove")
        pid = int(e.get("remove", "work_pid"))
        e.sql("SELECT pgveneer.pg_task_remove('remove'); NOTIFY pgveneer_task")
        wait_until(lambda: e.sql(f"SELECT count(*) FROM pg_stat_activity WHERE pid = {pid}") == "0", "cancelled")
        equal(e.runs("remove"), 0)

    @s.scenario("a pause that stays uncommitted stops nothing")
    def _():
        e.task("held", wait_s=3)
        e.wait_working("held")
        e.sql("BEGIN; SELECT pgveneer.pg_task_pause('held'); SELECT pg_sleep(7); ROLLBACK")
        e.wait("held", "end_time IS NOT NULL")
        equal(e.get("held", "failure_times, fencing, state"), "0|1|active")
        equal(e.runs("held"), 1)

    @s.scenario("a run that asks nobody ends within 12 s of the pause")
    def _():
        e.task("deaf", answer="hang")
        wait_job(w, "pgv:read")
        wait_until(lambda: e.get("deaf", "work_pid IS NOT NULL") == "t", "it works")
        e.sql("SELECT pgveneer.pg_task_pause('deaf'); NOTIFY pgveneer_task")
        e.wait("deaf", "lease_until IS NULL")
        equal(e.get("deaf", "state"), "paused")
        e.sql("SELECT pgveneer.pg_task_remove('deaf')")

    @s.scenario("no password in a command line or environment; no job left behind")
    def _():
        e.task("ps", wait_s=60)
        job = wait_job(w, "pgv:read")
        for pid in (w.process.pid, job):
            for file in "cmdline", "environ":
                with open(f"/proc/{pid}/{file}", "rb") as f:
                    assert b"password" not in f.read(), file
        e.sql("SELECT pgveneer.pg_task_remove('ps'); NOTIFY pgveneer_task")
        wait_until(lambda: not children(w.process.pid), "jobs have ended")

    @s.scenario("SIGTERM stops the jobs, which roll back; another worker goes on")
    def _():
        e.task("term", wait_s=60)
        e.wait_working("term")
        job = wait_job(w, "pgv:read")
        start = time.monotonic()
        equal(w.stop(signal.SIGTERM), 0)
        assert time.monotonic() - start < 30, "it waited for the statement"
        assert not is_alive(job), "the job outlived its worker"
        equal(e.get("term", "lease_until IS NULL, state, failure_times, crash_times"), "t|active|0|0")
        e.order("term")
        e.worker("w2")
        e.wait("term", "end_time IS NOT NULL")
        equal(e.runs("term"), 1)


with Engine() as engine:
    all_scenarios(engine)
sys.exit(s.finish())
