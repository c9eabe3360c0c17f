//! The memory that one VM may hold for all its streams together.
//!
//! A [`Budget`] is the bound, a [`Share`] is what one holder has of it, and [`Held`] is a body that
//! pays for its memory. Each gives back what it has when it is dropped, so a stream that ends in any
//! way returns everything.
//!
//! This module knows no streams: a holder that gets [`NoRoom`] refuses its request, ends its reply or
//! its stream; the others go on.

use std::cell::Cell;
use std::rc::Rc;

/// What all holders of a VM may have together. Unit: bytes.
///
/// The limit belongs to the holder, since plugins of one VM may have different ones: a share grows
/// as long as the sum of all shares stays within the limit of the one that grows. A share that is
/// alone always grows: other limits bound what one stream can hold, and a stream that never finds
/// room would never be served. Small shares may use a reserve on top of the limit, so that large ones
/// cannot make ordinary requests fail.
#[derive(Debug, Default)]
pub struct Budget {
    /// The sum of all shares.
    taken: Cell<u64>,
}

/// What one holder has of a [`Budget`].
#[derive(Debug)]
pub struct Share {
    budget: Rc<Budget>,
    limit: u64,
    /// 0 <= bytes <= budget.taken
    bytes: u64,
}

/// The budget has no room for more at the moment. Caused by all holders together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRoom;

impl Budget {
    /// The sum of all shares. Unit: bytes.
    pub fn taken(&self) -> u64 {
        self.taken.get()
    }
}

impl Share {
    /// A share that has nothing yet. `limit`: of the sum of all shares. Unit: bytes.
    pub fn new(budget: Rc<Budget>, limit: u64) -> Self {
        Self {
            budget,
            limit,
            bytes: 0,
        }
    }

    /// What it has. Unit: bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Another share of the same budget, with the same limit. It has nothing yet.
    #[must_use]
    pub fn sibling(&self) -> Self {
        Self::new(Rc::clone(&self.budget), self.limit)
    }

    /// Grows or shrinks to `bytes`.
    ///
    /// # Errors
    ///
    /// When it grows and there is no room. It stays as it was.
    pub fn resize(&mut self, bytes: u64) -> Result<(), NoRoom> {
        if bytes == self.bytes {
            return Ok(());
        }
        let others = self.budget.taken().saturating_sub(self.bytes);
        let taken = others.saturating_add(bytes);
        let reserve = match bytes <= self.limit / LIMITS_OF_SMALL {
            true => self.limit / RESERVES,
            false => 0,
        };
        let limit = self.limit.saturating_add(reserve);
        if bytes > self.bytes && others > 0 && taken > limit {
            return Err(NoRoom);
        }
        self.bytes = bytes;
        self.budget.taken.set(taken);
        Ok(())
    }

    /// Gives everything back.
    pub fn clear(&mut self) {
        // It shrinks, which never fails.
        let _shrunk = self.resize(0);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.clear();
    }
}

/// A body that is collected, piece by piece. It pays for all memory that it takes from the allocator.
#[derive(Debug)]
pub struct Held {
    bytes: Vec<u8>,
    share: Share,
    /// What each byte costs: 2 where Envoy holds a copy of it as well.
    cost: u64,
    /// The length that its sender declared.
    declared: Option<usize>,
}

impl Held {
    /// A body of which nothing has arrived. `declared`: the length that its sender promises, which
    /// nothing is taken on trust for: it only avoids memory that would not be needed.
    pub fn new(share: Share, cost: u64, declared: Option<usize>) -> Self {
        Self {
            bytes: Vec::new(),
            share,
            cost,
            declared,
        }
    }

    /// What has arrived.
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes
    }

    /// The length of what has arrived. Unit: bytes.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing has arrived.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Drops what stands behind the first `length` bytes.
    pub fn truncate(&mut self, length: usize) {
        self.bytes.truncate(length);
    }

    /// Adds a piece. The first one is kept as it is, without a copy.
    ///
    /// # Errors
    ///
    /// When there is no room. The piece is not added.
    pub fn push(&mut self, piece: Vec<u8>) -> Result<(), NoRoom> {
        if self.bytes.is_empty() {
            self.pay(piece.capacity())?;
            self.bytes = piece;
            return Ok(());
        }
        self.make_room(piece.len())?;
        self.bytes.extend_from_slice(&piece);
        Ok(())
    }

    /// Adds a piece of `length` bytes, which `append` appends: there is room for it.
    ///
    /// # Errors
    ///
    /// When there is no room. Nothing is added.
    pub fn receive(
        &mut self,
        length: usize,
        append: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), NoRoom> {
        self.make_room(length)?;
        append(&mut self.bytes);
        Ok(())
    }

    /// Pays for `length` more bytes.
    fn make_room(&mut self, length: usize) -> Result<(), NoRoom> {
        let length = self.bytes.len().saturating_add(length);
        if length > self.bytes.capacity() {
            let capacity = self.capacity_for(length);
            self.pay(capacity)?;
            self.bytes.reserve_exact(capacity - self.bytes.len());
        }
        Ok(())
    }

    /// The body, which is no longer paid for.
    pub fn take(&mut self) -> Vec<u8> {
        self.share.clear();
        std::mem::take(&mut self.bytes)
    }

    /// Doubles, so that each byte is copied once on average, but takes no more than what was
    /// declared: `length <= capacity <= 2 * length`.
    fn capacity_for(&self, length: usize) -> usize {
        let doubled = length.saturating_mul(2);
        match self.declared {
            Some(declared) if (length..=doubled).contains(&declared) => declared,
            _ => length.saturating_add(length / 2),
        }
    }

    fn pay(&mut self, capacity: usize) -> Result<(), NoRoom> {
        let bytes = u64::try_from(capacity).unwrap_or(u64::MAX);
        self.share.resize(bytes.saturating_mul(self.cost))
    }
}

