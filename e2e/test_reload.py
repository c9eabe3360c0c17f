"""`llm-proxy run` takes changes of its configuration while requests run: none fails, no stream is cut."""

import contextlib
import copy
import http.client
import json
import os
import pathlib
import re
import signal
import threading
import time

import pytest
import yaml

from harness import artefacts, gateways
from harness.client import HOST, JSON, Exchange, request
from harness.process import until
from harness.running import free_port, started

CHAT = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
EVENTS = ("content-type", "text/event-stream")
# What a change needs at most until requests notice it.
LIVE_SECONDS = 2


@pytest.fixture(params=[artefacts.NEWEST_ENVOY, artefacts.OLDEST_ENVOY])
def version(request):
    return request.param


class Gateway:
    """A running gateway whose configuration is a file that tests change."""

    def __init__(self, provider, directory):
        self.directory = directory
        self.port, self.admin = free_port(), free_port()
        self.file = directory / "gateway.yaml"
        # A copy: tests change it.
        self.ca = directory / "ca.pem"
        self.ca.write_bytes(provider.ca.read_bytes())
        self.provider = provider
        self.now = {
            "listen": f"127.0.0.1:{self.port}",
            "admin": f"127.0.0.1:{self.admin}",
            "backends": [
                self.backend("a", model="model-a"),
                self.backend("b", model="model-b"),
                {"name": "p", "type": "pool", "backends": [{"name": "a"}, {"name": "b"}]},
            ],
            "routes": [
                {"name": "a", "path": "/a", "backend": "a"},
                {"name": "p", "path": "/p", "backend": "p"},
            ],
        }
        self.write()
        self.process = None
        self.reloads = 0

    def backend(self, name, **config):
        config = {**gateways.at(self.provider, name, {}), "apiKey": "${PLAIN_KEY}", **config}
        config["tls"] = {"caFile": str(self.ca)}
        return {"name": name, "type": "openai-compatible", "config": config}

    def write(self, text=None):
        next_file = self.file.with_suffix(".next")
        next_file.write_text(yaml.safe_dump(self.now) if text is None else text)
        os.replace(next_file, self.file)

    @contextlib.contextmanager
    def running(self, version, env=(), arguments=()):
        arguments = ["--envoy", artefacts.envoy(version), *arguments, "--", "--concurrency", "2"]
        env = {"PLAIN_KEY": "sk-plain-7f1c", **dict(env)}
        with started(self.file, self.directory, self.admin, arguments, env) as process:
            self.process = process
            yield self

    def config(self, name) -> dict:
        return next(it for it in self.now["backends"] if it["name"] == name)["config"]

    def pool(self) -> list:
        return next(it for it in self.now["backends"] if it["name"] == "p")["backends"]

    def change(self, change=lambda: None):
        """Changes the configuration, waits until it is live, and gives the line about it."""
        change()
        self.write()
        return self.reloaded()

    def reloaded(self) -> str:
        """The line about the next reload."""
        begun = time.monotonic()
        self.reloads += 1
        lines = self.process.until(lambda: self.lines() if len(self.lines()) >= self.reloads else None)
        took = time.monotonic() - begun
        print(f"{took:.2f} s: {lines[self.reloads - 1]}")
        return lines[self.reloads - 1]

    def lines(self):
        pattern = r"llm-proxy: (?:reloaded|not reloaded|\S+ was read again): .*"
        return re.findall(pattern, self.process.log_text())

    def chat(self, path, body=CHAT):
        return request(self.port, "POST", f"{path}/v1/chat/completions", body)

    def stats(self, filter) -> dict[str, int]:
        text = request(self.admin, "GET", f"/stats?filter={filter}").text
        pairs = (line.split(": ") for line in text.splitlines() if ": " in line)
        return {name: int(value) for name, value in pairs if value.isdigit()}

    def envoy(self) -> int:
        """The process id of Envoy."""
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        (envoy,) = map(int, children.read_text().split())
        return envoy

    def vms(self) -> int:
        return sum(self.stats("wasm.runtime.v8.active").values())


