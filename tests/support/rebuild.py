"""What tests of rebuilds share: a cluster with pgveneer in front, submits, and waiting for their end.

    with Rebuild() as r:
        r.sql("CREATE TABLE t (a int)")
        id = r.submit("ASYNC REBUILD TABLE t ADD COLUMN b int")
        r.wait_done(id)
"""
from cluster import Cluster, wait_until
from session import Held

STEPS = ["prepare", "create_tmp_table", "get_src_table_snapshot", "insert", "set_readonly", "check_snapshot",
         "re-insert", "check_additional_child_table", "create_additional_child_table",
         "insert_additional_child_table", "swap"]


class Rebuild:
    def __init__(self, proxy=(), **settings):
        self.cluster, self.proxy_settings = Cluster(**settings), dict(proxy)
        self.held = Held(self.cluster.direct)

    def __enter__(self):
        self.cluster.__enter__()
        try:
            self.pgveneer = self.cluster.start_proxy(**self.proxy_settings)
        except BaseException:
            self.cluster.close(failed=True)
            raise
        return self

    def __exit__(self, *why):
        self.held.close()
        self.cluster.__exit__(*why)

    def sql(self, text, **where):
        return self.cluster.proxy.sql(text, **where)

    def sql_error(self, text, **where):
        return self.cluster.proxy.sql_error(text, **where)

    def admin(self, text):
        return self.held.sql(text, user="postgres")

    def notices(self, text, **where):
        """Standard error of psql: notices and errors as a client sees them."""
        return self.cluster.proxy.psql("-Atq", stdin=text, **where).stderr

    def submit(self, text, **where):
        """The query_id."""
        id = self.sql(text, **where)
        assert id.isdigit() and len(id) == 18, f"not a query_id: {id!r}"
        return id

    def steps(self, id, columns="step, coalesce(status, ''), progress"):
        text = self.sql(f"SELECT {columns} FROM hologres.rebuild_progress('{id}') ORDER BY step_id")
        return [tuple(line.split("|")) for line in text.split("\n")]

    def state(self, id):
        return self.admin(f"SELECT state FROM pgveneer.task WHERE task_id = '{id}'")

    def failed_step(self, id):
        """(step, message) of the step in error, or None."""
        found = [(s, m) for s, status, m in self.steps(id, "step, coalesce(status, ''), message") if status == "error"]
        return found[0] if found else None

    def wait_state(self, id, *states, timeout=300):
        try:
            return wait_until(lambda: self.state(id) in states and self.state(id), f"{id} is {' or '.join(states)}", timeout)
        except TimeoutError as e:
            raise TimeoutError(f"{e}: {self.describe(id)}") from None

    def describe(self, id):
        return self.admin(f"SELECT state, last_log FROM pgveneer.task WHERE task_id = '{id}'") + " " + \
            self.admin(f"SELECT string_agg(step || ' ' || coalesce(status, '-') || ' ' || message, '; ' ORDER BY step_id) "
                       f"FROM hologres.rebuild_step WHERE query_id = '{id}'")

    def wait_done(self, id, timeout=300):
        state = self.wait_state(id, "done", "suspended", timeout=timeout)
        assert state == "done", self.describe(id)

    def wait_error(self, id, timeout=300):
        """(step, message)"""
        state = self.wait_state(id, "done", "suspended", timeout=timeout)
        assert state == "suspended", self.describe(id)
        return self.failed_step(id)

    def rebuild(self, text, **where):
        id = self.submit(text, **where)
        self.wait_done(id)
        return id

    def leftovers(self, id):
        """What the rebuild made and should have removed, or ''."""
        return self.admin(f"""SELECT string_agg(x, ' ') FROM (
            SELECT relname::text AS x FROM pg_class WHERE relname LIKE '%{id}%' UNION ALL
            SELECT proname::text FROM pg_proc WHERE proname LIKE '%{id}%' UNION ALL
            SELECT tgname::text FROM pg_trigger WHERE tgname LIKE 'tmp\\_rebuild%' UNION ALL
            SELECT conname::text FROM pg_constraint WHERE conname LIKE '%{id}%') AS names""")
