"""OpenAI's own Python SDK as the client: sync, async, streams, and its exception classes."""

import asyncio
import concurrent.futures

import openai
import pytest

MESSAGES = [{"role": "user", "content": "Say it"}]
ERROR = '{"error":{"message":"as the provider said","type":"t","param":"p","code":"c"}}'


def options(gateway, path="/aliased/v1", key="sk-client"):
    return {"base_url": gateway.url(path), "api_key": key, "max_retries": 0, "timeout": 120}


@pytest.fixture
def client(gateway):
    with openai.OpenAI(**options(gateway)) as client:
        yield client


def run(gateway, use, path="/aliased/v1"):
    async def inside():
        async with openai.AsyncOpenAI(**options(gateway, path)) as client:
            return await use(client)

    return asyncio.run(inside())


def test_a_chat(client, mock):
    made = client.chat.completions.create(model="gpt-4o", messages=MESSAGES, temperature=0.5)
    assert made.model == "exact-model"
    assert "Say it" in made.choices[0].message.content
    assert made.choices[0].finish_reason == "stop"
    assert made.usage.total_tokens == made.usage.prompt_tokens + made.usage.completion_tokens
    arrived = mock.only()
    assert arrived.json() == {"messages": MESSAGES, "model": "exact-model", "temperature": 0.5}
    assert arrived.all("authorization") == ["Bearer sk-plain-7f1c"]


def test_a_chat_async(gateway, mock):
    made = run(gateway, lambda it: it.chat.completions.create(model="gpt-4o", messages=MESSAGES))
    assert made.model == "exact-model" and "Say it" in made.choices[0].message.content


