//! `run` and `create`.

use super::context::Context;
use super::progress::To;
use super::session::{End, Session, hold_signals};
use super::{Exit, config, credentials, keys, names, output, pull, terminal};
use crate::flags::container::ContainerFlags;
use crate::flags::request::{self, Caller};
use anyhow::{Context as _, Result, bail};
use clap::Parser;
use dhow_api::{ContainerCreateRequest, ContainerCreateResponse, ContainerInspect, WaitResponse};
use dhow_client::{Client, Error, query};
use dhow_types::{Cause, Reference};
use std::io::Write as _;
use std::path::Path;

/// Docker's exit code when the engine, not the program, failed.
const ENGINE_FAILED: i32 = 125;
const CANNOT_EXECUTE: i32 = 126;
const NOT_FOUND: i32 = 127;

/// Create a container from an image and run a program in it
#[derive(Parser, Debug)]
#[command(override_usage = "dhow run [OPTIONS] IMAGE [COMMAND] [ARG...]")]
pub struct RunArgs {
    /// Run in the background and print the container's id
    #[arg(short, long, help_heading = "General")]
    detach: bool,
    /// Keys that leave a terminal without ending the program
    #[arg(long, value_name = "KEYS", default_value_t = keys::configured(), help_heading = "General")]
    detach_keys: String,
    /// Pass signals on to the program (true)
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "true", default_missing_value = "true", action = clap::ArgAction::Set, hide_possible_values = true, help_heading = "General")]
    sig_proxy: bool,
    #[command(flatten)]
    flags: ContainerFlags,
    /// Image, then the program and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "IMAGE [COMMAND] [ARG...]")]
    words: Vec<String>,
}

/// Create a container without starting it
#[derive(Parser, Debug)]
#[command(override_usage = "dhow create [OPTIONS] IMAGE [COMMAND] [ARG...]")]
pub struct CreateArgs {
    #[command(flatten)]
    flags: ContainerFlags,
    /// Image, then the program and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "IMAGE [COMMAND] [ARG...]")]
    words: Vec<String>,
}

/// What the engine did not do: said, with Docker's exit code.
pub fn engine_failed(command: &str, error: &anyhow::Error) -> anyhow::Error {
    let text = output::system_words(&format!("{error:#}"));
    output::note(format!("dhow: {text}\n\nRun 'dhow {command} --help' for more information"));
    if error.is::<NotFetched>() {
        return Exit(ENGINE_FAILED).into();
    }
    let cause = error.downcast_ref::<Error>().and_then(Error::cause).and_then(Cause::parse);
    Exit(cause.map_or_else(|| code_of_words(&text), code_of)).into()
}

/// The exit code of a failed start, by what our daemon says of it.
fn code_of(cause: Cause) -> i32 {
    match cause {
        Cause::ProgramMissing | Cause::InterpreterMissing | Cause::WindowsLineEnds | Cause::FlagAfterImage => NOT_FOUND,
        Cause::NotExecutable
        | Cause::IsADirectory
        | Cause::NoexecMount
        | Cause::WrongArchitecture
        | Cause::NotAProgram => CANNOT_EXECUTE,
        _ => ENGINE_FAILED,
    }
}

/// The exit code that Docker's client takes from the words of a failed start: for a daemon that gives no cause.
fn code_of_words(text: &str) -> i32 {
    let says = |part: &str| text.contains(part);
    if says("executable file not found") || says("no such file or directory") {
        NOT_FOUND
    } else if says("permission denied") || says("is a directory") {
        CANNOT_EXECUTE
    } else {
        ENGINE_FAILED
    }
}

/// `dhow create`.
pub fn create(context: &Context, args: CreateArgs) -> Result<i32> {
    let client = context.client();
    // Wrong words have an exit code of their own; what is said after them is an error like others.
    let document = document(&client, &args.flags, &args.words, false).map_err(|e| plain("create", &e))?;
    output::line(create_container(context, &client, &args.flags, &document)?.id);
    Ok(0)
}

/// A failure before anything was started: always 125.
fn plain(command: &str, error: &anyhow::Error) -> anyhow::Error {
    let text = output::system_words(&format!("{error:#}"));
    output::note(format!("dhow: {text}\n\nRun 'dhow {command} --help' for more information"));
    Exit(ENGINE_FAILED).into()
}

fn document(
    client: &Client,
    flags: &ContainerFlags,
    words: &[String],
    detached: bool,
) -> Result<ContainerCreateRequest> {
    if flags.kernel_memory.is_some() {
        output::note("Flag --kernel-memory has been deprecated, and no longer supported by the kernel");
    }
    let caller = Caller {
        socket: client.socket().to_owned(),
        cwd: std::env::current_dir().unwrap_or_else(|_| "/".into()),
        home: std::env::var("HOME").ok(),
        variable: &|name| std::env::var(name).ok(),
        terminal: if detached { None } else { terminal::size() },
        read: &|file| std::fs::read_to_string(file),
        proxies: config::file().proxies(&format!("unix://{}", client.socket().display())),
    };
    request::build(flags, &words[0], &words[1..], detached, &caller)
}

