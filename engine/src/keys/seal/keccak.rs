//! SHAKE-128 (FIPS 202) for the accumulated test vectors: written for brevity, used by tests alone.

const RATE_BYTES: usize = 168;
const ROTATIONS: [u32; 24] =
    [1, 3, 6, 10, 15, 21, 28, 36, 45, 55, 2, 14, 27, 41, 56, 8, 25, 43, 62, 18, 39, 61, 20, 44];
const LANES: [usize; 24] = [10, 7, 11, 17, 18, 3, 5, 16, 8, 21, 24, 4, 15, 23, 19, 13, 12, 2, 20, 14, 22, 9, 6, 1];

#[derive(Clone, Default)]
pub(super) struct Shake128 {
    lanes: [u64; 25],
    at: usize,
    squeezing: bool,
}

impl Shake128 {
    pub(super) fn absorb(&mut self, bytes: &[u8]) {
        assert!(!self.squeezing);
        for &byte in bytes {
            self.xor(self.at, byte);
            self.at += 1;
            if self.at == RATE_BYTES {
                self.permute();
                self.at = 0;
            }
        }
    }

    pub(super) fn squeeze(&mut self, out: &mut [u8]) {
        if !self.squeezing {
            self.xor(self.at, 0x1f);
            self.xor(RATE_BYTES - 1, 0x80);
            (self.squeezing, self.at) = (true, RATE_BYTES);
        }
        for byte in out {
            if self.at == RATE_BYTES {
                self.permute();
                self.at = 0;
            }
            *byte = (self.lanes[self.at / 8] >> (self.at % 8 * 8)) as u8;
            self.at += 1;
        }
    }

    pub(super) fn next<const N: usize>(&mut self) -> [u8; N] {
        let mut out = [0; N];
        self.squeeze(&mut out);
        out
    }

    fn xor(&mut self, at: usize, byte: u8) {
        self.lanes[at / 8] ^= u64::from(byte) << (at % 8 * 8);
    }

    fn permute(&mut self) {
        let a = &mut self.lanes;
        let mut lfsr = 1u8;
        for _ in 0..24 {
            let c: [u64; 5] = std::array::from_fn(|x| (0..5).fold(0, |sum, y| sum ^ a[x + 5 * y]));
            for i in 0..25 {
                a[i] ^= c[(i + 4) % 5] ^ c[(i + 1) % 5].rotate_left(1);
            }
            let mut last = a[1];
            for (&lane, &by) in LANES.iter().zip(&ROTATIONS) {
                (a[lane], last) = (last.rotate_left(by), a[lane]);
            }
            for row in a.chunks_mut(5) {
                let old: [u64; 5] = std::array::from_fn(|x| row[x]);
                for x in 0..5 {
                    row[x] = old[x] ^ (!old[(x + 1) % 5] & old[(x + 2) % 5]);
                }
            }
            for j in 0..7 {
                if lfsr & 1 == 1 {
                    a[0] ^= 1 << ((1u32 << j) - 1);
                }
                lfsr = (lfsr << 1) ^ ((lfsr >> 7) * 0x71);
            }
        }
    }
}

#[test]
fn shake128_of_nothing() {
    // FIPS 202 example values: SHAKE128, 0-bit message.
    assert_eq!(Shake128::default().next(), *b"\x7f\x9c\x2b\xa4\xe8\x8f\x82\x7d\x61\x60\x45\x50\x76\x05\x85\x3e");
}
