"""`make run`: a gateway, one question, its answer, and how to ask more.

Without OPENAI_API_KEY the scripted provider of the tests stands in for OpenAI, under OpenAI's name
and over TLS. With it, it is OpenAI.
"""

import argparse
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time

from harness import artefacts

QUESTION = {"messages": [{"role": "user", "content": "Say hello in five words."}]}

GATEWAY = """\
# yaml-language-server: $schema={schema}
listen: 127.0.0.1:{port}
admin: 127.0.0.1:{admin}
backends:
- name: openai
  type: openai
  config:
    apiKey: ${{OPENAI_API_KEY}}
    defaultModel: gpt-4o-mini
"""

MOCK = """\
    # Not OpenAI, but the mock provider under its name.
    address: {address}
    tls: {{caFile: {ca}}}
"""


def main() -> int:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--once", action="store_true", help="end when the answer has come")
    arguments.add_argument("--envoy", type=pathlib.Path, help="the Envoy to run")
    arguments = arguments.parse_args()
    # Ctrl-C and `kill` come here; the children are told from here, once.
    # Both are set: who is started in the background finds SIGINT ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    children = []
    try:
        return serve(arguments.once, arguments.envoy or artefacts.envoy(), children)
    except KeyboardInterrupt:
        print("\nStopping.")
        return 0
    finally:
        for child in reversed(children):
            if child.poll() is None:
                child.terminate()
                child.wait()


def serve(once: bool, envoy_path: pathlib.Path, children: list) -> int:
    directory = artefacts.TARGET / "run"
    directory.mkdir(parents=True, exist_ok=True)
    env = dict(os.environ)
    port, admin = free_or_another(10000), free_or_another(9901)
    text = GATEWAY.format(schema=artefacts.EXAMPLES / "gateway.schema.json", port=port, admin=admin)
    is_mock = not env.get("OPENAI_API_KEY")
    if is_mock:
        ca = directory / "mock-ca.pem"
        command = [artefacts.mock(), "--ca-out", ca]
        children.append(start(command, env, stdout=subprocess.PIPE, text=True))
        address = json.loads(children[0].stdout.readline())["tls"]
        env["OPENAI_API_KEY"] = "sk-mock"
        text += MOCK.format(address=address, ca=ca)
    gateway = directory / "gateway.yaml"
    gateway.write_text(text)

    print(f"\nThe gateway's configuration, {shown(gateway)}:\n")
    print("".join(f"  {line}\n" for line in text.splitlines()[1:]))
    log = directory / "envoy.log"
    command = [artefacts.command(), "run", gateway]
    command += ["--envoy", envoy_path, "--wasm", artefacts.module()]
    with open(log, "wb") as output:
        children.append(start(command, env, stdout=output, stderr=subprocess.STDOUT))
    envoy = children[-1]
    while not is_ready(admin):
        if envoy.poll() is not None:
            print(f"Envoy ended with {envoy.poll()}; {shown(log)} says:\n\n{log.read_text()[-3000:]}")
            return 1
        time.sleep(0.05)

    url = f"http://127.0.0.1:{port}/v1"
    ok = ask(f"{url}/chat/completions", QUESTION)
    if once:
        return 0 if ok else 1
    print(f"""
{"The mock provider answered. With OPENAI_API_KEY set, `make run` asks OpenAI." if is_mock else "OpenAI answered."}

Ask more, from another terminal:

  curl {url}/chat/completions -H 'content-type: application/json' \\
    -d '{{"stream": true, "messages": [{{"role": "user", "content": "Tell me more."}}]}}'

or point any OpenAI SDK at it:

  OPENAI_BASE_URL={url} OPENAI_API_KEY=unused python your-application.py

Envoy's log: {shown(log)}. Ctrl-C ends it.""", flush=True)
    code = envoy.wait()
    print(f"Envoy ended with {code}; {shown(log)} says why.")
    return code


def start(command, env, **how) -> subprocess.Popen:
    return subprocess.Popen(
        list(map(str, command)), env=env, stdin=subprocess.DEVNULL, start_new_session=True, **how
    )


def ask(url: str, question: dict) -> bool:
    """Asks with curl as anybody would, or without it where there is none."""
    body = json.dumps(question)
    print(f"  curl {url} -H 'content-type: application/json' \\\n    -d '{body}'\n", flush=True)
    if shutil.which("curl"):
        command = ["curl", "--silent", "--show-error", "--noproxy", "*", url]
        command += ["--header", "content-type: application/json", "--data", body]
        done = subprocess.run(command, capture_output=True, text=True)
        answer = done.stdout or done.stderr
    else:
        connection = http.client.HTTPConnection(url.split("/")[2])
        path = "/" + url.split("/", 3)[3]
        connection.request("POST", path, body, {"content-type": "application/json"})
        answer = connection.getresponse().read().decode()
    try:
        answer = json.loads(answer)
        print("\n".join(f"  {line}" for line in json.dumps(answer, indent=2).splitlines()))
        return "choices" in answer
    except ValueError:
        print(f"  {answer}")
        return False


def is_ready(admin: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", admin, timeout=10)
    try:
        connection.request("GET", "/ready")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def free_or_another(port: int) -> int:
    """`port`, or one that the system picks where that is taken."""
    for wanted in (port, 0):
        with socket.socket() as it:
            it.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                it.bind(("127.0.0.1", wanted))
            except OSError:
                print(f"Port {port} is taken; another one is used.")
                continue
            return it.getsockname()[1]
    raise OSError("no port is free")


def shown(path: pathlib.Path) -> pathlib.Path:
    return path.relative_to(artefacts.ROOT) if path.is_relative_to(artefacts.ROOT) else path


if __name__ == "__main__":
    sys.exit(main())
