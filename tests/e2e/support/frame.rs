//! WebSocket frames encoded and decoded by hand (RFC 6455 section 5.2), so that a test can send invalid ones.

use std::io::{self, Read};

pub const CONTINUATION: u8 = 0x0;
pub const TEXT: u8 = 0x1;
pub const BINARY: u8 = 0x2;
pub const CLOSE: u8 = 0x8;
pub const PING: u8 = 0x9;
pub const PONG: u8 = 0xA;

/// A frame of a client, valid unless modified.
#[derive(Clone, Debug)]
pub struct Frame {
    first: u8,
    masked: bool,
    declared: Option<u64>,
    payload: Vec<u8>,
}

impl Frame {
    pub fn new(opcode: u8, payload: impl AsRef<[u8]>) -> Frame {
        Frame { first: 0x80 | opcode, masked: true, declared: None, payload: payload.as_ref().to_vec() }
    }

    pub fn text(payload: impl AsRef<[u8]>) -> Frame {
        Frame::new(TEXT, payload)
    }

    pub fn close(code: u16, reason: &str) -> Frame {
        Frame::new(CLOSE, [&code.to_be_bytes(), reason.as_bytes()].concat())
    }

    /// Clears FIN, so that more fragments follow.
    pub fn unfinished(mut self) -> Frame {
        self.first &= 0x7F;
        self
    }

    /// Sets the reserved bits; `bits` is a mask of 0b111.
    pub fn reserved(mut self, bits: u8) -> Frame {
        self.first |= bits << 4;
        self
    }

    pub fn unmasked(mut self) -> Frame {
        self.masked = false;
        self
    }

    /// Declares this length in the longest form, whatever the payload.
    pub fn declaring(mut self, length: u64) -> Frame {
        self.declared = Some(length);
        self
    }

    pub fn bytes(&self) -> Vec<u8> {
        const MASK: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];
        let mask_bit = if self.masked { 0x80 } else { 0 };
        let mut bytes = vec![self.first];
        match (self.declared, self.payload.len()) {
            (Some(length), _) => {
                bytes.push(mask_bit | 127);
                bytes.extend(length.to_be_bytes());
            }
            (None, length @ 0..126) => bytes.push(mask_bit | length as u8),
            (None, length @ 126..=0xFFFF) => {
                bytes.push(mask_bit | 126);
                bytes.extend((length as u16).to_be_bytes());
            }
            (None, length) => {
                bytes.push(mask_bit | 127);
                bytes.extend((length as u64).to_be_bytes());
            }
        }
        if self.masked {
            bytes.extend(MASK);
            bytes.extend(self.payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        } else {
            bytes.extend(&self.payload);
        }
        bytes
    }
}

/// A frame of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    pub opcode: u8,
    pub payload: Vec<u8>,
}

impl Received {
    /// Reads one frame, and panics on one that no server may send.
    pub fn read(from: &mut impl Read) -> io::Result<Received> {
        let mut head = [0; 2];
        from.read_exact(&mut head)?;
        assert_eq!(head[0] & 0xF0, 0x80, "a server frame is final and without reserved bits: {head:02x?}");
        assert_eq!(head[1] & 0x80, 0, "a server frame is not masked");
        let length = match head[1] {
            126 => {
                let mut long = [0; 2];
                from.read_exact(&mut long)?;
                u64::from(u16::from_be_bytes(long))
            }
            127 => {
                let mut long = [0; 8];
                from.read_exact(&mut long)?;
                u64::from_be_bytes(long)
            }
            short => u64::from(short),
        };
        let mut payload = vec![0; usize::try_from(length).expect("fits")];
        from.read_exact(&mut payload)?;
        Ok(Received { opcode: head[0] & 0x0F, payload })
    }

    /// The code and reason of a close frame.
    pub fn close(&self) -> (u16, String) {
        assert_eq!(self.opcode, CLOSE, "a close frame: {self:?}");
        let code = self.payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code));
        let reason = self.payload.get(2..).unwrap_or_default().to_vec();
        (code, String::from_utf8(reason).expect("a close reason is UTF-8"))
    }
}
