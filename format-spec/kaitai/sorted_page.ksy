meta:
  id: sorted_page
  title: The plain text of a data page of a keyspace
  endian: le
  imports: [row_block, varint]
seq:
  - id: encoding
    type: u1
    enum: encoding
  - id: has_tombstones
    type: u1
    valid:
      max: 1
  - id: interval
    type: u2
  - id: count
    type: u4
    valid:
      min: 1
      max: 65535
  - id: body
    type:
      switch-on: encoding
      cases:
        'encoding::rows': rows
        'encoding::prefixes': prefixes
        'encoding::tails': tails
types:
  rows:
    seq:
      - id: tombstones
        size: (_parent.count + 7) / 8
        if: _parent.has_tombstones == 1
      - id: keys
        type: row_block(_parent.count)
      - id: values
        type: row_block(_parent.count)
  prefixes:
    seq:
      - id: len_entries
        type: u4
      - id: restarts
        type: u4
        repeat: expr
        repeat-expr: (_parent.count + _parent.interval - 1) / _parent.interval
      - id: entries
        size: len_entries
        type: entries(_parent.count)
  tails:
    seq:
      - id: tails
        type: row_block(_parent.count)
      - id: len_entries
        type: u4
      - id: restarts
        type: u4
        repeat: expr
        repeat-expr: (_parent.count + _parent.interval - 1) / _parent.interval
      - id: entries
        size: len_entries
        type: heads(_parent.count)
  heads:
    params:
      - id: count
        type: u4
    seq:
      - id: entries
        type: head
        repeat: expr
        repeat-expr: count
  head:
    seq:
      - id: halves
        type: u1
      - id: shared_beyond
        type: varint
        if: halves >> 4 == 15
      - id: unshared_beyond
        type: varint
        if: (halves & 15) == 15
      - id: bytes
        size: unshared
    instances:
      shared:
        value: '(halves >> 4) + (halves >> 4 == 15 ? shared_beyond.value : 0)'
      unshared:
        value: '(halves & 15) + ((halves & 15) == 15 ? unshared_beyond.value : 0)'
  entries:
    params:
      - id: count
        type: u4
    seq:
      - id: entries
        type: entry
        repeat: expr
        repeat-expr: count
  entry:
    seq:
      - id: shared
        type: varint
      - id: unshared
        type: varint
      - id: len_value_plus_1
        type: varint
      - id: key
        size: unshared.value
      - id: value
        size: len_value_plus_1.value - 1
        if: len_value_plus_1.value != 0
enums:
  encoding:
    1: rows
    2: prefixes
    3: tails
