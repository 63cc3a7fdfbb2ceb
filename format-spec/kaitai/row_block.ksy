meta:
  id: row_block
  title: Byte strings of one length, of which only the bits that differ are kept
  endian: le
  imports: [packed]
params:
  - id: count
    type: u4
seq:
  - id: len_row
    type: u1
    valid:
      max: 32
  - id: bucket_bits
    type: u1
    valid:
      max: 16
  - id: start_width
    type: u1
    valid:
      max: 32
  - id: reserved
    contents: [0]
  - id: start_base
    type: s4
  - id: words
    type: word
    repeat: expr
    repeat-expr: (len_row + 7) / 8
  - id: starts
    doc: Where the buckets start, beyond where they would if all had as many rows.
    type: packed((1 << bucket_bits) + 1, start_width)
    if: bucket_bits > 0
  - id: bits
    doc: >-
      The words of each row after one another, each in its width, from the lowest bit on. Where there are buckets, the
      first word that has a width comes without its upper bucket_bits.
    size: (count * bits_a_row + 7) / 8
  - id: padding
    contents: [0, 0, 0, 0, 0, 0, 0, 0]
types:
  word:
    seq:
      - id: base
        type: u8
      - id: width
        type: u1
        valid:
          max: 64
      - id: shift
        type: u1
        valid:
          max: 63
instances:
  bits_a_row:
    value: >-
      (len_row > 0 ? words[0].width : 0) + (len_row > 8 ? words[1].width : 0)
      + (len_row > 16 ? words[2].width : 0) + (len_row > 24 ? words[3].width : 0) - bucket_bits
