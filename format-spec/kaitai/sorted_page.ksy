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
