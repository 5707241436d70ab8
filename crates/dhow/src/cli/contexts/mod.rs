//! `dhow context`: the daemons that a user has given names, in Docker's own store, so that both see the same.
//!
//! Which of them holds is decided in [`super::context`].

mod archive;
mod store;
mod words;

use super::context::{self, Context};
use super::template::{Struct, Template, V};
use super::{Exit, config, inspect, listing, output, terminal};
use anyhow::{Context as _, Result, bail};
use clap::Parser;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use store::{Named, Store};

/// An archive of a context is no larger.
const MAX_ARCHIVE: u64 = 10 << 20;
/// Characters of an error in the list.
const ERROR_WIDTH: usize = 45;

/// List contexts
#[derive(Parser, Debug)]
pub struct LsArgs {
    /// Go template, `table …` or `json`
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Names only
    #[arg(short, long)]
    quiet: bool,
}

/// Show everything about contexts as JSON
#[derive(Parser, Debug)]
pub struct InspectArgs {
    /// Go template or `json`
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
    /// Contexts; none: the one that holds
    #[arg(value_name = "CONTEXT")]
    names: Vec<String>,
}

/// Print the name of the context that holds
#[derive(Parser, Debug)]
pub struct ShowArgs {}

/// Set the context that holds from now on
#[derive(Parser, Debug)]
pub struct UseArgs {
    /// Context
    #[arg(value_name = "CONTEXT")]
    name: String,
}

/// Give a daemon a name
#[derive(Parser, Debug)]
#[command(
    after_help = "Example: dhow context create test --description \"the other daemon\" --docker host=unix:///run/test.sock\n\
                  Without --docker and --from, the new context is a copy of the one that holds."
)]
pub struct CreateArgs {
    /// What it is for
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Where the daemon is: host=unix:///PATH, or from=CONTEXT
    #[arg(long, value_name = "KEY=VALUE,…", value_parser = words::pairs)]
    docker: Vec<words::Pairs>,
    /// Copy this context
    #[arg(long, value_name = "CONTEXT")]
    from: Option<String>,
    /// Its name
    #[arg(value_name = "CONTEXT")]
    name: String,
}

/// Change a context
#[derive(Parser, Debug)]
pub struct UpdateArgs {
    /// What it is for
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Where the daemon is: host=unix:///PATH, or from=CONTEXT
    #[arg(long, value_name = "KEY=VALUE,…", value_parser = words::pairs)]
    docker: Vec<words::Pairs>,
    /// Context
    #[arg(value_name = "CONTEXT")]
    name: String,
}

/// Remove contexts
#[derive(Parser, Debug)]
pub struct RmArgs {
    /// Also the one that holds; and no word about those that are not there
    #[arg(short, long)]
    force: bool,
    /// Contexts
    #[arg(required = true, value_name = "CONTEXT")]
    names: Vec<String>,
}

/// Write a context as a tar archive
#[derive(Parser, Debug)]
pub struct ExportArgs {
    /// Context
    #[arg(value_name = "CONTEXT")]
    name: String,
    /// The new file (CONTEXT.dockercontext), or `-` for standard output
    #[arg(value_name = "FILE|-")]
    file: Option<String>,
}

/// Make a context of an archive
#[derive(Parser, Debug)]
pub struct ImportArgs {
    /// Its name
    #[arg(value_name = "CONTEXT")]
    name: String,
    /// The file, or `-` for standard input
    #[arg(value_name = "FILE|-")]
    file: String,
}

/// The host of a context's daemon, if it names one.
pub fn host(name: &str) -> Result<Option<String>> {
    Ok(Store::open().get(name)?.host())
}

/// The names of all contexts; none, if they can't be read.
pub fn names() -> Vec<String> {
    let all = Store::open().list().unwrap_or_default().into_iter().map(|one| one.name);
    all.chain([context::DEFAULT.to_owned()]).collect()
}

/// A context by its name, also the one that is not written down.
fn named(context: &Context, store: &Store, name: &str) -> Result<Named> {
    match name {
        context::DEFAULT => Ok(Named::of_host(context::DEFAULT, &context.default_host)),
        name => store.get(name),
    }
}

/// What is said of the default context, and of new ones that are copies of it.
fn default_description() -> String {
    format!("Current {} based configuration", context::host_variable().unwrap_or("DOCKER_HOST"))
}

