//! The command line of the client: Docker's commands, flags, output and exit codes.
//!
//! It sees the public API only, so that it works against any daemon that speaks it.

mod archives;
mod attach;
mod audit;
mod autostart;
pub mod check;
mod containers;
pub mod context;
mod df;
mod df_parts;
mod each;
mod exec;
mod file_out;
mod image_rows;
mod images;
mod info;
mod inspect;
pub mod keys;
mod life;
mod listing;
mod logs;
mod making;
mod names;
pub mod output;
mod port;
mod progress;
mod prune;
mod prune_text;
mod ps;
mod run;
mod session;
mod table;
mod template;
mod terminal;
mod top;
pub mod units;

use crate::flags::parse::parse;
use context::Context;
use std::ffi::OsString;
use std::fmt;

/// An error that stands for an exit code alone: everything was said already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit(pub i32);

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exit status {}", self.0)
    }
}

impl std::error::Error for Exit {}

type Run = fn(&Context, Vec<OsString>) -> anyhow::Result<i32>;

struct Command {
    name: &'static str,
    group: &'static str,
    summary: &'static str,
    run: Run,
}

macro_rules! command {
    ($name:literal, $group:literal, $summary:literal, $function:path) => {
        Command {
            name: $name,
            group: $group,
            summary: $summary,
            run: |context, words| $function(context, take($name, words)?),
        }
    };
}

/// Every command that is built. The order is that of the help text.
const COMMANDS: &[Command] = &[
    command!("run", "Run", "Create a container from an image and run a program in it", run::run),
    command!("exec", "Run", "Run another program in a running container", exec::exec),
    command!("ps", "Run", "List containers", ps::ps),
    command!("logs", "Run", "Show what a container has written", logs::logs),
    command!("stop", "Run", "Ask containers to end, then make them", containers::stop),
    command!("rm", "Run", "Remove containers", containers::rm),
    command!("images", "Images", "List images", images::images),
    command!("load", "Images", "Load images from an archive (docker save, OCI layout)", archives::load),
    command!("save", "Images", "Save images to an archive", archives::save),
    command!("import", "Images", "Make an image of an archive of a root file system", making::import),
    command!("commit", "Images", "Make an image of a container's changes", making::commit),
    command!("history", "Images", "Show how an image was made", audit::history),
    command!("image diff", "Images", "Show what two images differ in, and which step did it", audit::image_diff),
    command!("image tree", "Images", "Show which image stands on which", audit::image_tree),
    command!("tag", "Images", "Give an image another name", names::tag),
    command!("rmi", "Images", "Remove images", names::rmi),
    command!("system df", "Space", "Show how much of the disk is used, and by what", df::df),
    command!("system prune", "Space", "Remove what is not used", prune::system),
    command!("image prune", "Space", "Remove images that no container uses", prune::image),
    command!("container prune", "Space", "Remove containers that do not run", prune::container),
    command!("volume prune", "Space", "Remove volumes that no container uses", prune::volume),
    command!("network prune", "Space", "Remove networks that no container uses", prune::network),
    command!("builder prune", "Space", "Remove the build cache", prune::builder),
    command!("create", "More", "Create a container without starting it", run::create),
    command!("start", "More", "Start containers", containers::start),
    command!("attach", "More", "Connect the terminal to a running container", attach::attach),
    command!("diff", "More", "Show what a container changed", audit::diff),
    command!("export", "More", "Write a container's file system as a tar archive", audit::export),
    command!("restart", "More", "Stop containers if they run, and start them", life::restart),
    command!("pause", "More", "Make all processes of containers stand still", life::pause),
    command!("unpause", "More", "Let paused containers go on", life::unpause),
    command!("rename", "More", "Give a container another name", life::rename),
    command!("top", "More", "Show the processes of a container", top::top),
    command!("port", "More", "Show where the ports of a container are published", port::port),
    command!("kill", "More", "Send a signal to containers", containers::kill),
    command!("wait", "More", "Wait until containers end and print their exit codes", containers::wait),
    command!("inspect", "More", "Show everything about containers and images as JSON", inspect::inspect),
    command!("version", "More", "Show the versions of client and daemon", info::version),
    command!("check", "More", "Check that the store is whole, and mend it (system check)", check::check),
    command!("info", "More", "Show what the daemon is and what the machine offers", info::info),
];

/// Docker's commands that dhow does not have; they are refused by name.
const UNBUILT: &[&str] = &[
    "build",
    "builder",
    "buildx",
    "checkpoint",
    "compose",
    "config",
    "context",
    "cp",
    "events",
    "login",
    "logout",
    "manifest",
    "network",
    "node",
    "plugin",
    "pull",
    "push",
    "registry",
    "search",
    "secret",
    "service",
    "stack",
    "stats",
    "swarm",
    "trust",
    "update",
    "volume",
];

/// Parses a command's words; prints help or usage by itself.
fn take<T: clap::CommandFactory + clap::FromArgMatches>(name: &'static str, words: Vec<OsString>) -> anyhow::Result<T> {
    parse(name, words).map_err(|stop| Exit(stop.say()).into())
}

/// Runs the client with the words behind the program's name and gives the exit code.
pub fn main(words: Vec<OsString>) -> i32 {
    match dispatch(words) {
        Ok(code) => code,
        Err(error) => match error.downcast_ref::<Exit>() {
            Some(Exit(code)) => *code,
            None => {
                output::note(format!("dhow: {error:#}"));
                1
            }
        },
    }
}

