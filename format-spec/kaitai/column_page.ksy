meta:
  id: column_page
  title: The plain text of a data page of a column
  endian: le
  imports: [codes, packed, row_block, string_block]
seq:
  - id: encoding
    type: u1
    enum: encoding
  - id: form
    type: u1
    enum: form
    valid:
      max: form::list
  - id: has_absent
    type: u1
    valid:
      max: 1
  - id: width
    type: u1
  - id: count
    type: u4
    valid:
      min: 1
      max: 65535
  - id: first
    type: u8
  - id: span
    type: u4
  - id: reserved
    contents: [0, 0, 0, 0]
  - id: bitmap
    type: bitmap(span)
    if: form == form::bitmap
  - id: list
    type: packed(count, width)
    if: form == form::list
  - id: absent
    size: (count + 7) / 8
    if: has_absent == 1
  - id: values
    type:
      switch-on: encoding
      cases:
        'encoding::integers': integers(count)
        'encoding::rows': row_block(count)
        'encoding::strings': string_block
        'encoding::dictionary': dictionary(count)
        'encoding::passwords': passwords(count)
        'encoding::compressed': compressed
        'encoding::referring': referring
types:
  bitmap:
    params:
      - id: span
        type: u4
    seq:
      - id: words
        type: u8
        repeat: expr
        repeat-expr: (span + 63) / 64
      - id: counts
        type: u2
        repeat: expr
        repeat-expr: ((span + 63) / 64 + 3) / 4
  integers:
    params:
      - id: count
        type: u4
    seq:
      - id: min
        type: s8
      - id: offsets
        type: codes(count)
  dictionary:
    params:
      - id: count
        type: u4
    seq:
      - id: values
        type: string_block
      - id: indexes
        type: codes(count)
  passwords:
    params:
      - id: count
        type: u4
    seq:
      - id: templates
        type: string_block
      - id: indexes
        type: codes(count)
      - id: raw
        type: string_block
  compressed:
    seq:
      - id: num_symbols
        type: u1
      - id: reserved
        contents: [0, 0, 0]
      - id: lengths
        type: u1
        valid:
          min: 1
          max: 8
        repeat: expr
        repeat-expr: num_symbols
      - id: symbols
        size: lengths[_index]
        repeat: expr
        repeat-expr: num_symbols
      - id: strings
        type: string_block
  referring:
    seq:
      - id: page
        doc: The page of the section that has the symbols.
        type: u4
      - id: reserved
        contents: [0, 0, 0, 0]
      - id: hash
        doc: XXH3-64 of the symbols there.
        type: u8
      - id: strings
        type: string_block
enums:
  encoding:
    1: integers
    2: rows
    3: strings
    4: dictionary
    5: passwords
    6: compressed
    7: referring
  form:
    0: dense
    1: bitmap
    2: list