fn create_container(
    context: &Context,
    client: &Client,
    flags: &ContainerFlags,
    document: &ContainerCreateRequest,
) -> Result<ContainerCreateResponse> {
    let mut file = flags.cidfile.as_deref().map(IdFile::create).transpose()?;
    if document.config.image.is_empty() && document.host_config.rootfs.is_none() {
        anyhow::bail!("invalid reference format");
    }
    let platform = pull::platform(flags.platform.as_deref());
    let path =
        format!("/containers/create{}", query::build(&[("name", flags.name.clone()), ("platform", platform.clone())]));
    let image = Some(&document.config.image).filter(|_| document.host_config.rootfs.is_none());
    let fetched = |quiet: bool| image.map_or(Ok(()), |image| fetch(context, image, flags, platform.clone(), quiet));
    if flags.pull == "always" {
        fetched(flags.quiet)?;
    }
    let make = || context.with_daemon(client, |c| c.post::<ContainerCreateResponse>(&path, document));
    let made = match make() {
        Err(error) if flags.pull == "missing" && is_missing(&error) && named(image).is_some() => {
            if let Some(reference) = named(image).filter(|_| !flags.quiet) {
                output::note(format!("Unable to find image '{}' locally", reference.familiar()));
            }
            fetched(flags.quiet)?;
            make()
        }
        made => made,
    };
    let made = made.map_err(|e| match e.downcast_ref::<Error>() {
        Some(Error::Api { status: 409, message, cause }) if message.contains("is already in use by container") => {
            let message = name_taken(client, message, flags.name.as_deref().unwrap_or_default());
            Error::Api { status: 409, message, cause: cause.clone() }.into()
        }
        _ => names::reference(e),
    })?;
    for warning in &made.warnings {
        output::note(format!("WARNING: {warning}"));
    }
    if let Some(file) = &mut file {
        file.write(&made.id)?;
    }
    Ok(made)
}

/// Whether it was the image that the daemon did not have.
fn is_missing(error: &anyhow::Error) -> bool {
    let said = error.downcast_ref::<Error>();
    matches!(said, Some(Error::Api { status: 404, message, .. }) if message.contains("No such image"))
}

/// The name of an image, if it is one that a registry may know.
fn named(image: Option<&String>) -> Option<Reference> {
    image?.parse::<Reference>().ok().map(Reference::or_latest)
}

/// The image could not be fetched: no program failed, whatever words a registry has for it.
#[derive(Debug)]
struct NotFetched(String);

impl std::fmt::Display for NotFetched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NotFetched {}

/// Has the daemon fetch the image.
fn fetch(context: &Context, image: &str, flags: &ContainerFlags, platform: Option<String>, quiet: bool) -> Result<()> {
    let fetched = || {
        pull::without_signatures(flags.disable_content_trust)?;
        let reference = pull::named(image, false, true)?;
        let header = credentials::header_or_error(credentials::names::of_domain(reference.domain()))?;
        let request = pull::Request { reference: &reference, all_tags: false, platform };
        match request.send(context, header, if quiet { To::Nowhere } else { To::Stderr })? {
            Some(error) => bail!(error),
            None => Ok(()),
        }
    };
    fetched().map_err(|error| NotFetched(format!("{error:#}")).into())
}

/// The file of `--cidfile`: made before the container, so that there is none without its file; gone if nothing was
/// written.
struct IdFile<'a> {
    path: &'a Path,
    file: std::fs::File,
    written: bool,
}

impl<'a> IdFile<'a> {
    fn create(path: &'a Path) -> Result<Self> {
        match std::fs::File::create_new(path) {
            Ok(file) => Ok(Self { path, file, written: false }),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => anyhow::bail!(
                "container ID file found, make sure the other container isn't running or delete {}",
                path.display()
            ),
            Err(error) => {
                Err(error).with_context(|| format!("failed to create the container ID file: open {}", path.display()))
            }
        }
    }

    fn write(&mut self, id: &str) -> Result<()> {
        self.file.write_all(id.as_bytes()).with_context(|| format!("write {}", self.path.display()))?;
        self.written = true;
        Ok(())
    }
}

impl Drop for IdFile<'_> {
    fn drop(&mut self) {
        if !self.written {
            let _ = std::fs::remove_file(self.path);
        }
    }
}

