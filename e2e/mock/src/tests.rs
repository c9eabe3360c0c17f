//! The provider as a client meets it: in-process, on ports of its own, without time limits.

use std::io::Cursor;
use std::net::SocketAddr;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};

use crate::record::Limits;
use crate::server::{Options, Server};

// === answers ===

#[tokio::test]
async fn the_answer_says_what_arrived_where() {
    let provider = Provider::start().await;
    let (status, body) = provider.chat("api.x.ai", "/v1", json!({})).await;
    assert_eq!(status, 200);
    assert_eq!(
        body["choices"][0]["message"]["content"],
        "You said: Hello (mock provider, model a-model, host api.x.ai)"
    );
}

#[tokio::test]
async fn a_stream_is_what_openai_sends() {
    let provider = Provider::start().await;
    let extra = json!({"stream": true, "stream_options": {"include_usage": true}});
    let request = provider.chat_request("api.openai.com", "/v1", extra);
    let body = text(provider.send(request).await).await;
    let events: Vec<&str> = body.split_terminator("\n\n").collect();
    let chunks: Vec<Value> = events[..events.len() - 1]
        .iter()
        .map(|event| serde_json::from_str(event.strip_prefix("data: ").unwrap()).unwrap())
        .collect();
    assert_eq!(events[events.len() - 1], "data: [DONE]");
    assert!(chunks.iter().all(|chunk| chunk["id"] == chunks[0]["id"]));
    assert_eq!(chunks[0]["choices"][0]["delta"]["role"], "assistant");
    let content: String = chunks
        .iter()
        .filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str())
        .collect();
    assert_eq!(
        content,
        "You said: Hello (mock provider, model a-model, host api.openai.com)"
    );
    let finished = &chunks[chunks.len() - 2];
    assert_eq!(finished["choices"][0]["finish_reason"], "stop");
    let last = &chunks[chunks.len() - 1];
    assert_eq!(last["choices"], json!([]));
    assert!(last["usage"]["total_tokens"].as_u64().unwrap() > 0);
}

#[tokio::test]
async fn a_tool_that_must_be_called_is_called_and_asked_for_json_is_json() {
    let provider = Provider::start().await;
    let tools = json!([{"type": "function", "function": {"name": "f", "parameters": {}}}]);
    let extra = json!({"tools": tools, "tool_choice": "required"});
    let (_, body) = provider.chat("api.openai.com", "/v1", extra).await;
    let choice = &body["choices"][0];
    assert_eq!(choice["finish_reason"], "tool_calls");
    assert_eq!(choice["message"]["tool_calls"][0]["function"]["name"], "f");

    let extra = json!({"response_format": {"type": "json_object"}, "n": 2});
    let (_, body) = provider.chat("api.openai.com", "/v1", extra).await;
    let content = body["choices"][1]["message"]["content"].as_str().unwrap();
    assert!(serde_json::from_str::<Value>(content).unwrap()["answer"].is_string());
}

