meta:
  id: live_file
  title: A live run file, as manifests and installs name it
  endian: le
  imports: [varint]
seq:
  - id: file_id
    type: varint
  - id: place
    type: u1
    enum: place
  - id: folder
    type: u2
  - id: key_epoch
    type: u4
  - id: salt
    size: 32
  - id: root
    size: 32
  - id: len
    type: varint
  - id: age
    type: varint
  - id: num_sections
    type: varint
  - id: sections
    type: section
    repeat: expr
    repeat-expr: num_sections.value
types:
  section:
    seq:
      - id: section
        type: u2
      - id: content
        type: u1
        enum: content
      - id: number
        type: u2
    enums:
      content:
        1: dense
        2: sparse
        3: keys
enums:
  place:
    0: flush
    1: column
    2: index
