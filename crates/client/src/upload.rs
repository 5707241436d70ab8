//! What is sent as the body of a request: a file with its length, or a stream in chunks.

use rustix::io::Errno;
use std::fs::File;
use std::io::{ErrorKind, Read, Result, Seek as _, Write as _};
use std::os::unix::net::UnixStream;

/// How much of a stream is one chunk.
const CHUNK: usize = 256 * 1024;

/// The body of a request.
pub enum Upload {
    /// A regular file from where it stands, and how many bytes are left of it. The kernel moves them; should the file
    /// become shorter meanwhile, the request breaks off.
    File(File, u64),
    /// Bytes of which nobody knows how many they are.
    Stream(Box<dyn Read + Send>),
}

impl From<File> for Upload {
    /// What is left of the file, if it is a regular one; else (a pipe, a device) what comes out of it.
    fn from(mut file: File) -> Self {
        let length = file.metadata().ok().filter(|m| m.is_file()).map(|m| m.len());
        match (length, file.stream_position()) {
            (Some(length), Ok(at)) => Self::File(file, length.saturating_sub(at)),
            _ => Self::Stream(Box::new(file)),
        }
    }
}

impl Upload {
    /// The header field that says where the body ends.
    pub(crate) fn framing(&self) -> (&'static str, String) {
        match self {
            Self::File(_, length) => ("Content-Length", length.to_string()),
            Self::Stream(_) => ("Transfer-Encoding", "chunked".to_owned()),
        }
    }

    /// Sends all of it, or as much as the daemon takes: if it refuses early it closes its reading side, and its answer
    /// says why. An error is one of reading.
    pub(crate) fn send(self, to: &mut UnixStream) -> Result<()> {
        match self {
            Self::File(file, length) => send_file(&file, length, to),
            Self::Stream(mut content) => {
                let mut buffer = vec![0; CHUNK];
                loop {
                    let n = content.read(&mut buffer)?;
                    let sent = write!(to, "{n:x}\r\n")
                        .and_then(|()| to.write_all(&buffer[..n]))
                        .and_then(|()| to.write_all(b"\r\n"));
                    if n == 0 || sent.is_err() {
                        return Ok(());
                    }
                }
            }
        }
    }
}

/// The standard library's copy would move every byte through this process; sendfile(2) does not.
fn send_file(file: &File, mut left: u64, to: &UnixStream) -> Result<()> {
    while left > 0 {
        match rustix::fs::sendfile(to, file, None, usize::try_from(left).unwrap_or(usize::MAX)) {
            Ok(0) => return Err(std::io::Error::other("the file became shorter while it was sent")),
            Ok(n) => left -= n as u64,
            Err(Errno::INTR) => {}
            // Not every file system can: then by hand, exactly as much.
            Err(Errno::INVAL | Errno::NOSYS) => {
                return match std::io::copy(&mut file.take(left), &mut &*to) {
                    Ok(n) if n < left => Err(std::io::Error::other("the file became shorter while it was sent")),
                    Err(e) if matches!(e.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => Ok(()),
                    other => other.map(drop),
                };
            }
            // The other side reads no more.
            Err(Errno::PIPE | Errno::CONNRESET) => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::SeekFrom;

    fn sent(upload: Upload) -> (String, std::io::Result<()>, Vec<u8>) {
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        let read = std::thread::spawn(move || {
            let mut all = Vec::new();
            theirs.read_to_end(&mut all).map(|_| all).unwrap()
        });
        let field = upload.framing().1;
        let result = upload.send(&mut ours);
        drop(ours);
        (field, result, read.join().unwrap())
    }

    #[test]
    fn a_file_goes_from_where_it_stands_and_a_stream_in_chunks() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"0123456789").unwrap();
        file.seek(SeekFrom::Start(4)).unwrap();
        let (field, result, got) = sent(file.try_clone().unwrap().into());
        result.unwrap();
        assert_eq!((field.as_str(), &*got), ("6", &b"456789"[..]));

        let (reader, mut writer) = std::io::pipe().unwrap();
        writer.write_all(b"abc").unwrap();
        drop(writer);
        let (field, result, got) = sent(File::from(std::os::fd::OwnedFd::from(reader)).into());
        result.unwrap();
        assert_eq!((field.as_str(), &*got), ("chunked", &b"3\r\nabc\r\n0\r\n\r\n"[..]));

        // Shorter than it was: an error, and no end that looks like one.
        let upload = Upload::File(file, 11);
        assert!(sent(upload).1.unwrap_err().to_string().contains("shorter"));
    }

    #[test]
    fn a_daemon_that_reads_no_more_is_no_error_of_reading() {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        drop(theirs);
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[0; 1 << 20]).unwrap();
        file.rewind().unwrap();
        Upload::from(file).send(&mut ours).unwrap();
        Upload::Stream(Box::new(std::io::repeat(0))).send(&mut ours).unwrap();
    }
}
