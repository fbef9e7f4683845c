//! Addresses that nobody else uses: all of 127/8 is this machine's.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::failure::{Failure, Outcome};
use crate::hub::{HTTP_PORT, OPS_PORT};

/// Held at the first address of a block by whoever uses it.
const CLAIM_PORT: u16 = 8079;

/// 254 loopback addresses, for a cluster. No two processes hold the same block at the same time.
#[derive(Debug)]
pub struct Block {
    second: u8,
    third: u8,
    _claim: TcpListener,
}

impl Block {
    /// A block that is free.
    ///
    /// # Errors
    /// [`Failure`] if none is.
    pub fn claim() -> Outcome<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let start = std::process::id().wrapping_mul(7);
        for _ in 0..500 {
            let number = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
            // Hubs alone have what is below.
            let (second, third) = (200 + (number % 50) as u8, (number / 50 % 256) as u8);
            if let Ok(block) = Self::take(second, third) {
                return Ok(block);
            }
        }
        Err(Failure::new("no block of loopback addresses is free"))
    }

    /// That one, 127.`second`.`third`.0/24.
    ///
    /// # Errors
    /// [`Failure`] if another process holds it.
    pub fn take(second: u8, third: u8) -> Outcome<Self> {
        let address = Ipv4Addr::new(127, second, third, 1);
        let claim = TcpListener::bind((address, CLAIM_PORT))
            .map_err(|error| Failure(format!("{address}:{CLAIM_PORT}: {error}")))?;
        Ok(Self {
            second,
            third,
            _claim: claim,
        })
    }

    /// The address of it that ends so.
    pub fn address(&self, last: u8) -> Ipv4Addr {
        Ipv4Addr::new(127, self.second, self.third, last)
    }
}

/// A loopback address that nobody listens at. A hub keeps its address when it restarts, and no
/// client is ever given it as its own: those start from 127.0.0.1.
///
/// # Errors
/// [`Failure`] if there is none.
pub fn free_address() -> Outcome<Ipv4Addr> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    for _ in 0..500 {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let [_, _, high, low] = std::process::id().to_be_bytes();
        let second = 100 + (number % 100) as u8;
        let address = Ipv4Addr::new(127, second, high, low.clamp(1, 254));
        let free = |port| TcpListener::bind((address, port)).is_ok();
        if free(HTTP_PORT) && free(OPS_PORT) {
            return Ok(address);
        }
    }
    Err(Failure::new("no loopback address is free"))
}