/// `dhow context ls`.
pub fn ls(context: &Context, args: LsArgs) -> Result<i32> {
    let mut all = Store::open().list()?;
    all.push(named(context, &Store::open(), context::DEFAULT)?);
    let mut rows: Vec<(String, serde_json::Value)> = all
        .iter()
        .map(|one| {
            let description = match one.name.as_str() {
                context::DEFAULT => default_description(),
                _ => one.description().to_owned(),
            };
            (
                one.name.clone(),
                serde_json::json!({
                    "Current": one.name == context.name, "Description": description,
                    "DockerEndpoint": one.host().unwrap_or_default(), "Error": "", "Name": one.name,
                }),
            )
        })
        .collect();
    if !rows.iter().any(|(name, _)| *name == context.name) {
        let error = Store::open().get(&context.name).err().map(|e| said(&e)).unwrap_or_default();
        let row = serde_json::json!({
            "Current": true, "Description": "", "DockerEndpoint": "", "Name": context.name,
            "Error": super::table::ellipsis(&error, ERROR_WIDTH),
        });
        rows.push((context.name.clone(), row));
    }
    rows.sort_by(|(a, _), (b, _)| super::port::natural(a, b));
    let rows: Vec<V> = rows.iter().map(|(_, row)| V::row("*formatter.clientContextContext", row)).collect();
    let columns =
        [("NAME", "Name"), ("DESCRIPTION", "Description"), ("DOCKER ENDPOINT", "DockerEndpoint"), ("ERROR", "Error")];
    let format = match args.format.as_deref() {
        _ if args.quiet => "{{.Name}}",
        None | Some("" | "table") => {
            "table {{.Name}}{{if .Current}} *{{end}}\t{{.Description}}\t{{.DockerEndpoint}}\t{{.Error}}"
        }
        Some(format) => format,
    };
    listing::print(Some(format), &columns, &[], &rows)?;
    if let Some(variable) = context::host_variable() {
        output::note(format!(
            "Warning: {variable} environment variable overrides the active context. To use a context, either set the \
             global --context flag, or unset {variable} environment variable."
        ));
    }
    Ok(0)
}

/// `dhow context inspect`.
pub fn inspect(context: &Context, args: InspectArgs) -> Result<i32> {
    let names = if args.names.is_empty() { vec![context.name.clone()] } else { args.names };
    let template = match args.format.as_deref() {
        None | Some("" | "json") => None,
        Some(text) => Some(Template::parse(text).map_err(|error| {
            output::note(format!("template parsing error: {error:#}"));
            Exit(64)
        })?),
    };
    let store = Store::open();
    let mut found = Vec::new();
    let mut wrong = Vec::new();
    for name in &names {
        let told = named(context, &store, name).and_then(|one| document(&one, &store));
        match told {
            Ok(document) => found.push(document),
            Err(error) => wrong.push(said(&error)),
        }
    }
    match (&template, args.format.as_deref()) {
        (Some(template), _) => {
            let mut out = String::new();
            for document in &found {
                match template.render(document) {
                    Ok(text) => out.push_str(&(text + "\n")),
                    Err(error) => wrong.push(format!("template parsing error: {error:#}")),
                }
            }
            // Docker ends the line that is not there.
            output::text_out(if out.is_empty() { "\n".to_owned() } else { out });
        }
        (None, format) => {
            let mut text = match format {
                Some("json") => {
                    let mut text = String::new();
                    V::List(found).json(&mut text);
                    text
                }
                _ => inspect::pretty(&found),
            };
            text = text.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026");
            output::line(text);
        }
    }
    wrong.iter().for_each(output::note);
    Ok(i32::from(!wrong.is_empty()))
}

