//! A compiled filter: plain data that can be kept, sent to the shim and installed.

use serde::{Deserialize, Serialize};
use std::io;
use std::os::fd::OwnedFd;

/// A compiled filter with the flags to install it with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// The kernel's `sock_filter`s, one per number (layout: see `dhow_sys::seccomp`).
    instructions: Vec<u64>,
    /// `SECCOMP_FILTER_FLAG_*`, without NEW_LISTENER.
    flags: u32,
    /// Present when a rule notifies: where the descriptor has to be sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    listener: Option<Listener>,
}

/// Where the notification descriptor goes (`listenerPath` and `listenerMetadata` of the document).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    /// A unix socket.
    pub path: String,
    /// Opaque text sent along.
    pub metadata: String,
}

impl Program {
    pub(super) fn new(instructions: Vec<u64>, flags: u32, listener: Option<Listener>) -> Self {
        Self { instructions, flags, listener }
    }

    /// The instructions in the kernel's own layout.
    pub fn instructions(&self) -> &[u64] {
        &self.instructions
    }

    /// The flags to install with.
    pub fn flags(&self) -> u32 {
        self.flags
    }

    /// Present when a rule of the filter notifies; [`Program::install`] then returns the descriptor to send there.
    pub fn listener(&self) -> Option<&Listener> {
        self.listener.as_ref()
    }

    /// The program as the bytes of the kernel's `sock_filter` array.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.instructions.iter().flat_map(|i| i.to_le_bytes()).collect()
    }

    /// Installs the filter for the calling thread, which needs no_new_privs or CAP_SYS_ADMIN.
    ///
    /// Allocates nothing, so it may stand between clone and exec. A kernel that does not know SPEC_ALLOW (< 4.17)
    /// gets the filter without: the flag only spares time.
    pub fn install(&self) -> io::Result<Option<OwnedFd>> {
        use dhow_sys::seccomp as sys;
        let flags = self.flags | if self.listener.is_some() { sys::FLAG_NEW_LISTENER } else { 0 };
        match sys::install(&self.instructions, flags) {
            Err(e) if flags & sys::FLAG_SPEC_ALLOW != 0 && e.kind() == io::ErrorKind::InvalidInput => {
                sys::install(&self.instructions, flags & !sys::FLAG_SPEC_ALLOW)
            }
            result => result,
        }
    }
}
