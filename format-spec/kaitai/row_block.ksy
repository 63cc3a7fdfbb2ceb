meta:
  id: row_block
  title: Byte strings of one length, without the bytes that are the same in all
  endian: le
params:
  - id: count
    type: u4
seq:
  - id: len_row
    type: u1
    valid:
      max: 32
  - id: reserved
    contents: [0, 0, 0]
  - id: stored
    type: u4
  - id: template
    size: len_row
  - id: rows
    size: num_stored
    repeat: expr
    repeat-expr: count
instances:
  pairs:
    value: stored - ((stored >> 1) & 0x55555555)
  nibbles:
    value: (pairs & 0x33333333) + ((pairs >> 2) & 0x33333333)
  octets:
    value: (nibbles + (nibbles >> 4)) & 0x0f0f0f0f
  num_stored:
    doc: Bits set in `stored`.
    value: (octets & 0xff) + ((octets >> 8) & 0xff) + ((octets >> 16) & 0xff) + ((octets >> 24) & 0xff)
