//! `render`: the configuration of a proxy, for each home that the module has.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::{Done, Failure, NOT_WRITTEN, OK, USAGE, check, complain, envoy, load, print};
use crate::check::{Keys, locate};
use crate::config::value::parse_bytes;
use crate::config::{ConfigErrors, Text};
use crate::render::envoy::Machine;
use crate::render::envoy::secrets::{self, Content};
use crate::render::envoy_gateway::{self, Cluster};
use crate::render::istio::{self, Api, Mesh, Proxies};
use crate::render::kubernetes::{Module, NAME, accepted};
use crate::render::{Origin, Source, envoy as stock};

/// Where the module is going to live.
#[derive(Debug, clap::Subcommand)]
pub enum Home {
    /// A complete configuration of Envoy, without any key in it
    #[command(after_help = "Example:
  llm-proxy render envoy gateway.yaml --wasm /etc/envoy/llm_proxy.wasm --output envoy.yaml
  OPENAI_API_KEY=sk-... envoy --config-path envoy.yaml

Keys are not needed to render: Envoy needs them in its environment.")]
    Envoy(ForEnvoy),
    /// Manifests for Istio: WasmPlugin, ServiceEntry, DestinationRule, VirtualService
    #[command(after_help = "Examples:
  llm-proxy render istio gateway.yaml --wasm oci://registry.example.com/llm-proxy:0.1.0 \\
    | kubectl apply -f -
  llm-proxy render istio gateway.yaml --wasm oci://registry.example.com/llm-proxy:0.1.0 \\
    --sha256 ... --hold

Keys are not needed to render: the gateway's pods need them in their environment.
envoy/README.md is the walk-through, from a secret to the first reply.")]
    Istio(ForIstio),
    /// Manifests for Envoy Gateway: EnvoyExtensionPolicy, Backend, BackendTLSPolicy, HTTPRoute, …
    #[command(after_help = "Example:
  llm-proxy render envoy-gateway gateway.yaml \\
    --wasm oci://registry.example.com/llm-proxy:0.1.0 | kubectl apply -f -

Keys are not needed to render: the pods take them from a Secret.
envoy/README.md is the walk-through, from a secret to the first reply.")]
    EnvoyGateway(ForEnvoyGateway),
}

