"""Asks the gateway of docker-compose.yaml what an application would, and the provider what came."""

import json
import os
import urllib.request

from openai import OpenAI

GATEWAY = os.environ.get("GATEWAY", "http://envoy:10000")
CONTROL = os.environ.get("CONTROL", "http://mock:8001")
CREDENTIALS = {"authorization", "x-api-key"}
MESSAGES = [{"role": "user", "content": "Say hello in five words."}]


def main() -> None:
    control("DELETE", "/requests")
    for base, authority, path, key in [
        ("/v1", "api.openai.com", "/v1/chat/completions", ("authorization", "Bearer sk-mock-openai")),
        ("/claude", "api.anthropic.com", "/v1/messages", ("x-api-key", "sk-mock-anthropic")),
    ]:
        # The application's own key must not arrive.
        client = OpenAI(base_url=GATEWAY + base, api_key="unused", max_retries=0)
        whole = client.chat.completions.create(model="", messages=MESSAGES)
        assert whole.choices[0].message.content, whole
        chunks = list(client.chat.completions.create(model="", messages=MESSAGES, stream=True))
        text = "".join(it.choices[0].delta.content or "" for it in chunks if it.choices)
        assert text == whole.choices[0].message.content, (text, whole)
        arrived = control("GET", "/requests?at_least=2")
        assert len(arrived) == 2, arrived
        for request in arrived:
            assert request["tls"] and request["sni"] == authority, request
            assert (request["authority"], request["path"]) == (authority, path), request
            keys = [it for it in map(tuple, request["headers"]) if it[0] in CREDENTIALS]
            assert keys == [key], request
        control("DELETE", "/requests")
        print(f"{authority} by {GATEWAY}{base}: {text!r}, whole and in {len(chunks)} chunks")


def control(method: str, path: str):
    request = urllib.request.Request(CONTROL + path, method=method)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


if __name__ == "__main__":
    main()