class Load:
    """Requests one after the other on connections that stay, from a thread for each path."""

    def __init__(self, port, paths, pause=0.02):
        self.port = port
        self.pause = pause
        self.done = 0
        self.failures = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(path,)) for path in paths]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join()
        print(f"{self.done} requests, {len(self.failures)} failed")

    def _run(self, path):
        body = json.dumps(CHAT)
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        while not self._stop.is_set():
            try:
                headers = dict([JSON])
                connection.request("POST", f"{path}/v1/chat/completions", body, headers)
                reply = connection.getresponse()
                text = reply.read()
                if reply.status == 200:
                    self.done += 1
                else:
                    self.failures.append((path, reply.status, text[:300]))
            except OSError as error:
                self.failures.append((path, repr(error)))
                connection.close()
            time.sleep(self.pause)


class Streams:
    """Streams that have begun, and go on until `finish`."""

    def __init__(self, mock, port, paths):
        chunks = [{"data": 'data: {"choices":[]}\n\n'}]
        chunks.append({"data": "data: [DONE]\n\n", "wait_for": "end"})
        matches = {"path_prefix": "/v1/completions"}
        mock.reply(**{"for": matches}, times=len(paths), headers=[EVENTS], chunks=chunks)
        self.mock = mock
        self.exchanges = []
        for path in paths:
            exchange = Exchange(port)
            body = json.dumps({"model": "m", "prompt": "Hi", "stream": True}).encode()
            headers = [HOST, JSON, ("content-length", str(len(body)))]
            exchange.head("POST", f"{path}/v1/completions", headers)
            exchange.send(body)
            assert exchange.begin()[0] == 200
            exchange.until(b"\n\n")
            self.exchanges.append(exchange)

    def finish(self):
        self.mock.open("end")
        whole = [exchange.rest() == b"data: [DONE]\n\n" for exchange in self.exchanges]
        print(f"{len(whole)} streams, {whole.count(False)} cut")
        assert all(whole)
        for exchange in self.exchanges:
            exchange.close()


def last_model(mock, authority):
    requests = [it for it in mock.requests() if it.authority == authority and it.body]
    return requests[-1].json()["model"]


