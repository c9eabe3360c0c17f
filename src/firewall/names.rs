//! The names that do not pass: headers, trailers and query parameters that carry credentials, tell
//! about the client, or steer a gateway, a provider or a browser.
//!
//! This is the one table for requests, their trailers, replies and their trailers; the page
//! `docs/credentials.md` is made from it. Sources, read 2026-11-28: beside each row.
//!
//! Names are lower case; one with a `*` at its end stands for all that begin like it. They are
//! compared as [`fold`] has them: CGI, WSGI and PHP give a program `X-Api-Key` and `x_api_key` under
//! one name (<https://www.rfc-editor.org/rfc/rfc3875#section-4.1.18>), so what is true of one spelling
//! is true of the other.

use std::cmp::Ordering;

/// A header that does not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The name, or the beginning of names and a `*`.
    pub pattern: &'static str,
    /// Where it does not pass.
    pub applies: Applies,
    /// Why.
    pub reason: Reason,
    /// Who gives the name its meaning. Empty in the module, which does not need it.
    pub source: &'static str,
}

/// A parameter of a client's query that does not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// The name, or the beginning of names and a `*`.
    pub pattern: &'static str,
    /// Why.
    pub reason: Reason,
    /// Who gives the name its meaning. Empty in the module, which does not need it.
    pub source: &'static str,
}

/// The messages in which a header does not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applies {
    /// Requests and replies.
    Both,
    /// Replies.
    Replies,
    /// Requests.
    Requests,
    /// Requests that are translated into a dialect of their provider's own.
    TranslatedRequests,
}

/// Why a name does not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It names an account: whom the provider charges.
    Account,
    /// It has an address at the provider, perhaps with the key; who follows it leaves the gateway.
    Address,
    /// By these Anthropic recognizes a browser, which it refuses; Google has no use for them.
    Browser,
    /// It tells about the client, its network, or who is signed in there.
    Client,
    /// It carries a key, a token or a session.
    Credential,
    /// It names a model or a deployment. It does not pass where the configuration restricts these.
    Model,
    /// A browser would apply it to everything at the gateway's own host.
    Origin,
    /// A proxy in front of the gateway would act on it, and read its own files for one.
    Proxy,
    /// It steers Envoy, this gateway, or the server behind it: method, path, destination, the form of
    /// the reply.
    Steering,
    /// It belongs to a trace, or to the logs, of the client's side. A configuration may let it pass.
    Trace,
}

/// The header of the table that a name matches.
pub fn header(name: &[u8]) -> Option<&'static Header> {
    // Each header of each message is looked up, and most names begin like few of the table.
    let group = GROUPS.get(initial(name))?;
    let rows = HEADERS.get(usize::from(group.start)..usize::from(group.end))?;
    rows.iter().find(|row| match row.pattern.as_bytes() {
        [stem @ .., b'*'] => name.get(..stem.len()).is_some_and(|it| is_same(stem, it)),
        whole => is_same(whole, name),
    })
}

/// The query parameter of the table that a decoded name matches.
pub fn parameter(name: &[u8]) -> Option<&'static Parameter> {
    let found = find(name, PARAMETERS.len(), |at| {
        PARAMETERS.get(at).map(|it| it.pattern)
    })?;
    PARAMETERS.get(found)
}

/// A byte of a name as it is compared: lower case, `_` and `.` as `-`. PHP reads `a.b` as `a_b`.
pub fn fold(byte: u8) -> u8 {
    match byte {
        b'_' | b'.' | b' ' => b'-',
        _ => byte.to_ascii_lowercase(),
    }
}

/// Whether two names are one to some server.
pub fn is_same(one: &[u8], other: &[u8]) -> bool {
    let is_same = |(one, other): (&u8, &u8)| fold(*one) == fold(*other);
    one.len() == other.len() && one.iter().zip(other).all(is_same)
}

