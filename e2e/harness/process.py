"""A child process with a log."""

import os
import pathlib
import signal
import subprocess
import time

from .artefacts import GUARD_SECONDS

# Those that run now; their logs are shown when a test fails.
RUNNING: list["Process"] = []


class Process:
    """Runs until `stop`. What it says goes to `log`, unless its standard output is `read`."""

    def __init__(
        self, arguments, log: pathlib.Path, env: dict[str, str] | None = None, read: bool = False
    ):
        log.parent.mkdir(parents=True, exist_ok=True)
        self.log = log
        log.unlink(missing_ok=True)
        # A child that opens /dev/stdout anew, as Envoy does for its access log, has an offset of its own:
        # only appended lines do not overwrite each other.
        with open(log, "ab") as file:
            self._child = subprocess.Popen(
                [str(argument) for argument in arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if read else file,
                stderr=file,
                env={**_plain_environment(), **(env or {})},
            )
        RUNNING.append(self)

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def stdout(self):
        return self._child.stdout

    def log_text(self) -> str:
        return self.log.read_text(errors="replace")

    def ended(self) -> int | None:
        return self._child.poll()

    def until(self, ready):
        """What `ready` returns, as soon as that is something; fails when the process ends."""
        return until(ready, lambda: self._assert_alive())

    def _assert_alive(self):
        code = self.ended()
        assert code is None, f"ended with {code}:\n{self.log_text()[-4000:]}"

    def signal(self, number: signal.Signals):
        self._child.send_signal(number)

    def wait(self) -> int:
        return self._child.wait(GUARD_SECONDS)

    def stop(self):
        if self in RUNNING:
            RUNNING.remove(self)
        if self.ended() is None:
            self.signal(signal.SIGTERM)
            try:
                self._child.wait(30)
            except subprocess.TimeoutExpired:
                self._child.kill()
                self._child.wait()
        if self._child.stdout is not None:
            self._child.stdout.close()


def until(look, meanwhile=lambda: None):
    """What `look` returns, as soon as that is something."""
    end = time.monotonic() + GUARD_SECONDS
    while True:
        found = look()
        if found:
            return found
        meanwhile()
        assert time.monotonic() < end, f"not within {GUARD_SECONDS} s"
        time.sleep(0.01)


def _plain_environment() -> dict[str, str]:
    """Ours without any provider's key: nothing of it may decide a test."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.endswith(("_KEY", "_TOKEN")) and not name.startswith("OPENAI_")
    }
