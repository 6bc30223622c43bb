"""The PostgreSQL protocol by hand, for tests that must send what no driver sends.

    from rawpg import Raw, Q, P, B, D, E, S, H, C
    with Raw(host, port, user="app", password="app", dbname="app", piece=1) as c:
        c.login()
        c.send(P("", "SELECT 1"), B(), E(), S())
        c.until_ready()      # [("1", b""), ("2", b""), ("D", …), ("C", …), ("Z", b"I")]

`piece` cuts everything that is sent into segments of that many bytes. Standard library only.
"""
import base64
import hashlib
import hmac
import os
import socket
import struct
import time

TIMEOUT_S = float(os.environ.get("PGVENEER_TEST_TIMEOUT", "120"))

SSL_REQUEST = struct.pack("!II", 8, 80877103)
GSSENC_REQUEST = struct.pack("!II", 8, 80877104)


def cstr(text):
    return (text.encode() if isinstance(text, str) else text) + b"\0"


def message(kind, body=b""):
    return kind.encode() + struct.pack("!I", len(body) + 4) + body


def startup(params, version=0x00030000, end=b"\0"):
    body = struct.pack("!I", version) + b"".join(cstr(k) + cstr(v) for k, v in params) + end
    return struct.pack("!I", len(body) + 4) + body


def cancel_request(pid, key):
    body = struct.pack("!II", 80877102, pid) + key
    return struct.pack("!I", len(body) + 4) + body


def Q(text):
    return message("Q", cstr(text))


def P(name, text, oids=()):
    return message("P", cstr(name) + cstr(text) + struct.pack("!H", len(oids)) +
                   b"".join(struct.pack("!I", oid) for oid in oids))


def B(portal="", statement="", values=(), formats=(), result_formats=()):
    body = cstr(portal) + cstr(statement) + struct.pack("!H", len(formats))
    body += b"".join(struct.pack("!H", f) for f in formats) + struct.pack("!H", len(values))
    for value in values:
        value = value.encode() if isinstance(value, str) else value
        body += struct.pack("!i", -1) if value is None else struct.pack("!i", len(value)) + value
    return message("B", body + struct.pack("!H", len(result_formats)) +
                   b"".join(struct.pack("!H", f) for f in result_formats))


def D(kind="P", name=""):
    return message("D", kind.encode() + cstr(name))


def E(portal="", max_rows=0):
    return message("E", cstr(portal) + struct.pack("!I", max_rows))


def C(kind, name):
    return message("C", kind.encode() + cstr(name))


def S():
    return message("S")


def H():
    return message("H")


def X():
    return message("X")


def data(body):
    return message("d", body)


def done():
    return message("c")


def fail(reason="stopped"):
    return message("f", cstr(reason))


class Closed(Exception):
    """The server closed the connection."""


class ServerError(Exception):
    def __init__(self, fields):
        super().__init__(fields.get("M", ""))
        self.fields, self.sqlstate = fields, fields.get("C", "")


def fields(body):
    """Fields of an ErrorResponse or NoticeResponse by letter."""
    return {part[:1].decode(): part[1:].decode(errors="replace")
            for part in body.split(b"\0") if part}


def kinds(messages):
    """"12DCZI": message types, ReadyForQuery with its status."""
    return "".join(k + (b.decode() if k == "Z" else "") for k, b in messages)


def values(messages):
    """The rows among the messages, as lists of text."""
    rows = []
    for kind, body in messages:
        if kind != "D":
            continue
        count, at, row = struct.unpack("!H", body[:2])[0], 2, []
        for _ in range(count):
            length = struct.unpack("!i", body[at:at + 4])[0]
            at += 4
            row.append(None if length < 0 else body[at:at + length].decode(errors="replace"))
            at += max(length, 0)
        rows.append(row)
    return rows


