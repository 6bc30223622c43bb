"""An S3-compatible store for tests, and the client that fills any of them.

    with Server(access_key="AK", secret="SK") as server:      # on a free port of 127.0.0.1, a thread each request
        client = server.client()
        client.make_bucket("lake")
        client.put_folder("lake", "tables/t", "/tmp/t")       # everything below the folder
        server.faults.add(status=503, times=2)                # what goes wrong next

The server checks signatures (AWS Signature Version 4) itself, from the documents and not from pgveneer's code:
every header that it depends on must be signed, the clock must agree within 15 minutes, and the query must be
sent as it was signed. It knows GET and HEAD of objects with Range and If-Match, PUT, DELETE, and both listings.
Standard library only.
"""
import collections
import datetime
import email.utils
import hashlib
import hmac
import http.client
import http.server
import os
import pathlib
import random
import re
import ssl
import threading
import time
import urllib.parse
from xml.sax.saxutils import escape

EMPTY = hashlib.sha256(b"").hexdigest()


def quote(text, safe=""):
    return urllib.parse.quote(text, safe=safe + "-_.~")


def sign(method, host, path, query, headers, payload_hash, access_key, secret, region, when, service="s3"):
    """Value of Authorization; path and query as they are sent, headers as a dict of lower-case names."""
    names = ";".join(sorted(headers))
    canonical = "\n".join([method, path, query, *(f"{n}:{headers[n].strip()}" for n in sorted(headers)), "", names,
                           payload_hash])
    scope = f"{when[:8]}/{region}/{service}/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", when, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = ("AWS4" + secret).encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    return f"AWS4-HMAC-SHA256 Credential={access_key}/{scope}, SignedHeaders={names}, Signature={signature}"


class Client:
    """Fills a store; path addressing, one connection a request."""

    def __init__(self, port, access_key, secret, region="us-east-1", host="127.0.0.1"):
        self.host, self.port = host, port
        self.access_key, self.secret, self.region = access_key, secret, region

    def request(self, method, path, body=b"", query="", **more):
        when = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
        payload = hashlib.sha256(body).hexdigest()
        headers = {"host": f"{self.host}:{self.port}", "x-amz-content-sha256": payload, "x-amz-date": when, **more}
        path = quote(path, "/")
        headers["authorization"] = sign(method, headers["host"], path, query, headers, payload, self.access_key,
                                        self.secret, self.region, when)
        c = http.client.HTTPConnection(self.host, self.port, timeout=60)
        try:
            c.request(method, path + ("?" + query if query else ""), body, headers)
            answer = c.getresponse()
            content = answer.read()
        finally:
            c.close()
        if answer.status >= 300:
            raise AssertionError(f"{method} {path}: {answer.status} {content[:300]!r}")
        return content

    def make_bucket(self, bucket):
        self.request("PUT", f"/{bucket}")

    def put(self, bucket, key, content):
        self.request("PUT", f"/{bucket}/{key}", content)

    def delete(self, bucket, key):
        self.request("DELETE", f"/{bucket}/{key}")

    def put_folder(self, bucket, prefix, folder):
        """All files below the folder, .hoodie last: a commit is there after its files. How many."""
        files = sorted((p for p in pathlib.Path(folder).rglob("*") if p.is_file()),
                       key=lambda p: (".hoodie" in p.relative_to(folder).parts, str(p)))
        for path in files:
            self.put(bucket, f"{prefix}/{path.relative_to(folder)}", path.read_bytes())
        return len(files)


class Fault:
    """One kind of misbehaviour; applies `times` times (None: for ever) to requests whose key matches."""

    def __init__(self, times=1, key=".", method="GET", rate=1.0, **does):
        self.times, self.key, self.method, self.rate, self.does = times, re.compile(key), method, rate, does


