//! What the module costs: stock Envoy with and without it, under the same load, in one run.
//!
//! ```text
//!            other core                         one core                     other core
//!   load ─► keep-alive HTTP/1.1 ─► Envoy (bare | module | echo | floor | transcoder) ─► provider of fixed answers
//! ```
//!
//! The figure is the CPU time of the Envoy process, by the kernel's own count, divided by the
//! requests (or by the chunks of a stream). The variants take turns in short slices, so that
//! whatever else the machine does hits them alike; what is reported is the median over all rounds
//! of the ratio within a round. Nothing passes or fails by its time.
//!
//! Where the provider has words of its own, the bare Envoy is asked in those, and passes the
//! provider's own answer: the same conversation, at about the same size. Beside the module there
//! is then Envoy's own translator, `envoy.http.ai_filters.transcoder`.
//!
//! The echo, a filter that reads every part of a body and writes it back, shows what Envoy's Wasm host
//! costs by itself. The floor, a filter without an SDK, makes the host calls that the module makes for the
//! row. Neither changes a request, so both get the same requests as Envoy without a filter.
//!
//! Before anything is measured, each variant shows that it does what its row says: the bare one
//! changes nothing, the others send the backend's host and key, and the model or the translation,
//! and the client gets the answer, translated back.

mod dialect;
mod envoy;
mod load;
mod proof;
mod provider;
mod report;
mod workload;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use self::envoy::{Envoy, Variant};
use self::provider::Provider;
use self::report::{Line, MemoryLine, Report};
use self::workload::Workload;

/// Measures Envoy's CPU time per request with and without the module, and the module's memory.
///
/// Example: gateway-bench --envoy e2e/.venv/bin/envoy --quick
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Envoy's executable.
    #[arg(long, env = "ENVOY_BIN", default_value = "envoy", value_name = "FILE")]
    envoy: PathBuf,

    /// The module. Several are measured side by side, to compare builds.
    #[arg(
        long = "module",
        default_value = "target/module/release/llm_proxy.wasm",
        value_name = "FILE"
    )]
    modules: Vec<PathBuf>,

    /// The filter that reads every part of a body and writes it back: the least that Envoy's Wasm host
    /// costs. Without, that is not measured.
    #[arg(long, value_name = "FILE")]
    echo: Option<PathBuf>,

    /// The filter that makes the module's host calls, and does nothing between them. Without, that is not
    /// measured.
    #[arg(long, value_name = "FILE")]
    floor: Option<PathBuf>,

    /// About two minutes instead of ten, and less certain.
    #[arg(long)]
    quick: bool,

    /// How often each row is measured with each variant.
    #[arg(long, value_name = "COUNT")]
    rounds: Option<usize>,

    /// Only the rows whose name contains this; `memory` is one of them.
    #[arg(long, value_name = "TEXT", default_value = "")]
    rows: String,

    /// Print the tables as Markdown.
    #[arg(long)]
    markdown: bool,

    /// The core that Envoy runs on.
    #[arg(long, default_value_t = 0, value_name = "CORE")]
    envoy_core: usize,

    /// The core that the load and the provider run on.
    #[arg(long, default_value_t = 1, value_name = "CORE")]
    load_core: usize,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    envoy::pin_this_process(arguments.load_core)?;
    // One thread, so that the load stays on its core.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut terminated = signal(SignalKind::terminate())?;
        // Whoever loses is dropped, and with it the Envoys, which die with their handles.
        tokio::select! {
            result = bench(&arguments) => result,
            _ = tokio::signal::ctrl_c() => anyhow::bail!("interrupted"),
            _ = terminated.recv() => anyhow::bail!("terminated"),
        }
    })
}

async fn bench(arguments: &Arguments) -> Result<()> {
    let started = Instant::now();
    let version = envoy::version(&arguments.envoy).await?;
    let provider = Provider::start().await?;
    let variants: Vec<Variant> = std::iter::once(Variant::Bare)
        .chain(arguments.modules.iter().cloned().map(Variant::Module))
        .chain(arguments.echo.iter().cloned().map(Variant::Echo))
        .chain(arguments.floor.iter().cloned().map(Variant::Floor))
        .chain([Variant::Transcoder])
        .collect();
    let lines = times(arguments, &variants, &provider).await?;
    let memory = memory(arguments, &variants, &provider).await?;
    let report = Report {
        version,
        lines,
        memory,
        took: started.elapsed(),
    };
    print!("{}", report.to_text(arguments.markdown));
    Ok(())
}

