"""Parallel retrieve cursors by hand: a declaring session and retrieve sessions, on rawpg.

    with Declarer(proxy) as d:
        d.run("BEGIN"); d.run("DECLARE c PARALLEL RETRIEVE CURSOR FOR SELECT 1")
        d.read_all("c")                 # rows of all endpoints of c, read one after another
        with d.retriever() as r:
            r.rows("RETRIEVE 10 FROM ENDPOINT c_1")
"""
from rawpg import Raw, ServerError, fields, kinds, values


class Session(Raw):
    """run() for the messages of a simple query, rows(), tag(), error() for parts of them."""

    def run(self, text):
        got = self.query(text)
        for kind, body in got:
            if kind == "E":
                raise ServerError(fields(body))
        return got

    def rows(self, text):
        return values(self.run(text))

    def tag(self, text):
        return [body[:-1].decode() for kind, body in self.run(text) if kind == "C"][-1]

    def error(self, text):
        """The fields of the error that the text must raise."""
        got = self.query(text)
        for kind, body in got:
            if kind == "E":
                return fields(body)
        raise AssertionError(f"no error from: {text}: {kinds(got)}")

    @staticmethod
    def status(got):
        return got[-1][1].decode()


class Retriever(Session):
    FORMS = {"seed": [("options", "-c gp_session_role=retrieve")],
             "seed, misspelled": [("options", "-c gp_session_rol=retrieve")],
             "newer": [("options", "-c gp_retrieve_conn=true")],
             "attached": [("options", "-cgp_retrieve_conn=on -c geqo=off")],
             "long": [("options", "-c geqo=off --gp-session-role=retrieve")],
             "parameter": [("gp_session_role", "retrieve")],
             "newer parameter": [("gp_retrieve_conn", "true")]}

    def enter(self, form="seed", more=()):
        self.login([("user", self.user), ("database", self.dbname), *self.FORMS[form], *more])
        return self


class Declarer(Session):
    def __init__(self, endpoint, user="app", password=None, dbname="app", **more):
        super().__init__(endpoint.host, endpoint.port, user, password, dbname, **more)
        self.endpoint = endpoint
        self.login()

    def token(self):
        return self.rows("SELECT DISTINCT auth_token FROM gp_endpoints_info()")[0][0]

    def endpoints(self, cursor):
        return [row[0] for row in self.rows(
            f"SELECT endpoint_name FROM gp_endpoints_info() WHERE cursor_name = '{cursor}' ORDER BY 1")]

    def retriever(self, form="seed", more=(), **other):
        return Retriever(self.endpoint.host, self.endpoint.port, self.user, self.token(), self.dbname,
                         **other).enter(form, more)

    def read_all(self, cursor, how="ALL"):
        """Rows of all endpoints, and that CHECK says so."""
        rows = []
        with self.retriever() as r:
            for name in self.endpoints(cursor):
                while True:
                    got = r.rows(f'RETRIEVE {how} FROM ENDPOINT "{name}"')
                    rows += got
                    if how == "ALL" or len(got) < int(how):
                        break
            check = self.tag(f'CHECK PARALLEL RETRIEVE CURSOR "{cursor}"')
            assert check == "FINISHED", check
        return rows