/// The row that matches a name, of rows that are sorted and of which none matches another.
///
/// All names that begin like a row stand between it and the next one, so the last row that does not
/// come after the name is the only one that can match.
fn find(
    name: &[u8],
    rows: usize,
    pattern: impl Fn(usize) -> Option<&'static str>,
) -> Option<usize> {
    let (mut low, mut high) = (0, rows);
    while low < high {
        let middle = low.midpoint(high);
        let stem = stem(pattern(middle)?);
        match compare(stem.as_bytes(), name) {
            Ordering::Greater => high = middle,
            Ordering::Equal | Ordering::Less => low = middle + 1,
        }
    }
    let last = low.checked_sub(1)?;
    let pattern = pattern(last)?;
    let stem = stem(pattern);
    let begins = name
        .get(..stem.len())
        .is_some_and(|it| compare(stem.as_bytes(), it) == Ordering::Equal);
    let is_whole = name.len() == stem.len() || stem.len() < pattern.len();
    (begins && is_whole).then_some(last)
}

fn stem(pattern: &'static str) -> &'static str {
    pattern.strip_suffix('*').unwrap_or(pattern)
}

/// Compares what the table has with a name that is not folded yet.
fn compare(stem: &[u8], name: &[u8]) -> Ordering {
    stem.iter().copied().cmp(name.iter().copied().map(fold))
}

/// A number for the first letter of a name, of what begins with `x-` for the letter after it.
const fn initial(name: &[u8]) -> usize {
    match name {
        [b'x', b'-' | b'_' | b'.', third, ..] => 32 + (*third & 31) as usize,
        [first, ..] => (*first & 31) as usize,
        [] => 0,
    }
}

/// Where the rows with one initial stand in the table, which is sorted.
#[derive(Clone, Copy)]
struct Group {
    start: u8,
    end: u8,
}

/// The rows by their initials.
#[allow(
    clippy::indexing_slicing,
    reason = "what is out of range does not compile"
)]
const GROUPS: [Group; 64] = {
    let mut groups = [Group { start: 0, end: 0 }; 64];
    let mut at = 0;
    while at < HEADERS.len() {
        let group = &mut groups[initial(HEADERS[at].pattern.as_bytes())];
        if group.end == 0 {
            group.start = at as u8;
        }
        group.end = at as u8 + 1;
        at += 1;
    }
    groups
};

const fn name(
    pattern: &'static str,
    applies: Applies,
    reason: Reason,
    source: &'static str,
) -> Header {
    Header {
        pattern,
        applies,
        reason,
        source: if cfg!(target_family = "wasm") {
            ""
        } else {
            source
        },
    }
}

const fn query(pattern: &'static str, reason: Reason, source: &'static str) -> Parameter {
    Parameter {
        pattern,
        reason,
        source: if cfg!(target_family = "wasm") {
            ""
        } else {
            source
        },
    }
}

use Applies::{Both, Replies, Requests, TranslatedRequests};
use Reason::{
    Account, Address, Browser, Client, Credential, Model, Origin, Proxy, Steering, Trace,
};

