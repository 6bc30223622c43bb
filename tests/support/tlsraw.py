"""A protocol client under TLS, byte by byte, for what no driver does.

    with TlsRaw("127.0.0.1", port, piece=1) as c:     # SSLRequest, handshake in segments of one byte
        c.login(); c.query("SELECT 1")
    TlsRaw(host, port, direct=True, alpn=["postgresql"])   # no SSLRequest
"""
import socket
import ssl
import threading
import time

from rawpg import Raw, SSL_REQUEST


class Pipe:
    """Looks like a socket to Raw; TLS by hand, so that the segments on the wire are ours to cut."""

    def __init__(self, sock, context, host, piece=None):
        self.sock, self.piece = sock, piece
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname=host)

    def flush(self):
        data = self.outgoing.read()
        if not data:  # an empty sendall waits until the socket takes something, and who waits does not read
            return
        cut = min(len(data), 3000 - 3000 % self.piece) if self.piece else 0
        for at in range(0, cut, self.piece or 1):
            self.sock.sendall(data[at:at + self.piece])
            if at < 300:
                time.sleep(0.0002)
        self.sock.sendall(data[cut:])

    def step(self, function, *args):
        """Calls the function until TLS needs nothing more for it."""
        while True:
            try:
                result = function(*args)
                self.flush()
                return result
            except ssl.SSLWantReadError:
                self.flush()
                data = self.sock.recv(1 << 16)
                if data:
                    self.incoming.write(data)
                else:
                    self.incoming.write_eof()

    def handshake(self):
        self.step(self.tls.do_handshake)

    def sendall(self, data):
        if data:
            self.step(self.tls.write, data)

    def recv(self, size):
        try:
            return self.step(self.tls.read, size)
        except ssl.SSLZeroReturnError:
            return b""

    def settimeout(self, seconds):
        self.sock.settimeout(seconds)

    def end_writing(self):
        """close_notify, and nothing else."""
        try:
            self.tls.unwrap()
        except (ssl.SSLWantReadError, ssl.SSLError):
            pass
        self.flush()

    def close(self):
        self.sock.close()


def context(alpn=None, ca=None, cert=None):
    """A client's; ca: whom to trust, None: everybody; cert: a Pair of certificates.py."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_REQUIRED if ca else ssl.CERT_NONE
    if ca:
        made.load_verify_locations(ca)
    if cert:
        made.load_cert_chain(cert.cert, cert.key)
    if alpn:
        made.set_alpn_protocols(alpn)
    return made


class TlsRaw(Raw):
    def __init__(self, host, port, direct=False, alpn=None, ca=None, cert=None, piece=None, handshake=True,
                 rcvbuf=None, **login):
        super().__init__(host, port, piece=None, rcvbuf=rcvbuf, **login)
        self.context, self.host, self.wire_piece = context(alpn, ca, cert), host, piece
        if not direct:
            self.sock.sendall(SSL_REQUEST)
            answer = self.sock.recv(1)
            if answer != b"S":
                raise AssertionError(f"SSLRequest was answered with {answer!r}")
        if handshake:
            self.secure()

    def secure(self):
        self.sock = Pipe(self.sock, self.context, self.host, self.wire_piece)
        self.sock.handshake()

    @property
    def tls(self):
        return self.sock.tls


class FakeServer:
    """Accepts connections on a port of its own, one after the other, and gives each to `serve`, on a thread."""

    def __init__(self, serve):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port, self.serve, self.seen = self.listener.getsockname()[1], serve, []
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            with sock:
                try:
                    self.serve(self, sock)
                except (OSError, ssl.SSLError) as e:
                    self.seen.append(e)

    def close(self):
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

