meta:
  id: history_file
  title: Frames of a pool outside of the log
  endian: le
  imports: [inner_shell]
seq:
  - id: magic
    contents: ["STOAHIS", 0x0a]
  - id: read_version
    type: u2
    valid: 1
  - id: write_version
    type: u2
  - id: pool
    size: 16
  - id: first_seq
    type: u8
  - id: last_seq
    type: u8
  - id: num_frames
    type: u4
  - id: crc32
    type: u4
  - id: records
    type: record
    repeat: expr
    repeat-expr: num_frames
types:
  record:
    seq:
      - id: len_body
        type: u4
      - id: crc32
        type: u4
      - id: body
        size: len_body
        type: inner_shell
