meta:
  id: filter_page
  title: The plain text of a filter page
  endian: le
seq:
  - id: num_blocks
    type: u4
    valid:
      min: 1
  - id: reserved
    contents: [0, 0, 0, 0]
  - id: blocks
    type: block
    repeat: expr
    repeat-expr: num_blocks
types:
  block:
    seq:
      - id: words
        type: u4
        repeat: expr
        repeat-expr: 8
