meta:
  id: erasure
  title: What the manifest's document `erasure` carries
  endian: le
  imports: [varint]
seq:
  - id: version
    contents: [1]
  - id: erased_seq
    type: u8
    doc: nothing is left of users deleted up to here
  - id: frames_from
    type: u8
    doc: frames before this Seq are given up
  - id: files_from
    type: varint
    doc: no run file with a lower id is left
  - id: num_pending
    type: varint
  - id: pending
    type: pending_deletion
    repeat: expr
    repeat-expr: num_pending.value
types:
  pending_deletion:
    seq:
      - id: due_ms
        type: u8
      - id: last_seq
        type: u8