/// The CPU time of every row with every variant.
async fn times(
    arguments: &Arguments,
    variants: &[Variant],
    provider: &Provider,
) -> Result<Vec<Line>> {
    let workloads: Vec<Workload> = workload::all()
        .into_iter()
        .filter(|workload| workload.name.contains(&arguments.rows))
        .collect();
    if workloads.is_empty() {
        return Ok(Vec::new());
    }
    let rounds = arguments
        .rounds
        .unwrap_or(if arguments.quick { 4 } else { 31 });

    let mut envoys = Vec::new();
    for variant in variants {
        let envoy = Envoy::start(
            &arguments.envoy,
            variant,
            arguments.envoy_core,
            provider.address(),
        );
        envoys.push(envoy.await?);
    }
    for workload in &workloads {
        for (envoy, variant) in envoys.iter().zip(variants) {
            if !variant.serves(workload) {
                continue;
            }
            proof::check(envoy, variant, workload, provider)
                .await
                .with_context(|| format!("{} with {}", workload.name, variant.name()))?;
            // V8 compiles what is hot a second time; that belongs to no request.
            let words = variant.words();
            load::run(envoy.address(), workload, words, workload.requests).await?;
        }
    }

    // By workload, then by variant, then by round.
    let mut samples = vec![vec![Vec::with_capacity(rounds); variants.len()]; workloads.len()];
    for round in 0..rounds {
        for (workload, samples) in workloads.iter().zip(&mut samples) {
            let turns = envoys.iter().zip(variants).zip(samples);
            let mut turns: Vec<_> = turns
                .filter(|((_, variant), _)| variant.serves(workload))
                .collect();
            if round % 2 == 1 {
                turns.reverse();
            }
            for ((envoy, variant), samples) in turns {
                let before = envoy.cpu_time()?;
                load::run(
                    envoy.address(),
                    workload,
                    variant.words(),
                    workload.requests,
                )
                .await?;
                let spent = envoy.cpu_time()?.saturating_sub(before);
                let units = workload.requests * workload.units_per_request();
                samples.push(spent.as_secs_f64() * 1e6 / units as f64);
            }
        }
        eprint!("\rround {} of {rounds}", round + 1);
    }
    eprintln!();

    let mut lines = Vec::new();
    for (workload, samples) in workloads.iter().zip(samples) {
        let Some((bare, with)) = samples.split_first() else {
            continue;
        };
        for (variant, with) in variants.iter().skip(1).zip(with) {
            if variant.serves(workload) {
                lines.push(Line::new(workload, variant, bare, with));
            }
        }
    }
    Ok(lines)
}

/// What large requests leave behind, in fresh processes.
async fn memory(
    arguments: &Arguments,
    variants: &[Variant],
    provider: &Provider,
) -> Result<Vec<MemoryLine>> {
    if !"memory".contains(&arguments.rows) {
        return Ok(Vec::new());
    }
    let points = match arguments.quick {
        true => [3, 15, 30],
        false => [10, 50, 100],
    };
    let workload = workload::large();
    let mut lines = Vec::new();
    for variant in variants {
        if !variant.serves(&workload) {
            continue;
        }
        let envoy = Envoy::start(
            &arguments.envoy,
            variant,
            arguments.envoy_core,
            provider.address(),
        );
        let envoy = envoy.await?;
        let mut sent = 0;
        let mut samples = vec![(0, envoy.memory()?)];
        for point in points {
            load::run(envoy.address(), &workload, variant.words(), point - sent).await?;
            sent = point;
            samples.push((point, envoy.memory()?));
        }
        lines.push(MemoryLine {
            variant: variant.name(),
            samples,
        });
    }
    Ok(lines)
}