class Raw:
    def __init__(self, host, port, user="app", password=None, dbname=None, piece=None, rcvbuf=None):
        self.sock = socket.socket(socket.AF_UNIX if host.startswith("/") else socket.AF_INET)
        if rcvbuf:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        self.sock.settimeout(TIMEOUT_S)
        self.sock.connect(f"{host}/.s.PGSQL.{port}" if host.startswith("/") else (host, port))
        if not host.startswith("/"):
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.user, self.password, self.dbname = user, password or user, dbname or user
        self.piece, self.buffer = piece, b""
        self.pid, self.key, self.parameters = 0, b"", {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    def raw(self, data):
        """Sends bytes, the first 2000 in pieces if asked for. The peer may close meanwhile."""
        cut = min(len(data), 2000 - 2000 % self.piece) if self.piece else 0
        try:
            for at in range(0, cut, self.piece or 1):
                self.sock.sendall(data[at:at + self.piece])
                if at < 200:
                    time.sleep(0.0002)  # lets the pieces arrive apart
            self.sock.sendall(data[cut:])
        except (BrokenPipeError, ConnectionResetError):
            pass

    def send(self, *messages):
        self.raw(b"".join(messages))

    def bytes(self, count):
        while len(self.buffer) < count:
            more = self.sock.recv(1 << 16)
            if not more:
                raise Closed()
            self.buffer += more
        taken, self.buffer = self.buffer[:count], self.buffer[count:]
        return taken

    def message(self):
        kind, length = struct.unpack("!cI", self.bytes(5))
        return kind.decode("latin1"), self.bytes(length - 4)

    def until(self, kinds_wanted):
        """Messages up to the first of one of these types."""
        got = []
        while not got or got[-1][0] not in kinds_wanted:
            got.append(self.message())
        return got

    def until_ready(self, count=1):
        got = []
        for _ in range(count):
            got += self.until("Z")
        return got

    def until_closed(self):
        """Everything up to the end of the connection; the last element may be ("raw", bytes)."""
        got = []
        try:
            while True:
                got.append(self.message())
        except (Closed, ConnectionResetError, struct.error):
            if self.buffer:
                got.append(("raw", self.buffer))
            return got

    def start(self, params=None, version=0x00030000):
        self.raw(startup(params or [("user", self.user), ("database", self.dbname)], version))

    def login(self, params=None, version=0x00030000, behind=b""):
        """Startup and whatever authentication the server asks for; ends with ReadyForQuery.
        behind: bytes to send in one segment with the startup packet."""
        params = params or [("user", self.user), ("database", self.dbname)]
        self.raw(startup(params, version) + behind)
        return self.authenticate()

    def authenticate(self):
        got = []
        while True:
            kind, body = self.message()
            got.append((kind, body))
            if kind == "R":
                self.respond(body)
            elif kind == "K":
                self.pid, self.key = struct.unpack("!I", body[:4])[0], body[4:]
            elif kind == "S":
                name, value = body.split(b"\0")[:2]
                self.parameters[name.decode()] = value.decode()
            elif kind == "E":
                raise ServerError(fields(body))
            elif kind == "Z":
                return got

    def respond(self, body):
        code = struct.unpack("!I", body[:4])[0]
        if code == 3:
            self.send(message("p", cstr(self.password)))
        elif code == 5:
            inner = hashlib.md5((self.password + self.user).encode()).hexdigest()
            self.send(message("p", cstr("md5" + hashlib.md5(inner.encode() + body[4:8]).hexdigest())))
        elif code == 10:
            self.first = "n=,r=" + base64.b64encode(os.urandom(18)).decode()
            initial = ("n,," + self.first).encode()
            self.send(message("p", cstr("SCRAM-SHA-256") + struct.pack("!I", len(initial)) + initial))
        elif code == 11:
            self.send(message("p", self.scram_final(body[4:].decode()).encode()))

    def scram_final(self, challenge):
        parts = dict(p.split("=", 1) for p in challenge.split(","))
        salted = hashlib.pbkdf2_hmac("sha256", self.password.encode(), base64.b64decode(parts["s"]),
                                     int(parts["i"]))
        key = hmac.digest(salted, b"Client Key", "sha256")
        without = "c=biws,r=" + parts["r"]
        auth = ",".join([self.first, challenge, without]).encode()
        proof = bytes(a ^ b for a, b in zip(
            key, hmac.digest(hashlib.sha256(key).digest(), auth, "sha256")))
        return without + ",p=" + base64.b64encode(proof).decode()

    def query(self, text):
        """Simple query; the messages up to ReadyForQuery."""
        self.send(Q(text))
        return self.until_ready()


def one_cancel(host, port, pid, key):
    """Sends a CancelRequest and waits until the other side closed."""
    with Raw(host, port) as c:
        c.raw(cancel_request(pid, key))
        return c.until_closed()