#[tokio::test]
async fn the_text_of_all_content_parts_is_echoed_and_long_text_is_cut() {
    let provider = Provider::start().await;
    let parts = json!([
        {"type": "text", "text": "What is"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
        {"type": "text", "text": "this?"},
    ]);
    let long = "ä".repeat(201);
    for (content, echoed) in [(parts, "What is this? ("), (json!(long), "ä… (")] {
        let extra = json!({"messages": [{"role": "user", "content": content}]});
        let (_, body) = provider.chat("llm.example", "/v1", extra).await;
        let text = body["choices"][0]["message"]["content"].as_str().unwrap();
        assert!(text.contains(echoed), "{text}");
    }
}

#[tokio::test]
async fn mistral_counts_tokens_unasked_and_must_not_be_asked() {
    let provider = Provider::start().await;
    let (status, body) = provider
        .chat(
            "api.mistral.ai",
            "/v1",
            json!({"stream": true, "stream_options": {"include_usage": true}}),
        )
        .await;
    assert_eq!(status, 422);
    assert_eq!(
        body["message"]["detail"][0]["loc"],
        json!(["body", "stream_options", "include_usage"])
    );
    let request = provider.chat_request("api.mistral.ai", "/v1", json!({"stream": true}));
    assert!(
        text(provider.send(request).await)
            .await
            .contains("\"usage\":{")
    );
}

#[tokio::test]
async fn both_encodings_of_an_embedding_are_the_same_numbers() {
    let provider = Provider::start().await;
    let mut vectors = Vec::new();
    for format in ["float", "base64"] {
        let body = json!({"model": "m", "input": ["a", "b"], "encoding_format": format});
        let (status, answer) = provider
            .post("api.openai.com", "/v1/embeddings", &body)
            .await;
        assert_eq!(status, 200);
        vectors.push(answer["data"][1]["embedding"].clone());
    }
    let bytes = STANDARD.decode(vectors[1].as_str().unwrap()).unwrap();
    let decoded: Vec<f32> = bytes
        .chunks(4)
        .map(|value| f32::from_le_bytes(value.try_into().unwrap()))
        .collect();
    assert_eq!(vectors[0], json!(decoded));
}

#[tokio::test]
async fn every_operation_answers_a_right_request() {
    let provider = Provider::start().await;
    for (method, path, body) in [
        (
            "POST",
            "/v1/completions",
            json!({"model": "m", "prompt": "Hello"}),
        ),
        (
            "POST",
            "/v1/responses",
            json!({"model": "m", "input": "Hello"}),
        ),
        (
            "POST",
            "/v1/responses",
            json!({"model": "m", "input": "Hello", "stream": true}),
        ),
        ("POST", "/v1/moderations", json!({"input": "Hello"})),
        (
            "POST",
            "/v1/images/generations",
            json!({"model": "m", "prompt": "a cat"}),
        ),
        (
            "POST",
            "/v1/audio/speech",
            json!({"model": "m", "input": "Hello", "voice": "v"}),
        ),
        (
            "POST",
            "/v1/rerank",
            json!({"model": "m", "query": "q", "documents": ["a", "b"]}),
        ),
        ("GET", "/v1/models", Value::Null),
        ("GET", "/v1/models/meta-llama/Llama-3", Value::Null),
        ("GET", "/v1/files", Value::Null),
        ("DELETE", "/v1/responses/resp_mock", Value::Null),
    ] {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "llm.example")
            .header("content-type", "application/json")
            .body(Full::from(body))
            .unwrap();
        let response = provider.send(request).await;
        let status = response.status();
        assert_eq!(status, 200, "{method} {path}: {}", text(response).await);
    }
}

#[tokio::test]
async fn a_file_comes_back_as_it_was_sent_until_it_is_deleted() {
    let provider = Provider::start().await;
    let form = b"--b\r\ncontent-disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n\
        --b\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n\xff\x00\r\n--b--\r\n";
    let call = |method: &'static str, path: String, body: &'static [u8]| {
        Request::builder()
            .method(method)
            .uri(path)
            .header("host", "llm.example")
            .header("content-type", "multipart/form-data; boundary=b")
            .body(Full::from(body))
            .unwrap()
    };
    let uploaded = provider.send(call("POST", "/v1/files".into(), form)).await;
    let uploaded: Value = serde_json::from_str(&text(uploaded).await).unwrap();
    let id = uploaded["id"].as_str().unwrap();
    let content = provider
        .send(call("GET", format!("/v1/files/{id}/content"), b""))
        .await;
    assert_eq!(
        content.collect().await.unwrap().to_bytes(),
        &b"\xff\x00"[..]
    );
    assert_eq!(
        provider
            .send(call("DELETE", format!("/v1/files/{id}"), b""))
            .await
            .status(),
        200
    );
    assert_eq!(
        provider
            .send(call("GET", format!("/v1/files/{id}"), b""))
            .await
            .status(),
        404
    );
}

// === refusals ===

