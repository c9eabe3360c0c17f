"""Pools and access tokens behind a control plane: the same requests, whatever carries the gateway."""

from harness import google
from harness.process import until

JSON = ("content-type", "application/json")
CHAT = {"model": "mistral-small", "messages": [{"role": "user", "content": "Hello"}]}
KEYS = {"MISTRAL_API_KEY": "sk-mistral", "ANTHROPIC_API_KEY": "sk-ant", "GROQ_API_KEY": "sk-groq"}
# Three members of two dialects, and one of them by itself.
GATEWAY = """
backends:
- {name: mistral, type: mistral, config: {apiKey: "${MISTRAL_API_KEY}", defaultModel: mistral-small}}
- {name: claude, type: anthropic, config: {apiKey: "${ANTHROPIC_API_KEY}", defaultModel: claude-sonnet-4-5}}
- {name: groq, type: groq, config: {apiKey: "${GROQ_API_KEY}", defaultModel: llama-3.3-70b-versatile}}
- {name: all, type: pool, backends: [{name: mistral}, {name: claude, priority: 1}, {name: groq, priority: 2}]}
routes:
- {path: /v1, backend: all}
- {path: /claude, backend: claude}
"""
AUTHORITIES = {"api.mistral.ai": "sk-mistral", "api.anthropic.com": "sk-ant", "api.groq.com": "sk-groq"}


def assert_pool_answers(started, mock):
    """Each member answers in its turn, and the last one's error is the client's."""
    hosts = list(AUTHORITIES)
    for failures in range(len(hosts)):
        mock.reset([])
        for host in hosts[:failures]:
            at = {"for": {"authority": host}}
            mock.reply(**at, status=503, headers=[JSON], body='{"error":{"message":"busy"}}')
        reply = started.post("/v1/chat/completions", CHAT, [("cookie", "a=b")])
        assert reply.status == 200, (failures, reply.body, started.log()[-3000:])
        assert reply.json()["choices"][0]["message"]["content"]
        came = mock.requests()
        assert [it.authority for it in came] == hosts[: failures + 1]
        for it in came:
            assert it.sni == it.authority and it.refused is None
            keys = [value for _, value in it.headers if "sk-" in value]
            assert [key.removeprefix("Bearer ") for key in keys] == [AUTHORITIES[it.authority]]
            assert it.header("cookie") is None
            assert not [name for name, _ in it.headers if name.startswith("x-llm-proxy")]
    mock.reset([])
    for host in hosts:
        error = '{"error":{"message":"slow down","type":"t","param":null,"code":null}}'
        mock.reply(**{"for": {"authority": host}}, status=429, headers=[JSON], body=error)
    reply = started.post("/v1/chat/completions", CHAT)
    assert reply.status == 429, reply.body
    assert set(reply.json()["error"]) == {"message", "type", "param", "code"}
    assert len(mock.requests()) == 3
    # The member that is not in a pool here, too, is sent its own requests alone.
    mock.reset([])
    body = {**CHAT, "model": "claude-sonnet-4-5"}
    assert started.post("/claude/v1/chat/completions", body).status == 200
    assert mock.only().authority == "api.anthropic.com"
    # The gateway's own error, in the API's shape.
    reply = started.post("/nowhere", CHAT)
    assert reply.status == 404 and reply.json()["error"]["message"], reply.body


ACCOUNT = google.ServiceAccount("control-planes")
VERTEX_KEYS = {"SERVICE_ACCOUNT": ACCOUNT.json()}
VERTEX = """
backends:
- name: vertex
  type: google
  config: {projectId: e2e-project, location: us-central1, serviceAccount: "${SERVICE_ACCOUNT}"}
routes:
- {path: /v1, backend: vertex}
"""


def assert_vertex_answers(started, mock):
    """The module gets a token with the account's key, and Vertex AI takes it."""
    body = {**CHAT, "model": "gemini-2.5-flash"}
    until(lambda: started.post("/v1/chat/completions", body).status == 200)
    mock.forget()
    reply = started.post("/v1/chat/completions", body)
    assert reply.status == 200 and reply.json()["choices"][0]["message"]["content"], reply.body
    arrived = mock.only()
    assert arrived.authority == arrived.sni == "us-central1-aiplatform.googleapis.com"
    assert arrived.header("authorization").startswith("Bearer ")