fn dispatch(words: Vec<OsString>) -> anyhow::Result<i32> {
    let mut words = words.into_iter().peekable();
    let mut host = None;
    // Global options stand before the command.
    let name = loop {
        let Some(word) = words.next() else {
            output::text_out(help());
            return Ok(0);
        };
        let text = word.to_string_lossy().into_owned();
        match text.as_str() {
            "-H" | "--host" => host = words.next().map(|w| w.to_string_lossy().into_owned()),
            "-v" | "--version" => {
                output::line(format!("dhow version {}", env!("CARGO_PKG_VERSION")));
                return Ok(0);
            }
            "-h" | "--help" | "help" => match words.next() {
                Some(command) if text == "help" => {
                    words = vec![OsString::from("--help")].into_iter().peekable();
                    break command.to_string_lossy().into_owned();
                }
                _ => {
                    output::text_out(help());
                    return Ok(0);
                }
            },
            _ if text.starts_with("--host=") => host = Some(text["--host=".len()..].to_owned()),
            _ if text.starts_with("-H") => host = Some(text["-H".len()..].trim_start_matches('=').to_owned()),
            _ if text.starts_with('-') => {
                output::note(format!("unknown flag: {text}\n\nRun 'dhow --help' for more information"));
                return Ok(125);
            }
            _ => break text,
        }
    };
    let (name, words) = management(name, words.collect());
    match COMMANDS.iter().find(|c| c.name == name) {
        Some(command) => (command.run)(&Context::new(host)?, words),
        None if name.split(' ').any(|word| UNBUILT.contains(&word)) => {
            output::note(format!(
                "dhow: '{name}' is a command of Docker that dhow does not have yet. Run 'dhow --help' for those it has"
            ));
            Ok(1)
        }
        None => {
            output::note(format!("dhow: '{name}' is not a dhow command.\nSee 'dhow --help'"));
            Ok(1)
        }
    }
}

/// `container ls`, `image rm`, `system info` and their like as the short commands they stand for.
fn management(name: String, mut words: Vec<OsString>) -> (String, Vec<OsString>) {
    let Some(sub) = words.first().and_then(|w| w.to_str()).map(str::to_owned) else { return (name, words) };
    let both = format!("{name} {sub}");
    let short = match (name.as_str(), sub.as_str()) {
        ("container", "ls" | "list" | "ps") => "ps",
        ("container", "inspect") | ("image", "inspect") => "inspect",
        (
            "container",
            "attach" | "commit" | "create" | "diff" | "exec" | "export" | "kill" | "logs" | "pause" | "port" | "rename"
            | "restart" | "rm" | "run" | "start" | "stop" | "top" | "unpause" | "wait",
        ) => &sub,
        ("image", "ls" | "list") => "images",
        ("image", "rm" | "remove") => "rmi",
        ("image", "history" | "import" | "load" | "save" | "tag") => &sub,
        ("image", "diff" | "tree" | "prune")
        | ("container" | "volume" | "network" | "builder" | "system", "prune")
        | ("system", "df") => &both,
        ("system", "info") => "info",
        ("system", "check") => "check",
        ("container" | "image" | "system" | "volume" | "network" | "builder", _) => {
            return (both, words);
        }
        _ => return (name, words),
    }
    .to_owned();
    words.remove(0);
    if short == "inspect" {
        words.insert(0, format!("--type={name}").into());
    }
    (short, words)
}

fn help() -> String {
    let mut text = String::from(
        "dhow runs programs from images: isolated, limited and fast.\n\n\
         Try it:\n  dhow run --rm dhow/hello                     a tiny program that says what happened\n  \
         dhow run --rm -it --rootfs /:O bash          this machine's own files, copy-on-write\n  \
         dhow load -i FILE && dhow run -it IMAGE      an image from `docker save`\n\n\
         Usage: dhow [-H unix:///PATH] COMMAND\n",
    );
    for group in ["Run", "Images", "Space", "More"] {
        text.push_str(&format!("\n{group}:\n"));
        for command in COMMANDS.iter().filter(|c| c.group == group) {
            text.push_str(&format!("  {:<15} {}\n", command.name, command.summary));
        }
    }
    text.push_str(
        "\nOther parts of the program:\n  daemon          The engine behind the socket; started by itself when a command finds none\n  \
         oci             An OCI runtime with runc's command line\n\n\
         `container`, `image` and `system` before a command work as with Docker.\n\
         Environment: DHOW_HOST or DOCKER_HOST (unix:///PATH), DOCKER_API_VERSION.\n\
         Help for one command: dhow COMMAND --help\n",
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn management_commands_become_short_ones() {
        let m = |line: &str| {
            let mut words = line.split(' ').map(OsString::from);
            let name = words.next().unwrap().into_string().unwrap();
            let (name, words) = management(name, words.collect());
            format!("{name} {}", words.iter().map(|w| w.to_str().unwrap()).collect::<Vec<_>>().join(" "))
        };
        for (line, want) in [
            ("container ls -a", "ps -a"),
            ("image inspect x", "inspect --type=image x"),
            ("image rm x", "rmi x"),
            ("image diff a b", "image diff a b"),
            ("container diff a", "diff a"),
            ("image prune -a", "image prune -a"),
            ("volume prune -f", "volume prune -f"),
            ("system df -v", "system df -v"),
            ("run x", "run x"),
            ("image build .", "image build build ."),
        ] {
            assert_eq!(m(line), want, "{line}");
        }
    }

    #[test]
    fn every_command_parses_its_help() {
        for command in COMMANDS {
            let context = Context::new(Some("unix:///nonexistent".into())).unwrap();
            let error = (command.run)(&context, vec!["--help".into()]).unwrap_err();
            assert_eq!(error.downcast_ref::<Exit>(), Some(&Exit(0)), "{}", command.name);
        }
    }
}