/// The headers, sorted.
#[rustfmt::skip]
pub const HEADERS: [Header; 129] = [
    name("accept-ch", Replies, Origin, "https://www.rfc-editor.org/rfc/rfc8942"),
    name("accept-encoding", Requests, Steering, "https://www.rfc-editor.org/rfc/rfc9110#section-12.5.3"),
    name("access-token", Both, Credential, "common names of API keys and session tokens"),
    name("alt-svc", Replies, Origin, "https://www.rfc-editor.org/rfc/rfc7838"),
    name("anthropic-api-key", Both, Credential, "https://platform.claude.com/docs/en/api/overview"),
    name("anthropic-organization-id", Replies, Account, "https://platform.claude.com/docs/en/api/overview"),
    name("api-key", Both, Credential, "https://learn.microsoft.com/azure/ai-foundry/openai/reference"),
    name("apikey", Both, Credential, "common names of API keys and session tokens"),
    name("auth-token", Both, Credential, "common names of API keys and session tokens"),
    name("authorization", Both, Credential, "https://www.rfc-editor.org/rfc/rfc9110#section-11"),
    name("azure-asyncoperation", Replies, Address, "https://learn.microsoft.com/azure/azure-resource-manager/management/async-operations"),
    name("azureml-*", Requests, Steering, "https://learn.microsoft.com/azure/machine-learning/how-to-deploy-online-endpoints"),
    name("b3", Requests, Trace, "https://github.com/openzipkin/b3-propagation"),
    name("baggage", Requests, Trace, "https://www.w3.org/TR/baggage/"),
    name("cf-*", Requests, Client, "https://developers.cloudflare.com/fundamentals/reference/http-headers/"),
    name("clear-site-data", Replies, Origin, "https://www.w3.org/TR/clear-site-data/"),
    name("client-cert", Requests, Client, "https://www.rfc-editor.org/rfc/rfc9440"),
    name("client-cert-chain", Requests, Client, "https://www.rfc-editor.org/rfc/rfc9440"),
    name("client-ip", Requests, Client, "https://nginx.org/en/docs/http/ngx_http_realip_module.html"),
    name("content-location", Replies, Address, "https://www.rfc-editor.org/rfc/rfc9110#section-8.7"),
    name("cookie", Both, Credential, "https://www.rfc-editor.org/rfc/rfc6265"),
    name("cookie2", Both, Credential, "https://www.rfc-editor.org/rfc/rfc6265"),
    name("expect-ct", Replies, Origin, "https://www.rfc-editor.org/rfc/rfc9163"),
    name("fastly-client-ip", Requests, Client, "https://www.fastly.com/documentation/reference/http/http-headers/Fastly-Client-IP/"),
    name("fly-client-ip", Requests, Client, "https://fly.io/docs/networking/request-headers/"),
    name("forwarded", Requests, Client, "https://www.rfc-editor.org/rfc/rfc7239"),
    name("grpc-trace-bin", Requests, Trace, "https://github.com/census-instrumentation/opencensus-specs/blob/master/encodings/BinaryEncoding.md"),
    name("helicone-*", Requests, Steering, "https://docs.helicone.ai/helicone-headers/header-directory"),
    name("link", Replies, Address, "https://www.rfc-editor.org/rfc/rfc8288"),
    name("location", Replies, Address, "https://www.rfc-editor.org/rfc/rfc9110#section-10.2.2"),
    name("nel", Replies, Origin, "https://www.w3.org/TR/network-error-logging/"),
    name("ocp-apim-*", Both, Credential, "https://learn.microsoft.com/azure/api-management/api-management-subscriptions"),
    name("openai-api-key", Both, Credential, "https://platform.openai.com/docs/api-reference/authentication"),
    name("openai-organization", Both, Account, "https://platform.openai.com/docs/api-reference/authentication"),
    name("openai-project", Both, Account, "https://platform.openai.com/docs/api-reference/authentication"),
    name("operation-location", Replies, Address, "https://learn.microsoft.com/azure/azure-resource-manager/management/async-operations"),
    name("origin", TranslatedRequests, Browser, "https://fetch.spec.whatwg.org/#origin-header"),
    name("private-token", Both, Credential, "https://docs.gitlab.com/api/rest/authentication/"),
    name("proxy-authenticate", Both, Credential, "https://www.rfc-editor.org/rfc/rfc9110#section-11"),
    name("proxy-authentication-info", Both, Credential, "https://www.rfc-editor.org/rfc/rfc9110#section-11"),
    name("proxy-authorization", Both, Credential, "https://www.rfc-editor.org/rfc/rfc9110#section-11"),
    name("public-key-pins", Replies, Origin, "https://www.rfc-editor.org/rfc/rfc7469"),
    name("public-key-pins-report-only", Replies, Origin, "https://www.rfc-editor.org/rfc/rfc7469"),
    name("referer", TranslatedRequests, Browser, "https://www.rfc-editor.org/rfc/rfc9110#section-10.1.3"),
    name("refresh", Replies, Address, "https://html.spec.whatwg.org/multipage/document-lifecycle.html#the-refresh-header"),
    name("remote-user", Requests, Client, "https://oauth2-proxy.github.io/oauth2-proxy/configuration/overview/"),
    name("report-to", Replies, Origin, "https://www.w3.org/TR/reporting-1/"),
    name("reporting-endpoints", Replies, Origin, "https://www.w3.org/TR/reporting-1/"),
    name("sec-fetch-*", TranslatedRequests, Browser, "https://www.w3.org/TR/fetch-metadata/"),
    name("sentry-trace", Requests, Trace, "https://develop.sentry.dev/sdk/foundations/trace-propagation/"),
    name("service-worker-allowed", Replies, Origin, "https://www.w3.org/TR/service-workers/#service-worker-allowed"),
    name("set-cookie", Both, Credential, "https://www.rfc-editor.org/rfc/rfc6265"),
    name("set-cookie2", Both, Credential, "https://www.rfc-editor.org/rfc/rfc6265"),
    name("sourcemap", Replies, Address, "https://tc39.es/ecma426/"),
    name("ssl-client-*", Requests, Client, "https://kubernetes.github.io/ingress-nginx/user-guide/nginx-configuration/annotations/"),
    name("strict-transport-security", Replies, Origin, "https://www.rfc-editor.org/rfc/rfc6797"),
    name("traceparent", Requests, Trace, "https://www.w3.org/TR/trace-context/"),
    name("tracestate", Requests, Trace, "https://www.w3.org/TR/trace-context/"),
    name("true-client-ip", Requests, Client, "https://developers.cloudflare.com/fundamentals/reference/http-headers/"),
    name("uber-trace-id", Requests, Trace, "https://www.jaegertracing.io/sdk-migration/#propagation-format"),
    name("via", Requests, Client, "https://www.rfc-editor.org/rfc/rfc9110#section-7.6.3"),
    name("x-accel-redirect", Replies, Proxy, "https://www.f5.com/company/blog/nginx/x-accel"),
    name("x-access-token", Both, Credential, "common names of API keys and session tokens"),
    name("x-ai-eg-*", Requests, Steering, "https://aigateway.envoyproxy.io/docs/"),
    name("x-amz-*", Requests, Credential, "https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-authenticating-requests.html"),
    name("x-amzn-*", Requests, Credential, "https://docs.aws.amazon.com/elasticloadbalancing/latest/application/listener-authenticate-users.html"),
    name("x-anthropic-api-key", Both, Credential, "https://platform.claude.com/docs/en/api/overview"),
    name("x-api-key", Both, Credential, "https://platform.claude.com/docs/en/api/overview"),
    name("x-apikey", Both, Credential, "common names of API keys and session tokens"),
    name("x-appengine-*", Requests, Client, "https://cloud.google.com/appengine/docs/standard/reference/request-headers"),
    name("x-auth-email", Both, Credential, "https://developers.cloudflare.com/fundamentals/api/reference/deprecations/"),
    name("x-auth-key", Both, Credential, "https://developers.cloudflare.com/fundamentals/api/reference/deprecations/"),
    name("x-auth-request-*", Requests, Client, "https://oauth2-proxy.github.io/oauth2-proxy/configuration/overview/"),
    name("x-auth-token", Both, Credential, "https://docs.openstack.org/api-ref/identity/v3/"),
    name("x-authenticated-*", Requests, Client, "https://developer.konghq.com/plugins/key-auth/"),
    name("x-azure-*", Requests, Client, "https://learn.microsoft.com/azure/frontdoor/front-door-http-headers-protocol"),
    name("x-b3-*", Requests, Trace, "https://github.com/openzipkin/b3-propagation"),
    name("x-client-ip", Requests, Client, "https://nginx.org/en/docs/http/ngx_http_realip_module.html"),
    name("x-client-trace-id", Requests, Trace, "https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_conn_man/headers#x-client-trace-id"),
    name("x-cloud-trace-context", Requests, Trace, "https://cloud.google.com/trace/docs/trace-context"),
    name("x-cluster-client-ip", Requests, Client, "https://nginx.org/en/docs/http/ngx_http_realip_module.html"),
    name("x-consumer-*", Requests, Client, "https://developer.konghq.com/plugins/key-auth/"),
    name("x-credential-*", Requests, Client, "https://developer.konghq.com/plugins/key-auth/"),
    name("x-csrf-token", Both, Credential, "https://owasp.org/www-community/attacks/csrf"),
    name("x-datadog-*", Requests, Trace, "https://docs.datadoghq.com/tracing/trace_collection/trace_context_propagation/"),
    name("x-envoy-*", Both, Steering, "https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/router_filter"),
    name("x-forwarded", Requests, Client, "https://developer.mozilla.org/docs/Web/HTTP/Reference/Headers/X-Forwarded-For"),
    name("x-forwarded-*", Requests, Client, "https://developer.mozilla.org/docs/Web/HTTP/Reference/Headers/X-Forwarded-For"),
    name("x-functions-key", Both, Credential, "https://learn.microsoft.com/azure/azure-functions/function-keys-how-to"),
    name("x-gateway-*", Requests, Steering, "https://gateway-api-inference-extension.sigs.k8s.io"),
    name("x-goog-*", Both, Credential, "https://cloud.google.com/apis/docs/system-parameters"),
    name("x-host", Requests, Steering, "https://portswigger.net/web-security/host-header/exploiting"),
    name("x-http-host-override", Requests, Steering, "https://portswigger.net/web-security/host-header/exploiting"),
    name("x-http-method", Requests, Steering, "https://cloud.google.com/apis/docs/system-parameters"),
    name("x-http-method-override", Requests, Steering, "https://cloud.google.com/apis/docs/system-parameters"),
    name("x-id-token", Both, Credential, "common names of API keys and session tokens"),
    name("x-jwt-assertion", Both, Credential, "common names of API keys and session tokens"),
    name("x-lighttpd-send-file", Replies, Proxy, "https://redmine.lighttpd.net/projects/lighttpd/wiki/X-LIGHTTPD-send-file"),
    name("x-litellm-*", Both, Credential, "https://docs.litellm.ai/docs/proxy/virtual_keys"),
    name("x-llm-proxy-*", Both, Steering, "this gateway"),
    name("x-method-override", Requests, Steering, "https://cloud.google.com/apis/docs/system-parameters"),
    name("x-ms-*", Requests, Credential, "https://learn.microsoft.com/azure/app-service/configure-authentication-user-identities"),
    name("x-openai-api-key", Both, Credential, "https://platform.openai.com/docs/api-reference/authentication"),
    name("x-original-forwarded-for", Requests, Client, "https://nginx.org/en/docs/http/ngx_http_realip_module.html"),
    name("x-original-host", Requests, Steering, "https://kubernetes.github.io/ingress-nginx/user-guide/nginx-configuration/annotations/"),
    name("x-original-method", Requests, Steering, "https://kubernetes.github.io/ingress-nginx/user-guide/nginx-configuration/annotations/"),
    name("x-original-uri", Requests, Steering, "https://kubernetes.github.io/ingress-nginx/user-guide/nginx-configuration/annotations/"),
    name("x-original-url", Requests, Steering, "https://symfony.com/blog/cve-2018-14773-remove-support-for-legacy-and-risky-http-headers"),
    name("x-originating-ip", Requests, Client, "https://nginx.org/en/docs/http/ngx_http_realip_module.html"),
    name("x-ot-span-context", Requests, Trace, "https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_conn_man/headers#x-ot-span-context"),
    name("x-portkey-*", Requests, Steering, "https://portkey.ai/docs/api-reference/inference-api/headers"),
    name("x-real-ip", Requests, Client, "https://nginx.org/en/docs/http/ngx_http_realip_module.html"),
    name("x-refresh-token", Both, Credential, "common names of API keys and session tokens"),
    name("x-remote-addr", Requests, Client, "https://nginx.org/en/docs/http/ngx_http_realip_module.html"),
    name("x-remote-ip", Requests, Client, "https://nginx.org/en/docs/http/ngx_http_realip_module.html"),
    name("x-remote-user", Requests, Client, "https://oauth2-proxy.github.io/oauth2-proxy/configuration/overview/"),
    name("x-request-id", Requests, Trace, "https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_conn_man/headers#x-request-id"),
    name("x-rewrite-url", Requests, Steering, "https://symfony.com/blog/cve-2018-14773-remove-support-for-legacy-and-risky-http-headers"),
    name("x-sendfile", Replies, Proxy, "https://redmine.lighttpd.net/projects/lighttpd/wiki/X-LIGHTTPD-send-file"),
    name("x-serverless-authorization", Both, Credential, "https://cloud.google.com/run/docs/authenticating/service-to-service"),
    name("x-session-token", Both, Credential, "common names of API keys and session tokens"),
    name("x-sourcemap", Replies, Address, "https://tc39.es/ecma426/"),
    name("x-ssl-client-*", Requests, Client, "https://kubernetes.github.io/ingress-nginx/user-guide/nginx-configuration/annotations/"),
    name("x-subject-token", Both, Credential, "https://docs.openstack.org/api-ref/identity/v3/"),
    name("x-true-client-ip", Requests, Client, "https://developers.cloudflare.com/fundamentals/reference/http-headers/"),
    name("x-vault-token", Both, Credential, "https://developer.hashicorp.com/vault/api-docs"),
    name("x-vercel-*", Requests, Client, "https://vercel.com/docs/headers/request-headers"),
    name("x-vertex-*", Requests, Account, "https://cloud.google.com/vertex-ai/generative-ai/docs"),
    name("x-xsrf-token", Both, Credential, "https://owasp.org/www-community/attacks/csrf"),
];

