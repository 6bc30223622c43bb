"""Sessions that write to a table while something is done to it, and note in a ledger, in the same transaction, what
became of each key. What they write, and how the ledger looks, a subclass says."""
import random
import threading

import psycopg2

from cluster import equal


class Writers:
    """
        with Rows(r, "t") as w:
            r.rebuild("ASYNC REBUILD TABLE t …")
        w.check()
    """
    ROLLED_BACK = 0.1  # of the transactions

    def __init__(self, r, table, keys=300, sessions=3):
        self.r, self.table, self.keys, self.sessions = r, table, keys, sessions
        self.stop, self.errors, self.count = threading.Event(), [], 0
        self.make_ledger()
        self.threads = [threading.Thread(target=self.work, args=(i,)) for i in range(sessions)]

    def make_ledger(self):
        raise NotImplementedError

    def write(self, cur, rng, number, v):
        """One transaction of session `number`; v is a value that nobody else has."""
        raise NotImplementedError

    def differences(self):
        """Some rows that are not what the ledger says, or ''."""
        raise NotImplementedError

    def key(self, rng, number):
        """Each session has keys of its own."""
        return rng.randrange(1, self.keys) * self.sessions + number

    def work(self, number):
        rng = random.Random(number)
        conn = psycopg2.connect(self.r.cluster.proxy.dsn())
        cur = conn.cursor()
        n = 0
        while not self.stop.wait(0.004):  # without a pause they would take both cores
            n += 1
            try:
                self.write(cur, rng, number, f"{number}.{n}")
                if rng.random() < self.ROLLED_BACK:
                    conn.rollback()
                else:
                    conn.commit()
                    self.count += 1
            except psycopg2.Error as e:
                self.errors.append(str(e))
                conn.rollback()
        conn.close()

    def __enter__(self):
        for t in self.threads:
            t.start()
        return self

    def __exit__(self, *why):
        self.stop.set()
        for t in self.threads:
            t.join()

    def check(self):
        equal(sorted(set(self.errors))[:3], [], "errors of clients")
        assert self.count > 20, self.count
        equal(self.differences(), "", "rows that differ from the ledger")
        equal(self.r.sql(f"SELECT count(*) = count(DISTINCT id) FROM {self.table}"), "t", "doubled rows")
