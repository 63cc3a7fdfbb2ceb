meta:
  id: run_footer
  title: The plain text of a run file's footer
  endian: le
seq:
  - id: num_sections
    type: u2
  - id: reserved
    contents: [0, 0]
  - id: sections
    type: section
    repeat: expr
    repeat-expr: num_sections
types:
  short_bytes:
    seq:
      - id: len
        type: u2
      - id: data
        size: len
  section:
    seq:
      - id: kind
        type: u1
        enum: kind
      - id: column_kind
        type: u1
      - id: number
        type: u2
        doc: Attribute or keyspace.
      - id: reserved
        contents: [0, 0, 0, 0]
      - id: num_entries
        type: u8
      - id: num_empty
        type: u8
      - id: first_ordinal
        type: u8
      - id: last_ordinal
        type: u8
      - id: disk_bytes
        type: u8
      - id: filter_prefix
        type: u2
      - id: last_key
        type: short_bytes
      - id: num_pages
        type: u4
      - id: pages
        type: page(kind)
        repeat: expr
        repeat-expr: num_pages
    enums:
      kind:
        1: column
        2: sorted
  page:
    params:
      - id: section_kind
        type: u1
        enum: section::kind
    seq:
      - id: offset
        type: u8
      - id: len_sealed
        type: u4
      - id: num_entries
        type: u4
      - id: kind
        type: u1
      - id: nonce
        size: 24
      - id: tag
        size: 16
      - id: column_place
        type: column_place
        if: kind == 1 and section_kind == section::kind::column
      - id: from_key
        type: short_bytes
        if: kind == 1 and section_kind == section::kind::sorted
      - id: first_page
        type: u4
        if: kind == 2
  column_place:
    seq:
      - id: first_ordinal
        type: u8
      - id: last_ordinal
        type: u8
      - id: zone_kind
        type: u1
        valid:
          max: 2
      - id: min
        type: s8
        if: zone_kind == 1
      - id: max
        type: s8
        if: zone_kind == 1
      - id: min_prefix
        type: short_bytes
        if: zone_kind == 2
      - id: max_prefix
        type: short_bytes
        if: zone_kind == 2
