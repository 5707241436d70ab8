//! Messages that wait for their receiver, in one piece of memory that is given back when none waits.

/// The length before each message.
const HEAD: usize = 4;

/// A queue of messages.
#[derive(Debug, Default)]
pub struct Queue {
    /// Length and bytes of each message.
    bytes: Vec<u8>,
    /// Where the first message begins.
    start: usize,
    /// How much of the first message has been sent already, on a stream.
    sent: usize,
    messages: u64,
}

impl Queue {
    /// Bytes that wait.
    pub fn len(&self) -> usize {
        self.bytes.len() - self.start
    }
    /// Nothing waits.
    pub fn is_empty(&self) -> bool {
        self.messages == 0
    }
    /// Messages that wait.
    pub fn messages(&self) -> u64 {
        self.messages
    }
    /// Adds a message, of which `sent` bytes have gone already (only when nothing else waits).
    pub fn push(&mut self, message: &[u8], sent: usize) {
        if self.is_empty() {
            self.sent = sent;
        }
        self.bytes.extend_from_slice(&(message.len() as u32).to_le_bytes());
        self.bytes.extend_from_slice(message);
        self.messages += 1;
    }
    /// What is left to send of the first message.
    pub fn first(&self) -> Option<&[u8]> {
        let rest = self.bytes.get(self.start..)?;
        let head: [u8; HEAD] = rest.get(..HEAD)?.try_into().ok()?;
        rest.get(HEAD + self.sent..HEAD + u32::from_le_bytes(head) as usize)
    }
    /// So many bytes of the first message have gone; at its end the next one is the first.
    pub fn advance(&mut self, bytes: usize) {
        let Some(left) = self.first().map(<[u8]>::len) else { return };
        self.sent += bytes;
        if bytes < left {
            return;
        }
        self.start += HEAD + self.sent;
        self.sent = 0;
        self.messages -= 1;
        if self.messages == 0 {
            *self = Self::default();
        } else if self.start >= self.bytes.len() / 2 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
    }
    /// The connection is lost: the first message is sent again from its beginning.
    pub fn rewind(&mut self) {
        self.sent = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_leave_in_order_in_steps_of_any_size() {
        for step in [1, 2, 3, 7, 100] {
            let mut queue = Queue::default();
            let messages: Vec<Vec<u8>> = (0..50usize).map(|n| vec![n as u8; n % 9 + 1]).collect();
            let mut out = Vec::new();
            for (n, message) in messages.iter().enumerate() {
                queue.push(message, 0);
                if n % 3 == 0 {
                    let first = queue.first().unwrap();
                    let part = first.len().min(step);
                    out.extend_from_slice(&first[..part]);
                    queue.advance(part);
                }
            }
            while let Some(first) = queue.first() {
                let part = first.len().min(step);
                out.extend_from_slice(&first[..part]);
                queue.advance(part);
            }
            assert_eq!(out, messages.concat(), "{step}");
            assert!(queue.is_empty() && queue.bytes.capacity() == 0);
        }
    }

    #[test]
    fn what_was_half_sent_is_sent_again_on_another_connection() {
        let mut queue = Queue::default();
        queue.push(b"hello", 2);
        queue.push(b"you", 0);
        assert_eq!(queue.first(), Some(&b"llo"[..]));
        queue.rewind();
        assert_eq!((queue.first(), queue.messages()), (Some(&b"hello"[..]), 2));
        queue.advance(5);
        assert_eq!(queue.first(), Some(&b"you"[..]));
    }
}