/// A context as `inspect` shows it.
fn document(one: &Named, store: &Store) -> Result<V> {
    let place = |path: std::path::PathBuf| match one.name.as_str() {
        context::DEFAULT => "<IN MEMORY>".to_owned(),
        _ => path.display().to_string(),
    };
    let files = store.tls_files(&one.name)?.into_iter();
    let files = files.map(|(end, files)| (end, V::List(files.into_iter().map(V::Text).collect())));
    let storage = vec![
        ("MetadataPath".to_owned(), V::Text(place(store.meta_folder(&one.name)))),
        ("TLSPath".to_owned(), V::Text(place(store.tls_folder(&one.name)))),
    ];
    let fields = vec![
        ("Name".to_owned(), V::Text(one.name.clone())),
        ("Metadata".to_owned(), metadata(one)),
        ("Endpoints".to_owned(), V::Map(one.endpoints.iter().map(|(end, v)| (end.clone(), V::from(v))).collect())),
        ("TLSMaterial".to_owned(), V::Map(files.collect())),
        ("Storage".to_owned(), V::Struct(Box::new(Struct { fields: storage, ..Struct::default() }))),
    ];
    let type_name = "context.contextWithTLSListing";
    Ok(V::Struct(Box::new(Struct { type_name, fields, ..Struct::default() })))
}

/// A description that is not there is an empty one to templates, and none to JSON.
fn metadata(one: &Named) -> V {
    let told = one.metadata.iter().flatten().map(|(name, value)| (name.clone(), V::from(value)));
    let mut inner = Struct { fields: told.collect(), ..Struct::default() };
    if inner.field("Description").is_none() {
        inner.fields.insert(0, ("Description".to_owned(), V::Text(String::new())));
        inner.omitted.push("Description");
    }
    V::Struct(Box::new(inner))
}

/// `dhow context show`.
pub fn show(context: &Context, _: ShowArgs) -> Result<i32> {
    output::line(&context.name);
    Ok(0)
}

/// `dhow context use`.
pub fn use_(_: &Context, args: UseArgs) -> Result<i32> {
    let name = args.name.as_str();
    let chosen = match name {
        context::DEFAULT => None,
        name => {
            store::check_name(name)?;
            Some(Store::open().get(name)?)
        }
    };
    if config::file().setting(config::Setting::Context) != chosen.as_ref().map(|one| one.name.as_str()) {
        config::set_context(chosen.as_ref().map(|_| name))?;
    }
    output::line(name);
    output::note(format!("Current context is now {name:?}"));
    let Some(chosen) = chosen else { return Ok(0) };
    if let Some(variable) = context::host_variable() {
        output::note(format!(
            "Warning: {variable} environment variable overrides the active context. To use {name:?}, either set the global \
             --context flag, or unset {variable} environment variable."
        ));
    }
    if let Some(Err(error)) = chosen.host().map(|host| context::socket_of(&host)) {
        output::note(format!("Warning: dhow can't reach the daemon of {name:?}: {error}"));
    }
    Ok(0)
}

/// `dhow context create`.
pub fn create(context: &Context, args: CreateArgs) -> Result<i32> {
    let store = Store::open();
    let name = args.name.as_str();
    absent(&store, name)?;
    let pairs: words::Pairs = args.docker.into_iter().flatten().collect();
    if args.from.is_some() && !pairs.is_empty() {
        bail!("cannot use --docker flag when --from is set");
    }
    let mut tls = Vec::new();
    let mut one = match (&args.from, pairs.is_empty()) {
        (None, false) => {
            let mut one = Named::of_host(name, "");
            one.endpoints.insert(store::DOCKER.to_owned(), endpoint(context, &store, &pairs)?);
            one
        }
        (from, _) => {
            let from = from.as_deref().unwrap_or(&context.name);
            let mut one = named(context, &store, from)?;
            if from == context::DEFAULT {
                one.describe(&default_description());
            }
            tls = store.tls(from)?;
            one
        }
    };
    one.name = name.to_owned();
    if let Some(description) = args.description.filter(|d| !d.is_empty()) {
        one.describe(&description);
    }
    store.put(&one, Some(&tls))?;
    output::line(name);
    output::note(format!("Successfully created context {name:?}"));
    Ok(0)
}

/// `dhow context update`.
pub fn update(context: &Context, args: UpdateArgs) -> Result<i32> {
    let name = args.name.as_str();
    store::check_name(name)?;
    let store = Store::open();
    let mut one = store.get(name)?;
    if let Some(description) = args.description.filter(|d| !d.is_empty()) {
        one.describe(&description);
    }
    let pairs: words::Pairs = args.docker.into_iter().flatten().collect();
    if !pairs.is_empty() {
        one.endpoints.insert(store::DOCKER.to_owned(), endpoint(context, &store, &pairs)?);
    }
    one.metadata.get_or_insert_default();
    // A socket has no keys: those of the host before are not for it.
    store.put(&one, (!pairs.is_empty()).then_some(&[][..]))?;
    output::line(name);
    output::note(format!("Successfully updated context {name:?}"));
    Ok(0)
}