/// The query parameters, sorted.
#[rustfmt::skip]
pub const PARAMETERS: [Parameter; 46] = [
    query("$-xgafv", Steering, "https://cloud.google.com/apis/docs/system-parameters"),
    query("$alt", Steering, "https://cloud.google.com/apis/docs/system-parameters"),
    query("$callback", Steering, "https://cloud.google.com/apis/docs/system-parameters"),
    query("$httpmethod", Steering, "https://cloud.google.com/apis/docs/system-parameters"),
    query("$key", Credential, "https://cloud.google.com/apis/docs/system-parameters"),
    query("$quotauser", Steering, "https://cloud.google.com/apis/docs/system-parameters"),
    query("$userproject", Steering, "https://cloud.google.com/apis/docs/system-parameters"),
    query("-method", Steering, "https://symfony.com/doc/current/reference/configuration/framework.html#http-method-override"),
    query("access-token", Credential, "https://cloud.google.com/apis/docs/system-parameters"),
    query("alt", Steering, "https://cloud.google.com/apis/docs/system-parameters"),
    query("api-key", Credential, "common names of API keys and passwords"),
    query("apikey", Credential, "common names of API keys and passwords"),
    query("auth", Credential, "common names of API keys and passwords"),
    query("auth-token", Credential, "common names of API keys and passwords"),
    query("authorization", Credential, "common names of API keys and passwords"),
    query("awsaccesskeyid", Credential, "https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html"),
    query("bearer-token", Credential, "https://www.rfc-editor.org/rfc/rfc6750#section-2.3"),
    query("callback", Steering, "https://cloud.google.com/apis/docs/system-parameters"),
    query("client-secret", Credential, "https://www.rfc-editor.org/rfc/rfc6749"),
    query("code", Credential, "https://learn.microsoft.com/azure/azure-functions/function-keys-how-to"),
    query("deployment", Model, "https://learn.microsoft.com/azure/ai-foundry/openai/reference"),
    query("deployment-id", Model, "https://learn.microsoft.com/azure/ai-foundry/openai/reference"),
    query("deployment-name", Model, "https://learn.microsoft.com/azure/ai-foundry/openai/reference"),
    query("engine", Model, "https://platform.openai.com/docs/deprecations"),
    query("googleaccessid", Credential, "https://cloud.google.com/storage/docs/access-control/signed-urls"),
    query("id-token", Credential, "https://www.rfc-editor.org/rfc/rfc6749"),
    query("jwt", Credential, "common names of API keys and passwords"),
    query("key", Credential, "https://cloud.google.com/apis/docs/system-parameters"),
    query("model", Model, "https://platform.openai.com/docs/guides/realtime"),
    query("oauth-token", Credential, "https://cloud.google.com/apis/docs/system-parameters"),
    query("openai-api-key", Credential, "https://platform.openai.com/docs/api-reference/authentication"),
    query("passwd", Credential, "common names of API keys and passwords"),
    query("password", Credential, "common names of API keys and passwords"),
    query("quotauser", Steering, "https://cloud.google.com/apis/docs/system-parameters"),
    query("refresh-token", Credential, "https://www.rfc-editor.org/rfc/rfc6749"),
    query("secret", Credential, "common names of API keys and passwords"),
    query("session-token", Credential, "common names of API keys and passwords"),
    query("sig", Credential, "https://learn.microsoft.com/azure/storage/common/storage-sas-overview"),
    query("signature", Credential, "https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html"),
    query("subscription-key", Credential, "https://learn.microsoft.com/azure/api-management/api-management-subscriptions"),
    query("token", Credential, "common names of API keys and passwords"),
    query("userproject", Steering, "https://cloud.google.com/apis/docs/system-parameters"),
    query("x-amz-*", Credential, "https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html"),
    query("x-api-key", Credential, "common names of API keys and passwords"),
    query("x-goog-*", Credential, "https://cloud.google.com/storage/docs/access-control/signed-urls"),
    query("x-http-method-override", Steering, "https://symfony.com/doc/current/reference/configuration/framework.html#http-method-override"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_sorted_and_no_row_matches_another() {
        let headers: Vec<&str> = HEADERS.iter().map(|it| it.pattern).collect();
        let parameters: Vec<&str> = PARAMETERS.iter().map(|it| it.pattern).collect();
        for patterns in [headers, parameters] {
            for pair in patterns.windows(2) {
                let (one, next) = (stem(pair[0]), stem(pair[1]));
                assert!(one < next, "{one} {next}");
                assert!(
                    !pair[0].ends_with('*') || !next.starts_with(one),
                    "{pair:?}"
                );
            }
            for pattern in patterns {
                let folded: Vec<u8> = pattern.bytes().map(fold).collect();
                assert_eq!(
                    folded,
                    pattern.as_bytes(),
                    "{pattern} is not as it is compared"
                );
            }
        }
    }

    #[test]
    fn the_rows_of_an_initial_stand_together() {
        assert!(HEADERS.len() <= usize::from(u8::MAX));
        let rows: usize = GROUPS.iter().map(|it| usize::from(it.end - it.start)).sum();
        assert_eq!(rows, HEADERS.len());
    }

    #[test]
    fn every_row_is_found_by_its_names_and_by_no_others() {
        for row in &HEADERS {
            let stem = stem(row.pattern);
            let is_prefix = stem.len() < row.pattern.len();
            assert_eq!(header(stem.as_bytes()), Some(row));
            assert_eq!(
                header(
                    stem.replace('-', "_")
                        .to_uppercase()
                        .to_lowercase()
                        .as_bytes()
                ),
                Some(row)
            );
            let longer = header(format!("{stem}~").as_bytes());
            assert_eq!(longer, is_prefix.then_some(row), "{stem}~");
            assert!(!row.source.is_empty(), "{stem}");
        }
        for row in &PARAMETERS {
            let stem = stem(row.pattern);
            assert_eq!(parameter(stem.to_uppercase().as_bytes()), Some(row));
            assert!(!row.source.is_empty(), "{stem}");
        }
        for name in [
            "",
            "content-type",
            "user-agent",
            "x-stainless-lang",
            "openai-beta",
            ":path",
            "x",
            "x-",
        ] {
            assert_eq!(header(name.as_bytes()), None, "{name}");
        }
    }

    #[test]
    fn names_are_the_same_where_a_server_could_take_them_for_it() {
        assert!(is_same(b"x-team", b"X_Team"));
        assert!(!is_same(b"x-team", b"x-teams"));
        assert!(!is_same(b"x-team", b"x-tean"));
    }
}