def test_every_kind_of_change_fails_no_request_and_cuts_no_stream(provider, mock, tmp_path, version):
    gateway = Gateway(provider, tmp_path)
    with gateway.running(version):
        streams = Streams(mock, gateway.port, ["/a", "/p", "/a", "/p"])
        vms = gateway.vms()
        with Load(gateway.port, ["/a", "/p", "/p"]) as load:
            # A model.
            line = gateway.change(lambda: gateway.config("a").update(model="model-a-2"))
            assert "backend a changed" in line and "backend b" not in line
            gateway.chat("/a")
            assert last_model(mock, "a.example") == "model-a-2"
            # A route, then one by model.
            line = gateway.change(
                lambda: gateway.now["routes"].append({"name": "b", "path": "/b", "backend": "b"})
            )
            assert "routes changed" in line and "backend b changed" not in line
            assert gateway.chat("/b").status == 200
            by_model = [
                {"name": "x", "path": "/m", "models": ["x-*"], "backend": "a"},
                {"name": "y", "path": "/m", "backend": "b"},
            ]
            gateway.change(lambda: gateway.now["routes"].extend(copy.deepcopy(by_model)))
            assert gateway.chat("/m", {**CHAT, "model": "x-1"}).status == 200
            assert gateway.chat("/m").status == 200
            # A member of a pool.
            gateway.change(
                lambda: (
                    gateway.now["backends"].insert(0, gateway.backend("c", model="model-c")),
                    gateway.pool().append({"name": "c"}),
                )
            )
            mock.forget()
            for _ in range(6):
                assert gateway.chat("/p").status == 200
            until(lambda: sent_to(mock, "c.example"))
            # Its weights, its strategy.
            gateway.change(lambda: gateway.pool()[0].update(weight=7))
            gateway.change(lambda: gateway.now["backends"][-1].update(strategy="round-robin"))
            # A member that is gone.
            line = gateway.change(
                lambda: (gateway.now["backends"].pop(0), gateway.pool().pop())
            )
            assert "backend c removed" in line and "pool p changed" in line
            # Something that is wrong: what was there serves on.
            before = gateway.now["backends"][0]["config"]["model"]
            gateway.write("backends: [\n")
            assert gateway.reloaded().startswith("llm-proxy: not reloaded: ")
            line = gateway.change(lambda: gateway.config("a").update(timeot="1s"))
            assert line.startswith("llm-proxy: not reloaded: ")
            assert 'did you mean "timeout"' in gateway.process.log_text()
            assert gateway.config("a").pop("timeot") and before == "model-a-2"
            # A timeout.
            gateway.change(lambda: gateway.config("a").update(timeout="77s"))
            # A CA file: first a wrong one, then another one that is right.
            right = gateway.ca.read_bytes()
            gateway.ca.write_bytes(b"no certificate")
            assert gateway.reloaded().startswith("llm-proxy: not reloaded: ")
            gateway.ca.write_bytes(right + b"\n# the same\n")
            line = gateway.reloaded()
            assert "backend a changed" in line and "backend b changed" in line
            # The route of a backend becomes that of a pool, and back; the routes by model go.
            gateway.change(lambda: gateway.now["routes"][0].update(backend="p"))
            gateway.change(lambda: gateway.now["routes"][0].update(backend="a"))
            gateway.change(lambda: gateway.now.update(routes=gateway.now["routes"][:3]))
            assert gateway.chat("/m").status == 404
            # By a signal.
            gateway.process.signal(signal.SIGHUP)
            assert "nothing has changed" in gateway.reloaded()
        streams.finish()
        assert load.failures == [], load.failures[:3]
        assert load.done > 100
        assert gateway.vms() == vms
        assert "sk-plain-7f1c" not in gateway.process.log_text()


def test_a_stream_that_began_before_a_change_keeps_its_time_limits(provider, mock, tmp_path, version):
    gateway = Gateway(provider, tmp_path)
    gateway.config("a").update(streamIdleTimeout="4s")
    gateway.write()
    with gateway.running(version):
        streams = Streams(mock, gateway.port, ["/a"])
        line = gateway.change(lambda: gateway.config("a").update(model="other"))
        assert "backend a changed" in line
        begun = time.monotonic()
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            streams.exchanges[0].rest()
        assert time.monotonic() - begun < 30
        mock.open("end")


def test_what_a_pool_has_learnt_survives_a_change(provider, mock, tmp_path, version):
    gateway = Gateway(provider, tmp_path)
    with gateway.running(version):
        mock.reply(
            **{"for": {"authority": "a.example"}},
            times="always",
            status=429,
            headers=[("retry-after", "600"), JSON],
            body="{}",
        )
        until(lambda: gateway.chat("/p").status == 200 and sent_to(mock, "a.example"))
        line = gateway.change(lambda: gateway.config("b").update(model="other", timeout="50s"))
        assert "pool p changed" in line
        mock.forget()
        for _ in range(8):
            assert gateway.chat("/p").status == 200
        assert sent_to(mock, "b.example") and not sent_to(mock, "a.example")


def sent_to(mock, authority) -> bool:
    return any(it.authority == authority for it in mock.requests())


def test_what_only_a_restart_changes_is_named(provider, mock, tmp_path):
    gateway = Gateway(provider, tmp_path)
    with gateway.running(artefacts.NEWEST_ENVOY):
        line = gateway.change(lambda: gateway.now.update(listen=f"127.0.0.1:{free_port()}"))
        assert line == "llm-proxy: reloaded: a restart is needed for listen"
        assert gateway.chat("/a").status == 200


