//! Finding the program, running it, and saying in a user's words why it can't be run.

use crate::plan::ProcessPlan;
use dhow_sys::exec::{self, CStringArray};
use dhow_types::{Cause, Error, ErrorKind, Result};
use rustix::fs::{Access, AtFlags, CWD, FileType, Mode, OFlags, StatVfsMountFlags, accessat, stat, statvfs};
use rustix::io::Errno;
use std::ffi::CString;
use std::path::Path;

/// How much of a file is looked at to tell why the kernel would not run it.
const HEAD: usize = 4096;

/// Finds the program as the container's user, in the container's tree. The texts are Docker's.
pub(crate) fn find(plan: &ProcessPlan) -> Result<CString> {
    let name = plan.program.as_str();
    let c_string = |path: &str| CString::new(path).map_err(|_| Error::invalid("process.args has a NUL byte"));
    if name.contains('/') {
        return match runnable(name) {
            Ok(()) => c_string(name),
            Err(Errno::NOENT) => Err(not_found(format!("exec: {name:?}: stat {name}: no such file or directory"))),
            Err(Errno::NOTDIR) => Err(not_found(format!("exec: {name:?}: stat {name}: not a directory"))),
            Err(Errno::ISDIR) => {
                Err(not_executable(format!("exec: {name:?}: is a directory")).because(Cause::IsADirectory))
            }
            Err(Errno::ACCESS) if noexec(name).is_some() => Err(on_noexec(name)),
            Err(e) => Err(not_executable(format!("exec: {name:?}: {}", words(e)))),
        };
    }
    let mut denied = false;
    for dir in plan.path.split(':') {
        let path = if dir.is_empty() { format!("./{name}") } else { format!("{dir}/{name}") };
        match runnable(&path) {
            Ok(()) => return c_string(&path),
            Err(Errno::ACCESS) => denied = true,
            Err(_) => {}
        }
    }
    if denied {
        return Err(not_executable(format!("exec: {name:?}: permission denied")));
    }
    let (flag, cause) = if name.starts_with('-') { (FLAG, Cause::FlagAfterImage) } else { ("", Cause::ProgramMissing) };
    Err(not_found(format!("exec: {name:?}: executable file not found in $PATH{flag}")).because(cause))
}

/// For a command that begins like a flag.
const FLAG: &str = ": what stands after the image is the command, so put flags before the image";

fn runnable(path: &str) -> rustix::io::Result<()> {
    let kind = FileType::from_raw_mode(stat(path)?.st_mode);
    if kind == FileType::Directory {
        return Err(Errno::ISDIR);
    }
    // Not regular: the kernel would say EACCES.
    if kind != FileType::RegularFile {
        return Err(Errno::ACCESS);
    }
    match accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS) {
        // faccessat2 is younger than this runtime's oldest kernel, or an outer filter does not know it.
        Err(Errno::NOSYS | Errno::PERM) => Ok(()),
        result => result,
    }
}

/// Runs it; comes back only with the reason why not.
pub(crate) fn run(path: &CString, args: &CStringArray, env: &CStringArray) -> Error {
    let error = exec::execve(path, args, env);
    let errno = Errno::from_io_error(&error).unwrap_or(Errno::INVAL);
    explain(&path.to_string_lossy(), errno)
}

/// What the error of execve means for this file.
fn explain(path: &str, errno: Errno) -> Error {
    let head = read_head(path).unwrap_or_default();
    match errno {
        Errno::NOENT => match interpreter(&head) {
            Some(interpreter) if first_line(&head).is_some_and(|line| line.ends_with(b"\r")) => not_found(format!(
                "exec: {path:?}: no such file or directory: its first line ends in CR LF, as on Windows, and names the \
                 interpreter {interpreter:?} with a CR: convert the file by `dos2unix`, and set `git config core.autocrlf input`"
            ))
            .because(Cause::WindowsLineEnds),
            Some(interpreter) => not_found(format!(
                "exec: {path:?}: no such file or directory: its interpreter {interpreter:?} is not in the container"
            ))
            .because(Cause::InterpreterMissing),
            None => not_found(format!("exec: {path:?}: no such file or directory")),
        },
        Errno::NOEXEC => {
            let (why, cause) = match elf_machine(&head) {
                Some(machine) if machine != native_machine() => {
                    let (built, here) = (machine_name(machine), machine_name(native_machine()));
                    (format!("it is built for {built}, this machine is {here}"), Cause::WrongArchitecture)
                }
                Some(_) => {
                    ("it is a damaged ELF file, or of a kind this kernel can't run".to_owned(), Cause::NotAProgram)
                }
                None if head.starts_with(b"#!") => {
                    ("its first line names no interpreter".to_owned(), Cause::NotAProgram)
                }
                None => ("it is no ELF program, and has no #! line".to_owned(), Cause::NotAProgram),
            };
            not_executable(format!("exec: {path:?}: exec format error: {why}")).because(cause)
        }
        Errno::ACCESS if noexec(path).is_some() => on_noexec(path),
        Errno::ACCESS => match interpreter(&head) {
            Some(interpreter) if noexec(&interpreter).is_some() => not_executable(format!(
                "exec: {path:?}: permission denied: its interpreter {interpreter:?} lies in {}, which is mounted noexec",
                noexec(&interpreter).unwrap_or_default()
            ))
            .because(Cause::NoexecMount),
            Some(interpreter) if runnable(path).is_ok() => not_executable(format!(
                "exec: {path:?}: permission denied (for it, for its interpreter {interpreter:?}, or by a noexec mount)"
            )),
            _ => not_executable(format!("exec: {path:?}: permission denied")),
        },
        e => not_executable(format!("exec: {path:?}: {}", words(e))),
    }
}