#[tokio::test]
async fn what_the_real_provider_refuses_is_refused_and_recorded() {
    let provider = Provider::start().await;
    let chat = json!({"model": "m", "messages": [{"role": "user", "content": "Hello"}]});
    let with = |name: &str, value: Value| {
        let mut body = chat.clone();
        body[name] = value;
        body.to_string()
    };
    let chat = chat.to_string();
    let bearer = ("authorization", "Bearer k");
    let openai = "https://api.openai.com/v1/chat/completions";
    #[rustfmt::skip]
    let rows: &[Row<'_>] = &[
        ("POST", openai, &[], &chat, 401, "key is missing"),
        ("POST", openai, &[("authorization", "Bearer ")], &chat, 401, "empty key"),
        ("POST", openai, &[("authorization", "Basic k")], &chat, 401, "must follow"),
        ("POST", openai, &[("authorization", "Bearer sk-bad1")], &chat, 401, "Incorrect API key"),
        ("POST", openai, &[("authorization", "Bearer ${KEY}")], &chat, 401, "Incorrect API key"),
        ("POST", openai, &[bearer, bearer], &chat, 401, "duplicate key"),
        ("POST", openai, &[bearer, ("x-api-key", "k")], &chat, 400, "another credential"),
        ("POST", openai, &[bearer, ("x-forwarded-for", "::1")], &chat, 400, "x-forwarded-for"),
        ("POST", openai, &[bearer, ("x-envoy-attempt-count", "1")], &chat, 400, "x-envoy"),
        ("POST", openai, &[bearer, ("cookie", "a=b")], &chat, 400, "cookie"),
        ("POST", openai, &[bearer, ("x-llm-proxy-backend", "b")], &chat, 400, "x-llm-proxy"),
        ("POST", openai, &[bearer], "not json", 400, "could not parse"),
        ("POST", openai, &[bearer], "[]", 400, "could not parse"),
        ("POST", openai, &[bearer], &with("model", "".into()), 400, "model"),
        ("POST", openai, &[bearer], &with("model", 1.into()), 400, "model"),
        ("POST", openai, &[bearer], &with("model", "no-such-model-1".into()), 404, "does not exist"),
        ("POST", openai, &[bearer], &with("messages", json!([])), 400, "messages"),
        ("POST", openai, &[bearer], &with("foo", 1.into()), 400, "foo"),
        ("POST", openai, &[bearer], &with("stream_options", json!({})), 400, "stream_options"),
        ("GET", openai, &[bearer], "", 405, "GET"),
        ("POST", "https://api.openai.com/v1/chat/completion", &[bearer], &chat, 404, "Invalid URL"),
        ("POST", "https://api.openai.com/chat/completions", &[bearer], &chat, 404, "Invalid URL"),
        ("POST", "https://api.groq.com/v1/chat/completions", &[bearer], &chat, 404, "Invalid URL"),
        ("POST", "https://api.groq.com/openai/v1/chat/completions", &[bearer],
            &with("logprobs", true.into()), 400, "logprobs"),
        ("POST", "https://api.mistral.ai/v1/chat/completions", &[bearer],
            &with("seed", 1.into()), 422, "Extra inputs"),
        ("POST", "https://api.x.ai/v1/chat/completions",
            &[bearer, ("openai-organization", "o")], &chat, 400, "openai-organization"),
        ("POST", "http://api.x.ai/v1/chat/completions", &[bearer], &chat, 400, "plain HTTP"),
    ];
    for (method, url, headers, body, status, reason) in rows {
        let (scheme, rest) = url.split_once("://").unwrap();
        let (host, path) = rest.split_once('/').unwrap();
        let mut request = Request::builder()
            .method(*method)
            .uri(format!("/{path}"))
            .header("host", host)
            .header("content-type", "application/json");
        for (name, value) in *headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::from(body.to_string())).unwrap();
        let response = match scheme {
            "https" => provider.send(request).await,
            _ => provider.send_plain(request).await,
        };
        assert_eq!(
            response.status(),
            *status,
            "{method} {url} {headers:?} {body}"
        );
        assert!(
            serde_json::from_str::<Value>(&text(response).await)
                .unwrap()
                .is_object()
        );
        let last = provider.last_request().await;
        let refused = last["refused"].as_str().unwrap();
        assert!(
            refused.contains(reason),
            "{refused:?} does not say {reason:?}"
        );
    }
}

#[tokio::test]
async fn errors_have_the_shape_of_their_provider() {
    let provider = Provider::start().await;
    for (host, base, pointer) in [
        ("api.openai.com", "/v1", "/error/code"),
        ("api.x.ai", "/v1", "/error"),
        ("api.groq.com", "/openai/v1", "/error/message"),
        ("api.cohere.ai", "/compatibility/v1", "/message"),
        ("api.mistral.ai", "/v1", "/detail"),
        ("openrouter.ai", "/api/v1", "/error/code"),
        ("api.fireworks.ai", "/inference/v1", "/error/object"),
    ] {
        let request = provider.chat_request_with_key(host, base, json!({}), "bad-1");
        let body: Value = serde_json::from_str(&text(provider.send(request).await).await).unwrap();
        assert!(body.pointer(pointer).is_some(), "{host}: {body}");
    }
}

