meta:
  id: frame
  title: A frame of the log
  endian: le
  imports: [inner_shell]
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
        'kind::data': inner_shell
enums:
  kind:
    1: data
    2: seal