def test_a_stream(client, mock):
    stream = client.chat.completions.create(
        model="gpt-4o", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    text = "".join(it.choices[0].delta.content or "" for it in chunks if it.choices)
    assert "Say it" in text
    assert {it.model for it in chunks} == {"exact-model"} and len({it.id for it in chunks}) == 1
    assert chunks[-1].usage.total_tokens > 0 and chunks[-1].choices == []


def test_a_stream_async(gateway, mock):
    async def use(client):
        stream = await client.chat.completions.create(
            model="gpt-4o", messages=MESSAGES, stream=True
        )
        return [chunk async for chunk in stream]

    chunks = run(gateway, use)
    assert "Say it" in "".join(it.choices[0].delta.content or "" for it in chunks if it.choices)


def test_many_async_chats_at_once(gateway, mock):
    async def use(client):
        def one(number):
            messages = [{"role": "user", "content": f"number {number}."}]
            return client.chat.completions.create(model="gpt-4o", messages=messages)

        return await asyncio.gather(*map(one, range(40)))

    for number, made in enumerate(run(gateway, use)):
        assert f"number {number}." in made.choices[0].message.content


@pytest.mark.parametrize("encoding", ["float", "base64", None])
def test_embeddings(client, mock, encoding):
    asked = {} if encoding is None else {"encoding_format": encoding}
    made = client.embeddings.create(model="gpt-4o", input=["a", "b"], **asked)
    assert len(made.data) == 2 and made.model == "exact-model"
    if encoding != "base64":
        assert all(isinstance(number, float) for number in made.data[0].embedding)


def test_models(client, gateway, mock):
    assert [model.id for model in client.models.list()] == ["mock-large", "mock-small"]
    assert client.models.retrieve("mock-large").id == "mock-large"

    async def use(client):
        return [model.id async for model in client.models.list()]

    assert run(gateway, use) == ["mock-large", "mock-small"]


def test_responses(client, mock):
    made = client.responses.create(model="gpt-4o", input="Say it")
    assert "Say it" in made.output_text and made.model == "exact-model"
    with client.responses.stream(model="gpt-4o", input="Say it") as stream:
        kinds = [event.type for event in stream]
    assert kinds[0] == "response.created" and kinds[-1] == "response.completed"


def test_completions_moderations_and_images(client, mock):
    assert "Say" in client.completions.create(model="gpt-4o", prompt="Say").choices[0].text
    assert client.moderations.create(input="x").results[0].flagged is False
    assert client.images.generate(model="gpt-4o", prompt="x").data[0].b64_json


def test_audio_and_files(client, mock, tmp_path):
    speech = client.audio.speech.create(model="gpt-4o", input="x", voice="alloy")
    assert speech.content[:3] == b"ID3" and len(speech.content) == 3 + 16 * 256
    file = tmp_path / "a.wav"
    file.write_bytes(bytes(range(256)))
    with file.open("rb") as opened:
        said = client.audio.transcriptions.create(model="whisper-1", file=opened)
    assert "256 bytes of a.wav" in said.text
    made = client.files.create(file=("b.jsonl", b"{}\n"), purpose="batch")
    assert client.files.content(made.id).content == b"{}\n"
    assert client.files.delete(made.id).deleted


@pytest.mark.parametrize(
    "status, exception",
    [
        (400, openai.BadRequestError),
        (401, openai.AuthenticationError),
        (403, openai.PermissionDeniedError),
        (404, openai.NotFoundError),
        (422, openai.UnprocessableEntityError),
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
        (503, openai.InternalServerError),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("shape", ["openai", "text"])
def test_a_providers_error_raises_the_class_of_its_status(
    client, mock, status, exception, stream, shape
):
    media_type = "application/json" if shape == "openai" else "text/plain"
    body = ERROR if shape == "openai" else "as the provider said"
    headers = [("content-type", media_type), ("retry-after", "3"), ("x-request-id", "req_1")]
    mock.reply(status=status, headers=headers, body=body)
    with pytest.raises(exception) as raised:
        client.chat.completions.create(model="gpt-4o", messages=MESSAGES, stream=stream)
    error = raised.value
    assert error.status_code == status
    assert "as the provider said" in error.message and "as the provider said" in error.body["message"]
    assert error.request_id == "req_1" and error.response.headers["retry-after"] == "3"
    if shape == "openai":
        assert (error.type, error.param, error.code) == ("t", "p", "c")
    else:
        assert error.type and error.param is None


def test_an_error_raises_its_class_async(gateway, mock):
    mock.reply(status=429, headers=[("content-type", "application/json")], body=ERROR)
    with pytest.raises(openai.RateLimitError):
        run(gateway, lambda it: it.chat.completions.create(model="m", messages=MESSAGES))


def test_our_own_errors_raise_the_same_classes(gateway, mock):
    def client(path):
        return openai.OpenAI(**options(gateway, path))

    with client("/plain/v1") as it, pytest.raises(openai.BadRequestError) as raised:
        it.chat.completions.create(model="", messages=MESSAGES)
    assert (raised.value.param, raised.value.type) == ("model", "invalid_request_error")
    with client("/serving/v1") as it, pytest.raises(openai.NotFoundError) as raised:
        it.chat.completions.create(model="gpt-4o", messages=MESSAGES)
    assert raised.value.code == "model_not_found"
    with client("/nowhere/v1") as it, pytest.raises(openai.NotFoundError):
        it.chat.completions.create(model="gpt-4o", messages=MESSAGES)


def test_two_sdk_clients_at_once_keep_their_keys(gateway, mock):
    clients = [openai.OpenAI(**options(gateway, "/nokey/v1", f"sk-{name}")) for name in "ab"]

    def ask(number):
        messages = [{"role": "user", "content": f"by {'ab'[number % 2]}"}]
        return clients[number % 2].chat.completions.create(model="m", messages=messages)

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, range(40)))
    for request in mock.requests():
        name = request.json()["messages"][0]["content"][-1]
        assert request.all("authorization") == [f"Bearer sk-{name}"]
    for client in clients:
        client.close()


def test_a_stream_that_is_closed_early_ends_the_providers_work(client, mock):
    chunk = 'data: {"id":"1","object":"chat.completion.chunk","created":1,"model":"m","choices":[]}\n\n'
    mock.reply(headers=[("content-type", "text/event-stream")], chunks=[{"data": chunk}], end="hang")
    stream = client.chat.completions.create(model="gpt-4o", messages=MESSAGES, stream=True)
    assert next(iter(stream)).id == "1"
    stream.close()
    assert mock.when(lambda request: request.ended).disconnected