#[tokio::test]
async fn a_length_beside_chunks_is_seen_whichever_comes_first() {
    let provider = Provider::start().await;
    let length = "Content-Length: 3";
    let chunked = "Transfer-Encoding: chunked";
    for (first, second) in [(length, chunked), (chunked, length)] {
        let request = format!(
            "POST /v1/rerank HTTP/1.1\r\nHost: h\r\nB: 1\r\nA: 2\r\nB: 3\r\n{first}\r\n{second}\r\n\r\n0\r\n\r\n"
        );
        let answer = provider.raw(request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
        let last = provider.last_request().await;
        assert_eq!(
            last["refused"],
            "400 both content-length and transfer-encoding"
        );
        let names: Vec<&str> = last["headers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|h| h[0].as_str().unwrap())
            .collect();
        assert_eq!(names[..4], ["host", "b", "a", "b"]);
    }
}

#[tokio::test]
async fn what_hyper_cannot_parse_is_recorded() {
    let provider = Provider::start().await;
    provider
        .raw(b"POST /v1/rerank HTTP/1.1\r\nHost: h\r\nContent-Length: x\r\n\r\n")
        .await;
    let last = provider.last_request().await;
    assert!(
        last["refused"]
            .as_str()
            .unwrap()
            .starts_with("400 malformed"),
        "{last}"
    );
    assert_eq!(last["headers"][1], json!(["content-length", "x"]));
}

#[tokio::test]
async fn a_handshake_for_another_host_is_misdirected() {
    let provider = Provider::start().await;
    let request = provider.chat_request("api.x.ai", "/v1", json!({}));
    let stream = provider.tls("api.openai.com").await.unwrap();
    let response = send_http1(stream, request).await.unwrap();
    assert_eq!(response.status(), 421);
}

#[tokio::test]
async fn the_certificate_is_for_the_name_asked_for_unless_told_otherwise() {
    let mut options = options();
    options.wrong_names = vec!["wrong.example".to_owned()];
    let provider = Provider::start_with(options).await;
    provider.tls("any.name.example").await.unwrap();
    let error = provider.tls("wrong.example").await.unwrap_err();
    assert!(error.to_string().contains("certificate"), "{error}");
    let connections = provider.control("GET", "/connections", Value::Null).await;
    assert_eq!(connections["connections"][1]["sni"], "wrong.example");
}

#[tokio::test]
async fn a_test_may_change_where_a_provider_lives() {
    let provider = Provider::start().await;
    let change = json!([{
        "authority": "odd.example", "base": "/llm", "chat_path": "/ask?v=2", "key": "required",
        "auth_header": "Api-Key", "auth_prefix": "", "sni": ["edge.example"],
    }]);
    provider.control("POST", "/profiles", change).await;
    for (path, key, status) in [
        ("/ask?v=2", "api-key", 200),
        ("/llm/chat/completions", "api-key", 200),
        ("/ask", "api-key", 404),
        ("/v1/chat/completions", "api-key", 404),
        ("/ask?v=2", "authorization", 400),
    ] {
        let body = json!({"model": "m", "messages": [{"role": "user", "content": "Hello"}]});
        let request = Request::builder()
            .method("POST")
            .uri(path)
            .header("host", "odd.example")
            .header("content-type", "application/json")
            .header(key, "k")
            .body(Full::from(body.to_string()))
            .unwrap();
        let stream = provider.tls("edge.example").await.unwrap();
        let response = send_http1(stream, request).await.unwrap();
        assert_eq!(response.status(), status, "{path} {key}");
    }
}

// === the script ===

#[tokio::test]
async fn a_chunk_waits_for_its_gate() {
    let provider = Provider::start().await;
    for http2 in [false, true] {
        provider.control("POST", "/reset", Value::Null).await;
        let reply = json!([{"chunks": [{"data": "one"}, {"data": "two", "wait_for": "second"}]}]);
        provider.control("POST", "/replies", reply).await;
        let request = provider.chat_request("llm.example", "/v1", json!({}));
        let mut body = match http2 {
            false => provider.send_plain(request).await.into_body(),
            true => provider.send_http2(request).await.unwrap().into_body(),
        };
        assert_eq!(next_frame(&mut body).await.unwrap().unwrap(), "one");
        let last = provider.last_request().await;
        assert_eq!(
            (&last["chunks_sent"], &last["ended"]),
            (&json!(1), &json!(false))
        );
        provider.control("POST", "/gates/second", Value::Null).await;
        assert_eq!(next_frame(&mut body).await.unwrap().unwrap(), "two");
        assert!(next_frame(&mut body).await.is_none());
    }
}

#[tokio::test]
async fn chunks_arrive_one_by_one() {
    let provider = Provider::start().await;
    let chunks: Vec<Value> = (0..100).map(|n| json!({"data": format!("{n},")})).collect();
    for http2 in [false, true] {
        provider
            .control("POST", "/replies", json!([{"chunks": chunks}]))
            .await;
        let request = provider.chat_request("llm.example", "/v1", json!({}));
        let mut body = match http2 {
            false => provider.send_plain(request).await.into_body(),
            true => provider.send_http2(request).await.unwrap().into_body(),
        };
        for n in 0..100 {
            assert_eq!(
                next_frame(&mut body).await.unwrap().unwrap(),
                format!("{n},")
            );
        }
        assert!(next_frame(&mut body).await.is_none());
    }
}

#[tokio::test]
async fn a_rude_end_comes_after_what_was_sent() {
    let provider = Provider::start().await;
    for end in ["close", "reset"] {
        for http2 in [false, true] {
            let reply = json!([{"chunks": [{"data": "one"}, {"data": "two"}], "end": end}]);
            provider.control("POST", "/replies", reply).await;
            let request = provider.chat_request("llm.example", "/v1", json!({}));
            let mut body = match http2 {
                false => provider.send_plain(request).await.into_body(),
                true => provider.send_http2(request).await.unwrap().into_body(),
            };
            // What was sent is not promised to be read before a reset.
            let mut received = String::new();
            let failed = loop {
                match next_frame(&mut body).await {
                    Some(Ok(data)) => received.push_str(std::str::from_utf8(&data).unwrap()),
                    Some(Err(_)) => break true,
                    None => break false,
                }
            };
            assert!(failed, "{end} {http2}");
            assert!(
                end == "reset" || received == "onetwo",
                "{end} {http2}: {received}"
            );
            let last = provider.last_request().await;
            assert_eq!(
                last["disconnected"], false,
                "the provider ended it, not the client"
            );
        }
    }
}

#[tokio::test]
async fn a_reset_before_the_headers_is_no_answer() {
    let provider = Provider::start().await;
    for http2 in [false, true] {
        provider
            .control("POST", "/replies", json!([{"reset_before_headers": true}]))
            .await;
        let request = provider.chat_request("llm.example", "/v1", json!({}));
        match http2 {
            false => {
                let stream = TcpStream::connect(provider.server.plain).await.unwrap();
                send_http1(stream, request).await.unwrap_err();
            }
            true => drop(provider.send_http2(request).await.unwrap_err()),
        }
        assert_eq!(provider.last_request().await["body_complete"], true);
    }
}

#[tokio::test]
async fn a_client_that_goes_away_is_recorded() {
    let provider = Provider::start().await;
    for http2 in [false, true] {
        for reply in [
            json!({"chunks": [{"data": "one"}], "end": "hang"}),
            json!({"hang_before_headers": true}),
        ] {
            provider.control("POST", "/reset", Value::Null).await;
            let hangs = reply.get("hang_before_headers").is_some();
            provider.control("POST", "/replies", json!([reply])).await;
            let request = provider.chat_request("llm.example", "/v1", json!({}));
            let stream = TcpStream::connect(provider.server.plain).await.unwrap();
            let task = tokio::spawn(async move {
                let response = match http2 {
                    false => send_http1(stream, request).await,
                    true => send_http2(stream, request).await,
                };
                let mut body = response.unwrap().into_body();
                next_frame(&mut body).await;
                next_frame(&mut body).await;
            });
            let seen = provider
                .control("GET", "/requests?at_least=1", Value::Null)
                .await;
            let id = &seen[0]["id"];
            let until = if hangs { "body" } else { "reply" };
            provider
                .control("GET", &format!("/requests/{id}?until={until}"), Value::Null)
                .await;
            task.abort();
            let ended = provider
                .control("GET", &format!("/requests/{id}?until=end"), Value::Null)
                .await;
            assert_eq!(ended["disconnected"], true, "{ended}");
        }
    }
}

#[tokio::test]
async fn a_body_that_does_not_end_is_recorded_as_far_as_it_came() {
    let provider = Provider::start().await;
    let mut stream = TcpStream::connect(provider.server.plain).await.unwrap();
    let start = b"POST /v1/rerank HTTP/1.1\r\nhost: h\r\ncontent-length: 10\r\n\r\nhalf";
    stream.write_all(start).await.unwrap();
    let seen = provider
        .control("GET", "/requests?at_least=1", Value::Null)
        .await;
    assert_eq!(seen[0]["body_complete"], false);
    drop(stream);
    let ended = provider
        .control("GET", "/requests/1?until=end", Value::Null)
        .await;
    assert_eq!(ended["body_complete"], false);
    assert_eq!(ended["disconnected"], true);
    assert_eq!(ended["body_base64"], STANDARD.encode("half"));
}

#[tokio::test]
async fn an_early_reply_does_not_wait_for_the_body() {
    let provider = Provider::start().await;
    let reply = json!([{"early": true, "status": 413, "body": "too large"}]);
    provider.control("POST", "/replies", reply).await;
    let mut stream = TcpStream::connect(provider.server.plain).await.unwrap();
    let start = b"POST /v1/rerank HTTP/1.1\r\nhost: h\r\ncontent-length: 10\r\n\r\nhalf";
    stream.write_all(start).await.unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
    stream.write_all(b"+other").await.unwrap();
    let seen = provider
        .control("GET", "/requests/1?until=body", Value::Null)
        .await;
    assert_eq!(seen["status"], 413);
}

#[tokio::test]
async fn replies_answer_in_order_those_that_they_are_for() {
    let provider = Provider::start().await;
    let replies = json!([
        {"for": {"authority": "b.example"}, "status": 503, "times": 2},
        {"for": {"path_prefix": "/v1/models"}, "status": 429, "headers": [["retry-after", "7"]]},
        {"status": 418, "times": "always"},
    ]);
    provider.control("POST", "/replies", replies).await;
    for (authority, path, status) in [
        ("a.example:8000", "/v1/files", 418),
        ("a.example", "/v1/models", 429),
        ("a.example", "/v1/models", 418),
        ("b.example:8000", "/v1/models", 503),
        ("b.example", "/v1/files", 503),
        ("b.example", "/v1/files", 418),
    ] {
        let request = Request::builder()
            .uri(path)
            .header("host", authority)
            .body(Full::default())
            .unwrap();
        let response = provider.send_plain(request).await;
        assert_eq!(response.status(), status, "{authority} {path}");
        assert_eq!(
            response.headers().contains_key("retry-after"),
            status == 429
        );
    }
}

#[tokio::test]
async fn no_script_excuses_a_leak() {
    let provider = Provider::start().await;
    provider
        .control("POST", "/replies", json!([{"status": 200, "body": "{}"}]))
        .await;
    let mut request = provider.chat_request("llm.example", "/v1", json!({}));
    request
        .headers_mut()
        .insert("x-forwarded-for", "10.0.0.1".parse().unwrap());
    assert_eq!(provider.send_plain(request).await.status(), 400);
    let left = provider.control("GET", "/replies", Value::Null).await;
    assert_eq!(left["remaining"], 1);
}

#[tokio::test]
async fn a_lenient_provider_serves_what_leaked() {
    let mut options = options();
    options.lenient = true;
    let provider = Provider::start_with(options).await;
    let mut request = provider.chat_request("llm.example", "/v1", json!({}));
    request
        .headers_mut()
        .insert("x-forwarded-for", "10.0.0.1".parse().unwrap());
    assert_eq!(provider.send_plain(request).await.status(), 200);
}

#[tokio::test]
async fn a_reply_that_cannot_be_sent_is_refused_when_it_is_posted() {
    let provider = Provider::start().await;
    for reply in [
        json!([{"stauts": 200}]),
        json!([{"status": 99}]),
        json!([{"times": 0}]),
        json!([{"headers": [["a b", "c"]]}]),
        json!([{"chunks": [{"delay_ms": 1}]}]),
        json!([{"body": "a", "chunks": []}]),
        json!({"status": 200}),
    ] {
        let answer = provider.control("POST", "/replies", reply.clone()).await;
        assert!(answer["error"].is_string(), "{reply}: {answer}");
    }
}

// === the record ===

#[tokio::test]
async fn a_large_body_is_recorded_up_to_the_limit() {
    let mut options = options();
    options.limits.body_bytes = 1 << 20;
    let provider = Provider::start_with(options).await;
    let image = "A".repeat(20 << 20);
    let request = provider.chat_request("llm.example", "/v1", json!({"user": image}));
    let sent = request.body().clone().collect().await.unwrap().to_bytes();
    for http2 in [false, true] {
        let response = match http2 {
            false => provider.send_plain(request.clone()).await,
            true => provider.send_http2(request.clone()).await.unwrap(),
        };
        assert_eq!(response.status(), 200);
        let last = provider.last_request().await;
        assert_eq!(last["body_bytes"], sent.len());
        assert_eq!(last["body_truncated"], true);
        assert_eq!(last["body_complete"], true);
        let kept = STANDARD
            .decode(last["body_base64"].as_str().unwrap())
            .unwrap();
        assert_eq!(kept, sent[..1 << 20]);
    }
}

#[tokio::test]
async fn the_oldest_requests_go_first() {
    let mut options = options();
    options.limits.requests = 2;
    let provider = Provider::start_with(options).await;
    for _ in 0..3 {
        let request = Request::get("/v1/models")
            .header("host", "h")
            .body(Full::default())
            .unwrap();
        assert_eq!(provider.send_plain(request).await.status(), 200);
    }
    let kept = provider.control("GET", "/requests", Value::Null).await;
    let ids: Vec<&Value> = kept
        .as_array()
        .unwrap()
        .iter()
        .map(|request| &request["id"])
        .collect();
    assert_eq!(ids, [2, 3]);
    assert_eq!(
        provider.control("GET", "/requests/1", Value::Null).await["error"],
        "no request 1"
    );
}

#[tokio::test]
async fn without_a_record_it_still_answers_and_counts() {
    let mut options = options();
    options.limits.requests = 0;
    let provider = Provider::start_with(options).await;
    let request = provider.chat_request("llm.example", "/v1", json!({}));
    assert_eq!(provider.send_plain(request).await.status(), 200);
    assert_eq!(
        provider.control("GET", "/requests", Value::Null).await,
        json!([])
    );
    let connections = provider.control("GET", "/connections", Value::Null).await;
    assert_eq!(connections["requests_total"], 1);
}

#[tokio::test]
async fn requests_of_one_connection_share_its_number_and_keep_their_heads() {
    let provider = Provider::start().await;
    let stream = TcpStream::connect(provider.server.plain).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    for n in 0..3 {
        let mut request = provider.chat_request("llm.example", "/v1", json!({}));
        request.headers_mut().insert("x-number", n.into());
        sender.ready().await.unwrap();
        text(sender.send_request(request).await.unwrap()).await;
    }
    let requests = provider
        .control("GET", "/requests?at_least=3", Value::Null)
        .await;
    for (n, request) in requests.as_array().unwrap().iter().enumerate() {
        assert_eq!(request["connection"], 1);
        let headers = request["headers"].as_array().unwrap();
        assert!(
            headers.contains(&json!(["x-number", n.to_string()])),
            "{headers:?}"
        );
    }
}

// === helpers ===

/// Method, URL, headers, body; status and what the reason must say.
type Row<'a> = (
    &'a str,
    &'a str,
    &'a [(&'a str, &'a str)],
    &'a str,
    u16,
    &'a str,
);

struct Provider {
    server: Server,
}

fn options() -> Options {
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    Options {
        plain: any,
        tls: any,
        control: any,
        ca_out: None,
        wrong_names: Vec::new(),
        limits: Limits {
            requests: 1000,
            body_bytes: 64 << 20,
        },
        lenient: false,
    }
}

impl Provider {
    async fn start() -> Self {
        Self::start_with(options()).await
    }

    async fn start_with(options: Options) -> Self {
        Self {
            server: Server::start(options).await.unwrap(),
        }
    }

    fn chat_request(&self, host: &str, base: &str, extra: Value) -> Request<Full<Bytes>> {
        self.chat_request_with_key(host, base, extra, "k")
    }

    fn chat_request_with_key(
        &self,
        host: &str,
        base: &str,
        extra: Value,
        key: &str,
    ) -> Request<Full<Bytes>> {
        let mut body =
            json!({"model": "a-model", "messages": [{"role": "user", "content": "Hello"}]});
        body.as_object_mut()
            .unwrap()
            .extend(extra.as_object().unwrap().clone());
        Request::post(format!("{base}/chat/completions"))
            .header("host", host)
            .header("content-type", "application/json")
            .header("authorization", format!("Bearer {key}"))
            .body(Full::from(body.to_string()))
            .unwrap()
    }

    async fn chat(&self, host: &str, base: &str, extra: Value) -> (u16, Value) {
        let response = self.send(self.chat_request(host, base, extra)).await;
        let status = response.status().as_u16();
        (status, serde_json::from_str(&text(response).await).unwrap())
    }

    async fn post(&self, host: &str, path: &str, body: &Value) -> (u16, Value) {
        let request = Request::post(path)
            .header("host", host)
            .header("content-type", "application/json")
            .header("authorization", "Bearer k")
            .body(Full::from(body.to_string()))
            .unwrap();
        let response = self.send(request).await;
        let status = response.status().as_u16();
        (status, serde_json::from_str(&text(response).await).unwrap())
    }

    /// Over TLS, to the host that the request names.
    async fn send(&self, request: Request<Full<Bytes>>) -> Response<Incoming> {
        let host = request.headers()["host"].to_str().unwrap().to_owned();
        send_http1(self.tls(&host).await.unwrap(), request)
            .await
            .unwrap()
    }

    async fn send_plain(&self, request: Request<Full<Bytes>>) -> Response<Incoming> {
        let stream = TcpStream::connect(self.server.plain).await.unwrap();
        send_http1(stream, request).await.unwrap()
    }

    async fn send_http2(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, hyper::Error> {
        let stream = TcpStream::connect(self.server.plain).await.unwrap();
        send_http2(stream, request).await
    }

    async fn tls(&self, name: &str) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
        let request = Request::get("/ca")
            .header("host", "h")
            .body(Full::default())
            .unwrap();
        let stream = TcpStream::connect(self.server.control).await.unwrap();
        let pem = text(send_http1(stream, request).await.unwrap()).await;
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_reader(Cursor::new(pem)).unwrap())
            .unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let stream = TcpStream::connect(self.server.tls).await?;
        let name = ServerName::try_from(name.to_owned()).unwrap();
        TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await
    }

    /// Sends bytes as they are and reads until the provider closes.
    async fn raw(&self, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.server.plain).await.unwrap();
        stream.write_all(request).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    async fn control(&self, method: &str, path: &str, body: Value) -> Value {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "h")
            .body(Full::from(body.to_string()))
            .unwrap();
        let stream = TcpStream::connect(self.server.control).await.unwrap();
        let response = send_http1(stream, request).await.unwrap();
        serde_json::from_str(&text(response).await).unwrap()
    }

    async fn last_request(&self) -> Value {
        let all = self.control("GET", "/requests", Value::Null).await;
        all.as_array().unwrap().last().unwrap().clone()
    }
}

async fn send_http1<S>(
    stream: S,
    request: Request<Full<Bytes>>,
) -> Result<Response<Incoming>, hyper::Error>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    sender.send_request(request).await
}

async fn send_http2(
    stream: TcpStream,
    request: Request<Full<Bytes>>,
) -> Result<Response<Incoming>, hyper::Error> {
    let (mut sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let (mut parts, body) = request.into_parts();
    let host = parts.headers.remove("host").unwrap();
    let authority = host.to_str().unwrap();
    parts.uri = format!("http://{authority}{}", parts.uri).parse().unwrap();
    sender.send_request(Request::from_parts(parts, body)).await
}

/// The next frame that holds something: HTTP/2 ends a body with a frame that does not.
async fn next_frame(body: &mut Incoming) -> Option<Result<Bytes, hyper::Error>> {
    loop {
        match body.frame().await?.map(|frame| frame.into_data().unwrap()) {
            Ok(empty) if empty.is_empty() => {}
            other => return Some(other),
        }
    }
}

async fn text(response: Response<Incoming>) -> String {
    String::from_utf8_lossy(&response.collect().await.unwrap().to_bytes()).into_owned()
}
