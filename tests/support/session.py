"""psql that stays connected, for tests that ask often: a new psql with SCRAM, and the server process that it
gets, cost more than most statements.

    Session(endpoint)   one session. Opened again by itself after its server went away
    Held(endpoint)      as an Endpoint's sql(): a session for each user, database and thread; statements that
                        leave something behind in their session get a psql of their own
"""
import os
import re
import subprocess
import tempfile
import threading

from cluster import SqlError

END = "--end--"
LEAVES = re.compile(r"(^|;)\s*(SET|BEGIN|START|PREPARE|DECLARE|LISTEN|LOAD|COPY|LOCK|DISCARD|DO|\\)|\bTEMP|\bset_config\b|"
                    r"\bpg_terminate_backend\b|\badvisory|\bsetseed\b|\bcurrval\b|--", re.I)
LOST = re.compile(r"\b57P0[123]:|\bserver closed the connection|\bconnection to server was lost")


class Session:
    def __init__(self, endpoint, user="postgres", dbname="app"):
        self.endpoint, self.user, self.dbname, self.psql = endpoint, user, dbname, None

    def open(self):
        self.errors = tempfile.TemporaryFile(buffering=0)
        self.psql = subprocess.Popen(["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-v", "VERBOSITY=verbose"], text=True,
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors,
                                     env=self.endpoint.env(self.user, self.dbname))

    def sql(self, text):
        """The rows of all statements, columns by '|'. SqlError; then the session begins anew."""
        if self.psql is None:
            self.open()
        before = os.fstat(self.errors.fileno()).st_size
        try:
            self.psql.stdin.write(f"{text.rstrip().rstrip(';')};\n\\echo {END}\n")
            self.psql.stdin.flush()
        except BrokenPipeError:
            pass
        lines = []
        for line in self.psql.stdout:
            if line.rstrip("\n") == END:
                return "\n".join(lines)
            lines.append(line.rstrip("\n"))
        self.psql.wait()
        error = os.pread(self.errors.fileno(), 1 << 20, before).decode(errors="replace").strip()
        self.close()
        raise SqlError(error)

    def close(self):
        if self.psql is None:
            return
        self.psql.kill()
        self.psql.communicate()
        self.errors.close()
        self.psql = None


class Held:
    def __init__(self, endpoint):
        self.endpoint, self.sessions = endpoint, {}

    def sql(self, text, user="app", dbname="app", **more):
        if more or LEAVES.search(text):
            return self.endpoint.sql(text, user=user, dbname=dbname, **more)
        key = (user, dbname, threading.get_ident())
        session = self.sessions.setdefault(key, Session(self.endpoint, user, dbname))
        was_open = session.psql is not None
        try:
            return session.sql(text).strip("\n")
        except SqlError as e:
            if was_open and LOST.search(str(e)):  # the server went away since the last statement
                return session.sql(text).strip("\n")
            raise

    def close(self):
        for session in self.sessions.values():
            session.close()
        self.sessions.clear()
