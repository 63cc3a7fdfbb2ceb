meta:
  id: inner_shell
  title: The pool's part of a frame, with the sealed bytes
  endian: le
seq:
  - id: pool
    size: 16
  - id: epoch
    type: u4
  - id: key_epoch
    type: u4
  - id: period
    type: u4
  - id: count
    type: u4
  - id: first_seq
    type: u8
  - id: len_sealed
    type: u4
  - id: reserved
    contents: [0, 0, 0, 0]
  - id: chain
    size: 32
  - id: sealed
    size: len_sealed
