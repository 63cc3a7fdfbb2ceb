meta:
  id: segment
  title: A segment of the log
  endian: le
doc: Where frames stand in `frames` the chapter on the log says. Batches begin on blocks, frames on multiples of 8.
seq:
  - id: magic
    contents: ["STOAWAL", 0x0a]
  - id: read_version
    type: u2
    valid: 1
  - id: write_version
    type: u2
  - id: reserved
    contents: [0, 0, 0, 0]
  - id: store_id
    size: 16
  - id: number
    type: u8
  - id: incarnation
    type: u8
  - id: first_lsn
    type: u8
  - id: previous
    type: u8
  - id: previous_end
    type: u8
  - id: reserved2
    size: 4020
  - id: crc32
    type: u4
  - id: frames
    size-eos: true