#[derive(Debug, clap::Args)]
pub struct ForEnvoy {
    /// The configuration
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The path of the module, as Envoy sees it
    #[arg(long, value_name = "PATH", default_value = "./llm_proxy.wasm")]
    wasm: String,
    /// The path of the CA certificates for providers without tls.caFile, as Envoy sees it
    #[arg(long, value_name = "PATH", default_value = envoy::DEBIAN_ROOTS)]
    ca_file: String,
    /// The directory, as Envoy sees it, to write the files to by which Envoy reads keys from files
    #[arg(long, value_name = "DIRECTORY")]
    secrets: Option<PathBuf>,
    /// The memory that Envoy may hold outside of the VMs, at which it refuses new requests. Beside it
    /// each worker has a VM of up to 1GiB: see docs/memory.md
    #[arg(long, value_name = "SIZE", default_value = "2GiB", value_parser = size)]
    heap_limit: u64,
    /// Watch the memory limit of the container as well: where Envoy runs in one that has a limit
    #[arg(long)]
    cgroup: bool,
    /// Where to write instead of standard output
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Where a cluster gets the module.
#[derive(Debug, clap::Args)]
struct Wasm {
    /// The module: oci://REGISTRY/IMAGE:TAG, or https://HOST/PATH with --sha256
    #[arg(long, value_name = "URL")]
    wasm: String,
    /// Its checksum: of the file, or of the image's manifest
    #[arg(long, value_name = "HEX")]
    sha256: Option<String>,
}

#[derive(Debug, clap::Args)]
pub struct ForIstio {
    /// The configuration
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    module: Wasm,
    /// The name of the resources, of their label app.kubernetes.io/instance, and the beginning of
    /// the backends' names; two gateways of one namespace need two names
    #[arg(long, value_name = "NAME", default_value = NAME, value_parser = accepted::label_name)]
    name: String,
    /// The namespace of the gateway's pods, for all resources
    #[arg(long, value_name = "NAME", default_value = "istio-ingress", value_parser = accepted::label_name)]
    namespace: String,
    /// Labels of the pods, separated by commas
    #[arg(long, value_name = "KEY=VALUE", value_delimiter = ',', value_parser = accepted::label,
          default_value = "istio=ingress")]
    selector: Vec<(String, String)>,
    /// A Gateway of Istio's that is there already, instead of one at port 80: [NAMESPACE/]NAME
    #[arg(long, value_name = "NAME", conflicts_with_all = ["gateway_api", "sidecar"],
          value_parser = accepted::istio_gateway)]
    gateway: Option<String>,
    /// A Gateway of the Kubernetes Gateway API that is there already: targetRefs and HTTPRoute
    /// instead of selector and VirtualService
    #[arg(long, value_name = "NAME", conflicts_with_all = ["selector", "hold"],
          value_parser = accepted::resource_name)]
    gateway_api: Option<String>,
    /// The sidecars of the pods instead of a gateway: applications call any host at this port
    #[arg(long, value_name = "PORT", conflicts_with_all = ["gateway_api", "hold"],
          value_parser = clap::value_parser!(u16).range(1..))]
    sidecar: Option<u16>,
    /// The resource that loads the module: traffic-extension needs Istio 1.30
    #[arg(long, value_enum, default_value_t = Api::WasmPlugin, conflicts_with = "hold")]
    api: Api,
    /// Let headers wait for the body, by an EnvoyFilter instead of a WasmPlugin: translated
    /// types, deployments in paths, pools
    #[arg(long)]
    hold: bool,
    /// The path of the CA certificates for providers without tls.caFile, in the pods
    #[arg(long, value_name = "PATH", default_value = envoy::DEBIAN_ROOTS)]
    ca_file: String,
    /// Where to write instead of standard output
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub struct ForEnvoyGateway {
    /// The configuration
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    module: Wasm,
    /// The name of the resources, of their label app.kubernetes.io/instance, and the beginning of
    /// the backends' names; two gateways of one namespace need two names
    #[arg(long, value_name = "NAME", default_value = NAME, value_parser = accepted::label_name)]
    name: String,
    /// The namespace of all resources
    #[arg(long, value_name = "NAME", default_value = "default", value_parser = accepted::label_name)]
    namespace: String,
    /// A Gateway that is there already, instead of one at port 80 and its EnvoyProxy; its proxies
    /// need the keys in their environment
    #[arg(long, value_name = "NAME", conflicts_with_all = ["class", "secret"],
          value_parser = accepted::resource_name)]
    gateway: Option<String>,
    /// The GatewayClass
    #[arg(long, value_name = "NAME", default_value = "eg", value_parser = accepted::resource_name)]
    class: String,
    /// The Secret with the keys, in the namespace of the proxies' pods
    #[arg(long, value_name = "NAME", default_value = "llm-keys", value_parser = accepted::resource_name)]
    secret: String,
    /// A listener of the Gateway that serves the routes; may be given several times. Without it all of
    /// its listeners do, with --hold the one named http
    #[arg(long, value_name = "NAME", requires = "gateway")]
    listener: Vec<String>,
    /// The oldest Envoy Gateway that reads the manifests; from 1.9 on, an EnvoyExtensionPolicy of the
    /// whole Gateway runs beside the module
    #[arg(long, value_name = "VERSION", value_parser = envoy_gateway_version, default_value = "1.7")]
    envoy_gateway_version: (u16, u16),
    /// Let headers wait for the body, by an EnvoyPatchPolicy: translated types, deployments in
    /// paths, pools
    #[arg(long)]
    hold: bool,
    /// The path of the CA certificates for providers of pools without tls.caFile, in the pods
    #[arg(long, value_name = "PATH", default_value = envoy::DEBIAN_ROOTS)]
    ca_file: String,
    /// Where to write instead of standard output
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Writes the configuration for one home.
pub fn render(home: &Home) -> Done {
    match home {
        Home::Envoy(arguments) => for_envoy(arguments),
        Home::Istio(arguments) => for_istio(arguments),
        Home::EnvoyGateway(arguments) => for_envoy_gateway(arguments),
    }
}

/// What stock Envoy reads.
pub fn bootstrap(source: &Source, machine: &Machine, file: &Path) -> String {
    stock::yaml(source, machine, &file.display().to_string())
}

fn for_envoy(arguments: &ForEnvoy) -> Done {
    let (source, _) = source(&arguments.file, "Envoy")?;
    let machine = Machine {
        is_whole: true,
        module: arguments.wasm.clone(),
        roots: arguments.ca_file.clone(),
        secrets: String::new(),
        heap_limit: arguments.heap_limit,
        has_cgroup_limit: arguments.cgroup,
    };
    let machine = with_secrets(&source, machine, arguments.secrets.as_deref())?;
    let text = bootstrap(&source, &machine, &arguments.file);
    write(arguments.output.as_deref(), &text)
}

/// Writes the files by which Envoy reads secrets from files, where there are any. They have no secret.
fn with_secrets(
    source: &Source,
    mut machine: Machine,
    directory: Option<&Path>,
) -> Result<Machine, Failure> {
    if source.injected().next().is_none() {
        return Ok(machine);
    }
    let directory = directory.ok_or_else(|| Failure::new(USAGE, NO_SECRETS_DIRECTORY))?;
    machine.secrets = directory.display().to_string();
    for secret in source.injected() {
        let Origin::File(path) = &secret.origin else {
            continue;
        };
        let file = secrets::file(directory, &secret.header);
        let resource = secrets::resource(&secret.header, Content::File(path));
        std::fs::create_dir_all(directory)
            .and_then(|()| std::fs::write(&file, format!("{resource:#}\n")))
            .map_err(|error| Failure::new(NOT_WRITTEN, format!("{}: {error}", file.display())))?;
    }
    Ok(machine)
}

const NO_SECRETS_DIRECTORY: &str = "--secrets is required, since the configuration has a key from a \
     file: a directory for the files by which Envoy reads it, which have no key in them";