/// A share is small up to this part of the limit: 256 KiB of 256 MiB.
const LIMITS_OF_SMALL: u64 = 1024;

/// The reserve for small shares is this part of the limit: 64 MiB of 256 MiB.
const RESERVES: u64 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn share(budget: &Rc<Budget>, limit: u64) -> Share {
        Share::new(Rc::clone(budget), limit)
    }

    #[test]
    fn shares_together_stay_within_the_limit() {
        let budget = Rc::new(Budget::default());
        let (mut one, mut two) = (share(&budget, 100), share(&budget, 100));
        assert_eq!(one.resize(60), Ok(()));
        assert_eq!(two.resize(41), Err(NoRoom));
        assert_eq!((two.bytes(), budget.taken()), (0, 60));
        assert_eq!(two.resize(40), Ok(()));
        assert_eq!(one.resize(61), Err(NoRoom));
        assert_eq!((one.bytes(), budget.taken()), (60, 100));
        assert_eq!(one.resize(10), Ok(()));
        assert_eq!(two.resize(90), Ok(()));
        drop(one);
        assert_eq!(budget.taken(), 90);
        two.clear();
        assert_eq!(budget.taken(), 0);
    }

    #[test]
    fn a_share_shrinks_also_beyond_a_limit_that_others_do_not_have() {
        let budget = Rc::new(Budget::default());
        let mut large = share(&budget, 1_000);
        let mut small = share(&budget, 100);
        assert_eq!(small.resize(50), Ok(()));
        assert_eq!(large.resize(500), Ok(()));
        assert_eq!(small.resize(51), Err(NoRoom));
        assert_eq!(small.resize(49), Ok(()));
        assert_eq!(budget.taken(), 549);
    }

    #[test]
    fn small_shares_have_a_reserve_that_large_ones_cannot_use() {
        let budget = Rc::new(Budget::default());
        let limit = 1 << 20;
        let mut large = share(&budget, limit);
        assert_eq!(large.resize(limit), Ok(()));
        let mut small: Vec<Share> = Vec::new();
        loop {
            let mut one = share(&budget, limit);
            assert_eq!(one.resize(1_025), Err(NoRoom));
            if one.resize(1_024) == Err(NoRoom) {
                break;
            }
            small.push(one);
        }
        assert_eq!((small.len(), budget.taken()), (256, limit + limit / 4));
    }

    #[test]
    fn a_share_that_is_alone_always_grows() {
        let budget = Rc::new(Budget::default());
        let (mut one, mut two) = (share(&budget, 100), share(&budget, 100));
        assert_eq!(one.resize(101), Ok(()));
        assert_eq!(two.resize(1), Err(NoRoom));
        assert_eq!(one.resize(1_000), Ok(()));
        drop(one);
        assert_eq!(two.resize(1), Ok(()));
    }

    #[test]
    fn a_held_body_pays_for_its_capacity_and_gives_everything_back() {
        for declared in [
            None,
            Some(0),
            Some(70),
            Some(1_000),
            Some(100_000),
            Some(usize::MAX),
        ] {
            for size in [1, 7, 64, 999] {
                let budget = Rc::new(Budget::default());
                let mut held = Held::new(share(&budget, u64::MAX), 2, declared);
                let mut expected = Vec::new();
                for number in 0..200_u8 {
                    expected.extend(vec![number; size]);
                    assert_eq!(held.push(vec![number; size]), Ok(()));
                    let paid = budget.taken();
                    assert_eq!(paid, 2 * held.bytes.capacity() as u64);
                    assert!(
                        paid <= 4 * expected.len() as u64,
                        "{declared:?} {size}: {paid}"
                    );
                }
                let (room, paid) = (held.bytes.capacity(), budget.taken());
                expected.extend(b"last");
                assert_eq!(held.receive(4, |it| it.extend(b"last")), Ok(()));
                assert_eq!(budget.taken(), 2 * held.bytes.capacity() as u64);
                assert_eq!(room < expected.len(), paid < budget.taken());
                assert_eq!(held.as_slice(), expected);
                assert_eq!(held.take(), expected);
                assert_eq!(budget.taken(), 0);
            }
        }
    }

    #[test]
    fn a_piece_that_finds_no_room_leaves_the_body_as_it_was() {
        let budget = Rc::new(Budget::default());
        let mut other = share(&budget, 100);
        assert_eq!(other.resize(10), Ok(()));
        let mut held = Held::new(share(&budget, 100), 1, None);
        assert_eq!(held.push(vec![1; 80]), Ok(()));
        assert_eq!(held.push(vec![2; 30]), Err(NoRoom));
        assert_eq!(held.receive(30, |it| it.extend([2; 30])), Err(NoRoom));
        assert_eq!((held.len(), budget.taken()), (80, 90));
        drop(held);
        assert_eq!(budget.taken(), 10);
    }
}
