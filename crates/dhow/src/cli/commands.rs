//! Every command that is built: how it is called, what stands behind it, who runs it. A table, and how words find their
//! row; what a command does lives in its own module.

use super::context::Context;
use super::{
    Exit, archives, attach, audit, check, complete, containers, contexts, df, events, exec, images, info, inspect,
    life, login, logs, making, manifest, names, port, prune, ps, pull, push, remote, run, search, stats, top, update,
};
use crate::doctor;
use crate::flags::parse::{Count, Grammar, parse, ready};
use std::ffi::OsString;

/// A row.
pub struct Command {
    /// Every way to write it. The first is its name; of those below one word (`container ls`, `container list`) the first
    /// is how usage lines name it.
    pub names: &'static [&'static str],
    /// Its part of the overview: `Common` and `Commands` are Docker's, `Own` are not.
    pub group: &'static str,
    /// What it does, in a line.
    pub summary: &'static str,
    /// What stands behind the name.
    pub usage: &'static str,
    /// How many arguments it takes.
    pub arguments: Count,
    /// Its flags, as clap knows them.
    pub flags: fn() -> clap::Command,
    run: fn(&Context, Call) -> anyhow::Result<i32>,
}

/// A command as it was written.
pub struct Call {
    /// The row.
    pub command: &'static Command,
    /// How it was called.
    grammar: Grammar,
    words: Vec<OsString>,
}

const fn count(least: usize, most: Option<usize>) -> Count {
    Count { least, most }
}
const NONE: Count = count(0, Some(0));
const ONE: Count = count(1, Some(1));
const TWO: Count = count(2, Some(2));
const UP_TO_ONE: Count = count(0, Some(1));
const ONE_OR_TWO: Count = count(1, Some(2));
const SOME: Count = count(1, None);

fn flags_of<T: clap::CommandFactory>(_: fn(&Context, T) -> anyhow::Result<i32>) -> clap::Command {
    T::command()
}

/// Whether a command needs no daemon that can be asked.
fn is_offline(command: &Command) -> bool {
    command.names[0].starts_with("context ")
        || ["completion", "logout", "manifest annotate", "manifest rm", doctor::NAME].contains(&command.names[0])
}

macro_rules! row {
    ($names:expr, $group:literal, $summary:literal, $usage:literal, $arguments:expr, $function:path) => {
        Command {
            names: &$names,
            group: $group,
            summary: $summary,
            usage: $usage,
            arguments: $arguments,
            flags: || flags_of($function),
            run: |context, call| {
                let offline = is_offline(call.command);
                let args = parse(&call.grammar, call.words).map_err(|stop| Exit(stop.say()))?;
                if !offline {
                    context.ready()?;
                }
                $function(context, args)
            },
        }
    };
}

