meta:
  id: catalogue
  title: The file CATALOGUE
  endian: le
  imports: [octets]
seq:
  - id: magic
    contents: ["STOACAT", 0x0a]
  - id: read_version
    type: u2
    valid: 1
  - id: write_version
    type: u2
  - id: store_id
    size: 16
  - id: number
    type: u8
  - id: sealed
    type: octets
  - id: crc32
    type: u4
