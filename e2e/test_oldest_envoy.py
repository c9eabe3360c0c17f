"""The oldest Envoy that is supported: some tests of every other file, in every placement."""

import pytest

from harness import artefacts, bootstrap, gateways
from test_credentials import (  # noqa: F401
    test_a_client_cannot_choose_a_backend,
    test_a_client_cannot_choose_a_retry_policy,
    test_all_of_them_at_once_do_not_either,
    test_another_header_can_carry_the_key,
    test_many_clients_at_once_each_come_with_their_own_key,
    test_no_key_can_be_read_from_envoys_admin_interface,
)
from test_errors import (  # noqa: F401
    test_a_body_that_is_not_an_object_is_refused,
    test_a_body_without_a_model_is_refused_where_there_is_no_default,
    test_a_wrong_method_is_a_405_that_says_the_right_ones,
    test_an_empty_error_gets_a_body,
    test_an_error_of_another_shape_gets_openais,
    test_an_error_of_openais_shape_passes_byte_for_byte,
    test_an_unknown_path_is_a_404,
    test_what_is_refused_whole_is_refused_in_chunks,
)
from test_limits import (  # noqa: F401
    test_a_body_of_20_mib_in_chunks_arrives_whole,
    test_a_body_over_the_default_of_32_mib_is_a_413,
)
from test_model_rules import (  # noqa: F401
    test_a_body_sent_byte_by_byte_arrives_as_if_sent_at_once,
    test_a_forced_model_replaces_the_value_and_nothing_else,
    test_an_absent_model_is_inserted_once,
    test_defaults_fill_in_and_overrides_force,
)
from test_operations import (  # noqa: F401
    test_a_file_is_uploaded_listed_read_and_deleted,
    test_a_form_passes_untouched,
    test_a_routes_path_alone_means_chat_completions,
    test_json_calls_arrive_below_the_providers_base,
    test_options_and_head_pass,
)
from test_sdk import (  # noqa: F401
    client,
    test_a_chat,
    test_a_stream,
    test_an_error_raises_its_class_async,
    test_embeddings,
    test_models,
)
from test_streams import (  # noqa: F401
    test_a_chunk_arrives_before_the_next_was_sent,
    test_a_client_that_goes_away_ends_the_providers_work,
    test_the_bytes_of_a_stream_are_the_providers,
)


@pytest.fixture(scope="module", params=bootstrap.PLACEMENTS)
def gateway(start, provider, request):
    """The shared gateway in the oldest Envoy."""
    return start(gateways.shared(provider), request.param, version=artefacts.OLDEST_ENVOY)