/// The rows. Their order is that of the help text.
#[rustfmt::skip]
pub const COMMANDS: &[Command] = &[
    row!(["run", "container run"], "Common", "Create a container from an image and run a program in it", "[OPTIONS] IMAGE [COMMAND] [ARG...]", SOME, run::run),
    row!(["exec", "container exec"], "Common", "Run another program in a running container", "[OPTIONS] CONTAINER COMMAND [ARG...]", count(2, None), exec::exec),
    row!(["ps", "container ls", "container list", "container ps"], "Common", "List containers", "[OPTIONS]", NONE, ps::ps),
    row!(["logs", "container logs"], "Commands", "Show what a container has written", "[OPTIONS] CONTAINER", ONE, logs::logs),
    row!(["stop", "container stop"], "Commands", "Ask containers to end, then make them", "[OPTIONS] CONTAINER [CONTAINER...]", SOME, containers::stop),
    row!(["rm", "container rm", "container remove"], "Commands", "Remove containers", "[OPTIONS] CONTAINER [CONTAINER...]", SOME, containers::rm),
    row!(["pull", "image pull"], "Common", "Fetch an image from a registry", "[OPTIONS] NAME[:TAG|@DIGEST]", ONE, pull::pull),
    row!(["push", "image push"], "Common", "Send an image to a registry", "[OPTIONS] NAME[:TAG]", ONE, push::push),
    row!(["images", "image ls", "image list"], "Common", "List images", "[OPTIONS] [REPOSITORY[:TAG]]", UP_TO_ONE, images::images),
    row!(["login"], "Common", "Log in to a registry", "[OPTIONS] [SERVER]", UP_TO_ONE, login::login),
    row!(["logout"], "Common", "Forget the credentials of a registry", "[SERVER]", UP_TO_ONE, login::logout),
    row!(["search"], "Common", "Search for images", "[OPTIONS] TERM", ONE, search::search),
    row!(["load", "image load"], "Commands", "Load images from an archive (docker save, OCI layout)", "[OPTIONS]", NONE, archives::load),
    row!(["save", "image save"], "Commands", "Save images to an archive", "[OPTIONS] IMAGE [IMAGE...]", SOME, archives::save),
    row!(["import", "image import"], "Commands", "Make an image of an archive of a root file system", "[OPTIONS] file|URL|- [REPOSITORY[:TAG]]", SOME, making::import),
    row!(["commit", "container commit"], "Commands", "Make an image of a container's changes", "[OPTIONS] CONTAINER [REPOSITORY[:TAG]]", ONE_OR_TWO, making::commit),
    row!(["history", "image history"], "Commands", "Show how an image was made", "[OPTIONS] IMAGE", ONE, audit::history),
    row!(["image inspect"], "Commands", "Show everything about images as JSON", "[OPTIONS] IMAGE [IMAGE...]", SOME, inspect::images),
    row!(["image diff"], "Own", "Show what two images differ in, and which step did it", "[OPTIONS] IMAGE IMAGE", TWO, audit::image_diff),
    row!(["image check"], "Own", "Say whether an image could be pulled, and if not, why", "[OPTIONS] NAME[:TAG|@DIGEST]", ONE, remote::check),
    row!(["image copy"], "Own", "Copy an image from registry to registry", "[OPTIONS] SOURCE[:TAG|@DIGEST] TARGET[:TAG]", TWO, remote::copy),
    row!(["image tree"], "Own", "Show which image stands on which", "[OPTIONS]", NONE, audit::image_tree),
    row!(["tag", "image tag"], "Commands", "Give an image another name", "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]", TWO, names::tag),
    row!(["rmi", "image rm", "image remove"], "Commands", "Remove images", "[OPTIONS] IMAGE [IMAGE...]", SOME, names::rmi),
    row!(["system df"], "Commands", "Show how much of the disk is used, and by what", "[OPTIONS]", NONE, df::df),
    row!(["system prune"], "Commands", "Remove what is not used", "[OPTIONS]", NONE, prune::system),
    row!(["image prune"], "Commands", "Remove images that no container uses", "[OPTIONS]", NONE, prune::image),
    row!(["container prune"], "Commands", "Remove containers that do not run", "[OPTIONS]", NONE, prune::container),
    row!(["volume prune"], "Commands", "Remove volumes that no container uses", "[OPTIONS]", NONE, prune::volume),
    row!(["network prune"], "Commands", "Remove networks that no container uses", "[OPTIONS]", NONE, prune::network),
    row!(["builder prune"], "Commands", "Remove the build cache", "[OPTIONS]", NONE, prune::builder),
    row!(["create", "container create"], "Commands", "Create a container without starting it", "[OPTIONS] IMAGE [COMMAND] [ARG...]", SOME, run::create),
    row!(["start", "container start"], "Commands", "Start containers", "[OPTIONS] CONTAINER [CONTAINER...]", SOME, containers::start),
    row!(["attach", "container attach"], "Commands", "Connect the terminal to a running container", "[OPTIONS] CONTAINER", ONE, attach::attach),
    row!(["diff", "container diff"], "Commands", "Show what a container changed", "CONTAINER", ONE, audit::diff),
    row!(["export", "container export"], "Commands", "Write a container's file system as a tar archive", "[OPTIONS] CONTAINER", ONE, audit::export),
    row!(["restart", "container restart"], "Commands", "Stop containers if they run, and start them", "[OPTIONS] CONTAINER [CONTAINER...]", SOME, life::restart),
    row!(["pause", "container pause"], "Commands", "Make all processes of containers stand still", "CONTAINER [CONTAINER...]", SOME, life::pause),
    row!(["unpause", "container unpause"], "Commands", "Let paused containers go on", "CONTAINER [CONTAINER...]", SOME, life::unpause),
    row!(["rename", "container rename"], "Commands", "Give a container another name", "CONTAINER NEW_NAME", TWO, life::rename),
    row!(["update", "container update"], "Commands", "Change limits and the restart policy of containers", "[OPTIONS] CONTAINER [CONTAINER...]", SOME, update::update),
    row!(["stats", "container stats"], "Commands", "Show what containers use: processor, memory, network, disk", "[OPTIONS] [CONTAINER...]", count(0, None), stats::stats),
    row!(["top", "container top"], "Commands", "Show the processes of a container", "CONTAINER [ps OPTIONS]", SOME, top::top),
    row!(["port", "container port"], "Commands", "Show where the ports of a container are published", "CONTAINER [PRIVATE_PORT[/PROTO]]", ONE_OR_TWO, port::port),
    row!(["kill", "container kill"], "Commands", "Send a signal to containers", "[OPTIONS] CONTAINER [CONTAINER...]", SOME, containers::kill),
    row!(["wait", "container wait"], "Commands", "Wait until containers end and print their exit codes", "CONTAINER [CONTAINER...]", SOME, containers::wait),
    row!(["inspect"], "Commands", "Show everything about containers and images as JSON", "[OPTIONS] NAME|ID [NAME|ID...]", SOME, inspect::inspect),
    row!(["container inspect"], "Commands", "Show everything about containers as JSON", "[OPTIONS] CONTAINER [CONTAINER...]", SOME, inspect::containers),
    row!(["version"], "Common", "Show the versions of client and daemon", "[OPTIONS]", NONE, info::version),
    row!(["system check", "check"], "Own", "Check that the store is whole, and mend it", "[OPTIONS]", NONE, check::check),
    row!(["doctor", "system doctor"], "Own", "Say what is missing or wrong on this machine, and what mends it", "[OPTIONS]", NONE, doctor::doctor),
    row!(["events", "system events"], "Commands", "Show what happens, and what happened", "[OPTIONS]", NONE, events::events),
    row!(["completion"], "Own", "Print a script that completes words in bash, zsh or fish", "SHELL", ONE, complete::completion),
    row!(["context create"], "Commands", "Give a daemon a name", "[OPTIONS] CONTEXT", ONE, contexts::create),
    row!(["context export"], "Commands", "Write a context as a tar archive", "[OPTIONS] CONTEXT [FILE|-]", ONE_OR_TWO, contexts::export),
    row!(["context import"], "Commands", "Make a context of an archive", "CONTEXT FILE|-", TWO, contexts::import),
    row!(["context inspect"], "Commands", "Show everything about contexts as JSON", "[OPTIONS] [CONTEXT] [CONTEXT...]", count(0, None), contexts::inspect),
    row!(["context ls", "context list"], "Commands", "List contexts", "[OPTIONS]", NONE, contexts::ls),
    row!(["context rm", "context remove"], "Commands", "Remove contexts", "CONTEXT [CONTEXT...]", SOME, contexts::rm),
    row!(["context show"], "Commands", "Print the name of the context that holds", "", NONE, contexts::show),
    row!(["context update"], "Commands", "Change a context", "[OPTIONS] CONTEXT", ONE, contexts::update),
    row!(["context use"], "Commands", "Set the context that holds from now on", "CONTEXT", ONE, contexts::use_),
    row!(["manifest annotate"], "Commands", "Say for which platform an image of a list is", "[OPTIONS] MANIFEST_LIST MANIFEST", TWO, manifest::annotate),
    row!(["manifest create"], "Commands", "Make a list of images, to be annotated and pushed", "MANIFEST_LIST MANIFEST [MANIFEST...]", count(2, None), manifest::create),
    row!(["manifest inspect"], "Commands", "Show a manifest, or a list of them", "[OPTIONS] [MANIFEST_LIST] MANIFEST", ONE_OR_TWO, manifest::inspect),
    row!(["manifest push"], "Commands", "Push a list to its repository", "[OPTIONS] MANIFEST_LIST", ONE, manifest::push),
    row!(["manifest rm"], "Commands", "Forget lists that were made here", "MANIFEST_LIST [MANIFEST_LIST...]", SOME, manifest::rm),
    row!(["info", "system info"], "Common", "Show what the daemon is and what the machine offers", "[OPTIONS]", NONE, info::info),
];

