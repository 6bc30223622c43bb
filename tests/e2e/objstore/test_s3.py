"""objstore against an S3-compatible server of our own, which checks signatures strictly and misbehaves on demand:
listings, ranges, repetitions, errors, TLS, and the cache, also with several processes at once."""
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from cluster import Scenarios, build_dir, equal, wait_until
from s3 import Server

BIG = bytes(range(256)) * 4096  # 1 MiB
KEYS = ["t/.hoodie/hoodie.properties", "t/.hoodie/20240101000000.commit", "t/.hoodie/metadata/files/f1",
        "t/dt=2024-01-01/a%20b é+&.parquet", "t/dt=2024-01-01/sub/y", "t/p/q/r", "t/-first", "t/zz",
        "t/dt=2024-01-01/", "t/a//b", "t/./c", "other/no"]


class Store:
    """A server, a cache folder, and the probe that reads from the one through the other."""

    def __init__(self, **server):
        self.server = Server(**server)

    def __enter__(self):
        self.server.__enter__()
        self.folder = tempfile.mkdtemp(prefix="pgveneer-test-s3-")
        self.server.make_bucket("lake")
        for key in KEYS:
            self.server.put("lake", key, key.encode())
        self.server.put("lake", "t/big", BIG)
        return self

    def __exit__(self, *why):
        self.server.__exit__(*why)
        shutil.rmtree(self.folder)

    def args(self, *command, **options):
        s = self.server
        scheme = "https" if s.certificate else "http"
        defaults = {"root": "/lake/t/", "address": f"{scheme}://127.0.0.1:{s.port}", "access_key": s.access_key,
                    "secret_access_key": s.secret, "security_token": s.token or "", "timeout_s": 20,
                    "cache_folder": self.folder + "/cache", "cache_bytes": 1 << 30}
        return [build_dir() / "objstore_probe", *(f"{k}={v}" for k, v in {**defaults, **options}.items()), *command]

    def run(self, *command, **options):
        return subprocess.run(self.args(*command, **options), capture_output=True, timeout=60,
                              env={**os.environ, "no_proxy": "*"})

    def out(self, *command, **options):
        done = self.run(*command, **options)
        if done.returncode != 0:
            raise AssertionError(done.stderr.decode())
        return done.stdout

    def list(self, folder, **options):
        return self.out("list", folder, **options).decode().splitlines()

    def fetch(self, *paths, **options):
        """(bytes, sum) of each."""
        return [tuple(map(int, line.split()[1:])) for line in self.out("fetch", *paths, **options).decode().splitlines()]

    def fails(self, sqlstate, *command, having=(), **options):
        done = self.run(*command, **options)
        text = done.stderr.decode()
        equal(done.returncode, 1, f"exit code, {text}")
        equal(text.split(":", 1)[0], sqlstate, text)
        for part in having:
            if part not in text:
                raise AssertionError(f"no {part!r} in {text}")
        for secret in (self.server.secret, self.server.token):
            if secret and secret in text:
                raise AssertionError(f"a secret in {text}")

    def cached(self):
        return sorted(p.stat().st_size for p in pathlib.Path(self.folder, "cache/objects").iterdir())

    def runs(self):
        return list(pathlib.Path(self.folder, "cache/runs").iterdir())


def checksum(content):
    total = 0
    for byte in content:
        total = (total * 31 + byte) & (2**64 - 1)
    return (len(content), total)


ROOT = ["-first 8", ".hoodie /", "big 1048576", "dt=2024-01-01 /", "p /", "zz 4"]
PARQUET = "dt=2024-01-01/a%20b é+&.parquet"


