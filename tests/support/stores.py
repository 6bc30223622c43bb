"""S3-compatible servers that others wrote, on free ports of 127.0.0.1, each in a folder of its own:

    with S3rver(folder) as store: …       npm package s3rver; does not check signatures
    with Swift(folder) as store: …        OpenStack Swift with its S3 interface, a Debian package; checks them strictly

.port, .access_key, .secret; .client() fills them. missing() says why one cannot run here, or None."""
import os
import pathlib
import shutil
import subprocess
import sys
import urllib.error
import urllib.request

from cluster import ROOT, Process, free_port, wait_until
from s3 import Client
import signal


def answers(port):
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/healthcheck", timeout=2)
        return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


class S3rver:
    access_key, secret = "S3RVER", "S3RVER"
    module = pathlib.Path(os.environ.get("PGVENEER_S3RVER", ROOT / ".deps/s3rver"))

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)

    @classmethod
    def missing(cls):
        return None if shutil.which("node") and (cls.module / "node_modules/s3rver").exists() else f"no s3rver in {cls.module}"

    def __enter__(self):
        self.port = free_port()
        self.folder.mkdir()
        # its continuation tokens use a cipher that OpenSSL 3 keeps for such cases
        self.process = Process("s3rver", ["node", "--openssl-legacy-provider", self.module / "node_modules/s3rver/bin/s3rver.js",
                                          "-d", self.folder / "data", "-a", "127.0.0.1", "-p", str(self.port), "-s", "--no-vhost-buckets"],
                               self.folder / "log", signal.SIGTERM)
        wait_until(lambda: answers(self.port), "s3rver answers")
        return self

    def __exit__(self, *_):
        self.process.stop(signal.SIGKILL)

    def client(self):
        return Client(self.port, self.access_key, self.secret)


CONF = """[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
workers = 0
swift_dir = {folder}
devices = {folder}/devices
mount_check = false
log_address = {folder}/no-syslog
user = {user}
"""
PROXY = """[pipeline:main]
pipeline = catch_errors cache listing_formats s3api tempauth copy symlink versioned_writes slo proxy-server
[app:proxy-server]
use = egg:swift#proxy
allow_account_management = true
account_autocreate = true
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:cache]
paste.filter_factory = memory_cache:filter_factory
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:s3api]
use = egg:swift#s3api
allow_no_owner = true
location = us-east-1
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = testing .admin
[filter:copy]
use = egg:swift#copy
[filter:symlink]
use = egg:swift#symlink
[filter:versioned_writes]
use = egg:swift#versioned_writes
allow_object_versioning = true
[filter:slo]
use = egg:swift#slo
"""
# A cache in the process's own memory in place of memcached.
MEMORY_CACHE = """
class Cache(object):
    def __init__(self): self.all = {}
    def get(self, key, **_): return self.all.get(key)
    def set(self, key, value, **_): self.all[key] = value
    def delete(self, key, **_): self.all.pop(key, None)
    def incr(self, key, delta=1, **_):
        self.all[key] = self.all.get(key, 0) + delta
        return self.all[key]
    def decr(self, key, delta=1, **k): return self.incr(key, -delta)
def filter_factory(conf, **_):
    cache = Cache()
    def make(app):
        def run(env, start):
            env['swift.cache'] = cache
            return app(env, start)
        return run
    return make
"""
START = """
import sys
sys.path.insert(0, sys.argv[3])
from swift.common import utils
utils.set_swift_dir(sys.argv[3])
from swift.common.wsgi import run_wsgi
sys.exit(run_wsgi(sys.argv[1], sys.argv[2]))
"""


class Swift:
    access_key, secret = "test:tester", "testing"

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.processes = []

    @classmethod
    def missing(cls):
        try:
            import swift.proxy.server  # noqa: F401
        except ImportError:
            return "no package python3-swift"
        return None

    def __enter__(self):
        from swift.common.ring import RingBuilder
        import getpass
        self.folder.mkdir()
        (self.folder / "devices/d1").mkdir(parents=True)
        (self.folder / "swift.conf").write_text("[swift-hash]\nswift_hash_path_suffix = test\n")
        (self.folder / "memory_cache.py").write_text(MEMORY_CACHE)
        for kind in ("account", "container", "object"):
            port = free_port()
            ring = RingBuilder(2, 1, 0)
            ring.add_dev({"id": 0, "region": 1, "zone": 1, "ip": "127.0.0.1", "port": port, "device": "d1", "weight": 1.0,
                          "meta": "", "replication_ip": "127.0.0.1", "replication_port": port})
            ring.rebalance()
            ring.get_ring().save(str(self.folder / f"{kind}.ring.gz"))
            self.start(f"{kind}-server", port, f"[pipeline:main]\npipeline = {kind}-server\n[app:{kind}-server]\n"
                                               f"use = egg:swift#{kind}\n", getpass.getuser())
        self.port = free_port()
        self.start("proxy-server", self.port, PROXY, getpass.getuser())
        wait_until(lambda: answers(self.port), "Swift answers")
        return self

    def start(self, section, port, more, user):
        conf = self.folder / f"{section}.conf"
        conf.write_text(CONF.format(port=port, folder=self.folder, user=user) + more)
        self.processes.append(Process(section, [sys.executable, "-c", START, conf, section, self.folder],
                                      self.folder / f"{section}.log", signal.SIGTERM))
        wait_until(lambda: answers(port) or not self.processes[-1].is_running(), f"{section} answers")
        if not self.processes[-1].is_running():
            raise AssertionError(f"{section} does not start\n{self.processes[-1].tail()}")

    def __exit__(self, *_):
        for process in reversed(self.processes):
            process.stop(signal.SIGKILL)

    def client(self):
        return Client(self.port, self.access_key, self.secret)