/// The words that stand before other commands.
pub const FAMILIES: &[(&str, &str)] = &[
    ("builder", "Manage the build cache"),
    ("container", "Manage containers"),
    ("context", "Manage contexts"),
    ("image", "Manage images"),
    ("manifest", "Manage lists of images for several platforms"),
    ("network", "Manage networks"),
    ("system", "Manage dhow"),
    ("volume", "Manage volumes"),
];

/// Docker's commands that dhow does not have; they are refused by name.
pub const UNBUILT: &[&str] = &[
    "build",
    "builder build",
    "buildx",
    "checkpoint",
    "compose",
    "config",
    "container cp",
    "cp",
    "image build",
    "network connect",
    "network create",
    "network disconnect",
    "network inspect",
    "network ls",
    "network rm",
    "node",
    "plugin",
    "secret",
    "service",
    "stack",
    "swarm",
    "trust",
    "volume create",
    "volume inspect",
    "volume ls",
    "volume rm",
    "volume update",
];

/// Where words lead.
pub enum Found {
    /// To a command.
    Command(Call),
    /// To a word that stands before others, and no other behind it but flags.
    Family(&'static str, Vec<OsString>),
    /// To one of Docker's that is not built.
    Unbuilt(String),
    /// Nowhere.
    Nowhere(String, Option<&'static str>),
}

/// Finds the row of `name` and the words behind it.
pub fn find(name: String, mut words: Vec<OsString>) -> Found {
    let family = FAMILIES.iter().map(|(family, _)| *family).find(|family| *family == name);
    let flag = |word: &OsString| word.to_string_lossy().starts_with('-');
    let path = match family {
        Some(family) if words.first().is_none_or(flag) => return Found::Family(family, words),
        Some(family) => format!("{family} {}", words.remove(0).to_string_lossy()),
        None => name,
    };
    match COMMANDS.iter().find(|c| c.names.contains(&path.as_str())) {
        Some(command) => Found::Command(Call { command, grammar: command.grammar(&path), words }),
        None if UNBUILT.contains(&path.as_str()) => Found::Unbuilt(path),
        None => Found::Nowhere(path, family),
    }
}

/// The name of the command that may also be written so.
pub fn name_of(written: &str) -> Option<&'static str> {
    COMMANDS.iter().find(|c| c.names.contains(&written)).map(|c| c.names[0])
}

impl Call {
    /// Runs it.
    pub fn run(self, context: &Context) -> anyhow::Result<i32> {
        (self.command.run)(context, self)
    }
}

impl Command {
    /// How it is called when it is written as `written`, one of its names.
    pub fn grammar(&self, written: &str) -> Grammar {
        let family = |name: &str| name.split_once(' ').map(|(family, _)| family.to_owned());
        let path = self.names.iter().find(|name| family(name) == family(written)).copied().unwrap_or(self.names[0]);
        let mut aliases: Vec<&'static str> = match self.names {
            [_] => Vec::new(),
            names => names.to_vec(),
        };
        // Docker names the short form last.
        aliases.sort_by_key(|name| !name.contains(' '));
        Grammar { path, usage: self.usage, arguments: self.arguments, aliases }
    }

