meta:
  id: store
  title: The file STORE
  endian: le
  imports: [octets]
seq:
  - id: magic
    contents: ["STOASTO", 0x0a]
  - id: read_version
    type: u2
    valid: 1
  - id: write_version
    type: u2
  - id: store_id
    size: 16
  - id: incarnation
    type: u8
  - id: created_at_ms
    type: u8
  - id: wrapped_key
    type: octets
  - id: crc32
    type: u4
