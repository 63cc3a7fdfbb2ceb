meta:
  id: key_file
  title: DATA.key, the key file of the provider local
  endian: le
seq:
  - id: magic
    contents: ["STOAKEY", 0x0a]
  - id: read_version
    type: u2
    valid: 1
  - id: write_version
    type: u2
  - id: key_id
    size: 16
  - id: protection
    type: u1
    valid:
      max: 1
  - id: reserved
    contents: [0, 0, 0]
  - id: body
    type:
      switch-on: protection
      cases:
        0: plain
        1: passphrase
  - id: crc32
    type: u4
types:
  plain:
    seq:
      - id: customer_key
        size: 32
  passphrase:
    seq:
      - id: memory_kib
        type: u4
      - id: passes
        type: u4
      - id: lanes
        type: u4
      - id: reserved
        contents: [0, 0, 0, 0]
      - id: salt
        size: 32
      - id: check
        size: 32
      - id: sealed
        size: 72
