meta:
  id: packed
  title: Numbers of one width, bit-packed, and eight zero bytes
params:
  - id: count
    type: u4
  - id: width
    type: u1
seq:
  - id: bits
    size: (count * width + 7) / 8
  - id: padding
    contents: [0, 0, 0, 0, 0, 0, 0, 0]
