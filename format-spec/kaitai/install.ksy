meta:
  id: install
  title: What a meta operation `install` carries
  endian: le
  imports: [live_file, octets, varint]
seq:
  - id: version
    contents: [1]
  - id: install_id
    type: varint
  - id: next_ordinal
    type: varint
  - id: next_group_id
    type: varint
  - id: next_age
    type: varint
  - id: groups
    type: varint
  - id: replaces_live
    type: u1
  - id: live
    type: octets
  - id: num_dropped
    type: varint
  - id: dropped
    type: dropped
    repeat: expr
    repeat-expr: num_dropped.value
  - id: num_files
    type: varint
  - id: files
    type: live_file
    repeat: expr
    repeat-expr: num_files.value
types:
  dropped:
    seq:
      - id: file_id
        type: varint
      - id: section
        type: u2