def test_a_mounted_configuration_is_followed(provider, mock, tmp_path, version):
    """As Kubernetes mounts a ConfigMap: the directory behind a link is another one from one moment to the
    next. One that is absent for a while changes nothing."""
    gateway = Gateway(provider, tmp_path)

    def mount(name):
        directory = tmp_path / name
        directory.mkdir()
        (directory / "gateway.yaml").write_text(yaml.safe_dump(gateway.now))
        link = tmp_path / "..next"
        link.symlink_to(name)
        os.replace(link, tmp_path / "..data")

    gateway.file.unlink()
    mount("..1")
    gateway.file.symlink_to("..data/gateway.yaml")
    with gateway.running(version):
        gateway.config("a").update(model="mounted")
        mount("..2")
        assert "backend a changed" in gateway.reloaded()
        gateway.chat("/a")
        assert last_model(mock, "a.example") == "mounted"
        (tmp_path / "..data").unlink()
        assert gateway.reloaded().startswith("llm-proxy: not reloaded: ")
        assert gateway.chat("/a").status == 200
        gateway.config("a").update(model="mounted again")
        mount("..3")
        assert "backend a changed" in gateway.reloaded()


def test_an_envoy_that_crashed_starts_with_the_newest_configuration(provider, mock, tmp_path, version):
    gateway = Gateway(provider, tmp_path)
    with gateway.running(version):
        gateway.change(lambda: gateway.config("a").update(model="newest"))
        os.kill(gateway.envoy(), signal.SIGKILL)
        gateway.process.until(lambda: "ended by signal 9; starting it again" in gateway.process.log_text())

        def serves():
            with contextlib.suppress(OSError):
                return gateway.chat("/a").status == 200

        gateway.process.until(serves)
        assert last_model(mock, "a.example") == "newest"
        gateway.change(lambda: gateway.config("a").update(model="newer"))
        gateway.chat("/a")
        assert last_model(mock, "a.example") == "newer"


def resources(pid) -> dict:
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    rss = int(re.search(r"VmRSS:\s+(\d+) kB", status)[1])
    return {"rss_mib": rss // 1024, "files": len(os.listdir(f"/proc/{pid}/fd"))}


@pytest.mark.long
def test_a_hundred_reloads_leave_nothing_behind(provider, mock, tmp_path, version):
    gateway = Gateway(provider, tmp_path)

    def flip(number):
        gateway.config("a").update(model=f"model-{number}")
        routes = [it for it in gateway.now["routes"] if it["path"] != "/x"]
        if number % 2:
            routes.insert(0, {"name": "x", "path": "/x", "models": ["m"], "backend": "b"})
        gateway.now["routes"] = routes
        gateway.pool()[0].update(weight=1 + number % 5)

    with gateway.running(version):
        streams = Streams(mock, gateway.port, ["/a", "/p"])
        with Load(gateway.port, ["/a", "/p"], pause=0.05) as load:
            for number in range(10):
                gateway.change(lambda: flip(number))
                mock.forget()
            before = {"vms": gateway.vms(), **resources(gateway.envoy())}
            own = resources(gateway.process.pid)
            begun = time.monotonic()
            for number in range(10, 110):
                gateway.change(lambda: flip(number))
                mock.forget()
            took = time.monotonic() - begun
            after = {"vms": gateway.vms(), **resources(gateway.envoy())}
            own_after = resources(gateway.process.pid)
        streams.finish()
        print(f"100 reloads in {took:.0f} s; Envoy {before} -> {after}; run {own} -> {own_after}")
        assert load.failures == [], load.failures[:3]
        assert after["vms"] == before["vms"]
        assert after["files"] <= before["files"] + 4
        # What each reload leaked would show a hundredfold.
        assert after["rss_mib"] <= before["rss_mib"] + 15
        assert own_after["rss_mib"] <= own["rss_mib"] + 5