class Faults:
    """What goes wrong. add(...) with one of
        status=503 [code="SlowDown", headers={…}]    an error instead of an answer
        cut=n         the connection is closed after n bytes of the content
        delay=s       seconds before the answer
        change=bytes  the object gets this content after half of it was sent
        ignore_range=True, ignore_match=True, no_etag=True
        body=bytes    with status=200: this instead of the content
    counts: how often each kind happened ("status", "cut", …)
    """

    def __init__(self):
        self.lock = threading.Lock()
        self.list, self.counts = [], collections.Counter()
        self.random = random.Random(4)

    def add(self, **fault):
        with self.lock:
            self.list.append(Fault(**fault))

    def clear(self):
        with self.lock:
            self.list = []

    def take(self, method, key):
        with self.lock:
            for f in self.list:
                if f.method != method or not f.key.search(key) or f.times == 0 or self.random.random() >= f.rate:
                    continue
                if f.times is not None:
                    f.times -= 1
                self.counts[next(iter(f.does))] += 1
                return f.does
        return {}


Object = collections.namedtuple("Object", "content etag modified")


class Refused(Exception):
    def __init__(self, status, code, message="refused", **more):
        super().__init__(code)
        self.status, self.code, self.message, self.more = status, code, message, more


class Server:
    """virtual_hosted: the bucket is the first label of the host. v2: knows ListObjectsV2. page: keys a page."""

    def __init__(self, access_key="AKIDTEST", secret="geheim/+=secret", region="us-east-1", token=None, page=1000, v2=True,
                 virtual_hosted=False, certificate=None, clock_offset_s=0):
        self.access_key, self.secret, self.region, self.token = access_key, secret, region, token
        self.page, self.v2, self.virtual_hosted, self.clock_offset_s = page, v2, virtual_hosted, clock_offset_s
        self.certificate = certificate
        self.lock = threading.Lock()
        self.buckets, self.requests, self.faults = {}, [], Faults()
        self.denied = set()  # keys that answer AccessDenied

    def __enter__(self):
        server = self

        class Handler(RequestHandler):
            store = server

        class Quiet(http.server.ThreadingHTTPServer):
            def handle_error(self, *_):
                """Clients that were killed, or do not like the certificate."""

        self.http = Quiet(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        if self.certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*self.certificate)
            self.http.socket = context.wrap_socket(self.http.socket, server_side=True)
        self.port = self.http.server_address[1]
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.http.shutdown()
        self.http.server_close()

    def put(self, bucket, key, content):
        now = datetime.datetime.now(datetime.timezone.utc)
        with self.lock:
            self.buckets[bucket][key] = Object(content, hashlib.md5(content).hexdigest(), now)

    def remove(self, bucket, key):
        with self.lock:
            self.buckets[bucket].pop(key, None)

    def make_bucket(self, bucket):
        with self.lock:
            self.buckets.setdefault(bucket, {})

    def put_folder(self, bucket, prefix, folder):
        self.make_bucket(bucket)
        for path in pathlib.Path(folder).rglob("*"):
            if path.is_file():
                self.put(bucket, f"{prefix}/{path.relative_to(folder)}", path.read_bytes())

    def remove_folder(self, bucket, prefix):
        with self.lock:
            for key in [k for k in self.buckets[bucket] if k.startswith(prefix + "/")]:
                del self.buckets[bucket][key]

    def client(self):
        return Client(self.port, self.access_key, self.secret, self.region)

    def options(self, **more):
        """Options of a foreign server of pgveneer."""
        out = {"type": "obs", "address": f"127.0.0.1:{self.port}", "access_key": self.access_key,
               "secret_access_key": self.secret}
        if self.certificate:
            out["encrypt"] = "on"
        if self.token:
            out["security_token"] = self.token
        return {**out, **more}

    def counted(self, method=None, key="."):
        """Requests that came, since the last forget()."""
        with self.lock:
            return [r for r in self.requests if (method is None or r[0] == method) and re.search(key, r[1])]

    def forget(self):
        with self.lock:
            self.requests = []


