meta:
  id: manifest
  title: A pool's MANIFEST, two copies of the same
  endian: le
  imports: [octets, varint]
seq:
  - id: copies
    type: copy
    repeat: eos
types:
  copy:
    seq:
      - id: magic
        contents: ["STOAMAN", 0x0a]
      - id: read_version
        type: u2
        valid: 1
      - id: write_version
        type: u2
      - id: len_copy
        type: u4
      - id: rest
        type: rest
        size: len_copy - 16
  rest:
    seq:
      - id: pool
        size: 16
      - id: number
        type: u8
      - id: num_keys
        type: varint
      - id: keys
        type: key
        repeat: expr
        repeat-expr: num_keys.value
      - id: len_body
        type: u4
      - id: sealed
        size: len_body
      - id: crc32
        type: u4
  key:
    seq:
      - id: key_epoch
        type: u4
      - id: wrapped
        type: octets
