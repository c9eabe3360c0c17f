//! Which parameters of a chat completion generateContent cannot take as they are.

use crate::provider::adapt::rules;

rules! {
    N = "n", Rejected, "Gemini 3 and later", "each request has one answer";
    LOGIT_BIAS = "logit_bias", Rejected, "", "the API has no token biases";
    MODALITIES = "modalities", Rejected, "", "audio output is not translated";
    AUDIO_OUTPUT = "audio", Rejected, "", "audio output is not translated";
    IMAGE = "messages[].content[].image_url.url", Rejected, "", "only http(s) and gs: URLs, and data URIs with base64 and a media type";
    FILE = "messages[].content[].file", Rejected, "", "only base64 whose media type is known, by a data URI or by the extension of filename, and ids of Google's own files";
    RESULT_MEDIA = "messages[].content[] of role tool", Rejected, "", "a result takes text, and base64 data from Gemini 3 on";
    WEB_SEARCH = "web_search_options", Rejected, "", "the backend does not set \"webSearch: provider\"";
    WEB_SEARCH_AND_FUNCTIONS = "web_search_options", Rejected, "before Gemini 3", "the model does not combine search with functions";
    HOSTED_TOOL_FORCED = "tool_choice", Rejected, "", "it forces a tool that only OpenAI runs";
    HOSTED_TOOL_WITH_FILES = "tools[] with files", Rejected, "", "the tool uses files that OpenAI stores";
    HOSTED_TOOL = "tools[]", Omitted, "", "only OpenAI runs the tool; the model is not offered it";
    UNKNOWN = "*", Rejected, "", "the API has no such parameter";
    USER = "user, safety_identifier", Omitted, "", "the API has no equivalent";
    TOP_LOGPROBS = "top_logprobs", Omitted, "", "it has no effect without logprobs: true";
    PRESENCE_PENALTY = "presence_penalty", Omitted, "Gemini 2.5 and later", "the model takes no penalties";
    FREQUENCY_PENALTY = "frequency_penalty", Omitted, "Gemini 2.5 and later", "the model takes no penalties";
    HINT = "store, metadata, prompt_cache_key, prompt_cache_retention, prompt_cache_options, verbosity, prediction, moderation", Omitted, "", "the API has no equivalent";
    SAMPLER = "min_p, top_a, repetition_penalty, chat_template_kwargs, keep_alive and other extensions of inference servers", Omitted, "", "the API has no equivalent";
    UNPLACED = "messages[].name and unknown members of messages, parts and tools", Omitted, "", "the API has no equivalent";
    IMAGE_DETAIL = "messages[].content[].image_url.detail", Omitted, "before Gemini 3", "all images have one resolution";
    SERVICE_TIER = "service_tier", Omitted, "", "only auto, default, flex, priority and standard have an equivalent";
    SEED = "seed", Nearest, "", "the lowest 31 bits";
    EFFORT_UNKNOWN = "reasoning_effort", Omitted, "", "it is none of none, minimal, low, medium, high, xhigh and max";
    EFFORT_NO_THINKING = "reasoning_effort", Omitted, "before Gemini 2.5", "the model cannot think";
    EFFORT_OFF = "reasoning_effort", Nearest, "Gemini 2.5 Pro, Gemini 3 and later", "thinking cannot be turned off: the lowest level";
    EFFORT_LEVEL = "reasoning_effort", Nearest, "", "the highest level that the model has";
    TOOL_SCHEMA = "tools[].function.parameters", Rejected, "", "the schema is not an object, or too large";
    FORMAT_SCHEMA = "response_format.json_schema.schema", Rejected, "", "the schema is not an object, or too large";
    STOP_MAPPED = "stop", Mapped, "", "generationConfig.stopSequences";
    LIMITS = "max_tokens, max_completion_tokens", Mapped, "", "generationConfig.maxOutputTokens";
    SAMPLING = "temperature, top_p, top_k", Mapped, "", "generationConfig; models from Gemini 3.6 on ignore them";
    CANDIDATES = "n", Mapped, "before Gemini 3", "generationConfig.candidateCount";
    LOGPROBS = "logprobs, top_logprobs", Mapped, "", "generationConfig.responseLogprobs and logprobs";
    EFFORT = "reasoning_effort, reasoning.effort", Mapped, "", "generationConfig.thinkingConfig: thinkingLevel from Gemini 3 on, thinkingBudget before";
    RESPONSE_FORMAT = "response_format", Mapped, "", "generationConfig.responseMimeType and responseSchema or responseJsonSchema; keywords that the API does not take are left out";
    TOOL_CHOICE = "tool_choice", Mapped, "", "toolConfig.functionCallingConfig; allowed_tools too";
    PARALLEL = "parallel_tool_calls", Mapped, "", "with false, the client gets the first call only: the API has no switch";
    CUSTOM_TOOLS = "tools[] of type custom", Mapped, "", "a function with one string, input; what limits the string is left out and named";
    FUNCTIONS = "functions, function_call", Mapped, "", "functionDeclarations; the reply has function_call";
    SERVICE_TIER_MAPPED = "service_tier", Mapped, "", "serviceTier";
    OWN = "safety_settings, cached_content", Mapped, "", "safetySettings and cachedContent, as they are";
}
