meta:
  id: frame
  title: A frame of the log
  endian: le
seq:
  - id: magic
    contents: "SFRM"
  - id: crc32
    type: u4
  - id: len_body
    type: u4
  - id: kind
    type: u1
    enum: kind
  - id: reserved
    contents: [0, 0, 0]
  - id: segment
    type: u8
  - id: incarnation
    type: u8
  - id: lsn
    type: u8
  - id: durable_lsn
    type: u8
  - id: body
    size: len_body
    type:
      switch-on: kind
      cases:
        'kind::data': inner
types:
  inner:
    seq:
      - id: pool
        size: 16
      - id: epoch
        type: u4
      - id: key_epoch
        type: u4
      - id: period
        type: u4
      - id: count
        type: u4
      - id: first_seq
        type: u8
      - id: len_sealed
        type: u4
      - id: reserved
        contents: [0, 0, 0, 0]
      - id: chain
        size: 32
      - id: sealed
        size: len_sealed
enums:
  kind:
    1: data
    2: seal
