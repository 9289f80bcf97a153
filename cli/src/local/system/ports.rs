//! Ports that the processes of one stack listen on.
//!
//! A stack takes a block of consecutive ports below the range that the kernel hands to outgoing
//! connections (from 32768 on Linux, 49152 on macOS): a port of that range may be taken by some
//! client's connection while its owner is being restarted. The block follows from the data folder's
//! name, so it stays the same from run to run. The block's first port is bound for as long as the
//! block is held: it is the lock that keeps two stacks apart.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use anyhow::{Context, bail};

/// Ports in a block, its lock included.
pub(super) const BLOCK: u16 = 64;
const FIRST: u16 = 16_000;
const BLOCKS: u16 = 250;

/// A block of ports of which nobody else takes one while it is held.
pub struct PortBlock {
    lock: TcpListener,
    next: u16,
}

impl PortBlock {
    /// The first free block, counting from the one that the seed names. `wanted` ports are needed.
    pub fn find(seed: u64, wanted: u16) -> anyhow::Result<PortBlock> {
        let start = u16::try_from(seed % u64::from(BLOCKS)).unwrap_or_default();
        let block = |offset: u16| FIRST + (start + offset) % BLOCKS * BLOCK;
        let mut candidates = (0..BLOCKS).map(block);
        candidates
            .find_map(|base| PortBlock::at(base, wanted).ok())
            .context("no free ports between 16000 and 32000 on 127.0.0.1")
    }

    /// The block that starts here; an error names the port that is taken.
    pub(crate) fn at(base: u16, wanted: u16) -> anyhow::Result<PortBlock> {
        if wanted >= BLOCK || base.checked_add(BLOCK).is_none() {
            bail!("{wanted} ports from {base} on do not fit");
        }
        let lock = listen(base)?;
        for port in base + 1..=base + wanted {
            listen(port)?;
        }
        Ok(PortBlock { lock, next: 1 })
    }

    /// The block's next port.
    pub fn take(&mut self) -> anyhow::Result<SocketAddr> {
        let base = self.lock.local_addr()?.port();
        if self.next >= BLOCK {
            bail!("more than {BLOCK} ports in one stack");
        }
        let address = loopback(base + self.next);
        self.next += 1;
        Ok(address)
    }
}

/// Fails with a clear word if something listens there already.
pub(crate) fn must_be_free(address: SocketAddr) -> anyhow::Result<()> {
    TcpListener::bind(address).map(drop).with_context(|| format!("{address} cannot be listened on"))
}

fn listen(port: u16) -> anyhow::Result<TcpListener> {
    TcpListener::bind(loopback(port))
        .with_context(|| format!("port {port} on 127.0.0.1 cannot be listened on"))
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_decides_and_a_taken_block_is_passed_over() {
        let mut first = PortBlock::find(7, 8).expect("a block");
        let mut second = PortBlock::find(7, 8).expect("another block");
        let (a, b) = (first.take().expect("a port"), second.take().expect("a port"));
        assert_ne!(a, b);
        assert_eq!(first.take().expect("a port").port(), a.port() + 1);
        drop(first);
        let mut again = PortBlock::find(7, 8).expect("the first block again");
        assert_eq!(again.take().expect("a port"), a);
    }

    #[test]
    fn a_busy_port_is_named() {
        let mut held = PortBlock::find(99, 8).expect("a block");
        let busy = TcpListener::bind(held.take().expect("a port")).expect("bind");
        let port = busy.local_addr().expect("its address").port();
        drop(held);
        let error = PortBlock::at(port - 1, 8).err().expect("the block is not free");
        assert!(error.to_string().contains(&port.to_string()), "{error}");
        let error = must_be_free(loopback(port)).expect_err("busy");
        assert!(error.to_string().contains(&port.to_string()), "{error}");
    }

    #[test]
    fn a_block_must_fit() {
        assert!(PortBlock::at(65_500, 8).is_err());
        assert!(PortBlock::at(16_000, BLOCK).is_err());
    }
}