def main():
    s = Scenarios("objstore")

    def with_store(name, **server):
        def run(function):
            def body():
                with Store(**server) as st:
                    function(st)
            s.run(name, body)
        return run

    for title, options in (("ListObjectsV2", {}), ("three keys a page", {"page": 3}), ("one key a page", {"page": 1}),
                           ("the listing of old", {"v2": False, "page": 2}), ("virtual-hosted", {"virtual_hosted": True}),
                           ("a session token", {"token": "tok+/=en"})):
        @with_store(f"listings and objects: {title}", **options)
        def _(st, options=options):
            more = {}
            if "virtual_hosted" in options:
                # every name below localhost is this machine
                more = {"address": f"localhost:{st.server.port}", "addressing": "virtual"}
            equal(st.list("", **more), ROOT, "root")
            equal(st.list("dt=2024-01-01", **more), [f"{PARQUET} {len(PARQUET.encode()) + 2}", "dt=2024-01-01/sub /"], "partition")
            equal(st.list(".hoodie", **more), [".hoodie/20240101000000.commit 31", ".hoodie/hoodie.properties 27",
                                               ".hoodie/metadata /"], "timeline")
            equal(st.list("nothing", **more), [], "a folder that is not there")
            equal(st.out("read", PARQUET, **more), f"t/{PARQUET}".encode(), "content")
            equal(st.fetch("big", "zz", PARQUET, **more), [checksum(BIG), checksum(b"t/zz"), checksum(f"t/{PARQUET}".encode())], "files")

    @with_store("the metadata table of Hudi is not listed", page=2)
    def _(st):
        for i in range(100):
            st.server.put("lake", f"t/.hoodie/metadata/files/{i}", b"x")
        equal(st.list(""), ROOT, "root")
        if len(st.server.counted("GET")) > 6:
            raise AssertionError(f"{len(st.server.counted('GET'))} requests")

    @with_store("a cut stream goes on where it was cut, for the same object")
    def _(st):
        st.server.faults.add(times=3, key="big", cut=300_000)
        equal(st.fetch("big"), [checksum(BIG)], "content")
        gets = st.server.counted("GET", "big")
        equal([r[2].get("range") for r in gets], [None, "bytes=300000-", "bytes=600000-", "bytes=900000-"], "ranges")
        equal(all(r[2].get("if-match") for r in gets), True, "If-Match")
        st.server.faults.add(times=2, key="zz", cut=1)
        equal(st.out("read", "zz"), b"t/zz", "a small object")
        st.server.faults.add(times=2, key="list-type", cut=200)
        equal(st.list(""), ROOT, "a listing")

    @with_store("a store that ignores ranges or gives no ETag")
    def _(st):
        st.server.faults.add(times=1, key="big", cut=300_000)
        st.server.faults.add(times=1, key="big", ignore_range=True)
        equal(st.fetch("big"), [checksum(BIG)], "content without ranges")
        st.server.faults.add(times=None, key="zz", no_etag=True)
        st.server.faults.add(times=None, method="HEAD", key="zz", no_etag=True)
        equal(st.fetch("zz"), [checksum(b"t/zz")], "content without ETag")
        equal(st.cached(), [len(BIG)], "only what can be told apart is kept")

    @with_store("an object that changes while it is read is read anew, whole")
    def _(st):
        new = b"new" * 400_000
        st.server.faults.add(times=1, key="big", change=new)
        equal(st.fetch("big"), [checksum(new)], "content")
        st.server.faults.add(times=1, key="zz", change=b"t/ZZ")
        equal(st.out("read", "zz"), b"t/ZZ", "a small object")

    @with_store("a changed object is noticed when the store ignores If-Match")
    def _(st):
        new = b"new" * 400_000
        st.server.faults.add(times=1, key="big", change=new)
        st.server.faults.add(times=1, key="big", ignore_match=True)
        equal(st.fetch("big"), [checksum(new)], "content")

    @with_store("an object that never rests is given up")
    def _(st):
        for i in range(8):
            st.server.faults.add(times=1, key="big", change=bytes([i]) * 1_000_000)
        st.fails("58030", "fetch", "big", having=["changes while it is read"])
        equal(st.cached(), [], "nothing is kept")

    @with_store("busy, broken and silent stores are asked again")
    def _(st):
        st.server.faults.add(times=1, key="zz", status=503)
        st.server.faults.add(times=1, key="zz", status=500, code="InternalError")
        st.server.faults.add(times=1, key="zz", status=429, headers={"Retry-After": "1"})
        st.server.faults.add(times=1, key="zz", delay=3.5)
        start = time.monotonic()
        equal(st.out("read", "zz", timeout_s=2), b"t/zz", "content")
        if len(st.server.counted("GET", "zz")) < 5:
            raise AssertionError("a fault was not met")
        if time.monotonic() - start < 1:
            raise AssertionError("Retry-After was not obeyed")

    @with_store("a store that stays busy")
    def _(st):
        st.server.faults.add(times=None, status=503)
        st.fails("58030", "read", "zz", having=["503", "SlowDown: Please reduce your request rate."])
        equal(len(st.server.counted("GET")), 6, "attempts")

    @with_store("errors", region="eu-west-7", token="tok-en")
    def _(st):
        good = {"region": "eu-west-7"}
        st.fails("58P01", "read", "nothing", having=["lake/t/nothing"], **good)
        st.fails("58P01", "fetch", "zz", "nothing", having=["lake/t/nothing"], **good)
        st.fails("58P01", "list", "", root="/nobucket/t/", having=['bucket "nobucket" does not exist'], **good)
        st.fails("28P01", "read", "zz", secret_access_key="wrong", having=["SignatureDoesNotMatch"], **good)
        st.fails("28P01", "read", "zz", access_key="wrong", having=["InvalidAccessKeyId"], **good)
        st.fails("28000", "read", "zz", security_token="old", having=["ExpiredToken"], **good)
        st.fails("42501", "read", "zz", access_key="", secret_access_key="", **good)
        st.fails("22023", "read", "zz", secret_access_key="", **good)
        st.fails("22023", "read", "zz", security_token="a\nx-evil: 1", **good)
        st.fails("42501", "read", "../other/no", **good)
        st.fails("42501", "list", "a/../..", **good)
        st.fails("42501", "fetch", "", **good)
        st.server.denied.add("t/zz")
        st.fails("42501", "read", "zz", having=["AccessDenied", "lake/t/zz"], **good)
        st.fails("42501", "fetch", "big", "zz", **good)
        st.fails("08001", "read", "zz", address="127.0.0.1:1", **good)
        # the store tells its region, and is asked again
        equal(st.out("read", "big", region="us-east-1"), BIG, "content")
        equal(st.list("", region="us-east-1"), ROOT, "root")

    @with_store("the wrong time of day", clock_offset_s=7200)
    def _(st):
        st.fails("28000", "list", "", having=["clock of this machine", "Here it is", "there 20", "Set the clock"])

    @with_store("answers that are no listing")
    def _(st):
        for body in (b"<html>login</html>", b"<ListBucketResult><Contents><Key>t/a</Key></Contents></ListBucketResult>",
                     b"<!DOCTYPE a [<!ENTITY b 'c'>]><ListBucketResult>&b;</ListBucketResult>",
                     b"<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>",
                     b"<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>x</NextContinuationToken></ListBucketResult>",
                     b"<ListBucketResult><Contents><Key>t/b</Key><Size>1</Size></Contents><Contents><Key>t/a</Key><Size>1</Size></Contents></ListBucketResult>"):
            st.server.faults.clear()
            st.server.faults.add(times=None, status=200, body=body)
            done = st.run("list", "")
            equal(done.returncode, 1, f"exit code for {body}")

    certificates(s)
    cache(with_store)
    return s.finish()