class RequestHandler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    store = None

    def log_message(self, *_):
        pass

    # ---- signatures

    def check_signature(self, path, query):
        s = self.store
        found = re.fullmatch(r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/([^/]+)/aws4_request, ?"
                             r"SignedHeaders=([a-z0-9;-]+), ?Signature=([0-9a-f]{64})",
                             self.headers.get("authorization", ""))
        if not found:
            raise Refused(403, "AccessDenied", "no signature")
        access_key, day, region, service, names, signature = found.groups()
        when = self.headers.get("x-amz-date", "")
        if access_key != s.access_key:
            raise Refused(403, "InvalidAccessKeyId", "there is no such key")
        if region != s.region:
            raise Refused(400, "AuthorizationHeaderMalformed", f"expecting '{s.region}'", Region=s.region)
        now = time.time() + s.clock_offset_s
        try:
            signed_at = datetime.datetime.strptime(when, "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.timezone.utc)
        except ValueError:
            raise Refused(403, "AccessDenied", "x-amz-date")
        if abs(signed_at.timestamp() - now) > 900:
            raise Refused(403, "RequestTimeTooSkewed", "The difference is too large.",
                          ServerTime=datetime.datetime.fromtimestamp(now, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"))
        signed = names.split(";")
        present = {k.lower() for k in self.headers}
        must = {"host"} | {k for k in present if k.startswith("x-amz-")}
        if signed != sorted(signed) or not must <= set(signed) or service != "s3" or day != when[:8]:
            raise Refused(403, "SignatureDoesNotMatch", f"signed headers {names}")
        pairs = [p.split("=", 1) for p in query.split("&")] if query else []
        canonical = "&".join(f"{quote(urllib.parse.unquote(k))}={quote(urllib.parse.unquote(v))}" for k, v in sorted(pairs))
        expected = sign(self.command, None, quote(urllib.parse.unquote(path), "/"), canonical,
                        {n: self.headers.get(n, "") for n in signed}, self.headers.get("x-amz-content-sha256", ""),
                        s.access_key, s.secret, region, when)
        if not hmac.compare_digest(expected.rsplit("=", 1)[1], signature):
            raise Refused(403, "SignatureDoesNotMatch", "the signature is another one")
        if s.token and self.headers.get("x-amz-security-token") != s.token:
            raise Refused(400, "ExpiredToken", "The provided token has expired.")

    # ---- answers

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if "Content_Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def refuse(self, e):
        more = "".join(f"<{k}>{escape(v)}</{k}>" for k, v in e.more.items())
        body = (f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{e.code}</Code><Message>{escape(e.message)}</Message>'
                f"{more}<RequestId>test</RequestId></Error>").encode()
        self.answer(e.status, body if self.command != "HEAD" else b"", Content_Type="application/xml")

    def place(self):
        """(bucket, key, raw path, raw query)"""
        path, _, query = self.path.partition("?")
        plain = urllib.parse.unquote(path)
        if self.store.virtual_hosted:
            return self.headers["host"].split(".", 1)[0], plain[1:], path, query
        bucket, _, key = plain[1:].partition("/")
        return bucket, key, path, query

    def handle_one(self):
        length = int(self.headers.get("content-length") or 0)
        body = self.rfile.read(length)
        bucket, key, path, query = self.place()
        with self.store.lock:
            self.store.requests.append((self.command, f"{bucket}/{key}" + ("?" + query if query else ""),
                                        dict(self.headers)))
        try:
            self.check_signature(path, query)
            fault = self.store.faults.take(self.command, f"{bucket}/{key}")
            if "delay" in fault:
                time.sleep(fault["delay"])
            if "status" in fault and fault["status"] != 200:
                if "headers" in fault:
                    self.answer(fault["status"], b"", **fault["headers"])
                    return
                raise Refused(fault["status"], fault.get("code", "SlowDown"), "Please reduce your request rate.")
            self.carry_out(bucket, key, urllib.parse.parse_qs(query, keep_blank_values=True), body, fault)
        except Refused as e:
            self.refuse(e)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    do_GET = do_HEAD = do_PUT = do_DELETE = lambda self: self.handle_one()

    def carry_out(self, bucket, key, query, body, fault):
        s = self.store
        if self.command == "PUT" and not key:
            s.make_bucket(bucket)
            self.answer(200)
            return
        with s.lock:
            objects = s.buckets.get(bucket)
        if objects is None:
            raise Refused(404, "NoSuchBucket", "The specified bucket does not exist")
        if self.command == "PUT":
            s.put(bucket, key, body)
            self.answer(200)
        elif self.command == "DELETE":
            s.remove(bucket, key)
            self.answer(204)
        elif not key:
            self.list(bucket, query, fault)
        else:
            self.get(bucket, key, fault)

    def get(self, bucket, key, fault):
        s = self.store
        with s.lock:
            found = s.buckets[bucket].get(key)
        if key in s.denied:
            raise Refused(403, "AccessDenied", "Access Denied")
        if found is None:
            raise Refused(404, "NoSuchKey", "The specified key does not exist.")
        match = self.headers.get("if-match")
        if match and match.strip('"') != found.etag and not fault.get("ignore_match"):
            raise Refused(412, "PreconditionFailed", "At least one of the preconditions did not hold")
        content = fault.get("body", found.content)
        status, headers = 200, {"ETag": f'"{found.etag}"', "Last_Modified": email.utils.format_datetime(found.modified, True)}
        if fault.get("no_etag"):
            del headers["ETag"]
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("range", ""))
        if wanted and not fault.get("ignore_range"):
            first, last = int(wanted.group(1)), int(wanted.group(2) or len(content) - 1)
            if first >= len(content):
                raise Refused(416, "InvalidRange", "not satisfiable")
            status, headers["Content_Range"] = 206, f"bytes {first}-{last}/{len(content)}"
            content = content[first:last + 1]
        if "change" in fault:
            self.send_changing(bucket, key, content, headers, fault["change"])
        elif "cut" in fault and len(content) > fault["cut"]:
            self.answer(status, content[:fault["cut"]], Content_Length=str(len(content)), **headers)
            self.close_connection = True
        else:
            self.answer(status, content, **headers)

    def send_changing(self, bucket, key, content, headers, new):
        half = content[:len(content) // 2]
        self.answer(200, half, Content_Length=str(len(content)), **headers)
        self.store.put(bucket, key, new)
        self.close_connection = True

    def list(self, bucket, query, fault):
        s = self.store
        one = {k: v[0] for k, v in query.items()}
        v2 = s.v2 and one.get("list-type") == "2"
        prefix, delimiter = one.get("prefix", ""), one.get("delimiter", "")
        token = one.get("continuation-token") if v2 else None
        after = token[2:] if token else one.get("start-after" if v2 else "marker", "")
        with s.lock:
            objects = dict(s.buckets[bucket])
        names = {}
        for key in objects:
            if key.startswith(prefix):
                at = key.find(delimiter, len(prefix)) if delimiter else -1
                names[key if at < 0 else key[:at + 1]] = at >= 0
        names = sorted((n, folder) for n, folder in names.items() if n > after)
        page, more = names[:s.page], len(names) > s.page
        out = ['<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">',
               f"<Name>{escape(bucket)}</Name><Prefix>{escape(prefix)}</Prefix><MaxKeys>1000</MaxKeys>",
               f"<IsTruncated>{str(more).lower()}</IsTruncated>"]
        if more and v2:
            out.append(f"<NextContinuationToken>{escape('t/' + page[-1][0])}</NextContinuationToken>")
        elif more and delimiter:
            out.append(f"<NextMarker>{escape(page[-1][0])}</NextMarker>")
        for name, folder in page:
            if folder:
                out.append(f"<CommonPrefixes><Prefix>{escape(name)}</Prefix></CommonPrefixes>")
            else:
                o = objects[name]
                out.append(f"<Contents><Key>{escape(name)}</Key><LastModified>{o.modified:%Y-%m-%dT%H:%M:%S.000Z}</LastModified>"
                           f"<ETag>&quot;{o.etag}&quot;</ETag><Size>{len(o.content)}</Size><StorageClass>STANDARD</StorageClass></Contents>")
        body = fault.get("body", "".join(out + ["</ListBucketResult>"]).encode())
        if "cut" in fault and len(body) > fault["cut"]:
            self.answer(200, body[:fault["cut"]], Content_Length=str(len(body)), Content_Type="application/xml")
            self.close_connection = True
        else:
            self.answer(200, body, Content_Type="application/xml")
