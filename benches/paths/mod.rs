//! The hot paths, each prepared once and repeated: what `timing` times and `instructions` counts.
//!
//! A path is the very code a reactor runs, without its sockets. Nothing here reads a clock or draws a random
//! number, so each repetition executes the same instructions.

pub mod availability;
pub mod bounds;
pub mod command;
pub mod encode;
pub mod fan_out;
pub mod frames;
pub mod handshake;
pub mod outbox;
mod reactor;
pub mod session;

/// One operation of the gateway, ready to be done again and again.
pub trait Path {
    /// Operations in one [`Path::once`].
    const OPERATIONS: u32 = 1;

    /// Prepares it, up to the steady state: what a first time costs is not what is asked for.
    fn prepare() -> Self;

    /// Does it.
    fn once(&mut self);
}

/// A text frame as a client sends it. The mask is zero: unmasking costs the same, and the frame, which is
/// unmasked where it lies, can be read again.
pub fn text_frame(payload: &str) -> Vec<u8> {
    let mut frame = vec![0x81];
    match payload.len() {
        length @ 0..=125 => frame.push(0x80 | length as u8),
        length => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(length as u16).to_be_bytes());
        }
    }
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(payload.as_bytes());
    frame
}
