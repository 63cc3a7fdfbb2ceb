meta:
  id: string_block
  title: Byte strings, each readable by itself
  endian: le
  imports: [packed]
seq:
  - id: count
    type: u4
  - id: len_data
    type: u4
  - id: slope
    type: u8
  - id: base
    type: s4
  - id: width
    type: u1
    valid:
      max: 32
  - id: reserved
    contents: [0, 0, 0]
  - id: residuals
    type: packed(count + 1, width)
  - id: data
    size: len_data
