//! Random numbers that a seed reproduces.

use std::time::Duration;

use super::trace::digest64;

/// xoshiro256**, one stream per purpose.
///
/// Streams keep changes local: a fault that is drawn more or less moves no
/// latency.
#[derive(Debug, Clone)]
pub struct Rng([u64; 4]);

impl Rng {
    /// The stream of a purpose under a seed.
    #[must_use]
    pub fn stream(seed: u64, purpose: &str) -> Self {
        let mut state = seed ^ digest64(purpose.as_bytes());
        Self(std::array::from_fn(|_| split_mix(&mut state)))
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        let [a, b, c, d] = &mut self.0;
        let result = b.wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let shifted = *b << 17;
        *c ^= *a;
        *d ^= *b;
        *b ^= *c;
        *a ^= *d;
        *c ^= shifted;
        *d = d.rotate_left(45);
        result
    }

    /// A number below `bound`, which is at least 1.
    pub fn below(&mut self, bound: u64) -> u64 {
        let product = u128::from(self.bits()) * u128::from(bound.max(1));
        u64::try_from(product >> 64).expect("the high half of a product fits")
    }

    /// An index below `len`, which is at least 1.
    pub fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).expect("below a length")
    }

    /// A number between 0 and 1, 1 excluded.
    pub fn unit(&mut self) -> f64 {
        #[expect(
            clippy::cast_precision_loss,
            reason = "53 bits are what a double holds"
        )]
        let bits = (self.bits() >> 11) as f64;
        bits / 9_007_199_254_740_992.0
    }

    /// True with the given probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        probability > 0.0 && self.unit() < probability
    }

    /// A duration from `low` to `high`.
    pub fn duration(&mut self, low: Duration, high: Duration) -> Duration {
        low + high.saturating_sub(low).mul_f64(self.unit())
    }

    /// A Weibull-distributed duration; shape 1 is the exponential distribution.
    pub fn weibull(&mut self, shape: f64, scale: Duration) -> Duration {
        let draw = (-(1.0 - self.unit()).ln()).powf(1.0 / shape);
        scale.mul_f64(draw.min(1e6))
    }

    /// `count` distinct items, in random order.
    pub fn sample<T: Copy>(&mut self, items: &[T], count: usize) -> Vec<T> {
        let mut items = items.to_vec();
        let count = count.min(items.len());
        for place in 0..count {
            let other = place + self.index(items.len() - place);
            items.swap(place, other);
        }
        items.truncate(count);
        items
    }

    /// So many random bytes.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes: Vec<u8> = (0..len.div_ceil(8))
            .flat_map(|_| self.bits().to_le_bytes())
            .collect();
        bytes.truncate(len);
        bytes
    }

    /// 32 random bytes.
    pub fn array(&mut self) -> [u8; 32] {
        let mut array = [0; 32];
        array.copy_from_slice(&self.bytes(32));
        array
    }
}

fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut x = *state;
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
