meta:
  id: manifest_body
  title: The plain text of a MANIFEST
  endian: le
  imports: [document, live_file, octets, varint]
seq:
  - id: flushed_seq
    type: u8
  - id: chain
    size: 32
  - id: epoch
    type: u4
  - id: created_at_ms
    type: u8
  - id: next_ordinal
    type: varint
  - id: next_file_id
    type: varint
  - id: next_group_id
    type: varint
  - id: next_age
    type: varint
  - id: users
    type: varint
  - id: groups
    type: varint
  - id: has_digest
    type: u1
  - id: digest
    size: 16
  - id: digest_key
    size: 32
  - id: cursor_key
    size: 32
  - id: alias_key
    size: 32
  - id: num_periods
    type: varint
  - id: periods
    type: period
    repeat: expr
    repeat-expr: num_periods.value
  - id: num_documents
    type: varint
  - id: documents
    type: document
    repeat: expr
    repeat-expr: num_documents.value
  - id: live
    type: octets
    doc: A roaring bitmap in the portable serialisation, or nothing.
  - id: num_files
    type: varint
  - id: files
    type: live_file
    repeat: expr
    repeat-expr: num_files.value
  - id: last_verify_ms
    type: u8
  - id: history_from
    type: u8
types:
  period:
    seq:
      - id: number
        type: u4
      - id: first_seq
        type: u8
      - id: key
        size: 32
