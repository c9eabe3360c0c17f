"""What an OpenAI error looks like.

Source: <https://platform.openai.com/docs/guides/error-codes>.
"""

from .client import Reply

ANY = object()


def assert_openai_error(reply: Reply, status: int, kind=ANY, param=ANY, code=ANY, says: str = ""):
    """`reply` is `{"error": {"message", "type", "param", "code"}}` and nothing else."""
    assert reply.status == status, f"{reply.status}: {reply.body[:500]!r}"
    assert (reply.header("content-type") or "").split(";")[0] == "application/json", reply.headers
    body = reply.json()
    assert list(body) == ["error"], body
    error = body["error"]
    assert set(error) == {"message", "type", "param", "code"}, error
    assert isinstance(error["message"], str) and error["message"].strip(), error
    assert says.lower() in error["message"].lower(), error
    assert isinstance(error["type"], str) and error["type"], error
    assert error["param"] is None or isinstance(error["param"], str), error
    assert error["code"] is None or isinstance(error["code"], (str, int)), error
    for name, expected in (("type", kind), ("param", param), ("code", code)):
        assert expected is ANY or error[name] == expected, error
    return error
