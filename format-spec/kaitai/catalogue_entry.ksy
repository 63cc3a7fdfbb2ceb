meta:
  id: catalogue_entry
  title: A pool as the catalogue knows it
  endian: le
  imports: [octets, text]
seq:
  - id: pool
    size: 16
  - id: name
    type: text
  - id: manifest_number
    type: u8
  - id: manifest_digest
    size: 32
  - id: flushed_seq
    type: u8
  - id: has_first_manifest
    type: u1
  - id: first_manifest
    type: octets
