//! Tar archives made by hand.

#![allow(missing_docs, reason = "the names say it")]

/// A tar in the making.
#[derive(Default, Clone)]
pub struct Tar(pub Vec<u8>);

/// The fields of a header.
#[derive(Clone)]
pub struct Head {
    pub kind: u8,
    pub name: Vec<u8>,
    pub link: Vec<u8>,
    pub mode: u32,
    pub uid: Vec<u8>,
    pub gid: Vec<u8>,
    pub size: u64,
    pub mtime: u64,
    pub device: (u32, u32),
    pub gnu: bool,
}

impl Head {
    pub fn new(kind: u8, name: impl AsRef<[u8]>) -> Self {
        let mode = if kind == b'5' { 0o755 } else { 0o644 };
        Self {
            kind,
            name: name.as_ref().to_vec(),
            link: Vec::new(),
            mode,
            uid: b"0000000\0".to_vec(),
            gid: b"0000000\0".to_vec(),
            size: 0,
            mtime: 1_600_000_000,
            device: (0, 0),
            gnu: false,
        }
    }
    pub fn block(&self) -> [u8; 512] {
        let mut b = [0u8; 512];
        let mut put = |at: usize, bytes: &[u8]| b[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &self.name[..self.name.len().min(100)]);
        put(100, format!("{:07o}\0", self.mode).as_bytes());
        put(108, &self.uid);
        put(116, &self.gid);
        if self.size < 1 << 33 {
            put(124, format!("{:011o}\0", self.size).as_bytes());
        } else {
            put(124, &[0x80, 0, 0, 0]);
            put(128, &self.size.to_be_bytes());
        }
        put(136, format!("{:011o}\0", self.mtime).as_bytes());
        put(156, &[self.kind]);
        put(157, &self.link[..self.link.len().min(100)]);
        put(257, if self.gnu { b"ustar  \0" } else { b"ustar\x0000" });
        put(329, format!("{:07o}\0", self.device.0).as_bytes());
        put(337, format!("{:07o}\0", self.device.1).as_bytes());
        seal(&mut b);
        b
    }
}

/// Writes the checksum.
pub fn seal(b: &mut [u8; 512]) {
    b[148..156].fill(b' ');
    let sum: u32 = b.iter().map(|&b| u32::from(b)).sum();
    b[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

impl Tar {
    pub fn new() -> Self {
        Self::default()
    }
    pub fn head(mut self, head: Head) -> Self {
        self.0.extend_from_slice(&head.block());
        self
    }
    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }
    pub fn data(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }
    pub fn file(self, name: impl AsRef<[u8]>, data: &[u8]) -> Self {
        self.head(Head { size: data.len() as u64, ..Head::new(b'0', name) }).data(data)
    }
    pub fn dir(self, name: impl AsRef<[u8]>) -> Self {
        self.head(Head::new(b'5', name))
    }
    pub fn symlink(self, name: impl AsRef<[u8]>, to: impl AsRef<[u8]>) -> Self {
        self.head(Head { link: to.as_ref().to_vec(), mode: 0o777, ..Head::new(b'2', name) })
    }
    pub fn hardlink(self, name: impl AsRef<[u8]>, to: impl AsRef<[u8]>) -> Self {
        self.head(Head { link: to.as_ref().to_vec(), ..Head::new(b'1', name) })
    }
    pub fn node(self, kind: u8, name: &str, device: (u32, u32)) -> Self {
        self.head(Head { device, ..Head::new(kind, name) })
    }
    pub fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let body: Vec<u8> = records.iter().flat_map(|(k, v)| record(k, v)).collect();
        self.head(Head { size: body.len() as u64, ..Head::new(b'x', "pax") }).data(&body)
    }
    /// GNU's long name or long link.
    pub fn long(self, kind: u8, text: &[u8]) -> Self {
        let body = [text, b"\0"].concat();
        self.head(Head { size: body.len() as u64, gnu: true, ..Head::new(kind, "././@LongLink") }).data(&body)
    }
    pub fn end(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&[0; 1024]);
        self.0
    }
}

/// One pax record.
pub fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut len = rest + 1;
    while len != rest + len.to_string().len() {
        len = rest + len.to_string().len();
    }
    [format!("{len} {key}=").as_bytes(), value, b"\n"].concat()
}
