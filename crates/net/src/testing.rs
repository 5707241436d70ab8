//! What the tests of this crate share: namespaces of their own, and the `nft` program as a second opinion.

use dhow_types::ContainerId;
use std::io::Write as _;
use std::process::{Command, Stdio};

/// Runs `test` on a thread in a fresh network namespace with `lo` up.
pub fn in_new_netns(test: impl FnOnce() + Send + 'static) {
    let run = move || {
        dhow_sys::netns::unshare_net().expect("tests need root");
        let mut batch = crate::netlink::Batch::new();
        crate::rtnl::set_up(&mut batch, 1);
        crate::netlink::Socket::route().unwrap().request(&batch).unwrap();
        test();
    };
    if let Err(panic) = std::thread::spawn(run).join() {
        std::panic::resume_unwind(panic);
    }
}

/// A container id made of one repeated byte.
pub fn id(n: u8) -> ContainerId {
    ContainerId::from_raw([n; 32])
}

/// Feeds `script` to `nft -f -` in this thread's namespace.
pub fn nft(script: &str) {
    let mut child = Command::new("nft").args(["-f", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}
