"""What the tests behind Envoy stand on.

    test ── client ──► envoy (the module inside) ──► mock (a scripted provider)
      └────────────────── looks at what arrived ───────┘

* `artefacts`  where the built things are
* `process`    a child process with a log
* `mock`       the provider: what it shall answer, what it received
* `bootstrap`  Envoy configuration: rendered by `llm-proxy`, or with the module in the listener
* `envoy`      a running Envoy
* `client`     HTTP/1.1 down to the byte, for what an SDK would hide
* `shapes`     what an OpenAI error looks like
* `accepted`   what the providers' own packages say of a request

No test measures time. Waiting means asking again until it is so; the only limit is `GUARD_SECONDS`,
after which something hangs and the test fails.
"""
