//! `pack`: the module as what people install.
//!
//! ```text
//!   what cargo builds ─► deinline ─► llm_proxy.wasm
//!
//!   llm_proxy.wasm ─► module ─┬─► oci ───────► image/ image.tar artifact/ artifact.tar
//!                             ├─► release ───► llm-proxy-VERSION/ with all of it
//!   llm-proxy ────────────────┼─► platform ──► archive, wheel, npm package of one platform
//!   a directory with Envoy ───┴─► container ─► an image that runs the command
//! ```
//!
//! The same module and revision give the same bytes, on every machine: nothing here asks for the
//! time, a user or the order of a directory.

mod container;
mod deinline;
mod module;
mod oci;
mod platform;
mod release;
mod zip;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::{Parser, Subcommand};

use self::module::Module;
use self::oci::Layout;

/// Packs the module for Istio, Envoy Gateway and releases
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write the module that Envoy loads, from what cargo builds
    Deinline(Deinline),
    /// Write the OCI images, and print their digests
    Image(Image),
    /// Write a release: the module, the images, the schema and the examples
    Release(Release),
    /// Write what people install on one platform: an archive, a wheel, an npm package
    Platform(Platform),
    /// Write an image with the command and Envoy, for `docker load`
    Container(Container),
}

#[derive(Debug, clap::Args)]
struct Platform {
    #[command(flatten)]
    release: Release,
    /// The command of this platform, with the module inside
    #[arg(long, value_name = "FILE")]
    command: PathBuf,
    /// The platform, as cargo names it
    #[arg(long, value_name = "TRIPLE")]
    target: String,
}

#[derive(Debug, clap::Args)]
struct Container {
    #[command(flatten)]
    image: Image,
    /// The command
    #[arg(long, value_name = "FILE")]
    command: PathBuf,
    /// The directory that `rootfs.sh` has filled
    #[arg(long, value_name = "DIRECTORY")]
    root: PathBuf,
}

#[derive(Debug, clap::Args)]
struct Deinline {
    /// The module as cargo builds it
    #[arg(long, value_name = "FILE")]
    module: PathBuf,
    /// The file to write
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
}

#[derive(Debug, clap::Args)]
struct Image {
    /// The module
    #[arg(long, value_name = "FILE")]
    module: PathBuf,
    /// What it was built from, as git names it
    #[arg(long, value_name = "COMMIT")]
    revision: Option<String>,
    /// The directory to write into
    #[arg(long, value_name = "DIRECTORY")]
    output: PathBuf,
}

#[derive(Debug, clap::Args)]
struct Release {
    #[command(flatten)]
    image: Image,
    /// The repository, whose texts the release has, too
    #[arg(long, value_name = "DIRECTORY", default_value = ".")]
    repository: PathBuf,
}

fn main() -> Result<()> {
    match Arguments::parse().command {
        Command::Deinline(Deinline { module, output }) => {
            let bytes = fs::read(&module).with_context(|| shown(&module))?;
            let bytes = deinline::deinline(&bytes).with_context(|| shown(&module))?;
            // Complete or absent, also where this is interrupted: make takes a file for finished.
            let unfinished = output.with_extension("unfinished");
            write(&unfinished, &bytes)?;
            fs::rename(&unfinished, &output).with_context(|| shown(&output))?;
        }
        Command::Image(arguments) => {
            let (_, layouts) = images(&arguments)?;
            for (name, layout) in &layouts {
                write_image(&arguments.output, name, layout)?;
                println!("{name}: {}", layout.digest());
            }
        }
        Command::Release(arguments) => {
            let (module, layouts) = images(&arguments.image)?;
            let files = release::files(&module, &arguments.repository)?;
            let name = format!("llm-proxy-{}", module.version());
            let directory = arguments.image.output.join(name);
            if directory.exists() {
                fs::remove_dir_all(&directory).with_context(|| shown(&directory))?;
            }
            for (name, content) in &files {
                write(&directory.join(name), content)?;
            }
            for (name, layout) in &layouts {
                write_image(&directory, name, layout)?;
                println!("{name}: {}", layout.digest());
            }
            println!("{}", shown(&directory));
        }
        Command::Platform(arguments) => {
            let Release { image, repository } = &arguments.release;
            let (module, _) = images(image)?;
            let Platform {
                command, target, ..
            } = &arguments;
            for (name, content) in &platform::files(&module, command, target, repository)? {
                write(&image.output.join(name), content)?;
                println!("{}", shown(&image.output.join(name)));
            }
        }
        Command::Container(arguments) => {
            let image = &arguments.image;
            let (module, _) = images(image)?;
            let revision = image.revision.as_deref().filter(|it| !it.is_empty());
            let content = container::image(&module, &arguments.command, &arguments.root, revision)?;
            let name = format!("llm-proxy-{}-container.tar", module.version());
            write(&image.output.join(&name), &content)?;
            println!("{}", shown(&image.output.join(name)));
        }
    }
    Ok(())
}

/// The module, and the two images of it by their names.
fn images(arguments: &Image) -> Result<(Module, [(&'static str, Layout); 2])> {
    let path = &arguments.module;
    let bytes = fs::read(path).with_context(|| shown(path))?;
    let module = Module::parse(bytes).with_context(|| shown(path))?;
    let revision = arguments.revision.as_deref().filter(|it| !it.is_empty());
    let layouts = [
        ("image", oci::image(&module, revision)?),
        ("artifact", oci::artifact(&module, revision)?),
    ];
    Ok((module, layouts))
}

/// Writes `layout` as the directory `name`, and as `name.tar`.
fn write_image(output: &Path, name: &str, layout: &Layout) -> Result<()> {
    let directory = output.join(name);
    if directory.exists() {
        ensure!(
            directory.join(oci::LAYOUT_FILE).exists(),
            "{} is there and is no image: remove it",
            shown(&directory),
        );
        fs::remove_dir_all(&directory).with_context(|| shown(&directory))?;
    }
    for (path, content) in layout.files() {
        write(&directory.join(path), content)?;
    }
    write(&output.join(format!("{name}.tar")), &layout.tarball()?)
}

fn write(path: &Path, content: &[u8]) -> Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).with_context(|| shown(parent))?;
    }
    fs::write(path, content).with_context(|| shown(path))
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
