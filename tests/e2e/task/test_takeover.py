"""The task engine when processes die, stand still or compete: takeover, fencing, several workers,
several databases. All with a service role that is no superuser."""
import signal
import sys
import time

from cluster import Scenarios, equal, wait_until
from engine import Engine, children, is_alive, kill, wait_job

s = Scenarios("task takeover")
TAKEOVER_S = 60  # 15 s of the lease, and what a busy machine takes


def all_scenarios(e):
    c = e.cluster
    s.after_failure = e.stop_workers

    def server_process(pid):
        return e.sql(f"SELECT count(*) FROM pg_stat_activity WHERE pid = {pid}")

    @s.scenario("kill -9 of a worker: its job ends, rolls back and gives the lease back")
    def _():
        w = e.worker("dies")
        e.task("orphan", wait_s=60)
        e.wait_working("orphan")
        job = wait_job(w)
        w.process.kill()
        wait_until(lambda: not is_alive(job), "the job ends")
        equal(e.get("orphan", "lease_until IS NULL, failure_times, crash_times"), "t|0|0")
        e.order("orphan")
        other = e.worker("heir")
        e.wait("orphan", "end_time IS NOT NULL")
        equal(e.runs("orphan"), 1)
        other.stop()

    @s.scenario("kill -9 of worker and job: another worker sees that their connection is gone, takes over and ends the server process")
    def _():
        w = e.worker("dies2")
        e.task("both", wait_s=300)
        e.wait_working("both")
        job, work = wait_job(w), e.get("both", "work_pid")
        other = e.worker("heir2")
        kill(w.process.pid, signal.SIGSTOP)  # so that it cannot free the claim
        kill(job)
        w.process.kill()
        start = time.monotonic()
        equal(server_process(work), "1", "the server goes on for a dead client")
        e.order("both")
        e.wait("both", "fencing = 2 AND work_pid IS NOT NULL OR end_time IS NOT NULL", TAKEOVER_S)
        print(f"     taken over after {time.monotonic() - start:.1f} s")
        wait_until(lambda: server_process(work) == "0", "the server process of the predecessor ends")
        e.wait("both", "end_time IS NOT NULL")
        equal(e.runs("both"), 1)
        equal(e.get("both", "crash_times, failure_times"), "0|0")
        assert "task both: the connection of its owner" in other.log_text(), "the lease ran out by itself"
        other.stop()

    @s.scenario("kill -9 of a worker that has claimed, before its job has the lease")
    def _():
        w = e.worker("claims")
        e.task("claimed")
        e.wait("claimed", "end_time IS NOT NULL")
        w.process.kill()
        e.sql("UPDATE pgveneer.task SET next_start_time = now(), end_time = NULL, fencing = fencing + 1, holder_fencing = fencing + 1, "
              "lease_until = now() + interval '1 hour' WHERE task_id = 'claimed'")  # as the claim of a worker that is gone
        other = e.worker("heir3")
        e.wait("claimed", "end_time IS NOT NULL", TAKEOVER_S)
        equal(e.runs("claimed"), 2)
        other.stop()

    @s.scenario("a job whose lease connection breaks keeps its task")
    def _():
        w, other = e.worker("cut"), e.worker("waits")
        go = c.folder / "go0"
        e.task("cut", answer=f"file:{go}")
        e.wait("cut", "work_pid IS NOT NULL")
        for _ in range(3):
            before = e.get("cut", "lease_pid")
            e.sql(f"SELECT pg_terminate_backend({before})")
            e.wait("cut", f"lease_pid <> {before}")
        go.touch()
        e.wait("cut", "end_time IS NOT NULL")
        equal(e.get("cut", "fencing, failure_times, crash_times"), "1|0|0")
        equal(e.runs("cut"), 1)
        w.stop()
        other.stop()

    @s.scenario("workers of another login do not see whose connection it is, and leave it alone")
    def _():
        e.sql("CREATE ROLE partner LOGIN PASSWORD 'partner' IN ROLE service", user="postgres")
        login = f"host=127.0.0.1 port={c.postgres.port} user=partner password=partner"
        w = e.worker("partner", service=login)
        go = c.folder / "go3"
        e.task("theirs", answer=f"file:{go}")
        e.wait("theirs", "work_pid IS NOT NULL")
        other = e.worker("looks")
        lease = e.get("theirs", "lease_until")
        for _ in range(2):
            e.wait("theirs", f"lease_until > '{lease}'::timestamptz + interval '3 seconds'")  # a heartbeat
            lease = e.get("theirs", "lease_until")
        go.touch()
        e.wait("theirs", "end_time IS NOT NULL")
        equal(e.get("theirs", "fencing, failure_times, crash_times"), "1|0|0")
        assert "is gone" not in other.log_text(), "nobody is doubted"
        w.stop()
        other.stop()

    @s.scenario("kill -9 of a job: its own worker goes on at once and ends the server process")
    def _():
        w = e.worker("stays")
        e.task("job", wait_s=300)
        e.wait_working("job")
        work = e.get("job", "work_pid")
        e.order("job")
        kill(wait_job(w))
        e.wait("job", "end_time IS NOT NULL", 12)  # sooner than its lease ends
        equal(server_process(work), "0")
        equal(e.runs("job"), 1)
        w.stop()

    @s.scenario("a job that stood still and wakes after the takeover commits nothing")
    def _():
        w = e.worker("sleeps")
        go = c.folder / "go"
        e.task("still", answer=f"file:{go}")
        wait_until(lambda: e.get("still", "work_pid IS NOT NULL") == "t", "it works")
        job = wait_job(w, "pgv:read")
        kill(w.process.pid, signal.SIGSTOP)
        kill(job, signal.SIGSTOP)
        start = time.monotonic()
        e.order("still")
        other = e.worker("awake")
        e.wait("still", "end_time IS NOT NULL", TAKEOVER_S)
        print(f"     done elsewhere after {time.monotonic() - start:.1f} s")
        assert "task still: the connection" not in other.log_text(), "it was connected all the time"
        go.touch()
        kill(job, signal.SIGCONT)
        kill(w.process.pid, signal.SIGCONT)
        wait_until(lambda: not is_alive(job), "the woken job ends")
        equal(e.runs("still"), 1)
        equal(e.get("still", "failure_times, fencing, lease_until IS NULL"), "0|2|t")
        equal(e.sql("SELECT count(*) FROM pgveneer.task_history WHERE task_id = 'still'"), "1")
        w.stop()
        other.stop()

    @s.scenario("the fencing number alone keeps a job from committing")
    def _():
        w = e.worker("fenced")
        go = c.folder / "go2"
        e.task("fence", answer=f"file:{go}")
        job = wait_job(w, "pgv:read")
        wait_until(lambda: e.sql("SELECT count(*) FROM pg_stat_activity a JOIN pgveneer.task t ON a.pid = t.work_pid "
                                 "WHERE t.task_id = 'fence' AND a.state = 'idle in transaction'") == "1", "ready to commit")
        kill(job, signal.SIGSTOP)  # it cannot notice before it commits
        e.sql("UPDATE pgveneer.task SET fencing = fencing + 1, lease_until = now() + interval '1 hour' "
              "WHERE task_id = 'fence'")
        go.touch()
        kill(job, signal.SIGCONT)
        wait_until(lambda: not is_alive(job), "the job ends")
        equal(e.runs("fence"), 0)
        equal(e.get("fence", "failure_times, end_time IS NULL, fencing"), "0|t|2")
        e.sql("UPDATE pgveneer.task SET lease_until = NULL WHERE task_id = 'fence'")
        e.wait("fence", "end_time IS NOT NULL")
        equal(e.runs("fence"), 1)
        w.stop()

    @s.scenario("a restart of the server in the middle of a run: the run is done once, no failure")
    def _():
        w = e.worker("server")
        e.task("restart", wait_s=300)
        e.wait_working("restart")
        e.order("restart")
        c.postgres.restart(signal.SIGQUIT)
        e.wait("restart", "end_time IS NOT NULL")
        equal(e.runs("restart"), 1)
        equal(e.get("restart", "failure_times"), "0")
        w.stop()

    @s.scenario("two workers never run one task twice at the same time")
    def _():
        names = [f"many{n}" for n in range(12)]
        for name in names:
            e.task(name, every="'1 second'", wait_s=0.2)
        workers = [e.worker(f"twin{n}") for n in (1, 2)]
        wait_until(lambda: int(e.sql("SELECT min(n) FROM (SELECT count(*) AS n FROM pgveneer.task_history "
                                     "WHERE task_id LIKE 'many%' GROUP BY task_id) AS t") or 0) >= 4, "four runs of each", 60)
        equal(e.sql("SELECT sum(failure_times), sum(crash_times) FROM pgveneer.task WHERE task_id LIKE 'many%'"), "0|0")
        equal(e.sql("SELECT count(*) FROM pgveneer.task_history WHERE task_id LIKE 'many%' AND outcome <> 'done'"), "0")
        for w in workers:
            assert "run " in w.log_text(), f"{w.name} had no part"
        for name in names:
            e.sql(f"SELECT pgveneer.pg_task_remove('{name}')")
        for w in workers:
            w.stop()

    @s.scenario("task_slots bounds the jobs; databases take turns; databases are found")
    def _():
        e.sql("CREATE DATABASE app2 OWNER app", dbname="postgres")
        e.sql("GRANT CREATE ON DATABASE app2 TO service", dbname="postgres")
        e.install("app2")
        for n in range(6):
            e.task(f"slot{n}", wait_s=0.5)
        e.task("other", dbname="app2")
        w = e.worker("one", task_slots=1, databases="")
        most = 0
        def done():
            nonlocal most
            most = max(most, len(children(w.process.pid)))
            return e.sql("SELECT count(*) FROM pgveneer.task WHERE task_id LIKE 'slot%' AND end_time IS NOT NULL") == "6"
        wait_until(done, "all have run", 60)
        equal(most, 1, "jobs at the same time")
        other = e.sql("SELECT end_time FROM pgveneer.task WHERE task_id = 'other'", dbname="app2")
        assert int(e.sql(f"SELECT count(*) FROM pgveneer.task WHERE task_id LIKE 'slot%' AND end_time > '{other}'")) >= 4, \
            "the other database had to wait"
        w.stop()

    @s.scenario("a support schema that is installed later is found")
    def _():
        e.sql("CREATE DATABASE app3 OWNER app", dbname="postgres")
        e.sql("GRANT CREATE ON DATABASE app3 TO service", dbname="postgres")
        w = e.worker("finds", databases="")
        e.task("before")
        e.wait("before", "end_time IS NOT NULL")
        e.install("app3")
        e.task("late", dbname="app3")
        e.wait("late", "end_time IS NOT NULL", 15, dbname="app3")
        w.stop()


with Engine() as engine:
    all_scenarios(engine)
sys.exit(s.finish())