def certificates(s):
    @s.scenario("TLS: a certificate of our own authority, and one that nobody vouches for")
    def _():
        folder = pathlib.Path(tempfile.mkdtemp(prefix="pgveneer-test-tls-"))
        try:
            subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=store",
                            "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", folder / "key.pem", "-out", folder / "cert.pem"],
                           check=True, stderr=subprocess.DEVNULL)
            with Store(certificate=(folder / "cert.pem", folder / "key.pem")) as st:
                equal(st.list("", ca_file=folder / "cert.pem"), ROOT, "root")
                plain = f"127.0.0.1:{st.server.port}"
                equal(st.list("", ca_file=folder / "cert.pem", address=plain, encrypt="on"), ROOT, "root")
                st.fails("08001", "list", "", having=["is not trusted", "hudi_store_ca_file"])
                st.fails("08001", "list", "", having=["is not trusted"], ca_file=folder / "cert.pem",
                         address=f"https://localhost:{st.server.port}")
                st.fails("22023", "list", "", ca_file=folder / "nothing.pem")
        finally:
            shutil.rmtree(folder)


def cache(with_store):
    @with_store("cache: a second run brings nothing")
    def _(st):
        st.fetch("big", "zz")
        st.server.forget()
        equal(st.fetch("big", "zz"), [checksum(BIG), checksum(b"t/zz")], "content")
        equal(st.server.counted("GET"), [], "downloads")
        equal(st.runs(), [], "nothing of the runs is left")
        st.server.put("lake", "t/zz", b"other")
        equal(st.fetch("zz"), [checksum(b"other")], "the new state of an object")
        # another access key has another cache, since it may have other rights
        st.server.access_key = "OTHER"
        st.server.forget()
        st.fetch("zz")
        equal(len(st.server.counted("GET", "zz")), 1, "downloads with another access key")

    @with_store("cache: off, and a limit")
    def _(st):
        st.fetch("big", cache_bytes=0)
        equal(st.cached(), [], "kept")
        for i in range(6):
            st.server.put("lake", f"t/f{i}", bytes([i]) * 100_000)
            st.fetch(f"f{i}", cache_bytes=350_000)
        equal(st.cached(), [100_000] * 3, "kept")
        st.fetch("f3", cache_bytes=350_000)  # used again: goes last
        st.server.put("lake", "t/f6", b"6" * 100_000)
        st.server.put("lake", "t/f7", b"7" * 100_000)
        st.fetch("f6", "f7", cache_bytes=350_000)
        st.server.forget()
        st.fetch("f3", cache_bytes=350_000)
        equal(st.server.counted("GET"), [], "what was used last is there")
        st.fetch("big", cache_bytes=350_000)
        equal(len(BIG) in st.cached(), False, "an object over the limit is not kept")

    @with_store("cache: a damaged copy is not used")
    def _(st):
        st.fetch("big")
        copy, = pathlib.Path(st.folder, "cache/objects").iterdir()
        os.truncate(copy, 1000)
        equal(st.fetch("big"), [checksum(BIG)], "content")
        equal(st.cached(), [len(BIG)], "kept")

    @with_store("cache: a folder that is not ours alone is refused")
    def _(st):
        os.mkdir(st.folder + "/open")
        os.chmod(st.folder + "/open", 0o777)
        os.symlink(st.folder, st.folder + "/link")
        for name in ("open", "link"):
            st.fails("42501", "fetch", "zz", cache_folder=f"{st.folder}/{name}", having=["hudi_cache_dir"])

    @with_store("cache: twelve processes at once, some killed")
    def _(st):
        names = [f"g{i}" for i in range(20)]
        for i, name in enumerate(names):
            st.server.put("lake", f"t/{name}", bytes([i]) * 50_000)
        expected = [checksum(bytes([i]) * 50_000) for i in range(20)]
        st.server.faults.add(times=None, rate=0.3, delay=0.05)
        options = {"cache_bytes": 500_000}  # half of it: they take from each other
        running = [subprocess.Popen(st.args("fetch", *names, **options), stdout=subprocess.PIPE) for _ in range(12)]
        for p in running[::3]:
            time.sleep(0.1)
            p.send_signal(signal.SIGKILL)
        for i, p in enumerate(running):
            out = p.communicate(timeout=60)[0].decode()
            if i % 3:
                equal([tuple(map(int, line.split()[1:])) for line in out.splitlines()], expected, f"process {i}")
        st.server.faults.clear()
        equal(st.fetch(*names, **options), expected, "content afterwards")
        equal(st.runs(), [], "what the killed ones left")
        if sum(st.cached()) > 500_000:
            raise AssertionError(f"{sum(st.cached())} bytes kept")

    @with_store("cache: what a run holds stays until it ends")
    def _(st):
        st.server.put("lake", "t/h", b"h" * 300_000)
        holder = subprocess.Popen(st.args("hold", "h", cache_bytes=350_000), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        path = holder.stdout.readline().decode().split()[0]
        st.server.put("lake", "t/i", b"i" * 300_000)
        st.fetch("i", cache_bytes=350_000)
        equal(st.cached(), [300_000], "only the newer one is kept")
        equal(pathlib.Path(path).read_bytes(), b"h" * 300_000, "the file of the run")
        holder.communicate(timeout=30)
        wait_until(lambda: st.runs() == [], "the run's folder is gone")


if __name__ == "__main__":
    sys.exit(main())
