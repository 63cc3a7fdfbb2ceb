meta:
  id: varint
  title: A number of seven bits a byte, lowest first (LEB128)
  endian: le
seq:
  - id: groups
    type: group
    repeat: until
    repeat-until: not _.goes_on
types:
  group:
    seq:
      - id: octet
        type: u1
    instances:
      goes_on:
        value: (octet & 0x80) != 0
      bits:
        value: octet & 0x7f
instances:
  value:
    value: >-
      groups[0].bits
      + (groups.size > 1 ? groups[1].bits << 7 : 0)
      + (groups.size > 2 ? groups[2].bits << 14 : 0)
      + (groups.size > 3 ? groups[3].bits << 21 : 0)
      + (groups.size > 4 ? groups[4].bits << 28 : 0)
      + (groups.size > 5 ? groups[5].bits << 35 : 0)
      + (groups.size > 6 ? groups[6].bits << 42 : 0)
      + (groups.size > 7 ? groups[7].bits << 49 : 0)
      + (groups.size > 8 ? groups[8].bits << 56 : 0)
      + (groups.size > 9 ? groups[9].bits << 63 : 0)
  signed:
    doc: As a zigzag number.
    value: '(value & 1) == 0 ? value >> 1 : -(value >> 1) - 1'
