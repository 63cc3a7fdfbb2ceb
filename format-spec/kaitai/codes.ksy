meta:
  id: codes
  title: Packed numbers behind their width
  imports: [packed]
params:
  - id: count
    type: u4
seq:
  - id: width
    type: u1
    valid:
      max: 64
  - id: reserved
    contents: [0, 0, 0, 0, 0, 0, 0]
  - id: numbers
    type: packed(count, width)
