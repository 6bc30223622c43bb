"""One psql that stays connected, for tests that ask often: a new psql with SCRAM costs up to 0.3 s on a
busy machine. Opened again by itself after its server went away."""
import subprocess

from cluster import SqlError

END = "--end--"


class Session:
    def __init__(self, endpoint, user="postgres", dbname="app"):
        self.endpoint, self.user, self.dbname, self.psql = endpoint, user, dbname, None

    def open(self):
        self.psql = subprocess.Popen(["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-v", "VERBOSITY=verbose"], text=True,
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                     env=self.endpoint.env(self.user, self.dbname))

    def sql(self, text):
        """The rows of all statements, columns by '|'. SqlError; then the session begins anew."""
        if self.psql is None:
            self.open()
        try:
            self.psql.stdin.write(f"{text.rstrip(';')};\n\\echo {END}\n")
            self.psql.stdin.flush()
        except BrokenPipeError:
            pass
        lines = []
        for line in self.psql.stdout:
            if line.rstrip("\n") == END:
                return "\n".join(lines)
            lines.append(line.rstrip("\n"))
        error = self.psql.stderr.read().strip()
        self.close()
        raise SqlError(error)

    def close(self):
        if self.psql is None:
            return
        self.psql.kill()
        self.psql.communicate()
        self.psql = None