/// What an error says of a name that is taken, with the state of who has it and the ways on.
fn name_taken(client: &Client, error: &str, name: &str) -> String {
    let name = name.trim_start_matches('/');
    let holder = client.sibling().get::<ContainerInspect>(&format!("/containers/{}/json", query::encode(name)));
    let (state, force) = match holder.map(|c| c.state) {
        Ok(state) => (format!(" It is {}.", state.status), if state.running { " -f" } else { "" }),
        Err(_) => (String::new(), ""),
    };
    format!(
        "{error}{state} `dhow rm{force} {name}` removes it, `dhow start {name}` starts it, --name takes another name"
    )
}

/// `dhow run`.
pub fn run(context: &Context, args: RunArgs) -> Result<i32> {
    let keys = keys::parse(&args.detach_keys).map_err(|e| plain("run", &e))?;
    let flags = &args.flags;
    if args.detach && !flags.attach.is_empty() {
        anyhow::bail!("conflicting options: cannot specify both --attach and --detach");
    }
    if flags.tty && flags.interactive && !args.detach && !terminal::is_input() {
        return Err(plain("run", &anyhow::anyhow!("the input device is not a TTY")));
    }
    let client = context.client();
    let document = document(&client, flags, &args.words, args.detach).map_err(|e| plain("run", &e))?;
    let made = create_container(context, &client, flags, &document).map_err(|e| engine_failed("run", &e))?;
    let id = made.id;
    if args.detach {
        client.post_empty(&format!("/containers/{id}/start")).map_err(|e| engine_failed("run", &e.into()))?;
        output::line(&id);
        return Ok(0);
    }
    let (input, out, err) = attached(flags);
    let signals = hold_signals()?;
    let stream = client
        .hijack(
            &format!(
                "/containers/{id}/attach{}",
                query::build(&[
                    ("stream", query::flag(true)),
                    ("stdin", query::flag(input)),
                    ("stdout", query::flag(out)),
                    ("stderr", query::flag(err)),
                    ("detachKeys", flags.tty.then(|| args.detach_keys.clone())),
                ])
            ),
            None,
        )
        .map_err(|e| engine_failed("run", &e.into()))?;
    // The wait is registered before the start, or a short program could end unseen.
    let waiter = client.sibling();
    let condition = if flags.rm { "removed" } else { "next-exit" };
    let wait = waiter.send("POST", &format!("/containers/{id}/wait?condition={condition}"))?;
    if let Err(error) = client.post_empty(&format!("/containers/{id}/start")) {
        return Err(engine_failed("run", &error.into()));
    }
    let session = Session {
        client: &client,
        resize: format!("/containers/{id}/resize"),
        kill: args.sig_proxy.then(|| format!("/containers/{id}/kill")),
        tty: flags.tty,
        input,
        detach: keys,
    };
    if session.run(stream, &signals)? == End::Detached {
        return Ok(0);
    }
    Ok(code_of_end(&wait.json()?))
}

/// The exit code of a program that was waited for. Says so where the end itself went wrong: then Docker's own code,
/// because what the program's would be worth is not known.
pub fn code_of_end(ended: &WaitResponse) -> i32 {
    if let Some(error) = ended.error.as_ref().filter(|e| !e.message.is_empty()) {
        output::note(format!("Error waiting for container: {}", error.message));
        return ENGINE_FAILED;
    }
    i32::try_from(ended.status_code).unwrap_or(ENGINE_FAILED)
}

fn attached(flags: &ContainerFlags) -> (bool, bool, bool) {
    let has = |name: &str| flags.attach.iter().any(|a| a.eq_ignore_ascii_case(name));
    if flags.attach.is_empty() {
        return (flags.interactive, true, true);
    }
    (has("stdin") && flags.interactive, has("stdout"), has("stderr"))
}

#[cfg(test)]
mod tests {
    use super::{Cause, code_of, code_of_words};

    #[test]
    fn exit_codes_of_failed_starts() {
        for (text, code) in [
            ("exec: \"nope\": executable file not found in $PATH", 127),
            ("exec: \"/nope\": stat /nope: no such file or directory", 127),
            ("exec: \"/etc/passwd\": permission denied", 126),
            // Docker's client does not know these words.
            ("exec /bin/x: exec format error", 125),
            ("No such image: x", 125),
        ] {
            assert_eq!(code_of_words(text), code, "{text}");
        }
        let with = |code: i32| {
            let of = Cause::ALL.iter().filter(|(cause, _)| code_of(*cause) == code).map(|(_, name)| *name);
            of.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(with(127), "program-missing interpreter-missing windows-line-ends flag-after-image");
        assert_eq!(with(126), "not-executable is-a-directory noexec-mount wrong-architecture not-a-program");
    }
}