/// The first line of a script, without its end.
fn first_line(head: &[u8]) -> Option<&[u8]> {
    head.strip_prefix(b"#!")?.split(|b| *b == b'\n').next()
}

/// Where the noexec mount begins that the file lies on, if it lies on one.
fn noexec(path: &str) -> Option<String> {
    let denies = |p: &Path| statvfs(p).is_ok_and(|s| s.f_flag.contains(StatVfsMountFlags::NOEXEC));
    // A link says nothing of where it leads.
    let path = std::fs::canonicalize(path).ok()?;
    denies(&path).then(|| path.ancestors().take_while(|p| denies(p)).last().unwrap_or(&path).display().to_string())
}

fn on_noexec(path: &str) -> Error {
    let mount = noexec(path).unwrap_or_default();
    not_executable(format!("exec: {path:?}: permission denied: {mount} is mounted noexec")).because(Cause::NoexecMount)
}

fn not_found(text: String) -> Error {
    Error::new(ErrorKind::CommandNotFound, text)
}

fn not_executable(text: String) -> Error {
    Error::new(ErrorKind::CommandNotExecutable, text)
}

fn words(e: Errno) -> String {
    Error::from(std::io::Error::from(e)).text().to_owned()
}

fn read_head(path: &str) -> Option<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = rustix::fs::open(path, flags, Mode::empty()).ok()?;
    let mut head = vec![0; HEAD];
    let n = rustix::io::read(&file, &mut head).ok()?;
    head.truncate(n);
    Some(head)
}

/// The interpreter that a script's first line or an ELF program names.
fn interpreter(head: &[u8]) -> Option<String> {
    if let Some(line) = head.strip_prefix(b"#!") {
        let line = line.split(|b| *b == b'\n').next()?;
        let line = String::from_utf8_lossy(line);
        return Some(line.split_whitespace().next()?.to_owned());
    }
    if !head.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let u16_at = |at: usize| Some(u16::from_le_bytes(head.get(at..at + 2)?.try_into().ok()?));
    let u64_at = |at: usize| Some(u64::from_le_bytes(head.get(at..at.checked_add(8)?)?.try_into().ok()?) as usize);
    let (table, size, count) = (u64_at(32)?, usize::from(u16_at(54)?), usize::from(u16_at(56)?));
    for n in 0..count {
        let entry = table.checked_add(n.checked_mul(size)?)?;
        let kind = head.get(entry..entry.checked_add(4)?)?;
        // PT_INTERP
        if kind == 3u32.to_le_bytes() {
            let (offset, length) = (u64_at(entry + 8)?, u64_at(entry + 32)?);
            let name = head.get(offset..offset.checked_add(length)?)?;
            let name = name.split(|b| *b == 0).next()?;
            return Some(String::from_utf8_lossy(name).into_owned());
        }
    }
    None
}

/// `e_machine` of an ELF file, in its own byte order.
fn elf_machine(head: &[u8]) -> Option<u16> {
    let bytes: [u8; 2] = head.get(18..20)?.try_into().ok()?;
    match (head.starts_with(b"\x7fELF"), head.get(5)) {
        (true, Some(1)) => Some(u16::from_le_bytes(bytes)),
        (true, Some(2)) => Some(u16::from_be_bytes(bytes)),
        _ => None,
    }
}

fn native_machine() -> u16 {
    if cfg!(target_arch = "aarch64") { 183 } else { 62 }
}

fn machine_name(machine: u16) -> String {
    match machine {
        3 => "386".into(),
        8 => "mips".into(),
        20 | 21 => "ppc64".into(),
        22 => "s390x".into(),
        40 => "arm".into(),
        62 => "amd64".into(),
        183 => "arm64".into(),
        243 => "riscv64".into(),
        258 => "loong64".into(),
        other => format!("machine {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interpreters_are_found_in_scripts_and_programs() {
        assert_eq!(interpreter(b"#! /bin/none -x\n").as_deref(), Some("/bin/none"));
        assert_eq!(interpreter(b"#!\n"), None);
        assert_eq!(interpreter(b"text"), None);
        let mut elf = vec![0u8; 200];
        elf[..6].copy_from_slice(b"\x7fELF\x02\x01");
        elf[18] = 183;
        elf[32] = 64;
        elf[54] = 56;
        elf[56] = 1;
        elf[64] = 3;
        elf[72] = 120;
        elf[96] = 8;
        elf[120..128].copy_from_slice(b"/lib/ld\0");
        assert_eq!(interpreter(&elf).as_deref(), Some("/lib/ld"));
        assert_eq!(elf_machine(&elf).map(machine_name).as_deref(), Some("arm64"));
        elf[32..40].copy_from_slice(&u64::MAX.to_le_bytes());
        assert_eq!(interpreter(&elf), None);
    }
}
