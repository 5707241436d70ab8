//! What a check comes to: plain data, the same for people and for programs.

use super::facts::Unseen;
use serde::Serialize;

/// How well it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// As it should be.
    Ok,
    /// Nothing is wrong, but good to know.
    Note,
    /// Something works badly, or will soon.
    Warning,
    /// Something does not work.
    Error,
}

/// What a check is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Group {
    /// What the kernel can do.
    Kernel,
    /// Control groups.
    Cgroups,
    /// What this process may do.
    Privileges,
    /// Room, and how it is mounted.
    Disk,
    /// What lies in the root directory.
    Store,
    /// Forwarding, firewalls, names.
    Network,
    /// The daemon and what it started.
    Daemon,
    /// Other programs that speak to it.
    Clients,
}

impl Group {
    /// Its heading.
    pub fn title(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Cgroups => "cgroups",
            Self::Privileges => "privileges",
            Self::Disk => "disk",
            Self::Store => "store",
            Self::Network => "network",
            Self::Daemon => "daemon",
            Self::Clients => "clients",
        }
    }
}

/// A command that mends it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mend {
    /// To be typed as it stands.
    pub command: String,
    /// What it costs, or how to make it last; may be empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// `network.forwarding`: stays the same from version to version.
    pub id: String,
    /// What it is about.
    pub group: Group,
    /// Its name for people.
    pub name: String,
    /// How well it is.
    pub state: State,
    /// What was seen, with figures.
    pub seen: String,
    /// Why it matters, in a sentence. Empty where all is well.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub why: String,
    /// What mends it, the best first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mend: Vec<Mend>,
}

impl Finding {
    /// A check that is well, of the id `GROUP.WORD`.
    pub fn new(group: Group, word: &str, name: impl Into<String>, seen: impl Into<String>) -> Self {
        Self {
            id: format!("{}.{word}", group.title()),
            group,
            name: name.into(),
            state: State::Ok,
            seen: seen.into(),
            why: String::new(),
            mend: Vec::new(),
        }
    }

    /// It is in this state, and that matters because.
    pub fn state(mut self, state: State, why: impl Into<String>) -> Self {
        self.state = state;
        self.why = why.into();
        self
    }

    /// Nothing is wrong.
    pub fn note(self, why: impl Into<String>) -> Self {
        self.state(State::Note, why)
    }

    /// It works badly.
    pub fn warning(self, why: impl Into<String>) -> Self {
        self.state(State::Warning, why)
    }

    /// It does not work.
    pub fn error(self, why: impl Into<String>) -> Self {
        self.state(State::Error, why)
    }

    /// This command mends it.
    pub fn mend(self, command: impl Into<String>) -> Self {
        self.mend_noted(command, "")
    }

    /// This command mends it, and this is to be known of it.
    pub fn mend_noted(mut self, command: impl Into<String>, note: impl Into<String>) -> Self {
        self.mend.push(Mend { command: command.into(), note: note.into() });
        self
    }

    /// What could not be looked at.
    pub fn unseen(group: Group, word: &str, name: &str, unseen: &Unseen) -> Self {
        let finding = Self::new(group, word, name, unseen.to_string());
        match unseen {
            Unseen::Root => finding.note("only root may look").mend("sudo dhow doctor"),
            Unseen::Late => {
                finding.warning("what does not answer here keeps containers waiting too: a dead network file system, or a program that is stopped")
                    .mend_noted("cat /proc/self/mountinfo", "lists what is mounted; `umount -l DIR` takes a dead one away")
            }
            Unseen::Other(_) => finding.note("this check says nothing"),
        }
    }
}