fn for_istio(arguments: &ForIstio) -> Done {
    let (source, config) = source(&arguments.file, "the proxy")?;
    note_telemetry(&source, "Istio");
    let selector = arguments.selector.clone();
    let keys: BTreeSet<&String> = selector.iter().map(|(key, _)| key).collect();
    if keys.len() < selector.len() {
        let message = "--selector: a key comes twice; a pod has one value of each label";
        return Err(Failure::new(USAGE, message));
    }
    let proxies = match (&arguments.gateway_api, arguments.sidecar) {
        (Some(name), _) => Proxies::GatewayApi(name.clone()),
        (None, Some(port)) => Proxies::Sidecars { selector, port },
        (None, None) => Proxies::Gateways {
            selector,
            gateway: arguments.gateway.clone(),
        },
    };
    let mesh = Mesh {
        name: arguments.name.clone(),
        module: module(&arguments.module)?,
        namespace: arguments.namespace.clone(),
        proxies,
        holds: arguments.hold,
        api: arguments.api,
        roots: arguments.ca_file.clone(),
    };
    let file = &arguments.file;
    let text = istio::yaml(&source, &mesh, &file.display().to_string());
    let text = text.map_err(|errors| invalid(file, &config, &errors))?;
    write(arguments.output.as_deref(), &text)
}

fn for_envoy_gateway(arguments: &ForEnvoyGateway) -> Done {
    let (source, config) = source(&arguments.file, "the proxy")?;
    note_telemetry(&source, "Envoy Gateway");
    let gateway = match &arguments.gateway {
        Some(name) => envoy_gateway::Gateway::Existing(name.clone()),
        None => envoy_gateway::Gateway::Own {
            class: arguments.class.clone(),
            secret: arguments.secret.clone(),
        },
    };
    let cluster = Cluster {
        name: arguments.name.clone(),
        module: module(&arguments.module)?,
        namespace: arguments.namespace.clone(),
        gateway,
        holds: arguments.hold,
        roots: arguments.ca_file.clone(),
        listeners: arguments.listener.clone(),
        merges_extensions: arguments.envoy_gateway_version >= (1, 9),
    };
    let file = &arguments.file;
    let text = envoy_gateway::yaml(&source, &cluster, &file.display().to_string());
    let text = text.map_err(|errors| invalid(file, &config, &errors))?;
    if let Some(name) = &arguments.gateway {
        complain(&format!(
            "note: comments at the top of the manifests list what the EnvoyProxy and the \
             ClientTrafficPolicy of the Gateway {name} need",
        ));
    }
    write(arguments.output.as_deref(), &text)
}

/// The configuration and its text, after warnings; `reader` is the process that needs its keys.
fn source(file: &Path, reader: &str) -> Result<(Source, Text<'static>), Failure> {
    let (source, text) = load(file, Keys::Elsewhere)?;
    for variable in source.variables() {
        let (what, it) = match variable.file.is_some() {
            true => ("a file", "its text"),
            false => ("literal", "it"),
        };
        complain(&format!(
            "warning: {}: is {what}; {reader} has to find {it} in the variable {}{}",
            variable.at,
            variable.name,
            match reader {
                "Envoy" => ", which \"llm-proxy run\" sets",
                _ => "",
            },
        ));
    }
    Ok((source, text))
}

/// Reports that proxies of others have their own configuration of what they report, and to whom.
fn note_telemetry(source: &Source, proxies: &str) {
    if source.gateway().collector.is_some() {
        complain(&format!(
            "note: telemetry: is not rendered for {proxies}; docs/observability.md says what its own \
             configuration can do",
        ));
    }
}

/// Reports what cannot be rendered for a proxy.
fn invalid(file: &Path, text: &Text<'_>, errors: &ConfigErrors) -> Failure {
    check::report(file, text, &locate(text, errors));
    Failure::silent(USAGE)
}

fn module(wasm: &Wasm) -> Result<Module, Failure> {
    Module::new(&wasm.wasm, wasm.sha256.as_deref()).map_err(|message| Failure::new(USAGE, message))
}

fn write(output: Option<&Path>, text: &str) -> Done {
    match output {
        Some(output) => std::fs::write(output, text)
            .map(|()| OK)
            .map_err(|error| Failure::new(NOT_WRITTEN, format!("{}: {error}", output.display()))),
        None => print(text),
    }
}

/// Reads `1.9` or `1.9.1`.
fn envoy_gateway_version(text: &str) -> Result<(u16, u16), String> {
    let mut numbers = text.trim_start_matches('v').split('.');
    let mut next = || numbers.next()?.parse().ok();
    let version = next().zip(next());
    version
        .filter(|version| *version >= (1, 7))
        .ok_or_else(|| format!("{text:?} is not a version from 1.7 on, such as 1.9.1"))
}

fn size(text: &str) -> Result<u64, String> {
    let size = parse_bytes(text).filter(|size| *size >= MIN_HEAP_LIMIT);
    size.ok_or_else(|| format!("{text:?} is not a size from 64MiB on, such as 2GiB"))
}

/// What Envoy needs to start. Unit: bytes.
const MIN_HEAP_LIMIT: u64 = 64 << 20;