    /// Its flags and its help, under its name.
    pub fn described(&self) -> clap::Command {
        ready((self.flags)(), &self.grammar(self.names[0]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::global::Global;
    use std::collections::BTreeSet;

    fn lead(line: &str) -> String {
        let mut words = line.split(' ').map(OsString::from);
        let name = words.next().unwrap().into_string().unwrap();
        let text = |words: &[OsString]| words.iter().map(|w| w.to_str().unwrap()).collect::<Vec<_>>().join(" ");
        match find(name, words.collect()) {
            Found::Command(call) => {
                format!("{} as {}: {}", call.command.names[0], call.grammar.path, text(&call.words))
            }
            Found::Family(family, words) => format!("family {family}: {}", text(&words)),
            Found::Unbuilt(path) => format!("unbuilt {path}"),
            Found::Nowhere(path, family) => format!("nowhere {path} in {family:?}"),
        }
    }

    #[test]
    fn words_find_their_row() {
        for (line, want) in [
            ("container ls -a", "ps as container ls: -a"),
            ("container list -a", "ps as container ls: -a"),
            ("ps -a", "ps as ps: -a"),
            ("image inspect x", "image inspect as image inspect: x"),
            ("image remove x", "rmi as image rm: x"),
            ("image diff a b", "image diff as image diff: a b"),
            ("container diff a", "diff as container diff: a"),
            ("system df -v", "system df as system df: -v"),
            ("check --repair", "system check as check: --repair"),
            ("run x", "run as run: x"),
            ("container", "family container: "),
            ("container --help ls", "family container: --help ls"),
            ("image build .", "unbuilt image build"),
            ("image nope x", "nowhere image nope in Some(\"image\")"),
            ("nope x", "nowhere nope in None"),
        ] {
            assert_eq!(lead(line), want, "{line}");
        }
    }

    #[test]
    fn every_command_has_a_help_and_takes_the_arguments_that_it_names() {
        let global = Global { hosts: vec!["unix:///nonexistent".into()], ..Global::default() };
        let context = Context::new(&global).unwrap();
        for command in COMMANDS {
            let call = |words: Vec<OsString>| Call { command, grammar: command.grammar(command.names[0]), words };
            let error = call(vec!["--help".into()]).run(&context).unwrap_err();
            assert_eq!(error.downcast_ref::<Exit>(), Some(&Exit(0)), "{:?}", command.names);
            let help = command.described().render_help().to_string();
            assert!(help.starts_with(&command.grammar(command.names[0]).usage_line()), "{help}");
            // What the table says of arguments, clap takes: neither fewer nor more.
            let Count { least, most } = command.arguments;
            let more = if command.names[0] == "import" { least } else { most.unwrap_or(least + 1) };
            for n in [least, more] {
                let words = vec![OsString::from("x"); n];
                let mut all = vec![OsString::from("dhow"), "--".into()];
                all.extend(words);
                let parsed = command.described().try_get_matches_from(all);
                assert!(parsed.is_ok(), "{:?} with {n}: {}", command.names, parsed.unwrap_err());
            }
        }
    }

    #[test]
    fn no_name_is_given_twice() {
        let names: Vec<&str> = COMMANDS.iter().flat_map(|c| c.names).copied().collect();
        let once: BTreeSet<&str> = names.iter().copied().collect();
        assert_eq!(names.len(), once.len());
        for name in UNBUILT {
            assert!(!once.contains(name), "{name} is built");
        }
        for name in once {
            let family = name.split_once(' ').map(|(family, _)| family);
            assert!(family.is_none_or(|f| FAMILIES.iter().any(|(known, _)| *known == f)), "{name}");
        }
    }
}
