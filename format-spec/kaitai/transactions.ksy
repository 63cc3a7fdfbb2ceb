meta:
  id: transactions
  title: The plain text of a frame
  endian: le
  imports: [octets, text, varint]
seq:
  - id: time_ms
    type: u8
  - id: transactions
    type: sized_transaction
    repeat: eos
types:
  sized_transaction:
    seq:
      - id: len
        type: varint
      - id: body
        size: len.value
        type: transaction
  transaction:
    seq:
      - id: actor
        type: text
      - id: operations
        type: operation
        repeat: eos
  operation:
    seq:
      - id: code
        type: u1
        enum: code
        valid:
          min: code::put
          max: code::meta
      - id: body
        type:
          switch-on: code
          cases:
            'code::put': put
            'code::set_key': set_key
            'code::delete_key': delete_key
            'code::digest': digest
            'code::event': event
            'code::meta': meta_op
    enums:
      code:
        1: put
        2: set_key
        3: delete_key
        4: digest
        5: event
        6: meta
  put:
    seq:
      - id: ordinal
        type: varint
      - id: flags
        type: u1
      - id: len_cells
        type: varint
      - id: cells
        size: len_cells.value
        type: cells
  cells:
    seq:
      - id: count
        type: varint
      - id: cells
        type: cell
        repeat: expr
        repeat-expr: count.value
  cell:
    seq:
      - id: attr
        type: varint
      - id: tag
        type: u1
        valid:
          max: 2
      - id: value
        type:
          switch-on: tag
          cases:
            1: varint
            2: octets
  set_key:
    seq:
      - id: keyspace
        type: u1
      - id: key
        type: octets
      - id: value
        type: octets
  delete_key:
    seq:
      - id: keyspace
        type: u1
      - id: key
        type: octets
  digest:
    seq:
      - id: leaf
        type: u8
      - id: delta
        size: 16
  event:
    seq:
      - id: event
        type: u1
      - id: subject_kind
        type: u1
        valid:
          max: 3
      - id: sub
        size: 16
        if: subject_kind == 1 or subject_kind == 3
      - id: name
        type: text
        if: subject_kind >= 2
      - id: version
        type: varint
      - id: num_attrs
        type: varint
      - id: attrs
        type: varint
        repeat: expr
        repeat-expr: num_attrs.value
  meta_op:
    seq:
      - id: name
        type: text
      - id: is_set
        type: u1
      - id: content
        type: octets
