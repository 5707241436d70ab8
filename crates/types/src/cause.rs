//! What went wrong, in one word for programs: what an [`Error`](crate::Error) says in a sentence for people.
//!
//! The words are part of the API (docs/errors.md lists them): one is added, none is renamed. What a cause means to an
//! adapter (an exit code, a status) never lives here.

use crate::ErrorKind;
use std::fmt;

/// Why a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cause {
    /// The program is not in the container.
    ProgramMissing,
    /// The program is there, the interpreter that it names (`#!`, or an ELF program's loader) is not.
    InterpreterMissing,
    /// A script's first line ends in CR LF, so that its interpreter is not found.
    WindowsLineEnds,
    /// A flag stands after the image, where it is the command.
    FlagAfterImage,
    /// The program's file may not be executed.
    NotExecutable,
    /// The program is a directory.
    IsADirectory,
    /// The program, or its interpreter, lies on a mount with `noexec`.
    NoexecMount,
    /// The program is built for another kind of processor.
    WrongArchitecture,
    /// The file is no program that the kernel knows.
    NotAProgram,
    /// The container has no such user.
    UserMissing,
    /// The container has no such group.
    GroupMissing,
    /// A container or another program has the host's port.
    PortTaken,
    /// Another container has the name.
    NameTaken,
    /// There is no such image.
    ImageMissing,
    /// There is no such container.
    ContainerMissing,
    /// The container is killed and does not end.
    Stuck,
    /// The file system of a mount's source does not answer.
    MountStuck,
    /// The request is wrong.
    Invalid,
    /// Something else that was asked for is not there.
    NotFound,
    /// The state of a thing forbids it.
    Conflict,
    /// There is nothing to do.
    NotModified,
    /// This caller may not.
    Forbidden,
    /// Who asks is not known: a registry wants other credentials, or any.
    Unauthorized,
    /// dhow does not have this.
    NotSupported,
    /// What it needs is away.
    Unavailable,
    /// A limit is reached.
    LimitReached,
    /// A disk, or a quota, is full.
    DiskFull,
    /// Bytes are not what they should be.
    DataDamaged,
    /// Anything else.
    Internal,
}

impl Cause {
    /// Each with its word.
    pub const ALL: [(Self, &'static str); 29] = [
        (Self::ProgramMissing, "program-missing"),
        (Self::InterpreterMissing, "interpreter-missing"),
        (Self::WindowsLineEnds, "windows-line-ends"),
        (Self::FlagAfterImage, "flag-after-image"),
        (Self::NotExecutable, "not-executable"),
        (Self::IsADirectory, "is-a-directory"),
        (Self::NoexecMount, "noexec-mount"),
        (Self::WrongArchitecture, "wrong-architecture"),
        (Self::NotAProgram, "not-a-program"),
        (Self::UserMissing, "user-missing"),
        (Self::GroupMissing, "group-missing"),
        (Self::PortTaken, "port-taken"),
        (Self::NameTaken, "name-taken"),
        (Self::ImageMissing, "image-missing"),
        (Self::ContainerMissing, "container-missing"),
        (Self::Stuck, "stuck"),
        (Self::MountStuck, "mount-stuck"),
        (Self::Invalid, "invalid"),
        (Self::NotFound, "not-found"),
        (Self::Conflict, "conflict"),
        (Self::NotModified, "not-modified"),
        (Self::Forbidden, "forbidden"),
        (Self::Unauthorized, "unauthorized"),
        (Self::NotSupported, "not-supported"),
        (Self::Unavailable, "unavailable"),
        (Self::LimitReached, "limit-reached"),
        (Self::DiskFull, "disk-full"),
        (Self::DataDamaged, "data-damaged"),
        (Self::Internal, "internal"),
    ];

    /// Its word.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(cause, _)| *cause == self).map_or("internal", |(_, name)| name)
    }

    /// The cause of a word; one that a newer dhow says is `None`.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == name).map(|(cause, _)| *cause)
    }

    /// What is known of an error that says no more than its kind.
    pub(crate) fn of_kind(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::InvalidParameter => Self::Invalid,
            ErrorKind::NotFound => Self::NotFound,
            ErrorKind::Conflict => Self::Conflict,
            ErrorKind::NotModified => Self::NotModified,
            ErrorKind::Forbidden => Self::Forbidden,
            ErrorKind::Unauthorized => Self::Unauthorized,
            ErrorKind::NotImplemented => Self::NotSupported,
            ErrorKind::Unavailable => Self::Unavailable,
            ErrorKind::Exhausted => Self::LimitReached,
            ErrorKind::DiskFull => Self::DiskFull,
            ErrorKind::DataLoss => Self::DataDamaged,
            ErrorKind::CommandNotFound => Self::ProgramMissing,
            ErrorKind::CommandNotExecutable => Self::NotExecutable,
            ErrorKind::System => Self::Internal,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;

    #[test]
    fn each_cause_has_a_word_of_its_own() {
        for (at, (cause, name)) in Cause::ALL.iter().enumerate() {
            assert_eq!((cause.name(), Cause::parse(name)), (*name, Some(*cause)));
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{name}");
            // A byte of a wire counts them.
            assert_eq!(*cause as usize, at);
        }
        assert_eq!(Cause::parse("of-tomorrow"), None);
    }

    #[test]
    fn an_error_keeps_its_cause() {
        let e = Error::conflict("x").because(Cause::NameTaken);
        let e = e.prefixed("a").advised("b").with_text("c").with_kind(ErrorKind::System);
        assert_eq!((e.cause(), e.kind(), e.text()), (Cause::NameTaken, ErrorKind::System, "c"));
        assert_eq!(Error::not_found("x").cause(), Cause::NotFound);
        assert_eq!(Error::from(std::io::Error::from_raw_os_error(28)).cause(), Cause::DiskFull);
        assert_eq!(Error::new(ErrorKind::CommandNotFound, "x").cause(), Cause::ProgramMissing);
    }
}