/// The daemon that `--docker` describes.
fn endpoint(context: &Context, store: &Store, pairs: &words::Pairs) -> Result<serde_json::Value> {
    (|| match words::read(pairs)? {
        words::Daemon::At(host) => Ok(store::endpoint(&host)),
        words::Daemon::As(other) => match named(context, store, &other)?.endpoints.remove(store::DOCKER) {
            Some(endpoint) => Ok(endpoint),
            None => bail!("unable to get endpoint from context {other:?}"),
        },
    })()
    .context("unable to create docker endpoint config")
}

/// That a name may be given, and is not yet.
fn absent(store: &Store, name: &str) -> Result<()> {
    store::check_name(name)?;
    match store.get(name) {
        Ok(_) => bail!("context {name:?} already exists"),
        Err(error) if store::is_absent(&error) => Ok(()),
        Err(error) => Err(error.context("error while getting existing contexts")),
    }
}

/// `dhow context rm`.
pub fn rm(context: &Context, args: RmArgs) -> Result<i32> {
    let store = Store::open();
    let mut wrong = Vec::new();
    for name in &args.names {
        let removed = match name.as_str() {
            context::DEFAULT => Err(anyhow::anyhow!("context \"default\" cannot be removed")),
            current if current == context.name && !args.force => {
                Err(anyhow::anyhow!("context {current:?} is in use, set -f flag to force remove"))
            }
            other if !args.force && !store.meta_folder(other).exists() => {
                Err(anyhow::anyhow!("context {other:?} does not exist"))
            }
            other => (|| {
                if config::file().setting(config::Setting::Context) == Some(other) {
                    config::set_context(None)?;
                }
                store.remove(other)
            })(),
        };
        match removed {
            Ok(()) => output::line(name),
            Err(error) => wrong.push(said(&error)),
        }
    }
    wrong.iter().for_each(output::note);
    Ok(i32::from(!wrong.is_empty()))
}

/// `dhow context export`.
pub fn export(context: &Context, args: ExportArgs) -> Result<i32> {
    let name = args.name.as_str();
    if name != context::DEFAULT {
        store::check_name(name)?;
    }
    let store = Store::open();
    let bytes = archive::write(&named(context, &store, name)?, &store.tls(name)?)?;
    let file = args.file.unwrap_or_else(|| format!("{name}.dockercontext"));
    if file == "-" {
        if terminal::is_output() {
            bail!("cowardly refusing to export to a terminal, specify a file path");
        }
        std::io::stdout().lock().write_all(&bytes)?;
        return Ok(0);
    }
    let mut out = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&file)
        .with_context(|| format!("open {file}"))?;
    if let Err(error) = out.write_all(&bytes).and_then(|()| out.sync_all()) {
        let _ = std::fs::remove_file(&file);
        return Err(error).context(format!("write {file}"));
    }
    output::note(format!("Written file {file:?}"));
    Ok(0)
}

/// `dhow context import`.
pub fn import(_: &Context, args: ImportArgs) -> Result<i32> {
    let store = Store::open();
    let name = args.name.as_str();
    absent(&store, name)?;
    let mut bytes = Vec::new();
    let open = || std::fs::File::open(&args.file).with_context(|| format!("open {}", args.file));
    match args.file.as_str() {
        "-" => std::io::stdin().lock().take(MAX_ARCHIVE + 1).read_to_end(&mut bytes)?,
        _ => open()?.take(MAX_ARCHIVE + 1).read_to_end(&mut bytes)?,
    };
    if bytes.len() as u64 > MAX_ARCHIVE {
        bail!("read exceeds the defined limit");
    }
    let (mut one, tls) = archive::read(&bytes)?;
    one.name = name.to_owned();
    store.put(&one, Some(&tls))?;
    output::line(name);
    output::note(format!("Successfully imported context {name:?}"));
    Ok(0)
}

fn said(error: &anyhow::Error) -> String {
    output::system_words(&format!("{error:#}"))
}
