meta:
  id: run_file
  title: A run file (.run, .col, .idx)
  endian: le
seq:
  - id: header
    type: header
  - id: pages
    type: page
    repeat: until
    repeat-until: _io.pos >= _io.size - 64
  - id: trailer
    type: trailer
types:
  header:
    seq:
      - id: magic
        contents: ["STOARUN", 0]
      - id: read_version
        type: u2
        valid: 1
      - id: write_version
        type: u2
      - id: kind
        type: u1
        enum: kind
      - id: cipher
        contents: [1]
      - id: reserved
        contents: [0, 0]
      - id: pool
        size: 16
      - id: file_id
        type: u8
      - id: key_epoch
        type: u4
      - id: reserved2
        contents: [0, 0, 0, 0]
      - id: commitment
        size: 32
      - id: reserved3
        size: 44
      - id: crc32
        type: u4
    enums:
      kind:
        1: flush
        2: column
        3: index
  page:
    seq:
      - id: crc32
        type: u4
      - id: len_sealed
        type: u4
      - id: page
        type: u4
      - id: section
        type: u2
      - id: kind
        type: u1
        enum: kind
      - id: reserved
        contents: [0]
      - id: sealed
        size: len_sealed
    enums:
      kind:
        1: data
        2: filter
        3: ordinal_set
        4: footer
  trailer:
    seq:
      - id: magic
        contents: "STOAREND"
      - id: footer_offset
        type: u8
      - id: len_footer
        type: u4
      - id: num_pages
        type: u4
      - id: root
        size: 32
      - id: reserved
        contents: [0, 0, 0, 0]
      - id: crc32
        type: u4
