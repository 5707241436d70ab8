//! How long, how often and how much: every wait, retry and buffer of the client has its limit here.

use std::time::Duration;

/// The largest answer of a token server.
pub(crate) const MAX_TOKEN: usize = 1 << 20;
/// The largest answer of an index to a search.
pub(crate) const MAX_SEARCH: usize = 4 << 20;
/// How much of an error's body is read.
pub(crate) const MAX_ERROR: usize = 64 << 10;
/// How often one blob may break off and go on, however much came in between.
pub(crate) const MAX_RESUMES: u32 = 100;
/// A blob of which no more than this is to be sent goes in one request.
pub(crate) const SMALL: usize = 256 << 10;
/// The size of a piece where a registry does not take a stream.
pub(crate) const CHUNK: u64 = 4 << 20;
/// The largest piece that a registry may demand: it is held in memory.
pub(crate) const MAX_CHUNK: u64 = 32 << 20;
/// How often a request is asked to authenticate itself before it is refused.
pub(crate) const MAX_CHALLENGES: u32 = 2;
/// Tokens and challenges that are remembered.
pub(crate) const MAX_REMEMBERED: usize = 256;
/// Pages of one list.
pub(crate) const MAX_PAGES: usize = 1000;
/// Tags of one repository.
pub(crate) const MAX_TAGS: usize = 100_000;
/// Referrers of one manifest.
pub(crate) const MAX_REFERRERS: usize = 10_000;
/// The largest settings file or certificate that is read.
pub(crate) const MAX_FILE: u64 = 4 << 20;

/// What waits and retries are bounded by.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// To reach a host.
    pub connect: Duration,
    /// For the TLS handshake.
    pub handshake: Duration,
    /// From a request to the head of its answer.
    pub answer: Duration,
    /// From the last byte of what was sent to the answer, where the registry has to check or to move it.
    pub commit: Duration,
    /// Without a single byte of a body.
    pub stall: Duration,
    /// For all of a document or a token once its answer began, however steadily it drips.
    pub document: Duration,
    /// Failures in a row before a transfer is given up.
    pub attempts: u32,
    /// The first wait between two tries; each further one is twice as long.
    pub first_wait: Duration,
    /// The longest of these waits.
    pub longest_wait: Duration,
    /// The longest that a server's `Retry-After` is heeded.
    pub longest_retry_after: Duration,
    /// Redirects of one request.
    pub redirects: u32,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(30),
            handshake: Duration::from_secs(10),
            answer: Duration::from_secs(30),
            commit: Duration::from_secs(300),
            stall: Duration::from_secs(30),
            document: Duration::from_secs(120),
            attempts: 5,
            first_wait: Duration::from_millis(250),
            longest_wait: Duration::from_secs(8),
            longest_retry_after: Duration::from_secs(60),
            redirects: 10,
        }
    }
}
