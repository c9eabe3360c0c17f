//! Which parameters of a request in another API a provider of OpenAI's dialect does not take as they
//! are.

use crate::provider::adapt::rules;

rules! {
    HOSTED_TOOL_FORCED = "tool_choice", Rejected, "", "it forces a tool that only the provider of the client's API runs";
    HOSTED_TOOL_WITH_FILES = "tools[] with files", Rejected, "", "the tool uses files that only the provider of the client's API stores";
    FILE = "messages[].content[].file", Rejected, "", "only a data URI with base64, or a file id";
    UNKNOWN = "*", Rejected, "", "the API has no such parameter";
    HOSTED_TOOL = "tools[]", Omitted, "", "only the provider of the client's API runs the tool; the model is not offered it";
    UNPLACED = "unknown members of messages, parts and tools", Omitted, "", "the API has no equivalent";
    HINT = "store, metadata, prompt_cache_key, prompt_cache_retention, prompt_cache_options, service_tier, verbosity, prediction, moderation", Omitted, "", "not every provider takes it";
    TOP_K = "top_k", Omitted, "", "the API has no top_k";
    TEMPERATURE = "temperature", Omitted, "models that reason", "the model takes no sampling parameters";
    TOP_P = "top_p", Omitted, "models that reason", "the model takes no sampling parameters";
    EFFORT = "reasoning_effort", Omitted, "models that are not known to reason", "the provider may refuse it";
    EFFORT_LEVEL = "reasoning_effort", Nearest, "", "xhigh instead of max, and the lowest effort that the model has instead of none";
    USER = "user", Omitted, "", "longer than the 64 characters that OpenAI takes";
    RESULT_MEDIA = "messages[].content[] of tool results", Nearest, "", "images and files follow in a message of the user's, since results are text";
    REASONING = "messages[].reasoning_content", Omitted, "", "the provider does not take thinking back";
    LIMITS = "max_tokens", Mapped, "", "max_completion_tokens for models that reason, else max_tokens";
    CACHE = "cache_control", Mapped, "", "the providers cache by themselves";
}
