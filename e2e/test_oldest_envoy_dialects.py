"""The oldest Envoy that is supported: what the dialects ask of it, in both placements."""

import pytest

from harness import artefacts, bootstrap
from test_dialects import (  # noqa: F401
    HERE,
    chat,
    configuration,
    dialect,
    mock,
    sdk,
    test_a_chunk_arrives_before_the_next_was_sent,
    test_a_cut_stream_is_an_error,
    test_a_large_reply,
    test_a_large_request,
    test_a_reply_that_ends_with_trailers_is_none_the_less_whole,
    test_a_request_with_trailers_is_refused,
    test_embeddings,
    test_errors_raise_the_class_of_their_status,
    test_tools_there_and_back,
)


@pytest.fixture(scope="module", params=(bootstrap.UPSTREAM, bootstrap.LISTENER_HELD))
def gateway(start, provider, request):
    envoy = start(configuration(provider), request.param, version=artefacts.OLDEST_ENVOY, env=HERE)
    envoy.placement = request.param
    return envoy
